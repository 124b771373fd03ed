"""`celery control revoke` and Flower's button mean cancel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from celery.utils.functional import maybe_list
from celery.worker.control import revoke as celery_revoke

from sesmail.celery.current import client_of
from sesmail.errors import ConfigurationError, LedgerUnavailable, MoveRefused, UnknownSend

if TYPE_CHECKING:
    from celery import Celery

BATCH_ID = re.compile(r"batch_[0-9a-f]{16}")


def revoke(state: Any, task_id: Any, **options: Any) -> dict[str, Any]:
    """`celery control revoke` and Flower's button: a send, or a batch, is cancelled where every worker sees it.

    Celery's own way would have each worker throw the send's tickets away for as long as it runs, also after an operator
    had it sent again. It still serves for all other tasks, and for emails that are not in the ledger yet.
    """
    done, others = [], []
    for one in maybe_list(task_id) or []:
        answer = _cancel(state.app, one)
        if answer is None:
            others.append(one)
        else:
            done.append(f"{one} {answer}")
            _tell_flower(state, one, answer)
    if others:
        return dict(celery_revoke(state, others, **options))
    return {"ok": "; ".join(done)}


def _cancel(app: Celery, send_id: str) -> str | None:
    """What became of a send, or a batch, or None where the ledger knows none, or cannot be asked."""
    try:
        client = client_of(app)
        if BATCH_ID.fullmatch(send_id):
            client.batches.cancel(send_id)
            client.audit.note("cancel batch", send_id, "revoked as a task")
        else:
            client.ledger.cancel(send_id)
    except MoveRefused as error:
        return f"not cancelled: {error}"
    except (UnknownSend, LedgerUnavailable, ConfigurationError):
        return None
    return "cancelled"


def _tell_flower(state: Any, send_id: str, answer: str) -> None:
    dispatcher = state.consumer.event_dispatcher
    if dispatcher and answer == "cancelled" and not BATCH_ID.fullmatch(send_id):  # of that, `progress` tells
        dispatcher.send("task-revoked", uuid=send_id, terminated=False, signum=None, expired=False)
