"""SES's two limits and the measure of what was accepted, all counted in recipients. Time is an argument, in seconds.

What AWS documents: both limits count recipients; a call is accepted while any budget is left and its surplus is a debt
that must run off before the next call passes; the daily quota is a rolling 24 hours; an unlimited one is written -1.
"""

from __future__ import annotations

from collections import deque

DAY_SECONDS = 86_400
UNLIMITED = -1


class SendRate:
    """At most `rate` recipients in any rolling second, or `rate + burst` in a burst that is paid for afterwards.

    It keeps the time at which each of the last recipients is charged; a recipient beyond the budget is charged later,
    when the one `capacity` places before it has left the window.
    """

    def __init__(self, rate: float, burst: int = 0, charged: deque[float] | None = None) -> None:
        self.rate = rate
        self.burst = burst
        capacity = max(1, int(rate)) + burst
        self._window_seconds = max(1.0, capacity / rate)
        self._charged: deque[float] = deque(charged or (), maxlen=capacity)

    def changed_to(self, rate: float, burst: int) -> SendRate:
        """The same recent past under another limit."""
        return SendRate(rate, burst, self._charged)

    def allows(self, now: float) -> bool:
        """Whether any budget is left."""
        return self._next_charge(now) <= now

    def charge(self, recipients: int, now: float) -> None:
        """Count an accepted call; what exceeds the budget becomes a debt."""
        for _ in range(recipients):
            self._charged.append(self._next_charge(now))

    def _next_charge(self, now: float) -> float:
        if len(self._charged) < (self._charged.maxlen or 0):
            return now
        return max(now, self._charged[0] + self._window_seconds)


class DailyQuota:
    """At most `limit` recipients in the last 24 hours, counted by the second in which they were accepted."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._per_second: deque[tuple[int, int]] = deque()
        self._total = 0

    def sent(self, now: float) -> int:
        """Recipients of the last 24 hours."""
        while self._per_second and self._per_second[0][0] + DAY_SECONDS <= now:
            self._total -= self._per_second.popleft()[1]
        return self._total

    def allows(self, now: float) -> bool:
        """Whether any of the quota is left."""
        return self.limit == UNLIMITED or self.sent(now) < self.limit

    def charge(self, recipients: int, now: float) -> None:
        """Count an accepted call."""
        second, before = int(now), 0
        if self._per_second and self._per_second[-1][0] == second:
            before = self._per_second.pop()[1]
        self._per_second.append((second, before + recipients))
        self._total += recipients

    def reset(self, sent: int, now: float) -> None:
        """Pretend that so many were sent just now, and nothing before."""
        self._per_second.clear()
        self._total = 0
        if sent:
            self.charge(sent, now)


class RollingSecond:
    """The highest number of recipients that any window of one second has held."""

    def __init__(self) -> None:
        self._accepted: deque[tuple[float, int]] = deque()
        self._total = 0
        self.highest = 0

    def add(self, recipients: int, now: float) -> None:
        """Count recipients accepted now."""
        self._accepted.append((now, recipients))
        self._total += recipients
        while self._accepted[0][0] + 1.0 <= now:
            self._total -= self._accepted.popleft()[1]
        self.highest = max(self.highest, self._total)


class CallRate:
    """At most `per_second` calls of each action that does not send; None: no limit.

    The model says "no more than once per second" of the operation that it describes, so each action has its own.
    """

    def __init__(self, per_second: float | None) -> None:
        self.per_second = per_second
        self._by_action: dict[str, SendRate] = {}

    def admit(self, action: str, now: float) -> bool:
        """Count one call, if it may pass."""
        if self.per_second is None:
            return True
        rate = self._by_action.setdefault(action, SendRate(self.per_second))
        if not rate.allows(now):
            return False
        rate.charge(1, now)
        return True
