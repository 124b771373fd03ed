"""The parts of a worker's process, for tests of how they work together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from sesmail import runtime
from sesmail.embedded import EmbeddedRedis


@pytest.fixture
def parts(redis: Redis, redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> Iterator[runtime.Runtime]:
    """Everything real, but nobody listens where SES should be, and nobody waits long for the rate."""
    said = {"redis_url": redis_server.url, "endpoint_url": "http://127.0.0.1:1", "region": "us-east-1"}
    monkeypatch.setattr(runtime, "_said", said | {"patience_seconds": 0.1})
    monkeypatch.setattr(runtime, "_current", None)
    yield runtime.current()
    runtime.current().lease.stop()
