"""Batches where nothing is to reach people: each recipient is an email in the outbox in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from sesmail.errors import InvalidEmail, MoveRefused, UnknownSend
from sesmail.message.addresses import normal_address
from sesmail.sending.batches.batch import Batch
from sesmail.sending.batches.office import kept_letter
from sesmail.sending.batches.queueing import Rows
from sesmail.unsubscribe.links import Unsubscription, one_click_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sesmail.message import Lane
    from sesmail.sending.batches.queueing import Recipient
    from sesmail.sending.letters.letter import Letter
    from sesmail.sending.memory import Memory
    from sesmail.sending.outbox import Outbox
    from sesmail.settings import Settings
    from sesmail.unsubscribe import UnsubscribeLinks
    from sesmail.vocabulary import BatchState, BatchStatus


class MemoryOffice:
    """As `BatchOffice`; emails lie in the outbox at once, each under an idempotency key made of the batch's."""

    def __init__(
        self, settings: Settings, outbox: Outbox, memory: Memory, links: Callable[[], UnsubscribeLinks]
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._memory = memory
        self._links = links

    def send(self, letter: Letter, recipients: Iterable[Recipient], **terms: Any) -> Batch:
        """As `sesmail.send_batch` says it."""
        kept, wanted = kept_letter(letter, self._settings, self._outbox, **self._named(terms))
        rows, counts = Rows(kept), {"queued": 0, "known": 0, "bad": 0}
        for place, recipient in enumerate(recipients):
            try:
                normal, row = rows.read(recipient)
            except InvalidEmail as error:
                if not wanted.skip_bad:
                    raise InvalidEmail(f"recipients[{place}].{error.field}", error.problem, error.limit) from None
                counts["bad"] += 1
                continue
            url = headers = None
            if kept.has_door:
                who = Unsubscription(site=self._settings.site, recipient=normal, list=wanted.list_name)
                url = self._links().link(who)
                headers = one_click_headers(url)
            email = kept.for_one(row[0], row[1:], url=url or "", headers=headers or {})
            key = f"{wanted.key}:{normal_address(normal)}"[:256]
            times = {"send_at": wanted.send_at, "expires_at": wanted.expires_at}
            accepted = self._outbox.send(email.replace(idempotency_key=key, **times))
            counts["queued" if accepted.new else "known"] += 1
        return Batch(id=f"memory-{wanted.key}"[:64], opted_out=0, _desk=self, **counts)

    @staticmethod
    def _named(terms: dict[str, Any]) -> dict[str, Any]:
        given = {"list": None, "send_at": None, "expires_at": None, "weight": 1.0} | terms
        flags = {"without_unsubscribe": False, "skip_bad": False} | given
        return {"list_name": flags.pop("list"), **flags}

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

    def issue_tickets(self, lane: Lane) -> None:
        """None are needed."""
