"""Loads the Lua scripts: one atomic act a file, behind the prelude and the parts that it needs.

They lie in the folders of `lua/`, and are called by their names alone: no two have the same. A script whose first line
reads `-- needs: rows` gets `rows.lua` put before it.
"""

from __future__ import annotations

import copy
import hashlib
import re
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError

from sesmail.state.server.exchange import Exchange, unreadable
from sesmail.state.server.trouble import reachable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from redis import Redis

    from sesmail.state.keys import Keys


@cache
def texts() -> dict[str, str]:
    """Every file of Lua by its name: read all at once, so that an upgrade changes nothing below a running worker."""
    rooms = (room for room in (resources.files(__package__) / "lua").iterdir() if room.is_dir())
    files = (file for room in rooms for file in room.iterdir())
    return {file.name.removesuffix(".lua"): file.read_text(encoding="utf-8") for file in files}


_FUNCTION = re.compile(r"^local function (\w+)\(.*?^end\n", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"\w+")


def _without_idle_functions(text: str) -> str:
    """A script without the functions that nothing behind them names: Redis makes each one anew at every call."""
    kept: list[str] = []
    named: set[str] = set()

    def keep(piece: str) -> None:
        kept.append(piece)
        named.update(_NAME.findall(piece))

    end = len(text)
    for function in reversed([*_FUNCTION.finditer(text)]):
        keep(text[function.end() : end])
        if function[1] in named:
            keep(function[0])
        end = function.start()
    return "".join([text[:end], *reversed(kept)])


def _bases(keys: Keys) -> tuple[int | str, ...]:
    """How many KEYS there are, and these."""
    return (1, keys.base) if keys.account_base == keys.base else (2, keys.base, keys.account_base)


class Scripts:
    """Runs scripts by name on one Redis. A server that lost its script cache is given the script again."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self.redis = redis
        self.keys = keys
        self._bases = _bases(keys)
        self._execute: Callable[..., Any] = Exchange(redis)
        self._of_accounts: dict[str, Self] = {}
        self._loaded: dict[str, tuple[str, str]] = {}

    def run(self, name: str, *arguments: str | bytes | float) -> Any:
        """Run a script with KEYS[1] = the base of all keys (KEYS[2]: see keys.py), and the arguments as ARGV.

        A call whose reply was lost may be repeated by the client, so every script answers a repetition as it did the
        first time. Raises `LedgerUnavailable` when Redis cannot be reached.
        """
        text, digest = self.loaded(name)
        with reachable(self.redis):
            try:
                return self._execute("EVALSHA", digest, *self._bases, *arguments)
            except NoScriptError:
                return self._execute("EVAL", text, *self._bases, *arguments)

    def run_each(self, name: str, calls: Sequence[tuple[str | bytes | float, ...]]) -> list[Any]:
        """`run` one script for each of these arguments, in one round trip; each is an act of its own, in their order.

        Raises as `run`; then some may have run.
        """
        _, digest = self.loaded(name)
        with reachable(self.redis), self.redis.pipeline(transaction=False) as pipe:
            queue: Callable[..., Any] = pipe.execute_command
            for arguments in calls:
                queue("EVALSHA", digest, *self._bases, *map(unreadable, arguments))
            answers = pipe.execute(raise_on_error=False)
        # What was refused (a script that is not loaded, a replica that was a master) is asked again by itself.
        return [
            self.run(name, *arguments) if isinstance(answer, Exception) else answer
            for arguments, answer in zip(calls, answers, strict=True)
        ]

    def are_waited_for(self, name: str) -> bool:  # noqa: ARG002  others are
        """Whether more is waited for than the script's answer."""
        return False

    def of_account(self, account: str) -> Self:
        """The same, where what belongs to one account of SES is that of this one."""
        if account == self.keys.account:
            return self
        found = self._of_accounts.get(account)
        if found is None:
            found = self._of_accounts[account] = copy.copy(self)  # all of them share the cache, too
            found.keys = replace(self.keys, account=account)
            found._bases = _bases(found.keys)  # noqa: SLF001  our own
        return found

    def loaded(self, name: str) -> tuple[str, str]:
        """The text of a script, and Redis' own name for it."""
        found = self._loaded.get(name)
        if found is None:
            text = self.source(name)
            found = self._loaded[name] = text, hashlib.sha1(text.encode()).hexdigest()  # noqa: S324  as Redis does it
        return found

    def source(self, name: str) -> str:
        """The text of a script as Redis gets it."""
        text = texts()[name]
        needs = re.match(r"-- needs: (.+)\n", text)
        parts = needs[1].split(", ") if needs else []
        whole = "\n".join([*(texts()[part] for part in parts), text])
        return f"{self.prelude()}\n{_without_idle_functions(whole)}"

    def prelude(self) -> str:
        """What stands before every script; a test replaces the clock in it."""
        return texts()["prelude"]
