"""Between a process and Redis: what is late, lost, away, busy, or of another time. What may kill a process does it here."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.simulation.faults import Faults
from tests.simulation.remembered import LOOKS
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.server import Server
from tests.simulation.wire import Command

OF_PROCESSES = ("process_dies", "process_freezes", "process_is_redeployed", "host_clock_jumps")
OF_REDIS = (
    "redis_away",
    "redis_slow",
    "redis_busy",
    "redis_readonly",
    "redis_clock_jumps",
    "redis_forgets",
    "redis_evicts",
    "row_is_spoilt",
)
READS = LOOKS | {"HSCAN", "INFO", "SMEMBERS", "TIME", "ZCOUNT", "ZRANGE", "ZSCORE"}
LEASE_SECONDS = 8.0
RETRY_SECONDS = 0.05
"""After an error of the connection redis-py tries once more, as `connect` has it."""


def _changes_nothing(command: Command, reply: Any) -> bool:
    """Whether Redis is as it was: it was only looked at, or it was another's turn."""
    return command[0] in READS or (command[0] == "SET" and reply is None)


class Network:
    """The one way of all processes to the ledger's Redis."""

    def __init__(
        self, scheduler: Scheduler, server: Server, faults: Faults, rng: random.Random, disturb: Callable[..., None]
    ) -> None:
        self._scheduler, self._server, self._faults, self._rng = scheduler, server, faults, rng
        self._disturb = disturb
        self._refuses = True
        """Whether a Redis that is away says so at once."""
        self.away_until = self.slow_until = self.busy_until = self.readonly_until = 0.0
        self._snapshot: dict[bytes, bytes] | None = None
        self.on_forgotten: Callable[[set[str], float], None] = lambda _names, _seconds: None
        self.on_evicted: Callable[[str], None] = lambda _name: None
        self.spoil: Callable[[], None] = lambda: None
        """Somebody's hand has changed what is kept of an email into something that none can read."""
        self.on_death: Callable[[Process], None] = lambda _process: None
        self.on_redeployment: Callable[[Process], None] = lambda _process: None

    def is_well(self) -> bool:
        """Whether Redis is there, and takes everything."""
        ill_until = max(self.away_until, self.slow_until, self.busy_until, self.readonly_until)
        return self._snapshot is None and self._scheduler.now >= ill_until

    def client(self, timeout_seconds: float) -> Callable[[Sequence[Command]], list[Any]]:
        """How a client with such a time-out sends its commands."""

        def send(commands: Sequence[Command]) -> list[Any]:
            try:
                replies = self._try(commands, timeout_seconds)
            except (RedisConnectionError, RedisTimeoutError):
                replies = []
            if replies and not isinstance(replies[0], ReadOnlyError):
                return replies
            self._scheduler.sleep(RETRY_SECONDS)
            return self._try(commands, timeout_seconds)

        return send

    def _try(self, commands: Sequence[Command], timeout_seconds: float) -> list[Any]:
        scheduler, faults = self._scheduler, self._faults
        self._travel()
        self.step()
        now = scheduler.now
        if now < self.away_until:
            scheduler.sleep(0.01 if self._refuses else min(timeout_seconds, 5.0))
            raise RedisConnectionError("away")
        if now < self.slow_until:
            scheduler.sleep(pause := self._rng.uniform(0.05, 1.2))
            if pause > timeout_seconds:
                raise RedisTimeoutError("slow")
        if faults.strikes("call_lost"):
            self._disturb(timeout_seconds)
            scheduler.sleep(timeout_seconds)
            raise RedisTimeoutError("the call was lost")
        if now < self.busy_until:
            return [ResponseError("BUSY Redis is busy running a script. You can only call SCRIPT KILL.")] * len(
                commands
            )
        if now < self.readonly_until and any(command[0] not in READS for command in commands):
            return [ReadOnlyError("You can't write against a read only replica.")] * len(commands)
        replies = self._wait_for_replica(commands, self._server.execute(commands))
        if faults.strikes("answer_lost"):
            self._disturb(timeout_seconds)
            scheduler.sleep(timeout_seconds)
            raise RedisTimeoutError("the answer was lost")
        if not all(
            map(_changes_nothing, commands, replies)
        ):  # else what befalls it now may as well befall it at its next step
            self._travel()
            self._step_with_a_claim()
            self.step()
        return replies

    def _wait_for_replica(self, commands: Sequence[Command], replies: list[Any]) -> list[Any]:
        """What Redis will come back with is what its replica has: until then, that gets nothing any more."""
        if commands[-1][0] != "WAIT":
            return replies
        if self._snapshot is None:
            return [*replies[:-1], 1]
        self._scheduler.sleep(int(commands[-1][2]) / 1000)
        if self._snapshot is None:
            raise RedisConnectionError("it failed while it was waited for")
        return [*replies[:-1], 0]

    def _travel(self) -> None:
        self._scheduler.sleep(self._rng.expovariate(2000.0))

    # -- what may happen at any step --------------------------------------------------------------------------------

    def step(self) -> None:
        """A place where the process that runs may die, freeze or be redeployed, and where Redis may fall ill."""
        process = self._scheduler.current().process
        self._redis_falls_ill()
        if process.number:
            self._process_falls_ill(process)

    def step_at_ses(self) -> None:
        """A step right before or after SES is asked: who sleeps here may wake up as another's."""
        self._sleep_past_its_lease("process_freezes_at_ses")
        self.step()

    def _step_with_a_claim(self) -> None:
        """A step of who holds a claim: who sleeps here may go on with what is another's by then."""
        if self._scheduler.current().claims:
            self._sleep_past_its_lease("process_freezes_with_a_claim")

    def _sleep_past_its_lease(self, kind: str) -> None:
        process = self._scheduler.current().process
        if process.number and self._faults.strikes(kind, process.name):
            self._freeze(process, self._faults.choose(12.0, 20.0, 40.0, 60.0, 100.0))

    def _freeze(self, process: Process, seconds: float) -> None:
        process.frozen_until = self._scheduler.now + seconds
        self._faults.tell("freezes", f"{process.name} for {seconds:g} s")
        self._disturb(seconds)
        self._scheduler.sleep(0.0)

    def _process_falls_ill(self, process: Process) -> None:
        faults = self._faults
        match faults.one_of(OF_PROCESSES, process.name):
            case "process_dies":
                self._disturb(0.0)
                self.on_death(process)
                self._scheduler.park()  # never to return
            case "process_freezes":
                self._freeze(process, faults.choose(1.0, 6.0, 9.0, 12.0, 20.0, 40.0, 100.0, 300.0))
            case "process_is_redeployed":
                self._disturb(10.0)
                self.on_redeployment(process)
            case "host_clock_jumps":
                process.skew_seconds += faults.choose(-60.0, -1.0, -0.2, 0.2, 1.0, 60.0)

    def _redis_falls_ill(self) -> None:
        now, faults = self._scheduler.now, self._faults
        match faults.one_of(OF_REDIS):
            case "redis_away":
                self._refuses = bool(faults.choose(0, 1))
                # Where one follows another so soon, some have renewed their leases in between, and others have not.
                again_so_soon = now < self.away_until + LEASE_SECONDS
                self.away_until = now + faults.choose(0.5, 3.0, 12.0, 40.0)
                faults.tell("Redis is away", f"for {self.away_until - now:g} s")
                self._disturb(self.away_until - now, leases=again_so_soon or not self._refuses)
            case "redis_slow":
                self.slow_until = self._for(now, faults.choose(1.0, 5.0, 20.0))
            case "redis_busy":
                self.busy_until = self._for(now, faults.choose(0.2, 5.0, 15.0))
            case "redis_readonly":
                self.readonly_until = self._for(now, faults.choose(1.0, 10.0, 30.0))
            case "redis_clock_jumps":
                self._server.skew_seconds += faults.choose(-20.0, -2.0, -0.3, 0.3, 2.0, 20.0)
                self._for(now, 30.0)
            case "redis_evicts":
                self._evict()
            case "row_is_spoilt":
                self.spoil()
            case "redis_forgets" if self._snapshot is None:
                self._will_forget(faults.choose(0.05, 0.3, 1.0, 1.0, 3.0), faults.choose(0.5, 3.0))

    def _evict(self) -> None:
        """It is full, and gives up a row: of a send, a body, an event, or a key that was to be remembered."""
        if name := self._server.evict(self._rng):
            self._disturb(20.0)
            self.on_evicted(name)

    def _for(self, now: float, seconds: float) -> float:
        self._disturb(seconds)
        return now + seconds

    def _will_forget(self, lag_seconds: float, away_seconds: float) -> None:
        """Its power goes in a moment, or it fails over: what it has now is what it will come back with."""
        self._snapshot = self._server.snapshot()

        def fails() -> None:
            assert self._snapshot is not None
            changed = self._server.restore(self._snapshot)
            self._snapshot = None
            self.away_until = self._for(self._scheduler.now, away_seconds)
            self.on_forgotten(changed, lag_seconds)

        self._scheduler.spawn(Process("power"), fails, "power", lag_seconds)
