"""The two sides of `bench chaos`: four workers each under a supervisor, with a Redis, an SES and a proxy between some."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Self

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from benchmarks import _door
from sesmail.errors import LedgerUnavailable, UnknownSend
from sesmail.settings import Settings
from sesmail.state.batches.batches import Batches
from sesmail.state.keys import Keys
from sesmail.state.scripts import Scripts
from sesmail.vocabulary import WAITING, State
from tests.acceptance.fleet import ROOT, Fleet, Supervised, Worker

if TYPE_CHECKING:
    from sesmail.embedded import EmbeddedRedis
    from sesmail.simulator import Simulator
    from sesmail.vocabulary import Status
    from tests.acceptance.proxy import Proxy

WORKERS = (("threads", "direct", 60), ("threads", "direct", -60), ("prefork", "direct", 0), ("threads", "proxy", 0))
"""Pool, way to Redis, and seconds by which its clock is wrong."""
SUPERVISOR_SECONDS = 1.0
WATCH_SECONDS = 0.1
SKEWED_CLOCK = "import time\nreal = time.time\ntime.time = lambda: real() + {seconds}\n"


@dataclass(kw_only=True)
class Left:
    """A send that a killed or frozen worker had claimed."""

    send_id: str
    tries: tuple[int, int]
    dead_at: float
    queued_at: float = 0.0
    """When the sweeper had given it back."""
    tried_at: float = 0.0
    """When another worker had asked SES."""

    def lost_its_ticket(self) -> bool:
        """Whether it also lost the ticket that it then got: only so does it wait for longer than the period of grace."""
        return bool(self.queued_at) and self.tried_at - self.queued_at > Settings().ticket_grace_seconds


@dataclass(kw_only=True)
class Outcome:
    accepted: int
    lost: int
    late: int
    duplicates: int
    explained: int = 0
    causes: dict[str, Counter[str]] = field(default_factory=dict)
    notifications: dict[str, int] = field(default_factory=dict)
    """Of SNS: how many were published, acknowledged, tried in vain, and given up."""
    failovers: int = 0
    fell_back: int = 0
    """How many emails went through another account than their own."""
    left_by_dead: int = 0
    tried_again_seconds: float = 0.0
    """The longest from the death of a worker until others had asked SES for what it had claimed, Redis' time away not
    counted, nor those sends that lost their new ticket, too."""
    ticket_lost_too: int = 0
    ticket_lost_too_seconds: float = 0.0
    sent_again_seconds: float = 0.0
    """The longest until SES had it, after whatever else happened to it and to Redis."""


def tries(status: Status) -> tuple[int, int]:
    """What changes as soon as SES was asked."""
    return status.attempts, status.waits


class Side:
    """What both have in common."""

    app: str
    name: str
    queues: tuple[str, ...]

    def __init__(self, folder: Path, redis: EmbeddedRedis, ses: Simulator, proxy: Proxy, **environment: str) -> None:
        self.fleet = Fleet(folder, redis, ses, **environment)
        self.proxy = proxy
        self.accepted: set[str] = set()
        self._over = threading.Event()
        for worker in WORKERS:
            self._add_worker(*worker)

    def __enter__(self) -> Self:
        for worker in self.fleet.workers:
            worker.wait_until_ready()
        threading.Thread(target=self._supervise, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self.fleet.__exit__(*exception)

    def _add_worker(self, pool: str, way: str, clock_seconds: int) -> None:
        folder = self.fleet.folder / f"clock{clock_seconds}"
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(SKEWED_CLOCK.format(seconds=clock_seconds))
        arguments = ["--pool", "processes" if pool == "prefork" else pool, "--concurrency", "6"]
        name = f"{self.name}{len(self.fleet.workers)}"
        environment = self._environment(way) | {"PYTHONPATH": f"{folder}:{ROOT}"}
        self.fleet.workers.append(Worker(name, self.fleet.folder, arguments, environment, self.app))

    def _environment(self, way: str) -> dict[str, str]:
        url = self.fleet.server.url if way == "direct" else f"redis://127.0.0.1:{self.proxy.port}/0"
        return self.fleet.environment | {"CELERY_BROKER_URL": url, "SESMAIL_REDIS_URL": url}

    def _supervise(self) -> None:
        """`Restart=always`."""
        while not self._over.wait(SUPERVISOR_SECONDS):
            for program in self.programs():
                if program.process.poll() is not None:
                    program.start()

    def programs(self) -> list[Supervised]:
        """All that is killed, redeployed and started again."""
        return [*self.fleet.workers]

    def feed(self, emails: int, seconds: float) -> None:
        """A third at once, the rest bit by bit; what is not accepted is tried again, as a good caller does."""
        start = time.monotonic()
        for number in range(emails):
            due = start + max(0.0, number / emails - 1 / 3) * 1.5 * seconds
            time.sleep(max(0.0, due - time.monotonic()))
            send_id, lane = f"{self.name}-{number}", "bulk" if number % 5 else "transactional"
            while not self.accept(send_id, lane):
                time.sleep(0.2)
            self.accepted.add(send_id)

    def accept(self, send_id: str, lane: str) -> bool:
        """Whether it took responsibility for an email."""
        raise NotImplementedError

    def is_done(self) -> bool:
        """Whether nothing more will come by itself, soon."""
        raise NotImplementedError

    def still_there(self, send_ids: set[str]) -> set[str]:
        """Those which are still somewhere in Redis."""
        raise NotImplementedError

    def note_dead(self, pids: set[int]) -> None:
        """These processes have died, or sleep past their lease."""

    def note_outage(self, began_at: float, ended_at: float) -> None:
        """Redis was away."""

    def sweep(self) -> None:
        """Another sweep, where there is such a thing."""

    def outcome(self) -> Outcome:
        copies = self.fleet.copies()
        missing = self.accepted - copies.keys()
        late = self.still_there(missing)
        extra = copies.total() - len(copies)
        return Outcome(accepted=len(self.accepted), lost=len(missing - late), late=len(late), duplicates=extra)


class OurSide(Side):
    """sesmail, with what became unknown, and why, noted while it runs."""

    app, name, queues = "sesmail", "sesmail", ("sesmail.transactional", "sesmail.bulk")

    def __enter__(self) -> Self:
        self._cause_of: dict[str, str] = {}
        self._left: list[Left] = []
        self._outages: list[tuple[float, float]] = []
        threading.Thread(target=self._watch, daemon=True).start()
        return super().__enter__()

    def accept(self, send_id: str, lane: str) -> bool:
        try:
            self.fleet.accept(send_id, lane=lane)
        except LedgerUnavailable:
            return False
        with suppress(OperationalError):  # the sweeper issues it, as after `.delay()`
            self.fleet.ticket(send_id, f"sesmail.{lane}")
        return True

    def is_done(self) -> bool:
        with suppress(LedgerUnavailable):
            counts = self.fleet.ledger.counts()
            return not any(counts[state] for state in WAITING)
        return False

    def still_there(self, send_ids: set[str]) -> set[str]:
        return {send_id for send_id in send_ids if self.fleet.state(send_id) in WAITING}

    def note_dead(self, pids: set[int]) -> None:
        """What the dead hold by now is to be sent by others soon."""
        with suppress(LedgerUnavailable, RedisError):
            for send_id in self.fleet.ledger.ids(State.CLAIMED, limit=1000):
                owner = self._owner(send_id)
                if int(owner.split(b":")[1]) in pids:
                    self._left = [left for left in self._left if left.tried_at or left.send_id != send_id]
                    self._left.append(
                        Left(send_id=send_id, tries=tries(self.fleet.ledger.status(send_id)), dead_at=time.time())
                    )

    def note_outage(self, began_at: float, ended_at: float) -> None:
        self._outages.append((began_at, ended_at))

    def _owner(self, send_id: str) -> bytes:
        return self.fleet.redis.hget(f"{{sesmail}}:send:{send_id}", "owner") or b"nobody:0"  # type: ignore[return-value]

    def sweep(self) -> None:
        command = [str(Path(sys.executable).with_name("sesmail")), "sweep"]
        environment = self.fleet.environment | {"CELERY_BROKER_URL": self.fleet.server.url}
        subprocess.run(command, env=environment, cwd=self.fleet.folder, capture_output=True, check=False)

    def _watch(self) -> None:
        while not self._over.wait(WATCH_SECONDS):
            with suppress(LedgerUnavailable, RedisError):
                for send_id in self.fleet.ledger.ids(State.UNKNOWN, limit=10_000):
                    if send_id not in self._cause_of:
                        self._note_cause(send_id)
                self._note_tries()

    def _note_tries(self) -> None:
        for left in [left for left in self._left if not left.tried_at]:
            status = self.fleet.ledger.status(left.send_id)
            if tries(status) != left.tries:
                left.tried_at = time.time()
            elif status.state is State.QUEUED and not left.queued_at:
                left.queued_at = time.time()

    def _note_cause(self, send_id: str) -> None:
        with suppress(UnknownSend):
            status = self.fleet.ledger.status(send_id)
            if status.state is State.UNKNOWN:
                self._cause_of[send_id] = status.code or "its worker died, or was frozen, while SES was asked"

    def outcome(self) -> Outcome:
        outcome, copies = super().outcome(), self.fleet.copies()
        for send_id, cause in self._cause_of.items():
            numbers = outcome.causes.setdefault(cause, Counter())
            numbers["became_unknown"] += 1
            numbers["sent_twice"] += copies[send_id] - 1
        outcome.explained = sum(numbers["sent_twice"] for numbers in outcome.causes.values())
        self._add_recovery(outcome)
        return outcome

    def _add_recovery(self, outcome: Outcome) -> None:
        self._note_tries()
        sent_at: dict[str, float] = {}
        for message in self.fleet.ses.messages():
            sent_at.setdefault(message["sesmail_id"], message["time"])
        both = [left for left in self._left if left.lost_its_ticket()]
        tried = [self._seconds(left) for left in self._left if left not in both]
        outcome.ticket_lost_too = len(both)
        outcome.ticket_lost_too_seconds = max(map(self._seconds, both), default=0.0)
        sent = [sent_at.get(left.send_id, 0.0) - left.dead_at for left in self._left]
        outcome.left_by_dead = len(self._left)
        outcome.tried_again_seconds, outcome.sent_again_seconds = max(tried, default=0.0), max(sent, default=0.0)

    def _seconds(self, left: Left) -> float:
        away = (min(end, left.tried_at) - max(began, left.dead_at) for began, end in self._outages)
        return left.tried_at - left.dead_at - sum(max(0.0, part) for part in away)


class OurSideWithEvents(OurSide):
    """sesmail, to which SES tells what it took: by SNS to a door, from there by the event store to the workers."""

    queues = (*OurSide.queues, "sesmail.events")

    def __init__(self, folder: Path, redis: EmbeddedRedis, ses: Simulator, proxy: Proxy, **environment: str) -> None:
        super().__init__(folder, redis, ses, proxy, **environment, **_door.settings(ses))
        self.door = _door.Door(folder, self._environment("proxy"))

    def __enter__(self) -> Self:
        self.door.subscribe(self.fleet.ses, self.fleet.environment)
        return super().__enter__()

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self.door.end()

    def programs(self) -> list[Supervised]:
        return [*super().programs(), self.door]

    def outcome(self) -> Outcome:
        outcome = super().outcome()
        told = self.fleet.ses.report()["notifications"]
        outcome.notifications = {name: told[name] for name in ("published", "acknowledged", "failed_attempts", "dead")}
        return outcome


class BatchSide(OurSideWithEvents):
    """sesmail, given one letter to all by a program that is killed at random and called again under its key."""

    queues = (*OurSideWithEvents.queues, "sesmail.batches.default")
    KILLED_AT_MOST = 5

    def feed(self, emails: int, seconds: float) -> None:
        environment = self._environment("direct") | {"PYTHONPATH": str(ROOT)}
        rng, self.readers, self.kills = Random(emails), emails, 0
        while True:
            program = subprocess.Popen(
                [sys.executable, "-c", QUEUES, str(emails)], env=environment, cwd=self.fleet.folder
            )
            try:
                if program.wait(rng.uniform(1.0, 4.0) if self.kills < self.KILLED_AT_MOST else None) == 0:
                    break
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()
                self.kills += 1
        self.accepted = {f"success+{number}@simulator.amazonses.com" for number in range(emails)}

    def is_done(self) -> bool:
        with suppress(LedgerUnavailable, UnknownSend):
            batches = Batches(Scripts(self.fleet.redis, Keys()), Settings())
            counts = batches.status(batches.latest()[0]).counts
            return counts.get("sent", 0) == self.readers
        return False

    def still_there(self, send_ids: set[str]) -> set[str]:
        return set() if self.is_done() else send_ids

    def outcome(self) -> Outcome:
        causes = self._cause_of
        messages = self.fleet.ses.messages()
        copies = Counter(message["to"][0] for message in messages)
        ids = Counter(str(message["sesmail_id"]) for message in messages)
        missing = self.accepted - copies.keys()
        late = self.still_there(missing)
        outcome = Outcome(
            accepted=len(self.accepted),
            lost=len(missing - late),
            late=len(late),
            duplicates=copies.total() - len(copies),
        )
        for send_id, cause in causes.items():
            numbers = outcome.causes.setdefault(cause, Counter())
            numbers["became_unknown"] += 1
            numbers["sent_twice"] += max(0, ids[send_id] - 1)
        outcome.explained = sum(numbers["sent_twice"] for numbers in outcome.causes.values())
        return outcome


QUEUES = """
import sys, time
from sesmail import Letter, send_batch
from sesmail.sending.batches import queueing
queueing.BLOCK = 100
def readers():
    for number in range(int(sys.argv[1])):
        time.sleep(0.002)
        yield f"success+{number}@simulator.amazonses.com"
send_batch(Letter(subject="News", text="News.", from_email="shop@example.com"), readers(), key="chaos",
    without_unsubscribe=True)
"""


class StockSide(Side):
    """Stock Celery."""

    app, name, queues = "benchmarks._chaos_stock", "stock", ("celery",)
    QUIET_SECONDS = 20.0

    def __enter__(self) -> Self:
        self._progress = (0, time.monotonic())
        return super().__enter__()

    def accept(self, send_id: str, lane: str) -> bool:
        try:
            self.fleet.celery.send_task("benchmarks._chaos_stock.send", args=(send_id,), queue="celery")
        except OperationalError:
            return False
        return True

    def is_done(self) -> bool:
        """Nothing has reached SES for longer than a retry takes."""
        messages, since = self.fleet.ses.report()["accepted"]["calls"], time.monotonic()
        if messages > self._progress[0]:
            self._progress = messages, since
        return since - self._progress[1] > self.QUIET_SECONDS

    def still_there(self, send_ids: set[str]) -> set[str]:
        redis = self.fleet.redis
        texts = [*redis.lrange("celery", 0, -1), *redis.hvals("unacked")]  # type: ignore[misc]
        return send_ids & {found.decode() for text in texts for found in re.findall(rb"stock-\d+", text)}
