"""Doors for events, and other meetings with frameworks. No email logic is in here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesmail.events.intake import answer_to

if TYPE_CHECKING:
    from sesmail.events.intake import Answer, Headers
    from sesmail.events.parts import EventParts
    from sesmail.runtime import Runtime


def site_parts() -> Runtime:
    """The parts of a site, by its settings, those in Celery's configuration included. Raises `ConfigurationError`."""
    import sesmail.tasks  # noqa: F401, PLC0415  they bring Celery's settings in, and start the processing of events
    from sesmail import runtime  # noqa: PLC0415

    return runtime.current()


def event_parts() -> EventParts:
    """What the doors of a site use: events that come are processed at once, by a worker."""
    return site_parts().events


def answer(body: bytes, headers: Headers) -> Answer:
    """What the site answers to a post of SNS. Never raises: also a wrong setting must make SNS come again."""
    try:
        return event_parts().intake.answer(body, headers)
    except Exception as error:  # noqa: BLE001  whatever it is, SNS must be told to come again
        return answer_to(error)
