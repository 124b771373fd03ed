"""What a worker costs per email, next to a bare loop over boto3's `send_email`; same run, same local SES, no TLS.

`cpu_ratio_to_boto3`: processor time per email of the whole worker path (ticket, claim, slot, SES, settle, acknowledge)
over that of the loop with boto3's default configuration, when a letter to a list is queued as `sesmail send` does it,
in lots. `cpu_ratio_single_tickets`: the same with one ticket per email, as `.delay()` publishes them. `rate_ratio_to_boto3_30ms`: emails a second of one worker
process with its default concurrency over one looping process, when SES answers after 30 ms. `ses_call_ratio_to_boto3`: putting the request together and asking SES, over the same loop.
`delay_ratio_to_celery`: processor time of `send_ses_email.delay(...)` over that of Celery's own `.delay()` of an empty task,
by turns, the median. `redis_us_per_email`: processor time of Redis for a single ticket's email, from the ticket to the end.
The `part_..._us` are microseconds of processor time per email of the parts, each measured alone.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from redis import Redis

from benchmarks._report import Report, arguments
from sesmail import current_client
from sesmail.celery.current import close_clients
from sesmail.embedded import EmbeddedRedis
from sesmail.message import Email
from sesmail.sending.outbox import LARGEST_LOT
from sesmail.ses.transport import SesTransport
from sesmail.simulator import Simulator
from sesmail.vocabulary import Claim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HTML = "<p>" + "A letter of about five kilobytes. " * 150 + "</p>"
LETTER = {"to": "success@simulator.amazonses.com", "subject": "Receipt", "text": "Thank you."}
UNLIMITED = 1_000_000
WARM_UP = 200


def main() -> None:
    options = arguments(__doc__)
    emails, rounds = (1500, 1) if options.quick else (4000, 3)
    report = Report("send")
    in_lots, single, of_redis = [], [], []
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as server:
        for number in range(rounds):
            with Simulator(rate=UNLIMITED, quota=-1) as ses, environment(server.url, ses.url):
                bare = bare_loop(emails)
                lots = worker_cpu(ses, emails, LARGEST_LOT)
            with Simulator(rate=UNLIMITED, quota=-1) as ses, environment(server.url, ses.url):
                before = redis_seconds(server.url)
                one = worker_cpu(ses, emails, 1)
                of_redis.append((redis_seconds(server.url) - before) / (emails + WARM_UP) * 1e6)
            in_lots.append(lots / bare)
            single.append(one / bare)
            report.cases.append(
                {"case": f"cpu, round {number + 1}", "boto3_us": bare, "lots_us": lots, "single_us": one}
            )
        report.figure("redis_us_per_email", statistics.median(of_redis), "<= 450, aim 300")
        report.figure("delay_ratio_to_celery", delay_ratio(server.url, emails), "<= 0.5, aim 0.35")
        report.figure("cpu_ratio_to_boto3", statistics.median(in_lots), "<= 2.0, aim 1.5")
        report.figure("cpu_ratio_single_tickets", statistics.median(single))
        with (
            Simulator(rate=UNLIMITED, quota=-1, latency_seconds=(0.030, 0.030)) as ses,
            environment(server.url, ses.url),
        ):
            slow_bare, slow_worker = loop_rate(emails // 20), worker_rate(emails)
        report.cases.append({"case": "30 ms", "boto3_per_s": slow_bare, "worker_per_s": slow_worker})
        report.figure("rate_ratio_to_boto3_30ms", slow_worker / slow_bare)
        with Simulator(rate=UNLIMITED, quota=-1) as ses, environment(server.url, ses.url):
            bare = bare_loop(emails)
            for name, microseconds in parts(server.url, emails):
                report.figure(f"part_{name}_us", microseconds)
                if name == "ses_call":
                    report.figure("ses_call_ratio_to_boto3", microseconds / bare, "<= 0.15, aim 0.12")
    report.show(as_json=options.json)


@contextmanager
def environment(redis_url: str, ses_url: str) -> Iterator[None]:
    """Settings for this process and those that it starts."""
    os.environ |= {
        "SESMAIL_REDIS_URL": redis_url,
        "CELERY_BROKER_URL": redis_url,
        "SESMAIL_FROM_EMAIL": "shop@example.com",
        "AWS_ENDPOINT_URL_SESV2": ses_url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
    }
    Redis.from_url(redis_url).flushall()
    close_clients()
    yield


def email(number: int) -> Email:
    return Email(
        f"success+{number}@simulator.amazonses.com", "Letter", html=HTML, from_email="shop@example.com", lane="bulk"
    )


def bare_loop(emails: int) -> float:
    """Microseconds of processor time per email of boto3 alone, as its documentation calls it."""
    client = boto3.client("sesv2")

    def send(number: int) -> None:
        client.send_email(
            FromEmailAddress="shop@example.com",
            Destination={"ToAddresses": [f"success+{number}@simulator.amazonses.com"]},
            Content={"Simple": {"Subject": {"Data": "Letter"}, "Body": {"Html": {"Data": HTML}}}},
        )

    return per_call_us(send, emails)


def loop_rate(emails: int) -> float:
    client = boto3.client("sesv2")
    began = time.monotonic()
    for number in range(emails):
        client.send_email(
            FromEmailAddress="shop@example.com",
            Destination={"ToAddresses": [f"success+{number}@simulator.amazonses.com"]},
            Content={"Simple": {"Subject": {"Data": "Letter"}, "Body": {"Html": {"Data": HTML}}}},
        )
    return emails / (time.monotonic() - began)


def per_call_us(call: Callable[[int], object], times: int) -> float:
    for number in range(WARM_UP):
        call(number)
    began = time.process_time()
    for number in range(times):
        call(number)
    return (time.process_time() - began) / times * 1e6


@contextmanager
def worker(app: str = "sesmail", *, name: str = "celery@%h") -> Iterator[int]:
    """A worker as everybody starts it; its process id."""
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "log", "wb") as log:
        command = [sys.executable, "-m", "celery", "-A", app, "worker", "--loglevel=warning", "-n", name]
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | {"PYTHONPATH": os.getcwd()}, stdout=log, stderr=log
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait(30)


def queue(emails: int, lot: int) -> None:
    from sesmail.celery.standalone import app

    app.set_default()
    with app.producer_pool.acquire(block=True) as producer:
        for first in range(0, emails, lot):
            letters = [email(number) for number in range(first, min(first + lot, emails))]
            current_client().real_outbox.send_lot(letters, options={"producer": producer})


def sent() -> int:
    return current_client().ledger.counts()["sent"]


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not done():
        if time.monotonic() > deadline:
            sys.exit("The worker did not come to its end within 300 s.")
        time.sleep(0.02)


def worker_cpu(ses: Simulator, emails: int, lot: int) -> float:
    """Microseconds of processor time per email of a whole worker, its start left out."""
    queue(emails + WARM_UP, lot)
    with worker() as pid:
        until(lambda: sent() >= WARM_UP)
        first, before = sent(), processor_seconds(pid)
        until(lambda: sent() == emails + WARM_UP)
        used = processor_seconds(pid) - before
    assert ses.report()["accepted"]["calls"] >= emails, "the local SES did not get them all"
    return used / (emails + WARM_UP - first) * 1e6


def worker_rate(emails: int) -> float:
    queue(emails, LARGEST_LOT)
    with worker():
        until(lambda: sent() >= WARM_UP)
        first, began = sent(), time.monotonic()
        until(lambda: sent() == emails)
        return (emails - first) / (time.monotonic() - began)


def processor_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def redis_seconds(redis_url: str) -> float:
    with Redis.from_url(redis_url) as redis:
        return processor_seconds(redis.info("server")["process_id"])


def delay_ratio(redis_url: str, emails: int) -> float:
    """By turns, so that what else the machine does meets both."""
    from benchmarks._noop import app, empty
    from sesmail import send_ses_email

    app.set_default()
    Redis.from_url(redis_url).flushall()
    close_clients()
    ours: list[float] = []
    of_celery: list[float] = []
    for turn in range(emails // 50):
        for times, call in ((of_celery, empty.delay), (ours, lambda: send_ses_email.delay(**LETTER))):
            began = time.process_time()
            for _ in range(50):
                call()
            if turn:
                times.append(time.process_time() - began)
    return statistics.median(ours) / statistics.median(of_celery)


def parts(redis_url: str, emails: int) -> Iterator[tuple[str, float]]:
    """Each part alone, as the worker uses it."""
    yield "celery_noop", noop_cpu(redis_url, emails)
    built = current_client()
    built.throttle.update_account(rate=UNLIMITED, quota_24h=-1, sent_24h=0)
    transport = SesTransport()
    letter = email(0)
    yield "ses_call", per_call_us(lambda number: transport.send(letter, send_id=f"part-{number}"), emails)
    claims: dict[int, Claim] = {}

    def claim(number: int) -> None:
        found = built.ledger.claim(f"part-{number}", "bench")
        assert isinstance(found, Claim)
        claims[number] = found

    for number in range(emails + WARM_UP):
        built.ledger.accept(f"part-{number}", email(number))
    numbers = iter(range(emails + WARM_UP))
    yield "claim", per_call_us(lambda _: claim(next(numbers)), emails)
    yield "slot", per_call_us(lambda _: built.throttle.acquire(1, letter.lane), emails)
    numbers = iter(range(emails + WARM_UP))
    yield "begin", per_call_us(lambda _: built.ledger.begin(claims[next(numbers)]), emails)
    numbers = iter(range(emails + WARM_UP))
    yield "settle", per_call_us(lambda _: built.ledger.sent(claims[next(numbers)], "message-id"), emails)


def noop_cpu(redis_url: str, tasks: int) -> float:
    """Celery with the stand-alone app's settings and a task that does nothing."""
    from benchmarks._noop import noop

    for number in range(tasks + WARM_UP):
        noop.apply_async((), {"send_id": str(number)}, queue="sesmail.transactional")
    redis = Redis.from_url(redis_url)

    def left() -> int:
        return int(redis.llen("sesmail.transactional"))

    with worker("benchmarks._noop") as pid:
        until(lambda: left() <= tasks)
        first, before = left(), processor_seconds(pid)
        until(lambda: left() == 0 and not redis.exists("sesmail.unacked"))
        return (processor_seconds(pid) - before) / first * 1e6


if __name__ == "__main__":
    main()
