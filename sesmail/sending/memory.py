"""What a process keeps where no email is to reach people: sends, opt-outs and events, in its memory instead of Redis.

A client keeps its own where email is suppressed by settings or by a test runner; `sesmail.testing` gives each test a
new one, for all clients of the process, by `switch`.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sesmail.events.stores.memory import MemoryEventStore
from sesmail.state.people.memory import MemoryOptOuts, MemoryReputation, Outage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sesmail.message import Email, Lane
    from sesmail.settings import Settings
    from sesmail.vocabulary import Status, Ticket

MOST_SENDS = 1_000
"""How many a client keeps that nobody looks at; the oldest make room."""


@dataclass(kw_only=True, slots=True)
class Kept:
    """An email that was accepted, and what became of it. Times are epoch seconds."""

    email: Email = field(repr=False)
    settings: Settings
    """Those of the client that accepted it."""
    status: Status
    due_at: float
    expires_at: float | None
    token: str | None = None
    owner: str = ""
    """The worker that claimed it last."""
    express: bool = False
    content: str = ""
    """The digest of what it says; empty where nobody could mean another by its id or key."""
    evidence: str | None = None
    """The message id of an event that came while SES was asked."""
    dropped: tuple[str, str, str] | None = None
    """The message id, the code and the reason, of an event that came while SES was asked: it was dropped."""
    dropped_ids: set[str] = field(default_factory=set)
    """The message ids of all that SES has dropped of it."""
    tickets: list[Mapping[str, Any]] = field(default_factory=list)
    """The caller's options for publishing each of its tickets."""


class Memory:
    """Everything that is kept, and a clock that can be put forward."""

    def __init__(self, *, most_sends: int | None = None) -> None:
        """Without `most_sends` there is no bound: for tests, which end."""
        self.outage = Outage()
        self.sends: dict[str, Kept] = {}
        self.idempotency: dict[tuple[str, str], tuple[str, float]] = {}
        """By site and key of a caller's: the id of the send that it stands for, and until when."""
        self.untold: dict[str, None] = {}
        """The ids of those that have ended since somebody was told of it, in order."""
        self.opt_outs = MemoryOptOuts(self.outage)
        self.reputation = MemoryReputation(self.outage)
        self.events = MemoryEventStore(is_away=lambda: self.outage.is_on)
        self.broker = MemoryBroker(self)
        self.lock = threading.RLock()
        self._most_sends = most_sends
        self._ahead_seconds = 0.0

    def now(self) -> float:
        """Epoch seconds, by the clock of this memory."""
        return time.time() + self._ahead_seconds

    def time_passes(self, seconds: float) -> None:
        """Put its clock forward."""
        self._ahead_seconds += seconds

    def keep(self, send_id: str, kept: Kept) -> None:
        """Keep a send; the oldest one makes room."""
        self.sends[send_id] = kept
        if self._most_sends is not None and len(self.sends) > self._most_sends:
            forgotten = self.sends.pop(next(iter(self.sends)))
            self.idempotency.pop((forgotten.settings.site, forgotten.email.idempotency_key or ""), None)
            self.untold.pop(forgotten.status.send_id, None)

    def clear(self) -> None:
        """Forget everything."""
        with self.lock:
            self.sends.clear()
            self.idempotency.clear()
            self.untold.clear()
            self.opt_outs.clear()
            self.reputation.clear()
            self.events.clear()


class MemoryBroker:
    """Notes with each send how its ticket was to be published. Nobody takes tickets from it."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def issue(
        self,
        tickets: Sequence[Ticket],
        *,
        express: bool = False,  # noqa: ARG002  the protocol's
        in_a_hurry: bool = False,  # noqa: ARG002
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Note them."""
        for ticket in tickets:
            if kept := self._memory.sends.get(ticket.send_id):  # else another thread has cleared the memory
                kept.tickets.append(dict(options or {}))

    def send_batches(self, lane: Lane, count: int) -> None:
        """Nothing: batches are kept as single emails here."""

    def is_empty(self, lane: Lane) -> bool:  # noqa: ARG002  the protocol's
        """Not known, so that no ticket counts as lost."""
        return False

    def process_events(self, site: str) -> None:
        """Nothing: a test says when."""


# -- the switch of tests ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Switched:
    """What a test has said, for all clients of the process."""

    memory: Memory | None
    """Where email is kept; None: it is sent, whatever the settings and the test runner say."""


_switches: list[Switched] = []


def switched() -> Switched | None:
    """What the test that said something last has said; None outside of such tests."""
    return _switches[-1] if _switches else None


@contextmanager
def switch(memory: Memory | None) -> Iterator[None]:
    """While it lasts, every client of this process keeps email in `memory`; with None, each sends it. For tests."""
    mine = Switched(memory)
    _switches.append(mine)
    try:
        yield
    finally:
        _switches[:] = [each for each in _switches if each is not mine]
