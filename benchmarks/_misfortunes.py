"""What goes wrong in `bench chaos`: a random but repeatable schedule, and how each of it is done to real processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from sesmail.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from random import Random

    from redis import Redis

    from benchmarks._sides import Side
    from tests.acceptance.fleet import Worker
    from tests.acceptance.proxy import Proxy

WEIGHTS = {
    "a worker is killed": 4,
    "a prefork child is killed": 2,
    "a worker is stopped in order": 2,
    "a worker is frozen past its lease": 2,
    "all is redeployed": 1,
    "the door is killed": 1,
    "Redis is killed and restarted": 2,
    "all connections are reset": 2,
    "replies with tickets are cut off": 3,
    "the network stalls": 1,
    "connections are refused": 1,
    "the broker is flushed": 2,
    "two more sweeps at once": 2,
    "SES throttles": 2,
    "SES answers 500": 2,
    "SES resets before it accepts": 1,
    "SES accepts and resets": 2,
    "SES accepts and answers 500": 1,
    "SES accepts and hangs": 1,
}
SES_FAULTS = {
    "SES throttles": "throttle",
    "SES answers 500": "internal_error",
    "SES resets before it accepts": "reset_before",
    "SES accepts and resets": "reset_after",
    "SES accepts and answers 500": "error_after",
    "SES accepts and hangs": "hang_after",
}
FAULTY_CALLS = 0.3


@dataclass(frozen=True, kw_only=True)
class Misfortune:
    at_seconds: float
    kind: str
    whom: int
    """Which worker, where one is meant."""
    lasting_seconds: float


def schedule(random: Random, seconds: float, workers: int) -> Iterator[Misfortune]:
    """One every two seconds on average; none in the first three."""
    at = 3.0
    while at < seconds:
        kind = random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        yield Misfortune(
            at_seconds=at, kind=kind, whom=random.randrange(workers), lasting_seconds=random.uniform(1.0, 4.0)
        )
        at += random.expovariate(0.5)


def with_failovers(misfortunes: Iterable[Misfortune], seconds: float) -> list[Misfortune]:
    """The same, and three times more that Redis is killed, however the seed has it."""
    kind = "Redis is killed and restarted"
    more = [Misfortune(at_seconds=seconds * part, kind=kind, whom=0, lasting_seconds=2.0) for part in (0.25, 0.5, 0.75)]
    return sorted([*misfortunes, *more], key=attrgetter("at_seconds"))


class Fate:
    """Does misfortunes to a side, whose third worker is a prefork one."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._fleet = side.fleet
        self._proxy = side.proxy
        self._frozen: list[Worker] = []

    def strike(self, one: Misfortune) -> None:
        if one.kind in SES_FAULTS:
            self._ses_fails(one)
        else:
            getattr(self, "_" + one.kind.lower().replace(" ", "_"))(one)

    def relent(self) -> None:
        """All runs again."""
        self._proxy.cut_at_reply(b"", times=0)
        self._proxy.resume()
        self._fleet.ses.faults()
        for worker in self._frozen:
            worker.signal(signal.SIGCONT)

    def _a_worker_is_killed(self, one: Misfortune) -> None:
        worker = self._fleet.workers[one.whom]
        pids = {worker.process.pid, *children(worker)}
        worker.kill()
        self._side.note_dead(pids)

    def _a_prefork_child_is_killed(self, one: Misfortune) -> None:
        for pid in children(self._fleet.workers[2])[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self._side.note_dead({pid})

    def _a_worker_is_stopped_in_order(self, one: Misfortune) -> None:
        self._fleet.workers[one.whom].signal(signal.SIGTERM)

    def _a_worker_is_frozen_past_its_lease(self, one: Misfortune) -> None:
        worker = self._fleet.workers[one.whom]
        worker.signal(signal.SIGSTOP)
        self._frozen.append(worker)
        self._side.note_dead({worker.process.pid})
        later(Settings().lease_seconds + one.lasting_seconds, lambda: worker.signal(signal.SIGCONT))

    def _all_is_redeployed(self, one: Misfortune) -> None:
        for number, program in enumerate(self._side.programs()):
            later(number * one.lasting_seconds, lambda program=program: program.signal(signal.SIGTERM))

    def _the_door_is_killed(self, one: Misfortune) -> None:
        for program in self._side.programs()[len(self._fleet.workers) :]:
            program.kill()

    def _redis_is_killed_and_restarted(self, one: Misfortune) -> None:
        began_at = time.time()
        self._fleet.server.kill()
        time.sleep(one.lasting_seconds)
        self._fleet.server.start()
        self._side.note_outage(began_at, time.time())

    def _all_connections_are_reset(self, one: Misfortune) -> None:
        self._in_redis(lambda redis: redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))

    def _replies_with_tickets_are_cut_off(self, one: Misfortune) -> None:
        self._proxy.cut_at_reply(b"delivery_tag", times=3)

    def _the_network_stalls(self, one: Misfortune) -> None:
        self._proxy.stall()
        later(2 * one.lasting_seconds, self._proxy.resume)

    def _connections_are_refused(self, one: Misfortune) -> None:
        self._proxy.refuse()
        later(one.lasting_seconds, self._proxy.resume)

    def _the_broker_is_flushed(self, one: Misfortune) -> None:
        self._in_redis(lambda redis: redis.delete(*self._side.queues))

    def _two_more_sweeps_at_once(self, one: Misfortune) -> None:
        for _ in range(2):
            threading.Thread(target=self._side.sweep, daemon=True).start()

    def _connections_to_ses_are_cut(self, one: Misfortune) -> None:
        self._way_to_ses.reset_all()

    def _answers_of_ses_are_cut_off(self, one: Misfortune) -> None:
        self._way_to_ses.cut_at_reply(b"MessageId", times=3)

    def _ses_is_out_of_reach(self, one: Misfortune) -> None:
        self._way_to_ses.refuse()
        later(one.lasting_seconds, self._way_to_ses.resume)

    def _the_credentials_expire(self, one: Misfortune) -> None:
        """SES says so, until they are renewed."""
        self._fleet.ses.faults(rules=[{"fault": "expired_token", "for_seconds": one.lasting_seconds}])

    def _the_account_is_stopped(self, one: Misfortune) -> None:
        self._fleet.ses.change(sending_enabled=False)
        later(one.lasting_seconds, lambda: self._fleet.ses.change(sending_enabled=True))

    @property
    def _way_to_ses(self) -> Proxy:
        return self._side.way_to_ses  # type: ignore[attr-defined]  # of the side with accounts

    def _ses_fails(self, one: Misfortune) -> None:
        rule = {"fault": SES_FAULTS[one.kind], "probability": FAULTY_CALLS, "for_seconds": one.lasting_seconds}
        self._fleet.ses.faults(rules=[rule], seed=one.whom)

    def _in_redis(self, step: Callable[[Redis], object]) -> None:
        with suppress(RedisError):
            step(self._fleet.redis)


def children(worker: Worker) -> list[int]:
    """The pids of a prefork worker's pool."""
    pid = worker.process.pid
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def later(seconds: float, step: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, step)
    timer.daemon = True
    timer.start()
