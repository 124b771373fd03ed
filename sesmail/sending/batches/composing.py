"""What a caller gives as a letter: made into what is kept, or into one recipient's email to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesmail.errors import ConfigurationError, InvalidEmail
from sesmail.message import LIST_TAG, Email, Lane
from sesmail.message.content import content_digest
from sesmail.sending.batches.queueing import Rows, Terms, written
from sesmail.sending.batches.written import personal
from sesmail.sending.letters.letter import ADDRESS, UNSUBSCRIBE_URL, Letter
from sesmail.sending.letters.texts import Texts
from sesmail.vocabulary import DEFAULT_ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sesmail.sending.batches.queueing import Recipient
    from sesmail.sending.batches.written import WrittenLetter
    from sesmail.sending.outbox import Outbox
    from sesmail.ses.transport import SesTransport
    from sesmail.settings import Settings
    from sesmail.unsubscribe import UnsubscribeLinks


class Composer:
    """Reads letters for one client's batches."""

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        transport: Callable[[str], SesTransport],
        links: Callable[[], UnsubscribeLinks],
    ) -> None:
        """`transport` is the way to the SES account of a name."""
        self._settings = settings
        self._outbox = outbox
        self._transport = transport
        self._links = links

    def kept(
        self,
        letter: Letter | Email | str,
        *,
        key: str,
        list: str | None = None,  # noqa: A002  the caller's word
        site: str | None = None,
        account: str | None = None,
        send_at: datetime | str | None = None,
        expires_at: datetime | str | None = None,
        weight: float = 1.0,
        rate: str | float | None = None,
        ramp: int | None = None,
        without_unsubscribe: bool = False,
        skip_bad: bool = False,
    ) -> tuple[WrittenLetter, Terms, str]:
        """The letter as it is kept, how it is to be sent, and a digest of what it says as it was given.

        The arguments are those of `sesmail.send_batch`. Raises `InvalidEmail`, `ConfigurationError`, and `SesError`
        where SES is asked for a template.
        """
        if site not in (None, self._settings.site):
            raise ConfigurationError(f"This is the site {self._settings.site}: ask the client of {site} to send.")
        email, texts, verbatim = self._stored(letter, account) if isinstance(letter, str) else _taken_apart(letter)
        terms = Terms.of(
            key=key,
            list_name=list,
            send_at=send_at or email.send_at,
            expires_at=expires_at or email.expires_at,
            weight=weight,
            rate=rate,
            ramp=ramp,
            without_unsubscribe=without_unsubscribe,
            skip_bad=skip_bad,
        )
        texts.check(sorted({*texts.names(), ADDRESS, UNSUBSCRIBE_URL}), verbatim=verbatim)
        tags = {**email.tags, LIST_TAG: terms.list_name} if terms.list_name else email.tags  # rates are counted by it
        email = email.replace(account=account or email.account, tags=tags, send_at=None, expires_at=None)
        said = f"{content_digest(email)} {terms.list_name}{' jinja' if texts.jinja else ''}"
        complete = self._outbox.completed(email)  # after the digest: what settings fill in may change
        return written(complete, terms, self._settings, texts), terms, said

    def email(self, kept: WrittenLetter, terms: Terms, row: list[object]) -> Email:
        """One recipient's email, as a worker would make it. Raises `InvalidEmail`."""
        return personal(kept, row, site=self._settings.site, list_name=terms.list_name, links=self._links)

    def preview(
        self,
        letter: Letter | Email | str,
        recipient: Recipient,
        *,
        list: str | None = None,  # noqa: A002
        account: str | None = None,
    ) -> Email:
        """As `sesmail.preview_batch` says it."""
        kept, terms, _ = self.kept(letter, key="preview", list=list, account=account, without_unsubscribe=True)
        _, row = Rows(kept).read(recipient)
        return self.email(kept, terms, row)

    def _stored(self, name: str, account: str | None) -> tuple[Email, Texts, bool]:
        """What a template that SES keeps says now, as `_taken_apart`. What only SES can fill in is left to it."""
        letter = Letter(**self._transport(account or DEFAULT_ACCOUNT).template(name))  # type: ignore[arg-type]
        email, texts, verbatim = _taken_apart(letter)
        return email, texts.read_as_ses_does(), verbatim


def _taken_apart(letter: object) -> tuple[Email, Texts, bool]:
    """A letter as an email to nobody, its texts, and whether other systems' placeholders are meant as they stand."""
    if isinstance(letter, Letter):
        return letter.to_nobody(), letter.texts, letter.verbatim
    if not isinstance(letter, Email):
        raise InvalidEmail("letter", "is neither a sesmail.Letter, nor an Email, nor the name of a template of SES")
    if letter.recipient_count or letter.idempotency_key:
        problem = "has recipients or an idempotency key of its own"
        raise InvalidEmail("letter", problem, "Email(None, ...): recipients and key are the batch's")
    if letter.text is None and letter.html is None:
        raise InvalidEmail("letter", "there is no body in it")
    texts = Texts(subject=letter.subject, text=letter.text, html=letter.html)
    return letter.replace(lane=Lane.BULK), texts, False  # an email's own default is not meant for many
