"""Queues a batch: any iterable, read as a stream, checked row by row, added block by block."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from sesmail.errors import ConfigurationError, InvalidEmail
from sesmail.message import Lane
from sesmail.message.addresses import bare_address, is_normal_address, mailbox_of, normal_address
from sesmail.message.fields import idempotency_key_of, metadata_of, moment_of, tags_of
from sesmail.message.headers import headers_of
from sesmail.message.text import as_text_or_number
from sesmail.sending.batches.batch import Batch
from sesmail.sending.batches.written import OWN, WrittenLetter, digest_of
from sesmail.sending.letters.columns import column_name
from sesmail.sending.letters.letter import ADDRESS, UNSUBSCRIBE_URL
from sesmail.settings import rate_limit
from sesmail.state.batches.batches import Wanted
from sesmail.state.batches.chunks import CHUNK, Block, Row, address_digest, packed, packed_metadata
from sesmail.state.ledger.ledger import new_token
from sesmail.vocabulary import DEFAULT_ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from sesmail.message import Email
    from sesmail.sending.batches.batch import Desk
    from sesmail.sending.letters.texts import Texts
    from sesmail.settings import Settings
    from sesmail.state.batches.batches import Batches

Context = Mapping[str, object]
Recipient = str | tuple[str, Context] | tuple[str, Context, Context]
"""An address, with or without a name; or that and the values that the letter uses; or these two and what else is the
recipient's own: `{"tags": ..., "headers": ..., "metadata": ...}`, beside the letter's or instead."""

BLOCK = 10 * CHUNK
"""Recipients that are added in one act."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """How a batch is to be sent, as `send_batch` is told."""

    key: str = field(repr=False)
    list_name: str = ""
    send_at: datetime | None = None
    expires_at: datetime | None = None
    weight: float = 1.0
    rate: float | None = None
    ramp: int | None = None
    without_unsubscribe: bool = False
    skip_bad: bool = False

    @classmethod
    def of(
        cls,
        *,
        key: object,
        list_name: object,
        send_at: object,
        expires_at: object,
        weight: object,
        rate: object,
        ramp: object,
        **flags: bool,
    ) -> Terms:
        """Checked. Raises `InvalidEmail`."""
        named = idempotency_key_of(key)
        if named is None:
            raise InvalidEmail("key", "is missing", "a name for this mailing: calling again with it goes on")
        if list_name is None:
            list_name = ""
        elif not isinstance(list_name, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", list_name):
            raise InvalidEmail("list", "is no name of a list", "1 to 256 letters, digits, _ and -")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0.001 <= weight <= 1000:
            raise InvalidEmail("weight", "is out of bounds", "0.001 to 1000")
        at, until = moment_of("send_at", send_at), moment_of("expires_at", expires_at)
        if at and until and until <= at:
            raise InvalidEmail("expires_at", "is not after send_at")
        limits: dict[str, Any] = {"weight": weight, "rate": rate_of(rate), "ramp": ramp_of(ramp)}
        return cls(key=named, list_name=list_name, send_at=at, expires_at=until, **limits, **flags)


def rate_of(value: object) -> float | None:
    """Recipients a second of `5/s`, `300/m`, `5` or None, which is no limit. Raises `InvalidEmail`."""
    try:
        rate = None if value is None else rate_limit(value)  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError, AttributeError):
        rate = -1.0
    if value is not None and not (rate and rate > 0):  # Celery's 0 is no limit: who says it here means a pause
        raise InvalidEmail("rate", "is no rate", "more than 0 recipients a second, as 5/s, 300/m or 5000/h")
    return rate


def ramp_of(value: object) -> int | None:
    """How many recipients on the first day. Raises `InvalidEmail`."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise InvalidEmail("ramp", "is no number of recipients on the first day", "1 or more")


def written(complete: Email, terms: Terms, settings: Settings, texts: Texts) -> WrittenLetter:
    """The letter as it is kept; `complete` is it as an email, by the settings. Raises `ConfigurationError`."""
    used = texts.names()
    has_door = bool(terms.list_name and settings.unsubscribe_url and settings.unsubscribe_secrets)
    if complete.lane is Lane.BULK and not has_door and not terms.without_unsubscribe:
        missing = "SESMAIL_UNSUBSCRIBE_URL and _SECRETS are not set" if terms.list_name else "no list= is named"
        raise ConfigurationError(
            f"Readers could not leave this mailing: {missing}. Nothing was queued. Name the list and set up the door "
            "of one-click unsubscribe, which Gmail and Yahoo ask bulk senders for, or say without_unsubscribe=True."
        )
    if UNSUBSCRIBE_URL in used and not has_door:
        raise ConfigurationError(
            "The letter has {{unsubscribe_url}}, for which list=, SESMAIL_UNSUBSCRIBE_URL and its secrets are needed. "
            "Nothing was queued."
        )
    if not settings.redirect_to:
        redirected: dict[str, tuple[str, ...]] = {}
    else:
        redirected = {"redirect_to": tuple(settings.redirect_to)}
        redirected["redirect_except_domains"] = tuple(settings.redirect_except_domains)
    columns = tuple(sorted(used - {ADDRESS, UNSUBSCRIBE_URL}))
    return WrittenLetter(
        email=complete, columns=columns, has_door=has_door, jinja=texts.jinja, by_ses=texts.by_ses, **redirected
    )


class Queueing:
    """One call's way into Redis."""

    def __init__(self, batches: Batches, desk: Desk, letter: WrittenLetter, terms: Terms, content: str) -> None:
        """`content` is the digest of what the letter says, and to which list."""
        self._batches, self._desk, self._letter, self._terms = batches, desk, letter, terms
        self._content = content
        self._token = new_token()
        self._rows = Rows(letter)
        self.recipients = self.known = self.opted_out = self.bad = 0

    def queue(self, recipients: Iterable[Recipient]) -> Batch:
        """All of them. Raises `InvalidEmail` for a bad row, after which the same call under the same key goes on."""
        batch_id, _ = self._batches.open(f"batch_{new_token()}", self._token, self._wanted())
        rows = self._checked(recipients)
        number = 0
        while block := list(islice(rows, BLOCK)):
            number = self._add(batch_id, number, block)
        self._batches.seal(batch_id, self._token)
        self._desk.issue_tickets(self._letter.email.lane)
        return Batch(
            id=batch_id,
            queued=self.recipients,
            known=self.known,
            opted_out=self.opted_out,
            bad=self.bad,
            _desk=self._desk,
        )

    def _wanted(self) -> Wanted:
        letter, terms = self._letter.pack(), self._terms
        email = self._letter.email
        metadata = email.metadata
        return Wanted(
            key=terms.key,
            content=self._content,
            letter=letter,
            letter_digest=digest_of(letter),
            account=email.account or DEFAULT_ACCOUNT,
            lane=email.lane,
            list=terms.list_name,
            send_at=terms.send_at,
            expires_at=terms.expires_at,
            weight=terms.weight,
            metadata=json.dumps(metadata) if metadata else "",
            rate=terms.rate,
            ramp=terms.ramp,
        )

    def _checked(self, recipients: Iterable[Recipient]) -> Iterator[tuple[str, Row]]:
        """Normal address and row of each; those that are bad are counted, or raised with their place."""
        read = self._rows.read
        for place, recipient in enumerate(recipients):
            try:
                row = read(recipient)
            except InvalidEmail as error:
                if not self._terms.skip_bad:
                    raise InvalidEmail(f"recipients[{place}].{error.field}", error.problem, error.limit) from None
                self.bad += 1
                continue
            yield row

    def _add(self, batch_id: str, number: int, rows: list[tuple[str, Row]]) -> int:
        """Add those who are not there yet; answers the number of the next block."""
        by_digest = {address_digest(normal): (normal, row) for normal, row in rows}
        self.known += len(rows) - len(by_digest)
        width = 1 + len(self._letter.columns)
        while by_digest:
            opted_out, known = self._batches.add(batch_id, self._token, number, _block(by_digest, width))
            if not known:
                self.recipients, self.opted_out = self.recipients + len(by_digest), self.opted_out + opted_out
                return number + 1
            self.known += len(known)
            digests = list(by_digest)
            for place in known:
                del by_digest[digests[place]]
        return number


class Rows:
    """Reads rows: checks them, and takes of them what the letter uses."""

    def __init__(self, letter: WrittenLetter) -> None:
        self._letter = letter
        self._columns = letter.columns
        self._needed = letter.texts.needed()

    def read(self, recipient: Recipient) -> tuple[str, Row]:
        """The normal address, and the row as it is kept: the mailbox, its values, what else is its own.

        Raises `InvalidEmail`.
        """
        address, context, own = _taken_apart(recipient)
        normal, mailbox = _normal(address)
        row: Row
        if self._letter.jinja:  # a program: whether it can be rendered, it tells only when it is
            row = [mailbox, *(_json(name, _of(name, context)) for name in self._columns)]
            self._try([*row, *_own(own)])
            return normal, [*row, *_own(own)]
        if self._letter.by_ses:
            row = [mailbox, *(_json(name, context.get(name)) for name in self._columns), *_own(own)]
            self._see_all_needed(row)
            self._try(row)
            return normal, row
        row = [mailbox]
        for name in self._columns:
            value = context.get(name)
            if type(value) is not str:
                value = _text(name, _of(name, context))
            row.append(value)
        if own:
            row += _own(own)
        if not self._letter.is_usual(row):
            self._try(row)
        return normal, row

    def _see_all_needed(self, row: Row) -> None:
        for name, value in zip(self._columns, row[1:], strict=False):
            if value is None and name in self._needed:
                raise _missing(name)

    def _try(self, row: Row) -> None:
        """Make the email of an unusual row, so that nothing is found out half-way."""
        self._letter.for_one(row, url="https://example.com/", headers={})


def _of(name: str, context: Context) -> object:
    """A value by its name, or by one that looks the same. Raises `InvalidEmail`."""
    if name in context:
        return context[name]
    by_looks = {column_name(str(key)): value for key, value in context.items()}
    if name not in by_looks:
        raise _missing(name)
    return by_looks[name]


def _missing(name: str) -> InvalidEmail:
    return InvalidEmail(f"context[{name!r}]", "is missing, and the letter uses it")


def _text(name: str, value: object) -> str:
    text = as_text_or_number(f"context[{name!r}]", value)
    if not isinstance(text, str):
        raise InvalidEmail(f"context[{name!r}]", "is neither a text nor a number")
    return text


def _json(name: str, value: object) -> object:
    """What a Jinja template may be given: what JSON has. Raises `InvalidEmail`."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        raise InvalidEmail(f"context[{name!r}]", "is not what JSON has", "texts, numbers, lists, mappings") from None


def _own(given: Context) -> list[dict[str, Any]]:
    """What a recipient has of its own, checked; nothing where there is none. Raises `InvalidEmail`."""
    if unknown := sorted(map(str, given.keys() - OWN)):
        raise InvalidEmail("recipient", f"has {', '.join(unknown)} of its own", f"only {', '.join(sorted(OWN))}")
    tags: Any = given.get("tags")
    headers: Any = given.get("headers")
    metadata: Any = given.get("metadata")
    own = {"tags": {**tags_of(tags)}, "headers": {**headers_of(headers)}, "metadata": metadata_of(metadata)}
    return [said] if (said := {name: value for name, value in own.items() if value}) else []


_NOTHING: Context = {}


def _taken_apart(recipient: Recipient) -> tuple[str, Context, Context]:
    if isinstance(recipient, str):
        return recipient, _NOTHING, _NOTHING
    try:
        address, context, own = recipient if len(recipient) == 3 else (*recipient, _NOTHING)
        context.get, own.get  # noqa: B018
    except (TypeError, ValueError, AttributeError):
        problem = "is neither an address nor (address, mapping of values)"
        raise InvalidEmail("recipient", problem, "behind these, a mapping of tags, headers, metadata") from None
    return address, context, own


def _normal(address: str) -> tuple[str, str]:
    """The normal form of an address, and the mailbox as an email keeps it. Raises `InvalidEmail`."""
    if type(address) is str and is_normal_address(lower := address.lower()):
        return lower, address
    mailbox = mailbox_of("address", address)
    return normal_address(bare_address(mailbox)), mailbox


def _block(by_digest: Mapping[bytes, tuple[str, Row]], width: int) -> Block:
    rows = list(by_digest.values())
    chunks = [[row for _, row in rows[first : first + CHUNK]] for first in range(0, len(rows), CHUNK)]
    return Block(
        digests=b"".join(by_digest),
        addresses="\n".join(normal for normal, _ in rows),
        chunks=[(len(chunk), packed(chunk), packed_metadata(chunk, width)) for chunk in chunks],
    )
