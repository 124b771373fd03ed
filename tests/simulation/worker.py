"""A worker: the bodies of the product's own tasks, called as Celery calls them, and the product's own duties."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from celery.exceptions import Reject, Retry
from kombu.exceptions import OperationalError

from sesmail import Client
from sesmail.celery import tasks
from sesmail.celery.send_task import SendTask
from sesmail.celery.worker.duties import Duties
from sesmail.errors import (
    EventStoreUnavailable,
    InvalidEmail,
    LedgerUnavailable,
    NotSent,
    SendPostponed,
    SendRejected,
    SesError,
)
from tests.simulation.broker import Broker, Message
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.virtual import Event

SEND = tasks.send_ses_email._orig_run.__func__
SEND_LOT = tasks.send_lot.run.__func__
SEND_BATCHES = tasks.send_batches.run.__func__
PROCESS_EVENTS = tasks.process_ses_events.run.__func__
AFTER_RETURN = SendTask.after_return
NO_BUGS = (SendPostponed, NotSent, SesError, LedgerUnavailable, EventStoreUnavailable, Retry, OperationalError)
"""What Celery is told by raising: each is written down in the ledger, or tried again."""


IDLE_PAUSE_SECONDS = 5.0


class Pause(Event):
    """Between two looks of a worker's duties: longer where there is nothing to be seen, as most looks are such."""

    def __init__(self, scheduler: Scheduler, is_idle: Callable[[], bool]) -> None:
        super().__init__(scheduler)
        self._is_idle = is_idle

    def wait(self, timeout: float | None = None) -> bool:
        if timeout and timeout < IDLE_PAUSE_SECONDS and self._is_idle():
            timeout = IDLE_PAUSE_SECONDS
        return super().wait(timeout)


class Worker(Process):
    """One process with some threads for tasks, and the threads that every worker has."""

    def __init__(
        self,
        name: str,
        number: int,
        scheduler: Scheduler,
        client: Client,
        broker: Broker,
        on_bug: Callable[[Exception], None],
        on_end: Callable[[], None],
        is_idle: Callable[[], bool],
    ) -> None:
        super().__init__(name, number)
        self._is_idle = is_idle
        self._on_bug, self._on_end = on_bug, on_end
        self._scheduler, self.client, self.broker = scheduler, client, broker
        self.stopping = False
        self._held: list[Message] = []
        self._working = 0
        self.on_continuation: Callable[[Any, str], None] = lambda _task, _kind: None
        """What follows an email is published, or called."""
        self.on_idle: Callable[[], None] = lambda: None
        """What is done when a stopped worker has finished all that it had begun."""
        self.on_misfit: Callable[[str, Mapping[str, Any]], None] = lambda _task_id, _misfit: None
        """What came as an email and is none was dealt with."""
        self._duties: list[Any] = []

    def start(self, threads: int) -> None:
        """As Celery starts it."""
        self.client.delivery.spare_threads(self.name)
        self._duties = Duties(self.client, self.name, own_rate=lambda: None, takes_events=True).threads()
        for duty in self._duties:
            duty._stopped = Pause(self._scheduler, self._is_idle)
            self._scheduler.spawn(self, duty.run, duty.name)
        self._working = threads
        for number in range(threads):
            self._scheduler.spawn(self, self._work, f"thread-{number}")

    def stop(self) -> None:
        """A warm shutdown: what waits for its slot goes back, what SES is being asked is finished."""
        self.stopping = True
        for duty in self._duties:
            duty.stop()
        self.client.delivery.stop()
        self.broker.wake_all()

    def die(self) -> None:
        """At once."""
        self.dead = True
        self.broker.give_back(self._held)

    def _work(self) -> None:
        while message := self.broker.take(lambda: self.stopping):
            self._held.append(message)
            self._call(message)
            self._on_end()
            self._held.remove(message)
        self._working -= 1
        if not self._working:
            self.on_idle()

    def _call(self, message: Message) -> None:
        try:
            self._body(message)()
        except NO_BUGS:
            return
        except Reject:
            self.broker.give_back([message], 0.1)
        except Exception as error:  # Celery acknowledges the ticket, and its thread goes on
            self._on_bug(error)

    def _body(self, message: Message) -> Callable[[], Any]:
        request = SimpleNamespace(id=message.task_id, retries=0, hostname=self.name, delivery_info=None)
        vars(request).update(called_directly=False, is_eager=False, reply_to=None, answer=None)
        app = SimpleNamespace(main="a host's", client=self.client)
        task = SimpleNamespace(app=app, client=self.client, request=request)
        if message.misfit is not None:
            return lambda: self._set_aside(task, message.misfit)
        task.go_on = lambda _value, _wishes: self.on_continuation(task, "link")
        if message.lane:
            return lambda: SEND_BATCHES(task, message.site, message.lane)
        if message.site:
            return lambda: PROCESS_EVENTS(task, message.site)
        if len(message.ids) == 1:
            return lambda: self._end_as_celery_does(task, message.ids[0])
        return lambda: SEND_LOT(task, list(message.ids))

    def _set_aside(self, task: Any, misfit: Mapping[str, Any]) -> None:
        try:
            SEND(task, **misfit)
        except InvalidEmail:  # one of those that Celery is told of, as `throws` says
            self.on_misfit(task.request.id, misfit)

    def _end_as_celery_does(self, task: Any, send_id: str) -> None:
        """What follows a success the task publishes itself; what follows a failure is Celery's to call."""
        try:
            SEND(task, send_id=send_id)
        except (NotSent, SendRejected):
            if task.request.answer:
                self.on_continuation(task, "link_error")
            AFTER_RETURN(task)
            raise
        AFTER_RETURN(task)
