"""Background email through Amazon SES: queued, paced to the account's rate, lost by no crash.

    from sesmail import send_ses_email

    send_ses_email.delay("ann@example.org", "Your receipt", "Thank you.", from_email="shop@example.com")

Importing this package loads neither boto3 nor Redis' client; each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sesmail.celery import app
    from sesmail.errors import InvalidEmail, LedgerUnavailable, MoveRefused, SesmailError, UnknownSend
    from sesmail.message import Attachment, Email, Lane
    from sesmail.sends import cancel, record_evidence, requeue, reschedule, status, unsubscribe_headers
    from sesmail.signals import (
        email_bounced,
        email_clicked,
        email_complained,
        email_delayed,
        email_delivered,
        email_opened,
        email_rejected,
        email_unsubscribed,
        rendering_failed,
    )
    from sesmail.tasks import process_ses_events, send_ses_email, sweep

__version__ = "0.1.0"

__all__ = [
    "Attachment",
    "Email",
    "InvalidEmail",
    "Lane",
    "LedgerUnavailable",
    "MoveRefused",
    "SesmailError",
    "UnknownSend",
    "app",
    "cancel",
    "email_bounced",
    "email_clicked",
    "email_complained",
    "email_delayed",
    "email_delivered",
    "email_opened",
    "email_rejected",
    "email_unsubscribed",
    "process_ses_events",
    "record_evidence",
    "rendering_failed",
    "requeue",
    "reschedule",
    "send_ses_email",
    "status",
    "sweep",
    "unsubscribe_headers",
]

_HOMES = {
    "Attachment": "message",
    "Email": "message",
    "InvalidEmail": "errors",
    "Lane": "message",
    "LedgerUnavailable": "errors",
    "MoveRefused": "errors",
    "SesmailError": "errors",
    "UnknownSend": "errors",
    "app": "celery",
    "cancel": "sends",
    "email_bounced": "signals",
    "email_clicked": "signals",
    "email_complained": "signals",
    "email_delayed": "signals",
    "email_delivered": "signals",
    "email_opened": "signals",
    "email_rejected": "signals",
    "email_unsubscribed": "signals",
    "process_ses_events": "tasks",
    "record_evidence": "sends",
    "rendering_failed": "signals",
    "requeue": "sends",
    "reschedule": "sends",
    "send_ses_email": "tasks",
    "status": "sends",
    "sweep": "tasks",
    "unsubscribe_headers": "sends",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"sesmail.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'sesmail' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
