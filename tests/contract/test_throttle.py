"""The throttle on a real server: the scripts by a simulated clock, the waiting by real threads."""

from __future__ import annotations

import struct
import threading
import time
from itertools import pairwise

import pytest
from redis import Redis

from sesmail.message import Lane
from sesmail.sending.throttle import NOTHING_BEGINS, Granted, SendThrottle, Share, SlotLease
from sesmail.state.keys import CATALOGUE, Keys
from sesmail.state.line.line import ACCOUNT
from sesmail.state.scripts import Scripts
from sesmail.vocabulary import Cause, Postponed
from tests.contract.throttle_clock import SimulatedTime

HOUR = 3600.0


@pytest.fixture
def simulated(redis: Redis) -> SimulatedTime:
    scripts = SimulatedTime(redis, Keys())
    scripts.start()
    return scripts


@pytest.fixture
def throttle(simulated: SimulatedTime) -> SendThrottle:
    """A throttle that sleeps by moving the simulated clock; 14 a second, 1000 a day."""
    throttle = SendThrottle(simulated, clock=simulated.clock, sleep=simulated.sleep)
    throttle.update_account(rate=14, quota_24h=1000, sent_24h=0)
    return throttle


def grant(throttle: SendThrottle, recipients: int = 1, lane: Lane = Lane.BULK, **more: object) -> Granted:
    answer = throttle.acquire(recipients, lane, **more)
    assert isinstance(answer, Granted), answer
    return answer


def postpone(throttle: SendThrottle, recipients: int = 1, lane: Lane = Lane.BULK, **more: object) -> Postponed:
    answer = throttle.acquire(recipients, lane, **more)
    assert isinstance(answer, Postponed), answer
    return answer


def seconds_between(grants: list[Granted]) -> list[float]:
    return [(later.slot - earlier.slot) / 1e6 for earlier, later in pairwise(grants)]


def most_in_a_second(grants: list[Granted]) -> int:
    starts = [granted.slot for granted in grants]
    return max(sum(g.recipients for g in grants if start <= g.slot < start + 1_000_000) for start in starts)


def test_what_went_in_the_last_second_is_told_however_much_went_before(throttle, simulated) -> None:
    """Also where slots have been given ahead, and the log of them begins less than a second ago."""
    for number in (3, 60):
        for _ in range(number):
            grant(throttle, patience_seconds=2)
        assert throttle.snapshot().rate_now == pytest.approx(min(number, 13.5), abs=1.5)
        simulated.sleep(2)
        assert throttle.snapshot().rate_now == 0
    slept: list[float] = []  # each of them as a worker that waits for the slot that it was given, in a time of its own
    ahead = SendThrottle(simulated, clock=lambda: sum(slept), sleep=slept.append)
    for _ in range(20):
        grant(ahead, lane=Lane.TRANSACTIONAL, patience_seconds=2)
    simulated.sleep(0.5)
    assert ahead.snapshot().rate_now == pytest.approx(13.5, abs=1.5)


# -- the pace -----------------------------------------------------------------------------------------------------------


def test_the_first_second_is_paced_and_not_a_burst(throttle: SendThrottle) -> None:
    gaps = seconds_between([grant(throttle) for _ in range(30)])
    assert min(gaps) > 0.99 / 14
    assert max(gaps) < 1.02 / 14


def test_idle_time_is_not_saved_up(throttle: SendThrottle, simulated: SimulatedTime) -> None:
    grant(throttle)
    simulated.sleep(HOUR)
    assert min(seconds_between([grant(throttle) for _ in range(5)])) > 0.99 / 14


@pytest.mark.parametrize("after", [{0: 2}, {0: 2, 1: 2, 2: 1}, {49: 2}, dict.fromkeys(range(0, 150, 7), 1)])
@pytest.mark.parametrize("sizes", [(1, 1), (2, 2), (1, 3)])
def test_an_email_that_is_asked_about_late_is_in_no_way_of_those_a_second_later(
    throttle, simulated, after, sizes
) -> None:
    """SES counts it when it is asked: without that, 50 a second are 51 where the first of them had found Redis slow."""
    throttle.update_account(rate=50, quota_24h=-1, sent_24h=0)
    asked, late = [], {}
    for number in range(150):
        granted = grant(throttle, size := 1 if number < 50 else sizes[number % 2])
        for each in [each for each in late if late[each][0] <= number]:
            throttle.asks(late[each][1])
            asked += [simulated.clock()] * late.pop(each)[1].recipients
        if number in after:  # by so many that have later slots: a thread that is slow
            late[number] = number + after[number], granted
        else:
            throttle.asks(granted)
            asked += [simulated.clock()] * size
    assert max(sum(start <= each < start + 1 for each in asked) for start in asked) <= 50
    assert (len(asked) - 1) / (asked[-1] - asked[0]) > 0.95 * 50


def test_recipients_are_the_unit(throttle: SendThrottle) -> None:
    assert seconds_between([grant(throttle, 7) for _ in range(5)]) == pytest.approx([0.5075] * 4, rel=0.001)


def test_mixed_messages_fill_each_second_but_never_overfill_it(throttle: SendThrottle) -> None:
    mix = [1, 1, 1, 2, 3, 5] * 20
    grants = [grant(throttle, recipients, quota_recipients=0) for recipients in mix]
    assert most_in_a_second(grants) <= 14
    seconds = (grants[-1].slot - grants[0].slot) / 1e6
    assert sum(mix) / seconds > 0.9 * 14


def test_what_odd_sizes_leave_unused_is_caught_up_by_ten_recipients_at_once(throttle: SendThrottle) -> None:
    throttle.update_account(rate=100, quota_24h=-1, sent_24h=0)
    for _ in range(20):
        grant(throttle, 40)  # three of them do not fit into one second of 100
    slots = [grant(throttle).slot for _ in range(100)]
    assert max(sum(start <= slot < start + 10_000 for slot in slots) for start in slots) <= 12


def test_a_message_larger_than_the_rate_goes_and_is_paid_for_afterwards(throttle: SendThrottle) -> None:
    grants = [grant(throttle), grant(throttle, 50), grant(throttle)]
    before, after = seconds_between(grants)
    assert before == pytest.approx(1.015, rel=0.01)  # an empty second first
    assert after == pytest.approx(50 / 14, rel=0.02)


def test_without_a_known_account_the_sandbox_holds(simulated: SimulatedTime) -> None:
    throttle = SendThrottle(simulated, clock=simulated.clock, sleep=simulated.sleep)
    assert seconds_between([grant(throttle), grant(throttle)])[0] >= 1
    assert throttle.snapshot().quota == 200
    assert throttle.snapshot().source is None


def test_an_account_without_a_limit_is_not_slowed(throttle: SendThrottle, simulated: SimulatedTime) -> None:
    throttle.update_account(rate=-1, quota_24h=-1, sent_24h=0)
    before = simulated.clock()
    for _ in range(100):
        grant(throttle, 10)
    assert simulated.clock() == before
    assert throttle.snapshot().quota_left == {Lane.TRANSACTIONAL: None, Lane.BULK: None}


def test_a_new_rate_holds_from_the_next_slots_on(throttle: SendThrottle) -> None:
    grant(throttle)
    throttle.update_account(rate=100, quota_24h=1000, sent_24h=0)
    grants = [grant(throttle) for _ in range(10)]
    assert seconds_between(grants)[-1] == pytest.approx(0.01015, rel=0.01)


def test_a_clock_that_was_set_back_costs_a_second_and_not_an_hour(
    throttle: SendThrottle, simulated: SimulatedTime
) -> None:
    grant(throttle)
    simulated.redis.decrby("test-clock-us", 3_600_000_000)
    before = simulated.clock()
    grant(throttle)
    assert 1 <= simulated.clock() - before < 1.1
    assert min(seconds_between([grant(throttle) for _ in range(5)])) > 0.99 / 14


# -- lanes and turns ------------------------------------------------------------------------------------------------------


def test_a_transactional_email_waits_for_no_more_than_bulks_horizon(simulated: SimulatedTime) -> None:
    """Sleeping is off, so bulk reserves whatever it may without time passing."""
    eager = SendThrottle(simulated, clock=simulated.clock, sleep=lambda _: None)
    eager.update_account(rate=14, quota_24h=-1, sent_24h=0)
    while isinstance(eager.acquire(1, Lane.BULK, patience_seconds=0.0), Granted):
        pass
    slot = grant(eager, lane=Lane.TRANSACTIONAL).slot / 1e6 - simulated.START_SECONDS
    assert slot - simulated.clock() < 0.25 + 2 / 14


def test_bulk_whose_ticket_was_issued_again_does_not_wait_behind_bulk(simulated: SimulatedTime) -> None:
    eager = SendThrottle(simulated, clock=simulated.clock, sleep=lambda _: None)
    eager.update_account(rate=14, quota_24h=-1, sent_24h=0)
    while isinstance(eager.acquire(1, Lane.BULK, patience_seconds=0.0), Granted):
        pass
    slot = grant(eager, express=True, patience_seconds=0.0).slot / 1e6 - simulated.START_SECONDS
    assert slot - simulated.clock() < 0.25 + 2 / 14


def ask(scripts: Scripts, asker: str, lane: str = "bulk") -> list[object]:
    return scripts.run("throttle_reserve", 1, 0, lane, lane, 250_000, asker, 1, 0, *NOTHING_BEGINS, 0, "account")


def last_slot(scripts: Scripts) -> float:
    return struct.unpack("dd", scripts.redis.lindex(scripts.keys("throttle", "slots"), -1))[0]


def fill_the_horizon(scripts: Scripts) -> None:
    while ask(scripts, "someone")[0] == b"granted":
        pass
    scripts.redis.delete(scripts.keys("throttle", "waiting", "bulk"))


def test_turns_go_by_who_came_first_and_not_by_who_asks_first(throttle: SendThrottle, simulated: SimulatedTime) -> None:
    fill_the_horizon(simulated)
    first = ask(simulated, "the first")
    simulated.sleep(0.001)
    second = ask(simulated, "second")
    assert second[1] > first[1]
    simulated.sleep(0.1)
    assert ask(simulated, "second")[0] == b"wait"
    assert ask(simulated, "newcomer")[0] == b"wait"
    assert ask(simulated, "the first")[0] == b"granted"
    assert ask(simulated, "newcomer")[0] == b"wait"
    simulated.sleep(0.1)
    assert ask(simulated, "second")[0] == b"granted"


def test_whoever_dies_in_the_line_costs_the_others_nothing(throttle: SendThrottle, simulated: SimulatedTime) -> None:
    fill_the_horizon(simulated)
    tail = last_slot(simulated)
    ask(simulated, "dead")
    simulated.sleep(0.001)
    _, wait = ask(simulated, "alive")
    simulated.sleep(wait / 1e6)
    while (answer := ask(simulated, "alive"))[0] == b"wait":
        simulated.sleep(answer[1] / 1e6)
    assert answer[2] - tail == pytest.approx(1.015e6 / 14, rel=0.001)  # the very next slot, none was lost


def test_bulk_without_patience_is_postponed_and_reserves_nothing(
    throttle: SendThrottle, simulated: SimulatedTime
) -> None:
    fill_the_horizon(simulated)
    granted = throttle.snapshot().granted
    assert postpone(throttle, patience_seconds=0.0).cause is Cause.RATE
    assert throttle.snapshot().granted == granted


# -- several slots at once ------------------------------------------------------------------------------------------------


def lease_of(throttle: SendThrottle, simulated: SimulatedTime, busy_seconds: float, emails: int) -> list[Granted]:
    """The slots of a thread that has so many emails in hand and is busy for so long with each."""
    lease, granted = SlotLease(busy_seconds=busy_seconds), []
    for left in range(emails, 0, -1):
        lease.wanted = left
        granted.append(grant(throttle, lease=lease))
        assert simulated.clock() + simulated.START_SECONDS <= granted[-1].slot / 1e6 + 0.0100001, "it was late"
        simulated.sleep(busy_seconds)
    lease.give_back()
    return granted


def calls_of(redis: Redis, monkeypatch: pytest.MonkeyPatch, throttle: SendThrottle) -> list[str]:
    names: list[str] = []
    run = throttle._run
    monkeypatch.setattr(throttle, "_run", lambda name, *rest: names.append(name) or run(name, *rest))
    return names


@pytest.mark.parametrize("busy_seconds", [0.001, 0.004, 0.03])
def test_slots_that_are_leased_are_as_exact_as_those_asked_for_one_by_one(
    throttle: SendThrottle,
    simulated: SimulatedTime,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    busy_seconds: float,
) -> None:
    throttle.update_account(rate=100, quota_24h=-1, sent_24h=0)
    calls = calls_of(redis, monkeypatch, throttle)
    granted = lease_of(throttle, simulated, busy_seconds, 400)
    assert min(seconds_between(granted)) >= 1.015 / 100 - 1e-6
    if busy_seconds < 0.01:
        assert max(seconds_between(granted)) == pytest.approx(1.015 / 100, abs=1e-4), "none was lost"
        assert len(calls) < 400 / 10, "a horizon of them at a time"


def test_a_lease_reaches_no_further_than_the_horizon_and_keeps_off_what_it_would_be_late_for(
    throttle: SendThrottle, simulated: SimulatedTime
) -> None:
    throttle.update_account(rate=1000, quota_24h=-1, sent_24h=0)

    def slots(busy_us: int) -> int:
        me = "bulk", "bulk", 250_000, "me"
        answer = simulated.run("throttle_reserve", 1, 0, *me, 5000, busy_us, *NOTHING_BEGINS, 0, "account")
        simulated.sleep(10)
        return (len(answer) - 1) // 2

    assert slots(500) == pytest.approx(250, abs=10)
    assert slots(3000) == pytest.approx(5, abs=1)
    assert slots(30_000) == 1


def test_a_lease_counts_to_the_quota_and_what_is_left_of_it_does_not(throttle: SendThrottle) -> None:
    throttle.update_account(rate=1000, quota_24h=10, sent_24h=0, bulk_reserve=0.2)
    lease = SlotLease(busy_seconds=0.001, wanted=50)
    grant(throttle, lease=lease)
    assert throttle.snapshot().quota_used == 8, "the reserve is left alone"
    lease.give_back()
    assert throttle.snapshot().quota_used == 1


def test_a_lease_keeps_to_the_shares_and_of_a_closed_line_it_is_one_slot_that_tries(
    throttle: SendThrottle, simulated: SimulatedTime
) -> None:
    lease = SlotLease(busy_seconds=0.001, wanted=50)
    granted = [grant(throttle, lease=lease, shares=(Share(scope="worker:a", rate=2),)) for _ in range(5)]
    assert min(seconds_between(granted)) >= 0.44
    lease.give_back()
    throttle.line.stop(ACCOUNT, "SES said so", probe_every_seconds=0.001)
    simulated.sleep(1)
    assert grant(throttle, lease=lease).probes
    assert not lease.slots


def test_threads_that_send_emails_of_one_kind_have_their_slots_in_common(
    throttle: SendThrottle, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    throttle.update_account(rate=1000, quota_24h=100, sent_24h=0)
    one, another = (SlotLease(busy_seconds=0.002, wanted=4) for _ in range(2))
    calls = calls_of(redis, monkeypatch, throttle)
    granted = [grant(throttle, lease=lease) for lease in (one, another, one, another, one)]
    assert len(calls) < 5, "a slot that one has leased is the other's"
    assert min(seconds_between(granted)) >= 1.015 / 1000 - 1e-6
    used = throttle.snapshot().quota_used
    one.give_back()
    assert throttle.snapshot().quota_used == used, "the other thread has use for what is left"
    another.give_back()
    assert throttle.snapshot().quota_used == 5, "nobody has"


def test_who_waits_longer_than_a_moment_first_does_what_is_to_be_done(throttle: SendThrottle) -> None:
    done: list[str] = []
    lease = SlotLease(before_waiting=lambda: done.append("flush"))
    grant(throttle, lease=lease)
    assert not done
    grant(throttle, lease=lease)
    assert done


# -- shares -----------------------------------------------------------------------------------------------------------------


def test_the_tightest_share_wins(throttle: SendThrottle) -> None:
    shares = (Share(scope="worker:a", rate=4), Share(scope="configuration-set:news", rate=2))
    gaps = seconds_between([grant(throttle, shares=shares) for _ in range(6)])
    assert sum(gaps) / len(gaps) == pytest.approx(0.5, rel=0.03)


def test_a_share_takes_nothing_from_those_who_do_not_have_it(throttle: SendThrottle, simulated: SimulatedTime) -> None:
    """One worker at 1/s and one without a limit: together they use the account's whole rate."""
    slow = Share(scope="worker:slow", rate=1)
    grants, until = [], simulated.clock() + 10
    while simulated.clock() < until:
        answer = throttle.acquire(1, Lane.BULK, shares=(slow,), patience_seconds=0.0)
        grants += [answer] if isinstance(answer, Granted) else [grant(throttle)]
    assert len(grants) == pytest.approx(140, rel=0.03)


def test_shares_of_workers_that_are_gone_are_forgotten(throttle: SendThrottle, simulated: SimulatedTime) -> None:
    for number in range(5):
        grant(throttle, shares=(Share(scope=f"worker:{number}", rate=5),))
    simulated.sleep(HOUR)
    grant(throttle)
    assert simulated.redis.zcard(simulated.keys("throttle", "shares")) == 0


# -- the margin -------------------------------------------------------------------------------------------------------------


def test_a_throttle_slows_the_whole_fleet_from_the_next_slot_on(
    throttle: SendThrottle, simulated: SimulatedTime
) -> None:
    before = throttle.snapshot()
    throttle.refused(grant(throttle))
    elsewhere = SendThrottle(simulated, clock=simulated.clock, sleep=simulated.sleep)
    after = elsewhere.snapshot()
    assert after.limit < before.limit
    assert (after.refused, after.refused_at is not None) == (1, True)
    grants = [grant(elsewhere) for _ in range(5)]
    assert seconds_between(grants)[-1] == pytest.approx(1 / after.limit, rel=0.001)


def test_the_throttles_of_one_cause_widen_the_margin_once(throttle: SendThrottle) -> None:
    burst = [grant(throttle) for _ in range(5)]
    throttle.refused(burst[0])
    margin = throttle.snapshot().margin
    for granted in burst[1:]:
        throttle.refused(granted)
    assert throttle.snapshot().margin <= margin
    assert throttle.snapshot().refused == 5


def test_throttles_that_go_on_widen_it_faster_and_faster(throttle: SendThrottle, simulated: SimulatedTime) -> None:
    margins = [throttle.snapshot().margin]
    for _ in range(5):
        simulated.sleep(1.5)
        throttle.refused(grant(throttle, quota_recipients=0))
        margins.append(throttle.snapshot().margin)
    steps = [later - earlier for earlier, later in pairwise(margins)]
    assert steps[-1] > 4 * steps[0]


def test_quiet_time_gives_the_rate_back(throttle: SendThrottle, simulated: SimulatedTime) -> None:
    for _ in range(6):
        began = throttle.snapshot().margin
        throttle.refused(grant(throttle, quota_recipients=0))
        simulated.sleep(2)
    wide = throttle.snapshot().margin
    simulated.sleep(30)
    remembered = throttle.snapshot().margin
    simulated.sleep(HOUR)
    assert throttle.snapshot().margin == 0.015
    assert began + 0.01 <= remembered < wide


# -- the 24-hour quota ------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_quota(throttle: SendThrottle) -> SendThrottle:
    throttle.update_account(rate=-1, quota_24h=100, sent_24h=0)
    return throttle


def test_bulk_leaves_the_reserve_to_transactional_email(small_quota: SendThrottle) -> None:
    for _ in range(90):
        grant(small_quota)
    assert postpone(small_quota).cause is Cause.QUOTA
    assert small_quota.snapshot().quota_left == {Lane.TRANSACTIONAL: 10, Lane.BULK: 0}
    for _ in range(10):
        grant(small_quota, lane=Lane.TRANSACTIONAL)
    assert postpone(small_quota, lane=Lane.TRANSACTIONAL).cause is Cause.QUOTA


def test_bulk_that_goes_by_express_leaves_the_reserve_alone_too(small_quota: SendThrottle) -> None:
    for _ in range(90):
        grant(small_quota, express=True)
    assert postpone(small_quota, express=True).cause is Cause.QUOTA


def test_a_postponed_send_is_told_when_its_own_part_leaves_the_24_hours(
    small_quota: SendThrottle, simulated: SimulatedTime
) -> None:
    for _ in range(3):
        grant(small_quota, 30)
        simulated.sleep(HOUR)
    waits = [postpone(small_quota, 10).seconds for _ in range(9)]
    assert waits[0] == waits[2] == pytest.approx(21 * HOUR, abs=600)
    assert waits[3] == waits[5] == pytest.approx(22 * HOUR, abs=600)
    assert waits[6] == waits[8] == pytest.approx(23 * HOUR, abs=600)
    simulated.sleep(waits[0])
    for _ in range(3):
        grant(small_quota, 10)
    assert postpone(small_quota, 10).cause is Cause.QUOTA


def test_what_others_sent_counts_and_the_larger_number_wins(small_quota: SendThrottle) -> None:
    grant(small_quota, 40)
    small_quota.update_account(rate=-1, quota_24h=100, sent_24h=70)
    assert (small_quota.snapshot().quota_used, small_quota.snapshot().quota_used_by_others) == (70, 30)
    small_quota.update_account(rate=-1, quota_24h=100, sent_24h=10)  # SES counts late
    assert (small_quota.snapshot().quota_used, small_quota.snapshot().quota_used_by_others) == (40, 0)


def test_simulator_addresses_do_not_count_to_the_quota(small_quota: SendThrottle) -> None:
    for _ in range(300):
        grant(small_quota, quota_recipients=0)
    assert small_quota.snapshot().quota_used == 0


def test_a_slot_that_was_not_used_does_not_count(small_quota: SendThrottle) -> None:
    small_quota.unused(grant(small_quota, 50))
    small_quota.refused(grant(small_quota, 50))
    assert small_quota.snapshot().quota_used == 0


def test_the_quota_error_costs_one_call_and_then_one_in_ten_minutes(
    small_quota: SendThrottle, simulated: SimulatedTime
) -> None:
    assert small_quota.quota_exhausted(grant(small_quota)) == 600
    assert postpone(small_quota).cause is Cause.QUOTA
    wait = postpone(small_quota, lane=Lane.TRANSACTIONAL).seconds
    assert wait <= 600
    simulated.sleep(wait)
    probe = grant(small_quota)
    assert probe.probes == ("quota",)
    assert postpone(small_quota).cause is Cause.QUOTA
    small_quota.accepted(probe)
    assert not grant(small_quota).probes


def test_news_of_room_from_ses_ends_the_quota_error(small_quota: SendThrottle) -> None:
    small_quota.quota_exhausted(grant(small_quota))
    small_quota.update_account(rate=-1, quota_24h=200, sent_24h=100)
    assert not grant(small_quota).probes


def test_the_quota_error_counts_even_where_no_quota_is_known(small_quota: SendThrottle) -> None:
    small_quota.update_account(rate=-1, quota_24h=-1, sent_24h=None)
    small_quota.quota_exhausted(grant(small_quota))
    assert postpone(small_quota).cause is Cause.QUOTA


# -- the line ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "seconds"),
    [("account", 1), ("lane:bulk", 1), ("configuration-set:news", 60), ("identity:example.com", 60)],
)
def test_a_paused_scope_lets_nothing_through_until_it_is_resumed(
    throttle: SendThrottle, simulated: SimulatedTime, scope: str, seconds: int
) -> None:
    """The sweeper holds back what is due in a closed account or lane, so that comes back as soon as it is open."""
    scopes = ("configuration-set:news", "identity:example.com")
    assert throttle.line.pause(scope, "a typo in the subject")
    assert not throttle.line.pause(scope, "another reason")
    answer = postpone(throttle, scopes=scopes)
    assert (answer.cause, answer.seconds, answer.reason) == (Cause.PAUSED, seconds, f"{scope}: a typo in the subject")
    simulated.sleep(24 * HOUR)
    assert postpone(throttle, scopes=scopes).cause is Cause.PAUSED
    assert throttle.line.resume(scope)
    assert not throttle.line.resume(scope)
    grant(throttle, scopes=scopes)


def test_a_paused_lane_or_configuration_set_does_not_stop_the_others(throttle: SendThrottle) -> None:
    throttle.line.pause("lane:bulk", "wait")
    throttle.line.pause("configuration-set:news", "wait")
    grant(throttle, lane=Lane.TRANSACTIONAL, scopes=("configuration-set:receipts",))


def test_a_stopped_scope_costs_one_probe_a_minute_and_opens_when_it_is_accepted(
    throttle: SendThrottle, simulated: SimulatedTime
) -> None:
    scope = "identity:example.com"
    assert throttle.line.stop(scope, "Not verified.")
    answer = postpone(throttle, scopes=(scope,))
    assert (answer.cause, answer.seconds) == (Cause.STOPPED, 60)
    simulated.sleep(60)
    probe = grant(throttle, scopes=(scope,))
    assert probe.probes == (f"stopped:{scope}",)
    assert postpone(throttle, scopes=(scope,)).seconds == pytest.approx(60, abs=1)
    assert not throttle.line.stop(scope, "Not verified.")  # the probe was refused
    simulated.sleep(60)
    throttle.accepted(grant(throttle, scopes=(scope,)))
    assert throttle.line.closures() == ()
    grant(throttle, scopes=(scope,))


def test_a_probe_waits_while_an_operator_holds_the_line(throttle: SendThrottle, simulated: SimulatedTime) -> None:
    throttle.line.stop("identity:example.com", "not verified")
    throttle.line.pause("account", "holiday")
    simulated.sleep(HOUR)
    assert postpone(throttle, scopes=("identity:example.com",)).cause is Cause.PAUSED


def test_closures_tell_what_is_closed_since_when_and_why(throttle: SendThrottle, simulated: SimulatedTime) -> None:
    throttle.line.stop("identity:example.com", "Email address is not verified.", probe_every_seconds=30)
    simulated.sleep(5)
    throttle.line.pause("lane:bulk", "the list is wrong")
    stopped, paused = throttle.snapshot().closures
    assert (stopped.scope, stopped.reason) == ("identity:example.com", "Email address is not verified.")
    assert (stopped.since, stopped.next_probe_at) == (simulated.START_SECONDS, simulated.START_SECONDS + 30)
    assert (paused.scope, paused.how, paused.next_probe_at) == ("lane:bulk", "paused", None)


# -- threads and processes ----------------------------------------------------------------------------------------------------


def test_a_shutdown_wakes_whoever_waits(scripts: Scripts) -> None:
    throttle = SendThrottle(scripts)
    throttle.update_account(rate=0.01, quota_24h=-1, sent_24h=0)
    grant(throttle)
    answers: list[Granted | Postponed] = []
    threads = [
        threading.Thread(target=lambda: answers.append(throttle.acquire(1, Lane.BULK, patience_seconds=600)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    throttle.stop()
    for thread in threads:
        thread.join(timeout=5)
    assert [getattr(answer, "cause", None) for answer in answers] == [Cause.SHUTDOWN] * 4
    assert postpone(throttle).cause is Cause.SHUTDOWN


def test_a_pause_reaches_everyone_who_waits_within_seconds(scripts: Scripts) -> None:
    throttle = SendThrottle(scripts)
    throttle.update_account(rate=1, quota_24h=-1, sent_24h=0)
    for _ in range(2):
        grant(throttle, lane=Lane.TRANSACTIONAL)
    answers: list[Granted | Postponed] = []
    threads = [
        threading.Thread(target=lambda: answers.append(throttle.acquire(1, Lane.BULK, patience_seconds=60)))
        for _ in range(8)
    ]
    throttle.line.pause("account", "stop everything")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=5)
    assert [getattr(answer, "cause", None) for answer in answers] == [Cause.PAUSED] * 8


def test_threads_of_several_processes_together_keep_to_the_rate(scripts: Scripts, redis: Redis) -> None:
    """Two throttles stand for two processes; 100 a second for half a second."""
    throttles = [SendThrottle(Scripts(redis, Keys())) for _ in range(2)]
    throttles[0].update_account(rate=100, quota_24h=-1, sent_24h=0)
    moments: list[tuple[float, int]] = []

    def send(throttle: SendThrottle) -> None:
        for _ in range(10):
            slot = grant(throttle).slot
            moments.append((time.time(), slot))

    threads = [threading.Thread(target=send, args=(throttle,)) for throttle in throttles for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    slots = sorted(slot for _, slot in moments)
    assert len(slots) == 80
    assert min(later - earlier for earlier, later in pairwise(slots)) >= 10_000
    assert all(moment * 1e6 >= slot - 1000 for moment, slot in moments)  # nobody is early


def test_only_the_keys_of_the_catalogue_are_used_and_none_grows(
    throttle: SendThrottle, simulated: SimulatedTime
) -> None:
    throttle.line.pause("lane:transactional", "x")
    share = Share(scope="worker:a", rate=50)
    for _ in range(200):
        granted = grant(throttle, shares=(share,))
    throttle.refused(granted)
    fill_the_horizon(simulated)
    ask(simulated, "someone")
    throttle.update_account(rate=-1, quota_24h=100, sent_24h=90)
    postpone(throttle)
    known = {key.pattern.replace("<lane>", "bulk"): key.type for key in CATALOGUE}
    base = simulated.keys.base
    for name in simulated.redis.keys(base + "*"):
        assert simulated.redis.type(name).decode() == known[name.decode().removeprefix(base)]
    assert simulated.redis.llen(simulated.keys("throttle", "slots")) < 20
