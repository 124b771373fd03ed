"""What a worker gets, in whatever Celery app it runs: its queues, a pool that works, its upkeep, a clean end."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from celery import signals
from celery.exceptions import WorkerShutdown
from celery.worker.control import Panel
from celery.worker.control import shutdown as celery_shutdown

from sesmail import runtime
from sesmail.carrier import STAND_ALONE
from sesmail.errors import ConfigurationError
from sesmail.worker.queues import EVENTS_QUEUE, consume_lanes, lanes
from sesmail.worker.revoke import revoke
from sesmail.worker.shutdown import Bell, linger_less
from sesmail.worker.upkeep import Upkeep, upkeep_of

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("sesmail")

UNFIT_POOLS = {
    "gevent": "its acknowledgements stall, and messages of dead workers are never returned",
    "eventlet": "its acknowledgements stall, and messages of dead workers are never returned",
    "solo": "while it waits for SES it can renew no lease and hear no signal",
}
"""Pools that mail must not be trusted to, and why."""

_upkeep: list[Upkeep] = []
_bells: list[Bell] = []


def prepare(options: Mapping[str, Any]) -> None:
    """Connect to the worker that is being set up with these command-line options."""
    logging.getLogger("celery.pool").addFilter(_shows_no_email)

    def set_up(instance: Any, **_: Any) -> None:
        try:
            _check_pool(instance)
            consume_lanes(instance, options, stand_alone=_is_stand_alone(instance))
            _upkeep.extend(upkeep_of(instance))
            _bells.append(Bell())
        except ConfigurationError as error:
            _refuse(instance, error)

    signals.celeryd_after_setup.connect(set_up, weak=False, dispatch_uid="sesmail.set_up")
    Panel.data |= {"revoke": revoke, "shutdown": _shut_down}


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
        instance.app.amqp.queues.deselect([EVENTS_QUEUE, *lanes()])
        raise ConfigurationError(f"The {pool} pool cannot send mail: {reason}. Use --pool=threads.")


@signals.worker_ready.connect
def _start(**_: Any) -> None:
    for thread in _upkeep:
        thread.start()


@signals.worker_process_init.connect
def _start_child(**_: Any) -> None:
    for bell in _bells:
        bell.listen(_hand_back)
        linger_less()


@signals.worker_shutting_down.connect
def _stop(**_: Any) -> None:
    """Warm shutdown: what waits for its slot goes back; what SES is being asked is finished."""
    for bell in _bells:
        bell.ring()
    for thread in _upkeep:
        thread.stop()
    if _upkeep:
        _hand_back()


def _shut_down(state: Any, **options: Any) -> None:
    """`celery control shutdown` is a warm shutdown too, but Celery tells nobody of it."""
    _stop()
    celery_shutdown(state, **options)


def _hand_back() -> None:
    """Those in this process who wait for a slot give their sends back."""
    runtime.current().mailer.stop()
