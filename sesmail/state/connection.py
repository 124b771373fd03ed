"""The connection to Redis: bounded, so that who waits for it learns soon that it is away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_TIMEOUT_SECONDS = 0.3
"""With one retry, an unreachable Redis is reported within a second."""


def connect(url: str, *, timeout_seconds: float) -> Redis:
    """A client whose answers are bytes; one command, or its one repetition, takes `timeout_seconds` at most."""
    keepalive: Mapping[str, Any] = {} if url.startswith("unix:") else {"socket_keepalive": True}  # refused for those
    return Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
        health_check_interval=15,
        retry=Retry(ConstantBackoff(0.05), 1),
        client_name="sesmail",
        redis_connect_func=_greet,
        **keepalive,
    )


def _greet(connection: Any) -> None:
    """What redis-py does once connected, bounded as connecting is: a server that takes the call may yet say nothing."""
    connection._sock.settimeout(CONNECT_TIMEOUT_SECONDS)  # noqa: SLF001  it has no other way
    connection.on_connect_check_health(check_health=False)  # the check would connect anew, and so on
    connection._sock.settimeout(connection.socket_timeout)  # noqa: SLF001
