"""Trouble on demand: what the next sending calls shall meet, by script or by chance, repeatable with a seed.

A fault before acceptance leaves no email; one *after* acceptance leaves the caller without the answer to an email that
went out, which is the case that duplicates are made of.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from seslocal.errors import Kind
from seslocal.typed import check_types

if TYPE_CHECKING:
    from collections.abc import Mapping


class Fault(StrEnum):
    """What a call can meet."""

    OK = "ok"  # nothing; for scripts
    THROTTLE = "throttle"  # refused: sending rate
    DAILY_QUOTA = "daily_quota"  # refused: 24-hour quota
    PAUSED_BY_AWS = "paused_by_aws"  # refused as MessageRejected, as real accounts paused by AWS are
    PAUSED = "paused"  # refused: paused by the owner
    SUSPENDED = "suspended"  # refused: the account is closed
    UNVERIFIED = "unverified"  # refused: the sender is not verified
    MAIL_FROM = "mail_from"  # refused: the MAIL FROM domain is not verified
    REJECTED = "rejected"  # refused: this email's content
    EXPIRED_TOKEN = "expired_token"  # noqa: S105 - refused: the credentials have expired
    ACCESS_DENIED = "access_denied"  # refused: the caller may not send
    INTERNAL_ERROR = "internal_error"  # 500, not accepted
    UNAVAILABLE = "unavailable"  # 503, not accepted
    SLOW = "slow"  # accepted, answered after `seconds`
    RESET_BEFORE = "reset_before"  # not accepted, connection reset
    RESET_AFTER = "reset_after"  # ACCEPTED, connection reset
    HANG_AFTER = "hang_after"  # ACCEPTED, no answer for `seconds`, then reset
    ERROR_AFTER = "error_after"  # ACCEPTED, answered 500


REFUSALS: dict[Fault, Kind] = {
    Fault.THROTTLE: Kind.RATE,
    Fault.DAILY_QUOTA: Kind.DAILY_QUOTA,
    Fault.PAUSED_BY_AWS: Kind.PAUSED_BY_AWS,
    Fault.PAUSED: Kind.PAUSED,
    Fault.SUSPENDED: Kind.SUSPENDED,
    Fault.UNVERIFIED: Kind.UNVERIFIED,
    Fault.MAIL_FROM: Kind.MAIL_FROM,
    Fault.REJECTED: Kind.REJECTED,
    Fault.EXPIRED_TOKEN: Kind.EXPIRED_TOKEN,
    Fault.ACCESS_DENIED: Kind.ACCESS_DENIED,
    Fault.INTERNAL_ERROR: Kind.INTERNAL,
    Fault.UNAVAILABLE: Kind.UNAVAILABLE,
}

DEFAULT_SECONDS = {Fault.SLOW: 2.0, Fault.HANG_AFTER: 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A fault and the calls that it meets."""

    fault: Fault
    probability: float = 1.0
    skip: int = 0
    """So many calls pass first."""
    calls: int | None = None
    """So many calls are met, then the rule is spent; None: no end."""
    seconds: float | None = None
    """How long a slow call takes or a hanging one hangs."""
    for_seconds: float | None = None
    """The rule ends so long after it was set; None: no end."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "fault", Fault(self.fault))
        check_types(self)
        if not 0 <= self.probability <= 1:
            raise ValueError("probability must be between 0 and 1")
        if min(self.skip, self.calls or 0, self.seconds or 0, self.for_seconds or 0) < 0:
            raise ValueError("skip, calls, seconds and for_seconds must be at least 0")

    @property
    def lasting_seconds(self) -> float:
        """How long the caller waits."""
        return DEFAULT_SECONDS.get(self.fault, 0.0) if self.seconds is None else self.seconds


class Faults:
    """The rules in force; one decision per sending call, the script's first."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - chance, not secrecy
        self._script: deque[Rule] = deque()
        self._rules: list[Rule] = []
        self._set_at = 0.0
        self.injected: Counter[Fault] = Counter()

    def set(self, given: Mapping[str, Any], now: float) -> None:
        """Replace everything by `{"script": [...], "rules": [{"fault": ...}], "seed": ...}`, or raise ValueError."""
        unknown = set(given) - {"script", "rules", "seed"}
        if unknown:
            raise ValueError(f"unknown keys: {', '.join(sorted(unknown))}; known are script, rules and seed")
        try:
            rules = [Rule(**rule) for rule in given.get("rules") or ()]
        except TypeError as error:
            raise ValueError(str(error)) from error
        self._script = deque(Rule(fault=name) for name in given.get("script") or ())
        self._rules, self._set_at = rules, now
        if given.get("seed") is not None:
            self._random.seed(given["seed"])

    def as_json(self) -> dict[str, Any]:
        """What is still to come and what has been."""
        return {
            "script": [rule.fault for rule in self._script],
            "rules": [asdict(rule) for rule in self._rules],
            "injected": dict(self.injected),
        }

    def draw(self, now: float) -> Rule | None:
        """The fault that this call meets, if any."""
        rule = self._script.popleft() if self._script else self._by_rule(now)
        if rule is None or rule.fault is Fault.OK:
            return None
        self.injected[rule.fault] += 1
        return rule

    def give_back(self, rule: Rule) -> None:
        """A call that was refused for another reason did not meet its fault: the next one will."""
        self.injected[rule.fault] -= 1
        self._script.appendleft(rule)

    def _by_rule(self, now: float) -> Rule | None:
        for position, rule in enumerate(self._rules):
            if self._fires(position, rule, now):
                return rule
        return None

    def _fires(self, position: int, rule: Rule, now: float) -> bool:
        if rule.calls == 0 or (rule.for_seconds is not None and now > self._set_at + rule.for_seconds):
            return False
        if rule.skip > 0:
            self._rules[position] = replace(rule, skip=rule.skip - 1)
            return False
        if self._random.random() >= rule.probability:
            return False
        if rule.calls is not None:
            self._rules[position] = replace(rule, calls=rule.calls - 1)
        return True
