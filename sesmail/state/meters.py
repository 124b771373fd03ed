"""Totals for those who watch, since the beginning: what sweeps have dealt with, what was not accepted in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sesmail.state.trouble import reachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis

    from sesmail.state.keys import Keys


class Meters:
    """Totals of the whole fleet, which only grow. Methods raise `LedgerUnavailable` when Redis cannot be reached."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._swept = keys("meters", "sweep")
        self._not_accepted = keys("meters", "not_accepted")

    def count_sweep(self, done: Mapping[str, int]) -> None:
        """Add what one sweep did, per cause. One whose answer is lost on the way may count twice: it is no book."""
        with reachable(self._redis), self._redis.pipeline() as pipe:
            for cause, count in done.items():
                pipe.hincrby(self._swept, cause, count)
            pipe.execute()

    def swept(self) -> dict[str, int]:
        """What all sweeps did, per cause; causes that never occurred are missing."""
        with reachable(self._redis):
            found = cast("dict[bytes, bytes]", self._redis.hgetall(self._swept))
        return {cause.decode(): int(total) for cause, total in found.items()}

    def count_not_accepted(self, error: str) -> None:
        """Add one message that was not accepted and whose sender wants to hear nothing, by the error's name."""
        with reachable(self._redis):
            self._redis.hincrby(self._not_accepted, error, 1)

    def not_accepted(self) -> dict[str, int]:
        """How many such messages there were, by the name of the error."""
        with reachable(self._redis):
            found = cast("dict[bytes, bytes]", self._redis.hgetall(self._not_accepted))
        return {error.decode(): int(total) for error, total in found.items()}
