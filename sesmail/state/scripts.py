"""Loads the Lua scripts: `lua/*.lua`, one atomic act a file, behind the common prelude and the parts that it needs.

A script whose first line reads `-- needs: rows` gets `lua/rows.lua` put before it.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from redis.exceptions import (
    AuthenticationError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from sesmail.errors import LedgerRefuses, LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

    from sesmail.state.keys import Keys


TAKES_NO_WRITES = (OutOfMemoryError, ReadOnlyError, MasterDownError)
TAKES_NO_WRITES_WORDS = ("MISCONF", "NOREPLICAS", "BUSY", "CLUSTERDOWN", "TRYAGAIN", "ASK")
"""Memory is full, a replica after a failover, the disk is full, somebody's long script, a cluster that is moving slots:
conditions that end, not mistakes in a call.

https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors
"""

REFUSED = (
    "Redis refuses the user or password of its address. Nothing was accepted by this call. Mend SESMAIL_REDIS_URL, or "
    "the broker's address where that names the ledger."
)
NO_SUCH_DATABASE = (
    "Redis has no database of the number that its address names (16 of them, from 0 to 15, unless `databases` says "
    "otherwise). Nothing was done. Mend SESMAIL_REDIS_URL, or the broker's address where that names the ledger."
)
NOT_PERMITTED = (
    "Redis does not permit the user of its address what sesmail needs. Nothing is done by this call; emails accepted "
    "before wait. Give the user the rights of docs/reliability.md, or name another in SESMAIL_REDIS_URL."
)
NODE_OF_A_CLUSTER = (
    "The address of Redis names one node of a cluster, and another node has the ledger. Nothing is done by this call; "
    "emails accepted before wait. Name the cluster: SESMAIL_REDIS_URL=redis+cluster://HOST:6379 (rediss+cluster:// "
    "with TLS), and a broker of its own for Celery, which knows no clusters."
)


@contextmanager
def reachable() -> Iterator[None]:
    """Turn redis-py's errors of connection, and of a server that takes no writes for now, into `LedgerUnavailable`.

    A wrong password, a database that the server does not have, or a user who may not do it, is `LedgerRefuses`.
    """
    try:
        yield
    except AuthenticationError as error:  # one of connection, to redis-py
        raise LedgerRefuses(REFUSED) from error
    except (RedisConnectionError, RedisTimeoutError) as error:
        raise LedgerUnavailable.because(error) from error
    except ResponseError as error:
        if isinstance(error, TAKES_NO_WRITES) or str(error).startswith(TAKES_NO_WRITES_WORDS):
            raise LedgerUnavailable.because(error) from error
        if str(error).startswith("DB index is out of range"):
            raise LedgerRefuses(NO_SUCH_DATABASE) from error
        if isinstance(error, NoPermissionError):
            raise LedgerRefuses(NOT_PERMITTED) from error
        if isinstance(error, MovedError):
            raise LedgerRefuses(NODE_OF_A_CLUSTER) from error
        raise


@cache
def _file(name: str) -> str:
    return (resources.files(__package__) / "lua" / f"{name}.lua").read_text(encoding="utf-8")


class Scripts:
    """Runs scripts by name on one Redis. A server that lost its script cache is given the script again."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self.redis = redis
        self.keys = keys
        self._execute: Callable[..., Any] = redis.execute_command
        self._loaded: dict[str, tuple[str, str]] = {}

    def run(self, name: str, *arguments: str | bytes | float) -> Any:
        """Run `lua/<name>.lua` with KEYS[1] = the base of all keys and the arguments as ARGV.

        A call whose reply was lost may be repeated by the client, so every script answers a repetition as it did the
        first time. Raises `LedgerUnavailable` when Redis cannot be reached.
        """
        text, digest = self.loaded(name)
        with reachable():
            try:  # not through redis-py's Script, which costs as much again as the call
                return self._execute("EVALSHA", digest, 1, self.keys.base, *arguments)
            except NoScriptError:
                return self._execute("EVAL", text, 1, self.keys.base, *arguments)

    def loaded(self, name: str) -> tuple[str, str]:
        """The text of a script, and Redis' own name for it."""
        found = self._loaded.get(name)
        if found is None:
            text = self.source(name)
            found = self._loaded[name] = text, hashlib.sha1(text.encode()).hexdigest()  # noqa: S324  as Redis does it
        return found

    def source(self, name: str) -> str:
        """The text of a script as Redis gets it."""
        text = _file(name)
        needs = re.match(r"-- needs: (.+)\n", text)
        parts = needs[1].split(", ") if needs else []
        return "\n".join([self.prelude(), *map(_file, parts), text])

    def prelude(self) -> str:
        """What stands before every script; a test replaces the clock in it."""
        return _file("prelude")
