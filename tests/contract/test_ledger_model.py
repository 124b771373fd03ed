"""Random interleavings of workers, crashes, late calls, operators and sweepers on the real scripts.

What must hold, whatever happens: no id is lost, none is settled twice, none moves under a stale token, no blob leaks.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from redis import Redis

from sesmail.errors import MoveRefused, StaleClaim
from sesmail.message import Email, Lane
from sesmail.settings import Settings
from sesmail.state.keys import Keys
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.people.suppression import OptOut, Scope, SuppressionList
from sesmail.vocabulary import FAILED, Claim, Reason, State
from tests.conftest import ClockedScripts

OWNERS = ("ann", "bob")
LEASE_SECONDS = 10.0
BODIES = ("short", "a" * 2000, "b" * 2000)

url = ""


@pytest.fixture(autouse=True)
def _server(redis: Redis, redis_server: Any) -> None:
    global url  # noqa: PLW0603  Hypothesis makes the machine, so a fixture cannot hand it over
    url = redis_server.url


class LedgerMachine(RuleBasedStateMachine):
    """The model: what each send may be, and which claim is the latest of each."""

    ids = Bundle("ids")
    claims = Bundle("claims")

    @initialize()
    def start(self) -> None:
        self.redis = Redis.from_url(url)
        self.redis.flushdb()
        self.scripts = ClockedScripts(self.redis, Keys())
        self.settings = Settings(
            evidence_window_seconds=60, max_attempts=3, max_age_seconds=10_000, lease_seconds=LEASE_SECONDS
        )
        self.ledger = Ledger(self.scripts, self.settings)
        self.suppression = SuppressionList(self.scripts)
        self.opted_out = False
        self.latest: dict[str, Claim] = {}
        self.sent: dict[str, str] = {}
        self.accepted: dict[str, str] = {}
        self.owner: dict[str, str] = {}
        self.alive_until_ms: dict[str, int] = {}

    def teardown(self) -> None:
        if hasattr(self, "redis"):
            self.redis.close()

    def state(self, send_id: str) -> State:
        return self.ledger.status(send_id).state

    # -- callers and operators ---------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.accepted) < 3)
    @rule(target=ids, body=st.sampled_from(BODIES), lane=st.sampled_from(list(Lane)), delay=st.sampled_from([0, 5]))
    def accept(self, body: str, lane: Lane, delay: float) -> str:
        send_id = f"s{len(self.accepted)}"
        email = Email("success@simulator.amazonses.com", "s", body, from_email="shop@example.com", lane=lane)
        assert self.ledger.accept(send_id, email, delay_seconds=delay).new
        self.accepted[send_id] = body
        return send_id

    @rule(send_id=ids)
    def cancel(self, send_id: str) -> None:
        before = self.state(send_id)
        if before in (State.QUEUED, State.SCHEDULED, State.CLAIMED, State.CANCELLED):
            self.ledger.cancel(send_id)
        else:
            with pytest.raises(MoveRefused):
                self.ledger.cancel(send_id)
            assert self.state(send_id) is before

    @rule(opts_out=st.booleans())
    def the_reader_opts_out_or_is_let_in_again(self, opts_out: bool) -> None:
        """At any moment: what is queued already must heed it, what SES was asked goes on."""
        address, everywhere = "success@simulator.amazonses.com", Scope()
        if opts_out:
            since = datetime(2026, 1, 1, tzinfo=UTC)
            self.suppression.add(OptOut(address=address, scope=everywhere, reason=Reason.COMPLAINED, since=since))
        else:
            self.suppression.remove(address, everywhere)
        self.opted_out = opts_out

    @rule(send_id=ids)
    def requeue(self, send_id: str) -> None:
        if self.state(send_id) in (*FAILED, State.UNKNOWN, State.QUEUED):  # a repeated call only issues one more ticket
            self.ledger.requeue(send_id)
            assert self.state(send_id) is State.QUEUED
        else:
            with pytest.raises(MoveRefused):
                self.ledger.requeue(send_id)

    # -- workers -----------------------------------------------------------------------------------------------------

    @rule(target=claims, send_id=ids, owner=st.sampled_from(OWNERS))
    def claim(self, send_id: str, owner: str) -> Any:
        before = self.state(send_id)
        claim = self.ledger.claim(send_id, owner)
        if not isinstance(claim, Claim):
            assert before is not State.QUEUED or claim in (State.EXPIRED, State.ABANDONED, State.SUPPRESSED)
            assert before is State.SUPPRESSED or claim is not State.SUPPRESSED or self.opted_out
            return multiple()
        assert not self.opted_out
        assert before in (State.QUEUED, State.SCHEDULED)
        assert claim.email.text == self.accepted[send_id]
        self.latest[send_id], self.owner[send_id] = claim, owner
        return claim

    def holds(self, claim: Claim) -> bool:
        """Whether the claim is still its send's: latest, and not taken back."""
        return self.latest.get(claim.send_id) == claim and self.state(claim.send_id) in (State.CLAIMED, State.SENDING)

    @rule(claim=claims)
    def begin(self, claim: Claim) -> None:
        if self.holds(claim):
            self.ledger.begin(claim)
            assert self.state(claim.send_id) is State.SENDING
        else:
            before = self.state(claim.send_id)
            with pytest.raises(StaleClaim):
                self.ledger.begin(claim)
            assert self.state(claim.send_id) is before

    @rule(claim=consumes(claims))
    def ses_says_yes(self, claim: Claim) -> None:
        """Also late, from a worker that was given up: SES has it, so it must count."""
        if self.state(claim.send_id) is State.SENT:
            return
        holds, state, message_id = self.holds(claim), self.state(claim.send_id), f"ses-{claim.token}"
        try:
            self.ledger.sent(claim, message_id)
        except StaleClaim:
            assert not holds
        if state is State.SENDING and not holds:
            assert self.state(claim.send_id) is State.SENDING
        else:
            assert self.state(claim.send_id) is State.SENT
            self.sent[claim.send_id] = message_id

    @rule(claim=claims, how=st.sampled_from(["postpone", "rejected", "outcome_unknown"]))
    def other_answers(self, claim: Claim, how: str) -> None:
        holds, before = self.holds(claim), self.state(claim.send_id)
        arguments = (1.0, "throttled") if how == "postpone" else ("words",)
        repeats = {"postpone": State.SCHEDULED, "rejected": State.REJECTED, "outcome_unknown": State.UNKNOWN}[how]
        try:
            getattr(self.ledger, how)(claim, *arguments)
        except StaleClaim:
            assert not holds
            assert self.state(claim.send_id) is before
        else:
            assert holds or before is repeats or before is State.SENT
        self.note_settled(claim.send_id)

    @rule(owner=st.sampled_from(OWNERS))
    def heartbeat(self, owner: str) -> None:
        self.ledger.heartbeat(owner, LEASE_SECONDS)
        self.alive_until_ms[owner] = self.scripts.now_ms + int(LEASE_SECONDS * 1000)

    @rule(send_id=ids, begun=st.booleans())
    def its_worker_is_given_up_and_its_late_moves_are_refused(self, send_id: str, begun: bool) -> None:
        """The way to a stale claim, made likely."""
        if self.state(send_id) is not State.CLAIMED:
            return
        stale = self.latest[send_id]
        for _ in range(4):  # the others live on: it is this worker that died, not Redis that was away
            self.scripts.advance(LEASE_SECONDS / 3)
            self.heartbeat("carol")
        self.ledger.take_back(State.CLAIMED)
        assert self.state(send_id) is (State.CLAIMED if self.keeps(send_id) else State.QUEUED)
        claim = self.ledger.claim(send_id, "carol")
        if isinstance(claim, Claim):
            self.latest[send_id], self.owner[send_id] = claim, "carol"
            if begun:
                self.ledger.begin(claim)
            for late in (self.ledger.begin, self.ledger.rejected, self.ledger.outcome_unknown, self.ledger.postpone):
                arguments = {self.ledger.begin: (), self.ledger.postpone: (1.0, "late")}.get(late, ("late",))
                with pytest.raises(StaleClaim):
                    late(stale, *arguments)  # type: ignore[operator]
            assert self.state(send_id) is (State.SENDING if begun else State.CLAIMED)

    # -- time, sweeps and events -------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 11, 61]))
    def time_passes(self, seconds: float) -> None:
        self.scripts.advance(seconds)

    def lives(self, owner: str) -> bool:
        return self.alive_until_ms.get(owner, 0) > self.scripts.now_ms

    def keeps(self, send_id: str) -> bool:
        """Whether nobody may take it from its worker: that lives, and has not had it for longer than anything takes."""
        status, known = self.ledger.status(send_id), self.settings
        longest = known.asking_seconds if status.state is State.SENDING else known.holding_seconds
        held_seconds = self.scripts.now_ms / 1000 - status.changed_at
        return self.lives(self.owner[send_id]) and held_seconds <= longest

    @rule()
    def sweep(self) -> None:
        held = [i for i in self.accepted if self.state(i) in (State.CLAIMED, State.SENDING) and self.keeps(i)]
        self.ledger.take_back(State.CLAIMED, page=2)
        self.ledger.take_back(State.SENDING, page=2)
        for send_id in held:
            assert self.state(send_id) in (State.CLAIMED, State.SENDING), "taken from a living worker"
        self.ledger.queue_unproven(2)
        for lane in Lane:
            self.ledger.queue_due(lane, 2)
            list(self.ledger.queue_lost(lane, grace_seconds=15, queue_is_empty=True, page=2))
        self.ledger.forget_old()
        for send_id in self.accepted:
            self.note_settled(send_id)

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def an_event_arrives(self, data: st.DataObject) -> None:
        send_id = data.draw(st.sampled_from(sorted(self.accepted)))
        asked = self.state(send_id) is State.SENDING
        self.ledger.record_evidence(send_id, f"event-{send_id}")
        assert self.state(send_id) is (State.SENDING if asked else State.SENT)
        self.note_settled(send_id)

    def note_settled(self, send_id: str) -> None:
        status = self.ledger.status(send_id)
        if status.state is State.SENT and send_id not in self.sent:
            assert status.message_id
            self.sent[send_id] = status.message_id

    # -- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def every_id_is_in_exactly_the_index_of_its_state(self) -> None:
        if not hasattr(self, "redis"):
            return
        places: dict[str, list[str]] = {send_id: [] for send_id in self.accepted}
        for key in self.redis.scan_iter("{sesmail}:in:*"):
            for member in self.redis.zrange(key, 0, -1):
                places[member.decode()].append(key.decode().split(":")[2])
        for member in self.redis.lrange("{sesmail}:sent", 0, -1):
            places[member.decode()].append("sent")
        for send_id, found in places.items():
            assert found == [self.state(send_id).value], (send_id, found)

    @invariant()
    def what_is_sent_stays_sent_under_its_first_message_id(self) -> None:
        for send_id, message_id in getattr(self, "sent", {}).items():
            status = self.ledger.status(send_id)
            assert (status.state, status.message_id) == (State.SENT, message_id)

    @invariant()
    def blobs_are_those_of_rows_that_may_still_be_sent(self) -> None:
        if not hasattr(self, "redis"):
            return
        open_bodies = [b for i, b in self.accepted.items() if self.state(i) is not State.SENT and len(b) > 1000]
        counted = {k: int(self.redis.hget(k, "references") or 0) for k in self.redis.scan_iter("{sesmail}:blob:*")}
        assert sorted(counted.values()) == sorted(open_bodies.count(body) for body in set(open_bodies))


LedgerMachine.TestCase.settings = settings(
    max_examples=100, stateful_step_count=50, suppress_health_check=list(HealthCheck)
)
TestLedgerMachine = LedgerMachine.TestCase
