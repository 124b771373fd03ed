"""Room in the 24-hour quota: whoever waits for it goes on when it is there, in order, and no more than it has room for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from sesmail.message import Email, Lane
from sesmail.sending.account import READ_FOR_ROOM_SECONDS, AccountWatch, read_at_once
from sesmail.sending.sweeper import Sweeper
from sesmail.sending.throttle import SendThrottle
from sesmail.ses.transport import Account
from sesmail.settings import Settings
from sesmail.state.fleet.meters import Meters
from sesmail.state.fleet.workers import Turns
from sesmail.state.keys import Keys
from sesmail.state.ledger.answering import Callers
from sesmail.state.ledger.ledger import Ledger
from sesmail.vocabulary import Claim, Postponed
from tests.contract.throttle_clock import SimulatedTime
from tests.tickets import Broker

IN_24_HOURS = 86_400.0


class Fleet:
    """A ledger, its throttle and sweeper, by a clock that the test moves."""

    def __init__(self, redis: Redis) -> None:
        self.scripts = SimulatedTime(redis, Keys())
        self.scripts.start()
        self.ledger = Ledger(self.scripts, Settings(lease_seconds=10**6))
        self.throttle = SendThrottle(self.scripts, clock=self.scripts.clock, sleep=self.scripts.sleep)
        self.broker = Broker()
        meters = Meters(redis, self.scripts.keys)
        self.sweeper = Sweeper(self.ledger, self.throttle.line, meters, Callers(self.scripts), self.broker)
        self.ledger.heartbeat("worker", 10**6)

    def allow(self, quota: float, sent: float = 0.0, reserve: float = 0.1) -> None:
        self.throttle.update_account(rate=1000, quota_24h=quota, sent_24h=sent, bulk_reserve=reserve)

    def accept(self, *send_ids: str, lane: str = "bulk", to: int = 1) -> None:
        """Each a moment after the other."""
        addresses = [f"a{number}@example.org" for number in range(to)]
        for send_id in send_ids:
            self.ledger.accept(send_id, Email(addresses, "s", "t", from_email="shop@example.com", lane=lane))
            self.scripts.sleep(0.01)

    def try_to_send(self, send_id: str) -> bool:
        """What a worker does with its ticket; whether there was room."""
        claim = self.ledger.claim(send_id, "worker")
        assert isinstance(claim, Claim), claim
        slot = self.throttle.acquire(claim.email.recipient_count, claim.lane)
        if isinstance(slot, Postponed):
            self.ledger.postpone(claim, slot.seconds, slot.reason, for_room=True)
            return False
        self.ledger.begin(claim)
        self.ledger.sent(claim, f"m-{send_id}")
        return True

    def wait(self, *send_ids: str) -> None:
        """There is no room for them."""
        assert not sum([self.try_to_send(send_id) for send_id in send_ids])
        self.broker.tickets.clear()

    def released(self) -> list[str]:
        """Those that a sweep has queued."""
        self.broker.tickets.clear()
        self.sweeper.sweep()
        return list(self.broker.ids)


@pytest.fixture
def fleet(redis: Redis) -> Fleet:
    return Fleet(redis)


def test_what_waits_until_tomorrow_goes_at_once_when_the_quota_grows(fleet: Fleet) -> None:
    names = [f"n{number}" for number in range(13)]
    fleet.allow(100, sent=100)
    fleet.accept(*names)
    fleet.wait(*names)
    assert fleet.ledger.waiting_for_room() == 13
    assert fleet.released() == []
    fleet.allow(5000, sent=27)
    assert fleet.released() == names
    assert all(fleet.try_to_send(name) for name in names)
    assert fleet.released() == []
    assert fleet.ledger.waiting_for_room() == 0


def test_no_more_is_released_than_there_is_room_for_and_nothing_twice(fleet: Fleet) -> None:
    names = [f"n{number:02}" for number in range(40)]
    fleet.allow(100, sent=100)
    fleet.accept(*names)
    fleet.wait(*reversed(names))
    fleet.allow(110, sent=100, reserve=0)
    assert fleet.released() == names[:10], "the longest accepted first, however they came to wait"
    assert fleet.released() == [], "their room is taken, though they have not gone yet"
    assert [fleet.try_to_send(name) for name in names[:10]] == [True] * 10
    fleet.allow(115, sent=110, reserve=0)
    assert fleet.released() == names[10:15]


def test_room_is_counted_in_recipients_and_bulk_leaves_the_reserve_alone(fleet: Fleet) -> None:
    fleet.allow(100, sent=100)
    fleet.accept("to-three", "letter", to=3)
    fleet.accept("receipt", lane="transactional")
    fleet.wait("to-three", "letter", "receipt")
    fleet.allow(100, sent=88, reserve=0.1)
    assert fleet.released() == ["receipt"], "bulk has two left, and takes its turn in order"
    fleet.allow(100, sent=86, reserve=0.1)
    assert fleet.released() == ["to-three"]


def test_what_is_closed_releases_nothing(fleet: Fleet) -> None:
    fleet.allow(100, sent=100)
    fleet.accept("letter")
    fleet.wait("letter")
    fleet.allow(1000, sent=100)
    fleet.throttle.line.pause("lane:bulk", "an operator")
    assert fleet.released() == []
    fleet.throttle.line.resume("lane:bulk")
    assert fleet.released() == ["letter"]


def test_as_our_own_sends_leave_the_24_hours_what_waits_goes_on(fleet: Fleet) -> None:
    fleet.allow(10, reserve=0)
    fleet.accept(*(f"first{number}" for number in range(10)))
    assert all(fleet.try_to_send(f"first{number}") for number in range(10))
    fleet.accept("waits")
    fleet.wait("waits")
    fleet.scripts.sleep(IN_24_HOURS + 1300)
    assert fleet.released() == ["waits"]


def test_what_an_operator_gives_another_time_waits_for_that(fleet: Fleet) -> None:
    fleet.allow(100, sent=100)
    fleet.accept("letter")
    fleet.wait("letter")
    when = datetime.fromtimestamp(fleet.scripts.START_SECONDS, UTC) + timedelta(hours=2)
    fleet.ledger.reschedule("letter", when)
    fleet.allow(1000)
    assert fleet.released() == []
    fleet.scripts.sleep(7300)
    assert fleet.released() == ["letter"]


def test_ten_minutes_after_ses_said_that_it_is_used_up_one_tries_whether_that_still_holds(fleet: Fleet) -> None:
    fleet.allow(100, sent=0, reserve=0)
    fleet.accept("refused", "waits")
    slot = fleet.throttle.acquire(1, Lane.BULK)
    assert not isinstance(slot, Postponed)
    fleet.throttle.quota_exhausted(slot)
    fleet.wait("refused", "waits")
    fleet.scripts.sleep(590)
    assert fleet.released() == []
    fleet.scripts.sleep(20)
    assert fleet.released() == ["refused"]


def test_what_is_gone_holds_up_nobody(fleet: Fleet) -> None:
    fleet.allow(100, sent=100)
    fleet.accept("evicted", "cancelled", "letter")
    fleet.wait("evicted", "cancelled", "letter")
    fleet.scripts.redis.delete("{sesmail}:send:evicted")
    fleet.ledger.cancel("cancelled")
    fleet.allow(1000)
    assert fleet.released() == ["letter"]


# -- the account is read sooner


class Ses:
    def __init__(self) -> None:
        self.asked = 0

    def account(self) -> Account:
        self.asked += 1
        return Account(
            max_send_rate=14,
            max_24_hour_send=100,
            sent_last_24_hours=100,
            sending_enabled=True,
            production_access=True,
            enforcement_status="HEALTHY",
        )


@pytest.fixture
def turns(fleet: Fleet) -> Turns:
    return Turns(fleet.scripts.redis, fleet.scripts.keys)


def seconds_until_read(turns: Turns, name: str) -> float:
    return turns._redis.pttl(f"{{sesmail}}:turn:{name}") / 1000


def test_while_anything_waits_the_account_is_read_every_30_seconds(fleet: Fleet, turns: Turns) -> None:
    ses = Ses()
    watch = AccountWatch(Settings(), fleet.throttle, turns, lambda: ses)  # type: ignore[arg-type,return-value]
    for _ in range(3):
        watch.refresh_if_due()
    assert ses.asked == 1, "nothing waits"
    fleet.accept("letter")
    fleet.wait("letter")
    for _ in range(3):
        watch.refresh_if_due()
    assert ses.asked == 2
    assert 0 < seconds_until_read(turns, "account-for-room") <= READ_FOR_ROOM_SECONDS
    turns.free("account-for-room")
    watch.refresh_if_due()
    assert ses.asked == 3


def test_an_operator_has_it_read_at_once(fleet: Fleet, turns: Turns) -> None:
    ses = Ses()
    watch = AccountWatch(Settings(), fleet.throttle, turns, lambda: ses)  # type: ignore[arg-type,return-value]
    watch.refresh_if_due()
    read_at_once(turns)
    watch.refresh_if_due()
    watch.refresh_if_due()
    assert ses.asked == 2
