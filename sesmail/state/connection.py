"""The connection to Redis: bounded, so that who waits for it learns soon that it is away."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from redis import Redis
from redis.backoff import ConstantBackoff
from redis.connection import parse_url
from redis.exceptions import MasterDownError, ReadOnlyError
from redis.retry import Retry

from sesmail.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_TIMEOUT_SECONDS = 0.3
"""With one retry, an unreachable Redis is reported within a second."""


_CERTIFICATES = re.compile(r"(?<=ssl_cert_reqs=)CERT_(NONE|OPTIONAL|REQUIRED)\b")


def connect(url: str, *, timeout_seconds: float) -> Redis:
    """A client whose answers are bytes; one command, or its one repetition, takes `timeout_seconds` at most.

    Raises `ConfigurationError` for an address that is none.
    """
    shown(url)
    url = _as_redis_py_writes_it(url)
    keepalive: Mapping[str, Any] = {} if url.startswith("unix:") else {"socket_keepalive": True}  # refused for those
    return Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
        health_check_interval=15,
        retry=Retry(ConstantBackoff(0.05), 1),
        # After a failover behind a stable name, a connection that is kept leads to the old master, now a replica, for
        # ever: https://github.com/redis/redis-py/issues/1764. With these the client drops it and asks once more.
        retry_on_error=[ReadOnlyError, MasterDownError],
        client_name="sesmail",
        redis_connect_func=_greet,
        **keepalive,
    )


def shown(url: str) -> str:
    """An address without user and password: `redis://127.0.0.1:6379/5`. Raises `ConfigurationError` where it is none.

    What redis-py would overlook is refused, too: with it, another database would be used than is meant.
    """
    if not url:  # and not 127.0.0.1: what waits there may be email of somebody else
        raise ConfigurationError(
            "No Redis is named for the ledger, and Celery's broker (`broker_url`) is none that could hold it. Nothing "
            "was done. Set SESMAIL_REDIS_URL, such as redis://HOST:6379/0, in the environment or as a setting, alike "
            "for the application, its workers and the commands."
        )
    try:
        url = _as_redis_py_writes_it(url)
        scheme, _, path, query, fragment = urlsplit(url)
        said: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]  # of redis-py
    except ValueError:  # its words may hold a part of a password
        raise _no_address() from None
    number = "" if scheme == "unix" else path.strip("/")
    if "@" in f"{path}{query}{fragment}" or not (number.isdecimal() or not number):
        raise _no_address()
    database = said.get("db", 0)
    if scheme == "unix":
        return f"unix://{said.get('path', '')}?db={database}"
    host = said.get("host", "localhost")
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{said.get('port', 6379)}/{database}"


def _as_redis_py_writes_it(url: str) -> str:
    """Celery takes `REDIS://`, too, and `CERT_NONE` where redis-py has `none`."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme.lower()}{separator}{_CERTIFICATES.sub(lambda found: found[1].lower(), rest)}"


def _no_address() -> ConfigurationError:
    return ConfigurationError(
        "The address of a Redis (SESMAIL_REDIS_URL, SESMAIL_EVENT_STORE or the broker's) is not written as one. "
        "Nothing was done. Write it like redis://HOST:6379/0, rediss://USER:PASSWORD@HOST:6379/0 or "
        "unix:///run/redis.sock?db=0; in a password, / is written %2F, @ is %40, ? is %3F, # is %23."
    )


def _greet(connection: Any) -> None:
    """What redis-py does once connected, bounded as connecting is: a server that takes the call may yet say nothing."""
    connection._sock.settimeout(CONNECT_TIMEOUT_SECONDS)  # noqa: SLF001  it has no other way
    connection.on_connect_check_health(check_health=False)  # the check would connect anew, and so on
    connection._sock.settimeout(connection.socket_timeout)  # noqa: SLF001
