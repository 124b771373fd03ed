"""What a worker gets, in whatever Celery app it runs: its queues, a pool that works, its upkeep, a clean end."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from celery import signals
from celery.exceptions import WorkerShutdown
from celery.utils.functional import maybe_list
from celery.worker.control import Panel
from celery.worker.control import revoke as celery_revoke

from sesmail import runtime
from sesmail.carrier import STAND_ALONE
from sesmail.errors import ConfigurationError, EventStoreUnavailable, LedgerUnavailable, MoveRefused, UnknownSend
from sesmail.settings import rate_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from celery import Celery

log = logging.getLogger("sesmail")

SWEEP_QUEUE = "sesmail.sweep"
EVENTS_QUEUE = "sesmail.events"

UNFIT_POOLS = {
    "gevent": "its acknowledgements stall, and messages of dead workers are never returned",
    "eventlet": "its acknowledgements stall, and messages of dead workers are never returned",
    "solo": "while it waits for SES it can renew no lease and hear no signal",
}
"""Pools that mail must not be trusted to, and why."""


def prepare(options: Mapping[str, Any]) -> None:
    """Connect to the worker that is being set up with these command-line options."""
    logging.getLogger("celery.pool").addFilter(_shows_no_email)

    def set_up(instance: Any, **_: Any) -> None:
        try:
            _check_pool(instance)
            _consume_lanes(instance, options)
            _upkeep.extend(_new_upkeep(instance))
            _bells.append(Bell())
        except ConfigurationError as error:
            _refuse(instance, error)

    signals.celeryd_after_setup.connect(set_up, weak=False, dispatch_uid="sesmail.set_up")
    Panel.data["revoke"] = _revoke


def _shows_no_email(record: logging.LogRecord) -> bool:
    """At DEBUG, Celery's pool logs each task with its message, which a producer without sesmail put the email into."""
    return "sesmail.send_ses_email" not in record.getMessage()


def _is_stand_alone(instance: Any) -> bool:
    return bool(instance.app.main == STAND_ALONE)


def _refuse(instance: Any, error: ConfigurationError) -> None:
    """The stand-alone worker ends. A host's goes on with its own tasks: its site must not stop for our setting."""
    if not _is_stand_alone(instance):
        log.error("%s This worker takes no email.", error)
        return
    print(f"sesmail: {error}\nThe worker did not start. No email is lost: they wait.", file=sys.stderr)  # noqa: T201
    raise WorkerShutdown(os.EX_CONFIG)


def _check_pool(instance: Any) -> None:
    pool = instance.pool_cls.__module__.rpartition(".")[2]
    if reason := UNFIT_POOLS.get(pool):
        instance.app.amqp.queues.deselect([EVENTS_QUEUE, *_lanes()])
        raise ConfigurationError(f"The {pool} pool cannot send mail: {reason}. Use --pool=threads.")


def _consume_lanes(instance: Any, options: Mapping[str, Any]) -> None:
    """Consume the lanes' queues, transactional first, unless `-Q` or `-X` say otherwise."""
    queues, lanes = instance.app.amqp.queues, _lanes()
    if not options.get("queues"):
        own = [*queues.consume_from]
        lanes_and_events = [EVENTS_QUEUE, *lanes]  # before the lanes: a full one would hold them up for hours
        stand_alone = _is_stand_alone(instance)
        wanted = [SWEEP_QUEUE, *lanes_and_events, *own] if stand_alone else [*own, *lanes_and_events]
        queues.select([declared_queue(instance.app, name).name for name in wanted])
        queues.deselect(options.get("exclude_queues"))
    missing = [name for name in lanes if name not in queues.consume_from]
    if len(missing) == 1:
        log.warning("this worker consumes one lane but not %s; see that another one does", missing[0])


def _lanes() -> list[str]:
    settings = runtime.current().settings
    return [settings.transactional_queue, settings.bulk_queue]


def declared_queue(app: Celery, name: str) -> Any:
    """The `kombu.Queue` of this name: as the application defines it, else as its producers make up missing ones.

    Both sides must say the same of it, or RabbitMQ refuses the second; and an application may have forbidden to make
    up missing queues.
    """
    queues = app.amqp.queues
    return queues[name] if name in queues else queues.add(queues.new_missing(name))


def _revoke(state: Any, task_id: Any, **options: Any) -> dict[str, Any]:
    """`celery control revoke` and Flower's button: a send is cancelled in the ledger, where every worker sees it.

    Celery's own way would have each worker throw the send's tickets away for as long as it runs, also after an operator
    had it sent again. It still serves for all other tasks, and for emails that are not in the ledger yet.
    """
    done, others = [], []
    for one in maybe_list(task_id) or []:
        answer = _cancel(one)
        if answer is None:
            others.append(one)
        else:
            done.append(f"{one} {answer}")
            _tell_flower(state, one, answer)
    if others:
        return dict(celery_revoke(state, others, **options))
    return {"ok": "; ".join(done)}


def _cancel(send_id: str) -> str | None:
    """What became of a send, or None where the ledger knows none, or cannot be asked."""
    try:
        runtime.current().ledger.cancel(send_id)
    except MoveRefused as error:
        return f"not cancelled: {error}"
    except (UnknownSend, LedgerUnavailable):
        return None
    return "cancelled"


def _tell_flower(state: Any, send_id: str, answer: str) -> None:
    dispatcher = state.consumer.event_dispatcher
    if dispatcher and answer == "cancelled":
        dispatcher.send("task-revoked", uuid=send_id, terminated=False, signum=None, expired=False)


class Upkeep(threading.Thread):
    """Something that every worker does beside sending, again and again: a thread each, so that none holds up others."""

    def __init__(self, what: str, once: Callable[[], object]) -> None:
        super().__init__(name=f"sesmail-{what}", daemon=True)
        self._what = what
        self._once = once
        self._interval_seconds = runtime.current().settings.sweep_interval_seconds
        self._stopped = threading.Event()

    def run(self) -> None:
        """Until stopped."""
        while not self._stopped.is_set():
            try:
                self._once()
            except (LedgerUnavailable, EventStoreUnavailable):
                log.warning("Redis cannot be reached: no %s", self._what)
            except Exception:
                log.exception("a %s failed; it is tried again", self._what)
            self._stopped.wait(self._interval_seconds)

    def stop(self) -> None:
        """Not again."""
        self._stopped.set()


class Monitor:
    """Sweeps, and finds events that wait: every worker is one, so that nobody can forget it."""

    def __init__(
        self,
        sweep: Callable[[], Any],
        process_soon: Callable[[str], None] | None,
        own_rate: Callable[[], float | None],
        worker_name: str,
    ) -> None:
        """`process_soon` has the events of a site processed; None where this worker does not take that on."""
        self._sweep = sweep
        self._process_soon = process_soon
        self._own_rate = own_rate
        self._worker_name = worker_name

    def tell_rate(self) -> None:
        """Let the worker's other processes know its rate limit, which `celery control rate_limit` may have changed."""
        runtime.current().worker_rates.tell(self._worker_name, self._own_rate())

    def once(self) -> None:
        """Look once, where it is this worker's turn: one of the fleet does it in each interval."""
        parts = runtime.current()
        parts.lease.owner()  # also an idle worker's signs of life tell that Redis can be reached
        self.tell_rate()
        if parts.turns.take("sweep", parts.settings.sweep_interval_seconds * 0.9):
            self._sweep()
        if self._process_soon and parts.turns.take("look-for-events", parts.settings.events_interval_seconds * 0.9):
            self._look_for_events(self._process_soon)

    @staticmethod
    def _look_for_events(process_soon: Callable[[str], None]) -> None:
        """Events that another site's doors, or Lambda, have stored were announced to nobody here."""
        parts = runtime.current()
        site = parts.settings.site
        # Other stores are not asked in this thread, which must not be held up.
        if parts.settings.event_store or parts.events.store.counts(site).unprocessed:
            process_soon(site)


class Bell:
    """Tells the children of a prefork worker that a warm shutdown has begun. Celery only gives them no more tasks.

    It is a pipe to which nothing is ever written: it ends for the children that were forked with it when the parent
    closes it. Children that were spawned (`worker_pool_start_method`) hear nothing and sit out their patience.
    """

    def __init__(self) -> None:
        self._parent = os.getpid()
        self._listening, self._ringing = os.pipe()
        self._rung = False

    def ring(self) -> None:
        """In the parent; once more does nothing."""
        if not self._rung:
            self._rung = True
            os.close(self._ringing)

    def listen(self, then: Callable[[], None]) -> None:
        """In a child: have this done when the bell rings, by a thread of its own."""
        if os.getpid() == self._parent:  # Celery's solo pool calls itself a child
            return
        if not self._rung:
            os.close(self._ringing)
        threading.Thread(target=self._wait, args=(then,), name="sesmail-bell", daemon=True).start()

    def _wait(self, then: Callable[[], None]) -> None:
        os.read(self._listening, 1)
        then()


_upkeep: list[Upkeep] = []
_bells: list[Bell] = []


def _new_upkeep(instance: Any) -> list[Upkeep]:
    from sesmail.tasks import process_soon, send_ses_email, sweeper  # noqa: PLC0415  the tasks load this module when a worker starts

    def own_rate() -> float | None:
        return rate_limit(send_ses_email.rate_limit or runtime.current().settings.worker_rate_limit)

    takes_events = EVENTS_QUEUE in instance.app.amqp.queues.consume_from
    monitor = Monitor(lambda: sweeper().sweep(), process_soon if takes_events else None, own_rate, instance.hostname)
    with suppress(LedgerUnavailable):
        monitor.tell_rate()
    return [Upkeep("sweep", monitor.once), Upkeep("check of the limits", _check_limits)]


def _check_limits() -> None:
    runtime.current().account_watch.refresh_if_due()


@signals.worker_ready.connect
def _start(**_: Any) -> None:
    for thread in _upkeep:
        thread.start()


CHILD_LINGERS_SECONDS = 3.0
"""How long a child of a prefork worker waits at its end until the parent has read what became of its tasks.

When a warm shutdown begins, the parent forgets tasks that it has just handed out (`AsynPool.flush`), and reads no more
once the others are done: their children would wait for 30 seconds, billiard's limit, for nothing. Of a child that ends,
the parent reads what is left (`AsynPool.process_flush_queues`).
"""


@signals.worker_process_init.connect
def _start_child(**_: Any) -> None:
    import billiard.pool  # noqa: PLC0415  only these processes have it

    for bell in _bells:
        bell.listen(_hand_back)
        steps = CHILD_LINGERS_SECONDS / billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_INTERVAL
        billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = round(steps)


@signals.worker_shutting_down.connect
def _stop(**_: Any) -> None:
    """Warm shutdown: what waits for its slot goes back; what SES is being asked is finished."""
    for bell in _bells:
        bell.ring()
    for thread in _upkeep:
        thread.stop()
    if _upkeep:
        _hand_back()


def _hand_back() -> None:
    """Those in this process who wait for a slot give their sends back."""
    runtime.current().mailer.stop()
