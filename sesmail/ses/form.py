"""A letter's request, written once but for what is a reader's own: that is all that is left to do for each.

What SES is asked for one reader is to the letter what `compose` makes of the reader's email: the form is cut from that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from sesmail.ses.lean import as_json
from sesmail.ses.request import send_email_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sesmail.message import Email

_DOMAIN = "@mark.invalid"


class Marks:
    """Stands for what is a reader's own, in words that stand nowhere else and mean nothing to anybody."""

    def __init__(self) -> None:
        self._begins = f"x{token_hex(12)}x"
        self._written = re.compile(f"{self._begins}([a-wyz0-9]+)x(?:{re.escape(_DOMAIN)})?")

    def of(self, name: str) -> str:
        """The mark for a value of this name, which has small letters and digits, and no x."""
        return f"{self._begins}{name}x"

    def mailbox(self, name: str) -> str:
        """The same for a mailbox: it looks like one."""
        return self.of(name) + _DOMAIN

    def cut(self, text: str) -> tuple[list[str], list[str]]:
        """What stands between the marks, and the names of these."""
        parts = self._written.split(text)
        return parts[::2], parts[1::2]


class Form:
    """The request of `SendEmail`, as JSON, with gaps."""

    def __init__(self, between: Sequence[str], names: Sequence[str]) -> None:
        self._parts = [*between, *between]
        self._parts[::2], self._parts[1::2] = between, [*names, ""]
        self._gaps = [(2 * place + 1, name) for place, name in enumerate(names)]

    @classmethod
    def of(cls, email: Email, send_id: str, marks: Marks) -> Form | None:
        """Of an email that has marks for a reader's values. None where they are not to be found in its request."""
        request = send_email_request(email, send_id)
        if "Simple" not in request["Content"] or "EndpointId" in request:
            return None  # written in another way, or asked for elsewhere
        return cls(*marks.cut(as_json(request)))

    def filled(self, values: Mapping[str, str]) -> bytes:
        """The request with one reader's values by their names. Raises `KeyError`."""
        parts = self._parts.copy()
        for place, name in self._gaps:
            parts[place] = encode_basestring_ascii(values[name])[1:-1]
        return "".join(parts).encode("ascii")


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Filled:
    """As `Composed`: one reader's request, of which the email itself is only made where it is asked for."""

    send_id: str
    body: bytes
    made: Callable[[], Email]

    @property
    def email(self) -> Email:
        """What it says."""
        return self.made()

    @property
    def request(self) -> dict[str, Any]:
        """The arguments of boto3's `send_email`."""
        return send_email_request(self.email, self.send_id)
