"""What must hold of the throttle whatever comes, on the real scripts by a simulated clock, beside a plain model."""

from __future__ import annotations

import heapq
import struct
from collections import defaultdict
from itertools import cycle, pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from sesmail.message import Lane
from sesmail.sending.throttle import NOTHING_BEGINS, Granted, SendThrottle
from sesmail.state.keys import Keys
from sesmail.vocabulary import Postponed
from tests.contract.throttle_clock import SimulatedTime
from tests.contract.throttle_model import MARGIN, Model

DAY = 86_400.0
BOOKS = "{sesmail}:throttle"
UNWRITTEN = [1, 200, *[0] * 16]
"""What the books' numbers are before anything is written: the sandbox's rate and quota."""
LAYOUT = f"<{len(UNWRITTEN)}d"
examples = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

messages = st.tuples(
    st.integers(1, 12) | st.integers(1, 50),  # recipients
    st.sampled_from([0.0, 0.0, 0.0, 0.001, 0.05, 0.4, 3.0]),  # seconds before it comes
)


@pytest.fixture
def simulated(redis: Redis) -> SimulatedTime:
    return SimulatedTime(redis, Keys())


def fresh(simulated: SimulatedTime, *, rate: float = -1, quota: float = -1) -> SendThrottle:
    simulated.redis.flushdb()
    simulated.start()
    throttle = SendThrottle(simulated, clock=simulated.clock, sleep=simulated.sleep)
    throttle.update_account(rate=rate, quota_24h=quota, sent_24h=0)
    return throttle


def most_in_a_second(sends: list[tuple[float, int]]) -> int:
    """The greatest sum of recipients in any second; one message larger than a second's limit counts by itself."""
    return max(sum(n for at, n in sends if start <= at < start + 1) for start, _ in sends)


@examples
@given(rate=st.integers(1, 40), coming=st.lists(messages, min_size=1, max_size=40))
def test_the_script_gives_the_slots_that_the_model_gives(
    simulated: SimulatedTime, rate: int, coming: list[tuple[int, float]]
) -> None:
    throttle, model = fresh(simulated, rate=rate), Model(rate)
    for recipients, pause in coming:
        simulated.sleep(pause)
        now = round((simulated.clock() + simulated.START_SECONDS) * 1e6)
        answer = throttle.acquire(recipients, Lane.TRANSACTIONAL, patience_seconds=1e6)
        assert isinstance(answer, Granted)
        assert abs(answer.slot - model.reserve(now, recipients)) <= 2  # microseconds: asked again after a sleep


@examples
@given(
    rate=st.integers(1, 40),
    coming=st.lists(messages, min_size=1, max_size=40),
    following=st.binary(min_size=1, max_size=40),
)
def test_what_a_later_release_put_behind_the_books_changes_no_slot_and_stays_as_it_is(
    simulated: SimulatedTime, rate: int, coming: list[tuple[int, float]], following: bytes
) -> None:
    throttle, model = fresh(simulated, rate=rate), Model(rate)
    simulated.redis.append(BOOKS, following)
    for recipients, pause in coming:
        simulated.sleep(pause)
        now = round((simulated.clock() + simulated.START_SECONDS) * 1e6)
        answer = throttle.acquire(recipients, Lane.TRANSACTIONAL, patience_seconds=1e6)
        assert isinstance(answer, Granted)
        assert abs(answer.slot - model.reserve(now, recipients)) <= 2
    assert (simulated.redis.get(BOOKS) or b"")[8 * len(UNWRITTEN) :] == following


@examples
@given(
    numbers=st.lists(st.integers(0, 10**12), min_size=len(UNWRITTEN), max_size=len(UNWRITTEN)),
    known=st.integers(0, len(UNWRITTEN)),
    torn=st.integers(0, 7),
)
def test_books_that_lack_numbers_are_as_if_these_had_never_been_written(
    simulated: SimulatedTime, numbers: list[int], known: int, torn: int
) -> None:
    """Whatever the numbers mean: what an older release did not have holds as on the first day."""

    def used(books: bytes) -> tuple[object, ...]:
        throttle = fresh(simulated)
        simulated.redis.set(BOOKS, books)
        snapshot = throttle.snapshot()
        throttle.unused(Granted(slot=0, recipients=0, quota_recipients=1))
        return snapshot, simulated.redis.get(BOOKS)

    lacking = struct.pack(LAYOUT, *numbers)[: 8 * known + torn]
    completed = struct.pack(LAYOUT, *numbers[:known], *UNWRITTEN[known:])
    assert used(lacking) == used(completed)


@examples
@given(
    rate=st.integers(1, 40),
    coming=st.lists(messages, min_size=2, max_size=40),
    refused=st.sets(st.integers(0, 40)),
)
def test_no_second_ever_holds_more_than_the_rate_or_one_message(
    simulated: SimulatedTime, rate: int, coming: list[tuple[int, float]], refused: set[int]
) -> None:
    throttle, sends = fresh(simulated, rate=rate), []
    for number, (recipients, pause) in enumerate(coming):
        simulated.sleep(pause)
        answer = throttle.acquire(recipients, Lane.TRANSACTIONAL, patience_seconds=1e6)
        assert isinstance(answer, Granted)
        if number in refused:
            throttle.refused(answer)
        sends.append((answer.slot / 1e6, recipients))
    assert most_in_a_second(sends) <= max(rate, *(recipients for recipients, _ in coming))


@examples
@given(
    rate=st.integers(2, 40),
    coming=st.lists(st.integers(1, 5), min_size=2, max_size=40),
    steps=st.dictionaries(st.integers(0, 40), st.sampled_from([3600.0, -3600.0, 2.0, -2.0, -0.2]), max_size=2),
)
def test_a_clock_that_is_set_forward_or_back_makes_no_burst_and_no_standstill(
    simulated: SimulatedTime, rate: int, coming: list[int], steps: dict[int, float]
) -> None:
    """Of the Redis host's clock; those of the workers' hosts are not even read.

    A step forward makes the log old; what follows is still paced.
    """
    throttle, sends, stepped = fresh(simulated, rate=rate), [], 0.0
    for number, recipients in enumerate(coming):
        step = steps.get(number, 0.0)
        simulated.redis.incrby("test-clock-us", round(step * 1e6))
        stepped += step
        before = simulated.clock()
        answer = throttle.acquire(recipients, Lane.TRANSACTIONAL, patience_seconds=1e6)
        assert isinstance(answer, Granted)
        assert simulated.clock() - before < 10 + 5 * 5 / rate
        sends.append((simulated.clock() - stepped, recipients))
    assert most_in_a_second(sends) <= rate + 5 * (1 + len(steps))


@examples
@given(
    rate=st.sampled_from([1, 5, 14, 40]),
    askers=st.integers(1, 6),
    deaths_or_sizes=st.sets(st.integers(3, 60), max_size=4) | st.lists(st.integers(1, 5), min_size=1, max_size=10),
)
def test_turns_are_first_come_first_served_and_the_dead_cost_no_slot(
    simulated: SimulatedTime, rate: int, askers: int, deaths_or_sizes: set[int] | list[int]
) -> None:
    """Every process always has somebody at the front; some die while they wait.

    The dead are of one recipient here: a larger one that dies at the front costs the time that its own would have taken.
    """
    fresh(simulated, rate=rate)
    start_us = simulated.START_SECONDS * 1_000_000
    deaths = deaths_or_sizes if isinstance(deaths_or_sizes, set) else set()
    size = cycle([1] if deaths else [min(size, rate) for size in deaths_or_sizes] or [1])
    events = [(start_us + number, number, start_us + number, next(size)) for number in range(askers)]
    grants, now, model = [], start_us, Model(rate)
    for event in range(80):
        now, asker, came, recipients = heapq.heappop(events)
        if event in deaths and events:
            continue
        simulated.redis.set("test-clock-us", now)
        name = f"asker-{asker}"
        kind, wait, *slot = simulated.run(
            "throttle_reserve", recipients, 0, "bulk", "bulk", 250_000, name, 1, 0, *NOTHING_BEGINS, 0, "account"
        )
        if kind == b"granted":
            assert slot[0] == pytest.approx(model.reserve(now if not grants else 0, recipients), abs=2)
            grants.append((came, slot[0]))
            heapq.heappush(events, (now + 1, asker, now + 1, next(size)))  # the next thread comes to the front
        else:
            heapq.heappush(events, (now + wait, asker, came, recipients))
    assert grants[-1][1] >= now - 3_000_000  # it still goes on
    came_in_order = [came for came, _ in grants]
    assert came_in_order == sorted(came_in_order)


@examples
@given(
    quota=st.integers(10, 60),
    coming=st.lists(
        st.tuples(
            st.integers(1, 10),
            st.sampled_from(list(Lane)),
            st.sampled_from([0.0, 0.0, 60.0, 700.0, 3 * 3600.0, DAY - 300.0, DAY + 700.0]),
            st.booleans(),
        ),
        min_size=1,
        max_size=40,
    ),
)
def test_no_24_hours_hold_more_than_the_quota_nor_bulk_more_than_its_part(
    simulated: SimulatedTime, quota: int, coming: list[tuple[int, Lane, float, bool]]
) -> None:
    throttle = fresh(simulated, quota=quota)
    sent: list[tuple[float, int]] = []
    usable = {Lane.TRANSACTIONAL: quota, Lane.BULK: int(quota * 0.9)}
    for recipients, lane, pause, used in coming:
        simulated.sleep(pause)
        now = simulated.clock()
        in_a_day = sum(n for at, n in sent if at > now - DAY)
        in_a_day_and_a_bucket = sum(n for at, n in sent if at > now - DAY - 600)
        answer = throttle.acquire(recipients, lane)
        if isinstance(answer, Postponed):
            assert in_a_day_and_a_bucket + recipients > usable[lane]  # not for less
            assert 0 < answer.seconds <= DAY + 600
        elif used:
            assert in_a_day + recipients <= usable[lane]
            sent.append((now, recipients))
        else:
            throttle.unused(answer)


@examples
@given(
    times=st.lists(st.floats(0, 2000), min_size=2, max_size=10), refusals=st.integers(1, 8), rate=st.integers(1, 1000)
)
def test_the_margin_only_narrows_in_quiet_and_never_below_its_least(
    simulated: SimulatedTime, times: list[float], refusals: int, rate: int
) -> None:
    throttle = fresh(simulated, rate=rate)
    for _ in range(refusals):
        before = throttle.snapshot().margin
        answer = throttle.acquire(1, Lane.BULK)
        assert isinstance(answer, Granted)
        throttle.refused(answer)
        assert throttle.snapshot().margin > before
        simulated.sleep(2 + throttle.snapshot().margin)
    start, margins = simulated.clock(), []
    for time in sorted(times):
        simulated.sleep(max(0.0, start + time - simulated.clock()))
        margins.append(throttle.snapshot().margin)
    assert all(later <= earlier for earlier, later in pairwise(margins))
    assert min(margins) >= MARGIN


@examples
@given(quota=st.integers(20, 60), sends=st.integers(1, 60))
def test_promised_times_do_not_bring_more_back_than_there_is_room_for(
    simulated: SimulatedTime, quota: int, sends: int
) -> None:
    throttle = fresh(simulated, quota=quota)
    for _ in range(4):
        for _ in range(quota // 4):
            throttle.acquire(1, Lane.TRANSACTIONAL)
        simulated.sleep(3600)
    while isinstance(throttle.acquire(1, Lane.TRANSACTIONAL), Granted):
        pass
    back: dict[float, int] = defaultdict(int)
    for _ in range(min(sends, quota // 2)):
        answer = throttle.acquire(1, Lane.BULK)
        assert isinstance(answer, Postponed)
        back[answer.seconds] += 1
    assert max(back.values()) <= quota // 4 + quota % 4
