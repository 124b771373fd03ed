"""What Redis has just said and would say again: most looks of idle workers are such, and need no way to the server.

An answer holds until something may have changed what it is about: a command that names the key, a script whose text speaks of
keys of that kind, the end of a lifetime. `tests/simulation/test_simulation.py` lives histories in which each answer
is compared with the server's own.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import Any

from tests.simulation.wire import Command

LOOKS = frozenset({"EXISTS", "GET", "HGET", "HGETALL", "HKEYS", "HMGET", "ZCARD"})
CHANGES_ANYTHING = re.compile(r"\b(key|of_account)\((?!')|ARGV\[\d+\] \.\. table")
"""Of a script that says only when it is called what it works on."""
NOTHING = object()


class Remembered:
    """Answers by command."""

    def __init__(self) -> None:
        self._answers: dict[Command, Any] = {}
        self._of_kind: dict[str | None, set[Command]] = defaultdict(set)

    def answer(self, command: Command) -> Any:
        """What Redis would say, or `NOTHING` where it must be asked."""
        return self._answers.get(_looked_at(command), NOTHING)

    def heard(self, command: Command, reply: Any) -> None:
        """Redis has answered a command, which is no script's."""
        looked_at = _looked_at(command)
        if looked_at is None:
            self.changed(command[1:])
        elif command[0] == "SET" and reply is not None:
            self.changed(command[1:2])
        elif not isinstance(reply, Exception):
            self._answers[looked_at] = reply
            for name in looked_at[1:]:
                if kind := _kind(name):
                    self._of_kind[kind].add(looked_at)

    def changed(self, names: Iterable[Any]) -> None:
        """Keys are perhaps not what they were; what is no key does no harm."""
        for name in names:
            for command in [each for each in self._of_kind.get(_kind(name), ()) if name in each]:
                self._answers.pop(command, None)

    def ran(self, text: str) -> None:
        """A script has run."""
        spoken_of = _kinds_in(text)
        for kind in [kind for kind in self._of_kind if spoken_of is None or kind in spoken_of]:
            self._forget(kind)

    def forget(self) -> None:
        """Everything may be different."""
        self._answers.clear()
        self._of_kind.clear()

    def _forget(self, kind: str) -> None:
        for command in self._of_kind.pop(kind):
            self._answers.pop(command, None)


def _looked_at(command: Command) -> Command | None:
    """What is remembered of a command: of a SET that takes a turn, that another has it, whatever would be written."""
    if command[0] in LOOKS:
        return command
    return command[:2] if command[0] == "SET" and "NX" in command else None


@cache
def _kinds_in(text: str) -> frozenset[str] | None:
    """The kinds of keys that a script speaks of; None: any."""
    body = text.partition("sim_expire")[2]
    return None if CHANGES_ANYTHING.search(body) else frozenset(re.findall(r"'([\w-]+)'", body))


def _kind(name: Any) -> str | None:
    """`turn` of `{sesmail}:turn:sweep` and of `{sesmail}:account:reserve:turn:account`."""
    _, is_ours, rest = str(name).partition("}:") if isinstance(name, str) else ("", "", "")
    first, _, more = rest.partition(":")
    return (more.split(":")[1] if first == "account" else first) if is_ours else None
