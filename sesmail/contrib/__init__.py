"""Doors for events, and other meetings with frameworks. No email logic is in here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesmail.events.intake import answer_to

if TYPE_CHECKING:
    from sesmail.events.intake import Answer, Headers
    from sesmail.events.parts import EventParts


def event_parts() -> EventParts:
    """What the doors of a site use: by its settings, those in Celery's configuration included.

    Events that come are processed at once, by a worker. Raises `ConfigurationError`.
    """
    import sesmail.tasks  # noqa: F401, PLC0415  they bring Celery's settings in, and start the processing
    from sesmail import runtime  # noqa: PLC0415

    return runtime.current().events


def answer(body: bytes, headers: Headers) -> Answer:
    """What the site answers to a post of SNS. Never raises: also a wrong setting must make SNS come again."""
    try:
        return event_parts().intake.answer(body, headers)
    except Exception as error:  # noqa: BLE001  whatever it is, SNS must be told to come again
        return answer_to(error)
