"""A batch's letter as it is kept, and as one recipient's email."""

from __future__ import annotations

import hashlib
import html
import json
import zlib
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sesmail.message.addresses import bare_address
from sesmail.message.record import attach, detach
from sesmail.sending.letters.placeholders import filled
from sesmail.state.newer import Newer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sesmail.message import Email

VERSION = 1
"""Of the form in which a letter is kept."""
ADDRESS, UNSUBSCRIBE_URL = "email", "unsubscribe_url"
"""The values that everybody has: the bare address, and where the reader leaves the list."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class WrittenLetter:
    """What everybody gets, with its placeholders, and what each row has to say."""

    email: Email
    """To a made-up reader; its texts have the placeholders."""
    columns: tuple[str, ...]
    """The values of a row, in this order."""
    has_door: bool
    """Whether each email says by its headers how to leave the list."""
    redirect_to: tuple[str, ...] = ()
    redirect_except_domains: tuple[str, ...] = field(default=())

    def for_one(self, mailbox: str, values: Sequence[str], *, url: str, headers: Mapping[str, str]) -> Email:
        """The email to one recipient. Raises `InvalidEmail`."""
        letter = self.email
        known = dict(zip(self.columns, values, strict=True))
        known |= {ADDRESS: bare_address(mailbox), UNSUBSCRIBE_URL: url}
        email = letter.personal(
            mailbox,
            subject=filled(letter.subject, known, str),
            text=None if letter.text is None else filled(letter.text, known, str),
            html=None if letter.html is None else filled(letter.html, known, html.escape),
            headers=headers,
        )
        if not self.redirect_to:
            return email
        return email.redirected(self.redirect_to, except_domains=self.redirect_except_domains)

    def pack(self) -> bytes:
        """As it is kept: compressed JSON."""
        record, parts = detach(self.email)
        said: dict[str, Any] = {"v": VERSION, "email": record, "parts": [b64encode(part).decode() for part in parts]}
        said |= {"columns": self.columns, "door": self.has_door}
        said |= {"redirect_to": self.redirect_to, "redirect_except": self.redirect_except_domains}
        return zlib.compress(json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode())

    @classmethod
    def unpack(cls, packed: bytes) -> WrittenLetter:
        """It again. Raises `Newer` for one of a newer release."""
        said = json.loads(zlib.decompress(packed))
        if said["v"] > VERSION:
            raise Newer("its letter", said["v"], VERSION)
        return cls(
            email=attach(said["email"], [*map(b64decode, said["parts"])]),
            columns=tuple(said["columns"]),
            has_door=said["door"],
            redirect_to=tuple(said["redirect_to"]),
            redirect_except_domains=tuple(said["redirect_except"]),
        )


def digest_of(packed: bytes) -> str:
    """By which workers know that they have read it."""
    return hashlib.sha256(packed).hexdigest()[:32]
