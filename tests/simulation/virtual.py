"""The modules of the standard library that know of time, threads and chance, as the product meets them here."""

from __future__ import annotations

import os
import random
import secrets
import socket
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Self

from greenlet import getcurrent

from tests.simulation.scheduler import START, Fiber, Scheduler


class Event:
    """`threading.Event` under virtual time."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler, self._set = scheduler, False
        self._waiting: list[Fiber] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        for fiber in self._waiting:
            self._scheduler.wake(fiber)
        self._waiting.clear()

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            fiber = self._scheduler.current()
            self._waiting.append(fiber)
            self._scheduler.park(timeout)
            if fiber in self._waiting:
                self._waiting.remove(fiber)
        return self._set


class Lock:
    """`threading.RLock` under virtual time. Outside of the simulation, nobody else runs."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._owner: object = None
        self._depth = 0
        self._waiting: deque[Fiber] = deque()

    def __enter__(self) -> Self:
        me = getcurrent()
        while self._owner not in (None, me):
            self._waiting.append(me)  # type: ignore[arg-type]
            self._scheduler.park()
        self._owner = me
        self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None
            if self._waiting:
                self._scheduler.wake(self._waiting.popleft())


def modules(scheduler: Scheduler, rng: random.Random) -> dict[int, Any]:
    """What stands in for a module or function of the standard library, by the `id` of the real one."""

    def process() -> Any:
        return getattr(getcurrent(), "process", None)

    def wall() -> float:
        return scheduler.now + getattr(process(), "skew_seconds", 0.0)

    def monotonic() -> float:
        return scheduler.now - START

    def start_thread(target: Callable[[], Any], name: str = "thread", **_: Any) -> Any:
        arguments = _.get("args", ())
        return SimpleNamespace(start=lambda: scheduler.spawn(process(), lambda: target(*arguments), name))

    def new_uuid() -> uuid.UUID:
        return uuid.UUID(int=rng.getrandbits(128), version=4)

    virtual_threading = SimpleNamespace(
        Event=lambda: Event(scheduler),
        Lock=lambda: Lock(scheduler),
        RLock=lambda: Lock(scheduler),
        Thread=start_thread,
    )
    virtual_time = SimpleNamespace(time=wall, monotonic=monotonic, sleep=scheduler.sleep, perf_counter=monotonic)
    virtual_random = SimpleNamespace(uniform=rng.uniform, random=rng.random)
    virtual_os = SimpleNamespace(**{name: getattr(os, name) for name in dir(os) if not name.startswith("__")})
    virtual_os.getpid = lambda: getattr(process(), "number", 0)
    return {
        id(threading): virtual_threading,
        id(time): virtual_time,
        id(time.time): wall,
        id(time.monotonic): monotonic,
        id(random): virtual_random,
        id(uuid.uuid4): new_uuid,
        id(os): virtual_os,
        id(secrets): SimpleNamespace(token_hex=lambda n: f"{rng.getrandbits(8 * n):0{2 * n}x}"),
        id(socket): SimpleNamespace(gethostname=lambda: "host"),
    }
