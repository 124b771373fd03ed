"""SES's JSON, read into typed events: one for each recipient that it is about.

SES tells the same things in two spellings (`eventType` of event publishing, `notificationType` of identity
notifications) and may add kinds and fields at any time. `read` never fails: what it does not know is `Unhandled`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any

from sesmail.events.model import (
    Bounced,
    Clicked,
    Complained,
    ComplainedBefore,
    Delayed,
    Delivered,
    Event,
    Opened,
    OptedOutElsewhere,
    Rejected,
    RenderingFailed,
    Sent,
    SetUp,
    Unhandled,
    Unsubscribed,
)
from sesmail.message import ID_HEADER, ID_TAG, LIST_TAG
from sesmail.message.addresses import normal_address
from sesmail.state.reputation import Counter
from sesmail.state.suppression import Scope
from sesmail.vocabulary import Delivery, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


def read(message: str, *, site: str) -> tuple[Event, ...]:
    """The events in a message of SES; never empty. Never raises."""
    try:
        document = _json(message)
    except (ValueError, RecursionError):
        return (_not_json(message, site),)
    try:
        return tuple(_events(document, site)) or (Unhandled(site=site, what="without recipients"),)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return (Unhandled(site=site, what="not as SES writes it"),)


def _json(message: str) -> Any:
    r"""The document, without halves of characters such as `\ud83d`, which cut user agents have and no store takes."""
    document = json.loads(message)
    if "\\ud" in message or "\\uD" in message:
        return json.loads(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))
    return document


def _not_json(message: str, site: str) -> Event:
    # SES sends this line whenever an event destination is made or changed.
    if message.startswith("Successfully validated SNS topic"):
        return SetUp(site=site)
    return Unhandled(site=site, what="not JSON")


SHARED_OPT_OUT = "SesmailSharedOptOut"
"""What `sharing.py` calls the kind of event that is ours, not SES's."""
_GREETINGS = {"AmazonSnsSubscriptionSucceeded", "SubscriptionConfirmation"}


def _events(document: Mapping[str, Any], site: str) -> Iterator[Event]:
    if document.get("source") == "aws.ses" and "detail" in document:  # by way of EventBridge
        document = document["detail"]
    kind = document.get("eventType") or document.get("notificationType") or document.get("Type")
    if kind in _GREETINGS:
        yield SetUp(site=site)
    elif kind == SHARED_OPT_OUT:
        yield _opted_out_elsewhere(document["optOut"], site)
    elif kind in _READERS:
        name, reader = _READERS[kind]
        yield from reader(_Email(document["mail"], site), document.get(name) or {})
    else:
        yield from _unhandled(document, site, str(kind))


def _opted_out_elsewhere(said: Mapping[str, Any], site: str) -> Event:
    reason = Reason(said["reason"])
    return OptedOutElsewhere(
        site=site,
        recipient=_bare(said["address"]),
        occurred_at=_time(said["since"]),
        suppresses=((reason, Scope()),),
    )


def _unhandled(document: Mapping[str, Any], site: str, what: str) -> Iterator[Event]:
    """An event of a new kind still proves that SES took the email."""
    if "mail" in document:
        yield Unhandled(**_Email(document["mail"], site).fields({}, what), what=what)
    else:
        yield Unhandled(site=site, what=what)


class _Email:
    """The `mail` part of an event: what its events have in common."""

    def __init__(self, mail: Mapping[str, Any], site: str) -> None:
        self.recipients = [_bare(address) for address in mail["destination"]]
        self.sent_at = _time(mail["timestamp"])
        self.message_id = _text(mail["messageId"])
        self.site = site
        tags = mail.get("tags") or {}
        self._list = _first(tags.get(LIST_TAG)) or ""
        self._send_id = _first(tags.get(ID_TAG)) or _header(mail.get("headers") or (), ID_HEADER)

    @property
    def only_recipient(self) -> str:
        """The one recipient, or nothing: SES does not tell which of several opened or clicked."""
        return self.recipients[0] if len(self.recipients) == 1 else ""

    def fields(self, details: Mapping[str, Any], *key: str, recipient: str = "") -> dict[str, Any]:
        """The fields of an event about this email. Its key begins with SES's id, which is unique in the world."""
        return {
            "site": self.site,
            "key": "\n".join((self.message_id, *key, recipient)),
            "recipient": recipient,
            "message_id": self.message_id,
            "send_id": self._send_id,
            "list": self._list,
            "occurred_at": _time(details["timestamp"]) if "timestamp" in details else self.sent_at,
            "sent_at": self.sent_at,
            "details": details,
        }


def _sent(email: _Email, details: Mapping[str, Any]) -> Iterator[Event]:
    for recipient in email.recipients:
        yield Sent(**email.fields(details, "sent", recipient=recipient))


def _delivered(email: _Email, details: Mapping[str, Any]) -> Iterator[Event]:
    for address in details["recipients"]:
        yield Delivered(**email.fields(details, "delivered", recipient=_bare(address)))


# Permanent bounces: bounceSubType -> reason. General, NoEmail and what AWS may add mean that the address is not there.
_PERMANENT_REASONS = {
    "OnAccountSuppressionList": Reason.SES_LIST,
    "OnTenantSuppressionList": Reason.SES_LIST,
    "EmailValidationSuppressed": Reason.INVALID,
    "UnsubscribedRecipient": Reason.UNSUBSCRIBED,
}
_ONLY_FOR_THE_SITE = {"OnTenantSuppressionList", "UnsubscribedRecipient"}
_PASSING_COUNTERS = {"Undetermined": Counter.BOUNCED_UNDETERMINED}


def _bounced(email: _Email, details: Mapping[str, Any]) -> Iterator[Event]:
    # Only those who are listed bounced, not all of mail.destination. The key has no feedbackId: whether the two
    # spellings of one bounce share it is not documented, and a second out-of-office answer is no second bounce.
    kind, sub_type = _text(details["bounceType"]), _text(details.get("bounceSubType") or "")
    for recipient in details["bouncedRecipients"]:
        # Within a permanent bounce, the recipient's own action may be `delayed`: that one has not failed.
        permanent = kind == "Permanent" and recipient.get("action") != "delayed"
        yield Bounced(
            **email.fields(details, "bounced", kind, recipient=_bare(recipient["emailAddress"])),
            **(_after_permanent_bounce(sub_type, email.site) if permanent else _after_passing_bounce(kind)),
            bounce_type=kind,
            bounce_sub_type=sub_type,
            permanent=permanent,
        )


def _after_permanent_bounce(sub_type: str, site: str) -> dict[str, Any]:
    reason = _PERMANENT_REASONS.get(sub_type, Reason.BOUNCED)
    return {
        "counter": Counter.BOUNCED_PERMANENT if reason is Reason.BOUNCED else Counter.BOUNCED_SUPPRESSED,
        "delivery": Delivery.BOUNCED,
        "suppresses": ((reason, Scope(site) if sub_type in _ONLY_FOR_THE_SITE else Scope()),),
    }


def _after_passing_bounce(kind: str) -> dict[str, Any]:
    return {
        "counter": _PASSING_COUNTERS.get(kind, Counter.BOUNCED_TRANSIENT),
        "delivery": Delivery.UNDELIVERED,
    }


def _complained(email: _Email, details: Mapping[str, Any]) -> Iterator[Event]:
    feedback_type = _text(details.get("complaintFeedbackType") or "")
    if feedback_type == "not-spam":  # somebody took it out of the spam folder
        yield Unhandled(**email.fields(details, "not-spam"), what="Complaint/not-spam")
        return
    before = bool(details.get("complaintSubType"))  # OnAccountSuppressionList
    for number, recipient in enumerate(details["complainedRecipients"]):
        yield (ComplainedBefore if before else Complained)(
            **email.fields(details, "complained", recipient=_bare(recipient["emailAddress"])),
            feedback_type=feedback_type,
            counter=None if before or number else Counter.COMPLAINED,  # one complaint, however many it may be from
        )


def _opened(email: _Email, details: Mapping[str, Any]) -> Iterator[Event]:
    by_bot = details.get("isBotEvent") == "Likely"
    yield Opened(**_visit(email, details, "opened"), by_bot=by_bot, counter=None if by_bot else Counter.OPENED)


def _clicked(email: _Email, details: Mapping[str, Any]) -> Iterator[Event]:
    by_bot = details.get("isBotEvent") == "Likely"
    link = _text(details.get("link") or "")
    fields = _visit(email, details, "clicked", link)
    yield Clicked(**fields, by_bot=by_bot, link=link, counter=None if by_bot else Counter.CLICKED)


def _visit(email: _Email, details: Mapping[str, Any], *key: str) -> dict[str, Any]:
    visitor = [str(details.get(name)) for name in ("timestamp", "ipAddress", "userAgent")]
    return email.fields(details, *key, *visitor, recipient=email.only_recipient)


def _delayed(email: _Email, details: Mapping[str, Any]) -> Iterator[Event]:
    for recipient in details["delayedRecipients"]:
        yield Delayed(
            **email.fields(details, "delayed", details["timestamp"], recipient=_bare(recipient["emailAddress"])),
            delay_type=_text(details.get("delayType") or ""),
        )


def _rejected(email: _Email, details: Mapping[str, Any]) -> Iterator[Event]:
    for recipient in email.recipients:
        yield Rejected(**email.fields(details, "rejected", recipient=recipient))


def _rendering_failed(email: _Email, details: Mapping[str, Any]) -> Iterator[Event]:
    for recipient in email.recipients:
        yield RenderingFailed(
            **email.fields(details, "rendering", recipient=recipient),
            error_message=_text(details.get("errorMessage") or ""),
            template=_text(details.get("templateName") or ""),
        )


def _subscription(email: _Email, details: Mapping[str, Any]) -> Iterator[Event]:
    preferences = details["newTopicPreferences"]
    topics = tuple(
        _text(topic["topicName"])
        for topic in preferences.get("topicSubscriptionStatus") or ()
        if topic.get("subscriptionStatus") == "OptOut"
    )
    everything = preferences.get("unsubscribeAll") is True
    fields = email.fields(details, "subscription", details["timestamp"], recipient=email.only_recipient)
    left = () if everything else topics
    if (everything or topics) and email.only_recipient:
        opt_outs = tuple((Reason.UNSUBSCRIBED, Scope(email.site, topic)) for topic in left or ("",))
        yield Unsubscribed(**fields, topics=left, suppresses=opt_outs)
    else:
        yield Unhandled(**fields, what="Subscription")


# SES's name of the kind -> its part of the JSON, and who reads it.
_READERS: dict[str, tuple[str, Callable[[_Email, Mapping[str, Any]], Iterator[Event]]]] = {
    "Send": ("send", _sent),
    "Delivery": ("delivery", _delivered),
    "Bounce": ("bounce", _bounced),
    "Complaint": ("complaint", _complained),
    "Open": ("open", _opened),
    "Click": ("click", _clicked),
    "DeliveryDelay": ("deliveryDelay", _delayed),
    "Reject": ("reject", _rejected),
    "Rendering Failure": ("failure", _rendering_failed),
    "Subscription": ("subscription", _subscription),
}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _bare(address: object) -> str:
    """Without a name, in the form in which the send's row and the opt-outs have it."""
    text = _text(address)
    return normal_address(parseaddr(text)[1] if "<" in text else text)


def _time(value: object) -> datetime:
    time = datetime.fromisoformat(_text(value))
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)


def _first(values: object) -> str | None:
    return values[0] if isinstance(values, list) and values and isinstance(values[0], str) else None


def _header(headers: Iterable[Mapping[str, Any]], name: str) -> str | None:
    return next((header["value"] for header in headers if header["name"].lower() == name.lower()), None)
