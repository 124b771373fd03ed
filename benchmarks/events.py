"""How fast notifications come in through each door into each store, how fast they are processed, and what a burst loses.

    python3 run.py bench events            everything; about five minutes, with --quick less than one
    python3 run.py bench events doors      posts per second and processor time per post of each door and store
    python3 run.py bench events process    how fast stored events are processed
    python3 run.py bench events burst      160,000 events at 1,000/s, with Redis away for 30 s and the door killed twice

A door runs in one process on one core, the load and the stores' servers on the other. Every post is signed by the
simulator's own signer and verified (not by anymail, which does not). Of several rounds the best counts: what else the
machine does only ever slows a round. A ratio is posts per second with a store to those of the same door that verifies
and throws away; a CPU ratio compares the processor time per post of the server alone. django-ses and anymail are as
installed, without receivers: they throw the event away; `django_ses_row` has one receiver that writes one row.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import sqlalchemy as sa

from benchmarks._events_load import Server, flood, fresh_name, letters_events, notification, request, requests
from benchmarks._events_server import store_of
from benchmarks._report import Report, parser
from seslocal.sns.signing import Signer
from sesmail import signals
from sesmail.embedded import EmbeddedRedis
from sesmail.errors import SesmailError
from sesmail.events.processing import EventProcessor
from sesmail.events.stores import EventState, StoredEvent
from sesmail.state.people.reputation import Reputation
from sesmail.state.people.suppression import SuppressionList
from sesmail.state.scripts import Scripts

POSTGRES = os.environ.get("TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test")
SERVER_CORE, LOAD_CORE = "0", 1
PEOPLE_PER_SECOND = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How much is done."""

    posts: int = 6_000
    slow_posts: int = 2_000
    """For the doors of web frameworks."""
    rounds: int = 4
    burst_events: int = 160_000
    burst_per_second: float = 1_000


QUICK = Size(posts=2_000, slow_posts=600, rounds=2, burst_events=8_000, burst_per_second=800)


class Place:
    """The servers and files of one run, and stores made anew for each round."""

    def __init__(self, folder: Path, redis: EmbeddedRedis) -> None:
        self.folder, self.redis, self.schemas = folder, redis, []

    @cached_property
    def postgres(self) -> sa.Engine | None:
        """The local PostgreSQL, if there is one."""
        engine = sa.create_engine(POSTGRES, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        try:
            engine.connect().close()
        except sa.exc.OperationalError:
            return None
        return engine

    def fresh_store(self, kind: str) -> str:
        match kind:
            case "redis":
                return f"{self.redis.url}#{fresh_name()}"
            case "sqlite":
                return f"sqlite:///{self.folder}/{fresh_name()}.db"
            case "postgresql":
                self.schemas.append(fresh_name())
                with self.postgres.connect() as connection:
                    connection.execute(sa.text(f"CREATE SCHEMA {self.schemas[-1]}"))
                return f"{POSTGRES}#{self.schemas[-1]}"
        return "none"

    def clean(self) -> None:
        for schema in self.schemas:
            with self.postgres.connect() as connection:
                connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))


def measured(door: str, store: str, pem: Path, posts: list[bytes]) -> tuple[float, float]:
    """Posts per second, and microseconds of the server's processor time per post."""
    with Server(door, store, pem, SERVER_CORE) as server:
        flood(server.port, posts[:200])  # the certificate is fetched, everything is loaded
        before = server.cpu_seconds()
        seconds, statuses = flood(server.port, posts[200:])
        used = server.cpu_seconds() - before
    assert statuses == {200: len(posts) - 200}, (door, store, statuses)
    return (len(posts) - 200) / seconds, used / (len(posts) - 200) * 1e6


def doors(report: Report, place: Place, size: Size) -> None:
    signer = Signer()
    pem = place.folder / "certificate.pem"
    pem.write_bytes(signer.certificate_pem)
    posts = requests(signer, size.posts)
    stores = ["none", "redis", "sqlite", *(["postgresql"] if place.postgres else [])]
    rows = [("asgi", store) for store in stores] + [
        ("django", "none"), ("django", "redis"), ("flask", "redis"),
        ("django-ses", "none"), ("django-ses-row", "none"), ("anymail", "none"),
    ]  # fmt: skip
    taken: dict[tuple[str, str], list[tuple[float, float]]] = {row: [] for row in rows}
    for _ in range(size.rounds):
        for door, store in rows:
            some = posts if door == "asgi" else posts[: size.slow_posts]
            taken[door, store].append(measured(door, place.fresh_store(store), pem, some))
    rate = {row: max(posts_per_second for posts_per_second, _ in taken[row]) for row in rows}
    cpu = {row: min(used for _, used in taken[row]) for row in rows}
    for row in rows:
        each = " ".join(f"{posts_per_second:.0f}" for posts_per_second, _ in taken[row])
        report.cases.append(
            {"case": f"{row[0]}, {row[1]}", "posts_per_s": rate[row], "cpu_us": cpu[row], "each_round": each}
        )
    goals = {"redis": ">= 0.8", "sqlite": ">= 0.7", "postgresql": ">= 0.7", "django-ses": ">= 5"}
    for store in stores[1:]:
        name = store.replace("postgresql", "postgres")
        ratio = rate["asgi", store] / rate["asgi", "none"]
        report.figure(f"ratio_to_no_store_{name}", ratio, goals.get(store, ""))
        report.figure(f"cpu_ratio_to_no_store_{name}", cpu["asgi", "none"] / cpu["asgi", store])
    best = ("asgi", "redis")
    for other in ("django-ses", "django-ses-row", "anymail"):
        name = other.replace("-", "_")
        report.figure(f"ratio_to_{name}", rate[best] / rate[other, "none"], goals.get(other, ""))
        report.figure(f"cpu_ratio_to_{name}", cpu[other, "none"] / cpu[best])


def processor_on(store, scripts: Scripts) -> EventProcessor:
    return EventProcessor(
        "alpha",
        store,
        SuppressionList(scripts),
        Reputation(scripts),
        record_evidence=lambda *_: None,
        metadata=lambda _: {},
        lease_seconds=5,  # what was gathered when Redis was killed is not to be waited for
    )


def process(report: Report, place: Place, size: Size) -> None:
    """With a receiver for each signal, without a ledger."""
    rates = {}
    for kind in ("redis", "sqlite"):
        store = store_of(place.fresh_store(kind))
        scripts = Scripts(store_of(place.fresh_store("redis"))._redis, place_keys())
        events = [
            StoredEvent(event_id=f"event-{number}", source="alpha", message=message, received_at=time.time())
            for number, message in enumerate(letters_events(size.posts // 4))
        ]
        for start in range(0, len(events), 500):
            store.put(events[start : start + 500])
        processor = processor_on(store, scripts)
        began = time.perf_counter()
        while processor.process().gathered:
            pass
        rates[kind] = len(events) / (time.perf_counter() - began)
        report.cases.append({"case": f"processed from {kind}", "events_per_s": rates[kind]})
    report.figure("process_events_per_second", rates["redis"])


def place_keys():
    from sesmail.state.keys import Keys

    return Keys(fresh_name())


# -- the burst


class Sns:
    """Posts each notification until it is answered with 2xx, as SNS with a patient delivery policy does."""

    def __init__(self, port: int, signer: Signer, per_second: float) -> None:
        self.port, self.signer, self.per_second = port, signer, per_second
        self.ids: list[str] = []
        self.failures: Counter[str] = Counter()
        self.late_seconds = 0.0

    async def publish(self, messages) -> None:
        self.free = asyncio.Queue()
        for _ in range(128):
            self.free.put_nowait(None)
        began, tasks = time.monotonic(), set()
        for number, message in enumerate(messages):
            due = began + number / self.per_second
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            elif number % 50 == 0:
                await asyncio.sleep(0)
            envelope = notification(self.signer, message)
            self.ids.append(envelope["MessageId"])
            for _ in range(2 if random.random() < 0.02 else 1):  # SNS delivers some twice
                task = asyncio.create_task(self.deliver(request(envelope)))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        self.late_seconds = time.monotonic() - began - len(self.ids) / self.per_second
        await asyncio.gather(*tasks)
        while not self.free.empty():
            if connection := self.free.get_nowait():
                connection[1].close()
                await connection[1].wait_closed()

    async def deliver(self, post: bytes) -> None:
        pause_seconds = 0.5
        while not await self.delivered(post):
            await asyncio.sleep(pause_seconds * random.uniform(0.5, 1.5))
            pause_seconds = min(pause_seconds * 2, 5.0)

    async def delivered(self, post: bytes) -> bool:
        connection = await self.free.get()
        try:
            connection = connection or await asyncio.open_connection("127.0.0.1", self.port)
            async with asyncio.timeout(15):
                connection[1].write(post)
                head = await connection[0].readuntil(b"\r\n\r\n")
                await connection[0].readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
            status = head[9:12].decode()
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            if connection:
                connection[1].transport.abort()
            connection, status = None, type(error).__name__
        finally:
            self.free.put_nowait(connection)
        if status != "200":
            self.failures[status] += 1
        return status == "200"


def burst(report: Report, place: Place, size: Size) -> None:
    """What the issue of a burst is: is every event stored once and processed once, whatever is killed?"""
    signer = Signer()
    pem = place.folder / "burst.pem"
    pem.write_bytes(signer.certificate_pem)
    store_name = place.fresh_store("redis")
    processing = Processing(store_of(store_name))
    with Server("asgi", store_name, pem) as server, Server("flask", "none", pem) as pages:
        sns = Sns(server.port, signer, size.burst_per_second)
        people = People(pages.port)
        whole_seconds = size.burst_events / size.burst_per_second
        threads = [processing, threading.Thread(target=trouble, args=[server, place, whole_seconds]), people]
        for thread in threads:
            thread.start()
        asyncio.run(sns.publish(letters_events(size.burst_events // 4)))
        processing.published.set()
        people.stop.set()
        for thread in threads:
            thread.join()
    judge(report, size.burst_events, sns, processing, people)


class Processing(threading.Thread):
    """Processes what is stored until all is published and processed, as a worker does, and counts what is told."""

    def __init__(self, store) -> None:
        super().__init__()
        self.store, self.published, self.heard = store, threading.Event(), Counter()
        self.processor = processor_on(store, Scripts(store._redis, store._key))
        for signal in (signals.email_delivered, signals.email_opened, signals.email_clicked):
            signal.connect(self.receive)

    def receive(self, _site, *, event, **_) -> None:
        self.heard[event.key] += 1

    def run(self) -> None:
        while True:
            try:
                gathered = self.processor.process().gathered
                if not gathered and self.published.is_set() and not self.store.counts("alpha").unprocessed:
                    return
            except SesmailError:
                gathered = 0
            time.sleep(0 if gathered else 0.05)


def trouble(server: Server, place: Place, whole_seconds: float) -> None:
    """The door is killed twice, and Redis is away between."""
    time.sleep(whole_seconds * 0.2)
    server.kill()
    server.start()
    time.sleep(whole_seconds * 0.2)
    place.redis.kill()
    time.sleep(min(30.0, whole_seconds * 0.2))
    place.redis.start()
    time.sleep(whole_seconds * 0.1)
    server.kill()
    server.start()


def judge(report: Report, events: int, sns: Sns, processing: Processing, people: People) -> None:
    """What was lost and what came twice, of what was stored, counted and told."""
    store, heard = processing.store, processing.heard
    stored = Counter(event.event_id for state in EventState for event in store.read("alpha", state))
    facts = {
        f"{counter}": count
        for rates in Reputation(Scripts(store._redis, store._key)).rates("alpha", *_days())
        for counter, count in rates.counts.items()
    }
    report.cases += [
        {"case": "burst", "published": len(sns.ids), "stored": len(stored), "told": len(heard), **facts},
        {"case": "burst, posts repeated", **sns.failures, "late_s": sns.late_seconds},
        {
            "case": "burst, pages beside it",
            "asked": len(people.seconds),
            "p99_s": people.p99(),
            "failed": people.failed,
        },
    ]
    lost = len(set(sns.ids) - set(stored)) + sum(
        max(0, events // 4 - facts.get(name, 0)) for name in ("sent", "delivered", "opened", "clicked")
    )
    doubled = len(stored) - len(set(sns.ids)) + sum(facts.values()) - events + sum(heard.values()) - len(heard)
    report.figure("burst_lost", lost, "0")
    report.figure("burst_doubled", doubled, "0")


def _days():
    from datetime import date

    return date(2026, 11, 20), date(2026, 11, 20)


class People(threading.Thread):
    """Asks for a page some times a second while the burst goes on, as people do."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port, self.stop, self.seconds, self.failed = port, threading.Event(), [], 0

    def run(self) -> None:
        from http.client import HTTPConnection, HTTPException

        while not self.stop.wait(1 / PEOPLE_PER_SECOND):
            began = time.perf_counter()
            try:
                connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/")
                connection.getresponse().read()
                connection.close()
            except (OSError, HTTPException):
                self.failed += 1
            self.seconds.append(time.perf_counter() - began)

    def p99(self) -> float:
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]


PARTS = {"doors": doors, "process": process, "burst": burst}


def main() -> None:
    said = parser(__doc__)
    said.add_argument("parts", nargs="*", choices=[*PARTS, []], help="what of it; all, if none is named")
    options = said.parse_args()
    report, size = Report("events"), QUICK if options.quick else Size()
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as redis:
        place = Place(Path(folder), redis)
        try:
            for name in options.parts or PARTS:
                os.sched_setaffinity(0, {0, LOAD_CORE} if name == "burst" else {LOAD_CORE})
                PARTS[name](report, place, size)
        finally:
            place.clean()
    report.show(as_json=options.json)


if __name__ == "__main__":
    main()
