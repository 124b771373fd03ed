"""A throttle by a clock that stands still unless a test, or a sleeping throttle, moves it."""

from __future__ import annotations

from sesmail.state.scripts import Scripts


class SimulatedTime(Scripts):
    """The scripts by a clock of microseconds in Redis; sleeping is moving the clock."""

    START_SECONDS = 1_800_000_000

    def start(self) -> None:
        self.redis.set("test-clock-us", self.START_SECONDS * 1_000_000)

    def clock(self) -> float:
        return int(self.redis.get("test-clock-us") or 0) / 1e6 - self.START_SECONDS

    def sleep(self, seconds: float) -> None:
        self.redis.incrby("test-clock-us", max(0, round(seconds * 1e6)))

    def prelude(self) -> str:
        return super().prelude() + "\nnow_us = function() return tonumber(redis.call('GET', 'test-clock-us')) end"
