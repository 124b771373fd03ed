"""Random misfortunes of broker, workers and time on the real ledger and sweeper. In the end every email is out.

The broker loses, doubles and holds tickets; workers die at any step, or take their time; sweeps come when they like. What
must hold: SES is given nothing a second time unless its first yes got lost, and once peace has come, all is sent soon.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from redis import Redis

from sesmail.errors import StaleClaim
from sesmail.message import Email, Lane
from sesmail.sending.sweeper import Sweeper
from sesmail.settings import Settings
from sesmail.state.fleet.meters import Meters
from sesmail.state.keys import Keys
from sesmail.state.ledger.answering import Callers
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.line.line import Line
from sesmail.vocabulary import Claim, State, Ticket
from tests.conftest import ClockedScripts

LEASE_SECONDS, WINDOW_SECONDS, GRACE_SECONDS = 8, 20, 5
PEACE_SECONDS = 2 * LEASE_SECONDS + WINDOW_SECONDS + 3 * GRACE_SECONDS
"""Until the last is out once nothing goes wrong any more: a lease, the evidence window, a lost ticket."""

url = ""


@pytest.fixture(autouse=True)
def _server(redis: Redis, redis_server: Any) -> None:
    global url  # noqa: PLW0603  Hypothesis makes the machine, so a fixture cannot hand it over
    url = redis_server.url


class Delivery(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.redis = Redis.from_url(url)
        self.redis.flushdb()
        self.scripts = ClockedScripts(self.redis, Keys())
        said = Settings(evidence_window_seconds=WINDOW_SECONDS, max_attempts=1000, lease_seconds=LEASE_SECONDS)
        self.ledger = Ledger(self.scripts, said)
        self.queues: dict[Lane, list[str]] = {lane: [] for lane in Lane}
        self.traffic = False
        parts = self.ledger, Line(self.scripts), Meters(self.redis, self.scripts.keys), Callers(self.scripts)
        self.sweeper = Sweeper(*parts, self, ticket_grace_seconds=GRACE_SECONDS)
        self.accepted: list[str] = []
        self.held: list[Claim] = []
        self.asked: list[tuple[Claim, str]] = []
        self.copies: Counter[str] = Counter()
        self.resent: Counter[str] = Counter()
        self.workers = 0

    def teardown(self) -> None:
        if hasattr(self, "redis"):
            self.peace_comes()
            self.redis.close()

    # -- the broker --------------------------------------------------------------------------------------------------

    def issue(self, tickets: Sequence[Ticket], *, express: bool = False, **_: object) -> None:
        for ticket in tickets:
            self.queues[Lane.TRANSACTIONAL if express else ticket.lane].append(ticket.send_id)

    def is_empty(self, lane: Lane) -> bool:
        return not self.queues[lane] and not self.traffic

    @precondition(lambda self: len(self.accepted) < 3)
    @rule(lane=st.sampled_from(list(Lane)), published=st.booleans())
    def accept(self, lane: Lane, published: bool) -> None:
        send_id = f"s{len(self.accepted)}"
        self.ledger.accept(send_id, Email("ann@example.org", "s", "t", from_email="shop@example.com", lane=lane))
        self.accepted.append(send_id)
        if published:
            self.issue([Ticket(send_id=send_id, lane=lane)])

    @rule(lane=st.sampled_from(list(Lane)), position=st.integers(0, 2), twice=st.booleans())
    def a_ticket_is_lost_or_doubled(self, lane: Lane, position: int, twice: bool) -> None:
        queue = self.queues[lane]
        if position < len(queue):
            queue.insert(0, queue[position]) if twice else queue.pop(position)

    # -- workers, each with one send; who is not heard any more is dead ----------------------------------------------

    @rule(lane=st.sampled_from(list(Lane)))
    def a_ticket_is_taken(self, lane: Lane) -> None:
        if self.queues[lane]:
            self.workers += 1
            self.ledger.heartbeat(f"worker{self.workers}", LEASE_SECONDS)
            claim = self.ledger.claim(self.queues[lane].pop(0), f"worker{self.workers}")
            if isinstance(claim, Claim):
                self.held.append(claim)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), answer=st.sampled_from(["yes", "no answer", "throttled"]))
    def ses_is_asked(self, data: st.DataObject, answer: str) -> None:
        """Directly after `begin`; SES acts at once, and what it says is written down later, or never."""
        claim = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        try:
            self.ledger.begin(claim)
        except StaleClaim:
            return
        self.asked.append((claim, answer))
        if answer == "yes":
            self.ses_takes(claim.send_id)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def an_answer_is_written_down(self, data: st.DataObject) -> None:
        claim, answer = self.asked.pop(data.draw(st.integers(0, len(self.asked) - 1)))
        try:
            if answer == "yes":
                self.ledger.sent(claim, f"ses-{claim.token}")
            elif answer == "throttled":
                self.ledger.postpone(claim, 5, "throttled", backs_off=True)
            else:
                self.ledger.outcome_unknown(claim, "time-out")
        except StaleClaim:
            pass
        if answer == "yes":  # however late: nobody may ask SES again, who has not asked by now
            assert self.ledger.status(claim.send_id).state in (State.SENT, State.SENDING)

    def ses_takes(self, send_id: str) -> None:
        self.copies[send_id] += 1
        assert self.copies[send_id] <= 1 + self.resent[send_id], "given to SES twice without need"

    # -- time and sweeps ---------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([2, 10, 30]), heard=st.booleans(), swept=st.booleans())
    def time_passes(self, seconds: int, heard: bool, swept: bool) -> None:
        """With some living worker to be heard of, or with none, as when Redis is away."""
        for _ in range(0, seconds, 2):
            self.scripts.advance(2)
            if heard:
                self.ledger.heartbeat("another", LEASE_SECONDS)
        if swept:
            self.sweep()

    @rule()
    def sweep(self) -> None:
        unknown = self.ledger.ids(State.UNKNOWN)
        self.sweeper.sweep()
        self.resent.update(one for one in unknown if self.ledger.status(one).state is State.QUEUED)

    def peace_comes(self) -> None:
        """All old workers are dead; a new one takes every ticket, and new email comes all the time."""
        self.traffic = True
        for _ in range(0, PEACE_SECONDS, 2):
            self.scripts.advance(2)
            self.ledger.heartbeat("peaceful", LEASE_SECONDS)
            self.sweep()
            for lane, queue in self.queues.items():
                self.workers += 1
                email = Email("ann@example.org", "s", "t", from_email="shop@example.com", lane=lane)
                self.ledger.accept(f"new{self.workers}", email)
                queue.append(f"new{self.workers}")
                while queue:
                    self.deliver(queue.pop(0))
        assert {one: self.ledger.status(one).state for one in self.accepted} == dict.fromkeys(self.accepted, State.SENT)

    def deliver(self, send_id: str) -> None:
        claim = self.ledger.claim(send_id, "peaceful")
        if isinstance(claim, Claim):
            self.ledger.begin(claim)
            self.ses_takes(send_id)
            self.ledger.sent(claim, f"ses-{claim.token}")


Delivery.TestCase.settings = settings(max_examples=100, stateful_step_count=40, suppress_health_check=list(HealthCheck))
TestDelivery = Delivery.TestCase
