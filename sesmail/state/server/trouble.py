"""What Redis' errors mean for who meets them: it heals by itself, or a setting is to be mended."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from redis.exceptions import AuthenticationError, InvalidResponse, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from sesmail.errors import LedgerRefuses, LedgerUnavailable
from sesmail.frames import forget_variables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

SAID_AS_ATTRIBUTE = "sesmail_said_as"
"""Of a client: which setting says its address. redis-py has no place for it."""
MEND = "Mend SESMAIL_REDIS_URL, or the broker's address where that names the ledger."

NOT_GREETED = "HELLO must be called"
"""What a Redis says at length, of RESP and its versions, where a client greets it without a password."""

REFUSALS = {
    "WRONGPASS": f"It refuses the user or password of its address. {MEND}",
    "NOAUTH": f"It wants a password, and its address has none. {MEND}",
    "NOPERM": (
        "It does not permit the user of its address what sesmail needs. Give the user the rights of "
        "docs/reliability.md, or name another in SESMAIL_REDIS_URL."
    ),
    "DB index is out of range": (
        "It has no database of the number that its address names (16 of them, from 0 to 15, unless `databases` says "
        f"otherwise). {MEND}"
    ),
    "MOVED": (
        "It is one node of a cluster, and what is asked for is on another. Name the cluster: "
        "SESMAIL_REDIS_URL=redis+cluster://HOST:6379 (rediss+cluster:// with TLS), and another broker for Celery, "
        "which knows no clusters."
    ),
    "ASK": f"It is one node of a cluster, and what is asked for is on another. {MEND}",
    "invalid username-password": f"It refuses the user or password of its address. {MEND}",
    NOT_GREETED: f"It wants a password, and its address has none. {MEND}",
    "Authentication required": f"It wants a password, and its address has none. {MEND}",
}
"""Beginnings of what Redis says when no waiting helps, with what they mean.

https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors
"""
NOT_AUTHENTICATED = f"It does not let this program in. {MEND}"
NO_REDIS = (
    "What answers there does not speak as Redis does. Where it speaks TLS, the address begins with rediss://, else "
    f"with redis://. {MEND}"
)
NOT_TRUSTED = (
    "Its certificate is not believed. Name the CA that signed it (`?ssl_ca_certs=/path/ca.pem` at the address, or in "
    "`broker_use_ssl`), and the server by a name that its certificate has."
)
NO_TLS = (
    f"TLS cannot be spoken with it: the address begins with rediss://. Where it speaks none, write redis://. {MEND}"
)
SAYS_NOTHING_TO_TLS = "; so does a server that speaks no TLS, to which redis:// leads"

PASSES = {
    "READONLY": "it is a replica: after a failover that ends by itself, else name the primary",
    "OOM": "its memory is full: raise `maxmemory`, or see what fills it",
    "MISCONF": "it cannot write to its disk: see its log, and free the disk",
    "NOREPLICAS": "too few replicas follow it: see `min-replicas-to-write`",
    "BUSY": "somebody's script holds it up: SCRIPT KILL ends it",
    "LOADING": "it is reading its data from the disk",
    "MASTERDOWN": "it is a replica that has lost its primary",
    "CLUSTERDOWN": "its cluster is not complete",
    "TRYAGAIN": "its cluster is moving this slot",
    "UNBLOCKED": "it has just become a replica",
    "max number of clients": "it has as many connections as it takes: raise `maxclients`, or end some",
    "Too many connections": (
        "this program has as many connections to it as `max_connections` of its address lets it have: leave that out"
    ),
    "max clients": "it has as many connections as it takes: raise `maxclients`, or end some",
}
"""Beginnings of what Redis says in conditions that end, with what helps."""
_STRIPPED_BY_REDIS_PY = {
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "BusyLoadingError": "LOADING",
    "MasterDownError": "MASTERDOWN",
    "NoPermissionError": "NOPERM",
    "MovedError": "MOVED",
    "AskError": "ASK",
    "TryAgainError": "TRYAGAIN",
    "ClusterDownError": "CLUSTERDOWN",
    "MaxClientsError": "max clients",
}
"""Errors that redis-py has a class for, without the word in their text."""


class reachable:  # noqa: N801  it reads as a function: `with reachable(redis):`
    """Turn redis-py's errors into ours, by what happens next; `redis` is whose address is told.

    `LedgerUnavailable` for those of connection and of a server that takes no writes for now; `LedgerRefuses` for what
    no waiting mends: a password, a certificate, rights, a database that is not there, something that is no Redis.
    """

    __slots__ = ("_redis",)  # a class, as one made by `contextlib` takes ten times as long

    def __init__(self, redis: Redis | None = None) -> None:
        self._redis = redis

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, RedisError):
            forget_variables(error)
            if meant := meaning(error, address_of(self._redis), said_as_of(self._redis)):
                raise meant from error


def meaning(error: BaseException, address: str = "", said_as: str = "") -> LedgerRefuses | LedgerUnavailable | None:
    """Our error for one of redis-py's; None for a mistake in a call. `said_as` is which setting says the address."""
    if refusal := _refusal(error):
        mend = refusal.replace(MEND, f"Mend it: {said_as} names it.") if said_as else refusal
        return LedgerRefuses.because(said(error), mend, address)
    where = f"{address}, as {said_as} says" if address and said_as else address
    if advice := _beginning(error, PASSES):
        return LedgerUnavailable.because(f"{said(error)}: {advice}", where, answered=True)
    if isinstance(error, RedisConnectionError | RedisTimeoutError):
        silent = isinstance(error, RedisTimeoutError) and address.startswith("rediss:")
        return LedgerUnavailable.because(said(error) + (SAYS_NOTHING_TO_TLS if silent else ""), where)
    return None


def said(error: BaseException) -> str:
    """The first line of an error's text, which names no email; its class where it says nothing."""
    if str(error).startswith(NOT_GREETED):
        return "NOAUTH"
    return str(error).partition("\n")[0][:200].rstrip(".") or type(error).__name__


def address_of(redis: Redis | None) -> str:
    """Where a client connects to, without user and password; empty where it finds that by itself."""
    pool = getattr(redis, "connection_pool", None)
    options = getattr(pool, "connection_kwargs", {})
    if path := options.get("path"):
        return f"unix://{path}?db={options.get('db', 0)}"
    if not (host := options.get("host")):
        return ""
    tls = "s" if "SSL" in getattr(getattr(pool, "connection_class", None), "__name__", "") else ""
    return f"redis{tls}://{f'[{host}]' if ':' in host else host}:{options.get('port', 6379)}/{options.get('db') or 0}"


def said_as_of(redis: Redis | None) -> str:
    """Which setting says its address, and where that is set; empty where that is not known."""
    return getattr(redis, SAID_AS_ATTRIBUTE, "")


def _refusal(error: BaseException) -> str:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NOT_TRUSTED
        if isinstance(cause, ssl.SSLError) and getattr(cause, "reason", "") in {
            "WRONG_VERSION_NUMBER",
            "RECORD_LAYER_FAILURE",
        }:
            return NO_TLS
    if isinstance(error, InvalidResponse):
        return NO_REDIS
    if isinstance(error, AuthenticationError):
        return _beginning(error, REFUSALS) or NOT_AUTHENTICATED
    return _beginning(error, REFUSALS) if isinstance(error, ResponseError) else ""


def _beginning(error: BaseException, table: dict[str, str]) -> str:
    names = [kind.__name__ for kind in type(error).__mro__]
    text = next((_STRIPPED_BY_REDIS_PY[name] for name in names if name in _STRIPPED_BY_REDIS_PY), str(error))
    return next((meant for begins, meant in table.items() if text.startswith(begins)), "")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):  # they may be each other's
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
