"""What happened, in order: for the digest that tells whether two histories are the same, and for people."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from greenlet import getcurrent

from tests.simulation.scheduler import START

MISFORTUNES = ("FAULT", "freezes", "ends", "PEACE", "Redis comes back", "Redis is away")
"""How what is told of misfortunes begins."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened."""

    at: float
    who: str
    what: str
    about: str

    def __str__(self) -> str:
        return f"{self.at - START:10.3f}  {self.who:<18} {self.what} {self.about}".rstrip()


class Story:
    """A history, as it is written."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lines: list[Line] = []
        self._hash = hashlib.sha256()

    def tell(self, what: str, about: str = "") -> None:
        """Something happened, in the fiber that runs."""
        fiber = getcurrent()
        process = getattr(fiber, "process", None)
        who = f"{process.name}/{fiber.name}" if process else ""
        line = Line(self._clock(), who, what, about)
        self._lines.append(line)
        self._hash.update(f"{line.at!r} {who} {what} {about}\n".encode())

    @property
    def digest(self) -> str:
        """The same for the same history."""
        return self._hash.hexdigest()[:16]

    def of(self, send_id: str) -> Iterator[Line]:
        """What is worth reading where a rule is broken for a send: all of it, and the misfortunes of its time that were
        Redis' own, or of a process that had to do with it.
        """
        its = [line for line in self._lines if send_id in line.about.split()]
        if not its:
            yield from self._lines[-40:]
            return
        first, last = its[0].at, its[-1].at
        processes = {line.who.partition("/")[0] for line in its}
        for line in self._lines:
            words = line.about.split()
            whose = words[0] if words else line.who.partition("/")[0]
            concerns_it = whose in processes or "redis" in line.what.lower() or line.what == "PEACE"
            if send_id in words or (first <= line.at <= last and line.what.startswith(MISFORTUNES) and concerns_it):
                yield line
