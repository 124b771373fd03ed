"""From the claim to SES's answer, and all that follows from it: one place, whoever brings the claim.

`Delivery.work` answers what became of the email; whatever the answer, it is written down. Nothing that can be expected
is raised. What comes before SES is asked is `turn.py`, what comes after it `aftermath.py`.
"""

from __future__ import annotations

import logging
import random
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from sesmail import tracing
from sesmail.errors import SendRejected, SesError, StaleClaim
from sesmail.frames import forget_variables
from sesmail.sending.crowd import CROWDED, Crowd
from sesmail.sending.delivery.aftermath import Aftermath
from sesmail.sending.delivery.outcomes import Moves, Outcome, Stale, Unknown
from sesmail.sending.delivery.together import Together
from sesmail.sending.delivery.turn import Turn
from sesmail.sending.fallback import TAKES_NONE, FallBack
from sesmail.sending.patience import Patience
from sesmail.state.ledger.ledger import new_token
from sesmail.state.line.breaker import LONGEST_PAUSE_SECONDS
from sesmail.vocabulary import Cause, Claim, Postponed, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sesmail.sending.accounts import SesAccounts
    from sesmail.sending.crowd import Place
    from sesmail.sending.delivery.together import Party
    from sesmail.sending.throttle import Granted, SlotLease
    from sesmail.ses.request import Composed
    from sesmail.ses.transport import SesTransport
    from sesmail.settings import Settings
    from sesmail.state.fleet.workers import WorkerLease, WorkerRates
    from sesmail.state.ledger.ledger import Ledger

log = logging.getLogger("sesmail")

CLAIMED_AT_ONCE = 10
"""Of a lot, in one round trip: their bodies come with one answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ready:
    """What SES is to be asked now: it is noted already that it may have it."""

    claim: Claim
    slot: Granted
    transport: SesTransport
    composed: Composed
    why_there: str = ""
    """Why it goes through another account than its own."""


class Delivery:
    """Delivers claimed emails to SES; one object a process, for all its threads."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        lease: WorkerLease,
        rates: WorkerRates,
        accounts: SesAccounts,
    ) -> None:
        self._ledger = ledger
        self._lease = lease
        self._accounts = accounts
        self._fallback = FallBack(accounts)
        self._crowd: Crowd | None = None
        self._together: Together | None = None
        self._single_calls_until: dict[SesTransport, float] = {}
        self.patience = Patience()
        self._turn = Turn(settings, ledger, rates, accounts, self.patience)
        self._aftermath = self._aftermath_over(ledger)

    def _aftermath_over(self, moves: Moves) -> Aftermath:
        return Aftermath(moves, self._accounts, self._fallback, self.patience)

    def over(self, moves: Moves, slots: SlotLease) -> Delivery:
        """The same for one thread, where what becomes of an email is written down elsewhere than in the ledger."""
        other = copy(self)
        turn, aftermath = self._turn.over(moves, slots), self._aftermath_over(moves)
        other._turn, other._aftermath = turn, aftermath  # noqa: SLF001  its own kind
        other._together = Together(turn, aftermath, slots, self.patience, self._single_calls_until)  # noqa: SLF001
        return other

    def stop(self) -> None:
        """A warm shutdown has begun: those who wait before they ask SES hand their sends back."""
        self.patience.stop()
        for account in self._accounts.values():
            account.throttle.stop()
        if self._crowd:
            self._crowd.stop()

    def spare_threads(self, worker: str | None) -> None:
        """Where there are several accounts: what waits for a slow one leaves the threads to others. See `crowd.py`."""
        if len(self._accounts) > 1 and self._crowd is None:
            patient = copy(self)  # whose emails wait for their turns
            patient._turn = copy(self._turn)  # noqa: SLF001  its own kind
            self._crowd = self._turn.crowd = Crowd(self._next_waiting, lambda claim: patient.work(claim, worker))

    def _next_waiting(self, place: Place) -> Claim | None:
        account, lane = place
        for ticket in self._ledger.queue_for_room(lane, 1, account=account, one_went=True):
            if isinstance(claim := self.claim(ticket.send_id), Claim):
                return claim
        return None

    def work_together(self, party: Party[Any], worker: str | None) -> list[Outcome] | None:
        """As `Together.work`; only for who holds several: see `over`."""
        assert self._together is not None
        return self._together.work(party, worker)

    def claim(self, send_id: str) -> Claim | State | None:
        """Take a send for this worker; its state when it is not to be had, None when the ledger knows no such send.

        Raises `LedgerUnavailable` when this worker is stopped while it waits for Redis: the ticket is to be given back.
        """
        token = new_token()  # one for all tries: where the answer was lost, the next one finds the claim its own
        return self.patience.unless_stopped(lambda: self._ledger.claim(send_id, self._lease.owner(), token))

    def work(self, claim: Claim, worker: str | None, *, trace: str | None = None) -> Outcome:
        """Send a claimed email, and write down what became of it.

        `worker` is whose own rate limit is kept to; None in a process that is no worker. `trace` is the one that a
        ticket carries, where it is to go on: see `tracing.parent_of`.
        """
        with tracing.span("deliver email", after=trace, send_id=claim.send_id, lane=claim.lane) as span:
            outcome = self._work(claim, worker)
            span.note(outcome=type(outcome).__name__.lower())
            if isinstance(outcome, Postponed):
                span.note(cause=outcome.cause)
        return outcome

    def _work(self, claim: Claim, worker: str | None) -> Outcome:
        try:
            ready = self._until_asking(claim, worker)
            if not isinstance(ready, _Ready):
                return ready
            outcome = self._ask(ready)
            self._fallback.tell(ready.claim, ready.why_there)
            return outcome
        except StaleClaim:
            return Stale()

    def claim_lot(self, send_ids: Iterable[str]) -> tuple[list[Claim], list[str]]:
        """Those of several sends that are to be had, and the ids that the ledger does not know. Raises as `claim`."""
        found: dict[str, Claim | State | None] = {}
        tokens = {send_id: new_token() for send_id in send_ids}
        for first in range(0, len(tokens), CLAIMED_AT_ONCE):
            some = dict(islice(tokens.items(), first, first + CLAIMED_AT_ONCE))
            found |= self.patience.unless_stopped(partial(self._claim_each, some))
        claims = [claim for claim in found.values() if isinstance(claim, Claim)]
        return claims, [send_id for send_id, claim in found.items() if claim is None]

    def _claim_each(self, tokens: Mapping[str, str]) -> dict[str, Claim | State | None]:
        return self._ledger.claim_each(tokens, self._lease.owner())

    def work_lot(self, claims: Iterable[Claim], worker: str | None) -> Iterator[Outcome]:
        """Send several, one after the other.

        What holds one back (SES out of reach, the line closed, a shutdown) most likely holds back those behind it: they
        are given back at once, rather than kept from other workers for a time-out each.
        """
        waiting = iter(claims)
        for claim in waiting:
            try:
                outcome = self.work(claim, worker)
            except Exception:
                for another in waiting:
                    self._aftermath.give_back(another)
                raise
            if isinstance(outcome, Unknown) and outcome.bug:
                log.error("a bug cut off a send", exc_info=outcome.bug, extra={"send_id": claim.send_id})
            yield outcome
            if isinstance(outcome, Postponed):
                break
        for claim in waiting:
            yield self._aftermath.give_back(claim)

    # -- the steps of work() ------------------------------------------------------------------------------------------

    def _until_asking(self, claim: Claim, worker: str | None) -> _Ready | Outcome:
        """All that is done before SES is asked. Raises `StaleClaim`.

        Whatever strikes in it, a time limit of Celery's or a bug, gives the claim back at once: SES was not asked.
        """
        try:
            return self._make_ready(claim, worker)
        except StaleClaim:
            raise
        except Exception as error:
            reason = f"{type(error).__name__} before SES was asked"
            seconds = random.uniform(0, min(LONGEST_PAUSE_SECONDS, 2 ** min(claim.waits, 30)))  # noqa: S311
            waiting = Postponed(seconds=seconds, cause=Cause.SHUTDOWN, reason=reason)
            self._aftermath.postpone(claim, waiting, backs_off=True)
            raise

    def _make_ready(self, claim: Claim, worker: str | None) -> _Ready | Outcome:
        """All that is done before SES is asked; by the fall-back, where its own account takes none and it may move."""
        ready = self._make_ready_there(claim, worker)
        if not isinstance(ready, Postponed):
            return ready
        waiting = ready
        if moved := self._fallback.instead(claim, waiting.cause):
            ready = self._make_ready_there(moved, worker)
            if isinstance(ready, _Ready):
                return replace(ready, why_there=waiting.reason)
            if not isinstance(ready, Postponed):
                return ready
            waiting = waiting if ready.cause in TAKES_NONE else ready
        outcome = self._aftermath.postpone(claim, waiting)
        if outcome is CROWDED and self._crowd:
            self._crowd.one_waits_at(claim.account, claim.lane)
        return outcome

    def _make_ready_there(self, claim: Claim, worker: str | None) -> _Ready | Outcome:
        """Compose, wait for the turn, and note that SES is asked; that it has to wait is not written down yet."""
        account = self._accounts[claim.through]
        transport = account.transport()
        if held_up := self._turn.prepare(transport):
            return held_up
        try:
            composed = transport.compose(claim.email, send_id=claim.send_id)
        except SendRejected as error:  # before it takes a slot, and before anybody may think that SES has it
            forget_variables(error)
            log.exception("an email could not be put together", extra={"send_id": claim.send_id})
            return self._aftermath.rejected(claim, error)
        slot = self._turn.wait_for_slot(claim, worker)
        if isinstance(slot, Postponed):
            return slot
        if held_up := self._turn.try_account(account, slot, transport) or self._turn.begin(claim, slot):
            return held_up
        return _Ready(claim=claim, slot=slot, transport=transport, composed=composed)

    def _ask(self, ready: _Ready) -> Outcome:
        """Ask, and write the answer down. Raises `StaleClaim`."""
        claim, slot = ready.claim, ready.slot
        try:
            with tracing.span("SES SendEmail", kind="CLIENT", send_id=claim.send_id) as span:
                message_id = ready.transport.send_composed(ready.composed)
                span.note(message_id=message_id)
        except SesError as error:
            return self._aftermath.not_sent(claim, slot, error)
        except Exception as bug:  # noqa: BLE001  what is not SES's answer still leaves the outcome open
            return self._aftermath.cut_off(claim, bug)
        return self._aftermath.sent(claim, slot, message_id)
