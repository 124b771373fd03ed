"""What puts accepted email at risk in Redis itself is told: loudly, once, and not where it is meant."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from sesmail.embedded import EmbeddedRedis
from sesmail.message import Email
from sesmail.settings import Settings
from sesmail.state.keys import Keys
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.scripts import Scripts
from sesmail.state.server.health import RedisHealth


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def redis(server: EmbeddedRedis) -> Iterator[Redis]:
    with Redis.from_url(server.url) as client:
        yield client


def health(redis: Redis, *, may_forget: bool = False) -> RedisHealth:
    return RedisHealth(redis, Keys(), may_forget=may_forget)


def test_a_redis_that_keeps_all_is_no_word_worth(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    found = health(redis).read()
    assert (found.policy, found.append_only_file, found.evicted_keys) == ("noeviction", True, 0)
    health(redis).look()
    assert caplog.records == []


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-lru", "volatile-ttl"])
def test_a_policy_that_may_evict_is_told_once_by_each_worker(
    redis: Redis, caplog: pytest.LogCaptureFixture, policy: str
) -> None:
    redis.config_set("maxmemory-policy", policy)
    watching = health(redis)
    for _ in range(3):
        watching.look()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"maxmemory-policy is {policy}" in record.getMessage()
    assert "Set it to noeviction" in record.getMessage()


def test_an_append_only_file_that_is_off_is_told_unless_it_is_meant(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    redis.config_set("appendonly", "no")
    assert any("append-only file is off" in warning for warning in health(redis).warnings())
    meant = health(redis, may_forget=True)
    meant.look()
    assert meant.warnings() == []
    assert caplog.records == []


def test_an_eviction_is_told_once_by_all_workers_together(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    workers = [health(redis) for _ in range(3)]
    for worker in workers:
        worker.look()
    used = redis.info("memory")["used_memory"]
    redis.config_set("maxmemory-policy", "allkeys-random")
    redis.config_set("maxmemory", used + 300_000)
    for number in range(400):
        redis.set(f"filler-{number}", "x" * 2000)
    assert redis.info("stats")["evicted_keys"] > 0
    redis.config_set("maxmemory", 0)
    for worker in (*workers, *workers):
        worker.look()
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1 or redis.get("{sesmail}:evicted") is None, "that was thrown away, too"
    assert "has thrown away" in told[0].getMessage()


def test_a_user_who_may_not_ask_gets_no_answer_and_no_error(redis: Redis, server: EmbeddedRedis) -> None:
    redis.acl_setuser("mail", enabled=True, nopass=True, keys=["*"], categories=["+@all", "-@dangerous"])
    with Redis.from_url(server.url, username="mail", password="any") as limited:
        health(limited).look()
        found = health(limited).read()
    assert (found.policy, found.append_only_file, found.warnings()) == ("", None, [])


def test_what_sent_and_failed_emails_take_is_told_from_a_sample(redis: Redis) -> None:
    ledger = Ledger(Scripts(redis, Keys()), Settings())
    for number in range(300):
        ledger.accept(f"sent-{number}", Email("ann@example.org", "s", "t", from_email="shop@example.com"))
        ledger.record_evidence(f"sent-{number}", f"0100019{number:09}-e5c8a4ba-9c43-4c1f-9b2b-6fdc0d3c8c5a-000000")
    kept = health(redis).kept_bytes(ledger.counts())
    assert kept["not_sent"] == 0
    assert 60_000 < kept["sent"] < 160_000
    ledger.set_aside("broken", "x" * 100_000, "no email")
    assert health(redis).kept_bytes(ledger.counts())["not_sent"] > 90_000
