"""An email's trace by OpenTelemetry, where this process has loaded it; else all of this does nothing.

It begins with whoever calls `.delay`. Its context (W3C's `traceparent`, without baggage) is kept with the send, so that
each of its tickets carries it, and goes to SES as a tag, so that what SES tells of the email goes on with it, days
later and in another process. Spans have ids, states and codes, never an address, a subject, a body or an error's words.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping

TRACE_TAG = "sesmail-trace"
"""The tag of SES that has the context; its letters are all such as tags may have."""
HEADER = "traceparent"


def _loaded() -> Any:
    """OpenTelemetry's `trace`, where somebody has a use for it: it is not for us to load it."""
    return sys.modules.get("opentelemetry.trace")


def _nobody_traces(trace: Any) -> bool:
    """Whether OpenTelemetry is only there, as redis-py loads it: a span that nobody gets costs as much as any."""
    is_set_up = not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    return not (is_set_up or trace.get_current_span().get_span_context().is_valid)


def is_on() -> bool:
    """Whether somebody traces here."""
    trace = _loaded()
    return trace is not None and not _nobody_traces(trace)


def _propagator() -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

    return TraceContextTextMapPropagator()


def current() -> str:
    """The `traceparent` of what is going on here; empty where nothing is traced."""
    trace = _loaded()
    if trace is None or not trace.get_current_span().get_span_context().trace_flags.sampled:
        return ""
    headers: dict[str, str] = {}
    _propagator().inject(headers)
    return headers.get(HEADER, "")


def put_into(headers: MutableMapping[str, Any]) -> None:
    """Have a ticket carry what is going on here, unless an instrument of Celery's has seen to it."""
    if HEADER not in headers and (going_on := current()):
        headers[HEADER] = going_on


@contextmanager
def span(name: str, *, after: str | None = None, kind: str = "INTERNAL", **ids: str) -> Iterator[_Span]:
    """What is done within is a span of the trace that goes on here, or of that of the `traceparent` given as `after`.

    With an empty one there is none: what is told of emails that were not traced begins no traces. `kind` is a name of
    OpenTelemetry's `SpanKind`; `ids` are attributes, below `sesmail.`. An exception is not recorded: it could quote an
    email.
    """
    trace = _loaded()
    if trace is None or after == "" or (after is None and _nobody_traces(trace)):
        yield _Span(None)
        return
    how: dict[str, Any] = {"kind": getattr(trace.SpanKind, kind), "attributes": _attributes(ids)}
    if after is not None:
        how["context"] = _propagator().extract({HEADER: after})
        here = trace.get_current_span().get_span_context()
        how["links"] = [trace.Link(here)] if here.is_valid else []
    tracer = trace.get_tracer("sesmail")
    with tracer.start_as_current_span(name, **how, record_exception=False, set_status_on_exception=False) as made:
        yield _Span(made)


def parent_of(request: Any) -> str | None:
    """What a ticket carries, for `span`; None where it has none, or an instrument of Celery's goes on with it."""
    trace = _loaded()
    if trace is None or trace.get_current_span().get_span_context().is_valid:
        return None
    carried = getattr(request, HEADER, None)
    return carried if isinstance(carried, str) and carried else None


class _Span:
    """A span to which attributes can be added, or none."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def note(self, **ids: str) -> None:
        """More of it."""
        if self._made is not None:
            with suppress(Exception):  # no watcher may hold up an email
                self._made.set_attributes(_attributes(ids))


def _attributes(ids: Mapping[str, str]) -> dict[str, str]:
    return {f"sesmail.{name}": str(value) for name, value in ids.items() if value}
