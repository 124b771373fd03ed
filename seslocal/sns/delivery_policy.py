"""SNS's delivery policies: how often and when a notification is tried again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seslocal.errors import invalid
from seslocal.typed import check_types

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_TOTAL_SECONDS = 3600
MAX_RETRIES = 100

BACKOFF: dict[str, Callable[[float], float]] = {
    "linear": lambda part: part,
    "arithmetic": lambda part: part * (part + 1) / 2,
    "geometric": lambda part: part**2,
    "exponential": lambda part: (2 ** (8 * part) - 1) / 255,
}
"""How far between the shortest and the longest delay a retry is, by how far the back-off has come (0..1). AWS names and
draws these curves without giving formulas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPolicy:
    """SNS's healthyRetryPolicy and throttlePolicy, with its defaults for HTTP: three retries 20 seconds apart."""

    retries: int = 3
    shortest_seconds: float = 20
    longest_seconds: float = 20
    retries_without_delay: int = 0
    retries_at_shortest: int = 0
    retries_at_longest: int = 0
    backoff: str = "linear"
    receives_per_second: float | None = None

    @classmethod
    def from_json(cls, given: str) -> DeliveryPolicy:
        """From a DeliveryPolicy attribute; refused if SNS would refuse it."""
        try:
            everything = json.loads(given)
            policy = cls._from_mapping(
                everything.get("healthyRetryPolicy") or {}, everything.get("throttlePolicy") or {}
            )
            policy.check()
        except (ValueError, AttributeError, TypeError, ArithmeticError) as error:
            raise invalid("Invalid parameter: DeliveryPolicy") from error
        return policy

    @classmethod
    def _from_mapping(cls, retry: Mapping[str, Any], throttle: Mapping[str, Any]) -> DeliveryPolicy:
        return cls(
            retries=int(retry.get("numRetries", 3)),
            shortest_seconds=float(retry.get("minDelayTarget", 20)),
            longest_seconds=float(retry.get("maxDelayTarget", 20)),
            retries_without_delay=int(retry.get("numNoDelayRetries", 0)),
            retries_at_shortest=int(retry.get("numMinDelayRetries", 0)),
            retries_at_longest=int(retry.get("numMaxDelayRetries", 0)),
            backoff=str(retry.get("backoffFunction", "linear")),
            receives_per_second=throttle.get("maxReceivesPerSecond"),
        )

    def check(self) -> None:
        """Refuse what SNS refuses."""
        check_types(self)
        counts = (self.retries_without_delay, self.retries_at_shortest, self._in_backoff, self.retries_at_longest)
        if self.backoff not in BACKOFF or min(counts) < 0 or self.retries > MAX_RETRIES:
            raise invalid("Invalid parameter: DeliveryPolicy")
        if not 0 <= self.shortest_seconds <= self.longest_seconds:
            raise invalid("Invalid parameter: DeliveryPolicy: minDelayTarget must not exceed maxDelayTarget")
        if sum(self.delays()) > MAX_TOTAL_SECONDS:
            raise invalid(f"Invalid parameter: DeliveryPolicy: all delays together exceed {MAX_TOTAL_SECONDS} seconds")
        if self.receives_per_second is not None and self.receives_per_second <= 0:
            raise invalid("Invalid parameter: DeliveryPolicy: maxReceivesPerSecond must be above 0")

    def delays(self) -> list[float]:
        """Seconds before each retry, in order: at once, at the shortest delay, backing off, at the longest."""
        span = self.longest_seconds - self.shortest_seconds
        curve = BACKOFF[self.backoff]
        backing_off = [
            self.shortest_seconds + span * curve(step / self._in_backoff) for step in range(1, self._in_backoff + 1)
        ]
        return [
            *[0.0] * self.retries_without_delay,
            *[self.shortest_seconds] * self.retries_at_shortest,
            *backing_off,
            *[self.longest_seconds] * self.retries_at_longest,
        ]

    @property
    def _in_backoff(self) -> int:
        return self.retries - self.retries_without_delay - self.retries_at_shortest - self.retries_at_longest


def aws_managed() -> DeliveryPolicy:
    """Of SQS and Lambda endpoints: about as long as AWS does, without its 100,000 retries at the end."""
    return DeliveryPolicy(
        retries=115,
        shortest_seconds=1,
        longest_seconds=20,
        retries_without_delay=3,
        retries_at_shortest=2,
        retries_at_longest=100,
        backoff="exponential",
    )
