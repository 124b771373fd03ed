"""The Celery tasks. `send_ses_email.delay(...)` writes the email to the ledger; its ticket holds the id alone."""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import asdict
from typing import Any

from celery import signals
from celery.utils.time import get_exponential_backoff_interval
from kombu.exceptions import ChannelError

from sesmail import runtime, worker
from sesmail.carrier import task
from sesmail.errors import InvalidEmail, OutcomeUnknown, SendRejected, SendThrottled, SesUnavailable, StaleClaim
from sesmail.events import ANNOUNCE_EVERY_SECONDS
from sesmail.message import Lane
from sesmail.send_task import SendTask, checked_id, email_of
from sesmail.sending.mailer import SendPostponed
from sesmail.sending.sweeper import Sweeper
from sesmail.state.ledger import Claim, Ticket
from sesmail.worker.queues import EVENTS_QUEUE, declared_queue

log = logging.getLogger("sesmail")

LONGEST_BACK_OFF_SECONDS = 600
"""AWS advises to wait up to ten minutes when the send rate is exceeded."""

LARGEST_LOT = 50

EVENTS_BATCH = 500
EVENTS_TURN_SECONDS = 10.0
"""How long a batch of events may take before another worker begins with the next."""


def lot_size(lane: Lane, max_send_rate: float) -> int:
    """How many emails one ticket should name: of bulk a tenth of a second's work of the account, and 1 at small rates.

    With a worker's sixteen threads that is less than two seconds of work that one worker holds.
    """
    if lane is not Lane.BULK:
        return 1
    return LARGEST_LOT if max_send_rate < 0 else max(1, min(LARGEST_LOT, int(max_send_rate / 10)))


@task(
    "sesmail.send_ses_email",
    bind=True,
    base=SendTask,
    acks_late=True,
    reject_on_worker_lost=True,
    autoretry_for=(SendThrottled, SesUnavailable),
    throws=(SendRejected, InvalidEmail),  # no bugs: one line of the log, no traceback; the ledger has the reason
    retry_backoff=True,
    retry_backoff_max=LONGEST_BACK_OFF_SECONDS,
    retry_jitter=True,
    max_retries=None,
    typing=False,
)
def send_ses_email(self: Any, *args: Any, send_id: str | None = None, **email: Any) -> dict[str, str | None]:
    """Send one email through SES: the worker's half.

    A ticket names a send of the ledger. A client without sesmail gives the email itself; it is written down first,
    under the task's id.
    """
    mailer = runtime.current().mailer
    claim = mailer.claim(send_id or _take_over(self.request.id, args, email))
    if not isinstance(claim, Claim):
        return {"state": claim or "gone"}
    self.request.claim, self.request.retries = claim, claim.waits
    try:
        message_id = mailer.deliver(claim, self.request.hostname)
    except SendPostponed as wait:
        raise self.retry(exc=wait, countdown=wait.seconds) from None
    except StaleClaim:
        return {"state": "stale"}
    return {"state": "sent" if message_id else "unknown", "message_id": message_id}


@task("sesmail.send_lot", bind=True, acks_late=True, reject_on_worker_lost=True, ignore_result=True)
def send_lot(self: Any, send_ids: list[str]) -> dict[str, int]:
    """Send several emails that one ticket names; answers how many came to which end. Each is a send of its own.

    What holds one back (SES out of reach, the line closed, a shutdown) most likely holds back those behind it: they are
    given back at once, rather than kept from other workers for a time-out each.
    """
    claims, ends = iter(runtime.current().mailer.claim_lot(send_ids)), Counter[str]()
    for claim in claims:
        end = _deliver_of_lot(claim, self.request.hostname)
        ends[end] += 1
        if end == "postponed":
            break
    ends.update(_postpone(claim, 0, "one before it in its lot has to wait") for claim in claims)
    return dict(ends)


def _deliver_of_lot(claim: Claim, worker_name: str) -> str:
    mailer = runtime.current().mailer
    try:
        return "sent" if mailer.deliver(claim, worker_name) else "unknown"
    except SendPostponed as wait:
        return _postpone(claim, wait.seconds, str(wait))
    except (SendThrottled, SesUnavailable) as error:
        seconds = get_exponential_backoff_interval(1, claim.waits, LONGEST_BACK_OFF_SECONDS, full_jitter=True)
        return _postpone(claim, seconds, str(error), backs_off=True)
    except SendRejected:
        return "rejected"
    except OutcomeUnknown:
        log.exception("a bug cut off a send while SES was asked", extra={"send_id": claim.send_id})
        return "unknown"
    except StaleClaim:
        return "stale"


def _postpone(claim: Claim, seconds: float, reason: str, *, backs_off: bool = False) -> str:
    try:
        runtime.current().mailer.postpone(claim, seconds, reason, backs_off=backs_off)
    except StaleClaim:
        return "stale"
    return "postponed"


@task("sesmail.sweep", ignore_result=True, acks_late=False)
def sweep() -> dict[str, int]:
    """Requeue what dead workers left, queue what is due, issue lost tickets again; answers what it did, per cause."""
    return asdict(sweeper().sweep())


@task("sesmail.process_ses_events", ignore_result=True, acks_late=False)
def process_ses_events() -> dict[str, int]:
    """Act on what SES has told of this site's emails; answers how many events were processed, and how many failed.

    One call in the fleet works at a time, so that a burst of events leaves the other threads to email; a second one
    helps when a batch takes long. One that fails tries again when its turn has passed.
    """
    parts = runtime.current()
    name, done = f"events:{parts.settings.site}", Counter(processed=0, failed=0)
    while turn := parts.turns.take(name, EVENTS_TURN_SECONDS):
        batch = parts.events.processor.process(limit=EVENTS_BATCH)
        parts.turns.give_back(turn)
        done.update(processed=batch.processed, failed=batch.failed)
        if batch.gathered < EVENTS_BATCH:
            break
    return dict(done)


def process_soon(site: str) -> None:
    """Have a worker process the events of this site. The broker may lose this: workers look by themselves, too.

    Doors announce events once a second, so it is done a second later: what they keep silent about is there by then.
    """
    if site == runtime.current().settings.site:
        options = {"queue": declared_queue(process_ses_events.app, EVENTS_QUEUE), "retry": False}
        process_ses_events.apply_async(countdown=ANNOUNCE_EVERY_SECONDS, expires=EVENTS_TURN_SECONDS, **options)


runtime.on_events(process_soon)


def sweeper() -> Sweeper:
    """The sweeper, publishing through the current Celery app."""
    parts = runtime.current()
    grace_seconds = parts.settings.ticket_grace_seconds
    line, meters = parts.throttle.line, parts.meters
    return Sweeper(parts.ledger, line, meters, _issue, _queue_is_empty, ticket_grace_seconds=grace_seconds)


def _issue(ticket: Ticket, express: bool) -> None:
    send_ses_email.issue(ticket, express=express)


def _queue_is_empty(lane: Lane) -> bool:
    """Whether no ticket waits in a lane's queue."""
    settings = runtime.current().settings
    queue = settings.bulk_queue if lane is Lane.BULK else settings.transactional_queue
    with send_ses_email.app.connection_or_acquire() as connection, connection.channel() as channel:
        try:
            return bool(channel.queue_declare(queue=queue, passive=True).message_count == 0)
        except (ChannelError, *connection.channel_errors):  # a queue that does not exist (yet)
            return True


def _take_over(task_id: str, args: Any, kwargs: dict[str, Any]) -> str:
    """Write down an email that came as the task's own arguments. What is no email is set aside, with its bytes."""
    mailer = runtime.current().mailer
    try:
        return mailer.adopt(checked_id(task_id), email_of(*args, **kwargs))
    except InvalidEmail as error:
        mailer.set_aside(task_id, json.dumps({"args": args, "kwargs": kwargs}, default=str), str(error))
        raise


@signals.celeryd_init.connect
def _prepare_worker(options: dict[str, Any], **_: Any) -> None:
    """A worker that knows these tasks, of whatever app, gets what our work needs."""
    worker.prepare(options)
