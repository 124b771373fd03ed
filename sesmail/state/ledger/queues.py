"""The broker's queues as lists in the ledger's own database: a ticket is put there as its email is accepted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sesmail.state.scripts import Scripts
    from sesmail.vocabulary import Envelope

log = logging.getLogger("sesmail")

PUT = "put"
"""What `accept.lua` answers of a ticket that is in its queue."""


class Queues:
    """Which of them take tickets from here; one that once did not is left to the broker from then on."""

    def __init__(self, scripts: Scripts) -> None:
        self._run = scripts.run
        self._takes: dict[str, bool] = {}

    def arguments(self, envelope: Envelope | None) -> tuple[str, str]:
        """As `accept.lua` lists them. The first ticket of a queue asks Redis whether it may be put there."""
        if envelope is None or not self._may_put(envelope.queue):
            return "", ""
        return envelope.queue, envelope.message

    def _may_put(self, queue: str) -> bool:
        if queue not in self._takes:
            self._takes[queue] = True
            if refusal := self._run("try_queue", queue).decode():
                self._leave(queue, refusal)
        return self._takes[queue]

    def heed(self, envelope: Envelope | None, answer: bytes) -> None:
        """What became of a ticket, as `accept.lua` answers it."""
        refusal = answer.decode()
        if envelope and refusal not in ("", PUT):
            self._leave(envelope.queue, refusal)

    def _leave(self, queue: str, refusal: str) -> None:
        self._takes[queue] = False
        log.warning(
            "Redis takes no tickets with their emails for the queue %s (%s): from now on Celery publishes them, one "
            "call later. No email is lost by that. May the ledger's user write to that key?",
            queue,
            refusal,
        )
