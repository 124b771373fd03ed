"""A letter to many: what a queued recipient costs, and what sending it costs next to a bare boto3 loop; all in one run.

`redis_bytes_per_recipient`: memory of Redis for a queued recipient: address, a name and a code, state, the digest by
which it is known. `enqueue_recipients_per_second`: by `send_batch` from a generator, whose own time is left out, every
check included. `enqueue_ratio_to_raw_rows`: that over a redis-py pipeline that writes a hash and an index entry for each,
unchecked. `producer_rss_ratio_1m_to_10k`: peak memory of a process that queues a million over that of one that queues
ten thousand; `worker_rss_ratio_1m_to_10k`: that of a worker that sends of these (with `--full`: all of them).
`rate_ratio_to_two_boto3_loops`: emails a second of two worker processes over that of two that loop over boto3's
`send_email`, where SES answers after 30 ms. `cpu_ratio_to_boto3_single`: processor time of the worker per email over that
of a loop with boto3's `send_email`. `redis_us_per_email`: Redis'
processor time for an email, sent. `..._bulk_api`: the same by SendBulkEmail. `emails_per_second`: of one worker process, SES answering at once.
`..._at_1000_by_one_worker`: of an account of 1,000 a second, by SendBulkEmail, and how often SES throttled.
`..._beside_40000_letters`: at 14 a second, the slowest of receipts, and a list of fifty, from the call to SES.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from redis import Redis

from benchmarks._report import Report, parser
from benchmarks.send import HTML, UNLIMITED, WARM_UP, bare_loop, environment, processor_seconds, redis_seconds, worker
from sesmail import Letter, current_client, send_batch, send_ses_email
from sesmail.celery.standalone import app
from sesmail.embedded import EmbeddedRedis
from sesmail.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesmail.sending.batches.batch import Batch

LETTER = Letter(subject="News for {{name}}", text="Dear {{name}}, your code is {{code}}.")
FIRST = ("anna", "ben", "carla", "david", "emma", "felix", "greta", "hans", "ines", "jonas")
LAST = ("smith", "jones", "brown", "taylor", "wilson", "davies", "evans", "thomas", "johnson", "roberts")
QUEUES = """
import resource, sys
from benchmarks.bulk import LETTER, people
from sesmail import send_batch
send_batch(LETTER, people(int(sys.argv[1])), key="rss", without_unsubscribe=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


FEW, MILLION = 10_000, 1_000_000
FAST = 1000
"""Recipients a second of a large account."""


def main() -> None:
    common = parser(__doc__)
    common.add_argument("--full", action="store_true", help="the million is sent, too, which takes half an hour")
    options = common.parse_args()
    many, emails = (100_000, 1500) if options.quick else (MILLION, 8000)
    report = Report("bulk")
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as server:
        with Simulator(rate=UNLIMITED, quota=-1) as ses, environment(server.url, ses.url):
            of_rows, of_batch, bytes_each = enqueue(server.url, many)
            report.figure("redis_bytes_per_recipient", bytes_each, "<= 64, aim 32")
            report.figure("enqueue_recipients_per_second", of_batch, ">= 100000, aim 300000")
            report.figure("enqueue_ratio_to_raw_rows", of_batch / of_rows, ">= 2")
            drained = MILLION if options.full else FEW // 2
            (queued_few, sent_few), (queued_many, sent_many) = (peaks(count, drained) for count in (FEW, MILLION))
            report.cases.append({"case": "peak KiB", "producer_10k": queued_few, "producer_1m": queued_many})
            report.cases.append({"case": "peak KiB", "worker_10k": sent_few, "worker_1m": sent_many})
            report.figure("producer_rss_ratio_1m_to_10k", queued_many / queued_few, "<= 1.1")
            report.figure("worker_rss_ratio_1m_to_10k", sent_many / sent_few, "<= 1.1")
        with Simulator(rate=UNLIMITED, quota=-1) as ses, environment(server.url, ses.url):
            bare = bare_loop(emails)
            used, of_redis, a_second = send(server.url, emails)
            report.cases.append({"case": "cpu", "boto3_us": bare, "worker_us": used})
            report.figure("cpu_ratio_to_boto3_single", used / bare, "<= 0.35")
            report.figure("redis_us_per_email", of_redis, "<= 120, aim 60")
            report.figure("emails_per_second", a_second)
            with_bulk_calls, of_redis, a_second = send(server.url, 4 * emails, call="bulk")
            report.cases.append({"case": "SendBulkEmail", "worker_us": with_bulk_calls, "emails_per_second": a_second})
            report.figure("cpu_ratio_to_boto3_bulk_api", with_bulk_calls / bare, "<= 0.10")
            report.figure("redis_us_per_email_bulk_api", of_redis, "<= 90, aim 10")
        slow = (0.030, 0.030)
        with Simulator(rate=UNLIMITED, quota=-1, latency_seconds=slow) as ses, environment(server.url, ses.url):
            of_loops, of_workers = two_loops(100 if options.quick else 500), two_workers(emails)
            report.cases.append({"case": "30 ms", "two_loops_per_s": of_loops, "two_workers_per_s": of_workers})
            report.figure("rate_ratio_to_two_boto3_loops", of_workers / of_loops, ">= 6")
        with Simulator(rate=FAST, quota=-1) as ses, environment(server.url, ses.url):
            report.figure("utilisation_at_1000_by_one_worker", utilisation(5 if options.quick else 20), ">= 0.97")
            report.figure("throttles_at_1000_by_one_worker", sum(ses.report()["refused"].values()), "0")
        with Simulator(rate=14, quota=-1) as ses, environment(server.url, ses.url):
            slowest, small = mixed(ses, receipts=10 if options.quick else 100)
            report.figure("receipt_seconds_beside_40000_letters", slowest, "<= 1")
            report.figure("list_of_50_seconds_beside_40000_letters", small, "<= 60")
    report.show(as_json=options.json)


def mixed(ses: Simulator, receipts: int) -> tuple[float, float]:
    """At 14 a second beside 40,000 letters, in seconds: the slowest receipt, five at a time; until a list of fifty is done."""
    os.environ["SESMAIL_BATCH_CALL"] = "single"
    current_client().scripts.redis.flushall()
    app.set_default()
    large = send_batch(LETTER, people(40_000), key="large", without_unsubscribe=True)
    with worker():
        while large.status().counts.get("sent", 0) < 30:
            time.sleep(0.1)
        small, began = send_batch(LETTER, people(50), key="small", without_unsubscribe=True), time.monotonic()
        asked: dict[str, float] = {}
        for _ in range(receipts // 5):
            for _ in range(5):
                send_id = send_ses_email.delay("success@simulator.amazonses.com", "Receipt", "Thank you.").id
                asked[send_id] = time.time()
            time.sleep(1)
        while small.status().counts.get("sent", 0) < 50:
            time.sleep(0.1)
        seconds = time.monotonic() - began
        while asked.keys() - (taken := {each["sesmail_id"]: each["time"] for each in ses.messages()}).keys():
            time.sleep(0.1)
    return max(taken[send_id] - at for send_id, at in asked.items()), seconds


def people(count: int) -> Iterator[tuple[str, dict[str, object]]]:
    rng = random.Random(1)
    for _ in range(count):
        first, last = rng.choice(FIRST), rng.choice(LAST)
        address = f"{first}.{last}{rng.randrange(10**6)}.{rng.randrange(10**4)}@mail{rng.randrange(200)}.example"
        yield address, {"name": f"{first.title()} {last.title()}", "code": f"{rng.getrandbits(32):08x}"}


def enqueue(redis_url: str, count: int) -> tuple[float, float, float]:
    """Recipients a second, written raw and by `send_batch`; bytes of each."""
    redis = Redis.from_url(redis_url)
    began = time.perf_counter()
    for _ in people(count):
        pass
    making = time.perf_counter() - began
    began = time.perf_counter()
    rows = people(count)
    with redis.pipeline(transaction=False) as pipe:
        while block := list(islice(rows, 500)):
            for place, (address, values) in enumerate(block):
                send_id = f"{place}-{address}"
                email = json.dumps([address, values])
                pipe.hset(f"{{raw}}:send:{send_id}", mapping={"state": "queued", "lane": "bulk", "email": email})
                pipe.zadd("{raw}:in:queued:bulk", {send_id: place})
            pipe.execute()
    of_rows = count / (time.perf_counter() - began - making)
    redis.flushall()
    redis.execute_command("WAITAOF", 1, 0, 60_000)  # the disk is not busy with the rows any more
    send_batch(LETTER, ["warm.up@example.org"][:0], key="warm", without_unsubscribe=True)
    before, began = redis.info("memory")["used_memory"], time.perf_counter()
    send_batch(LETTER, people(count), key="bench", without_unsubscribe=True)
    of_batch = count / (time.perf_counter() - began - making)
    return of_rows, of_batch, (redis.info("memory")["used_memory"] - before) / count


def peaks(count: int, drained: int) -> tuple[int, int]:
    """KiB of a process that queues so many, and of a worker that sends of these so many, at most all."""
    os.environ["SESMAIL_BATCH_CALL"] = "bulk"
    current_client().scripts.redis.flushall()
    ran = subprocess.run([sys.executable, "-c", QUEUES, str(count)], capture_output=True, text=True, check=True)
    (batch,) = current_client().batches.under_way()
    with worker() as pid:
        while current_client().batches.status(batch.batch_id).counts.get("sent", 0) < min(count, drained):
            time.sleep(0.2)
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(ran.stdout), int(found[1])


LOOPS = """
import sys
from benchmarks.send import loop_rate
print(loop_rate(int(sys.argv[1])))
"""


def two_loops(emails: int) -> float:
    """Emails a second of two processes that loop over boto3's call."""
    command = [sys.executable, "-c", LOOPS, str(emails)]
    loops = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    return sum(float(loop.communicate()[0]) for loop in loops)


def two_workers(emails: int) -> float:
    """Emails a second of two worker processes, by a call each."""
    batch = queue_letter(emails, "single")

    def sent() -> int:
        return batch.status().counts.get("sent", 0)

    with worker(), worker(name="another@%h"):
        while sent() < WARM_UP:
            time.sleep(0.02)
        first, began = sent(), time.perf_counter()
        while (done := sent()) < emails:
            time.sleep(0.05)
        return (done - first) / (time.perf_counter() - began)


def utilisation(seconds: float) -> float:
    """How much of a fast account's rate one worker process uses, by calls for several."""
    batch = queue_letter(round(FAST * (seconds + 10)), "bulk")

    def sent() -> int:
        return batch.status().counts.get("sent", 0)

    with worker():
        while sent() < 2 * FAST:
            time.sleep(0.02)
        first, began = sent(), time.perf_counter()
        time.sleep(seconds)
        return (sent() - first) / (time.perf_counter() - began) / FAST


def queue_letter(emails: int, call: str) -> Batch:
    """A letter to so many, to be sent by single calls or those for several."""
    os.environ["SESMAIL_BATCH_CALL"] = call
    current_client().scripts.redis.flushall()
    addresses = (f"success+{number}@simulator.amazonses.com" for number in range(emails + WARM_UP))
    return send_batch(Letter(subject="Letter", html=HTML), addresses, key="bench", without_unsubscribe=True)


def send(redis_url: str, emails: int, call: str = "single") -> tuple[float, float, float]:
    """Microseconds of processor time per email, of a worker and of Redis; emails a second."""
    batch = queue_letter(emails, call)

    def sent() -> int:
        return batch.status().counts.get("sent", 0)

    with worker() as pid:
        while sent() < WARM_UP:
            time.sleep(0.02)
        first, before, of_redis, began = sent(), processor_seconds(pid), redis_seconds(redis_url), time.perf_counter()
        while (done := sent()) < emails + WARM_UP:
            time.sleep(0.1)
        count = done - first
        used, in_redis = processor_seconds(pid) - before, redis_seconds(redis_url) - of_redis
        return used / count * 1e6, in_redis / count * 1e6, count / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
