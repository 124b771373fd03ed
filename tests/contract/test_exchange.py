"""Scripts on redis-py's connections, without its client: what others hear of them, and what becomes of broken ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from sesmail.embedded import EmbeddedRedis
from sesmail.state.keys import Keys
from sesmail.state.scripts import Scripts
from sesmail.state.server.connection import connect


@pytest.fixture
def own_scripts(redis_server: EmbeddedRedis) -> Scripts:
    return Scripts(connect(redis_server.url, timeout_seconds=5), Keys())


def test_who_wraps_redis_pys_client_hears_of_every_script_and_reads_no_argument(
    own_scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sentry, ddtrace and OpenTelemetry do, some of them after the first email."""
    heard: list[tuple[Any, ...]] = []
    own_scripts.run("known", "site", "digest of ann@example.com", "")

    def wrapping(asked: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(asked)
        def call(self: Redis, *command: Any, **options: Any) -> Any:
            heard.append(command)
            return asked(self, *command, **options)

        return call

    monkeypatch.setattr(Redis, "execute_command", wrapping(Redis.execute_command))
    own_scripts.run("known", "site", "digest of ann@example.com", "")
    assert [command[0] for command in heard] == ["EVALSHA"]
    assert "ann@example.com" not in repr(heard)


def test_a_connection_that_the_server_has_closed_is_made_anew(own_scripts: Scripts, redis: Redis) -> None:
    assert own_scripts.run("known", "site", "digest", "") == []
    redis.client_kill_filter(_type="normal", skipme=True)
    assert own_scripts.run("known", "site", "digest", "") == []


def test_a_connection_goes_back_to_its_pool_whatever_redis_answers(own_scripts: Scripts) -> None:
    own_scripts.redis.connection_pool.max_connections = 1
    for _ in range(3):
        with pytest.raises(ResponseError, match="no such luck"):
            own_scripts._execute("EVAL", "return redis.error_reply('no such luck')", 0)
    assert own_scripts.run("known", "site", "digest", "") == []


def test_text_of_any_letters_and_bytes_of_any_values_arrive_as_they_are(own_scripts: Scripts) -> None:
    blob = bytes(range(256))
    sent = ("Grüße ☃", blob, 7, 0.25)
    answer = own_scripts._execute("EVAL", "return ARGV", 0, *sent)
    assert answer == ["Grüße ☃".encode(), blob, b"7", b"0.25"]
