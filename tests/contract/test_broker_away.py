"""A broker that is away, or keeps silent, holds up nobody who sends: the email is accepted already."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, Self

import pytest
from celery import Celery, group
from redis import Redis

from sesmail import send_ses_email
from sesmail.celery.current import client_of, close_clients
from sesmail.embedded import EmbeddedRedis
from sesmail.vocabulary import State

ARGUMENTS = ("ann@example.org", "Hello", "Hi.")


class Silent:
    """Takes connections, and says nothing."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.taken: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                self.taken.append(self._listening.accept()[0])
            except OSError:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()
        for connection in self.taken:
            connection.close()


@pytest.fixture
def silent() -> Iterator[Silent]:
    with Silent() as server:
        yield server


BROKERS: dict[str, dict[str, Any]] = {
    "redis://127.0.0.1:{}/0": {},
    "amqp://guest:guest@127.0.0.1:{}//": {},
    "sqs://test:test@127.0.0.1:{}": {"region": "us-east-1", "is_secure": False},
}


@pytest.fixture
def app(request: pytest.FixtureRequest, silent: Silent, redis: Redis, redis_server: EmbeddedRedis) -> Iterator[Celery]:
    url: str = request.param
    if url.startswith("sqs") and not find_spec("boto3"):
        pytest.skip("kombu's SQS needs boto3")
    app = Celery("proj", broker=url.format(silent.port), set_as_current=False)
    app.conf.update(
        broker_transport_options=BROKERS[url],
        sesmail_redis_url=redis_server.url,
        sesmail_from_email="shop@example.com",
    )
    app.set_current()
    yield app
    close_clients()
    app.close()


@pytest.mark.parametrize("app", BROKERS, indirect=True)
def test_a_broker_that_keeps_silent_is_asked_by_the_first_email_and_left_alone_by_those_that_follow(
    app: Celery, silent: Silent, caplog: pytest.LogCaptureFixture
) -> None:
    """By itself, Celery waits for minutes for Redis and SQS, and for four seconds, each time, for RabbitMQ."""
    accepted = [send_ses_email.delay(*ARGUMENTS)]
    tries = len(silent.taken)
    assert 1 <= tries <= 4
    accepted += [send_ses_email.delay(*ARGUMENTS) for _ in range(5)]
    accepted += group(send_ses_email.s(*ARGUMENTS) for _ in range(3)).apply_async()
    assert len(silent.taken) == tries
    ledger = client_of(app).ledger
    assert {ledger.status(result.id).state for result in accepted} == {State.QUEUED}
    said = [record for record in caplog.records if "took no ticket" in record.getMessage()]
    assert [record.levelno for record in said] == [logging.WARNING]


@pytest.mark.parametrize("app", ["redis://127.0.0.1:{}/0"], indirect=True)
def test_a_group_waits_for_a_broker_that_keeps_silent_no_longer_than_one_email_does(
    app: Celery, silent: Silent
) -> None:
    """Celery hands its members a producer of its own, which waits for minutes."""
    results = group(send_ses_email.s(*ARGUMENTS) for _ in range(3)).apply_async()
    assert {client_of(app).ledger.status(result.id).state for result in results} == {State.QUEUED}
    assert len(silent.taken) <= 4
