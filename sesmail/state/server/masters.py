"""Who takes the writes by now: where Sentinels watch over several servers, and in a cluster.

Both are asked whenever a connection is made, through redis-py's pool for Sentinels. A connection whose server is no
master any more is dropped, so the next one leads to its successor.

A ledger's keys share one hash tag, so a cluster's ledger is on one node, and its client is one of that node alone.
redis-py's client for clusters is not used: where a slot is being moved it follows ASK to a node that has some of the
keys, and a script would there find half of a ledger. Here, one waits until the slot is on one node again.
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#ask-redirection
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from sesmail.errors import LedgerRefuses

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOOK_EVERY_SECONDS = 1.0
"""A master that is cut off from its Sentinels may answer us for long; what it is told then will be thrown away."""

NO_SENTINEL = (
    "What answers at the address of a Sentinel is none. Nothing was accepted by this call; emails accepted before "
    "wait. Name the Sentinels' own port (26379 by custom) in SESMAIL_REDIS_URL, or write a Redis as redis://HOST:6379/0."
)
NO_CLUSTER = (
    "The Redis is no cluster, or does not tell its user of it (CLUSTER SLOTS). Nothing was accepted by this call; "
    "emails accepted before wait. Write a single Redis as redis://HOST:6379/0 in SESMAIL_REDIS_URL; of a cluster, give "
    "the user the right +cluster|slots."
)


class Finder:
    """Tells several pools where the master is; what one of them learns holds for all."""

    looks_by_itself = False
    """Whether a master can be that no more, and not know it."""

    def __init__(self) -> None:
        self._pools: WeakSet[Any] = WeakSet()
        self._lock = threading.Lock()
        self._looked_at = time.monotonic()

    def pool(self, **options: Any) -> Any:
        """A pool of connections that lead to the master."""
        make: Any = _Pool  # redis-py has no types for it
        made = make("the ledger", self, **options)
        self._pools.add(made)
        return made

    def discover_master(self, service_name: str) -> tuple[str, int]:  # noqa: ARG002  as redis-py calls it
        """Host and port of the master. The other pools are told, too, and drop what leads elsewhere."""
        found = self._find()
        with self._lock:
            for pool in [pool for pool in self._pools if pool.proxy.master_address not in (None, found)]:
                pool.proxy.master_address = found  # connections in use are dropped when they come back
                pool.disconnect(inuse_connections=False)
        return found

    def _find(self) -> tuple[str, int]:
        raise NotImplementedError

    def look_if_due(self) -> None:
        """Ask again from time to time, beside whoever sends: nobody waits for it."""
        now = time.monotonic()
        if self.looks_by_itself and now - self._looked_at >= LOOK_EVERY_SECONDS:
            self._looked_at = now
            threading.Thread(target=self._look, name="sesmail-master", daemon=True).start()

    def _look(self) -> None:
        with suppress(RedisError, LedgerRefuses, RuntimeError):  # whoever needs a new connection will hear of it
            self.discover_master("")
        self._looked_at = time.monotonic()


class Sentinels(Finder):
    """Asks redis-py's Sentinels."""

    looks_by_itself = True

    def __init__(self, hosts: Sequence[tuple[str, int]], master_name: str, options: Mapping[str, Any]) -> None:
        """`options` are those of connections to Sentinels."""
        super().__init__()
        self._master_name = master_name
        make: Any = Sentinel  # redis-py has no types for it
        self._sentinels = make(hosts, sentinel_kwargs=dict(options))

    def _find(self) -> tuple[str, int]:
        try:
            host, port = self._sentinels.discover_master(self._master_name)
        except ResponseError as error:
            raise LedgerRefuses(NO_SENTINEL) from error
        return str(host), int(port)


class SlotOwner(Finder):
    """Asks the nodes of a cluster which of them has a key."""

    def __init__(self, nodes: Sequence[tuple[str, int]], key: str, options: Mapping[str, Any]) -> None:
        """`nodes` are some of the cluster, and tell of the others. `options` are those of their connections."""
        super().__init__()
        self._slot = key_slot(key.encode())
        self._named = tuple(nodes)
        self._learnt: tuple[tuple[str, int], ...] = ()
        self._owner: tuple[str, int] | None = None
        self._options = dict(options)

    def _find(self) -> tuple[str, int]:
        """The owner by the word of others, where there are some: who looks again has had trouble with it."""
        known = dict.fromkeys([*self._learnt, *self._named])
        trouble: RedisError | None = None
        for node in sorted(known, key=lambda node: node == self._owner):
            try:
                self._owner = self._ask(node)
            except AuthenticationError:
                raise
            except ResponseError as error:
                raise LedgerRefuses(NO_CLUSTER) from error
            except RedisError as error:
                trouble = error
            else:
                return self._owner
        raise MasterNotFoundError(f"no node of the cluster tells who has the ledger: {trouble}")

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


class _Pool(SentinelConnectionPool):
    """Of connections to the master."""

    def get_connection(self: Any, *arguments: Any, **options: Any) -> Any:
        """One, after a look at whether that is still the master, where one is due."""
        self.sentinel_manager.look_if_due()
        return super().get_connection(*arguments, **options)


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
