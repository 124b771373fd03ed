"""A lot: several sends under one ticket."""

from __future__ import annotations

import json

from celery import Celery
from redis import Redis

import sesmail.tasks  # noqa: F401  the app finds them
from sesmail.celery.current import client_of
from sesmail.embedded import EmbeddedRedis
from sesmail.message import Email
from tests.contract.conftest import NOBODY


def test_when_ses_is_out_of_reach_the_rest_of_a_lot_is_given_back_untried(
    redis: object, redis_server: EmbeddedRedis
) -> None:
    app = Celery("lots", broker=redis_server.url, set_as_current=False)
    app.conf.update(sesmail_endpoint_url=NOBODY, sesmail_region="us-east-1")
    client = client_of(app)
    client.throttle.update_account(rate=1000, quota_24h=-1, sent_24h=0)
    ids = [f"s{n}" for n in range(5)]
    for send_id in ids:
        email = Email("success@simulator.amazonses.com", "s", "t", from_email="shop@example.com", lane="bulk")
        client.ledger.accept(send_id, email)
    assert app.tasks["sesmail.send_lot"].apply(kwargs={"send_ids": ids}).get() == {"postponed": 5}
    assert client.ledger.counts()["scheduled:bulk"] == 5
    assert [client.ledger.status(send_id).waits for send_id in ids] == [1, 0, 0, 0, 0]
    assert [client.ledger.status(send_id).attempts for send_id in ids] == [0] * 5
    client.close()


def test_a_lot_is_told_apart_in_flower_by_its_first_send_or_by_what_is_said_of_it(
    redis: Redis, redis_server: EmbeddedRedis
) -> None:
    app = Celery("lots", broker=redis_server.url, set_as_current=False)
    client = client_of(app)
    emails = [Email("ann@example.org", f"s{n}", "t", from_email="shop@example.com", lane="bulk") for n in range(2)]
    client.outbox.send_lot(emails, options={"kwargsrepr": "{run monthly: 51 to 52 of 120}"})
    accepted = client.outbox.send_lot(emails)
    said = [json.loads(each)["headers"]["kwargsrepr"] for each in redis.lrange("sesmail.bulk", 0, -1)]
    assert said == [f"{{2 sends, the first {accepted[0].send_id}}}", "{run monthly: 51 to 52 of 120}"]
    client.close()
