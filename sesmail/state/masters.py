"""Who takes the writes by now: where Sentinels watch over several servers, and in a cluster.

Both are asked whenever a connection is made, through redis-py's pool for Sentinels. A connection whose server is no
master any more is dropped, so the next one leads to its successor.

A ledger's keys share one hash tag, so a cluster's ledger is on one node, and its client is one of that node alone.
redis-py's client for clusters is not used: where a slot is being moved it follows ASK to a node that has some of the
keys, and a script would there find half of a ledger. Here, one waits until the slot is on one node again.
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#ask-redirection
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    NoPermissionError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.sentinel import MasterNotFoundError, Sentinel, SentinelManagedConnection, SentinelManagedSSLConnection

from sesmail.errors import LedgerRefuses

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NO_SENTINEL = (
    "What answers at the address of a Sentinel is none. Nothing was accepted by this call; emails accepted before "
    "wait. Name the Sentinels' own port (26379 by custom) in SESMAIL_REDIS_URL, or write a Redis as redis://HOST:6379/0."
)
NO_CLUSTER = (
    "The Redis is no cluster, or does not tell its user of it (CLUSTER SLOTS). Nothing was accepted by this call; "
    "emails accepted before wait. Write a single Redis as redis://HOST:6379/0 in SESMAIL_REDIS_URL; of a cluster, give "
    "the user the right +cluster|slots."
)


class Sentinels(Sentinel):
    """redis-py's Sentinels; where none is one, that is said."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Host and port of the master of a group."""
        try:
            host, port = super().discover_master(service_name)  # type: ignore[no-untyped-call]  # of redis-py
        except ResponseError as error:
            raise LedgerRefuses(NO_SENTINEL) from error
        return str(host), int(port)


class SlotOwner:
    """Which node of a cluster has a key; what redis-py's pool for Sentinels asks for a master."""

    def __init__(self, nodes: Sequence[tuple[str, int]], key: str, options: Mapping[str, Any]) -> None:
        """`nodes` are some of the cluster, and tell of the others. `options` are those of their connections."""
        self._slot = key_slot(key.encode())
        self._named = tuple(nodes)
        self._learnt: tuple[tuple[str, int], ...] = ()
        self._owner: tuple[str, int] | None = None
        self._options = dict(options)

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Host and port of the owner. It is asked itself last: who looks again has had trouble with it."""
        known = dict.fromkeys([*self._learnt, *self._named])
        troubles: list[RedisError] = []
        for node in sorted(known, key=lambda node: node == self._owner):
            try:
                self._owner = self._ask(node)
            except AuthenticationError:
                raise
            except RedisConnectionError as error:
                troubles.append(error)
            except (NoPermissionError, ResponseError) as error:
                raise LedgerRefuses(NO_CLUSTER) from error
            except RedisError as error:
                troubles.append(error)
            else:
                return self._owner
        raise MasterNotFoundError(f"{service_name} is not reached: {troubles[-1]}")

    def _ask(self, node: tuple[str, int]) -> tuple[str, int]:
        host, port = node
        with Redis(host=host, port=port, **self._options) as redis:
            ranges: Any = redis.execute_command("CLUSTER SLOTS")
        self._learnt = tuple(_named(member, host) for _, _, *members in ranges for member in members)
        for first, last, primary, *_ in ranges:
            if first <= self._slot <= last:
                return _named(primary, host)
        raise RedisConnectionError(f"{host}:{port} knows no node that has the ledger's slot {self._slot}")


def _named(member: Sequence[Any], asked: str) -> tuple[str, int]:
    """A node that does not know its own name has that by which it was reached."""
    host = (member[0] or b"").decode()
    return (host if host not in ("", "?") else asked), int(member[1])


class _Owner:
    """A connection to the node that has the ledger, until it has it no more."""

    def read_response(self: Any, *arguments: Any, **options: Any) -> Any:
        """The answer. A node that sends elsewhere, or takes nothing for now, is left; the next one is asked."""
        try:
            return super().read_response(*arguments, **options)  # type: ignore[misc]
        except (AskError, TryAgainError, ClusterDownError) as error:  # a MovedError is an AskError, too
            self.disconnect()
            words = f"{type(error).__name__.removesuffix('Error')}: {error}"
            raise RedisConnectionError(f"this node of the cluster does not have the ledger now ({words})") from error


class OwnerConnection(_Owner, SentinelManagedConnection):
    """In the clear."""


class OwnerSSLConnection(_Owner, SentinelManagedSSLConnection):
    """By TLS."""
