"""A client of a Celery app, in programs that have imported no task: each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sesmail.embedded import EmbeddedRedis

ROOT = Path(__file__).parents[2]
TWO_APPS = """
from celery import Celery
from sesmail import Email, client_of

clients = []
for name in ("shop", "news"):
    app = Celery(name, broker=REDIS, set_as_current=False)
    app.conf.sesmail_key_prefix = name
    app.conf.sesmail_from_email = f"{name}@example.com"
    clients.append(client_of(app))
    accepted = client_of(app).send(Email("ann@example.org", "Hello", "Hi."))
    assert client_of(app).outbox.status(accepted.send_id).state == "queued"
    assert client_of(app).scripts.redis.llen(f"{name}.transactional") == 1
assert clients[0] is not clients[1]
assert clients[0].ledger.counts()["queued"] == clients[1].ledger.counts()["queued"] == 1
"""
STAND_ALONE = """
import os
os.environ["SESMAIL_REDIS_URL"], os.environ["SESMAIL_FROM_EMAIL"] = REDIS, "shop@example.com"
import asyncio
from sesmail import Email, cancel, current_client, requeue

accepted = asyncio.run(current_client().asend(Email("ann@example.org", "Hello", "Hi.")))
assert accepted.new
assert current_client().scripts.redis.llen("sesmail.transactional") == 1
cancel(accepted.send_id)
requeue(accepted.send_id)
assert current_client().scripts.redis.llen("sesmail.transactional") == 2
"""
NO_REDIS = """
from celery import Celery
from sesmail import ConfigurationError, Email, client_of

for broker in ("sentinel://127.0.0.1:1/0", "sqs://", "amqp://127.0.0.1:1//", "memory://", ["memory://", REDIS], None):
    app = Celery("shop", broker=broker, set_as_current=False)
    app.conf.sesmail_from_email = "shop@example.com"
    try:
        client_of(app).send(Email("ann@example.org", "Hello", "Hi."))
    except ConfigurationError as refused:
        missing = "SESMAIL_REDIS_MASTER_NAME" if str(broker).startswith("sentinel") else "Set SESMAIL_REDIS_URL"
        assert missing in str(refused), refused
    else:
        raise AssertionError(broker)
app = Celery("shop", broker="memory://", set_as_current=False)
app.conf.sesmail_from_email = "shop@example.com"
app.conf.sesmail_suppress_send = True
client_of(app).send(Email("ann@example.org", "Hello", "Hi."))
"""


@pytest.mark.parametrize("script", [TWO_APPS, STAND_ALONE], ids=["two apps", "stand-alone"])
def test_what_a_client_accepts_has_its_ticket_at_once(script: str, redis_server: EmbeddedRedis, redis: object) -> None:
    command = [sys.executable, "-c", f"REDIS = {redis_server.url!r}\n{script}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_broker_that_is_no_redis_leaves_the_ledger_to_be_named_nobody_s_is_taken(redis_server: EmbeddedRedis) -> None:
    command = [sys.executable, "-c", f"REDIS = {redis_server.url!r}\n{NO_REDIS}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
