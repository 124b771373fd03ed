"""The kinds of events that SES tells of, one for each recipient: see `reading.py` for how they are read.

What each event means for the address, the rates and the delivery status stands in its class, by the tables of
https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from sesmail.state.people.reputation import Counter
from sesmail.state.people.suppression import Scope
from sesmail.tracing import TRACE_TAG
from sesmail.vocabulary import Delivery, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping


NO_TIME = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Mail:
    """The email that an event is about, as SES tells of it; what SES leaves out is empty."""

    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """SES's own words: the `mail` part of its JSON."""

    @property
    def message_id(self) -> str:
        """SES's id of it."""
        return _text(self.raw.get("messageId"))

    @property
    def source(self) -> str:
        """Who sent it: the mailbox in From."""
        return _text(self.raw.get("source"))

    @property
    def destination(self) -> tuple[str, ...]:
        """All whom it went to, as they were written; one given as text counts as a list of one."""
        given = self.raw.get("destination")
        return tuple(_text(one) for one in (given if isinstance(given, list) else [given]) if isinstance(one, str))

    @property
    def trace(self) -> str:
        """The `traceparent` of the OpenTelemetry trace in which it was sent; empty where it was not traced."""
        tags = self.raw.get("tags")
        given = tags.get(TRACE_TAG) if isinstance(tags, dict) else None
        return _text(given[0]) if isinstance(given, list) and given else ""

    @property
    def subject(self) -> str:
        """Its subject, where the headers are included."""
        common = self.raw.get("commonHeaders")
        subject = common.get("subject") if isinstance(common, dict) else None
        return _text(subject) or self.header("Subject")

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Names and values of its headers: with event publishing always, with identity notifications by setting.

        SES cuts them after 10 KB; `raw["headersTruncated"]` says whether it did.
        """
        given = self.raw.get("headers")
        rows = [row for row in given if isinstance(row, dict)] if isinstance(given, list) else []
        return tuple((_text(row["name"]), _text(row.get("value"))) for row in rows if _text(row.get("name")))

    def header(self, name: str) -> str:
        """The first header of that name, in whatever case; empty without."""
        given, wanted = self.raw.get("headers"), name.lower()
        for row in given if isinstance(given, list) else ():
            if isinstance(row, dict) and _text(row.get("name")).lower() == wanted:
                return _text(row.get("value"))
        return ""

    @property
    def tags(self) -> dict[str, tuple[str, ...]]:
        """All its tags with their values, SES's own (`ses:...`) too; none with identity notifications."""
        given = self.raw.get("tags")
        found = given.items() if isinstance(given, dict) else ()
        return {name: tuple(map(_text, values if isinstance(values, list) else [values])) for name, values in found}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


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
    """Whom it was sent to: the bare address; empty where SES does not tell which of several it was."""
    reported_address: str = field(default="", repr=False)
    """The address that SES names: another than `recipient` where that one's mailbox is forwarded."""
    candidates: tuple[str, ...] = field(default=(), repr=False)
    """Those whom it may be about, where SES names an address that the email did not go to, and it went to several."""
    message_id: str = ""
    """SES's id of the email."""
    event_id: str = ""
    """The id of the notification that tells of it: SNS's. A fact may be told under several; see `key`."""
    send_id: str | None = None
    """Our id of it; None for email that sesmail did not send."""
    list: str = ""
    """The list it was sent to, by its tag `sesmail-list`."""
    occurred_at: datetime = NO_TIME
    """By SES's clock, in UTC."""
    sent_at: datetime = NO_TIME
    """When SES took the email."""
    mail: Mail = field(default_factory=Mail, repr=False)
    """The email: its subject, sender, headers, tags."""
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """SES's own words about it: the `bounce`, `open`, ... part of its JSON."""
    mta_response: str = field(default="", repr=False)
    """What the recipient's server answered, of bounces, deliveries and delays; it may hold an address."""
    reject_reason: str = ""
    """Why SES refused to send, of `Rejected`."""
    user_agent: str = field(default="", repr=False)
    """The program that opened or clicked, or that reported the complaint."""
    unread: tuple[str, ...] = ()
    """Places in SES's JSON that could not be read, such as `bounce.timestamp`; the rest is used."""
    counter: Counter | None = None
    """What it adds one to."""
    delivery: Delivery | None = None
    """How far it proves that the email got."""
    suppresses: tuple[tuple[Reason, Scope], ...] = ()
    """The opt-outs that follow for the recipient."""
    lifts: tuple[Scope, ...] = ()
    """Where the recipient has come back to: opt-outs by SES's own means that end."""

    @property
    def why(self) -> str:
        """In SES's word, where it has one: `MailboxFull`, `abuse`."""
        return ""

    @property
    def opted_out_address(self) -> str:
        """Whom `suppresses` is about: the recipient, or the address that SES names where that is nobody known."""
        return self.recipient or self.reported_address


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent(Event):
    """SES took the email."""

    signal: ClassVar[str | None] = "email_accepted"
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
    """`Permanent`, `Transient` or `Undetermined`, as SES says."""
    bounce_sub_type: str
    """`General`, `MailboxFull`, `OnAccountSuppressionList`, ..., as SES says."""
    permanent: bool
    """Whether the address is to blame for good; otherwise SES gave up for a passing reason."""

    @property
    def why(self) -> str:
        """In SES's word."""
        return self.bounce_sub_type


@dataclass(frozen=True, slots=True, kw_only=True)
class Complained(Event):
    """The reader called it spam. Where the provider hides who, there is one event for each who may have been it."""

    signal: ClassVar[str | None] = "email_complained"
    feedback_type: str
    """`abuse`, `fraud`, `virus`, ..., or empty where the provider gives none."""
    delivery: Delivery | None = Delivery.COMPLAINED
    suppresses: tuple[tuple[Reason, Scope], ...] = ((Reason.COMPLAINED, Scope()),)

    @property
    def why(self) -> str:
        """In SES's word."""
        return self.feedback_type


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

    @property
    def why(self) -> str:
        """In SES's word."""
        return self.delay_type


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
class Resubscribed(Event):
    """The reader came back, at SES's page of preferences, to some topics or to everything."""

    signal = "email_resubscribed"
    topics: tuple[str, ...]
    """The topics that the reader came back to; empty where it was all email."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptedOutElsewhere(Event):
    """The reader opted out of everything at another site that shares its opt-outs with this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp(Event):
    """SES greets a topic, or SNS us. Nothing happened to any email."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unhandled(Event):
    """Kept, with no consequences: a kind that AWS added, or nothing that can be read."""

    what: str
    """SES's name of the kind, or why it cannot be read."""
