"""The records that the floors share, and what each state and word means."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sesmail.errors import SesError
    from sesmail.message import Email, Lane


DEFAULT_ACCOUNT = "default"
"""The SES account of emails for which none is named, and of sent rows that name none."""


class State(StrEnum):
    """Where a send is in its life."""

    QUEUED = "queued"  #: accepted; its ticket is, or will be, in the broker
    SCHEDULED = "scheduled"  #: waits for a time: asked for, backing off, or the line is closed
    CLAIMED = "claimed"  #: a worker holds it; SES has not been asked
    SENDING = "sending"  #: SES is being asked
    UNKNOWN = "unknown"  #: SES may have it: no clear answer came
    SENT = "sent"  #: SES took it and gave a message id
    REJECTED = "rejected"  #: SES refused it for good
    SUPPRESSED = "suppressed"  #: every recipient has opted out, complained or bounced
    CANCELLED = "cancelled"  #: taken back before SES was asked
    EXPIRED = "expired"  #: its expiry time passed first
    ABANDONED = "abandoned"  #: attempts or age used up


def state_of(name: str) -> State:
    """The state of that name; one that a newer release has goes by its name, and is none of ours."""
    try:
        return State(name)
    except ValueError:
        newer = str.__new__(State, name)
        newer._name_, newer._value_ = name.upper(), name
        return newer


WAITING = (State.QUEUED, State.SCHEDULED, State.CLAIMED, State.SENDING, State.UNKNOWN)
FAILED = (State.REJECTED, State.SUPPRESSED, State.CANCELLED, State.EXPIRED, State.ABANDONED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """The id of an email's send, which may be an earlier one with the same idempotency key."""

    send_id: str
    state: str
    """The state that it is in by now."""
    new: bool
    """Whether this call made it."""
    has_ticket: bool = False
    """Whether its ticket went into the broker's queue in the same act."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Erased:
    """What was removed of a person, for the file; no address stands in it. All numbers are counts."""

    pseudonym: str
    """What the opt-outs call the address since: a keyed hash of it, as an address that nobody can have."""
    at: float
    """Epoch seconds, by Redis' clock."""
    dry_run: bool
    """Whether nothing was done: then it is what would be removed."""
    waiting_email: int
    """Email to this address alone that had not gone out: it was cancelled, and its text removed."""
    failed_email: int
    """The same of email that had failed; it cannot be sent again."""
    taken_out_of_email_to_others: int
    """Email to several: it goes to the others, or can be sent again to them."""
    being_sent: int
    """Of all these, those that SES was being asked to take: they may have gone out. They are not sent again."""
    events: int
    """Stored events in which the address stood, and what told of the person: it stands there no more."""
    deliveries: int
    """Notes of how far an email got."""
    metadata: int
    """Sends whose metadata was removed, or named the address."""
    index_entries: int
    """Sends that were found by the address."""
    opt_outs_kept: int
    """They hold as before, under the pseudonym."""
    named_in_email_to_others: int
    """Email to others whose text or headers name the address: it goes out as it is, and is removed with it."""
    left_unread: int
    """Email to several that this release cannot read, and so could not take the address out of."""
    left_to_newer_release: int
    """Email of a newer release: run its `sesmail erase`."""
    not_looked_through: tuple[str, ...]
    """Where the person may be named as well, in words: for whoever has to see to it there."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Claim:
    """One worker's hold on one send. Its token goes with every move; once another worker has it, moves are refused."""

    send_id: str
    token: str
    lane: Lane
    express: bool
    """Whether it goes ahead of bulk: its ticket was issued again."""
    attempts: int
    """How often SES was asked without a clear answer."""
    waits: int
    """How often it backed off: what the next back-off grows with."""
    email: Email
    """Without the recipients who have opted out."""
    callers: tuple[str, ...] = ()
    """The task ids of those who want something done at its end."""
    site: str = ""
    """Whose it is."""
    account: str = DEFAULT_ACCOUNT
    """The SES account that it is of."""
    through: str = DEFAULT_ACCOUNT
    """The one that SES is asked through now: its own, or the fall-back."""
    run: str = ""
    """The batch that it is of."""
    run_rate: float | None = None
    """Recipients a second that the batch may have at most."""

    def __repr__(self) -> str:
        return f"Claim({self.send_id}, {self.lane}, attempts={self.attempts}, waits={self.waits})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """A move by which a send left the common road, which is to be accepted, asked for and sent."""

    at: float
    """Epoch seconds by Redis' clock, in whole seconds; of several in a row, of the first."""
    state: State
    """Into which state."""
    why: str
    """In a word, such as `throttled`, `worker-gone`, or the code of SES's error; may be empty."""
    worker: str
    """The worker that held it, as host, process and a random part; empty where none did, and once it is sent."""
    times: int = 1
    """How often it was made in a row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """What SES has told of an email to one recipient; of each kind, the first."""

    at: float
    """Epoch seconds by SES's clock, in whole seconds."""
    recipient: str = field(repr=False)
    delivery: Delivery
    why: str = ""
    """In SES's word, such as `MailboxFull` or `abuse`; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """What is known of a send, and nothing of the email's text. Times are epoch seconds by Redis' clock."""

    send_id: str
    state: State
    lane: Lane
    recipients: int
    """How many SES counts: `to`, `cc` and `bcc` together."""
    accepted_at: float
    changed_at: float
    """When it came into its state."""
    attempts: int
    """How often SES was asked without a clear answer."""
    waits: int
    """How often it backed off."""
    message_id: str | None
    """SES's id of it, once it is sent."""
    reason: str | None
    """For people: why it waits, or was not sent."""
    code: str | None
    """The error's code, as SES spells it."""
    account: str = DEFAULT_ACCOUNT
    """The SES account that it is of."""
    through: str = DEFAULT_ACCOUNT
    """The one that SES was asked through last: another one where it fell back."""
    moves: tuple[Move, ...] = ()
    """The latest moves by which it left the common road, in order; once it is sent, the last few."""
    deliveries: Mapping[str, Delivery] = field(default_factory=dict, repr=False)
    """How far it got with each recipient of whom SES has told, as `sesmail.status` answers it."""
    reached: tuple[Reached, ...] = field(default=(), repr=False)
    """What SES has told of each recipient, in order, as `sesmail.status` answers it."""


class BatchState(StrEnum):
    """Where a batch is in its life."""

    QUEUEING = "queueing"  #: its list is being read; nothing is sent before it was read to its end
    RUNNING = "running"  #: it is sent, at the rate and in its turn
    PAUSED = "paused"  #: somebody has paused it
    CANCELLED = "cancelled"  #: somebody has taken back what had not begun
    FINISHED = "finished"  #: everybody's send has come to its end


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchStatus:
    """How far a batch is. Times are epoch seconds by Redis' clock."""

    batch_id: str
    state: BatchState
    lane: Lane
    list: str
    """The list that it goes to; empty for none."""
    accepted_at: float
    changed_at: float
    """When any of its recipients came into another state."""
    finished_at: float | None
    waits_until: float
    """When it goes on, where it waits for a time, the quota or a closed line."""
    counts: Mapping[str, int]
    """How many recipients are in each state; those without any are left out."""
    rate: float | None = None
    """Recipients a second that it may have at most, where somebody has slowed it down."""
    ramp: int | None = None
    """How many may go on its first day, twice as many on each that follows, where it has a ramp."""
    events: Mapping[str, int] = field(default_factory=dict)
    """What SES's events, and readers by their links, have told of it so far: `delivered`, `bounced_permanent`,
    `complained`, `unsubscribed` and the like, each with how often; what was never told is left out."""
    site: str = ""
    """Whose it is."""
    account: str = DEFAULT_ACCOUNT
    """The SES account that it goes through."""

    @property
    def recipients(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    @property
    def waiting(self) -> int:
        """Those that have not come to an end."""
        return sum(self.counts.get(state, 0) for state in WAITING)

    @property
    def done(self) -> int:
        """Those that have."""
        return self.recipients - self.waiting


@dataclass(frozen=True, kw_only=True, slots=True)
class Ticket:
    """A send that needs a ticket in the broker."""

    send_id: str
    lane: Lane
    wishes: str = field(default="", repr=False)
    """What its caller gave with it, as the broker has written it."""
    task_id: str | None = None
    """Of whose task it is the ticket, where that is not the send's own id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Envelope:
    """A ticket as its broker keeps it, for a ledger in the same Redis to put into the queue."""

    queue: str
    """The key of the list to whose left it is pushed."""
    message: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who calls for a send, and what it wants with its tickets and at its end, as the broker writes that."""

    task_id: str
    wishes: str = field(repr=False)
    waits: bool
    """Whether it wants to know the end: its wishes are kept until then."""
    waits_for_others: bool
    """Whether also that of an earlier send with the same idempotency key."""


class Delivery(StrEnum):
    """How far an email got with one recipient. Later ones win, in whatever order the events come."""

    SUPPRESSED = "suppressed"  #: left out when the email was sent: opted out, bounced or complained before
    ACCEPTED = "accepted"  #: SES took it
    DELAYED = "delayed"  #: the recipient's server asks SES to wait
    UNDELIVERED = "undelivered"  #: SES gave up for a passing reason, such as a full mailbox
    DELIVERED = "delivered"  #: the recipient's server took it; it may still bounce
    REJECTED = "rejected"  #: SES found a virus in it
    RENDERING_FAILED = "rendering_failed"  #: SES could not fill its template
    BOUNCED = "bounced"  #: it did not arrive and never will
    COMPLAINED = "complained"  #: the reader called it spam


class Reason(StrEnum):
    """Why nothing is sent to an address; a later one in this list is stronger and replaces an earlier one."""

    SOFT_BOUNCED = "soft-bounced"  #: for a while: several emails in a row came back for passing reasons
    UNSUBSCRIBED = "unsubscribed"  #: the reader asked for no more; transactional email may ignore it
    SES_LIST = "ses-list"  #: SES has it on a suppression list of its own and would not send
    INVALID = "invalid"  #: SES's validation takes it for no working address
    BOUNCED = "bounced"  #: the address does not exist
    MANUAL = "manual"  #: an operator put it here
    COMPLAINED = "complained"  #: the reader called an email spam


class Cause(StrEnum):
    """Why a send has to wait."""

    RATE = "rate"  #: too many wait before it for a worker to hold it
    QUOTA = "quota"  #: the 24-hour quota is used up, or its part for bulk
    PAUSED = "paused"  #: an operator paused the line
    STOPPED = "stopped"  #: SES refuses everything of this kind
    BRAKED = "braked"  #: too many addresses of its list, its site or the account bounced or complained
    VERSION = "version"  #: a newer release keeps the books in a way that this one does not know
    SHUTDOWN = "shutdown"  #: this worker is going; another one takes over
    THROTTLED = "throttled"  #: SES said that the send rate was exceeded
    CONFIGURATION = "configuration"  #: this worker cannot ask SES as it is installed; another one may
    UNREACHABLE = "unreachable"  #: SES, or Redis just before SES was to be asked, could not be reached
    LOT = "lot"  #: one before it under the same ticket has to wait


LOT = "one before it in its lot has to wait"
"""The reason of that cause: it tells nothing of why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Postponed:
    """The send has to wait. Come back later; no attempt was used up."""

    seconds: float
    """When it is worth coming back: soon where the sweeper watches, a minute where only an operator knows."""
    cause: Cause
    reason: str
    """For people: what is closed and why."""
    error: SesError | None = None
    """What SES answered, where it was asked."""
    scope: str = ""
    """The scope of the line that the brake has closed: as soon as it is open, the send is due."""
    for_room: bool = False
    """It keeps its place among those that wait in the ledger for room in the quota or the rate, and comes in turn."""
