"""What a sweep costs Redis with 100,000 sends queued and 1,000 claimed, and for how long it keeps others waiting.

`redis_ms`: Redis' own time in one sweep when nothing is wrong, as every few seconds. `longest_block_ms`: the longest that
any single call of any sweep below kept Redis from everybody else, from its slow log. Each case says what its sweep found.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from redis import Redis

from benchmarks._report import Report, arguments
from sesmail.embedded import EmbeddedRedis
from sesmail.message import Email
from sesmail.sending.sweeper import Sweeper
from sesmail.settings import Settings
from sesmail.state.fleet.meters import Meters
from sesmail.state.keys import Keys
from sesmail.state.ledger.answering import Callers
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.line.line import Line
from sesmail.state.scripts import Scripts
from sesmail.vocabulary import Claim

LEASE_SECONDS = 2.0


def main() -> None:
    options = arguments(__doc__)
    queued, claimed = (20_000, 1_000) if options.quick else (100_000, 1_000)
    report = Report("sweep")
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis", appendfsync="no") as server:
        bench = Bench(Redis.from_url(server.url), report)
        bench.accept(queued)
        bench.hold(claimed)
        bench.case(f"{queued} queued, {claimed} claimed, nothing wrong", empty=False)
        report.figure("redis_ms", report.cases[-1]["redis ms"], "< 50")
        bench.lose_workers()
        bench.case(f"the workers of {claimed} claims dead", empty=False)
        bench.hold(claimed, begin=True)
        bench.lose_workers()
        bench.case(f"dead while SES was asked for {claimed}", empty=False)
        bench.case(f"{claimed} unknown past the evidence window", empty=False, window_seconds=0.001)
        bench.case("the broker has lost every ticket", empty=True, grace_seconds=0.001)
        report.figure("longest_block_ms", max(case["longest ms"] for case in report.cases), "< 5")
    report.show(as_json=options.json)


class Bench:
    """A ledger, and sweeps that are watched from Redis' side."""

    def __init__(self, redis: Redis, report: Report) -> None:
        self.redis = redis
        self.report = report
        self.scripts = Scripts(redis, Keys())
        self.ledger = self.ledger_with(evidence_window_seconds=3600)
        self.line = Line(self.scripts)
        self.meters = Meters(redis, self.scripts.keys)
        self.callers = Callers(self.scripts)
        self.taken = 0
        redis.config_set("slowlog-log-slower-than", 200)
        redis.config_set("slowlog-max-len", 10_000)

    def ledger_with(self, **settings: Any) -> Ledger:
        return Ledger(self.scripts, Settings(lease_seconds=LEASE_SECONDS, **settings))

    def accept(self, count: int) -> None:
        html = "<p>" + "A letter of about five kilobytes. " * 150 + "</p>"
        email = Email(
            "success@simulator.amazonses.com", "News", "news", html, from_email="shop@example.com", lane="bulk"
        )
        for number in range(count):
            self.ledger.accept(f"s{number:06}", email)

    def hold(self, count: int, *, begin: bool = False) -> None:
        for number in range(self.taken, self.taken + count):
            self.ledger.heartbeat("worker", LEASE_SECONDS)
            claim = self.ledger.claim(f"s{number:06}", "worker")
            assert isinstance(claim, Claim)
            if begin:
                self.ledger.begin(claim)
        self.taken += count

    def lose_workers(self) -> None:
        """The lease runs out while another worker shows that Redis is there."""
        until = time.monotonic() + LEASE_SECONDS * 1.1
        while time.monotonic() < until:
            self.ledger.heartbeat("another", LEASE_SECONDS)
            time.sleep(LEASE_SECONDS / 4)

    def case(self, name: str, *, empty: bool, window_seconds: float = 3600, grace_seconds: float = 15) -> None:
        ledger = self.ledger_with(evidence_window_seconds=window_seconds)
        parts = ledger, self.line, self.meters, self.callers
        broker = SimpleNamespace(issue=lambda *_, **__: None, is_empty=lambda _: empty)
        sweeper = Sweeper(*parts, broker, ticket_grace_seconds=grace_seconds)
        self.ledger.heartbeat("another", LEASE_SECONDS)
        self.redis.slowlog_reset()
        before, start = self.redis_us(), time.monotonic()
        found = sweeper.sweep()
        self.report.cases.append(
            {
                "case": name,
                "redis ms": (self.redis_us() - before) / 1000,
                "longest ms": self.longest_us() / 1000,
                "sweep ms": (time.monotonic() - start) * 1000,
                "moved": sum(getattr(found, cause) for cause in found.__dataclass_fields__),
            }
        )

    def redis_us(self) -> int:
        stats: dict[str, dict[str, int]] = self.redis.info("commandstats")  # type: ignore[assignment]
        return sum(stats.get(f"cmdstat_{command}", {}).get("usec", 0) for command in ("evalsha", "eval"))

    def longest_us(self) -> int:
        entries: list[dict[str, int]] = self.redis.slowlog_get(10_000)  # type: ignore[assignment]
        return max((entry["duration"] for entry in entries), default=0)


if __name__ == "__main__":
    main()
