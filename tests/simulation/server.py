"""Redis as the simulation has it: by virtual time, watched, and able to forget its last seconds."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from redis.exceptions import RedisError

from tests.simulation.lua import EXPIRIES, MOVES, Script, Texts
from tests.simulation.wire import Command, Wire

ROWS = ("send", "blob", "event", "idempotency")
"""What is evicted: of many, so that it is most likely one of these. An index that is gone is gone."""
QUEUE_ARGUMENT = 24
"""Where `accept.lua` is told of the broker's queue."""
NO_LIST = "sim:no-list"
ABOUT_ACCOUNTS = ("line", "throttle_reserve")
"""Scripts that are told of with the base of the account of SES that they are about."""
PURGE = b"""
local gone = redis.call('ZRANGEBYSCORE', 'sim:expiries', '-inf', ARGV[1])
for _, name in ipairs(gone) do
  redis.call('DEL', name)
  redis.call('ZREM', 'sim:expiries', name)
end
return gone"""


class Watcher(Protocol):
    """Who is told of everything that Redis has done."""

    def script(
        self, base: str, name: str, argv: tuple[Any, ...], reply: Any, moved: list[tuple[str, str, float]]
    ) -> None:
        """A script has run, and has moved these sends: id, state, epoch seconds."""

    def fields_gone(self, name: str, fields: tuple[Any, ...]) -> None:
        """Fields of a hash are deleted."""


class Server:
    """Runs commands at once. Lifetimes end within a virtual second of their time."""

    def __init__(self, wire: Wire, texts: Texts, watcher: Watcher, clock: Callable[[], float]) -> None:
        self.wire = wire
        self._texts, self._watcher, self._clock = texts, watcher, clock
        self._purged_at = 0.0
        self.commands = 0
        self.skew_seconds = 0.0
        self.refuses_ticket: Callable[[str], bool] = lambda _send_id: False
        """Whether Redis does not let this send's ticket into its queue, of which there was no sign before."""
        self.on_ticket: Callable[[str, str], None] = lambda _queue, _send_id: None
        """A script has put a send's ticket into a queue."""
        wire.ask(("FLUSHDB",), ("SCRIPT", "FLUSH"))

    def now(self) -> float:
        """Epoch seconds by its own clock."""
        return self._clock() + self.skew_seconds

    def execute(self, commands: Iterable[Command]) -> list[Any]:
        """The answers of Redis; errors are among them."""
        if self.now() - self._purged_at >= 1.0 or self.now() < self._purged_at:
            self._purged_at = self.now()
            self.wire.ask(("EVAL", PURGE, 0, self._ms()))
        return [self._one(command) for command in commands]

    def _one(self, command: Command) -> Any:
        self.commands += 1
        match command[0]:
            case "EVALSHA" | "EVAL":
                return self._script(command)
            case "WAIT":
                return 1
            case "SET":
                return self._set(command)
            case "EXPIRE" | "PEXPIRE":
                scale = 1000 if command[0] == "EXPIRE" else 1
                return self._lives(str(command[1]), int(command[2]) * scale)
            case "HDEL":
                self._watcher.fields_gone(str(command[1]), command[2:])
            case "PERSIST":
                return self.wire.ask(("ZREM", EXPIRIES, command[1]))[0]
        return self.wire.ask(command)[0]

    def _script(self, command: Command) -> Any:
        operation, text, bases, base, *rest = command
        of_account, argv = (rest[0], rest[1:]) if bases == 2 else (base, rest)
        script = (self._texts.by_digest if operation == "EVALSHA" else self._texts.by_text)[text]
        if script.name == "accept" and argv[QUEUE_ARGUMENT] and self.refuses_ticket(str(argv[0])):
            self.wire.ask(("SET", NO_LIST, ""))
            argv[QUEUE_ARGUMENT] = NO_LIST
        asked = (operation, text, 3, base, of_account, round(self.now() * 1e6), *argv)
        reply, *moves = self.wire.ask(asked, ("LPOP", MOVES, 100_000)) if script.moves else self.wire.ask(asked)
        if not isinstance(reply, RedisError):
            told = of_account if script.name in ABOUT_ACCOUNTS else base
            self._tell(script, told, tuple(argv), reply, moves[0] if moves else None)
        return reply

    def _tell(self, script: Script, base: str, argv: tuple[Any, ...], reply: Any, moves: list[bytes] | None) -> None:
        moved = [
            (send_id, state, int(at_ms) / 1000)
            for _, send_id, state, at_ms in (move.decode().split(" ") for move in moves or ())
        ]
        self._watcher.script(base, script.name, argv, reply, moved)
        if script.name == "accept" and reply[0] == b"accepted" and reply[3] == b"put":
            self.on_ticket(str(argv[QUEUE_ARGUMENT]), str(argv[0]))

    def _set(self, command: Command) -> Any:
        _, name, value, *options = command
        lifetime_ms = 0
        rest: list[Any] = []
        words = iter(options)
        for word in words:
            if word in {"PX", "EX"}:
                lifetime_ms = int(next(words)) * (1000 if word == "EX" else 1)
            else:
                rest.append(word)
        reply = self.wire.ask(("SET", name, value, *rest))[0]
        if reply is not None and lifetime_ms:
            self._lives(str(name), lifetime_ms)
        return reply

    def _lives(self, name: str, lifetime_ms: int) -> int:
        return int(self.wire.ask(("ZADD", EXPIRIES, self._ms() + lifetime_ms, name))[0])

    def _ms(self) -> int:
        return round(self.now() * 1000)

    # -- what is forgotten ------------------------------------------------------------------------------------------

    def evict(self, rng: random.Random) -> str | None:
        """Give up one row, as where `maxmemory-policy` may evict; its name, where there is one."""
        rows = sorted(name for kind in ROWS for name in self.wire.ask(("KEYS", f"*}}:{kind}:*"))[0])
        if not rows:
            return None
        name: str = rng.choice(rows).decode()
        self.wire.ask(("DEL", name))
        return name

    def snapshot(self) -> dict[bytes, bytes]:
        """All that it holds by now."""
        names = sorted(self.wire.ask(("KEYS", "*"))[0])
        dumps = self.wire.ask(*(("DUMP", name) for name in names)) if names else []
        return dict(zip(names, dumps, strict=True))

    def restore(self, snapshot: dict[bytes, bytes]) -> set[str]:
        """Go back to what it held; answers the names of the keys that are not as they were before."""
        before = self.snapshot()
        self.wire.ask(("FLUSHDB",), ("SCRIPT", "FLUSH"))
        if snapshot:
            self.wire.ask(*(("RESTORE", name, 0, dump) for name, dump in snapshot.items()))
        names = before.keys() | snapshot.keys()
        return {name.decode() for name in names if before.get(name) != snapshot.get(name)}
