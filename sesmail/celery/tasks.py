"""The Celery tasks. `send_ses_email.delay(...)` writes the email to the ledger; its ticket holds the id alone."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn

from celery import signals
from celery.exceptions import Reject

from sesmail import tracing
from sesmail.celery import worker
from sesmail.celery.broker import EVENTS_TURN_SECONDS, PROCESS_EVENTS, SEND, SEND_BATCHES, SEND_LOT
from sesmail.celery.current import client_of, task
from sesmail.celery.ending import delivered, not_to_be_had
from sesmail.celery.internals import arguments_of, is_called_as_a_function
from sesmail.celery.queues import STAND_ALONE, declared_queue, routed
from sesmail.celery.send_task import SendTask, UnpacedTask, called_like, email_of
from sesmail.celery.strangers import unknown_here
from sesmail.celery.wishes import caller_of_request
from sesmail.celery.worker import in_tests  # noqa: F401  it listens
from sesmail.errors import (
    InvalidEmail,
    LedgerUnavailable,
    NotSent,
    SendPostponed,
    SendRejected,
    SendThrottled,
    SesUnavailable,
)
from sesmail.frames import shows_no_email
from sesmail.message import Email, Lane
from sesmail.sending.outbox import checked_id
from sesmail.vocabulary import Claim, Postponed

if TYPE_CHECKING:
    from sesmail.client import Client

EVENTS_BATCH = 500


@called_like(Email, Email)
@task(
    SEND,
    bind=True,
    base=SendTask,
    acks_late=True,
    reject_on_worker_lost=True,
    serializer="json",  # whatever the host has: any worker of ours must be able to read it
    autoretry_for=(SendThrottled, SesUnavailable, SendPostponed),
    throws=(SendRejected, NotSent, InvalidEmail),  # no bugs: one line of the log; the ledger has the reason
    max_retries=None,
    typing=False,
)
@shows_no_email
def send_ses_email(self: Any, *args: Any, send_id: str | None = None, **email: Any) -> dict[str, str | None]:
    """Send one email through SES: the worker's half.

    A ticket names a send of the ledger. A client without sesmail gives the email itself; it is written down first,
    under the task's id.
    """
    args, email = arguments_of(self.request, args, email)
    if self.client.is_suppressed:  # called here and now: workers do not start then
        return {"state": self.client.outbox.send(email_of(*args, **email), send_id=self.request.id).state}
    delivery = self.client.delivery
    try:
        send_id = send_id or _take_over(self, args, email)
        claim = delivery.claim(send_id)
        if not isinstance(claim, Claim):
            return not_to_be_had(self, send_id, claim)
        self.request.retries = claim.waits
        outcome = delivery.work(claim, self.request.hostname, trace=tracing.parent_of(self.request))
        if isinstance(outcome, Postponed):
            _retry_later(self, outcome)
        return delivered(self, claim, outcome)
    except LedgerUnavailable as error:
        if is_called_as_a_function(self):
            raise
        raise Reject(error, requeue=True) from None  # this worker stops: another one takes the ticket


def _retry_later(task: Any, waiting: Postponed) -> NoReturn:
    """Raises what `autoretry_for` has Celery retry."""
    task.request.waits_seconds = waiting.seconds  # for `retry`
    if isinstance(waiting.error, SendThrottled | SesUnavailable):
        raise waiting.error
    raise SendPostponed(waiting.seconds, waiting.reason)


@task(
    SEND_LOT,
    bind=True,
    base=UnpacedTask,
    acks_late=True,
    reject_on_worker_lost=True,
    serializer="json",
    ignore_result=True,
)
@shows_no_email
def send_lot(self: Any, send_ids: list[str]) -> dict[str, int]:
    """Send several emails that one ticket names; answers how many came to which end. Each is a send of its own."""
    delivery = client_of(self.app).delivery
    try:
        claims, unknown = delivery.claim_lot(send_ids)
    except LedgerUnavailable as error:  # this worker stops: another one takes the ticket
        raise Reject(error, requeue=True) from None
    if unknown:
        unknown_here(self, {"send_ids": unknown})
    outcomes = delivery.work_lot(claims, self.request.hostname)
    return dict(Counter(type(outcome).__name__.lower() for outcome in outcomes))


@task(
    SEND_BATCHES,
    bind=True,
    base=UnpacedTask,
    acks_late=True,
    reject_on_worker_lost=True,
    serializer="json",
    ignore_result=True,
)
@shows_no_email
def send_batches(self: Any, site: str, lane: str) -> dict[str, int]:
    """Send a part of the batch whose turn it is; the rest gets tickets anew.

    Answers its id and for how many recipients, which Flower shows beside the task.
    """
    client = client_of(self.app)
    if site != client.settings.site:  # it came by a queue that somebody named: its own workers issue another
        return {}
    worked: dict[str, int] = {}
    try:
        client.chunk_worker.work(Lane(lane), self.request.hostname, on_end=worked.__setitem__)
        client.real_batch_office.issue_tickets(Lane(lane))
    except LedgerUnavailable as error:  # this worker stops: another one takes the ticket
        raise Reject(error, requeue=True) from None
    return worked


class QueuedTask(UnpacedTask):
    """A task that goes into a queue of ours, unless the caller names another; beat's entries need not know it."""

    abstract = True

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Celery's, in its own queue."""
        if queue := self._own_queue():
            options.setdefault("queue", declared_queue(self.app, queue))
        return super().apply_async(args, kwargs, **options)

    def _own_queue(self) -> str | None:
        """Sweeps of a host's app stay in its own queues: its workers consume no queue for them."""
        settings = client_of(self.app).settings
        if routed(self.app, self.name):
            return None  # Celery's own way heeds it
        if self.name == PROCESS_EVENTS:
            return settings.events_queue
        return settings.sweep_queue if self.app.main == STAND_ALONE else None


@task("sesmail.sweep", bind=True, base=QueuedTask, serializer="json", ignore_result=True, acks_late=False)
def sweep(self: Any) -> dict[str, int]:
    """Requeue what dead workers left, queue what is due, issue lost tickets again; answers what it did, per cause."""
    return asdict(client_of(self.app).sweeper.sweep())


@task(PROCESS_EVENTS, bind=True, base=QueuedTask, serializer="json", ignore_result=True, acks_late=False)
@shows_no_email
def process_ses_events(self: Any, site: str | None = None) -> dict[str, int]:
    """Act on what SES has told of this site's emails, and tell receivers how its sends have ended.

    Answers how many events were processed, how many failed, and of how many sends was told.

    `site` is whose events were announced: another's are left to its own workers. One call in the fleet works at a time,
    so that a burst of events leaves the other threads to email; a second one helps when a batch takes long. One that
    fails tries again when its turn has passed.
    """
    client, done = client_of(self.app), Counter(processed=0, failed=0)
    if site not in (None, client.settings.site):
        return dict(done)
    turn_name = f"events:{client.settings.site}"
    while turn := client.turns.take(turn_name, EVENTS_TURN_SECONDS):
        batch = client.event_processor.process(limit=EVENTS_BATCH)
        client.turns.give_back(turn)
        done.update(processed=batch.processed, failed=batch.failed)
        if batch.gathered < EVENTS_BATCH:
            break
    return {**done, "told": client.teller.tell_what_ended() + client.batch_teller.tell_what_ended()}


def _take_over(task: Any, args: Any, kwargs: dict[str, Any]) -> str:
    """Write down an email that came as the task's own arguments. What is no email is set aside, with its bytes.

    A worker waits for Redis, and raises `LedgerUnavailable` when it is stopped meanwhile; others raise that at once.
    """
    client: Client = task.client
    request = task.request
    if is_called_as_a_function(task):
        return client.real_outbox.accept(email_of(*args, **kwargs), send_id=checked_id(request.id)).send_id
    patiently = client.delivery.patience.unless_stopped
    try:
        send_id, email = checked_id(request.id), email_of(*args, **kwargs)
        is_here = request.called_directly or request.is_eager
        caller = None if is_here else caller_of_request(task.app, request)
        outbox = client.real_outbox
        return patiently(lambda: outbox.accept(email, send_id=send_id, in_a_hurry=False, caller=caller)).send_id
    except InvalidEmail as error:
        if request.id is None:  # a part of `map` or the like: whoever called is told
            raise
        content, reason = json.dumps({"args": args, "kwargs": kwargs}, default=str), str(error)
        patiently(lambda: client.ledger.set_aside(request.id, content, reason))
        raise


@signals.celeryd_init.connect
def _prepare_worker(instance: Any, options: dict[str, Any], **_: Any) -> None:
    """A worker that knows these tasks, of whatever app, gets what our work needs."""
    worker.prepare(instance.app, options)
