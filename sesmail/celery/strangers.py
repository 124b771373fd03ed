"""Tickets of sends that this installation's ledger does not know: somebody else's, most likely."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.worker.control import cancel_consumer

from sesmail.celery.current import client_of
from sesmail.celery.queues import former_queues
from sesmail.occasional import Occasional

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("sesmail")

LEAVE_QUEUE = "sesmail_leave_queue"
"""The command that a child of a prefork pool can reach its worker by, too."""

_once_a_minute = Occasional(60.0)


def leave_queue(state: Any, queue: str) -> Any:
    """Take no more from a queue whose name earlier releases gave to all installations.

    Another installation's worker may have the same name, as all of one machine have by default: its own queue it keeps.
    """
    if queue in former_queues(client_of(state.app).settings, stand_alone=True):
        return cancel_consumer(state, queue)
    return None


def unknown_here(task: Any, kwargs: Mapping[str, Any]) -> str:
    """A ticket has come whose sends this ledger does not know; answers `gone`, the task's result.

    In a queue whose name earlier releases gave to all installations, it is another's: it is put back, and this worker
    no longer takes from there. What of its own is left there is issued again by the sweeper, under today's names.
    """
    queue = (task.request.delivery_info or {}).get("routing_key", "")
    if queue in former_queues(client_of(task.app).settings, stand_alone=True):
        to = {"destination": [task.request.hostname], "reply": False}
        task.app.control.broadcast(LEAVE_QUEUE, arguments={"queue": queue}, **to)
        # Celery's own way to publish: that of `send_ses_email` leads through the ledger.
        Task.apply_async(task, (), dict(kwargs), task_id=task.request.id, queue=queue)
        meaning = "it is put back, and this worker no longer takes from that queue"
    else:
        meaning = "no email goes out by it here"
    if _once_a_minute.is_due():
        log.warning(
            "A ticket came through the queue %s whose send this ledger does not know: %s. Either another installation "
            "uses this broker with the same queue names (give each a SESMAIL_KEY_PREFIX of its own), or this ledger "
            "has lost or forgotten the send.",
            queue,
            meaning,
        )
    return "gone"
