"""Who called for a send and wants something done at its end, until that is done.

What is wanted is text to this floor: Celery's callbacks, for example, as `sesmail/celery/wishes.py` writes them. It is
kept in the send's row, goes with every ticket that is issued for it, and is forgotten once the caller is answered.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from sesmail.message import Lane
from sesmail.vocabulary import State, Ticket, state_of

if TYPE_CHECKING:
    from sesmail.state.scripts import Scripts

log = logging.getLogger("sesmail")

LEASE_SECONDS = 60.0
"""How long a last ticket may be on its way, and how long a worker may take to answer; then another one does."""
MOST_LAST_TICKETS = 30
"""With the pauses between them that is about a day."""
FIELDS_OF_A_CALLER = 4
"""As many as `gather_unanswered.lua` answers for each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """How a send has ended, and what one of its callers wants done then."""

    send_id: str
    task_id: str
    state: State
    message_id: str | None
    reason: str | None
    code: str | None
    wishes: str = field(repr=False)


class Callers:
    """Those who wait for the end of sends. All methods raise `LedgerUnavailable` when Redis cannot be reached."""

    def __init__(self, scripts: Scripts) -> None:
        self._run = scripts.run

    def last_tickets(self, page: int = 200) -> list[Ticket]:
        """For callers whose send has ended and whom nobody has answered: the tickets by which a worker does.

        They go by express. A caller whom thirty of them have not helped is given up, and that is logged.
        """
        found = self._run("gather_unanswered", page, round(LEASE_SECONDS * 1000))
        tickets = []
        for send_id, task_id, wishes, times in zip(*[iter(found)] * FIELDS_OF_A_CALLER, strict=True):
            ids = {"send_id": send_id.decode(), "task_id": task_id.decode()}
            if int(times) > MOST_LAST_TICKETS:
                self._give_up(**ids)
            else:
                tickets.append(Ticket(**ids, lane=Lane.TRANSACTIONAL, wishes=wishes.decode()))
        return tickets

    def _give_up(self, send_id: str, task_id: str) -> None:
        log.error(
            "the end of a send could not be told to who called for it (task %s): none of %d tickets was of use. Its "
            "callbacks are not run. Look in the workers' logs for what they said of it.",
            task_id,
            MOST_LAST_TICKETS,
            extra={"action": "answering_given_up", "send_id": send_id},
        )
        self._run("answered", send_id, task_id, "")

    def take(self, send_id: str, task_id: str, token: str | None = None) -> Answer | None:
        """Take it on to answer this caller; None where there is nothing to answer, or another worker is at it."""
        found = self._run("answer", send_id, task_id, token or uuid4().hex, round(LEASE_SECONDS * 1000))
        if not found:
            return None
        state, message_id, reason, code, wishes = (value.decode() for value in found)
        return Answer(
            send_id=send_id,
            task_id=task_id,
            state=state_of(state),
            message_id=message_id or None,
            reason=reason or None,
            code=code or None,
            wishes=wishes,
        )

    def answered(self, answer: Answer) -> None:
        """It is done: nobody does it again."""
        self._run("answered", answer.send_id, answer.task_id, "")

    def put_back(self, answer: Answer, seconds: float) -> None:
        """It could not be done: let it be tried again then."""
        self._run("answered", answer.send_id, answer.task_id, round(seconds * 1000))
