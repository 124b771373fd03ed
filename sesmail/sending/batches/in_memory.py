"""Batches where nothing is to reach people: each recipient is an email in the outbox in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from sesmail.errors import InvalidEmail, MoveRefused, UnknownSend
from sesmail.message.addresses import normal_address
from sesmail.sending.batches.batch import KEPT, Batch
from sesmail.sending.batches.queueing import Rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sesmail.message import Email, Lane
    from sesmail.sending.batches.composing import Composer
    from sesmail.sending.batches.queueing import Recipient
    from sesmail.sending.letters.letter import Letter
    from sesmail.sending.outbox import Outbox
    from sesmail.vocabulary import BatchState, BatchStatus


class MemoryOffice:
    """As `BatchOffice`; emails lie in the outbox at once, each under an idempotency key made of the batch's."""

    def __init__(self, outbox: Outbox, composer: Composer) -> None:
        self._outbox = outbox
        self._composer = composer

    def send(self, letter: Letter | Email | str, recipients: Iterable[Recipient], **terms: Any) -> Batch:
        """As `sesmail.send_batch` says it."""
        kept, wanted, _ = self._composer.kept(letter, **terms)
        rows, counts = Rows(kept), {"queued": 0, "known": 0, "bad": 0}
        for place, recipient in enumerate(recipients):
            try:
                normal, row = rows.read(recipient)
            except InvalidEmail as error:
                if not wanted.skip_bad:
                    raise InvalidEmail(f"recipients[{place}].{error.field}", error.problem, error.limit) from None
                counts["bad"] += 1
                continue
            email = self._composer.email(kept, wanted, row)
            key = f"{wanted.key}:{normal_address(normal)}"[:256]
            times = {"send_at": wanted.send_at, "expires_at": wanted.expires_at}
            accepted = self._outbox.send(email.replace(idempotency_key=key, **times))
            counts["queued" if accepted.new else "known"] += 1
        return Batch(id=f"memory-{wanted.key}"[:64], opted_out=0, _desk=self, **counts)

    def status(self, batch_id: str) -> BatchStatus:
        """Not known here."""
        raise UnknownSend(f"{batch_id} is in memory only: look at its emails in the outbox.")

    def _refuse(self, batch_id: str) -> NoReturn:
        raise MoveRefused(f"{batch_id} is in memory only: its emails lie in the outbox already.")

    def pause(self, batch_id: str) -> BatchState:
        """Not possible here."""
        self._refuse(batch_id)

    def resume(self, batch_id: str) -> BatchState:
        """Not possible here."""
        self._refuse(batch_id)

    def cancel(self, batch_id: str) -> BatchState:
        """Not possible here."""
        self._refuse(batch_id)

    def slow(self, batch_id: str, *, rate: object = KEPT, ramp: object = KEPT) -> None:  # noqa: ARG002
        """Not possible here."""
        self._refuse(batch_id)

    def issue_tickets(self, lane: Lane) -> None:
        """None are needed."""
