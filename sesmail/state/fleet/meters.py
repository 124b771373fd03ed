"""Figures for those who watch, of the whole fleet, since the beginning: totals, and how long things took."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, cast

from sesmail.errors import LedgerUnavailable
from sesmail.state.server.trouble import reachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis

    from sesmail.state.keys import Keys

BOUNDS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0, inf)
"""Of the histograms, as `rows.lua` has them; what another release has put between them is counted where it lies."""
PASSED_ON_AFTER_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Histogram:
    """How long something took."""

    up_to: tuple[tuple[float, int], ...]
    """Bounds in seconds, the last of them infinite, with how many took that long at most."""
    sum_seconds: float


class Meters:
    """Figures which only grow. Methods raise `LedgerUnavailable` when Redis cannot be reached."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._key = keys
        self._door_answers: Counter[str] = Counter()
        self._is_passing_on = False
        self._guard = threading.Lock()

    def count_sweep(self, done: Mapping[str, int]) -> None:
        """Add what one sweep did, per cause. One whose answer is lost on the way may count twice: it is no book."""
        self._add("sweep", done)

    def swept(self) -> dict[str, int]:
        """What all sweeps did, per cause; causes that never occurred are missing."""
        return self._read("sweep")

    def count_not_accepted(self, error: str) -> None:
        """Add one message that was not accepted and whose sender wants to hear nothing, by the error's name."""
        self._add("not_accepted", {error: 1})

    def not_accepted(self) -> dict[str, int]:
        """How many such messages there were, by the name of the error."""
        return self._read("not_accepted")

    def held_back(self) -> int:
        """How many sends were set aside by the guard against loops."""
        return self._read("guard").get("held_back", 0)

    def count_door_answer(self, status: int) -> None:
        """Add one answer to a post of SNS, within a second. Never raises, and never waits: SNS does not.

        While Redis is away they add up here, and are passed on with a later one.
        """
        with self._guard:
            self._door_answers[str(status)] += 1
            starts, self._is_passing_on = not self._is_passing_on, True
        if starts:
            passing_on = threading.Timer(PASSED_ON_AFTER_SECONDS, self.pass_on)
            passing_on.daemon = True
            passing_on.start()

    def pass_on(self) -> None:
        """Write down what doors have answered, or keep it for the next time."""
        with self._guard:
            counted, self._door_answers = self._door_answers, Counter()
            self._is_passing_on = False
        try:
            self._add("door_answers", counted)
        except LedgerUnavailable:
            with self._guard:
                self._door_answers += counted

    def door_answers(self) -> dict[str, int]:
        """How many posts of SNS doors have answered, by the HTTP status."""
        return self._read("door_answers")

    def seconds_to_answer(self) -> dict[str, Histogram]:
        """How long SES took to answer, by what followed: `sent`, `rejected`, `put_off` or `unknown` (no answer)."""
        return self._histograms("seconds_to_answer")

    def seconds_to_sent(self) -> dict[str, Histogram]:
        """How long emails took from their acceptance, or the time that was asked for, until SES took them, by lane."""
        return self._histograms("seconds_to_sent")

    def _add(self, meter: str, counts: Mapping[str, int]) -> None:
        with reachable(self._redis), self._redis.pipeline() as pipe:
            for label, count in counts.items():
                pipe.hincrby(self._key("meters", meter), label, count)
            pipe.execute()

    def _read(self, meter: str) -> dict[str, int]:
        with reachable(self._redis):
            found = cast("dict[bytes, bytes]", self._redis.hgetall(self._key("meters", meter)))
        return {label.decode(): int(total) for label, total in found.items()}

    def _histograms(self, meter: str) -> dict[str, Histogram]:
        counts: dict[str, dict[float, int]] = {}
        sums: dict[str, float] = {}
        for field, count in self._read(meter).items():
            label, _, bound = field.rpartition(" ")
            if bound == "sum":
                sums[label] = count / 1000
                continue
            with suppress(ValueError):
                counts.setdefault(label, {})[float(bound)] = count
        return {
            label: Histogram(
                up_to=tuple((bound, sum(n for at, n in found.items() if at <= bound)) for bound in BOUNDS_SECONDS),
                sum_seconds=sums.get(label, 0.0),
            )
            for label, found in counts.items()
        }
