"""What a worker says of itself at its start, and of what is in the mail's way: once, and when it is over."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
from celery import Celery
from redis import Redis

from sesmail import Client
from sesmail.celery.current import client_of
from sesmail.celery.worker.telling import AT_START, FirstLines, InTheWay
from sesmail.doctor import CHECKS
from sesmail.embedded import EmbeddedRedis
from sesmail.message import Email, Lane


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    caplog.clear()
    return found


def first_lines(redis_server: EmbeddedRedis, **settings: Any) -> tuple[FirstLines, Client]:
    app = Celery("shop", broker=redis_server.url.replace("//", "//:secret@"), set_as_current=False)
    more = {"redis_url": redis_server.url, "endpoint_url": "http://127.0.0.1:1", "region": "us-east-1", **settings}
    app.conf.update({f"sesmail_{name}": value for name, value in more.items()})
    client = client_of(app)
    client.throttle.update_account(rate=14, quota_24h=50_000, sent_24h=7, standing="sandbox")
    lines = FirstLines(app, client, lanes=["sesmail.transactional", "sesmail.bulk"], pool="thread, 16", quiet=False)
    return lines, client


def test_the_first_lines_say_where_it_sends(redis: Redis, redis_server: EmbeddedRedis) -> None:
    lines, client = first_lines(redis_server, site="shop")
    text = "\n".join(lines.lines())
    client.close()
    for words in (
        "site shop",
        f"ledger  {redis_server.url}",
        "queues  sesmail.transactional, sesmail.bulk; pool thread, 16",
        "at http://127.0.0.1:1 (us-east-1)",
        "account sandbox; 14 recipients a second",
        "50,000 in 24 hours, 7 of them used",
    ):
        assert words in text, text
    assert "secret" not in text, "no password of an address"


def test_a_region_that_is_missing_stands_in_the_first_lines(
    redis: Redis, redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    lines, client = first_lines(redis_server, region=None, endpoint_url=None)
    text = "\n".join(lines.lines())
    client.close()
    assert "cannot be asked: No Region is named" in text


def test_each_thing_that_is_wrong_is_warned_of(
    redis: Redis, redis_server: EmbeddedRedis, caplog: pytest.LogCaptureFixture
) -> None:
    lines, client = first_lines(redis_server, redirect_to=["ann@example.org"])
    lines._warn()
    client.close()
    redirected, sandbox = said(caplog)
    assert "SESMAIL_REDIRECT_TO" in redirected
    assert "sandbox" in sandbox
    assert {*AT_START} <= {*CHECKS}


def test_a_stopped_line_is_warned_of_once_and_when_it_is_over(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    watching = InTheWay(client)
    watching.look()
    assert said(caplog) == []
    client.throttle.line.stop("identity:example.com", "not verified")
    for _ in range(3):
        watching.look()
    (warning,) = said(caplog)
    assert "What goes by identity example.com is stopped" in warning
    client.throttle.line.resume("identity:example.com")
    watching.look()
    watching.look()
    (over,) = said(caplog)
    assert over.startswith("It is over: What goes by identity example.com is stopped")


def test_a_quota_that_is_used_up_is_warned_of_once_however_many_wait(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    watching = InTheWay(client)
    client.throttle.update_account(rate=14, quota_24h=1000, sent_24h=1000, standing="healthy")
    for number in range(3):
        email = Email("ann@example.org", "s", "t", from_email="shop@example.com", lane=Lane.BULK)
        client.ledger.accept(f"a{number}", email)
        watching.look()
    (warning,) = said(caplog)
    assert "quota leaves nothing for bulk" in warning
    client.throttle.update_account(rate=14, quota_24h=9000, sent_24h=1000, standing="healthy")
    watching.look()
    (over,) = said(caplog)
    assert over.startswith("It is over: The 24-hour quota")


def test_events_that_are_heard_again_are_told(client: Client, redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """That none were heard, one of the fleet says."""
    now_ms = round(time.time() * 1000)
    for number in range(100):
        redis.rpush("{sesmail}:sent", f"a{number}")
        row = {"state": "sent", "site": "default", "moved_at": now_ms - 7_200_000}
        redis.hset(f"{{sesmail}}:send:a{number}", mapping=row)
    watching = InTheWay(client)
    watching.look()
    assert said(caplog) == []
    redis.hset("{sesmail}:heard", "default", now_ms)
    watching.look()
    (over,) = said(caplog)
    assert over.startswith("It is over: SES tells nothing")
