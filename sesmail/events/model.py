"""SES's JSON, read into typed events: one for each recipient that it is about.

SES tells the same things in two spellings (`eventType` of event publishing, `notificationType` of identity
notifications) and may add kinds and fields at any time. `read` never fails: what it does not know is `Unhandled`.

What each event means for the address, the rates and the delivery status stands in its class, by the tables of
https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any, ClassVar

from sesmail.message import ID_HEADER, ID_TAG, LIST_TAG
from sesmail.state.reputation import Counter
from sesmail.state.suppression import Scope
from sesmail.vocabulary import Delivery, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


_NO_TIME = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened to one email and, where SES says so, one recipient; and what follows from it."""

    signal: ClassVar[str | None] = None
    """The signal that tells of it."""

    site: str
    """Whose email it was about: the site that its topic belongs to."""
    key: str = field(default="", repr=False)
    """Equal for two notifications of one fact, whatever ids they came under. It holds the address."""
    recipient: str = field(default="", repr=False)
    """The bare address; empty where SES does not tell which of several it was."""
    message_id: str = ""
    """SES's id of the email."""
    send_id: str | None = None
    """Our id of it; None for email that sesmail did not send."""
    list: str = ""
    """The list it was sent to, by its tag `sesmail-list`."""
    occurred_at: datetime = _NO_TIME
    """By SES's clock, in UTC."""
    sent_at: datetime = _NO_TIME
    """When SES took the email."""
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """SES's own words about it: the `bounce`, `open`, ... part of its JSON."""
    counter: Counter | None = None
    """What it adds one to."""
    delivery: Delivery | None = None
    """How far it proves that the email got."""
    suppresses: tuple[tuple[Reason, Scope], ...] = ()
    """The opt-outs that follow for the recipient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent(Event):
    """SES took the email."""

    counter: Counter | None = Counter.SENT
    delivery: Delivery | None = Delivery.ACCEPTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered(Event):
    """The recipient's server took it. It may bounce yet."""

    signal = "email_delivered"
    counter: Counter | None = Counter.DELIVERED
    delivery: Delivery | None = Delivery.DELIVERED


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounced(Event):
    """It did not arrive."""

    signal = "email_bounced"
    bounce_type: str
    """`Permanent`, `Transient` or `Undetermined`."""
    bounce_sub_type: str
    """`General`, `MailboxFull`, `OnAccountSuppressionList`, ..., as SES says."""
    permanent: bool
    """Whether the address is to blame for good; otherwise SES gave up for a passing reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Complained(Event):
    """The reader called it spam. Where the provider hides who, there is one event for each who may have been it."""

    signal: ClassVar[str | None] = "email_complained"
    feedback_type: str
    """`abuse`, `fraud`, `virus`, ..., or empty where the provider gives none."""
    delivery: Delivery | None = Delivery.COMPLAINED
    suppresses: tuple[tuple[Reason, Scope], ...] = ((Reason.COMPLAINED, Scope()),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComplainedBefore(Complained):
    """SES did not send: the reader is on its suppression list for an earlier complaint. No new complaint."""

    signal = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened(Event):
    """The images of it were loaded."""

    signal = "email_opened"
    by_bot: bool
    """SES takes it for a machine's doing (`isBotEvent: Likely`): told, not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clicked(Event):
    """A link in it was followed."""

    signal = "email_clicked"
    by_bot: bool
    """SES takes it for a machine's doing (`isBotEvent: Likely`): told, not counted."""
    link: str = field(repr=False)
    """The address that was opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delayed(Event):
    """The recipient's server asks SES to wait. No failure: SES goes on trying."""

    signal = "email_delayed"
    delay_type: str
    """`MailboxFull`, `IPFailure`, `TransientCommunicationFailure`, ..., as SES says."""
    delivery: Delivery | None = Delivery.DELAYED


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(Event):
    """SES took the email, found a virus in it and did not send it."""

    signal = "email_rejected"
    delivery: Delivery | None = Delivery.REJECTED


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderingFailed(Event):
    """SES could not fill the template, so it did not send."""

    signal = "rendering_failed"
    error_message: str = field(repr=False)
    """Why, in SES's words."""
    template: str
    """Its name at SES."""
    delivery: Delivery | None = Delivery.RENDERING_FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsubscribed(Event):
    """The reader opted out through SES's list management, of some topics or of everything."""

    signal = "email_unsubscribed"
    topics: tuple[str, ...]
    """The topics left; empty for all."""
    counter: Counter | None = Counter.UNSUBSCRIBED


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp(Event):
    """SES greets a topic, or SNS us. Nothing happened to any email."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unhandled(Event):
    """Kept, with no consequences: a kind that AWS added, or nothing that can be read."""

    what: str
    """SES's name of the kind, or why it cannot be read."""


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


_GREETINGS = {"AmazonSnsSubscriptionSucceeded", "SubscriptionConfirmation"}


def _events(document: Mapping[str, Any], site: str) -> Iterator[Event]:
    if document.get("source") == "aws.ses" and "detail" in document:  # by way of EventBridge
        document = document["detail"]
    kind = document.get("eventType") or document.get("notificationType") or document.get("Type")
    if kind in _GREETINGS:
        yield SetUp(site=site)
    elif kind in _READERS:
        name, reader = _READERS[kind]
        yield from reader(_Email(document["mail"], site), document.get(name) or {})
    else:
        yield from _unhandled(document, site, str(kind))


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
    text = _text(address)
    return parseaddr(text)[1] if "<" in text else text


def _time(value: object) -> datetime:
    time = datetime.fromisoformat(_text(value))
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)


def _first(values: object) -> str | None:
    return values[0] if isinstance(values, list) and values and isinstance(values[0], str) else None


def _header(headers: Iterable[Mapping[str, Any]], name: str) -> str | None:
    return next((header["value"] for header in headers if header["name"].lower() == name.lower()), None)
