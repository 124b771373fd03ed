"""Virtual time: a heap of what happens next, and a greenlet for each thread that waits for it. Nothing sleeps."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

START = 1_800_000_000.0
"""The epoch second at which each history begins."""


class Process:
    """What threads live in, and die with. A plain one never dies: it stands for what is outside of the fleet."""

    def __init__(self, name: str, number: int = 0) -> None:
        self.name, self.number = name, number
        self.dead = False
        self.frozen_until = 0.0
        self.skew_seconds = 0.0
        """How far this host's clock is off."""
        self.former_release = False


class Fiber(greenlet):
    """One thread of a process."""

    def __init__(self, run: Callable[[], Any], hub: greenlet, process: Process, name: str) -> None:
        super().__init__(run, hub)
        self.process, self.name = process, name
        self.wait = 0
        """The number of the wait that it is in: an alarm for an earlier one is void."""
        self.woken = False
        self.begun: dict[str, float] = {}
        """When `begin` said yes to it, by send."""
        self.erased: dict[str, frozenset[str]] = {}
        """Who of its recipients had been erased by then."""
        self.claims: dict[tuple[str, str], object] = {}
        """What it has claimed for the ticket that it works on: the token, by base and send."""
        self.opted_out: dict[tuple[str, str], frozenset[str]] = {}
        """Who of its recipients had opted out when it claimed a send."""
        self.refused_by: set[str] = set()
        """The bases of the accounts whose throttle has let through nothing since it claimed the last send."""
        self.yes: set[str] = set()
        """Sends to which SES has said yes to it, until that is written down."""


class Scheduler:
    """Runs one fiber after the other, each until it waits."""

    def __init__(self, on_crash: Callable[[Fiber, Exception], None]) -> None:
        self.now = START
        self.steps = 0
        self.over = False
        self._on_crash = on_crash
        self._hub = getcurrent()
        self._heap: list[tuple[float, int, Fiber, int]] = []
        self._sequence = itertools.count()
        self._fibers: list[Fiber] = []
        self._until = START
        """Up to when everything is to happen."""

    def spawn(self, process: Process, run: Callable[[], Any], name: str, delay_seconds: float = 0.0) -> Fiber:
        """Start a thread of a process, now or later."""
        fiber = Fiber(run, self._hub, process, name)
        self._fibers.append(fiber)
        self._alarm(self.now + delay_seconds, fiber)
        return fiber

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass for the fiber that calls."""
        seconds = max(0.0, seconds)
        if self._nobody_else_before(self.now + seconds):
            self.now += seconds
            self.steps += 1
        else:
            self.park(seconds)

    def _nobody_else_before(self, until: float) -> bool:
        """Whether the fiber that runs is the next one, too: then nobody need be asked. Most ways to Redis are that short."""
        process = self.current().process
        stays = not self.over and not process.dead and process.frozen_until <= self.now
        return stays and until < self._until and (not self._heap or until < self._heap[0][0])

    def park(self, timeout_seconds: float | None = None) -> bool:
        """Wait to be woken; False when the time was over first."""
        if self.over:
            raise GreenletExit
        fiber = self.current()
        fiber.woken = False
        if timeout_seconds is not None:
            self._alarm(self.now + timeout_seconds, fiber)
        self._hub.switch()
        return fiber.woken

    def wake(self, fiber: Fiber) -> None:
        """End the wait of a fiber."""
        if not fiber.woken:
            fiber.woken = True
            self._alarm(self.now, fiber)

    @staticmethod
    def current() -> Fiber:
        """The fiber that runs."""
        fiber = getcurrent()
        assert isinstance(fiber, Fiber), "only a simulated thread can wait"
        return fiber

    def run(self, until: float) -> None:
        """Let everything happen up to a time."""
        heap, self._until = self._heap, until
        while heap and heap[0][0] <= until:
            at, _, fiber, wait = heapq.heappop(heap)
            if wait != fiber.wait or fiber.dead or fiber.process.dead:
                continue
            self.now = max(self.now, at)
            if fiber.process.frozen_until > self.now:
                self._alarm(fiber.process.frozen_until, fiber)
                continue
            self._resume(fiber)
        self.now = max(self.now, until)

    def end(self) -> None:
        """Unwind all that still waits."""
        self.over = True
        for fiber in self._fibers:
            if not fiber.dead and fiber:
                self._unwind(fiber)

    def _resume(self, fiber: Fiber) -> None:
        fiber.wait += 1
        self.steps += 1
        try:
            fiber.switch()
        except Exception as error:  # nothing of the product may end a thread
            self._on_crash(fiber, error)

    @staticmethod
    def _unwind(fiber: Fiber) -> None:
        try:
            fiber.throw(GreenletExit)
        except Exception:  # what a thread that is torn down says is of no interest
            return

    def _alarm(self, at: float, fiber: Fiber) -> None:
        heapq.heappush(self._heap, (at, next(self._sequence), fiber, fiber.wait))
