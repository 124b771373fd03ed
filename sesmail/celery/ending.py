"""How a worker ends the task of a ticket: as its send has ended, or so that nothing follows yet.

Celery runs `link`, goes on with a chain and counts a chord's part when a task returns, and calls `link_error` when it
raises. So a task ends once, when its send has: by the worker that settled it, or by one that got a last ticket because
something else did. All other tickets of the send end quietly.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from celery.exceptions import Retry

from sesmail.celery.strangers import unknown_here
from sesmail.celery.wishes import put_into, quieten, read, to_their_queues
from sesmail.errors import LedgerUnavailable, NotSent, OutcomeUnknown, SendRejected
from sesmail.sending.delivery.outcomes import Rejected, Sent, Stale, Unknown
from sesmail.vocabulary import FAILED, State

if TYPE_CHECKING:
    from sesmail.sending.delivery.outcomes import Outcome
    from sesmail.state.ledger.answering import Answer
    from sesmail.vocabulary import Claim

log = logging.getLogger("sesmail")

AGAIN_SECONDS = 30.0
"""When it is tried again to publish what follows."""

Value = dict[str, str | None]


def not_to_be_had(task: Any, send_id: str, state: State | None) -> Value:
    """End the task of a ticket that there is nothing to send by."""
    if task.request.called_directly:
        return {"state": state or unknown_here(task, {"send_id": send_id})}
    if state is None:
        return _quietly(task, {"state": unknown_here(task, {"send_id": send_id})})
    if state is State.SENT or state in FAILED:
        if answer := _take(task, send_id):
            return _answer(task, answer)
        if task.request.is_eager:  # nobody but this process knows its caller
            return _as_it_ended(state, None, None, None)
    return _quietly(task, {"state": state})


def delivered(task: Any, claim: Claim, outcome: Outcome) -> Value:
    """End the task of a ticket that a send was claimed by: what became of it, but for its having to wait."""
    if isinstance(outcome, Stale):
        return _quietly(task, {"state": "stale"})
    if task.request.id in claim.callers and not task.request.called_directly:
        if answer := _take(task, claim.send_id):
            return _answer(task, answer)
        if not isinstance(outcome, Unknown):  # another one answers: two tickets, or a claim that had been given up
            return _quietly(task, {"state": "sent" if isinstance(outcome, Sent) else "rejected"})
    match outcome:
        case Sent(message_id=message_id):
            return {"state": "sent", "message_id": message_id}
        case Rejected(error=error):
            raise error
        case Unknown():
            return _undecided(task, claim, outcome)
    raise TypeError(outcome)


def _undecided(task: Any, claim: Claim, outcome: Unknown) -> Value:
    """Neither sent nor failed: who called waits on, until evidence or the sweeper decides."""
    if task.request.called_directly:
        if outcome.bug:
            raise outcome.bug
        return {"state": "unknown", "message_id": None}
    if outcome.bug:
        log.error("a bug cut off a send", exc_info=outcome.bug, extra={"send_id": claim.send_id})
    raise Retry("the outcome is unknown: evidence, or the end of its window, decides", OutcomeUnknown(outcome.reason))


def _take(task: Any, send_id: str) -> Answer | None:
    """Raises `LedgerUnavailable` when this worker stops: another one takes the ticket."""
    callers, token = task.client.callers, uuid4().hex  # one for all tries, as of a claim
    found: Answer | None = task.client.delivery.patience.unless_stopped(
        lambda: callers.take(send_id, task.request.id, token)
    )
    return found


def _answer(task: Any, answer: Answer) -> Value:
    """End the task for its caller, as the send has ended. `SendTask.after_return` notes that it is done."""
    wishes = read(answer.wishes)
    if wishes is None:  # a newer release answers this caller
        _put_back(task, answer)
        return _quietly(task, {"state": answer.state})
    wishes = to_their_queues(task.app, wishes)
    put_into(task.request, wishes, is_failure=answer.state is not State.SENT)
    task.request.answer = answer
    value = _as_it_ended(answer.state, answer.message_id, answer.reason, answer.code)
    try:
        task.go_on(value, wishes)
    except Exception as error:  # noqa: BLE001  what a broker answers, or a signature's own app
        task.request.answer = None
        _put_back(task, answer)
        log.warning(
            "what follows a sent email could not be published (%s); it is tried again",
            type(error).__name__,
            extra={"send_id": answer.send_id},
        )
        raise Retry("what follows could not be published", error, when=AGAIN_SECONDS) from None
    return value


def _as_it_ended(state: State, message_id: str | None, reason: str | None, code: str | None) -> Value:
    """The task's value. Raises what stands for a send that was not sent."""
    if state is State.SENT:
        return {"state": "sent", "message_id": message_id}
    if state is State.REJECTED:
        raise SendRejected(reason, code=code or "")
    raise NotSent(f"not sent, but {state}: {reason or 'see `sesmail failed`'}")


def _put_back(task: Any, answer: Answer) -> None:
    with suppress(LedgerUnavailable):  # then the lease ends
        task.client.callers.put_back(answer, AGAIN_SECONDS)


def _quietly(task: Any, value: Value) -> Value:
    if not task.request.called_directly:
        quieten(task.request)
    return value
