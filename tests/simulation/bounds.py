"""How soon what went wrong is mended. Looked at where nothing else went wrong meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.simulation.model import Model, Send
from tests.simulation.rules import Rules
from tests.simulation.scheduler import Process, Scheduler

DEAD_WORKER_SECONDS = 15.0
LOST_TICKET_SECONDS = 60.0


class Bounds:
    """Sets alarms for what must have happened by then."""

    def __init__(self, scheduler: Scheduler, model: Model, rules: Rules) -> None:
        self._scheduler, self._model, self._rules = scheduler, model, rules

    def worker_died(self, process: Process) -> None:
        """What it had claimed is given to others."""
        for send in self._model.waiting():
            if send.state == "claimed" and send.holder_process is process:
                self._expect("a_dead_workers_claims_are_given_on", send, DEAD_WORKER_SECONDS)

    def ticket_lost(self, base: str, ids: Sequence[str]) -> None:
        """They get another ticket."""
        for send_id in ids:
            send = self._model.sends.get((base, send_id))
            if send and send.state == "queued":
                self._expect("a_lost_ticket_is_issued_again", send, LOST_TICKET_SECONDS)

    def _expect(self, rule: str, send: Send, seconds: float) -> None:
        since = self._scheduler.now

        def look() -> None:
            if self._rules.quiet_since <= since:
                self._rules.check(rule, send.state_at > since, send.id, f"still {send.state} after {seconds:g} s")

        self._at(since + seconds, look)

    def _at(self, when: float, look: Callable[[], None]) -> None:
        self._scheduler.spawn(Process("watch"), look, "bound", when - self._scheduler.now)
