"""The task of batches, as a worker runs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from celery import Celery

import sesmail.tasks  # noqa: F401  the app finds them
from sesmail import Letter
from sesmail.celery.current import client_of
from sesmail.embedded import EmbeddedRedis


@pytest.fixture
def app(redis: object, redis_server: EmbeddedRedis) -> Iterator[Celery]:
    made = Celery("batches", broker=redis_server.url, set_as_current=False)
    made.conf.update(sesmail_site="shop", sesmail_region="us-east-1")
    yield made
    client_of(made).close()


def test_a_ticket_of_another_site_is_left_to_its_own_workers_and_one_without_a_batch_does_nothing(app: Celery) -> None:
    task = app.tasks["sesmail.send_batches"]
    assert task.apply(kwargs={"site": "another", "lane": "bulk"}).get() == {}
    assert task.apply(kwargs={"site": "shop", "lane": "bulk"}).get() == {}


def test_tickets_of_batches_go_into_a_queue_of_their_site(app: Celery) -> None:
    client = client_of(app)
    letter = Letter(subject="Hello", text="Hi.", from_email="shop@example.com")
    client.send_batch(letter, ["ann@example.org"], key="k", without_unsubscribe=True)
    assert client.scripts.redis.llen("sesmail.batches.shop") == 1
    assert not client.scripts.redis.exists("sesmail.bulk")
