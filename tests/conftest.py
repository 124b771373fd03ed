"""What all tests share. A developer's own environment must not change their outcome."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from redis import Redis

from sesmail import hosts
from sesmail.embedded import EmbeddedRedis
from sesmail.state.keys import Keys
from sesmail.state.scripts import Scripts

pytest_plugins = ["sesmail.testing.pytest_plugin"]

MADE_UP_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "AWS_EC2_METADATA_DISABLED": "true",
}
FOREIGN = ("SESMAIL_", "AWS_", "CELERY_", "DJANGO_", "FLOWER_", "PYTEST_ADDOPTS")


# A busy machine is no fault of what is tested.
settings.register_profile(
    "busy machine", parent=settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy machine")


def pytest_configure() -> None:
    """SIGTERM ends the tests as Ctrl-C does: together with the servers that they started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> Iterator[None]:
    """No settings from the shell; made-up credentials, so that nothing ever reaches AWS."""
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith(FOREIGN)]:
            environment.delenv(name)
        for name, value in MADE_UP_CREDENTIALS.items():
            environment.setenv(name, value)
        yield


@pytest.fixture(autouse=True)
def no_flask_of_another_test() -> Iterator[None]:
    """Or the next test's emails would be sent by its settings."""
    yield
    hosts._flask_apps.clear()
    hosts._latest_flask_app.clear()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """One server for all tests that do not kill it."""
    with EmbeddedRedis(Path(tmp_path_factory.mktemp("redis")), appendfsync="no") as server:
        yield server


@pytest.fixture
def redis(redis_server: EmbeddedRedis) -> Iterator[Redis]:
    """An empty Redis."""
    with Redis.from_url(redis_server.url) as client:
        client.flushdb()
        yield client


@pytest.fixture
def scripts(redis: Redis) -> Scripts:
    """The scripts on an empty Redis, by Redis' own clock."""
    return Scripts(redis, Keys())


class ClockedScripts(Scripts):
    """The scripts by a clock that the test sets, instead of Redis' own. Scripts are otherwise as they are."""

    START_MS = 1_800_000_000_000

    def __init__(self, redis: Redis, keys: Keys) -> None:
        super().__init__(redis, keys)
        self.advance(0)

    @property
    def now_ms(self) -> int:
        return int(self.redis.get("test-clock-ms") or self.START_MS)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.redis.set("test-clock-ms", self.now_ms + round(seconds * 1000))

    def prelude(self) -> str:
        return super().prelude() + "\nnow_ms = function() return tonumber(redis.call('GET', 'test-clock-ms')) end"


@pytest.fixture
def clocked_scripts(redis: Redis) -> ClockedScripts:
    """The scripts on an empty Redis, by the test's clock."""
    return ClockedScripts(redis, Keys())
