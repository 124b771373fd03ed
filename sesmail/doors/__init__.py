"""Where SES's events come in and figures are read out: thin, without email logic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesmail.events.intake import answer_to

if TYPE_CHECKING:
    from sesmail.client import Client
    from sesmail.events.intake import Answer, Headers


def site_client() -> Client:
    """The client of this site, whose events are processed at once by a worker. Raises `ConfigurationError`."""
    import sesmail.tasks  # noqa: F401, PLC0415  what is announced to the workers
    from sesmail.celery.current import current_client  # noqa: PLC0415  Lambda needs no Celery

    return current_client()


def answer_by_settings(body: bytes, headers: Headers) -> Answer:
    """What the site answers to a post of SNS. Never raises: also a wrong setting must make SNS come again."""
    try:
        return site_client().intake.answer(body, headers)
    except Exception as error:  # noqa: BLE001  whatever it is, SNS must be told to come again
        return answer_to(error)
