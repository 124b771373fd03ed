"""The fleet: which worker processes are alive, and whose turn it is to do what one of them does for all."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from uuid import uuid4

from sesmail.errors import LedgerUnavailable
from sesmail.state.scripts import Scripts
from sesmail.state.server.trouble import reachable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from redis import Redis

    from sesmail.state.keys import Keys
    from sesmail.state.ledger.ledger import Ledger

log = logging.getLogger("sesmail")


class WorkerLease:
    """This process's sign of life, renewed by a thread of its own from the first claim on: waiting costs nothing.

    When the process dies or is frozen, the lease runs out and the sweeper gives its claims to others.
    """

    def __init__(self, ledger: Ledger, lease_seconds: float) -> None:
        self._ledger = ledger
        self._lease_seconds = lease_seconds
        self._name = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._started = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def owner(self) -> str:
        """The name that claims are held under; its first use makes the lease. Raises `LedgerUnavailable`."""
        if self._thread is None:
            with self._started:
                if self._thread is None:
                    self._ledger.heartbeat(self._name, self._lease_seconds)
                    self._thread = threading.Thread(target=self._renew, name="sesmail-lease", daemon=True)
                    self._thread.start()
        return self._name

    def stop(self) -> None:
        """Let the lease run out."""
        self._stopped.set()

    def _renew(self) -> None:
        pause_seconds = self._lease_seconds / 4
        while not self._stopped.wait(pause_seconds):
            pause_seconds = self._lease_seconds / (4 if self._renewed() else 16)

    def _renewed(self) -> bool:
        """Whatever goes wrong, it is tried again: a worker whose lease is not renewed loses all that it claims."""
        try:
            if not self._ledger.heartbeat(self._name, self._lease_seconds):
                log.warning("this worker's lease had run out; others may have taken what it held")
        except LedgerUnavailable:
            log.warning("Redis cannot be reached: this worker's lease is not renewed")
            return False
        except Exception:
            log.exception("this worker's lease could not be renewed")
            return False
        return True


@dataclass(frozen=True, slots=True)
class Turn:
    """That it is one's turn. Once its time is over it may be another's, and handing this one in changes nothing."""

    name: str
    token: str


class Turns:
    """Things that one worker of the fleet does for all, once in a while."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._run = Scripts(redis, keys).run

    def take(self, name: str, seconds: float) -> Turn | None:
        """The caller's turn, or None; then it is nobody else's for `seconds`."""
        turn = Turn(name, uuid4().hex)
        with reachable(self._redis):
            taken = self._redis.set(self._keys.of_account("turn", name), turn.token, nx=True, px=round(seconds * 1000))
        return turn if taken else None

    def free(self, name: str) -> bool:
        """It is anybody's turn at once, whoever did it last. False where it was anybody's already."""
        with reachable():
            return bool(self._redis.delete(self._keys.of_account("turn", name)))

    def give_back(self, turn: Turn) -> None:
        """It is done: anybody's turn at once."""
        self._run("turn", turn.name, turn.token, 0)

    def extend(self, turn: Turn, seconds: float) -> None:
        """It is done: nobody's turn for `seconds` from now."""
        self._run("turn", turn.name, turn.token, round(seconds * 1000))


TAKER_KEPT_SECONDS = 3600
"""How long it is remembered who took tickets from a queue."""


class Fleet:
    """All workers together, as the ledger knows them."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    def silent_seconds(self) -> float | None:
        """How long ago a worker was last heard, by Redis' clock; None if never. Raises `LedgerUnavailable`."""
        with reachable(self._redis):
            heard_at_ms = cast("bytes | None", self._redis.hget(self._keys("fleet"), "heard_at"))
            seconds, microseconds = self._redis.time()
        if heard_at_ms is None:
            return None
        return max(0.0, seconds + microseconds / 1e6 - int(heard_at_ms) / 1000)

    def alive(self) -> int:
        """How many worker processes hold a lease that is good. Raises `LedgerUnavailable`."""
        with reachable(self._redis):
            seconds, microseconds = self._redis.time()
            now_ms = seconds * 1000 + microseconds // 1000
            return int(self._redis.zcount(self._keys("workers"), f"({now_ms}", "+inf"))

    def takes_from(self, queues: Collection[str], worker: str = "") -> None:
        """A `worker` says now and then from which queues it takes tickets. Raises `LedgerUnavailable`."""
        if not queues:
            return
        with reachable(self._redis):
            seconds, _ = self._redis.time()
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.hset(self._keys("consumers"), mapping=dict.fromkeys(queues, seconds * 1000))
                for queue in queues if worker else ():
                    pipe.zadd(self._keys("takers", queue), {worker: seconds * 1000})
                    pipe.zremrangebyscore(self._keys("takers", queue), "-inf", (seconds - TAKER_KEPT_SECONDS) * 1000)
                    pipe.expire(self._keys("takers", queue), TAKER_KEPT_SECONDS)
                pipe.execute()

    def takers(self, queues: Collection[str], seconds: float) -> dict[str, int]:
        """How many workers were heard to take from each of these queues in so long. Raises `LedgerUnavailable`.

        Those of former releases do not say their names: where only such are heard, it is 1.
        """
        with reachable(self._redis):
            now, _ = self._redis.time()
            with self._redis.pipeline(transaction=False) as pipe:
                for queue in queues:
                    pipe.zcount(self._keys("takers", queue), (now - seconds) * 1000, "+inf")
                counts = pipe.execute()
        unattended = self.unattended(queues, seconds)
        return {queue: max(count, int(queue not in unattended)) for queue, count in zip(queues, counts, strict=True)}

    def unattended(self, queues: Collection[str], seconds: float) -> list[str]:
        """Those of these queues from which no worker was heard to take for so long. Raises `LedgerUnavailable`."""
        with reachable(self._redis):
            now, _ = self._redis.time()
            heard = cast("dict[bytes, bytes]", self._redis.hgetall(self._keys("consumers")))
        return [name for name in queues if now - int(heard.get(name.encode(), b"0")) / 1000 > seconds]


RATE_IS_OLD_SECONDS = 1.0
RATE_LIFETIME_SECONDS = 3600


class WorkerRates:
    """How many recipients a second each worker may send: told by the worker, seen by its processes within a second."""

    def __init__(self, redis: Redis, keys: Keys, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._keys = keys
        self._clock = clock
        self._seen: dict[str, tuple[float, float | None]] = {}

    def tell(self, worker: str, rate: float | None) -> None:
        """Set a worker's own limit in recipients a second; None is no limit. To be told again within an hour."""
        key = self._keys("worker-rate", worker)
        with reachable(self._redis):
            if rate is None:
                self._redis.delete(key)
            else:
                self._redis.set(key, rate, ex=RATE_LIFETIME_SECONDS)

    def of(self, worker: str) -> float | None:
        """A worker's own limit, as of at most a second ago."""
        at, rate = self._seen.get(worker, (-RATE_IS_OLD_SECONDS, None))
        if self._clock() - at >= RATE_IS_OLD_SECONDS:
            with reachable(self._redis):
                told = cast("bytes | None", self._redis.get(self._keys("worker-rate", worker)))
            rate = None if told is None else float(told)
            self._seen[worker] = self._clock(), rate
        return rate
