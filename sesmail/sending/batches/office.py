"""Where batches are accepted and asked about, for one client."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sesmail.frames import shows_no_email
from sesmail.sending.batches.batch import KEPT
from sesmail.sending.batches.queueing import Queueing, ramp_of, rate_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sesmail.message import Email, Lane
    from sesmail.sending.batches.batch import Batch
    from sesmail.sending.batches.composing import Composer
    from sesmail.sending.batches.queueing import Recipient
    from sesmail.sending.letters.letter import Letter
    from sesmail.sending.outbox import Broker
    from sesmail.state.batches.batches import Batches
    from sesmail.vocabulary import BatchState, BatchStatus

log = logging.getLogger("sesmail")


class BatchOffice:
    """Batches in Redis, and the tickets for them."""

    def __init__(self, batches: Batches, broker: Broker, composer: Composer) -> None:
        self._batches = batches
        self._broker = broker
        self._composer = composer

    @shows_no_email
    def send(self, letter: Letter | Email | str, recipients: Iterable[Recipient], **terms: Any) -> Batch:
        """As `sesmail.send_batch` says it."""
        kept, how, said = self._composer.kept(letter, **terms)
        return Queueing(self._batches, self, kept, how, said).queue(recipients)

    def issue_tickets(self, lane: Lane) -> None:
        """As many as are worth it now."""
        if count := self._batches.wanted(lane):
            self._broker.send_batches(lane, count)

    def status(self, batch_id: str) -> BatchStatus:
        """How far it is. Raises `UnknownSend`, `LedgerUnavailable`."""
        return self._batches.status(batch_id)

    def pause(self, batch_id: str) -> BatchState:
        """Begin nothing more of it. Raises `MoveRefused`, `UnknownSend`, `LedgerUnavailable`."""
        return self._batches.pause(batch_id)

    def resume(self, batch_id: str) -> BatchState:
        """Go on with it. Raises `MoveRefused`, `UnknownSend`, `LedgerUnavailable`."""
        state = self._batches.resume(batch_id)
        self.issue_tickets(self.status(batch_id).lane)
        return state

    def slow(self, batch_id: str, *, rate: object = KEPT, ramp: object = KEPT) -> None:
        """Say how fast it may go, as `Batch.slow`. Raises `InvalidEmail`, `UnknownSend`, `LedgerUnavailable`."""
        limits = {} if rate is KEPT else {"rate": rate_of(rate)}
        limits |= {} if ramp is KEPT else {"ramp": ramp_of(ramp)}
        for what, limit in limits.items():
            self._batches.slow(batch_id, what, limit)
        self.issue_tickets(self.status(batch_id).lane)

    def cancel(self, batch_id: str) -> BatchState:
        """Take back what has not begun. Raises `MoveRefused`, `UnknownSend`, `LedgerUnavailable`."""
        return self._batches.cancel(batch_id)
