"""Redis as the simulation has it: by virtual time, watched, and able to forget its last seconds."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from redis.exceptions import RedisError

from tests.simulation.lua import EXPIRIES, MOVES, Script, Texts
from tests.simulation.remembered import NOTHING, Remembered
from tests.simulation.wire import Command, Wire

ROWS = ("send", "blob", "event", "idempotency")
"""What is evicted: of many, so that it is most likely one of these. An index that is gone is gone."""
QUEUE_ARGUMENT = 24
"""Where `accept.lua` is told of the broker's queue."""
NO_LIST = "sim:no-list"
SPOILT = "{spoilt"
ABOUT_ACCOUNTS = ("line", "throttle_reserve")
"""Scripts that are told of with the base of the account of SES that they are about."""
PURGE = b"""
local gone = redis.call('ZRANGEBYSCORE', 'sim:expiries', '-inf', ARGV[1])
for _, name in ipairs(gone) do
  redis.call('DEL', name)
  redis.call('ZREM', 'sim:expiries', name)
end
return gone"""
SET = b"""
local set = redis.call('SET', unpack(ARGV, 2))
if set then redis.call('ZADD', 'sim:expiries', ARGV[1], ARGV[2]) end
return set"""


@dataclass(frozen=True, slots=True)
class Step:
    """A command as it is asked here, and what follows from the replies."""

    asked: tuple[Command, ...]
    answer: Callable[..., Any] = lambda reply: reply


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
        self._remembered = Remembered()
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

    def execute(self, commands: Sequence[Command]) -> list[Any]:
        """The answers of Redis, in one round trip at most; errors are among them."""
        self._purge()
        if len(commands) == 1 and (known := self._remembered.answer(commands[0])) is not NOTHING:
            self.commands += 1
            return [known]
        steps = [self._step(command) for command in commands]
        self.commands += len(steps)
        asked = [command for step in steps for command in step.asked]
        replies = iter(self.wire.ask(*asked) if asked else ())
        return [step.answer(*islice(replies, len(step.asked))) for step in steps]

    def _purge(self) -> None:
        now = self.now()
        if now - self._purged_at >= 1.0 or now < self._purged_at:
            self._purged_at = now
            (gone,) = self.wire.ask(("EVAL", PURGE, 0, self._ms()))
            self._remembered.changed(name.decode() for name in gone)

    def _step(self, command: Command) -> Step:
        match command[0]:
            case "EVALSHA" | "EVAL":
                return self._script(command)
            case "WAIT":
                return Step((), lambda: 1)
            case "SET":
                return self._set(command)
            case "EXPIRE" | "PEXPIRE":
                scale = 1000 if command[0] == "EXPIRE" else 1
                return Step((("ZADD", EXPIRIES, self._ms() + int(command[2]) * scale, command[1]),))
            case "HDEL":
                self._watcher.fields_gone(str(command[1]), command[2:])
            case "PERSIST":
                return Step((("ZREM", EXPIRIES, command[1]),))
        return self._heard(command, command)

    def _heard(self, command: Command, asked: Command) -> Step:
        def answer(reply: Any) -> Any:
            self._remembered.heard(command, reply)
            return reply

        return Step((asked,), answer)

    def _script(self, command: Command) -> Step:
        operation, text, bases, base, *rest = command
        of_account, argv = (rest[0], rest[1:]) if bases == 2 else (base, rest)
        script = (self._texts.by_digest if operation == "EVALSHA" else self._texts.by_text)[text]
        before: tuple[Command, ...] = ()
        if script.name == "accept" and argv[QUEUE_ARGUMENT] and self.refuses_ticket(str(argv[0])):
            before = (("SET", NO_LIST, ""),)
            argv[QUEUE_ARGUMENT] = NO_LIST
        asked = (operation, text, 3, base, of_account, round(self.now() * 1e6), *argv)
        told = of_account if script.name in ABOUT_ACCOUNTS else base

        def answer(*replies: Any) -> Any:
            reply, *moves = replies[len(before) :]
            self._remembered.ran(script.text)
            if not isinstance(reply, RedisError):
                self._tell(script, told, tuple(argv), reply, moves[0] if moves else None)
            return reply

        return Step((*before, asked, *((("LPOP", MOVES, 100_000),) if script.moves else ())), answer)

    def _tell(self, script: Script, base: str, argv: tuple[Any, ...], reply: Any, moves: list[bytes] | None) -> None:
        moved = [
            (send_id, state, int(at_ms) / 1000)
            for _, send_id, state, at_ms in (move.decode().split(" ") for move in moves or ())
        ]
        self._watcher.script(base, script.name, argv, reply, moved)
        if script.name == "accept" and reply[0] == b"accepted" and reply[3] == b"put":
            self.on_ticket(str(argv[QUEUE_ARGUMENT]), str(argv[0]))

    def _set(self, command: Command) -> Step:
        _, name, value, *options = command
        lifetime_ms = 0
        rest: list[Any] = []
        words = iter(options)
        for word in words:
            if word in {"PX", "EX"}:
                lifetime_ms = int(next(words)) * (1000 if word == "EX" else 1)
            else:
                rest.append(word)
        if lifetime_ms:
            return self._heard(command, ("EVAL", SET, 0, self._ms() + lifetime_ms, name, value, *rest))
        return self._heard(command, ("SET", name, value, *rest))

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
        self._remembered.forget()
        return name

    def spoil(self, name: str) -> None:
        """Somebody's hand changes a row."""
        self.wire.ask(("HSET", name, "email", SPOILT))
        self._remembered.changed([name])

    def snapshot(self) -> dict[bytes, bytes]:
        """All that it holds by now."""
        names = sorted(self.wire.ask(("KEYS", "*"))[0])
        dumps = self.wire.ask(*(("DUMP", name) for name in names)) if names else []
        return dict(zip(names, dumps, strict=True))

    def restore(self, snapshot: dict[bytes, bytes]) -> set[str]:
        """Go back to what it held; answers the names of the keys that are not as they were before."""
        before = self.snapshot()
        self._remembered.forget()
        self.wire.ask(("FLUSHDB",), ("SCRIPT", "FLUSH"))
        if snapshot:
            self.wire.ask(*(("RESTORE", name, 0, dump) for name, dump in snapshot.items()))
        names = before.keys() | snapshot.keys()
        return {name.decode() for name in names if before.get(name) != snapshot.get(name)}
