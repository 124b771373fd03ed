"""Emails that reach nobody: a ledger and a broker in this process's memory, for tests and for suppressed sending.

What they answer is what the ledger in Redis answers; one suite of tests runs over both.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sesmail.errors import LedgerUnavailable, MoveRefused, UnknownSend
from sesmail.sending.outbox import Outbox
from sesmail.vocabulary import FAILED, Accepted, Delivery, State, Status, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sesmail.message import Email, Lane
    from sesmail.settings import Settings


@dataclass(kw_only=True, slots=True)
class Kept:
    """An email that was accepted, and what became of it."""

    email: Email = field(repr=False)
    status: Status
    due_at: float
    expires_at: float | None = None


class MemoryLedger:
    """The sends of one process, by id. `is_away` makes every method raise `LedgerUnavailable`, as Redis does."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives epoch seconds."""
        self.sends: dict[str, Kept] = {}
        self.is_away = False
        self._keys: dict[str, str] = {}
        self._clock = clock
        self._lock = threading.RLock()

    def accept(
        self,
        send_id: str,
        email: Email,
        *,
        delay_seconds: float = 0.0,
        expires_in_seconds: float | None = None,
        former_key: str | None = None,  # noqa: ARG002  nothing here is of a former release
    ) -> Accepted:
        """Keep an email under an id; doing it twice does nothing more."""
        with self._lock:
            known = self._keys.get(email.idempotency_key or "", send_id)
            if known in self._sends():
                return Accepted(send_id=known, state=self.sends[known].status.state, new=False)
            self.sends[send_id] = kept = self._new(send_id, email, delay_seconds, expires_in_seconds)
            if email.idempotency_key:
                self._keys[email.idempotency_key] = send_id
            return Accepted(send_id=send_id, state=kept.status.state, new=True)

    def _new(self, send_id: str, email: Email, delay_seconds: float, expires_in_seconds: float | None) -> Kept:
        now = self._clock()
        due_at = max(email.send_at.timestamp() if email.send_at else 0.0, now + delay_seconds)
        expires_at = email.expires_at.timestamp() if email.expires_at else None
        if expires_at is None and expires_in_seconds is not None:
            expires_at = now + expires_in_seconds
        status = Status(
            send_id=send_id,
            state=State.SCHEDULED if due_at > now else State.QUEUED,
            lane=email.lane,
            recipients=email.recipient_count,
            accepted_at=now,
            changed_at=now,
            attempts=0,
            waits=0,
            message_id=None,
            reason=None,
            code=None,
        )
        return Kept(email=email, status=status, due_at=due_at, expires_at=expires_at)

    def cancel(self, send_id: str) -> None:
        """Take back a send before it is sent. Raises `UnknownSend`, `MoveRefused`."""
        with self._lock:
            self._expect(send_id, (State.QUEUED, State.SCHEDULED, State.CANCELLED), "cancelled")
            if self.sends[send_id].status.state != State.CANCELLED:
                self.move(send_id, State.CANCELLED, reason="cancelled by request")

    def reschedule(self, send_id: str, when: datetime) -> None:
        """Give a waiting send another time. Raises `UnknownSend`, `MoveRefused`."""
        with self._lock:
            self._expect(send_id, (State.QUEUED, State.SCHEDULED), "rescheduled")
            self.sends[send_id].due_at = when.timestamp()
            self.move(send_id, State.SCHEDULED)

    def requeue(self, send_id: str) -> Ticket:
        """Send again what was not sent. Raises `UnknownSend`, `MoveRefused`."""
        with self._lock:
            self._expect(send_id, (*FAILED, State.UNKNOWN), "sent again")
            self.move(send_id, State.QUEUED, attempts=0, waits=0, reason=None, code=None, accepted_at=self._clock())
            return Ticket(send_id=send_id, lane=self.sends[send_id].status.lane)

    def record_evidence(self, send_id: str, message_id: str) -> str:
        """An event of SES names this send. Answers settled, known, copy or gone, as the ledger in Redis does."""
        with self._lock:
            kept = self._sends().get(send_id)
            if kept is None:
                return "gone"
            if kept.status.state is State.SENT:
                return "known" if kept.status.message_id == message_id else "copy"
            self.move(send_id, State.SENT, message_id=message_id, reason=None, code=None)
            return "settled"

    def status(self, send_id: str) -> Status:
        """What is known of one send. Raises `UnknownSend`."""
        with self._lock:
            return self._kept(send_id).status

    def metadata(self, send_id: str) -> dict[str, Any]:
        """What the caller gave with an email; empty for others."""
        kept = self._sends().get(send_id)
        return kept.email.metadata if kept else {}

    def move(self, send_id: str, state: State, **changes: Any) -> None:
        """Make it a send in this state: what a worker and SES would do."""
        kept = self.sends[send_id]
        kept.status = replace(kept.status, state=state, changed_at=self._clock(), **changes)

    def _expect(self, send_id: str, states: Sequence[State], wish: str) -> None:
        state = self._kept(send_id).status.state
        if state not in states:
            raise MoveRefused(f"The send is {state}: it cannot be {wish}.")

    def _kept(self, send_id: str) -> Kept:
        try:
            return self._sends()[send_id]
        except KeyError:
            raise UnknownSend from None

    def _sends(self) -> dict[str, Kept]:
        if self.is_away:
            raise LedgerUnavailable
        return self.sends


class MemoryBroker:
    """Remembers the tickets that nobody will take, and how they were to be published."""

    def __init__(self) -> None:
        self.issued: list[tuple[str, Mapping[str, Any]]] = []

    def issue(
        self,
        tickets: Sequence[Ticket],
        *,
        express: bool = False,  # noqa: ARG002  the protocol's
        in_a_hurry: bool = False,  # noqa: ARG002
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Remember them."""
        self.issued += [(ticket.send_id, dict(options or {})) for ticket in tickets]

    def is_empty(self, lane: Lane) -> bool:  # noqa: ARG002  the protocol's
        """Nobody takes them."""
        return not self.issued

    def process_events(self, site: str) -> None:
        """There are none."""


class MemoryProgress:
    """How far emails got with their recipients."""

    def __init__(self) -> None:
        self.reached: dict[str, dict[str, Delivery]] = {}

    def deliveries(self, send_id: str) -> Mapping[str, Delivery]:
        """By recipient."""
        return dict(self.reached.get(send_id, {}))


class MemoryOutbox:
    """An outbox and the parts behind it."""

    def __init__(self, settings: Settings) -> None:
        self.ledger = MemoryLedger()
        self.broker = MemoryBroker()
        self.progress = MemoryProgress()
        self.outbox = Outbox(settings, self.broker, self.ledger, self.progress)

    def clear(self) -> None:
        """Forget everything."""
        self.ledger.sends.clear()
        self.broker.issued.clear()
        self.progress.reached.clear()
