"""One command and its answer on redis-py's own connections, for half of what its client spends on each.

Connections, their pool, retries, credentials and errors stay redis-py's. Left out is what its client does besides, for
others who listen: where somebody does, the client is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis import Redis, client

if TYPE_CHECKING:
    from redis.connection import Connection

_ASKED = Redis.execute_command
_IS_REDIS_PYS = _ASKED.__globals__ is vars(client)
"""Not so where Sentry, ddtrace or OpenTelemetry had wrapped it before; `functools.wraps` copies all but the globals."""


def unreadable(argument: str | bytes | float) -> memoryview | float:
    """An argument of a command as Redis alone reads it: Sentry, ddtrace and others write down what commands are given.

    They show the `repr` of it, which for a memoryview says nothing: https://github.com/DataDog/dd-trace-py/issues/10226
    """
    if isinstance(argument, str):  # most are
        return memoryview(argument.encode())
    return argument if isinstance(argument, int | float) else memoryview(argument)


class Exchange:
    """Asks one Redis; for any number of threads."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def __call__(self, *command: str | bytes | float) -> Any:
        """The answer to a command, tried again as the connection's `retry` says. Raises redis-py's errors."""
        if not _IS_REDIS_PYS or type(self._redis).execute_command is not _ASKED:  # at any time: Sentry may start later
            name, *arguments = command
            return self._redis.execute_command(name, *map(unreadable, arguments))  # type: ignore[no-untyped-call]
        pool = self._redis.connection_pool
        connection: Any = pool.get_connection()
        try:
            return connection.retry.call_with_retry(
                lambda: _exchanged(connection, command), lambda _: connection.disconnect()
            )
        finally:
            pool.release(connection)


def _exchanged(connection: Connection, command: tuple[str | bytes | float, ...]) -> Any:
    connection.send_packed_command(connection.pack_command(*command))  # type: ignore[no-untyped-call]
    return connection.read_response()
