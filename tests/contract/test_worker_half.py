"""Several sends under one ticket, and what a worker does before it takes a slot."""

from __future__ import annotations

import boto3
import pytest
from redis import Redis

from sesmail import runtime
from sesmail.embedded import EmbeddedRedis
from sesmail.message import Email
from sesmail.tasks import send_lot


@pytest.fixture
def parts(redis: Redis, redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> runtime.Runtime:
    """Everything real, but nobody listens where SES should be."""
    said = {"redis_url": redis_server.url, "endpoint_url": "http://127.0.0.1:1", "region": "us-east-1"}
    monkeypatch.setattr(runtime, "_said", said)
    monkeypatch.setattr(runtime, "_current", None)
    return runtime.current()


def accept(parts: runtime.Runtime, *send_ids: str) -> None:
    parts.throttle.update_account(rate=1000, quota_24h=-1, sent_24h=0)
    for send_id in send_ids:
        email = Email("success@simulator.amazonses.com", "s", "t", from_email="shop@example.com", lane="bulk")
        parts.ledger.accept(send_id, email)


def test_a_worker_makes_its_client_before_it_takes_a_slot_so_that_first_emails_do_not_arrive_together(
    parts: runtime.Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept(parts, "first")
    parts.turns.take("account", 60)  # another worker asks for the limits
    steps = []
    acquire, session = parts.throttle.acquire, boto3.Session
    monkeypatch.setattr(parts.throttle, "acquire", lambda *a, **k: steps.append("slot") or acquire(*a, **k))
    monkeypatch.setattr(boto3, "Session", lambda **k: steps.append("client") or session(**k))
    send_lot.apply(kwargs={"send_ids": ["first"]})
    assert steps == ["client", "slot"]
    parts.lease.stop()


def test_when_ses_is_out_of_reach_the_rest_of_a_lot_is_given_back_untried(parts: runtime.Runtime) -> None:
    ids = [f"s{n}" for n in range(5)]
    accept(parts, *ids)
    assert send_lot.apply(kwargs={"send_ids": ids}).get() == {"postponed": 5}
    assert parts.ledger.counts()["scheduled:bulk"] == 5
    assert [parts.ledger.status(send_id).waits for send_id in ids] == [1, 0, 0, 0, 0]
    assert [parts.ledger.status(send_id).attempts for send_id in ids] == [0] * 5
    parts.lease.stop()
