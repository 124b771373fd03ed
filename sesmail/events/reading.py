"""SES's JSON, read into typed events: one for each recipient that it is about.

SES tells the same things in two spellings (`eventType` of event publishing, `notificationType` of identity
notifications) and may add kinds and fields at any time. `read` never fails: what it does not know is `Unhandled`, and
what cannot be read within an event costs no more than itself (see `fields.py`).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sesmail.events.feedback import bounced, complained, delayed, delivered
from sesmail.events.fields import EARLIEST, Part, readable_address
from sesmail.events.mail import EmailRead
from sesmail.events.model import (
    Clicked,
    Event,
    Opened,
    OptedOutElsewhere,
    Rejected,
    RenderingFailed,
    Sent,
    SetUp,
    Unhandled,
)
from sesmail.events.preferences import subscription
from sesmail.state.people.reputation import Counter
from sesmail.state.people.suppression import Scope
from sesmail.vocabulary import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sesmail.events.stores import StoredEvent


def read_stored(stored: StoredEvent, *, site: str) -> tuple[Event, ...]:
    """The events in a stored notification; see `read`."""
    return read(stored.message, site=site, event_id=stored.event_id, received_at=stored.received_at)


def read(message: str, *, site: str, event_id: str = "", received_at: float = 0.0) -> tuple[Event, ...]:
    """The events in a message of SES; never empty. Never raises.

    `event_id` is the notification's, and `received_at` (epoch seconds) stands in for times that cannot be read.
    """
    try:
        document = _json(message)
    except (ValueError, RecursionError):
        return (_not_json(message, site, event_id),)
    nothing = Unhandled(site=site, event_id=event_id, what="not as SES writes it")
    try:
        received = datetime.fromtimestamp(received_at, UTC) if received_at >= EARLIEST.timestamp() else None
        return tuple(_events(document, site, event_id, received)) or (nothing,)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return (nothing,)


def _json(message: str) -> Any:
    r"""The document, without halves of characters such as `\ud83d`, which cut user agents have and no store takes."""
    document = json.loads(message)
    if "\\ud" in message or "\\uD" in message:
        return json.loads(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))
    return document


def _not_json(message: str, site: str, event_id: str) -> Event:
    # SES sends this line whenever an event destination is made or changed.
    if message.startswith("Successfully validated SNS topic"):
        return SetUp(site=site, event_id=event_id)
    return Unhandled(site=site, event_id=event_id, what="not JSON")


SHARED_OPT_OUT = "SesmailSharedOptOut"
"""What `sharing.py` calls the kind of event that is ours, not SES's."""
_GREETINGS = {"AmazonSnsSubscriptionSucceeded", "SubscriptionConfirmation"}
_KNOWN_FOR = {"Received": "Received: inbound email, whose rules should have a topic of their own"}
"""What SES tells through the same topics, where they are set up so, that is not about emails sent."""


def _events(document: Any, site: str, event_id: str, received: datetime | None) -> Iterator[Event]:
    if isinstance(document, dict) and document.get("source") == "aws.ses" and "detail" in document:
        document = document["detail"]  # by way of EventBridge
    unread: list[str] = []
    told = Part(document, "", unread)
    kind = told.text("eventType") or told.text("notificationType") or told.text("Type")
    if kind in _GREETINGS:
        yield SetUp(site=site, event_id=event_id)
    elif kind == SHARED_OPT_OUT:
        yield _opted_out_elsewhere(document["optOut"], site, event_id)
    else:
        email = EmailRead(told.part("mail"), site, event_id, received, unread)
        known = _known_kind(kind, told)
        if known:
            name, reader = _READERS[known]
            yield from reader(email, told.part(name))
        elif told.raw:
            yield from _unhandled(email, _KNOWN_FOR.get(kind, kind or "of no kind"))


def _known_kind(kind: str, told: Part) -> str | None:
    """SES's name of the kind; where that cannot be read, by the part that only this kind has."""
    if kind in _READERS:
        return kind
    folded = kind.replace(" ", "").lower()
    spelt = next((name for name in _READERS if name.replace(" ", "").lower() == folded), None)
    if spelt is None:
        of_parts = [name for name, (part, _) in _READERS.items() if isinstance(told.get(part), dict)]
        spelt = of_parts[0] if len(of_parts) == 1 else None
        if spelt:
            told.note("eventType")
    return spelt


def _opted_out_elsewhere(said: Mapping[str, Any], site: str, event_id: str) -> Event:
    return OptedOutElsewhere(
        site=site,
        event_id=event_id,
        recipient=readable_address(said["address"]),
        occurred_at=datetime.fromisoformat(said["since"]).astimezone(UTC),
        suppresses=((Reason(said["reason"]), Scope()),),
    )


def _unhandled(email: EmailRead, what: str) -> Iterator[Event]:
    """An event of a new kind still proves that SES took the email."""
    if email.is_there:
        yield Unhandled(**email.fields(Part(None, "", []), what), what=what)
    else:
        yield Unhandled(site=email.site, event_id=email.event_id, what=what)


def _sent(email: EmailRead, details: Part) -> Iterator[Event]:
    for recipient in email.recipients or [""]:
        yield Sent(**email.fields(details, "sent", recipient=recipient))


def _opened(email: EmailRead, details: Part) -> Iterator[Event]:
    by_bot = details.text("isBotEvent") == "Likely"
    yield Opened(**_visit(email, details, "opened"), by_bot=by_bot, counter=None if by_bot else Counter.OPENED)


def _clicked(email: EmailRead, details: Part) -> Iterator[Event]:
    by_bot = details.text("isBotEvent") == "Likely"
    link = details.text("link")
    fields = _visit(email, details, "clicked", link)
    yield Clicked(**fields, by_bot=by_bot, link=link, counter=None if by_bot else Counter.CLICKED)


def _visit(email: EmailRead, details: Part, *key: str) -> dict[str, Any]:
    visitor = [str(details.get(name)) for name in ("timestamp", "ipAddress", "userAgent")]
    fields = email.fields(details, *key, *visitor, recipient=email.only_recipient)
    return fields | {"user_agent": details.text("userAgent")}


def _rejected(email: EmailRead, details: Part) -> Iterator[Event]:
    for recipient in email.recipients or [""]:
        fields = email.fields(details, "rejected", recipient=recipient)
        yield Rejected(**fields, reject_reason=details.text("reason"))


def _rendering_failed(email: EmailRead, details: Part) -> Iterator[Event]:
    for recipient in email.recipients or [""]:
        yield RenderingFailed(
            **email.fields(details, "rendering", recipient=recipient),
            error_message=details.text("errorMessage"),
            template=details.text("templateName"),
        )


# SES's name of the kind -> its part of the JSON, and who reads it.
_READERS: dict[str, tuple[str, Callable[[EmailRead, Part], Iterator[Event]]]] = {
    "Send": ("send", _sent),
    "Delivery": ("delivery", delivered),
    "Bounce": ("bounce", bounced),
    "Complaint": ("complaint", complained),
    "Open": ("open", _opened),
    "Click": ("click", _clicked),
    "DeliveryDelay": ("deliveryDelay", delayed),
    "Reject": ("reject", _rejected),
    "Rendering Failure": ("failure", _rendering_failed),
    "Subscription": ("subscription", subscription),
}
