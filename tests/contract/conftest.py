"""The parts of a worker's process, for tests of how they work together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from sesmail import Client, Settings
from sesmail.embedded import EmbeddedRedis

NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def client(redis: Redis, redis_server: EmbeddedRedis) -> Iterator[Client]:
    """Everything real, but nobody listens where SES should be, and nobody waits long for the rate."""
    said = {"redis_url": redis_server.url, "endpoint_url": NOBODY, "region": "us-east-1", "patience_seconds": 0.1}
    made = Client(Settings(**said))
    yield made
    made.close()
