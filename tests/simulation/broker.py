"""The broker: queues of tickets, at which threads wait. It loses, repeats, reorders and forgets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kombu.exceptions import OperationalError

from sesmail.message import Lane
from sesmail.vocabulary import Ticket
from tests.simulation.faults import Faults
from tests.simulation.scheduler import Fiber, Process, Scheduler

UNACKNOWLEDGED_SECONDS = 40.0
"""How long the broker waits before it gives a dead worker's messages to others."""


@dataclass(slots=True)
class Message:
    """Ids of sends, or the site of which events have come."""

    ids: tuple[str, ...] = ()
    site: str = ""
    lane: str = ""
    """Of a ticket for batches of that site."""
    task_id: str = ""
    """Whose task it is, of a ticket for one send."""
    not_before: float = 0.0


@dataclass(slots=True)
class Queues:
    """Those of one installation."""

    waiting: dict[str, deque[Message]] = field(default_factory=dict)
    takers: deque[Fiber] = field(default_factory=deque)

    def queue(self, name: str) -> deque[Message]:
        return self.waiting.setdefault(name, deque())


class Broker:
    """What a process of an installation has for a `sesmail.sending.outbox.Broker`."""

    def __init__(
        self,
        scheduler: Scheduler,
        faults: Faults,
        queues: Queues,
        on_lost: Callable[[Sequence[str]], None],
        site: str,
    ) -> None:
        self._scheduler, self._faults, self._queues, self._on_lost = scheduler, faults, queues, on_lost
        self._site = site

    # -- what the product asks of it --------------------------------------------------------------------------------

    def issue(
        self,
        tickets: Sequence[Ticket],
        *,
        express: bool = False,
        in_a_hurry: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        lane = Lane.TRANSACTIONAL if express else tickets[0].lane
        ids = tuple(ticket.send_id for ticket in tickets)
        self._scheduler.sleep(0.0005)
        if self._faults.strikes("broker_away") or self._faults.strikes("ticket_lost", " ".join(ids)):
            self._on_lost(ids)
            return
        copies = 2 if self._faults.strikes("ticket_twice", " ".join(ids)) else 1
        for _ in range(copies):
            self._put(lane.value, Message(ids=ids, task_id=tickets[0].task_id or ids[0]))
        if self._faults.strikes("broker_flushed"):
            self._flush()

    def send_batches(self, lane: Lane, count: int) -> None:
        for _ in range(count):
            self._scheduler.sleep(0.0005)
            if not self._faults.strikes("broker_away") and not self._faults.strikes("ticket_lost", self._site):
                self._put(f"batches {self._site}", Message(site=self._site, lane=lane.value))

    def is_empty(self, lane: Lane) -> bool:
        self._scheduler.sleep(0.0005)
        if self._faults.strikes("broker_away"):
            raise OperationalError("the broker is away")
        return not self._queues.queue(lane.value)

    def process_events(self, site: str) -> None:
        """As `CeleryBroker` does: a second later."""
        if site == self._site and not self._faults.strikes("ticket_lost", site):
            later = self._scheduler.now + 1.0
            self._scheduler.spawn(
                Process("broker"),
                lambda: self._put(f"events {site}", Message(site=site, not_before=later)),
                "broker",
                1.0,
            )

    # -- what workers do --------------------------------------------------------------------------------------------

    def take(self, stopped: Callable[[], bool]) -> Message | None:
        """The next message for a worker of this site; waits for one. None when the worker takes no more."""
        while not stopped():
            for name in (f"events {self._site}", "transactional", f"batches {self._site}", "bulk"):
                if queue := self._queues.queue(name):
                    if len(queue) > 1 and self._faults.strikes("ticket_overtaken"):
                        queue.rotate(-1)
                    return queue.popleft()
            fiber = self._scheduler.current()
            self._queues.takers.append(fiber)
            self._scheduler.park()
        return None

    def give_back(self, messages: Sequence[Message], delay_seconds: float = UNACKNOWLEDGED_SECONDS) -> None:
        """A worker died with these; or could not begin with them."""
        for message in messages:
            kind = "batches" if message.lane else "events"
            name = f"{kind} {message.site}" if message.site else "transactional"

            def put(message: Message = message, name: str = name) -> None:
                self._put(name, message)

            self._scheduler.spawn(Process("broker"), put, "broker", delay_seconds)

    def _put(self, name: str, message: Message) -> None:
        self._queues.queue(name).append(message)
        self.wake_all()

    def wake_all(self) -> None:
        """Whoever waits looks again: those of one site have no use for another's events."""
        takers, self._queues.takers = self._queues.takers, deque()
        for fiber in takers:
            if not fiber.dead and not fiber.process.dead:
                self._scheduler.wake(fiber)

    def _flush(self) -> None:
        for queue in self._queues.waiting.values():
            self._on_lost([send_id for message in queue for send_id in message.ids])
            queue.clear()
