"""Ways to keep to a send rate: ours, and those that it is compared with. Each sends as fast as it may, until the end."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from redis import Redis

from benchmarks._strict_ses import SesCaller
from sesmail.message import Lane
from sesmail.sending.throttle import Granted, SendThrottle
from sesmail.state.keys import Keys
from sesmail.state.scripts import Scripts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one worker process is to do. Times are of the monotonic clock, which all processes of a machine share."""

    sender: str
    redis_url: str
    prefix: str
    port: int
    rate: int
    workers: int
    threads: int
    mix: tuple[int, ...]
    start_at: float
    stop_at: float
    number: int
    transactional_every_seconds: float = 0.0


@dataclass
class Waits:
    """Seconds from the wish to send until SES took it."""

    bulk: list[float] = field(default_factory=list)
    transactional: list[float] = field(default_factory=list)


def work(job: Job, results: Any) -> None:
    """The life of one worker process."""
    waits = Waits()
    send = SENDERS[job.sender](job)
    sizes = islice(cycle(job.mix), job.number, None)  # each worker begins at another place of the mix
    threads = [threading.Thread(target=_send_all, args=(job, send, waits.bulk, sizes)) for _ in range(job.threads)]
    if job.transactional_every_seconds:
        threads.append(threading.Thread(target=_send_transactional, args=(job, send, waits.transactional)))
    for thread in threads:
        thread.daemon = True
        thread.start()
    for thread in threads:
        thread.join(max(0.0, job.stop_at + 0.5 - time.monotonic()))
    results.put((waits.bulk, waits.transactional))


def _send_all(job: Job, send: Callable[..., None], waits: list[float], sizes: Iterator[int]) -> None:
    caller = SesCaller(job.port)
    time.sleep(max(0.0, job.start_at - time.monotonic()))
    while (wished := time.monotonic()) < job.stop_at:
        send(caller, next(sizes), Lane.BULK)
        waits.append(time.monotonic() - wished)


def _send_transactional(job: Job, send: Callable[..., None], waits: list[float]) -> None:
    caller = SesCaller(job.port)
    time.sleep(max(0.0, job.start_at - time.monotonic()) + 1.0)
    while (wished := time.monotonic()) < job.stop_at:
        send(caller, 1, Lane.TRANSACTIONAL)
        waits.append(time.monotonic() - wished)
        time.sleep(job.transactional_every_seconds)


# -- the ways -------------------------------------------------------------------------------------------------------------


def sesmail(job: Job) -> Callable[..., None]:
    """One throttle for all."""
    throttle = SendThrottle(Scripts(Redis.from_url(job.redis_url, protocol=3), Keys(job.prefix)))

    def send(caller: SesCaller, recipients: int, lane: Lane) -> None:
        while True:
            slot = throttle.acquire(recipients, lane, patience_seconds=60)
            if isinstance(slot, Granted):
                if caller.send(recipients):
                    return
                throttle.refused(slot)

    return send


def static_split(job: Job) -> Callable[..., None]:
    """Every worker paces itself to its part of the rate, whoever else is alive."""
    lock, due = threading.Lock(), [time.monotonic()]
    pace = job.workers / job.rate * 1.01

    def send(caller: SesCaller, recipients: int, _lane: Lane) -> None:
        accepted = False
        while not accepted:
            with lock:
                due[0] = max(due[0], time.monotonic()) + pace * recipients
                slot = due[0]
            time.sleep(max(0.0, slot - time.monotonic()))
            accepted = caller.send(recipients)

    return send


def per_process_window(job: Job) -> Callable[..., None]:
    """hworker-ses's way, from its description: each process keeps the times of its last sends, typed limit per process."""
    lock, sent = threading.Lock(), deque[float]()
    limit = max(1, job.rate // job.workers)

    def send(caller: SesCaller, recipients: int, _lane: Lane) -> None:
        accepted = False
        while not accepted:
            with lock:
                if len(sent) >= limit:
                    time.sleep(max(0.0, sent.popleft() + 1.0 - time.monotonic()))
                sent.append(time.monotonic())
            accepted = caller.send(recipients)

    return send


def limits_moving_window(job: Job) -> Callable[..., None]:
    """The `limits` library's moving window in Redis; whoever is refused sleeps until it says."""
    from limits import RateLimitItemPerSecond
    from limits.storage import RedisStorage
    from limits.strategies import MovingWindowRateLimiter

    limiter, limit = MovingWindowRateLimiter(RedisStorage(job.redis_url)), RateLimitItemPerSecond(job.rate)

    def send(caller: SesCaller, recipients: int, _lane: Lane) -> None:
        accepted = False
        while not accepted:
            while not limiter.hit(limit, job.prefix, cost=recipients):
                reset = limiter.get_window_stats(limit, job.prefix).reset_time
                time.sleep(max(0.001, reset - time.time()))
            accepted = caller.send(recipients)

    return send


def naive(_job: Job) -> Callable[..., None]:
    """No limit; what is refused is tried again after a back-off from one second on, with full jitter."""

    def send(caller: SesCaller, recipients: int, _lane: Lane) -> None:
        attempt = 0
        while not caller.send(recipients):
            time.sleep(random.uniform(0, min(30.0, 2.0**attempt)))
            attempt += 1

    return send


def boto3_adaptive(job: Job) -> Callable[..., None]:
    """boto3's own adaptive retry mode, one client a process."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ClientError

    config = Config(retries={"mode": "adaptive", "max_attempts": 10}, max_pool_connections=64)
    client = boto3.client(
        "sesv2",
        endpoint_url=f"http://127.0.0.1:{job.port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=config,
    )
    content = {"Simple": {"Subject": {"Data": "s"}, "Body": {"Text": {"Data": "b"}}}}

    def send(_caller: SesCaller, _recipients: int, _lane: Lane) -> None:
        accepted = False
        while not accepted:
            try:
                client.send_email(FromEmailAddress="a@example.com", Content=content)
                accepted = True
            except ClientError:
                pass

    return send


SENDERS: dict[str, Callable[[Job], Callable[..., None]]] = {
    "sesmail": sesmail,
    "static split": static_split,
    "per-process window": per_process_window,
    "limits moving window": limits_moving_window,
    "naive retry": naive,
    "boto3 adaptive": boto3_adaptive,
}
