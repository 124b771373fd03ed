"""What an email costs Redis in memory: while it waits, and for as long as it is remembered once it is sent.

`redis_bytes_per_sent_email`: all that is kept of one sent email for `SESMAIL_SENT_RETENTION_SECONDS`, its place in the
indexes included, without what is optional. The cases tell what the options add: an idempotency key, the index by which
people search, metadata.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from uuid import uuid4

from redis import Redis

from benchmarks._report import Report, arguments
from sesmail.embedded import EmbeddedRedis
from sesmail.message import Email
from sesmail.message.content import content_digest
from sesmail.settings import Settings
from sesmail.state.keys import Keys
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.scripts import Scripts
from sesmail.vocabulary import Claim

TEXT = "Dear Ann,\n\nyour order is on its way. " * 10
PLAIN = {"search_by_address": False}
MESSAGE_ID = "0100019{number:09x}-e5c8a4ba-9c43-4c1f-9b2b-6fdc0d3c8c5a-000000"
"""As long as SES's own."""


def main() -> None:
    options = arguments(__doc__)
    count = 2_000 if options.quick else 50_000
    report = Report("memory")
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis", appendfsync="no") as server:
        redis = Redis.from_url(server.url)
        plain = measure(redis, report, "a sent email", count, PLAIN)
        measure(redis, report, "with an idempotency key", count, PLAIN, idempotent=True)
        measure(redis, report, "with metadata of 40 bytes", count, PLAIN, metadata={"customer": 123456, "order": 98765})
        measure(redis, report, "with the index to search by", count, {"search_by_address": True})
        redis.close()
    report.figure("redis_bytes_per_sent_email", plain, "<= 400")
    report.show(as_json=options.json)


def measure(
    redis: Redis, report: Report, name: str, count: int, said: dict[str, Any], *, idempotent: bool = False, **more: Any
) -> float:
    """Bytes that are kept of each of so many emails, each to somebody else."""
    redis.flushall()
    ledger = Ledger(Scripts(redis, Keys()), Settings(**said))
    send(ledger, "warm-up", 0, idempotent=idempotent, **more)  # what there is once, however many follow
    before, waiting = used(redis), 0
    for number in range(1, count + 1):
        send(ledger, str(uuid4()), number, idempotent=idempotent, **more)
    kept = (used(redis) - before) / count
    before = used(redis)
    for number in range(count + 1, count + 1001):
        accept(ledger, str(uuid4()), number, idempotent=idempotent, **more)
    waiting = round((used(redis) - before) / 1000)
    encodings = {redis.object("encoding", key) for key in redis.scan_iter("{sesmail}:send:*", count=10)}
    report.cases.append(
        {"case": name, "bytes once sent": round(kept), "while it waits": waiting, "rows": len(encodings)}
    )
    return kept


def send(ledger: Ledger, send_id: str, number: int, **more: Any) -> None:
    """Into the ledger, claimed and sent."""
    accept(ledger, send_id, number, **more)
    claim = ledger.claim(send_id, "worker@example-host-1234-5678")
    assert isinstance(claim, Claim)
    ledger.begin(claim)
    ledger.sent(claim, MESSAGE_ID.format(number=number))


def accept(ledger: Ledger, send_id: str, number: int, *, idempotent: bool, **more: Any) -> None:
    """An email to somebody who has got none before."""
    key = f"order-{number}" if idempotent else None
    email = Email(f"reader{number}@example.org", "Your order", TEXT, from_email="shop@example.com", **more)
    email = email.replace(idempotency_key=key) if key else email
    ledger.accept(send_id, email, content=content_digest(email) if key else "")


def used(redis: Redis) -> int:
    """What Redis itself says that it has allocated."""
    return int(redis.info("memory")["used_memory"])


if __name__ == "__main__":
    main()
