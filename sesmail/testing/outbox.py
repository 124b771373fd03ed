"""A test's outbox: what was sent, what becomes of it on demand, and what is said when it is not as expected."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from uuid import uuid4

from sesmail.errors import OutcomeUnknown, SendRejected, SendThrottled
from sesmail.events.processing import EventProcessor
from sesmail.events.reading import read_stored
from sesmail.events.stores import StoredEvent
from sesmail.sending.memory import Memory, switch
from sesmail.sending.memory_ledger import MemoryLedger
from sesmail.settings import Settings
from sesmail.testing.delivering import Answer, MemorySes, deliver, tell_what_ended
from sesmail.testing.sends import Send, Wanted
from sesmail.testing.ses_events import ses_event

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Mapping

    from sesmail.errors import SesError
    from sesmail.events.model import Event
    from sesmail.message import Email
    from sesmail.testing.ses_events import Kind

SHOWN = 20
"""How many sends a failed assertion shows."""


class Which(TypedDict, total=False):
    """Which emails: the fields of `Wanted`."""

    to: str | None
    subject: str | re.Pattern[str] | None
    tag: str | Mapping[str, str] | None


class SesOutbox:
    """What every client of this process sends while a test lasts, and what becomes of it.

    Emails are told apart by `to` (an address among all recipients), `subject` (the whole of it, or a compiled pattern
    that is found in it) and `tag` (a name, or names with their values).
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._ses = MemorySes()

    # -- what was sent ------------------------------------------------------------------------------------------------

    @property
    def sends(self) -> list[Send]:
        """Everything that was accepted, in order: also what waits for a time, was cancelled or has failed since."""
        return [Send(self._memory, kept) for kept in [*self._memory.sends.values()]]

    @property
    def emails(self) -> list[Email]:
        """The emails of `sends`."""
        return [send.email for send in self.sends]

    def find(self, **which: Unpack[Which]) -> list[Send]:
        """The sends of these emails, in order."""
        wanted = Wanted(**which)
        return [send for send in self.sends if wanted.fits(send.email)]

    def one(self, **which: Unpack[Which]) -> Send:
        """The only send of such an email. Raises `AssertionError` when there is none, or more than one."""
        (send,) = self.assert_sent(count=1, **which)
        return send

    def assert_sent(self, *, count: int | None = None, **which: Unpack[Which]) -> list[Send]:
        """Such emails were sent: at least one, or exactly `count`. Answers their sends. Raises `AssertionError`."""
        found = self.find(**which)
        if len(found) == count or (found and count is None):
            return found
        expected = "at least one email" if count is None else f"{count} email{'s' * (count != 1)}"
        raise AssertionError(f"Expected {expected}{_of(which)}, but there {_are(len(found))}.\n{self._shown()}")

    def assert_nothing_sent(self, **which: Unpack[Which]) -> None:
        """No email was sent, or none such. Raises `AssertionError`."""
        if found := self.find(**which):
            raise AssertionError(f"Expected no email{_of(which)}, but there {_are(len(found))}.\n{self._shown()}")

    def _shown(self) -> str:
        """All that was sent, by recipients and subject: never a body, which may hold a link to log in with."""
        sends = self.sends
        lines = [f"  {number}. {send.shown()}" for number, send in enumerate(sends[:SHOWN], 1)]
        more = [f"  ... and {len(sends) - SHOWN} more"] if len(sends) > SHOWN else []
        return "\n".join(["In the outbox:", *(lines or ["  nothing"]), *more])

    def clear(self) -> None:
        """Forget everything: sends, opt-outs, events, and answers that were laid ready."""
        self._memory.clear()
        self._ses.answers.clear()

    # -- what becomes of it -------------------------------------------------------------------------------------------

    def deliver(self) -> list[Send]:
        """Ask SES about each email whose time has come, once, as a worker does; those that were taken up.

        SES says yes, unless another answer was laid ready. Recipients who have opted out are left out. Then your
        receivers hear of what has ended, by this or before, through `email_sent` and `email_failed`; what they raise is
        raised. Raises `LedgerUnavailable` within `redis_away`: a worker would wait.
        """
        worked_on = deliver(self._memory, self._ses)
        self._tell([])
        return [Send(self._memory, kept) for kept in worked_on]

    def _tell(self, failures: list[Exception]) -> None:
        tell_what_ended(self._memory, failures.append)
        if failures:
            raise failures[0]

    def time_passes(self, seconds: float) -> None:
        """Put the outbox's clock forward, for what waits for a time, for its next try, or expires."""
        self._memory.time_passes(seconds)

    @contextmanager
    def redis_away(self) -> Iterator[None]:
        """While it lasts, `.delay` and all else that asks Redis raises `LedgerUnavailable`; doors answer 503."""
        self._memory.outage.is_on = True
        try:
            yield
        finally:
            self._memory.outage.is_on = False

    def answer_with(self, error: SesError, *, times: int = 1, **which: Unpack[Which]) -> None:
        """Have SES answer the next emails, or the next such ones, with this `SesError`. The first that fits counts."""
        self._ses.answers.append(Answer(error, Wanted(**which), times))

    def throttle(self, *, times: int = 1, **which: Unpack[Which]) -> None:
        """SES says that the rate is exceeded: the email waits, ten minutes at most, for its next try."""
        self.answer_with(SendThrottled(code="TooManyRequestsException"), times=times, **which)

    def reject(self, reason: str = "Email address is not verified.", *, times: int = 1, **which: Unpack[Which]) -> None:
        """SES refuses it for good, in these words."""
        self.answer_with(SendRejected(reason, code="MessageRejected"), times=times, **which)

    def unknown(self, *, times: int = 1, **which: Unpack[Which]) -> None:
        """SES gives no clear answer: it may have sent the email. An event of it settles that."""
        self.answer_with(OutcomeUnknown(code="ReadTimeoutError"), times=times, **which)

    # -- what SES tells -----------------------------------------------------------------------------------------------

    def delivered(self, send: object, **facts: Any) -> tuple[Event, ...]:
        """The recipient's server took it. As all of these, it takes a send, its id, or what `.delay` answered.

        `recipient=` is the one of several that it is about, `at=` when it was. Your receivers are called, and what they
        raise is raised. Answers the events that they were told of.
        """
        return self.hear("Delivery", send, **facts)

    def bounced(self, send: object, *, permanent: bool = True, **facts: Any) -> tuple[Event, ...]:
        """It did not arrive. Permanently, it opts the address out. `bounce_sub_type=` is SES's, such as `NoEmail`."""
        return self.hear("Bounce", send, bounce_type="Permanent" if permanent else "Transient", **facts)

    def complained(self, send: object, **facts: Any) -> tuple[Event, ...]:
        """The reader called it spam, which opts the address out. `feedback_type=` is SES's: `abuse`, `fraud`, ..."""
        return self.hear("Complaint", send, **facts)

    def unsubscribed(self, send: object, **facts: Any) -> tuple[Event, ...]:
        """The reader opted out through SES, of everything or of some `topics=`. For an email to one recipient."""
        return self.hear("Subscription", send, **facts)

    def opened(self, send: object, **facts: Any) -> tuple[Event, ...]:
        """Its images were loaded; `by_bot=True` for a machine's doing. SES tells who for an email to one recipient."""
        return self.hear("Open", send, **facts)

    def clicked(self, send: object, link: str = "https://example.com/", **facts: Any) -> tuple[Event, ...]:
        """A link in it was followed; `by_bot=True` for a machine's doing."""
        return self.hear("Click", send, link=link, **facts)

    def hear(self, kind: Kind, send: object, **facts: Any) -> tuple[Event, ...]:
        """SES tells of something of this kind, in its own words: see `ses_event` for them."""
        about = self.send_of(send)
        facts.setdefault("at", datetime.fromtimestamp(self._memory.now(), UTC))
        message = ses_event(kind, about, **facts)
        received_at = self._memory.now()
        event = StoredEvent(event_id=str(uuid4()), source=about.site, message=message, received_at=received_at)
        self._memory.events.put([event])
        self.process_events()
        return read_stored(event, site=about.site)

    def process_events(self) -> int:
        """Act on the events that doors have stored, as a worker does; how many. What a receiver raises is raised.

        An event may also end a send, and have `email_sent` told.
        """
        failures: list[Exception] = []
        processed = sum(self._process(site, failures) for site in self._memory.events.waiting())
        self._tell(failures)
        return processed

    def _process(self, site: str, failures: list[Exception]) -> int:
        memory = self._memory
        ledger = MemoryLedger(memory, Settings.model_construct())  # it is asked nothing that settings decide
        processor = EventProcessor(
            site,
            memory.events,
            memory.opt_outs,
            memory.reputation,
            record_evidence=ledger.record_evidence,
            record_dropped=ledger.record_dropped,
            metadata=ledger.metadata,
            on_failure=failures.append,
            clock=memory.now,
        )
        processed = 0
        while (batch := processor.process()).gathered:
            processed += batch.processed
        return processed

    def send_of(self, send: object) -> Send:
        """The send of an id, or of what has one: a result of `.delay`, say. Raises `AssertionError` for others."""
        send_id = send if isinstance(send, str) else getattr(send, "id", send)
        for each in self.sends:
            if each.id == send_id:
                return each
        raise AssertionError(f"No send {send_id!r} was accepted in this test.\n{self._shown()}")


def _of(which: Which) -> str:
    return f" with {said}" if (said := str(Wanted(**which))) else ""


def _are(count: int) -> str:
    return "is none" if count == 0 else "is 1" if count == 1 else f"are {count}"


@contextmanager
def outbox() -> Iterator[SesOutbox]:
    """While it lasts, every client of this process keeps its email here, whatever the settings say."""
    memory = Memory()
    with switch(memory):
        yield SesOutbox(memory)
