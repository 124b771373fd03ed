"""Tickets over Celery."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from celery import Task
from kombu import pools
from kombu.exceptions import ChannelError, OperationalError

from sesmail.celery.addresses import place_of
from sesmail.celery.envelopes import Envelopes
from sesmail.celery.internals import HeadersKeeper, leads_to
from sesmail.celery.queues import declared_queue
from sesmail.celery.wishes import CONTINUATIONS, Composed, compose, is_rpc, options_of, read
from sesmail.events import ANNOUNCE_EVERY_SECONDS
from sesmail.message import Lane
from sesmail.occasional import Occasional

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from celery import Celery

    from sesmail.settings import Settings
    from sesmail.vocabulary import Envelope, Ticket

log = logging.getLogger("sesmail")

SEND = "sesmail.send_ses_email"
SEND_LOT = "sesmail.send_lot"
SEND_BATCHES = "sesmail.send_batches"
PROCESS_EVENTS = "sesmail.process_ses_events"

TICKET_TIMEOUT_SECONDS = 0.25
"""A ticket is a kilobyte; with one retry, a Redis that hangs holds up a caller for less than a second."""
_ONE_RETRY = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}

FAR_TIMEOUT_SECONDS = 1.0
"""For RabbitMQ and SQS, which are often further away and reached over TLS: for each step of connecting or asking."""
_QUICK_SQS = {
    "connect_timeout": FAR_TIMEOUT_SECONDS,
    "read_timeout": FAR_TIMEOUT_SECONDS,
    "retries": {"total_max_attempts": 1},  # botocore's own make four more, with pauses
}

REST_TIMES = 10
LONGEST_REST_SECONDS = 10.0
"""A broker that has held up a caller in vain is left alone for ten times as long, at most for so long, by those who
cannot wait: their emails are accepted, and the sweeper issues the tickets."""

EVENTS_TURN_SECONDS = 10.0
"""How long a batch of events may take before another worker begins with the next."""
NO_TICKET = (
    "the broker %s took no ticket (%s); it is issued again later, as are those of the next minute. Start it, or mend "
    "`broker_url` (CELERY_BROKER_URL)"
)
AS_TICKETS_GO = {"soft_time_limit": None, "time_limit": None, "serializer": "json"}
"""A host's own limits must not travel with a ticket: the worker has its own for email. And each worker reads JSON."""


class CeleryBroker:
    """A `Broker` over a Celery app, whose tasks are found by their names."""

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._said: dict[str, Occasional] = {}
        self._rests_until = float("-inf")
        self.envelopes = Envelopes(app, settings, lambda task_id, lane: self._by_celery(task_id, lane, {}))

    def issue(
        self,
        tickets: Sequence[Ticket],
        *,
        express: bool = False,
        in_a_hurry: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """One message for all; `options` has the one ticket that is `composed` already, or those of `apply_async`.

        Trouble of the broker is logged, whatever it is: the emails are accepted, so whoever is told of an error and
        calls again sends twice. The sweeper issues the tickets again.
        """
        composed: Composed | None = (options or {}).get("composed")
        start = time.monotonic()
        if in_a_hurry and start < self._rests_until:
            return
        try:
            with self._producer(in_a_hurry) as quickly:
                if composed:
                    if composed.envelope:  # which the ledger had no use for
                        composed = self._by_celery(composed.task_id, tickets[0].lane, {})
                    self._publish_composed(composed, **quickly)
                else:
                    self._publish(tickets, express, {**quickly, **(options or {})})
        except Exception as error:  # noqa: BLE001  each transport has errors of its own
            self._rest_after(time.monotonic() - start)
            passes = isinstance(error, (OperationalError, *self._quick_connection.recoverable_connection_errors))
            self._say_that_none_was_taken(logging.WARNING if passes else logging.ERROR, tickets, error)

    def _rest_after(self, seconds: float) -> None:
        """One that says no at once holds up nobody, and may be back the next moment."""
        if seconds > TICKET_TIMEOUT_SECONDS:
            self._rests_until = time.monotonic() + min(LONGEST_REST_SECONDS, REST_TIMES * seconds)

    def _say_that_none_was_taken(self, level: int, tickets: Sequence[Ticket], error: Exception) -> None:
        """Once a minute for each kind of trouble: an outage meets every email."""
        kind = type(error).__name__
        words = kind
        if level == logging.WARNING or type(error).__module__.startswith("amqp."):  # they know of no email
            said = str(error).partition("\n")[0][:200].rstrip(".")
            words = f"{kind}: {said}" if said else kind
        if self._said.setdefault(kind, Occasional(60.0)).is_due():
            ids = ", ".join(ticket.send_id for ticket in tickets)
            log.log(level, NO_TICKET, place_of(self._app), words, extra={"send_id": ids, "error": kind})

    def _publish(self, tickets: Sequence[Ticket], express: bool, options: dict[str, Any]) -> None:
        lane = Lane.TRANSACTIONAL if express else tickets[0].lane
        options.setdefault("queue", declared_queue(self._app, self._settings.queue_of(lane)))
        options = {**AS_TICKETS_GO, **options}
        if len(tickets) == 1:
            self._publish_one(tickets[0], options)
        else:
            ids = [ticket.send_id for ticket in tickets]
            shown = {"kwargsrepr": f"{{{len(ids)} sends, the first {ids[0]}}}"}
            self._task(SEND_LOT).apply_async((), {"send_ids": ids}, **{**shown, **options})

    def _publish_one(self, ticket: Ticket, options: dict[str, Any]) -> None:
        """A ticket that is issued again, as good as the first: with what was kept of its caller's wishes."""
        task, task_id = self._task(SEND), ticket.task_id or ticket.send_id
        wishes = read(ticket.wishes) or {}
        if ticket.task_id:  # a last one: a worker that knows how the send has ended runs what follows from the row
            wishes = {name: value for name, value in wishes.items() if name not in CONTINUATIONS}
        headers = {"ignore_result": wishes.get("ignore_result", bool(task.ignore_result)), **wishes.get("headers", {})}
        with self._app.producer_or_acquire(options.pop("producer", None)) as producer:
            # Celery's own way to publish: that of the task leads through the ledger. Nobody here waits for the result.
            how = {**options_of(wishes), **options, "ignore_result": True, "add_to_parent": False}
            keeper = HeadersKeeper(producer, task_id, headers)
            Task.apply_async(task, (), {"send_id": ticket.send_id}, task_id=task_id, producer=keeper, **how)

    def send_batches(self, lane: Lane, count: int) -> None:
        """Tickets that name no send: whoever takes one asks which batch's turn it is. Trouble as in `issue`."""
        try:
            options = {"queue": declared_queue(self._app, self._settings.batches_queue), **AS_TICKETS_GO}
            with self._producer(in_a_hurry=False) as quickly:
                for _ in range(count):
                    said = {"site": self._settings.site, "lane": lane.value}
                    self._task(SEND_BATCHES).apply_async((), said, **options, **quickly)
        except Exception as error:  # noqa: BLE001  each transport has errors of its own
            self._say_that_none_was_taken(logging.WARNING, (), error)

    # -- the first ticket -------------------------------------------------------------------------------------------

    def compose(self, task_id: str, lane: Lane, options: Mapping[str, Any]) -> Composed:
        """The first ticket of a send, not published yet, and what is to be kept of the caller's options."""
        if not any(value is not None for name, value in options.items() if name != "task_id"):
            named = options.get("task_id") is not None
            if ready := self.envelopes.composed(task_id, lane, named=named):
                return ready
        return self._by_celery(task_id, lane, options)

    def envelope(self, send_id: str, lane: Lane, options: Mapping[str, Any] | None) -> Envelope | None:
        """The first ticket of a send for the ledger to put into its queue; None where Celery has to publish it."""
        composed: Composed | None = (options or {}).get("composed")
        if options and not composed:
            return None
        composed = composed or self.envelopes.composed(send_id, lane, named=False)
        return composed.envelope if composed else None

    def _by_celery(self, task_id: str, lane: Lane, options: Mapping[str, Any]) -> Composed:
        queue = declared_queue(self._app, self._settings.queue_of(lane))
        how = {"queue": queue, **AS_TICKETS_GO, **options}
        return compose(self._app, self._task(SEND), task_id, how, self._quick_connection)

    def _publish_composed(self, composed: Composed, producer: Any = None, **quickly: Any) -> None:
        with self._app.producer_or_acquire(self._callers_own(composed) or producer) as used:
            self._expect_result(composed, used)
            for body, how in composed.messages:
                used.publish(body, **{**how, **quickly})

    def _callers_own(self, composed: Composed) -> Any:
        """The producer that its caller gave; a group of Celery's gives one that would wait for minutes."""
        given = composed.producer
        return None if given and leads_to(given, self._app.connection_for_write()) else given

    def _expect_result(self, composed: Composed, producer: Any) -> None:
        if not composed.is_ignored:
            self._app.backend.on_task_call(producer, composed.task_id)

    def expect_result(self, composed: Composed) -> None:
        """For a send that waits before its first ticket: with `rpc://`, its result comes to a queue of the caller's."""
        if not is_rpc(self._app):
            return
        try:
            with self._producer(in_a_hurry=True) as quickly:
                self._expect_result(composed, self._callers_own(composed) or quickly["producer"])
        except Exception:  # noqa: BLE001  as in `issue`
            log.debug("the queue for the result could not be declared", extra={"send_id": composed.task_id})

    def _task(self, name: str) -> Any:
        """The task of that name; a program that asks a client alone has not imported it yet."""
        if name not in self._app.tasks:
            self._app.loader.import_task_module("sesmail.tasks")
        return self._app.tasks[name]

    @contextmanager
    def _producer(self, in_a_hurry: bool) -> Iterator[dict[str, Any]]:
        """For callers who cannot wait, a producer that does not: Celery's own waits minutes for a Redis that hangs."""
        if not in_a_hurry:
            yield {}
            return
        with pools.producers[self._quick_connection].acquire(block=True) as producer:
            yield {"producer": producer, "retry_policy": _ONE_RETRY}

    @cached_property
    def _quick_connection(self) -> Any:
        """A pattern for kombu's pool, never connected itself; two threads that make it make the same."""
        connection = self._app.connection_for_write()
        connection.transport_options |= self._timeouts(connection)
        if connection.get_transport_cls().driver_type == "amqp":
            connection.connect_timeout = min(connection.connect_timeout, FAR_TIMEOUT_SECONDS)
        return connection

    def _timeouts(self, connection: Any) -> dict[str, Any]:
        """As options of its transport: each has other names for them."""
        match connection.get_transport_cls().driver_type:
            case "redis":
                timeouts = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), TICKET_TIMEOUT_SECONDS)
                return timeouts | _ONE_RETRY  # the latter, as kombu adds them when it publishes
            case "sqs":
                given = connection.transport_options.get("client-config") or {}
                return {"client-config": {**given, **_QUICK_SQS}}
        return {}

    def is_empty(self, lane: Lane) -> bool:
        """Whether no ticket waits in a lane's queue."""
        with self._app.connection_or_acquire() as connection, connection.channel() as channel:
            try:
                declared = channel.queue_declare(queue=self._settings.queue_of(lane), passive=True)
            except (ChannelError, *connection.channel_errors):  # a queue that does not exist (yet)
                return True
            return bool(declared.message_count == 0)

    def process_events(self, site: str) -> None:
        """Have a worker process the events of this site; those of others find theirs by themselves.

        The broker may lose this: workers look by themselves, too. Doors announce events once a second, so it is done a
        second later: what they keep silent about is there by then.
        """
        if site != self._settings.site:
            return
        self._task(PROCESS_EVENTS).apply_async(
            (), {"site": site}, retry=False, countdown=ANNOUNCE_EVERY_SECONDS, expires=EVENTS_TURN_SECONDS
        )
