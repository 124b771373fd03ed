"""How soon what went wrong is mended. Looked at where nothing else went wrong meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.simulation.model import Batch, Model, Send
from tests.simulation.rules import Rules
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.ses import Ses

DEAD_WORKER_SECONDS = 15.0
DEAD_WORKERS_CHUNK_SECONDS = 25.0
"""Only workers of its own site take a chunk over, and the next of these may have to be started first."""
LOST_TICKET_SECONDS = 60.0
STARVED_SECONDS = 120.0
QUIET_AGAIN_SECONDS = 90.0
"""Within which what went wrong last has passed: a pause of SES's, a line that somebody had closed."""

OPENED_AGAIN_SECONDS = 50.0
"""The breaker's longest pause, some sweeps, and five seconds in which bulk alone tries."""
ROOM_SECONDS = 60.0
UNKNOWN_AT_MOST = 12
"""Three in a row, as many as are on their way meanwhile, and one for each try before the account was ever read."""


class Bounds:
    """Sets alarms for what must have happened by then."""

    def __init__(self, scheduler: Scheduler, model: Model, rules: Rules) -> None:
        self._scheduler, self._model, self._rules = scheduler, model, rules

    def worker_died(self, process: Process) -> None:
        """What it had claimed is given to others."""
        for send in self._model.waiting():
            if send.state == "claimed" and send.holder_process is process:
                self._expect("a_dead_workers_claims_are_given_on", send, DEAD_WORKER_SECONDS)
        for batch in self._model.batches.values():
            for chunk, (token, fiber, _) in batch.holders.items():
                if fiber is not None and fiber.process is process:
                    self._expect_another_holder(batch, chunk, token)

    def ticket_lost(self, base: str, ids: Sequence[str]) -> None:
        """They get another ticket."""
        for send_id in ids:
            send = self._model.sends.get((base, send_id))
            if send and send.state == "queued":
                self._expect("a_lost_ticket_is_issued_again", send, LOST_TICKET_SECONDS)

    def peace(self) -> None:
        """From now on nothing goes wrong: each site's email of each lane and account goes on, not only somebody else's."""
        queued: dict[tuple[str, str, str, str], list[Send]] = {}
        for send in self._model.waiting():
            if send.state == "queued":
                queued.setdefault((send.base, send.site, send.email.lane.value, send.account), []).append(send)
        since = self._scheduler.now
        seconds = STARVED_SECONDS + sum(send.email.recipient_count for sends in queued.values() for send in sends) / 5

        def look() -> None:
            if self._rules.quiet_since <= since + QUIET_AGAIN_SECONDS:
                for (_, site, lane, account), sends in queued.items():
                    moved = any(send.state_at > since for send in sends)
                    what = f"{lane} of {site} by {account}"
                    self._rules.check("no_lane_site_or_account_starves", moved, sends[0].id, what)

        self._at(since + seconds, look)

    def ses_is_down(self, base: str, ses: Ses, breaker_is_closed: Callable[[], bool]) -> None:
        """Few become unknown, and once it is well again, what waits goes on."""
        since = ses.down_at

        def look() -> None:
            if self._rules.quiet_since > since or ses.down_at != since:
                return
            self._rules.check(
                "few_are_unknown_after_an_outage",
                ses.unknown_while_down <= UNKNOWN_AT_MOST,
                "",
                str(ses.unknown_while_down),
            )
            waiting = [send.id for send in self._model.waiting() if self._is_of(send, base, ses) and self._may_go(send)]
            closed_by_people = self._model.paused[base] or self._model.braked[base]
            if ses.troubled_at <= ses.down_until and not closed_by_people:
                closed = bool(waiting) and breaker_is_closed()
                self._rules.check("the_line_opens_after_an_outage", not closed, " ".join(waiting))

        self._at(ses.down_until + OPENED_AGAIN_SECONDS, look)

    def room_appears(self, base: str) -> None:
        """SES allows more than all that waits: whatever was to wait for tomorrow's quota goes on."""
        for send in self._model.waiting():
            if send.base == base and send.state == "scheduled" and send.waits_for_room:
                self._expect("room_is_used_within_a_minute", send, ROOM_SECONDS)

    @staticmethod
    def _is_of(send: Send, base: str, ses: Ses) -> bool:
        return (send.base, send.account) == (base, ses.name)

    def _may_go(self, send: Send) -> bool:
        """Whether it could have tried the line for a while."""
        long_ago = self._scheduler.now - OPENED_AGAIN_SECONDS
        return send.state == "scheduled" and max(send.state_at, send.due_at) < long_ago + 40.0

    def _expect_another_holder(self, batch: Batch, chunk: int, token: object) -> None:
        since = self._scheduler.now

        def look() -> None:
            if self._rules.quiet_since <= since and not batch.forgotten:
                is_given_on = batch.holders.get(chunk, ("",))[0] != token
                self._rules.check("a_dead_workers_chunks_are_given_on", is_given_on, batch.id, f"chunk {chunk}")

        self._at(since + DEAD_WORKERS_CHUNK_SECONDS, look)

    def _expect(self, rule: str, send: Send, seconds: float) -> None:
        since = self._scheduler.now

        def look() -> None:
            if self._rules.quiet_since <= since:
                self._rules.check(rule, send.state_at > since, send.id, f"still {send.state} after {seconds:g} s")

        self._at(since + seconds, look)

    def _at(self, when: float, look: Callable[[], None]) -> None:
        self._scheduler.spawn(Process("watch"), look, "bound", when - self._scheduler.now)
