"""A ledger over a process's memory: the moves of a send as `state/lua` has them, for tests and for suppressed sending.

What it answers is what the ledger in Redis answers; one suite of tests, and a random walk over both, see to that.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sesmail.errors import IdempotencyConflict, MoveRefused, StaleClaim, UnknownSend
from sesmail.message import LIST_TAG, Lane
from sesmail.sending.memory import Kept
from sesmail.vocabulary import FAILED, Accepted, Cause, Claim, Delivery, Move, Reached, State, Status, Ticket

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sesmail.message import Email
    from sesmail.sending.memory import Memory
    from sesmail.settings import Settings
    from sesmail.vocabulary import Caller, Envelope

HELD = (State.CLAIMED, State.SENDING)
ENDED = (State.SENT, *FAILED)
MOST_MOVES, MOST_BYTES_ONCE_SENT = 10, 64
"""Of a send's moves, as rows.lua has it."""


class MemoryLedger:
    """The sends of one process. All methods raise `LedgerUnavailable` during an outage of the memory."""

    def __init__(self, memory: Memory, settings: Settings) -> None:
        """`settings` are those of the client that asks."""
        self._memory = memory
        self._settings = settings

    # -- in ---------------------------------------------------------------------------------------------------------

    def accept(
        self,
        send_id: str,
        email: Email,
        *,
        delay_seconds: float = 0.0,
        expires_in_seconds: float | None = None,
        caller: Caller | None = None,  # noqa: ARG002  nobody takes tickets, so nobody is answered
        content: str = "",
        envelope: Envelope | None = None,  # noqa: ARG002
    ) -> Accepted:
        """Keep an email under an id; doing it twice does nothing more. Raises `IdempotencyConflict`."""
        with self._sends() as sends:
            seen = self._under_key(email.idempotency_key)
            known = sends.get(seen or send_id)
            if known:
                if content and known.content and content != known.content:
                    raise IdempotencyConflict("idempotency_key" if seen else "task_id", known.status.send_id)
                return Accepted(send_id=known.status.send_id, state=known.status.state, new=False)
            kept = self._new(send_id, email, delay_seconds, expires_in_seconds)
            kept.content = content
            self._memory.keep(send_id, kept)
            if email.idempotency_key:
                until = self._memory.now() + self._settings.idempotency_seconds
                self._memory.idempotency[self._settings.site, email.idempotency_key] = send_id, until
            return Accepted(send_id=send_id, state=kept.status.state, new=True)

    def _under_key(self, key: str | None) -> str | None:
        send_id, until = self._memory.idempotency.get((self._settings.site, key or ""), ("", 0.0))
        return send_id if until > self._memory.now() else None

    def _new(self, send_id: str, email: Email, delay_seconds: float, expires_in_seconds: float | None) -> Kept:
        now = self._memory.now()
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
        return Kept(email=email, settings=self._settings, status=status, due_at=due_at, expires_at=expires_at)

    # -- out --------------------------------------------------------------------------------------------------------

    def queue_due(self, lane: Lane, page: int = 200) -> list[Ticket]:
        """Up to `page` scheduled sends of a lane whose time has come, now queued."""
        with self._sends() as sends:
            now = self._memory.now()
            waiting = [kept for kept in sends.values() if kept.status.state is State.SCHEDULED and kept.due_at <= now]
            due = sorted((kept for kept in waiting if kept.status.lane is lane), key=lambda kept: kept.due_at)[:page]
            for kept in due:
                kept.express = False
                self._move(kept, State.QUEUED)
            return [Ticket(send_id=kept.status.send_id, lane=lane) for kept in due]

    def claim(self, send_id: str, owner: str, token: str | None = None) -> Claim | State | None:
        """Take a send for a worker; the state it is in when it is not to be had, None when there is no such send."""
        with self._sends() as sends:
            kept = sends.get(send_id)
            if kept is None:
                return None
            state, now = kept.status.state, self._memory.now()
            is_free = state is State.QUEUED or (state is State.SCHEDULED and kept.due_at <= now)
            if not is_free and not (state is State.CLAIMED and token and kept.token == token):
                return state
            if is_free and (ended := self._too_late(kept, now)):
                return ended
            return self._claimed(kept, is_free, owner, token or uuid4().hex)

    def _too_late(self, kept: Kept, now: float) -> State | None:
        if kept.expires_at is not None and kept.expires_at <= now:
            return self._finish(kept, State.EXPIRED, "its expiry time passed before it could be sent")
        if now - kept.status.accepted_at > self._settings.max_age_seconds:
            return self._finish(kept, State.ABANDONED, "older than the greatest age", why="too-old")
        return None

    def _claimed(self, kept: Kept, is_free: bool, owner: str, token: str) -> Claim | State:
        email, status = kept.email, kept.status
        ignoring = self._settings.transactional_ignores if status.lane is Lane.TRANSACTIONAL else ()
        opted_out = self._memory.opt_outs.screen(
            email.recipients, site=kept.settings.site, list_name=email.tags.get(LIST_TAG, ""), ignoring=ignoring
        )
        now = self._memory.now() // 1
        left_out = [Reached(at=now, recipient=address, delivery=Delivery.SUPPRESSED) for address in opted_out]
        self._memory.reputation.progress([(status.send_id, each) for each in left_out])
        if len(opted_out) == email.recipient_count:
            reason = "every recipient has opted out, bounced or complained"
            return self._finish(kept, State.SUPPRESSED, reason, [*opted_out.values()][-1])
        if is_free:
            kept.token, kept.owner = token, owner
            self._move(kept, State.CLAIMED)
        return Claim(
            send_id=status.send_id,
            token=token,
            lane=status.lane,
            express=kept.express,
            attempts=status.attempts,
            waits=status.waits,
            email=email.without(opted_out) if opted_out else email,
            site=kept.settings.site,
        )

    def beginning(self, claim: Claim) -> None:
        """Nothing begins with a slot: there are no slots here."""

    def begin(self, claim: Claim, *, tries: bool = False) -> None:  # noqa: ARG002  no line is closed here
        """Note that SES is asked now. Raises `StaleClaim` when the send is no longer this claim's."""
        with self._held(claim, HELD) as kept:
            if kept.status.state is State.CLAIMED:
                self._move(kept, State.SENDING, attempts=kept.status.attempts + 1)

    def sent(self, claim: Claim, message_id: str) -> State:
        """SES took it. A late word still counts."""
        try:
            with self._held(claim, (*HELD, State.SENT), message_id) as kept:
                if kept.status.state is not State.SENT:
                    kept.token = None
                    self._finish_sent(kept, message_id)
                return State.SENT
        except StaleClaim:
            self.record_evidence(claim.send_id, message_id)
            raise

    def rejected(self, claim: Claim, reason: str, code: str = "") -> State:
        """SES refused it for good, in its own words (without addresses)."""
        with self._held(claim, (*HELD, State.REJECTED, State.SENT)) as kept:
            if kept.status.state not in HELD:
                return kept.status.state
            return self._proved(kept) or self._finish(kept, State.REJECTED, reason, code)

    def outcome_unknown(self, claim: Claim, reason: str, code: str = "") -> State:
        """SES may have it. `SENT` when an event has proved that already, else `UNKNOWN`."""
        with self._held(claim, (*HELD, State.UNKNOWN, State.SENT)) as kept:
            if kept.status.state not in HELD:
                return kept.status.state
            if kept.evidence:
                return self._finish_sent(kept, kept.evidence)
            return self._finish(kept, State.UNKNOWN, reason, code)

    def postpone(
        self,
        claim: Claim,
        delay_seconds: float,
        reason: str,
        *,
        backs_off: bool = False,
        for_room: bool = False,  # noqa: ARG002
        for_scope: str = "",  # noqa: ARG002
        why: str = "",
    ) -> State:
        """Put it back to wait; an attempt that was begun is given back. Answers as the ledger in Redis."""
        with self._held(claim, (*HELD, State.SCHEDULED, State.SENT)) as kept:
            if kept.status.state not in HELD:
                return kept.status.state
            if proved := self._proved(kept):
                return proved
            due_at = self._memory.now() + max(0.0, delay_seconds)
            kept.due_at = due_at if kept.expires_at is None else min(due_at, kept.expires_at)
            attempts, waits = kept.status.attempts - (kept.status.state is State.SENDING), kept.status.waits + backs_off
            if why:
                self._note(kept, State.SCHEDULED, why)
            return self._move(kept, State.SCHEDULED, reason=reason, attempts=attempts, waits=waits)

    def _proved(self, kept: Kept) -> State | None:
        """Where SES was being asked and an event has proved that it took the email: sent."""
        if kept.status.state is State.SENDING and kept.evidence:
            return self._finish_sent(kept, kept.evidence)
        return None

    def _finish_sent(self, kept: Kept, message_id: str) -> State:
        moves = _once_sent(kept.status.moves)
        self._move(kept, State.SENT, message_id=message_id, reason=None, code=None, moves=moves)
        if kept.dropped and kept.dropped[0] == message_id:
            self._reject_dropped(kept, *kept.dropped)
        return State.SENT

    def _reject_dropped(self, kept: Kept, message_id: str, code: str, reason: str) -> None:
        self._finish(kept, State.REJECTED, reason, code)
        kept.status = replace(kept.status, message_id=message_id)

    # -- asked by people --------------------------------------------------------------------------------------------

    def cancel(self, send_id: str) -> None:
        """Take back a send before it is sent. Raises `UnknownSend`, `MoveRefused`."""
        with self._one(send_id) as kept:
            _expect(kept, (State.QUEUED, State.SCHEDULED, State.CLAIMED, State.CANCELLED), "cancelled")
            if kept.status.state is not State.CANCELLED:
                self._finish(kept, State.CANCELLED, "cancelled by request")

    def reschedule(self, send_id: str, when: datetime) -> None:
        """Give a waiting send another time. Raises `UnknownSend`, `MoveRefused`."""
        with self._one(send_id) as kept:
            _expect(kept, (State.QUEUED, State.SCHEDULED), "rescheduled")
            kept.due_at = when.timestamp()
            self._note(kept, State.SCHEDULED, "rescheduled")
            self._move(kept, State.SCHEDULED)

    def requeue(self, send_id: str) -> Ticket:
        """Send again what was not sent. Raises `UnknownSend`, `MoveRefused`. The ticket is the caller's to issue."""
        with self._one(send_id) as kept:
            _expect(kept, (*FAILED, State.UNKNOWN, State.QUEUED), "sent again")
            if kept.status.state is not State.QUEUED:
                kept.express, kept.token, kept.expires_at = True, None, None
                self._note(kept, State.QUEUED, "requeued", of_accepted=kept.status.accepted_at)
                fresh = {"attempts": 0, "waits": 0, "reason": None, "code": None, "accepted_at": self._memory.now()}
                self._move(kept, State.QUEUED, **fresh)
            return Ticket(send_id=send_id, lane=kept.status.lane)

    def record_evidence(self, send_id: str, message_id: str) -> str:
        """An event of SES names this send. Answers settled, kept, known, copy or gone, as the ledger in Redis does."""
        with self._sends() as sends:
            kept = sends.get(send_id)
            if kept is None:
                return "gone"
            if kept.status.state is State.SENT:
                return "known" if kept.status.message_id == message_id else "copy"
            if message_id in kept.dropped_ids:  # an operator may have sent it again since
                return "known"
            if kept.status.state is State.SENDING:
                kept.evidence = kept.evidence or message_id
                return "kept"
            kept.token = None
            self._finish_sent(kept, message_id)
            return "settled"

    def record_dropped(self, send_id: str, message_id: str, code: str, reason: str) -> str:
        """An event says that SES took this send and then dropped it. Answers as the ledger in Redis does."""
        with self._sends() as sends:
            kept = sends.get(send_id)
            if kept is None:
                return "gone"
            kept.dropped_ids.add(message_id)
            state, its_message_id = kept.status.state, kept.status.message_id
            if state is not State.SENT and its_message_id == message_id:
                return "known"
            if state is State.SENDING:
                kept.evidence, kept.dropped = kept.evidence or message_id, (message_id, code, reason)
                return "kept"
            if state is State.SENT and its_message_id != message_id:
                return "copy"
            if state is State.REJECTED:
                return "known"
            kept.token = None
            self._reject_dropped(kept, message_id, code, reason)
            return "rejected"

    def status(self, send_id: str) -> Status:
        """What is known of one send. Raises `UnknownSend`."""
        with self._one(send_id) as kept:
            return kept.status

    def metadata(self, send_id: str) -> dict[str, Any]:
        """What the caller gave with an email; empty for others."""
        with self._sends() as sends:
            return sends[send_id].email.metadata if send_id in sends else {}

    # -- one move -----------------------------------------------------------------------------------------------------

    def _move(self, kept: Kept, state: State, **changes: Any) -> State:
        kept.status = replace(kept.status, state=state, changed_at=self._memory.now(), **changes)
        if state in ENDED:
            self._memory.untold[kept.status.send_id] = None
        return state

    def _finish(self, kept: Kept, state: State, reason: str, code: str = "", why: str = "") -> State:
        """Ended or parked, with a reason."""
        self._note(kept, state, why or code)
        return self._move(kept, state, reason=reason, code=code or None)

    def _note(self, kept: Kept, state: State, why: str, *, of_accepted: float | None = None) -> None:
        """A move off the common road; before the first that begins anew, when it was accepted."""
        status = kept.status
        moves = [*status.moves]
        if of_accepted is not None and not any(move.why == "accepted" for move in moves):
            moves.insert(0, Move(at=of_accepted // 1, state=State.QUEUED, why="accepted", worker=""))
        move = Move(at=self._memory.now() // 1, state=state, why=why, worker=kept.owner if status.state in HELD else "")
        if moves and (moves[-1].state, moves[-1].why) == (state, why):
            moves[-1] = replace(moves[-1], worker=move.worker, times=moves[-1].times + 1)
        else:
            moves.append(move)
        kept.status = replace(status, moves=tuple(moves[-MOST_MOVES:]))

    @contextmanager
    def _sends(self) -> Iterator[dict[str, Kept]]:
        """One act on the sends, which nobody else can come between."""
        self._memory.outage.check()
        with self._memory.lock:
            yield self._memory.sends

    @contextmanager
    def _one(self, send_id: str) -> Iterator[Kept]:
        with self._sends() as sends:
            if send_id not in sends:
                raise UnknownSend
            yield sends[send_id]

    @contextmanager
    def _held(self, claim: Claim, states: Sequence[State], message_id: str | None = None) -> Iterator[Kept]:
        """The send of a claim that holds, in one of these states, or sent as `message_id`. Raises `StaleClaim`."""
        with self._sends() as sends:
            kept = sends.get(claim.send_id)
            is_repeated = kept and message_id and kept.status.message_id == message_id
            if is_repeated and kept and kept.status.state is State.SENT:
                yield kept
                return
            if kept is None or kept.token != claim.token or kept.status.state not in states:
                raise StaleClaim
            yield kept


def _once_sent(moves: Sequence[Move]) -> tuple[Move, ...]:
    """What a sent row keeps of them: see rows.lua."""
    kept: list[Move] = []
    size = -1
    for move in reversed(moves):
        times = f"*{move.times}" if move.times > 1 else ""
        size += len(f"{move.at:.0f}{times} {move.state} {move.why or '-'}") + 1
        if size > MOST_BYTES_ONCE_SENT:
            break
        kept.insert(0, replace(move, worker=""))
    tells = any((move.state, move.why) != (State.SCHEDULED, Cause.RATE) for move in moves)
    return tuple(kept) if tells else ()


def _expect(kept: Kept, states: Sequence[State], wish: str) -> None:
    if kept.status.state not in states:
        raise MoveRefused(f"The send is {kept.status.state}: it cannot be {wish}.")
