"""What two releases share beside rows: an older form is completed, what a newer one puts behind ours is kept or not read."""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime

import pytest
from redis import Redis

from sesmail.message import Email, Lane
from sesmail.sending.throttle import Granted, SendThrottle
from sesmail.settings import Settings
from sesmail.state.fleet.workers import Turns
from sesmail.state.keys import Keys
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.line.line import How, Line
from sesmail.state.people.reputation import Counter, Reputation
from sesmail.state.people.suppression import OptOut, Scope, SuppressionList
from sesmail.state.scripts import Scripts
from sesmail.vocabulary import Cause, Claim, Delivery, Postponed, Reached, Reason
from tests.conftest import ClockedScripts
from tests.contract.throttle_clock import SimulatedTime
from tests.opt_outs import left_out

BOOK, VERSION = "{sesmail}:throttle", "{sesmail}:throttle:version"
NUMBERS = 18
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def simulated(redis: Redis) -> SimulatedTime:
    scripts = SimulatedTime(redis, Keys())
    scripts.start()
    return scripts


@pytest.fixture
def throttle(simulated: SimulatedTime) -> SendThrottle:
    throttle = SendThrottle(simulated, clock=simulated.clock, sleep=simulated.sleep)
    throttle.update_account(rate=500, quota_24h=1_000_000, sent_24h=123_456)
    return throttle


def use(throttle: SendThrottle) -> list[Granted | Postponed]:
    """Everything that reads or writes the books, once."""
    answers = [throttle.acquire(2, Lane.BULK) for _ in range(4)]
    granted = [
        each if isinstance(each, Granted) else Granted(slot=1, recipients=2, quota_recipients=2) for each in answers
    ]
    throttle.refused(granted[0])
    throttle.unused(granted[1])
    throttle.quota_exhausted(granted[2])
    throttle.accepted(Granted(slot=1, recipients=2, quota_recipients=2, probes=("quota",)))
    throttle.update_account(rate=501, quota_24h=1_000_000, sent_24h=123_456)
    throttle.snapshot()
    return answers


# -- the throttle's books --------------------------------------------------------------------------------------------------


def test_the_books_keep_the_length_that_older_releases_check_and_say_their_version_beside(
    throttle: SendThrottle, redis: Redis
) -> None:
    use(throttle)
    assert len(redis.get(BOOK) or b"") == NUMBERS * 8
    assert redis.get(VERSION) == b"1"


@pytest.mark.parametrize("following", [b"x", struct.pack("ddd", 1.5, -2, 3), bytes(range(256))])
def test_numbers_that_a_later_release_put_behind_ours_are_kept_byte_for_byte(
    throttle: SendThrottle, redis: Redis, following: bytes
) -> None:
    redis.append(BOOK, following)
    assert all(isinstance(answer, Granted) for answer in use(throttle))
    book = redis.get(BOOK) or b""
    assert (len(book), book[NUMBERS * 8 :]) == (NUMBERS * 8 + len(following), following)
    assert (throttle.snapshot().rate, throttle.snapshot().quota, throttle.snapshot().granted) == (501, 1_000_000, 8)


@pytest.mark.parametrize("length", [0, 3, 8, 16, 20, 24, 8 * (NUMBERS - 1), 8 * NUMBERS - 1])
def test_books_of_an_older_release_that_lack_numbers_are_read_and_completed(
    throttle: SendThrottle, redis: Redis, length: int
) -> None:
    book = redis.get(BOOK) or b""
    redis.set(BOOK, book[:length])
    snapshot = throttle.snapshot()
    assert snapshot.rate == (500 if length >= 8 else 1), "SES's sandbox, where nothing is known"
    assert snapshot.quota == (1_000_000 if length >= 16 else 200)
    use(throttle)
    assert len(redis.get(BOOK) or b"") == NUMBERS * 8


def test_books_of_a_release_that_says_no_version_are_ours(throttle: SendThrottle, redis: Redis) -> None:
    redis.delete(VERSION)
    assert throttle.snapshot().rate == 500
    assert isinstance(throttle.acquire(1, Lane.BULK), Granted)
    assert redis.get(VERSION) == b"1"


@pytest.mark.parametrize("version", ["2", "1.1", "10", "a word"])
def test_books_of_another_meaning_are_neither_used_nor_changed_and_email_waits_and_says_so(
    throttle: SendThrottle, redis: Redis, version: str
) -> None:
    redis.set(VERSION, version)
    redis.set(BOOK, b"of another meaning")
    before = {name: redis.dump(name) for name in redis.scan_iter("{sesmail}:throttle*")}
    for answer in use(throttle):
        assert isinstance(answer, Postponed)
        assert (answer.cause, answer.seconds) == (Cause.VERSION, 10)
        assert f"newer release (version {version}" in answer.reason
    assert {name: redis.dump(name) for name in redis.scan_iter("{sesmail}:throttle*")} == before
    snapshot = throttle.snapshot()
    assert "newer release" in snapshot.standing
    assert (snapshot.rate, snapshot.quota, snapshot.granted) == (0, 0, 0), "nothing that is not known is told"


def test_slots_with_more_to_them_are_read(throttle: SendThrottle, redis: Redis) -> None:
    for _ in range(5):
        throttle.acquire(100, Lane.BULK)
    for place, entry in enumerate(redis.lrange(f"{BOOK}:slots", 0, -1)):
        redis.lset(f"{BOOK}:slots", place, entry + b"more")
    answer = throttle.acquire(100, Lane.BULK)
    assert isinstance(answer, Granted)
    assert throttle.snapshot().granted == 600


# -- the line --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [How.PAUSED, How.STOPPED])
def test_what_follows_a_line_break_in_a_closure_is_kept_and_not_shown(
    throttle: SendThrottle, simulated: SimulatedTime, redis: Redis, how: How
) -> None:
    close = throttle.line.pause if how is How.PAUSED else throttle.line.stop
    close("account", "a typo\nin the letter")
    entry = redis.hget("{sesmail}:line", f"{how}:account") or b""
    redis.hset("{sesmail}:line", f"{how}:account", entry + b"\nby=ann until=5")
    answer = throttle.acquire(1, Lane.BULK)
    assert isinstance(answer, Postponed)
    assert answer.reason == "account: a typo in the letter"
    assert [closure.reason for closure in throttle.line.closures()] == ["a typo in the letter"]
    simulated.sleep(3600)
    probed = throttle.acquire(1, Lane.BULK)
    assert isinstance(probed, Granted) is (how is How.STOPPED)
    assert (redis.hget("{sesmail}:line", f"{how}:account") or b"").endswith(b"\nby=ann until=5")


@pytest.mark.parametrize("how", How)
def test_what_is_closed_in_unknown_words_is_closed(throttle: SendThrottle, redis: Redis, how: How) -> None:
    redis.hset("{sesmail}:line", f"{how}:identity:example.com", '{"since": 5}')
    answer = throttle.acquire(1, Lane.BULK, scopes=("identity:example.com",))
    assert isinstance(answer, Postponed)
    assert (answer.seconds, answer.reason) == (60, "identity:example.com: closed by a newer release")
    (closure,) = throttle.line.closures()
    assert (closure.how, closure.scope, closure.reason) == (how, "identity:example.com", "closed by a newer release")
    assert throttle.line.resume("identity:example.com")


def test_a_way_to_close_that_is_not_known_hides_no_other(scripts: Scripts, redis: Redis) -> None:
    line = Line(scripts)
    line.pause("lane:bulk", "a typo")
    redis.hset("{sesmail}:line", "ramped:account", "1 2 3 slowly")
    assert [closure.scope for closure in line.closures()] == ["lane:bulk"]


# -- marks of tickets --------------------------------------------------------------------------------------------------------


def test_how_far_tickets_were_claimed_is_not_forgotten_for_what_follows_it(
    clocked_scripts: ClockedScripts, redis: Redis
) -> None:
    ledger = Ledger(clocked_scripts, Settings())
    later = clocked_scripts.now_ms + 1000
    redis.hset("{sesmail}:claimed_up_to", "transactional", f"{later} and more")
    for send_id in ("overtaken", "claimed"):
        ledger.accept(send_id, Email("ann@example.org", "s", "t", from_email="shop@example.com"))
    assert isinstance(ledger.claim("claimed", "worker"), Claim)
    assert redis.hget("{sesmail}:claimed_up_to", "transactional") == str(later).encode()
    redis.hset("{sesmail}:claimed_up_to", "transactional", f"{later} and more")
    found = []
    for _ in range(3):
        clocked_scripts.advance(15)
        pages = ledger.queue_lost(Lane.TRANSACTIONAL, grace_seconds=15, queue_is_empty=False)
        found += [ticket.send_id for page in pages for ticket in page]
    assert found == ["overtaken"]


# -- opt-outs, deliveries, rates ---------------------------------------------------------------------------------------------


def test_an_opt_out_with_more_to_it_holds_and_is_read_without(scripts: Scripts, redis: Redis) -> None:
    opt_outs = SuppressionList(scripts)
    bounced = OptOut(address="ann@example.org", scope=Scope(), reason=Reason.BOUNCED, since=WHEN, source="event 1\nx")
    opt_outs.add(bounced)
    record = redis.hget("{sesmail}:optout:everything", "ann@example.org") or b""
    redis.hset("{sesmail}:optout:everything", "ann@example.org", record + b"\nuntil=5")
    (found,) = opt_outs.find("ann@example.org")
    assert (found.reason, found.since, found.source) == (Reason.BOUNCED, WHEN, "event 1 x")
    assert left_out(scripts, ["ann@example.org"])


def test_an_opt_out_for_a_reason_or_in_a_scope_that_is_not_known_holds_and_hides_no_other(
    scripts: Scripts, redis: Redis
) -> None:
    opt_outs = SuppressionList(scripts)
    complained = OptOut(address="bob@example.org", scope=Scope(), reason=Reason.COMPLAINED, since=WHEN)
    opt_outs.add(complained)
    redis.hset("{sesmail}:optout:everything", "ann@example.org", "moved-away 1767225600000 event-1")
    redis.hset("{sesmail}:optout:account:second", "ann@example.org", "bounced 1767225600000 event-2")
    redis.sadd("{sesmail}:optouts", "account:second")
    assert left_out(scripts, ["ann@example.org"])
    (found,) = opt_outs.find("ann@example.org")
    assert (found.reason, found.source) == (Reason.MANUAL, "moved-away, by a newer release: event-1")
    assert complained in opt_outs.read()
    assert not opt_outs.add(OptOut(address="ann@example.org", scope=Scope(), reason=Reason.COMPLAINED, since=WHEN))


def test_a_status_of_delivery_or_a_count_that_is_not_known_is_left_and_hides_no_other(
    scripts: Scripts, redis: Redis
) -> None:
    reputation = Reputation(scripts)
    redis.hset("{sesmail}:delivery:a", "ann@example.org", "read-aloud")
    for address in ("ann@example.org", "bob@example.org"):
        reputation.progress([("a", Reached(at=1.0, recipient=address, delivery=Delivery.DELIVERED))])
    assert redis.hget("{sesmail}:delivery:a", "ann@example.org") == b"read-aloud"
    assert reputation.deliveries("a") == {"bob@example.org": Delivery.DELIVERED}
    redis.hset("{sesmail}:rates:alpha:2026-01-01", mapping={"forwarded monthly": 3, "sent monthly": 5})
    (rates,) = reputation.rates("alpha", date(2026, 1, 1), date(2026, 1, 1))
    assert rates.counts == {Counter.SENT: 5}


# -- turns -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def turns(scripts: Scripts) -> Turns:
    return Turns(scripts.redis, scripts.keys)


def test_a_turn_is_one_worker_s_until_it_is_given_back(turns: Turns) -> None:
    turn = turns.take("account", 60)
    assert turn
    assert turns.take("account", 60) is None
    turns.give_back(turn)
    assert turns.take("account", 60)


def test_a_turn_that_is_extended_is_nobody_s_for_as_long(turns: Turns, redis: Redis) -> None:
    turn = turns.take("account", 1)
    assert turn
    turns.extend(turn, 60)
    assert turns.take("account", 60) is None
    assert 59_000 < redis.pttl("{sesmail}:turn:account") <= 60_000


@pytest.mark.parametrize("hand_in", [Turns.give_back, lambda turns, turn: turns.extend(turn, 3600)])
def test_whoever_is_late_hands_in_nothing_of_another_s(turns: Turns, redis: Redis, hand_in) -> None:
    """A worker that was slow, or frozen, past its time."""
    late = turns.take("events", 60)
    redis.delete("{sesmail}:turn:events")  # its time is over
    assert turns.take("events", 60)
    hand_in(turns, late)
    assert turns.take("events", 60) is None
    assert redis.pttl("{sesmail}:turn:events") <= 60_000


def test_a_turn_that_is_over_and_nobody_s_is_not_taken_again_by_extending_it(turns: Turns, redis: Redis) -> None:
    late = turns.take("events", 60)
    redis.delete("{sesmail}:turn:events")
    assert late
    turns.extend(late, 3600)
    assert turns.take("events", 60)
