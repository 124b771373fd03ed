"""The broker: queues of tickets, at which threads wait. It loses, repeats, reorders and forgets."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kombu.exceptions import OperationalError

from sesmail.message import Lane
from sesmail.vocabulary import Envelope, Ticket
from tests.simulation.faults import Faults
from tests.simulation.scheduler import Fiber, Process, Scheduler
from tests.simulation.wire import Wire

MISFITS: tuple[dict[str, Any], ...] = (
    {"to": "ann@example.com", "subject": 7},
    {"subject": "to nobody"},
    {"to": "ann@example.com", "subject": "x", "text": "x", "no such field": True},
    {"send_id": "nobody-knows-it"},
)
"""What comes where an email, or the ticket of one, should: the last is a ticket of some other ledger's."""
UNACKNOWLEDGED_SECONDS = 40.0
"""How long the broker waits before it gives a dead worker's messages to others."""
AGAIN_SECONDS = (0.0, 0.0, 1.0, 5.0, 30.0)
"""When a ticket that comes twice comes again."""


@dataclass(slots=True)
class Message:
    """Ids of sends, or the site of which events have come."""

    ids: tuple[str, ...] = ()
    site: str = ""
    lane: str = ""
    """Of a ticket for batches of that site."""
    task_id: str = ""
    """Whose task it is, of a ticket for one send."""
    misfit: Mapping[str, Any] | None = None
    """The arguments of a message that is no ticket of ours."""
    not_before: float = 0.0


@dataclass(slots=True, kw_only=True)
class Queues:
    """Those of one installation."""

    wire: Wire
    prefix: str
    are_the_ledger_s: bool
    """Whether the ledger's Redis is the broker, too: then scripts put tickets into lists of these."""
    waiting: dict[str, deque[Message]] = field(default_factory=dict)
    takers: deque[Fiber] = field(default_factory=deque)
    put: set[str] = field(default_factory=lambda: {lane.value for lane in Lane})
    """The lanes in which scripts may have put tickets since they were last seen empty: only there it is looked."""

    def queue(self, name: str) -> deque[Message]:
        return self.waiting.setdefault(name, deque())

    def list_of(self, lane: str) -> str:
        """The key under which scripts put tickets."""
        return f"sim:queue:{self.prefix}:{lane}"

    def take_put(self, name: str) -> Message | None:
        """The next ticket of a lane that a script has put there."""
        if name not in self.put:
            return None
        (found,) = self.wire.ask(("RPOP", self.list_of(name)))
        if found is None:
            self.put.discard(name)
            return None
        return Message(ids=(found.decode(),), task_id=found.decode())

    def is_empty(self, lane: str) -> bool:
        if lane in self.put:
            (put,) = self.wire.ask(("LLEN", self.list_of(lane)))
            return not put and not self.queue(lane)
        return not self.queue(lane)


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
        self._misfits = itertools.count(1)

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
        message = Message(ids=ids, task_id=tickets[0].task_id or ids[0])
        self._put(lane.value, message)
        if self._faults.strikes("ticket_twice", " ".join(ids)):
            self._put_later(lane.value, message, self._faults.choose(*AGAIN_SECONDS))
        self._put_misfit(lane.value, ids[0])
        if self._faults.strikes("broker_flushed"):
            self._flush()

    def send_batches(self, lane: Lane, count: int) -> None:
        for _ in range(count):
            self._scheduler.sleep(0.0005)
            if not self._faults.strikes("broker_away") and not self._faults.strikes("ticket_lost", self._site):
                self._put(f"batches {self._site}", Message(site=self._site, lane=lane.value))

    def envelope(self, send_id: str, lane: Lane, options: Mapping[str, Any] | None) -> Envelope | None:
        if options or not self._queues.are_the_ledger_s:
            return None
        return Envelope(queue=self._queues.list_of(lane.value), message=send_id)

    def arrived(self, lane: str, send_id: str) -> None:
        """A script has put a ticket there: as uncertain from there on as any."""
        self._queues.put.add(lane)
        if self._faults.strikes("ticket_lost", send_id):
            self._queues.wire.ask(("LREM", self._queues.list_of(lane), 1, send_id))
            self._on_lost([send_id])
        elif self._faults.strikes("ticket_twice", send_id):
            again = Message(ids=(send_id,), task_id=send_id)
            self._put_later(lane, again, self._faults.choose(*AGAIN_SECONDS))
        self._put_misfit(lane, send_id)
        if self._faults.strikes("broker_flushed"):
            self._flush()
        self.wake_all()

    def is_empty(self, lane: Lane) -> bool:
        self._scheduler.sleep(0.0005)
        if self._faults.strikes("broker_away"):
            raise OperationalError("the broker is away")
        return self._queues.is_empty(lane.value)

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
                if message := self._queues.take_put(name):
                    return message
            fiber = self._scheduler.current()
            self._queues.takers.append(fiber)
            self._scheduler.park()
        return None

    def give_back(self, messages: Sequence[Message], delay_seconds: float = UNACKNOWLEDGED_SECONDS) -> None:
        """A worker died with these; or could not begin with them."""
        for message in messages:
            kind = "batches" if message.lane else "events"
            name = f"{kind} {message.site}" if message.site else "transactional"
            self._put_later(name, message, delay_seconds)

    def _put_misfit(self, name: str, send_id: str) -> None:
        """Somebody else's message, at times under the id of a send."""
        if self._faults.strikes("message_is_a_misfit"):
            task_id = send_id if self._faults.choose(0, 0, 1) else f"misfit-{self._site}-{next(self._misfits)}"
            misfit = MISFITS[int(self._faults.choose(*range(len(MISFITS))))]
            self._put(name, Message(task_id=task_id, misfit=misfit))

    def _put_later(self, name: str, message: Message, delay_seconds: float) -> None:
        self._scheduler.spawn(Process("broker"), lambda: self._put(name, message), "broker", delay_seconds)

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
        for lane in Lane:
            name = self._queues.list_of(lane.value)
            put, _ = self._queues.wire.ask(("LRANGE", name, 0, -1), ("DEL", name))
            self._on_lost([send_id.decode() for send_id in put])
