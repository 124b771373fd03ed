"""The limits' arithmetic. Time is simulated."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from seslocal.account.limits import DAY_SECONDS, CallRate, DailyQuota, RollingSecond, SendRate

gaps = st.lists(st.floats(min_value=0, max_value=0.7), min_size=1, max_size=150)


def accepted_times(rate: SendRate, gaps: list[float], start: float = 1_000_000_000.0) -> list[float]:
    now, accepted = start, []
    for gap in gaps:
        now += gap
        if rate.allows(now):
            rate.charge(1, now)
            accepted.append(now)
    return accepted


@given(gaps, st.integers(1, 20), st.integers(0, 5))
def test_no_rolling_second_holds_more_than_the_rate_and_the_burst(gaps, limit, burst):
    accepted = accepted_times(SendRate(limit, burst), gaps)
    meter = RollingSecond()
    for moment in accepted:
        meter.add(1, moment)
    assert meter.highest <= limit + burst


@given(st.lists(st.floats(min_value=0, max_value=0.05), min_size=200, max_size=400), st.integers(0, 10))
def test_a_burst_is_paid_for_so_the_rate_holds_in_the_long_run(gaps, burst):
    accepted = accepted_times(SendRate(5, burst), gaps)
    assert len(accepted) <= (accepted[-1] - accepted[0]) * 5 + 5 + burst


def test_a_call_at_exactly_one_second_after_the_first_passes():
    rate = SendRate(2)
    rate.charge(1, 10.0)
    rate.charge(1, 10.5)
    assert not rate.allows(10.999)
    assert rate.allows(11.0)


def test_a_call_with_five_recipients_at_one_a_second_is_accepted_and_closes_the_door_for_five_seconds():
    rate = SendRate(1)
    assert rate.allows(100.0)
    rate.charge(5, 100.0)
    assert not rate.allows(104.9)
    assert rate.allows(105.0)


def test_a_lower_rate_remembers_what_was_just_accepted():
    rate = SendRate(10)
    rate.charge(6, 50.0)
    assert not rate.changed_to(5, 0).allows(50.5)
    assert rate.changed_to(7, 0).allows(50.5)


def test_the_meter_sees_the_busiest_second_wherever_it_begins():
    meter = RollingSecond()
    for moment, recipients in ((1.0, 3), (1.6, 4), (2.1, 4), (2.7, 1)):
        meter.add(recipients, moment)
    assert meter.highest == 8


@given(st.lists(st.tuples(st.floats(0, 50_000), st.integers(1, 50)), max_size=40))
def test_the_daily_quota_counts_the_last_24_hours_only(calls):
    quota, now, log = DailyQuota(200), 1_000_000.0, []
    for gap, recipients in calls:
        now += gap
        expected = sum(count for second, count in log if second + DAY_SECONDS > now)
        assert quota.sent(now) == expected
        assert quota.allows(now) == (expected < 200)
        quota.charge(recipients, now)
        log.append((int(now), recipients))


def test_an_unlimited_quota_never_refuses():
    quota = DailyQuota(-1)
    quota.charge(10**9, 5.0)
    assert quota.allows(5.0)


def test_each_action_has_its_own_call_a_second():
    calls = CallRate(1)
    assert calls.admit("GetAccount", 1.0)
    assert not calls.admit("GetAccount", 1.9)
    assert calls.admit("GetEmailTemplate", 1.9)
    assert calls.admit("GetAccount", 2.0)
