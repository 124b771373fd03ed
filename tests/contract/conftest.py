"""The parts of a worker's process, for tests of how they work together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from sesmail import Client, Settings
from sesmail.celery.internals import apps_of_this_process
from sesmail.celery.standalone import STAND_ALONE
from sesmail.embedded import EmbeddedRedis

NOBODY = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _apps_of_a_test_end_with_it() -> Iterator[None]:
    """Or the next test's emails would find several apps, and not know whose they are."""
    yield
    for app in apps_of_this_process():
        if app.main != STAND_ALONE:
            app.close()


@pytest.fixture
def client(redis: Redis, redis_server: EmbeddedRedis) -> Iterator[Client]:
    """Everything real, but nobody listens where SES should be, and nobody waits long for the rate."""
    said = {"redis_url": redis_server.url, "endpoint_url": NOBODY, "region": "us-east-1", "patience_seconds": 0.1}
    made = Client(Settings(**said))
    yield made
    made.close()
