"""A burst at a small scale, in real processes: the benchmark of the same name does it with 160,000 events."""

from __future__ import annotations

from benchmarks.events import Place, burst
from sesmail.embedded import EmbeddedRedis


def test_a_burst_loses_and_doubles_nothing_while_redis_and_the_door_are_killed(tmp_path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as redis:
        figures = burst(Place(tmp_path, redis), events=1_200, per_second=400)
    assert figures == {"burst_events": 1_200, "burst_lost": 0, "burst_doubled": 0}
