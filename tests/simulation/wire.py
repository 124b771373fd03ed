"""The way to the real server: one socket, no more than hiredis. redis-py is told that it talks to Redis."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hiredis
from redis import Redis
from redis._parsers.base import BaseParser
from redis.client import Pipeline
from redis.exceptions import RedisError

from sesmail.embedded import EmbeddedRedis

Command = tuple[Any, ...]


class QuickRedis(EmbeddedRedis):
    """A server that writes nothing to disk, and that is reached by a Unix socket."""

    @property
    def socket_path(self) -> Path:
        return self.folder / "redis.sock"

    def _options(self, port: int) -> list[str]:
        quick = {"appendonly": "no", "unixsocket": str(self.socket_path.absolute()), "hz": "1"}
        quick["hash-seed"] = "sesmail"  # the order of what has none, such as of SCAN, is part of a history
        return super()._options(port) + [part for name, value in quick.items() for part in (f"--{name}", value)]


class Wire:
    """Asks the server, at once and for real."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._reader = hiredis.Reader(replyError=BaseParser.parse_error)

    def ask(self, *commands: Command) -> list[Any]:
        """The answers in order; what the server refused is an exception among them."""
        self._socket.sendall(b"".join(map(hiredis.pack_command, commands)))
        return [self._read() for _ in commands]

    def _read(self) -> Any:
        while (reply := self._reader.gets()) is False:
            data = self._socket.recv(1 << 18)
            if not data:
                raise ConnectionResetError("the server of the simulation is gone")
            self._reader.feed(data)
        return reply

    def close(self) -> None:
        self._socket.close()


Network = Callable[[Sequence[Command]], list[Any]]
"""Brings commands to Redis and answers back, or raises."""


class SimulatedRedis(Redis):
    """redis-py's client over a simulated network."""

    def __init__(self, network: Network) -> None:
        super().__init__(protocol=2)
        self._network = network

    def execute_command(self, *command: Any, **options: Any) -> Any:
        command = tuple(map(_readable, command))
        return _parsed(self, command, options, self._network([command])[0])

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Pipeline:  # type: ignore[override]
        return _Pipeline(self, transaction)

    def close(self) -> None:
        """Nothing is open."""


class _Pipeline(Pipeline):
    def __init__(self, client: SimulatedRedis, transaction: bool) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, transaction, None)
        self._client = client

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        stack, self.command_stack = self.command_stack, []
        stack = [(tuple(map(_readable, command)), options) for command, options in stack]
        replies = self._client._network([command for command, _ in stack]) if stack else []
        if not raise_on_error:
            return replies
        return [_parsed(self._client, *each, reply) for each, reply in zip(stack, replies, strict=True)]


def _readable(argument: Any) -> Any:
    """What watches Redis' client is shown no argument; the simulation's rules must read them."""
    if not isinstance(argument, memoryview):
        return argument
    try:
        return bytes(argument).decode()
    except UnicodeDecodeError:
        return bytes(argument)


def _parsed(client: SimulatedRedis, command: Command, options: dict[str, Any], reply: Any) -> Any:
    if isinstance(reply, RedisError):
        raise reply
    callback = client.response_callbacks.get(command[0])
    if callback is None:
        return reply
    return callback(reply, **{name: value for name, value in options.items() if name != "keys"})
