"""What Prometheus scrapes: by `sesmail metrics --port`, or through `SesmailCollector` in a registry of your own.

    from prometheus_client import REGISTRY
    from sesmail.doors.prometheus import SesmailCollector

    REGISTRY.register(SesmailCollector())

The figures are those of the whole fleet, read from Redis at each scrape: one process that tells them is enough. Labels
hold no address; `identity:DOMAIN` in a scope is the domain of one of your own senders.
"""

from __future__ import annotations

from dataclasses import fields
from math import inf
from typing import TYPE_CHECKING, Any

from sesmail.doors import site_client
from sesmail.errors import ConfigurationError, EventStoreUnavailable, LedgerUnavailable, MissingExtra
from sesmail.message import Lane
from sesmail.sending.sweeper import SweepReport
from sesmail.state.line import ACCOUNT, How
from sesmail.vocabulary import State

try:
    from prometheus_client import CollectorRegistry, generate_latest, make_wsgi_app, start_http_server
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
    from prometheus_client.registry import Collector
except ImportError as error:
    raise MissingExtra(
        "Prometheus can be told nothing: prometheus_client is not installed. Email is sent all the same. Install it "
        "with `pip install 'sesmail[metrics]'`."
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from wsgiref.simple_server import WSGIServer

    from prometheus_client.core import Metric

    from sesmail.client import Client
    from sesmail.events.stores import Counts
    from sesmail.sending.brake import Judgement
    from sesmail.sending.throttle import Snapshot
    from sesmail.state.line import Closure


class SesmailCollector(Collector):
    """Reads sends, sweeps, rate, quota, line and events at each scrape.

    `collect` raises `LedgerUnavailable` or `EventStoreUnavailable` when they cannot be read, so that the scrape fails:
    zeroes would say that all is well.
    """

    def __init__(self, client: Client | None = None) -> None:
        """Of this `client`, or of the current one at each scrape."""
        self._client = client

    def describe(self) -> list[Metric]:
        """Nothing, so that registering it does not need Redis."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All figures as they are by now."""
        client = self._client or site_client()
        yield _sends(client.ledger.counts())
        yield _sweeps(client.meters.swept())
        yield _not_accepted(client.meters.not_accepted())
        snapshot = client.throttle.snapshot()
        yield from _rate(snapshot)
        yield from _quota(snapshot)
        yield _line(snapshot.closures)
        yield from _reputation(client.brake.judgements())
        yield _events(client.settings.site, client.event_store.counts(client.settings.site))


def registry(client: Client | None = None) -> CollectorRegistry:
    """A registry of these figures alone, without those of the process that tells them."""
    alone = CollectorRegistry()
    alone.register(SesmailCollector(client))
    return alone


def text(client: Client | None = None) -> str:
    """The figures by now, in Prometheus' text format."""
    return generate_latest(registry(client)).decode()


def serve(host: str, port: int, client: Client | None = None) -> WSGIServer:
    """Answer scrapes at any path, in threads of its own, until `shutdown`. Port 0 takes a free one.

    Raises `ConfigurationError` when it cannot listen there.
    """
    try:
        server, _ = start_http_server(port, host, alone := registry(client))
    except OSError as error:
        raise ConfigurationError(f"Cannot listen on {host}:{port} ({error.strerror}). Name another --port.") from None
    server.set_app(_or_unavailable(make_wsgi_app(alone)))
    return server


def _or_unavailable(application: Callable[..., Any]) -> Callable[..., Any]:
    """The WSGI application, answering 503 with the reason where Prometheus' own would show a bug."""

    def answer(environ: Any, start_response: Callable[..., Any]) -> Any:
        try:
            return application(environ, start_response)
        except (LedgerUnavailable, EventStoreUnavailable) as error:
            start_response("503 Service Unavailable", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"{error}\n".encode()]

    return answer


def _sends(counts: Mapping[str, int]) -> Metric:
    meaning = "Sends in each state, those that wait by the lane of their ticket; final ones until their retention ends."
    by_state = {name.partition(":")[::2]: count for name, count in counts.items()}
    for total in (State.QUEUED, State.SCHEDULED):
        del by_state[total.value, ""]
    return _gauge("sesmail_sends", meaning, ("state", "lane"), by_state.items())


def _sweeps(swept: Mapping[str, int]) -> Metric:
    totals = CounterMetricFamily("sesmail_sweep", "Sends that sweeps have dealt with, by cause.", labels=["cause"])
    for cause in fields(SweepReport):
        totals.add_metric([cause.name], swept.get(cause.name, 0))
    return totals


def _not_accepted(by_error: Mapping[str, int]) -> Metric:
    meaning = "Messages of Django that were not accepted under fail_silently, by the error that nobody saw."
    totals = CounterMetricFamily("sesmail_not_accepted", meaning, labels=["error"])
    for error, total in {"InvalidEmail": 0, **by_error}.items():
        totals.add_metric([error], total)
    return totals


def _rate(now: Snapshot) -> Iterator[Metric]:
    allowed = "Recipients a second that SES allows; +Inf is no limit."
    yield GaugeMetricFamily("sesmail_max_send_rate", allowed, _or_infinite(now.rate))
    given = "Recipients a second that the throttle gives out by now."
    yield GaugeMetricFamily("sesmail_send_rate_limit", given, _or_infinite(now.limit))
    margin = "Head-room that the throttle keeps below what SES allows, as a ratio."
    yield GaugeMetricFamily("sesmail_send_rate_margin", margin, now.margin)
    granted = "Recipients that the throttle gave slots to."
    yield CounterMetricFamily("sesmail_recipients_granted", granted, now.granted)
    throttled = "Recipients that SES refused because of its send rate; they were tried again."
    yield CounterMetricFamily("sesmail_recipients_throttled", throttled, now.refused)
    account = {"standing": now.standing or "not known", "told_by": now.source or "nobody"}
    yield InfoMetricFamily("sesmail_account", "What SES says of the account, and who told its limits.", account)


def _quota(now: Snapshot) -> Iterator[Metric]:
    allowed = "Recipients in 24 hours that SES allows; +Inf is no limit."
    yield GaugeMetricFamily("sesmail_quota_recipients", allowed, _or_infinite(now.quota))
    used = "Recipients in the last 24 hours, those of others on the account included."
    yield GaugeMetricFamily("sesmail_quota_used_recipients", used, now.quota_used)
    left = "Recipients that a lane may still send to by the 24-hour quota; +Inf is no limit."
    by_lane = {(lane.value,): inf if recipients is None else recipients for lane, recipients in now.quota_left.items()}
    yield _gauge("sesmail_quota_left_recipients", left, ("lane",), by_lane.items())


def _line(closures: tuple[Closure, ...]) -> Metric:
    """The account and the lanes are always there, so that an alert on them has something to look at."""
    meaning = "1 where sending is closed: paused by an operator, stopped because SES would refuse it, or braked."
    closed = {(closure.scope, closure.how.value): 1 for closure in closures}
    usual = [ACCOUNT, *(f"lane:{lane}" for lane in Lane)]
    all_open = {(scope, how.value): 0 for scope in usual for how in How}
    return _gauge("sesmail_line_closed", meaning, ("scope", "how"), (all_open | closed).items())


def _reputation(judgements: list[Judgement]) -> Iterator[Metric]:
    """Over the window in which each looks worst."""
    bounces = {(each.scope,): each.outcome.bounce_rate for each in judgements}
    meaning = "Hard bounces per email of late, by list, site and account."
    yield _gauge("sesmail_bounce_rate", meaning, ("scope",), bounces.items())
    complaints = {(each.scope,): each.outcome.complaint_rate for each in judgements}
    meaning = "Complaints per email of late, by list, site and account."
    yield _gauge("sesmail_complaint_rate", meaning, ("scope",), complaints.items())


def _events(site: str, counts: Counts) -> Metric:
    meaning = "Events of SES for this site that wait to be processed, or were set aside after failures."
    by_state = {(site, "unprocessed"): counts.unprocessed, (site, "set_aside"): counts.set_aside}
    return _gauge("sesmail_events", meaning, ("site", "state"), by_state.items())


def _gauge(
    name: str, meaning: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for value_of_labels, value in values:
        family.add_metric(value_of_labels, value)
    return family


def _or_infinite(limit: float) -> float:
    """-1 is SES's word for no limit; an alert that compares with it would always go off."""
    return inf if limit < 0 else limit
