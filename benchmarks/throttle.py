"""How much of the rate is used, and how often SES has to refuse: our throttle against a strict SES, and others beside it.

    python3 run.py bench throttle [--quick] [--json]

Every case has a strict SES of its own (never more than the rate in any second, the first above it is refused) and worker
processes with threads that want to send all the time. Utilisation is what SES took of what it would have taken.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis import Redis

from benchmarks._report import Report, arguments
from benchmarks._senders import Job, work
from benchmarks._strict_ses import SesCaller, StrictSes, StrictSesProcess
from sesmail.embedded import EmbeddedRedis
from sesmail.message import Lane
from sesmail.sending.throttle import Granted, SendThrottle
from sesmail.state.keys import Keys
from sesmail.state.scripts import Scripts

if TYPE_CHECKING:
    from collections.abc import Iterable

MIX = (1, 1, 1, 2, 3, 5)
FORKED = get_context("forkserver")
FORKED.set_forkserver_preload(["benchmarks._senders"])


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    rate: int
    workers: int = 5
    sender: str = "sesmail"
    threads: int = 16
    seconds: float = 10.0
    """How long it is measured, after `settle_seconds`."""
    settle_seconds: float = 2.0
    latency: tuple[float, float] = (0.0, 0.0)
    others: float = 0.0
    mix: tuple[int, ...] = (1,)
    alive: int | None = None
    """How many of the workers there are at all, where a split was typed in for more."""
    churn: bool = False
    """After a third of the time three workers are killed; after two thirds four join."""
    transactional_every_seconds: float = 0.0


class Run:
    """One case under way: a strict SES and the worker processes."""

    def __init__(self, case: Case, redis_url: str, start_at: float) -> None:
        self.case = case
        self.start_at = start_at
        self.stop_at = start_at + case.settle_seconds + case.seconds
        self.redis_url = redis_url
        self.prefix = case.name.replace(" ", "-").replace("/", "-")
        self.ses = StrictSesProcess(StrictSes(rate=case.rate, latency=case.latency, others=case.others))
        self.results = FORKED.Queue()
        if case.sender == "sesmail":
            throttle(redis_url, self.prefix).update_account(rate=case.rate, quota_24h=-1, sent_24h=0)
        self.workers = [self._start_worker(n) for n in range(case.alive or case.workers)]

    def _start_worker(self, number: int) -> Any:
        job = Job(
            sender=self.case.sender,
            redis_url=self.redis_url,
            prefix=self.prefix,
            port=self.ses.port,
            rate=self.case.rate,
            workers=self.case.workers,
            threads=self.case.threads,
            mix=self.case.mix,
            start_at=self.start_at,
            stop_at=self.stop_at,
            number=number,
            transactional_every_seconds=self.case.transactional_every_seconds,
        )
        process = FORKED.Process(target=work, args=(job, self.results), daemon=True)
        process.start()
        return process

    def churn(self) -> None:
        """Three of five die in the middle of what they do, later four new ones come."""
        third = (self.stop_at - self.start_at) / 3
        sleep_until(self.start_at + third)
        for process in self.workers[:3]:
            process.kill()
        sleep_until(self.start_at + 2 * third)
        self.workers = self.workers[3:] + [self._start_worker(5 + n) for n in range(4)]

    def result(self) -> dict[str, Any]:
        sleep_until(self.stop_at)
        report = self.ses.report()
        waits = [self.results.get(timeout=20) for process in self.workers]
        for process in self.workers:
            process.kill()
        self.ses.stop()
        return self._row(report, [w for bulk, _ in waits for w in bulk], [w for _, lane in waits for w in lane])

    def _row(self, report: dict[str, Any], bulk: list[float], transactional: list[float]) -> dict[str, Any]:
        since = self.start_at + self.case.settle_seconds
        answers = [a for a in report["answers"] if since <= a[0] < self.stop_at]
        accepted = [a for a in answers if a[2]]
        free = self.case.rate - sum(since <= t < self.stop_at for t in report["others"]) / (self.stop_at - since)
        row = {
            "case": self.case.name,
            "sender": self.case.sender,
            "rate": self.case.rate,
            "workers": self.case.alive or self.case.workers,
            "utilisation": mean_rate(accepted, self.stop_at - since) / free,
            "throttles": len(answers) - len(accepted),
            "throttles_per_1000": 1000 * (len(answers) - len(accepted)) / max(1, len(accepted)),
            "throttles_at_first": sum(1 for t, _, ok in report["answers"] if t < since and not ok),
            "wait_p50_seconds": percentile(bulk, 50),
            "wait_p99_seconds": percentile(bulk, 99),
        }
        if transactional:
            row["transactional_p99_seconds"] = percentile(transactional, 99)
        return row


def mean_rate(accepted: list[list[float]], seconds: float) -> float:
    """Recipients a second from the first to the last acceptance, which is exact where they are paced.

    Where they come in bursts that would be too much: never more than what came in the whole time, and one message.
    """
    if len(accepted) < 2:
        return 0.0
    sizes = [recipients for _, recipients, _ in accepted]
    paced = sum(sizes[1:]) / (accepted[-1][0] - accepted[0][0])
    return min(paced, (sum(sizes) + max(sizes)) / seconds)


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else 0.0


def sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def throttle(redis_url: str, prefix: str) -> SendThrottle:
    return SendThrottle(Scripts(Redis.from_url(redis_url), Keys(prefix)))


def together(cases: Iterable[Case], redis_url: str, start_in_seconds: float) -> list[dict[str, Any]]:
    """Cases that leave the machine mostly idle run at the same time."""
    start_at = time.monotonic() + start_in_seconds
    runs = [Run(case, redis_url, start_at) for case in cases]
    if time.monotonic() > start_at:
        print("the machine is too busy: not all workers were there at the start", file=sys.stderr)
    for run in runs:
        if run.case.churn:
            run.churn()
    return [run.result() for run in runs]


# -- stock Celery ---------------------------------------------------------------------------------------------------------


def celery_rate_limit(redis_url: str, *, rate: int, workers: int, seconds: float) -> dict[str, Any]:
    """Celery's own `rate_limit`, the rate split over the workers by hand, as its documentation has it."""
    ses = StrictSesProcess(StrictSes(rate=rate))
    broker = redis_url.removesuffix("/0") + "/1"
    environment = {
        **os.environ,
        "BENCH_BROKER": broker,
        "BENCH_PORT": str(ses.port),
        "BENCH_RATE_LIMIT": f"{rate // workers}/s",
    }
    os.environ.update(environment)
    from benchmarks._celery_rate_limit import send

    Redis.from_url(broker).flushdb()
    for _ in range(round(rate * seconds * 2)):
        send.delay()
    command = [sys.executable, "-m", "celery", "-A", "benchmarks._celery_rate_limit", "worker", "-P", "threads"]
    processes = [
        subprocess.Popen(
            [*command, "-c", "10", "-n", f"{n}@bench", "-l", "CRITICAL"], env=environment, stdout=subprocess.DEVNULL
        )
        for n in range(workers)
    ]
    wait_until_working(ses, processes)
    since = time.monotonic() + 2.0
    sleep_until(since + seconds)
    answers = [answer for answer in ses.report()["answers"] if since <= answer[0] < since + seconds]
    for process in processes:
        process.kill()
        process.wait()
    ses.stop()
    accepted = [answer for answer in answers if answer[2]]
    return {
        "case": "stock Celery rate_limit",
        "sender": "celery",
        "rate": rate,
        "workers": workers,
        "utilisation": len(accepted) / seconds / rate,
        "throttles": len(answers) - len(accepted),
        "throttles_per_1000": 1000 * (len(answers) - len(accepted)) / max(1, len(accepted)),
    }


def wait_until_working(ses: StrictSesProcess, processes: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + 30
    while len(ses.report()["answers"]) < len(processes):
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            sys.exit("a stock Celery worker did not start")
        time.sleep(0.2)


# -- several accounts in one process -----------------------------------------------------------------------------------------


def two_accounts(redis_url: str, *, seconds: float, settle_seconds: float = 2.0) -> list[dict[str, Any]]:
    """This process sends through two accounts of different rates at once, eight threads each."""
    scripts = Scripts(Redis.from_url(redis_url), Keys("accounts"))
    rates = {"default": 100, "marketing": 14}
    ses = {name: StrictSesProcess(StrictSes(rate=rate)) for name, rate in rates.items()}
    throttles = {name: SendThrottle(scripts.of_account(name)) for name in rates}
    for name, rate in rates.items():
        throttles[name].update_account(rate=rate, quota_24h=-1, sent_24h=0)
    until = time.monotonic() + settle_seconds + seconds

    def send(name: str) -> None:
        caller = SesCaller(ses[name].port)
        while time.monotonic() < until:
            slot = throttles[name].acquire(1, Lane.BULK, patience_seconds=60)
            if isinstance(slot, Granted) and not caller.send(1):
                throttles[name].refused(slot)

    threads = [threading.Thread(target=send, args=(name,), daemon=True) for name in rates for _ in range(8)]
    for thread in threads:
        thread.start()
    sleep_until(until)
    rows = []
    for name, rate in rates.items():
        answers = [each for each in ses[name].report()["answers"] if until - seconds <= each[0] < until]
        ses[name].stop()
        accepted = [each for each in answers if each[2]]
        row = {"case": f"account {name} of two", "sender": "sesmail", "rate": rate, "workers": 1}
        used = mean_rate(accepted, seconds) / rate
        rows.append({**row, "utilisation": used, "throttles": len(answers) - len(accepted)})
    for throttle_of_one in throttles.values():
        throttle_of_one.stop()
    return rows


# -- what a decision costs -----------------------------------------------------------------------------------------------------


def decision_cost(redis: Redis, decisions: int) -> tuple[float, float]:
    """Microseconds of this process's CPU and of Redis' CPU for one acquire, in a full log and with nothing else running.

    The best of several is told: whatever else the machine does only adds to it. The rate is just above what one caller can ask, so that slots are not waited for.
    """
    subject = SendThrottle(Scripts(redis, Keys("cost")))
    rate = 12_000
    subject.update_account(rate=rate, quota_24h=1_000_000_000, sent_24h=0)
    for _ in range(rate):
        subject.acquire(1, Lane.BULK)
    redis_before, before = redis_cpu(redis), time.process_time()
    for _ in range(decisions):
        subject.acquire(1, Lane.BULK)
    return (time.process_time() - before) / decisions * 1e6, (redis_cpu(redis) - redis_before) / decisions * 1e6


def redis_cpu(redis: Redis) -> float:
    cpu = redis.info("cpu")
    return cpu["used_cpu_user"] + cpu["used_cpu_sys"]


# -- the cases ------------------------------------------------------------------------------------------------------------------


def loopback(rate: int, seconds: float) -> list[Case]:
    return [
        Case(name=f"loopback {rate}/s x{workers}", rate=rate, workers=workers, seconds=seconds) for workers in (1, 2, 5)
    ]


def difficult(seconds: float) -> list[Case]:
    return [
        Case(name="jitter 30-80 ms", rate=100, latency=(0.03, 0.08), seconds=seconds - 3, settle_seconds=10),
        Case(name="churn", rate=100, seconds=seconds, churn=True),
        Case(name="mixed recipients 100", rate=100, mix=MIX, seconds=seconds),
        Case(name="others take 30 %", rate=100, others=0.3, seconds=seconds - 5, settle_seconds=12),
        Case(name="transactional in bulk", rate=14, seconds=seconds, transactional_every_seconds=2.0),
    ]


def compared(seconds: float) -> list[Case]:
    same = Case(name="side by side", rate=100, latency=(0.0, 0.0), seconds=seconds)
    return [
        same,
        replace(same, name="side by side, 3 of 5 alive", sender="static split", alive=3),
        replace(same, sender="static split"),
        replace(same, sender="per-process window"),
        replace(same, name="side by side, 14/s", sender="per-process window", rate=14),
        replace(same, sender="limits moving window"),
        replace(same, sender="naive retry"),
        replace(same, sender="boto3 adaptive"),
    ]


def measure(redis_url: str, *, quick: bool) -> Report:
    report = Report("throttle")
    with Redis.from_url(redis_url) as redis:
        costs = [decision_cost(redis, 3_000) for _ in range(3)]
    fast = [row for case in loopback(1000, 2 if quick else 10) for row in together([case], redis_url, 1.0)]
    # At a low rate each second is a large part of a short run: this one lasts as long as the others together.
    mixed_14 = Case(name="mixed recipients 14", rate=14, mix=MIX, seconds=32 if quick else 100)
    long = Run(mixed_14, redis_url, time.monotonic() + 3.0)
    slow = together(loopback(100, 8 if quick else 30) + loopback(14, 8 if quick else 30), redis_url, 3.0)
    hard = [*together(difficult(15 if quick else 60), redis_url, 4.0), long.result()]
    report.cases += fast + slow + hard
    if not quick:
        report.cases += [row for case in compared(12) for row in together([case], redis_url, 2.0)]
    accounts = two_accounts(redis_url, seconds=8 if quick else 30)
    report.cases += accounts
    celery = celery_rate_limit(redis_url, rate=100, workers=2 if quick else 5, seconds=3 if quick else 20)
    report.cases.append(celery)

    rows = {row["case"]: row for row in hard}
    report.figure("utilisation_min_loopback", min(row["utilisation"] for row in fast + slow), ">= 0.98")
    report.figure("throttles_loopback", sum(row["throttles"] for row in fast + slow), "0")
    report.figure("utilisation_min_two_accounts", min(row["utilisation"] for row in accounts), ">= 0.97")
    report.figure("throttles_two_accounts", sum(row["throttles"] for row in accounts), "0")
    report.figure("utilisation_jitter", rows["jitter 30-80 ms"]["utilisation"], ">= 0.95")
    report.figure("throttles_per_1000_jitter", rows["jitter 30-80 ms"]["throttles_per_1000"], "<= 1")
    report.figure("utilisation_churn", rows["churn"]["utilisation"], ">= 0.97")
    report.figure("throttles_per_1000_churn", rows["churn"]["throttles_per_1000"], "<= 1")
    report.figure("utilisation_mixed_100", rows["mixed recipients 100"]["utilisation"], ">= 0.95")
    report.figure("utilisation_mixed_14", rows["mixed recipients 14"]["utilisation"], ">= 0.90")
    mixed = [row for name, row in rows.items() if name.startswith("mixed")]
    report.figure("throttles_per_1000_mixed", max(row["throttles_per_1000"] for row in mixed), "<= 1")
    report.figure("utilisation_others", rows["others take 30 %"]["utilisation"], ">= 0.90 of what is left")
    report.figure("throttles_per_1000_others", rows["others take 30 %"]["throttles_per_1000"], "<= 10 once settled")
    report.figure("celery_rate_limit_utilisation", celery["utilisation"])
    report.figure("decision_client_us", min(client for client, _ in costs), "<= 60")
    report.figure("decision_redis_us", min(redis for _, redis in costs), "<= 40")
    wait = rows["transactional in bulk"]["transactional_p99_seconds"]
    report.figure("transactional_wait_seconds_p99", wait, "<= 2")
    return report


def main() -> None:
    options = arguments(__doc__)
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder)) as server:
        report = measure(server.url, quick=options.quick)
    report.show(as_json=options.json)


if __name__ == "__main__":
    main()
