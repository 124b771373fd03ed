"""What a worker gets, in whatever Celery app it runs: its queues, a pool that works, its duties, a clean end."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from celery import signals
from celery.exceptions import WorkerShutdown
from celery.worker.control import shutdown as celery_shutdown

from sesmail.celery.broker import PROCESS_EVENTS, SEND, SEND_LOT
from sesmail.celery.current import client_of
from sesmail.celery.internals import answer_control_commands, read_json
from sesmail.celery.queues import STAND_ALONE, consume_lanes, define_ours, lanes, queues_of_ours, routed
from sesmail.celery.strangers import LEAVE_QUEUE, leave_queue
from sesmail.celery.worker.duties import LOOK_AT_REDIS_EVERY_SECONDS, Duties, RepeatingThread
from sesmail.celery.worker.misfits import Misfits
from sesmail.celery.worker.progress import EVERY_SECONDS, BatchesAsTasks
from sesmail.celery.worker.revoke import revoke
from sesmail.celery.worker.shutdown import Bell, linger_less
from sesmail.celery.worker.telling import FirstLines, InTheWay
from sesmail.errors import ConfigurationError, LedgerUnavailable, in_a_line
from sesmail.sending.outbox import LARGEST_LOT
from sesmail.settings import rate_limit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery

    from sesmail.client import Client
    from sesmail.settings import Settings

log = logging.getLogger("sesmail")

UNFIT_POOLS = {
    "gevent": "its acknowledgements stall, and messages of dead workers are never returned",
    "eventlet": "its acknowledgements stall, and messages of dead workers are never returned",
    "solo": "while it waits for SES it can renew no lease and hear no signal",
}
"""Pools that mail must not be trusted to, and why."""


class MailWorker:
    """What one Celery worker does for email, from its set-up to its end."""

    def __init__(self, instance: Any, options: Mapping[str, Any], *, in_a_test: bool = False) -> None:
        """Make it fit. Raises `ConfigurationError` where it must not take email.

        `in_a_test`, Celery's own worker for tests may have any pool.
        """
        self.app: Celery = instance.app
        self._hostname: str = instance.hostname
        stand_alone = is_stand_alone(instance)
        client = client_of(self.app)
        if not in_a_test:
            _check(instance, client)
        _limit_time(self.app, client.settings)
        read_json(self.app, instance.hostname)  # as tickets are written
        consume_lanes(instance, options, client.settings, stand_alone=stand_alone)
        if former := client.former_names:
            with suppress(LedgerUnavailable):  # which the worker waits for; then it is done before it sends
                former.take_over_what_holds_back()
        queues = None if stand_alone else queues_of_ours(client.settings)
        Misfits(instance.consumer, queues, in_groups=client.settings.tickets_in_groups)
        taken = self.app.amqp.queues.consume_from
        takes_events = (routed(self.app, PROCESS_EVENTS) or client.settings.events_queue) in taken
        takes = [name for name in dict.fromkeys(lanes(client.settings)) if name in taken]
        duties = Duties(client, instance.hostname, own_rate=self._own_rate, takes_events=takes_events, takes=takes)
        in_the_way = RepeatingThread("look at what is in the way", InTheWay(client).look, LOOK_AT_REDIS_EVERY_SECONDS)
        as_tasks = RepeatingThread(
            "look at batches for Flower", BatchesAsTasks(client, instance.consumer).look, EVERY_SECONDS
        )
        self._threads: list[RepeatingThread] = [*duties.threads(), in_the_way, as_tasks]
        self._first_lines = None if in_a_test else FirstLines(self.app, client, lanes=takes, **_shape(instance))
        self._bell = Bell()

    def _own_rate(self) -> float | None:
        """The limit of this worker, as Celery's ways of saying it or the settings have it."""
        return rate_limit(self.app.tasks[SEND].rate_limit or client_of(self.app).settings.worker_rate_limit)

    def start(self) -> None:
        """It is ready to work."""
        for thread in self._threads:
            thread.start()
        self._spare_threads()
        if self._first_lines:
            self._first_lines.start()

    def start_child(self) -> None:
        """In a child of a prefork pool: hear of the parent's shutdown."""
        self._bell.listen(self._hand_back)
        self._spare_threads()
        linger_less()

    def _spare_threads(self) -> None:
        client = client_of(self.app)
        if len(client.settings.account_names) > 1:
            client.delivery.spare_threads(self._hostname)

    def stop(self) -> None:
        """Warm shutdown: what waits for its slot goes back; what SES is being asked is finished."""
        self._bell.ring()
        for thread in self._threads:
            thread.stop()
        self._hand_back()

    def _hand_back(self) -> None:
        """Those in this process who wait before they ask SES give their sends back."""
        client_of(self.app).delivery.stop()


def _shape(instance: Any) -> dict[str, Any]:
    """What a worker's command line says of it: its pool, and whether it is to be quiet."""
    pool = instance.pool_cls.__module__.rpartition(".")[2]
    return {"pool": f"{pool}, {instance.concurrency} at a time", "quiet": bool(getattr(instance, "quiet", False))}


LIMIT_SLACK_SECONDS = 30
LAST_WORD_SECONDS = 3600
"""How long a task that has met its soft limit may go on: SES's yes is written down however long Redis is away."""


def _limit_time(app: Celery, settings: Settings) -> None:
    """Limits of our own for the tasks that ask SES, unless somebody has set some for them.

    Those of a host (`task_soft_time_limit`) are meant for other work: they would strike while an email waits for its
    turn, or while SES is asked, and the email would be late, or go out twice. Pools of threads have no limits.
    """
    for name, sends in ((SEND, 1), (SEND_LOT, LARGEST_LOT)):
        task, seconds = app.tasks[name], round(sends * settings.holding_seconds) + LIMIT_SLACK_SECONDS
        if (task.soft_time_limit, task.time_limit) == (app.conf.task_soft_time_limit, app.conf.task_time_limit):
            task.soft_time_limit, task.time_limit = seconds, seconds + LAST_WORD_SECONDS


_workers: dict[str, MailWorker] = {}
"""Those that were set up in this process, by the names that Celery's signals have for them."""


def prepare(app: Celery, options: Mapping[str, Any]) -> None:
    """Connect to the worker that is being set up with these command-line options."""
    logging.getLogger("celery.pool").addFilter(_shows_no_email)
    with suppress(ConfigurationError):  # it is told once Celery has set up what it says it with
        define_ours(app, client_of(app).settings)

    def set_up(instance: Any, **_: Any) -> None:
        try:
            _workers[instance.hostname] = MailWorker(instance, options)
        except ConfigurationError as error:
            _refuse(instance, in_a_line(error), os.EX_CONFIG)
        except Exception as error:
            log.exception("this worker's part for email could not be set up")
            _refuse(instance, f"Setting up its part for email failed ({type(error).__name__}).", os.EX_SOFTWARE)

    signals.celeryd_after_setup.connect(set_up, weak=False, dispatch_uid="sesmail.set_up")
    answer_control_commands(revoke=revoke, shutdown=_shut_down, **{LEAVE_QUEUE: leave_queue})


def _shows_no_email(record: logging.LogRecord) -> bool:
    """At DEBUG, Celery's pool logs each task with its message, which a producer without sesmail put the email into."""
    return SEND not in record.getMessage()


def is_stand_alone(instance: Any) -> bool:
    """Whether a worker is one of the stand-alone app: it is there for email alone."""
    return bool(instance.app.main == STAND_ALONE)


def _refuse(instance: Any, words: str, exit_code: int) -> None:
    """The stand-alone worker ends. A host's goes on with its own tasks: its site must not stop for our setting."""
    if not is_stand_alone(instance):
        with suppress(ConfigurationError):  # then it is not known which they are, and it takes them by its -Q at most
            settings = client_of(instance.app).settings
            instance.app.amqp.queues.deselect([settings.events_queue, *lanes(settings)])
        log.error("%s This worker takes no email.", words)
        return
    print(f"sesmail: {words}\nThe worker did not start. No email is lost: they wait.", file=sys.stderr)  # noqa: T201
    raise WorkerShutdown(exit_code)


def _check(instance: Any, client: Client) -> None:
    """Raise `ConfigurationError` where it must not take email."""
    client.check_not_suppressed()
    _check_pool(instance)
    with suppress(LedgerUnavailable):  # it is asked again with the first email
        client.check_durability()


def _check_pool(instance: Any) -> None:
    pool = instance.pool_cls.__module__.rpartition(".")[2]
    if reason := UNFIT_POOLS.get(pool):
        raise ConfigurationError(f"The {pool} pool cannot send mail: {reason}. Use --pool=threads.")
    if pool == "thread" and getattr(instance, "autoscale", None):
        raise ConfigurationError(
            "Celery cannot scale a pool of threads: with --autoscale, this worker would end when it is to grow. Use "
            "--pool=threads with --concurrency=16, say: threads that wait cost little."
        )


@signals.worker_ready.connect
def _start(sender: Any, **_: Any) -> None:
    if worker := _workers.get(sender.hostname):
        worker.start()


@signals.worker_process_init.connect
def _start_child(sender: str, **_: Any) -> None:
    if worker := _workers.get(sender):
        worker.start_child()


@signals.worker_shutting_down.connect
def _stop(sender: str, **_: Any) -> None:
    if worker := _workers.pop(sender, None):
        worker.stop()


def _shut_down(state: Any, **options: Any) -> None:
    """`celery control shutdown` is a warm shutdown too, but Celery tells nobody of it."""
    _stop(state.hostname)
    celery_shutdown(state, **options)
