"""Background email through Amazon SES: queued, paced to the account's rate, lost by no crash.

    from sesmail import send_ses_email

    send_ses_email.delay("ann@example.org", "Your receipt", "Thank you.", from_email="shop@example.com")

Importing this package loads neither Celery nor boto3 nor Redis' client; each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sesmail.api import (
        cancel,
        erase,
        preview_batch,
        record_evidence,
        requeue,
        reschedule,
        send_batch,
        status,
        unsubscribe_headers,
    )
    from sesmail.celery.current import client_of, current_client
    from sesmail.celery.standalone import app
    from sesmail.celery.tasks import process_ses_events, send_ses_email, sweep
    from sesmail.client import Client
    from sesmail.errors import (
        ConfigurationError,
        EventStoreUnavailable,
        IdempotencyConflict,
        InvalidEmail,
        LedgerUnavailable,
        MissingExtra,
        MoveRefused,
        SesmailError,
        UnknownSend,
    )
    from sesmail.events.model import (
        Bounced,
        Clicked,
        Complained,
        Delayed,
        Delivered,
        Event,
        Opened,
        Rejected,
        RenderingFailed,
        Resubscribed,
        Sent,
        Unsubscribed,
    )
    from sesmail.message import Attachment, Email, Lane
    from sesmail.sending.batches.batch import Batch
    from sesmail.sending.letters.letter import Letter
    from sesmail.settings import Settings
    from sesmail.signals import (
        batch_finished,
        email_accepted,
        email_bounced,
        email_clicked,
        email_complained,
        email_delayed,
        email_delivered,
        email_event,
        email_failed,
        email_opened,
        email_rejected,
        email_resubscribed,
        email_sent,
        email_unsubscribed,
        receiver,
        rendering_failed,
    )
    from sesmail.vocabulary import (
        Accepted,
        BatchState,
        BatchStatus,
        Delivery,
        Erased,
        Move,
        Reached,
        Reason,
        State,
        Status,
    )

__version__ = "0.1.0"

__all__ = [
    "Accepted",
    "Attachment",
    "Batch",
    "BatchState",
    "BatchStatus",
    "Bounced",
    "Clicked",
    "Client",
    "Complained",
    "ConfigurationError",
    "Delayed",
    "Delivered",
    "Delivery",
    "Email",
    "Erased",
    "Event",
    "EventStoreUnavailable",
    "IdempotencyConflict",
    "InvalidEmail",
    "Lane",
    "LedgerUnavailable",
    "Letter",
    "MissingExtra",
    "Move",
    "MoveRefused",
    "Opened",
    "Reached",
    "Reason",
    "Rejected",
    "RenderingFailed",
    "Resubscribed",
    "Sent",
    "SesmailError",
    "Settings",
    "State",
    "Status",
    "UnknownSend",
    "Unsubscribed",
    "app",
    "batch_finished",
    "cancel",
    "client_of",
    "current_client",
    "email_accepted",
    "email_bounced",
    "email_clicked",
    "email_complained",
    "email_delayed",
    "email_delivered",
    "email_event",
    "email_failed",
    "email_opened",
    "email_rejected",
    "email_resubscribed",
    "email_sent",
    "email_unsubscribed",
    "erase",
    "preview_batch",
    "process_ses_events",
    "receiver",
    "record_evidence",
    "rendering_failed",
    "requeue",
    "reschedule",
    "send_batch",
    "send_ses_email",
    "status",
    "sweep",
    "unsubscribe_headers",
]

_HOMES = {
    "Accepted": "vocabulary",
    "Attachment": "message",
    "Batch": "sending.batches.batch",
    "BatchState": "vocabulary",
    "BatchStatus": "vocabulary",
    "Bounced": "events.model",
    "Clicked": "events.model",
    "Client": "client",
    "Complained": "events.model",
    "ConfigurationError": "errors",
    "Delayed": "events.model",
    "Delivered": "events.model",
    "Delivery": "vocabulary",
    "Email": "message",
    "Erased": "vocabulary",
    "Event": "events.model",
    "EventStoreUnavailable": "errors",
    "IdempotencyConflict": "errors",
    "InvalidEmail": "errors",
    "Lane": "message",
    "LedgerUnavailable": "errors",
    "Letter": "sending.letters.letter",
    "MissingExtra": "errors",
    "Move": "vocabulary",
    "MoveRefused": "errors",
    "Opened": "events.model",
    "Reached": "vocabulary",
    "Reason": "vocabulary",
    "Rejected": "events.model",
    "RenderingFailed": "events.model",
    "Resubscribed": "events.model",
    "Sent": "events.model",
    "SesmailError": "errors",
    "Settings": "settings",
    "State": "vocabulary",
    "Status": "vocabulary",
    "UnknownSend": "errors",
    "Unsubscribed": "events.model",
    "app": "celery.standalone",
    "batch_finished": "signals",
    "cancel": "api",
    "client_of": "celery.current",
    "current_client": "celery.current",
    "email_accepted": "signals",
    "email_bounced": "signals",
    "email_clicked": "signals",
    "email_complained": "signals",
    "email_delayed": "signals",
    "email_delivered": "signals",
    "email_event": "signals",
    "email_failed": "signals",
    "email_opened": "signals",
    "email_rejected": "signals",
    "email_resubscribed": "signals",
    "email_sent": "signals",
    "email_unsubscribed": "signals",
    "erase": "api",
    "preview_batch": "api",
    "process_ses_events": "celery.tasks",
    "receiver": "signals",
    "record_evidence": "api",
    "rendering_failed": "signals",
    "requeue": "api",
    "reschedule": "api",
    "send_batch": "api",
    "send_ses_email": "celery.tasks",
    "status": "api",
    "sweep": "celery.tasks",
    "unsubscribe_headers": "api",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"sesmail.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'sesmail' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
