"""Finds what fell between: claims of dead workers, sends that are due, outcomes never learnt, lost tickets."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from sesmail.message import Lane
from sesmail.state.line.line import ACCOUNT, How
from sesmail.vocabulary import DEFAULT_ACCOUNT, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sesmail.sending.batches.sending import Recovery
    from sesmail.sending.outbox import Broker
    from sesmail.state.fleet.meters import Meters
    from sesmail.state.ledger.answering import Callers
    from sesmail.state.ledger.ledger import Ledger
    from sesmail.state.line.line import Closure, Line
    from sesmail.vocabulary import Ticket

log = logging.getLogger("sesmail")

PAGE = 100
"""How many sends one script moves: Redis serves nobody else meanwhile, so it must be done in a few milliseconds."""

BULK_TRIES_SECONDS = 5.0
"""How long bulk alone may try a closed line; as in throttle.lua."""

Closed: TypeAlias = "set[tuple[str, How]]"
"""What of an account's line is closed, and who has closed it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepReport:
    """What one sweep did, per cause."""

    settled_by_evidence: int = 0  #: SES had them, as an event proved
    became_unknown: int = 0  #: their worker died, or got no answer, while SES was asked
    requeued_from_dead_workers: int = 0  #: claimed by a worker that died (sends, chunks of batches); SES was not asked
    due: int = 0  #: scheduled sends whose time had come
    room: int = 0  #: they waited for the 24-hour quota, and it has room for them
    resent_unproven: int = 0  #: unknown for the whole evidence window; tried again
    abandoned: int = 0  #: unknown after the last attempt
    tickets_reissued: int = 0  #: the broker had lost their tickets
    last_tickets: int = 0  #: issued for callbacks of sends that something other than a worker has settled
    forgotten: int = 0  #: failed sends past their retention


class Sweeper:
    """One function, `sweep()`: idempotent, and safe to run from any number of places at once."""

    def __init__(
        self,
        ledger: Ledger,
        line: Line,
        meters: Meters,
        callers: Callers,
        broker: Broker,
        *,
        other_lines: Mapping[str, Line] | None = None,
        fallbacks: Mapping[str, str] | None = None,
        ticket_grace_seconds: float = 15.0,
        recovery: Recovery | None = None,
    ) -> None:
        """`line` is that of the account `default`, `other_lines` are those of the others by their names;
        `fallbacks` name the account that transactional email goes through while one is stopped.

        `ticket_grace_seconds` is how long a ticket may be on its way; a loss is mended within about twice that.
        """
        self._ledger = ledger
        self._callers = callers
        self._lines = {DEFAULT_ACCOUNT: line, **(other_lines or {})}
        self._fallbacks = fallbacks or {}
        self._meters = meters
        self._broker = broker
        self._ticket_grace_seconds = ticket_grace_seconds
        self._recovery = recovery

    def sweep(self) -> SweepReport:
        """Do all of it once. Raises `LedgerUnavailable` when Redis is away; what was not done is found next time."""
        claimed, _, _ = self._ledger.take_back(State.CLAIMED, PAGE)
        _, settled, unknown = self._ledger.take_back(State.SENDING, PAGE)
        self._issue(claimed, express=True)
        batches = self._recovery.sweep() if self._recovery else (0, 0)
        report = SweepReport(
            settled_by_evidence=settled,
            became_unknown=unknown + batches[1],
            requeued_from_dead_workers=len(claimed) + batches[0],
            **self._queue_what_may_go(),
            tickets_reissued=sum(map(self._reissue_lost, Lane)),
            forgotten=self._ledger.forget_old(),
            **self._resend_unproven(),
            last_tickets=self._have_callers_answered(),
        )
        done = {cause: count for cause, count in asdict(report).items() if count}
        if done:
            log.info("swept: %s", ", ".join(f"{k}={v}" for k, v in done.items()), extra={"action": "sweep", **done})
            self._meters.count_sweep(done)
        return report

    def _queue_what_may_go(self) -> dict[str, int]:
        """All that is due, or has room by now; but what is closed would only send tickets round and round."""
        closures = {name: line.closures() for name, line in self._lines.items()}
        braked = {(each.scope, each.how): each for each in closures[DEFAULT_ACCOUNT] if each.how is How.BRAKED}
        closed = {name: {(each.scope, each.how) for each in of} | {*braked} for name, of in closures.items()}
        open_lanes = {name: [lane for lane in Lane if _is_open(closed[name], lane)] for name in closed}
        due = sum(self._queue_some_that_try(name, closed[name]) for name in closed)
        due += sum(self._queue_for_trial(each, closed[DEFAULT_ACCOUNT]) for each in braked.values())
        for lane in Lane:
            closed_accounts = [
                name for name in closed if lane not in open_lanes[name] and not self._falls_back(name, lane, closed)
            ]
            if len(closed_accounts) < len(closed):
                due += self._queue_all(partial(self._ledger.queue_due, closed_accounts=closed_accounts), lane)
        rooms = [
            self._queue_all(partial(self._ledger.queue_for_room, account=name), lane)
            for name, lanes in open_lanes.items()
            for lane in lanes
        ]
        return {"due": due, "room": sum(rooms)}

    def _falls_back(self, account: str, lane: Lane, closed: Mapping[str, Closed]) -> bool:
        """Whether a closed account's emails of a lane go through another meanwhile."""
        fallback = self._fallbacks.get(account)
        if fallback is None or lane is not Lane.TRANSACTIONAL:
            return False
        is_paused = closed[account] & {(ACCOUNT, How.PAUSED), (f"lane:{lane}", How.PAUSED)}
        return not is_paused and _is_open(closed[fallback], lane)

    def _queue_some_that_try(self, account: str, closed: Closed) -> int:
        """One email tries whether an account's line is open again, when it is time for that: of bulk, where any is due.

        Where that has led to nothing for a while, one of each lane: bulk may have to wait for its quota, too.
        """
        if (ACCOUNT, How.STOPPED) not in closed or (ACCOUNT, How.PAUSED) in closed:
            return 0
        total = 0
        for lane in (Lane.BULK, Lane.TRANSACTIONAL):
            if not closed & {(f"lane:{lane}", how) for how in How}:
                waits_seconds = BULK_TRIES_SECONDS if total else 0.0
                scope = f"{How.STOPPED}:{ACCOUNT}"
                tickets = self._ledger.queue_one_that_tries(lane, account, scope, due_for_seconds=waits_seconds)
                self._issue(tickets, express=False)
                total += len(tickets)
        return total

    def _queue_for_trial(self, closure: Closure, closed: Closed) -> int:
        """As many of a lane that the brake has closed as its trial has left, when it is time for that."""
        lanes = {f"lane:{lane}": lane for lane in Lane}
        is_closed_otherwise = any((scope, How.PAUSED) in closed for scope in (ACCOUNT, closure.scope))
        if closure.scope not in lanes or not closure.trial_left or is_closed_otherwise:
            return 0
        tickets = self._ledger.queue_for_trial(lanes[closure.scope], min(closure.trial_left, PAGE))
        self._issue(tickets, express=False)
        return len(tickets)

    def _queue_all(self, queued: Callable[[Lane, int], list[Ticket]], lane: Lane) -> int:
        total = 0
        while tickets := queued(lane, PAGE):
            self._issue(tickets, express=False)
            total += len(tickets)
        return total

    def _resend_unproven(self) -> dict[str, int]:
        resent = abandoned = 0
        while True:
            tickets, given_up = self._ledger.queue_unproven(PAGE)
            self._issue(tickets, express=True)
            resent, abandoned = resent + len(tickets), abandoned + given_up
            if len(tickets) + given_up < PAGE:
                return {"resent_unproven": resent, "abandoned": abandoned}

    def _reissue_lost(self, lane: Lane) -> int:
        total = 0
        pages = self._ledger.queue_lost(
            lane,
            grace_seconds=self._ticket_grace_seconds,
            queue_is_empty=self._broker.is_empty(lane),
            page=PAGE,
        )
        for number, tickets in enumerate(pages):
            self._issue(tickets, express=number == 0)
            total += len(tickets)
        return total

    def _have_callers_answered(self) -> int:
        """After all that may settle a send: the worker that takes such a ticket ends the caller's task."""
        total = 0
        while tickets := self._callers.last_tickets(PAGE):
            self._issue(tickets, express=True)
            total += len(tickets)
        return total

    def _issue(self, tickets: Iterable[Ticket], *, express: bool) -> None:
        for ticket in tickets:
            self._broker.issue([ticket], express=express)


def _is_open(closed: Closed, lane: Lane) -> bool:
    return not closed & {(scope, how) for scope in (ACCOUNT, f"lane:{lane}") for how in How}
