"""Where batches are accepted and asked about, for one client."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sesmail.errors import ConfigurationError, InvalidEmail
from sesmail.frames import shows_no_email
from sesmail.message.content import content_digest
from sesmail.sending.batches.queueing import Queueing, Terms, with_list, written
from sesmail.sending.letters.letter import Letter
from sesmail.sending.letters.lists import Person

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sesmail.message import Email, Lane
    from sesmail.sending.batches.batch import Batch
    from sesmail.sending.batches.queueing import Recipient
    from sesmail.sending.batches.written import WrittenLetter
    from sesmail.sending.outbox import Broker, Outbox
    from sesmail.settings import Settings
    from sesmail.state.batches import Batches
    from sesmail.vocabulary import BatchState, BatchStatus

log = logging.getLogger("sesmail")


class BatchOffice:
    """Batches in Redis, and the tickets for them."""

    def __init__(self, settings: Settings, batches: Batches, broker: Broker, outbox: Outbox) -> None:
        self._settings = settings
        self._batches = batches
        self._broker = broker
        self._outbox = outbox

    @shows_no_email
    def send(
        self,
        letter: Letter,
        recipients: Iterable[Recipient],
        *,
        key: str,
        list: str | None = None,  # noqa: A002  the caller's word
        site: str | None = None,
        account: str | None = None,
        send_at: datetime | str | None = None,
        expires_at: datetime | str | None = None,
        weight: float = 1.0,
        without_unsubscribe: bool = False,
        skip_bad: bool = False,
    ) -> Batch:
        """As `sesmail.send_batch` says it."""
        given = {"key": key, "list_name": list, "send_at": send_at, "expires_at": expires_at, "weight": weight}
        flags = {"without_unsubscribe": without_unsubscribe, "skip_bad": skip_bad}
        kept, terms = kept_letter(letter, self._settings, self._outbox, site=site, account=account, **given, **flags)
        said = content_digest(as_email(letter, terms.list_name))  # as it was given: what settings fill in may change
        return Queueing(self._batches, self, kept, terms, f"{said} {terms.list_name}").queue(recipients)

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

    def cancel(self, batch_id: str) -> BatchState:
        """Take back what has not begun. Raises `MoveRefused`, `UnknownSend`, `LedgerUnavailable`."""
        return self._batches.cancel(batch_id)


def kept_letter(
    letter: Letter,
    settings: Settings,
    outbox: Outbox,
    *,
    site: str | None = None,
    account: str | None = None,
    **given: Any,
) -> tuple[WrittenLetter, Terms]:
    """The letter as it is kept, and how it is to be sent. Raises `InvalidEmail` and `ConfigurationError`."""
    if not isinstance(letter, Letter):
        raise InvalidEmail("letter", "is no sesmail.Letter")
    if letter.unsubscribe:
        raise InvalidEmail("letter", "makes its own links to unsubscribe", "name the list: they are made here")
    if site not in (None, settings.site):
        raise ConfigurationError(f"This is the site {settings.site}: ask the client of {site} to send.")
    terms = Terms.of(**given)
    complete = outbox.completed(as_email(letter, terms.list_name).replace(account=account))
    return written(letter, terms, settings, complete), terms


def as_email(letter: Letter, list_name: str) -> Email:
    """The letter as an email to a made-up reader, its placeholders as they stand. Raises as `Letter.check`."""
    columns = sorted(letter.columns())
    letter.check([*columns, "email", "unsubscribe_url"], "key")
    email = letter.email(Person(line=1, address="a@example.org", values=dict.fromkeys(columns, "x")), "key")
    return email.replace(
        subject=letter.subject,
        text=letter.text,
        html=letter.html,
        tags=with_list(letter, list_name),
        idempotency_key=None,
    )
