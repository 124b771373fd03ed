"""Email accepted before, during and after what befalls a Redis: a line each, and nothing is lost or doubled.

What Redis itself forgot, as a failover may, is counted apart: where acceptance waits for a replica, that is nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.fleet import wait_until
from tests.acceptance.setups.servers import (
    SetUp,
    cluster,
    disk,
    sentinels,
    sentinels_and_wait,
    stable_name,
    tls_and_rights,
)
from tests.acceptance.setups.site import Site
from tests.redis_servers import Server

RECOVERY_SECONDS = 30.0
"""By itself, on a busy machine. How fast it is on a calm one is measured: benchmarks/durability.py."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the matrix."""

    set_up: Callable[[Path], AbstractContextManager[SetUp]]
    may_forget: bool
    """Whether what befalls the Redis may cost it what it had not passed on."""
    celery_waits_seconds: float = 0.0
    """How long Celery's own consumer pauses between its tries, where the broker was away, too."""


LINES = {
    "Sentinels, the master dies": Line(set_up=sentinels, may_forget=True, celery_waits_seconds=6),
    "Sentinels and WAIT, RabbitMQ, the master is cut off": Line(set_up=sentinels_and_wait, may_forget=False),
    "a cluster, SQS, the node dies": Line(set_up=cluster, may_forget=True),
    "a stable name, another broker, demotion": Line(set_up=stable_name, may_forget=False),
    "TLS and an ACL user, RabbitMQ, kill -9 and restart": Line(set_up=tls_and_rights, may_forget=False),
    "WAITAOF, kill -9 and restart": Line(set_up=disk, may_forget=False, celery_waits_seconds=6),
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_nothing_is_lost_or_doubled_whatever_befalls_the_redis(line: Line, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "servers").mkdir()
    with line.set_up(tmp_path / "servers") as set_up, Site(tmp_path / "site", set_up.conf) as site:
        site.wait_for_mail("mail goes out before")
        set_up.befall()
        accepted_after, sent_after = site.recover()
        lost, doubled = site.settle()
        assert lost <= (site.forgotten(lost) if line.may_forget else set())
        assert not doubled
        assert accepted_after < RECOVERY_SECONDS
        limit = RECOVERY_SECONDS + line.celery_waits_seconds
        assert sent_after < limit, f"{sent_after:.1f} s\n{site.worker.said()[-3000:]}"


TOLD = "Redis was full and has thrown away"


def test_what_a_full_redis_evicts_is_lost_counted_and_told_and_all_else_goes_out_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What waits for its time has not been touched for longest. Another Redis carries the tickets."""
    (tmp_path / "site").mkdir()
    # As many samples as make the choice exact: an index that is always in use is not among what is evicted.
    options = {"maxmemory_policy": "allkeys-lru", "maxmemory_samples": "64"}
    with (
        Server(tmp_path / "ledger", **options) as server,
        Server(tmp_path / "broker") as broker,
        Site(tmp_path / "site", {"broker_url": broker.url, "sesmail_redis_url": server.url}) as site,
    ):
        parked = site.park(20)
        site.wait_for_mail("mail goes out before")
        site.wait_for_mail("and a little later, by which Redis knows what is older")
        fill(server, until_gone=5, of=[f"{{sesmail}}:send:{send_id}" for send_id in parked])
        site.recover()
        site.hasten(parked)
        lost, doubled = site.settle()
        assert len(lost & {*parked}) >= 5
        assert lost <= site.forgotten(lost)
        assert not doubled
        wait_until(lambda: "Set it to noeviction" in site.worker.said(), "the worker warns of that policy")
        site.client.redis_health.look()
        wait_until(lambda: TOLD in caplog.text + site.worker.said(), "whoever looks first tells of it")


def fill(server: Server, *, until_gone: int, of: list[str]) -> None:
    """Write other keys until Redis has had to throw so many of these away; then there is room again."""
    with server.client as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"])
        number = 0
        while len(of) - client.exists(*of) < until_gone:
            client.set(f"junk:{number}", b"x" * 2000)
            number += 1
        client.config_set("maxmemory", 0)
