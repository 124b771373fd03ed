"""A claimed send whose slot is due at once begins in the act that gives the slot; every other begins as before."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis import Redis

from sesmail.errors import StaleClaim
from sesmail.message import Email, Lane
from sesmail.sending.throttle import Granted, SendThrottle
from sesmail.settings import Settings
from sesmail.state.durable import DurableScripts
from sesmail.state.keys import Keys
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.line.line import ACCOUNT
from sesmail.vocabulary import Claim, Postponed, State
from tests.contract.throttle_clock import SimulatedTime


@pytest.fixture
def simulated(redis: Redis) -> SimulatedTime:
    scripts = SimulatedTime(redis, Keys())
    scripts.start()
    return scripts


@pytest.fixture
def throttle(simulated: SimulatedTime) -> SendThrottle:
    """One email a second."""
    throttle = SendThrottle(simulated, clock=simulated.clock, sleep=simulated.sleep)
    throttle.update_account(rate=1, quota_24h=1000, sent_24h=0)
    return throttle


@pytest.fixture
def ledger(simulated: SimulatedTime) -> Ledger:
    return Ledger(simulated, Settings())


@pytest.fixture
def claim(ledger: Ledger) -> Claim:
    email = Email("ann@example.org", "Hello", "Hi.", from_email="shop@example.com")
    ledger.accept("a", email)
    claim = ledger.claim("a", "a worker")
    assert isinstance(claim, Claim)
    return claim


def acquire(throttle: SendThrottle, ledger: Ledger, claim: Claim) -> Granted | Postponed:
    return throttle.acquire(1, Lane.TRANSACTIONAL, begins=ledger.beginning(claim))


def has_begun(slot: Granted | Postponed) -> bool:
    assert isinstance(slot, Granted), slot
    return slot.has_begun


def test_it_begins_with_a_slot_that_is_due_at_once(throttle: SendThrottle, ledger: Ledger, claim: Claim) -> None:
    assert has_begun(acquire(throttle, ledger, claim))
    status = ledger.status("a")
    assert (status.state, status.attempts) == (State.SENDING, 1)
    assert ledger.sent(claim, "ses-1") is State.SENT


def test_it_stays_claimed_while_it_waits_for_its_slot_and_then_begins_by_itself(
    throttle: SendThrottle, ledger: Ledger, claim: Claim
) -> None:
    throttle.acquire(1, Lane.TRANSACTIONAL)
    assert not has_begun(acquire(throttle, ledger, claim))
    assert ledger.status("a").state is State.CLAIMED
    ledger.begin(claim)
    assert ledger.status("a").attempts == 1


def test_a_stale_claim_begins_nothing_and_takes_no_slot(throttle: SendThrottle, ledger: Ledger, claim: Claim) -> None:
    with pytest.raises(StaleClaim):
        acquire(throttle, ledger, replace(claim, token="another"))
    assert (ledger.status("a").state, throttle.snapshot().granted) == (State.CLAIMED, 0)


def test_asked_again_as_the_answer_was_lost_it_has_begun_once_and_has_a_slot_of_now(
    throttle: SendThrottle, ledger: Ledger, claim: Claim, simulated: SimulatedTime
) -> None:
    first = acquire(throttle, ledger, claim)
    simulated.sleep(30)
    second = acquire(throttle, ledger, claim)
    assert has_begun(first)
    assert has_begun(second)
    assert second.slot - first.slot == 30_000_000
    assert ledger.status("a").attempts == 1


def test_nothing_begins_while_the_line_is_closed(throttle: SendThrottle, ledger: Ledger, claim: Claim) -> None:
    throttle.line.pause(ACCOUNT, "for lunch")
    assert isinstance(acquire(throttle, ledger, claim), Postponed)
    assert ledger.status("a").state is State.CLAIMED


def test_what_tries_a_closed_line_does_not_begin_before_the_account_was_asked(
    throttle: SendThrottle, ledger: Ledger, claim: Claim, simulated: SimulatedTime
) -> None:
    for _ in range(3):
        throttle.breaker.unclear("no answer")
    simulated.sleep(40)
    slot = acquire(throttle, ledger, claim)
    assert not has_begun(slot)
    assert slot.asks_account_first
    assert ledger.status("a").state is State.CLAIMED


def test_where_a_replica_must_have_it_first_nothing_begins_with_a_slot(redis: Redis, claim: Claim) -> None:
    durable = DurableScripts(redis, Keys(), redis, "replica", 0.1)
    assert Ledger(durable, Settings()).beginning(claim) is None
