"""The sweeper over the real ledger, with a list for a broker."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from sesmail.message import Email, Lane
from sesmail.sending.sweeper import PAGE, Sweeper, SweepReport
from sesmail.settings import Settings
from sesmail.state.fleet.meters import Meters
from sesmail.state.ledger.answering import Callers
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.line.breaker import Breaker
from sesmail.state.line.line import Line
from sesmail.vocabulary import Claim, State, Ticket
from tests.conftest import ClockedScripts
from tests.tickets import Broker


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def ledger(clocked_scripts: ClockedScripts) -> Ledger:
    return Ledger(clocked_scripts, Settings(evidence_window_seconds=100, max_attempts=2))


@pytest.fixture
def line(clocked_scripts: ClockedScripts) -> Line:
    return Line(clocked_scripts)


@pytest.fixture
def meters(clocked_scripts: ClockedScripts) -> Meters:
    return Meters(clocked_scripts.redis, clocked_scripts.keys)


@pytest.fixture
def sweeper(clocked_scripts: ClockedScripts, ledger: Ledger, line: Line, meters: Meters, broker: Broker) -> Sweeper:
    return Sweeper(ledger, line, meters, Callers(clocked_scripts), broker)


def accept(ledger: Ledger, *send_ids: str, delay_seconds: float = 0.0, lane: str = "bulk") -> None:
    for send_id in send_ids:
        email = Email("success@simulator.amazonses.com", "s", "t", from_email="shop@example.com", lane=lane)
        ledger.accept(send_id, email, delay_seconds=delay_seconds)


def claim(ledger: Ledger, send_id: str, owner: str) -> Claim:
    claim = ledger.claim(send_id, owner)
    assert isinstance(claim, Claim)
    return claim


def fail(ledger: Ledger, send_id: str) -> None:
    ledger.begin(held := claim(ledger, send_id, "living"))
    ledger.outcome_unknown(held, "no answer")


def test_it_says_per_cause_what_it_did(
    sweeper: Sweeper, ledger: Ledger, broker: Broker, meters: Meters, clocked_scripts: ClockedScripts
) -> None:
    accept(ledger, "twice", "once", "claimed", "sending", "proved", "lost")
    accept(ledger, "due", delay_seconds=150)
    fail(ledger, "twice")
    clocked_scripts.advance(100)
    assert ledger.queue_unproven() == ([Ticket(send_id="twice", lane=Lane.BULK)], 0)
    fail(ledger, "twice")
    fail(ledger, "once")
    clocked_scripts.advance(100)
    claim(ledger, "claimed", "dead")
    for send_id in ("sending", "proved"):
        ledger.begin(claim(ledger, send_id, "dead"))
    ledger.record_evidence("proved", "ses-1")
    broker.empty = True
    assert sweeper.sweep() == SweepReport(
        settled_by_evidence=1,
        became_unknown=1,
        requeued_from_dead_workers=1,
        due=1,
        resent_unproven=1,
        abandoned=1,
        tickets_reissued=1,
    )
    assert sorted(broker.tickets) == [("claimed", True), ("due", False), ("lost", True), ("once", True)]
    assert sweeper.sweep() == SweepReport()
    causes = ("settled_by_evidence", "became_unknown", "requeued_from_dead_workers", "due", "resent_unproven")
    assert meters.swept() == dict.fromkeys([*causes, "abandoned", "tickets_reissued"], 1)


def test_what_several_sweeps_did_is_added_up(sweeper: Sweeper, ledger: Ledger, meters: Meters) -> None:
    for send_ids in (["a", "b"], ["c"]):
        accept(ledger, *send_ids)
        for send_id in send_ids:
            claim(ledger, send_id, "dead")
        sweeper.sweep()
    assert meters.swept() == {"requeued_from_dead_workers": 3}


def test_a_sweep_that_found_nothing_writes_nothing(sweeper: Sweeper, meters: Meters, redis: Redis) -> None:
    sweeper.sweep()
    assert meters.swept() == {}
    assert not redis.exists("{sesmail}:meters:sweep")


def test_sweepers_that_run_at_once_issue_each_ticket_once(
    clocked_scripts: ClockedScripts, ledger: Ledger, line: Line, meters: Meters, broker: Broker
) -> None:
    def sweep() -> SweepReport:
        return Sweeper(ledger, line, meters, Callers(clocked_scripts), broker).sweep()

    send_ids = [f"s{n:03}" for n in range(300)]
    accept(ledger, *send_ids)
    for send_id in send_ids:
        claim(ledger, send_id, "dead")
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: sweep(), range(4)))
    while sum(report.requeued_from_dead_workers for report in reports) < len(send_ids):
        reports.append(sweep())  # pages shift under two that page at once
    assert sorted(send_id for send_id, _ in broker.tickets) == send_ids
    assert meters.swept() == {"requeued_from_dead_workers": len(send_ids)}


def test_after_a_lost_broker_only_the_first_go_ahead_of_bulk(
    sweeper: Sweeper, ledger: Ledger, broker: Broker, clocked_scripts: ClockedScripts
) -> None:
    accept(ledger, *[f"s{n:03}" for n in range(450)])
    clocked_scripts.advance(16)
    broker.empty = True
    assert sweeper.sweep().tickets_reissued == 450
    assert [express for _, express in broker.tickets] == [True] * PAGE + [False] * (450 - PAGE)
    assert ledger.counts()["queued:transactional"] == PAGE
    assert ledger.counts()["queued:bulk"] == 450 - PAGE


def test_nothing_is_left_of_failed_sends_however_many_past_their_retention(
    sweeper: Sweeper, ledger: Ledger, clocked_scripts: ClockedScripts
) -> None:
    accept(ledger, *[f"s{n}" for n in range(450)])
    for n in range(450):
        ledger.cancel(f"s{n}")
    clocked_scripts.advance(31 * 86_400)
    assert sweeper.sweep().forgotten == 450
    assert ledger.counts()[State.CANCELLED] == 0


def test_what_is_due_stays_where_it_is_while_its_lane_is_paused(
    ledger: Ledger, line: Line, sweeper: Sweeper, broker: Broker, clocked_scripts: ClockedScripts
) -> None:
    """A hundred thousand paused emails must not go round through the broker and the workers."""
    accept(ledger, "a", "b", delay_seconds=1)
    clocked_scripts.advance(2)
    line.pause("lane:bulk", "a typo")
    assert sweeper.sweep().due == 0
    line.resume("lane:bulk")
    assert sweeper.sweep().due == 2
    assert [send_id for send_id, _ in broker.tickets] == ["a", "b"]


def test_bulk_tries_what_the_breaker_has_closed_and_transactional_email_where_that_has_led_to_nothing(
    ledger: Ledger, line: Line, sweeper: Sweeper, broker: Broker, clocked_scripts: ClockedScripts
) -> None:
    accept(ledger, "b", "c", delay_seconds=1)
    accept(ledger, "t", "u", delay_seconds=1, lane="transactional")
    clocked_scripts.advance(2)
    breaker = Breaker(clocked_scripts)
    for _ in range(3):
        breaker.unclear("500")
    assert sweeper.sweep().due == 0, "its pause is not over"
    clocked_scripts.advance(1)
    assert sweeper.sweep().due == 1
    assert broker.ids == ["b"]
    clocked_scripts.advance(6)
    assert sweeper.sweep().due == 2
    assert broker.ids == ["b", "c", "t"]
    breaker.clear()
    assert sweeper.sweep().due == 1
    assert broker.ids == ["b", "c", "t", "u"]


def test_one_at_a_time_tries_whether_a_stopped_account_is_open_again(
    ledger: Ledger, line: Line, sweeper: Sweeper, clocked_scripts: ClockedScripts
) -> None:
    accept(ledger, "a", "b", "c", delay_seconds=1)
    clocked_scripts.advance(2)
    line.stop("account", "paused by AWS", probe_every_seconds=60)
    assert sweeper.sweep().due == 0, "nobody may try yet: it would only lose its place"
    clocked_scripts.advance(61)
    assert sweeper.sweep().due == 1
    line.resume("account")
    assert sweeper.sweep().due == 2


def claimed(ledger: Ledger, send_id: str) -> Claim:
    accept(ledger, send_id)
    claim = ledger.claim(send_id, "dead")
    assert isinstance(claim, Claim)
    return claim


def begun(ledger: Ledger, send_id: str) -> Claim:
    claim = claimed(ledger, send_id)
    ledger.begin(claim)
    return claim


def unknown(ledger: Ledger, send_id: str) -> None:
    ledger.outcome_unknown(begun(ledger, send_id), "no answer")


STATES: dict[str, Callable[[Ledger, str], object]] = {
    "queued": accept,
    "scheduled": lambda ledger, send_id: accept(ledger, send_id, delay_seconds=1),
    "claimed": claimed,
    "sending": lambda ledger, send_id: ledger.begin(claimed(ledger, send_id)),
    "unknown": unknown,
    "sent": lambda ledger, send_id: ledger.sent(begun(ledger, send_id), "ses-1"),
    "cancelled": lambda ledger, send_id: accept(ledger, send_id) or ledger.cancel(send_id),
}


@pytest.mark.parametrize("state", STATES)
def test_a_row_that_was_evicted_or_deleted_by_hand_holds_up_nobody_and_is_struck_off(
    ledger: Ledger, sweeper: Sweeper, broker: Broker, clocked_scripts: ClockedScripts, state: str
) -> None:
    """Whatever state it was in: what another one needs is still done, and its place in the index is gone."""
    STATES[state](ledger, "gone")
    clocked_scripts.redis.delete(clocked_scripts.keys("send", "gone"))
    clocked_scripts.advance(0.001)
    STATES[state](ledger, "there")
    broker.empty = True
    for _ in range(3):
        clocked_scripts.advance(200)
        ledger.heartbeat("alive", 8)
        sweeper.sweep()
    assert "gone" not in broker.ids
    if state in ("queued", "scheduled", "claimed", "unknown", "sending"):
        assert "there" in broker.ids
    clocked_scripts.advance(90 * 86_400)
    sweeper.sweep()
    left = [key for key in clocked_scripts.redis.scan_iter("*:in:*") if clocked_scripts.redis.zscore(key, "gone")]
    assert left == []


def test_a_send_whose_index_was_evicted_is_sent_by_its_ticket(ledger: Ledger, clocked_scripts: ClockedScripts) -> None:
    accept(ledger, "a")
    clocked_scripts.redis.delete(clocked_scripts.keys("in", "queued", "transactional"))
    assert isinstance(ledger.claim("a", "worker"), Claim)


def test_when_redis_s_clock_is_set_back_a_dead_worker_is_found_as_soon_as_ever(
    ledger: Ledger, sweeper: Sweeper, broker: Broker, clocked_scripts: ClockedScripts
) -> None:
    """Its lease lies in the future by as much; a living one says so within a quarter of a lease and keeps its claim."""
    lease_seconds = Settings().lease_seconds
    accept(ledger, "of-the-dead", "of-the-living")
    for owner in ("dead", "living"):
        ledger.heartbeat(owner, lease_seconds)
        assert isinstance(ledger.claim(f"of-the-{owner}", owner), Claim)
    clocked_scripts.advance(-121)
    for _ in range(6):
        sweeper.sweep()
        ledger.heartbeat("living", lease_seconds)
        clocked_scripts.advance(lease_seconds / 4)
    assert broker.ids == ["of-the-dead"]
