"""What a caller says to `apply_async`, besides the email: checked before anything is accepted.

Later it could only be told to nobody: the email is accepted by then, and the tickets that carry it fail one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from celery import signature
from kombu.entity import Queue

from sesmail.errors import InvalidEmail
from sesmail.message.text import kind_of

if TYPE_CHECKING:
    from celery import Celery

LONGEST_SECONDS = 100 * 365 * 86_400.0
"""What is further away was written by mistake."""
HIGHEST_PRIORITY = 255
"""In AMQP it is an octet; Redis' has ten."""
_OF_TICKETS = ("serializer", "compression", "soft_time_limit", "time_limit")
"""Every worker reads plain JSON, and has limits of its own for email."""


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Celery's options, without those that no ticket has. Raises `InvalidEmail` for what cannot be heeded."""
    if not options:
        return {}
    _check_priority(options.get("priority"))
    _check_queue(options.get("queue"))
    _check_headers(options.get("headers"))
    for name in ("link", "link_error"):
        _check_signatures(name, options.get(name))
    return {name: value for name, value in options.items() if name not in _OF_TICKETS}


def _check_priority(priority: object) -> None:
    if priority is None:
        return
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise InvalidEmail("priority", f"is {kind_of(priority)}", f"a whole number from 0 to {HIGHEST_PRIORITY}")
    if not 0 <= priority <= HIGHEST_PRIORITY:
        raise InvalidEmail("priority", "is out of range", f"a whole number from 0 to {HIGHEST_PRIORITY}")


def _check_queue(queue: object) -> None:
    if queue is not None and not isinstance(queue, str | Queue):
        raise InvalidEmail("queue", f"is {kind_of(queue)}; give its name")


def _check_headers(headers: object) -> None:
    if headers is None:
        return
    if not isinstance(headers, Mapping) or not all(isinstance(name, str) for name in headers):
        raise InvalidEmail("headers", "are those of a Celery message: give a mapping of names to values")


def _check_signatures(name: str, given: object) -> None:
    each = given if isinstance(given, list | tuple) else [given] if given else []
    if not all(isinstance(one, Mapping) and is_signature(one) for one in each):
        raise InvalidEmail(name, "names no task to go on with: give a signature, such as `task.si(...)`, or a list")


def is_signature(value: Any) -> bool:
    """Whether Celery can make a task's signature of it."""
    try:
        found = signature(value)
        kinds = ((found.task, str), (found.args, list | tuple), (found.kwargs, dict), (found.options, dict))
        return all(isinstance(part, kind) for part, kind in kinds)
    except Exception:  # noqa: BLE001  a group, chain or chord is built of what it says
        return False


def seconds_until(field: str, when: float | timedelta | datetime | str | None, app: Celery) -> float | None:
    """Seconds from now to a time; a number is seconds already, a naive time is in Celery's timezone.

    Raises `InvalidEmail`.
    """
    if isinstance(when, timedelta):
        when = when.total_seconds()
    if isinstance(when, str):
        when = _parsed(field, when)
    if isinstance(when, datetime):
        aware = when if when.tzinfo else when.replace(tzinfo=app.timezone)
        return (aware - datetime.now(UTC)).total_seconds()
    if when is None:
        return None
    if isinstance(when, bool) or not isinstance(when, int | float):
        raise InvalidEmail(field, f"is {kind_of(when)}; give seconds, a timedelta or a datetime")
    if not abs(when) <= LONGEST_SECONDS:  # not a number is neither
        raise InvalidEmail(field, "is no number of seconds within a hundred years")
    return when


def moment_until(field: str, when: datetime | str | None, app: Celery) -> float | None:
    """The same for what is a time and nothing else: a number might be seconds from now, or since 1970."""
    if when is not None and not isinstance(when, datetime | timedelta | str):
        raise InvalidEmail(field, f"is {kind_of(when)}; give a datetime, or `countdown` for seconds from now")
    return seconds_until(field, when, app)


def _parsed(field: str, when: str) -> datetime:
    try:
        return datetime.fromisoformat(when)
    except ValueError:
        raise InvalidEmail(field, "is not a date and time in ISO 8601, such as 2027-01-31T09:00:00+01:00") from None
