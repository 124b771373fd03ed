"""The workers of `celery.contrib.testing.worker`, as pytest's `celery_worker`: they send email, too.

They tell of themselves by signals of their own: https://docs.celeryq.dev/en/stable/userguide/testing.html
"""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from celery.contrib.testing.worker import test_worker_started, test_worker_starting, test_worker_stopped

from sesmail.celery.broker import SEND
from sesmail.celery.current import client_of
from sesmail.celery.queues import consume_lanes
from sesmail.celery.worker import MailWorker, is_stand_alone
from sesmail.errors import ConfigurationError, in_a_line

if TYPE_CHECKING:
    from celery import Celery

log = logging.getLogger("sesmail")

_workers: dict[str, MailWorker] = {}
"""Those that run, by the names of their apps' own ids: a test may have several."""
_OWN_QUEUES = {"queues": True}
"""They have been selected when it is set up."""


@test_worker_starting.connect
def _select_queues(sender: Celery, **_: Any) -> None:
    if SEND not in sender.tasks:
        return
    try:
        client = client_of(sender)
        if not client.is_suppressed:
            stand_alone = is_stand_alone(SimpleNamespace(app=sender))
            consume_lanes(SimpleNamespace(app=sender), {}, client.settings, stand_alone=stand_alone)
    except ConfigurationError as error:
        log.error("%s This test's worker takes no email.", in_a_line(error))  # noqa: TRY400  it is no bug of ours


@test_worker_started.connect
def _start(sender: Celery, worker: Any, **_: Any) -> None:
    if SEND not in sender.tasks:
        return
    try:
        if not client_of(sender).is_suppressed:
            mail = _workers[worker.hostname] = MailWorker(worker, _OWN_QUEUES, in_a_test=True)
            mail.start()
    except ConfigurationError as error:
        log.error("%s This test's worker sends no email.", in_a_line(error))  # noqa: TRY400  it is no bug of ours


@test_worker_stopped.connect
def _stop(sender: Celery, worker: Any, **_: Any) -> None:
    if mail := _workers.pop(getattr(worker, "hostname", ""), None):
        mail.stop()
        client_of(sender).close()  # it has stopped for good: the next test's worker gets parts of its own
