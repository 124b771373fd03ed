"""An email as a MIME message, for SES's `Raw` content and for who wants to see it.

Written by hand, as the standard library's generator writes forwarded emails with bare line feeds, stumbles over reports
of delivery, encodes whole headers, and folds long links: here each part is its headers and the bytes that stand for it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import encode_rfc2231
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from sesmail.message.addresses import encoded_mailbox
from sesmail.message.content_types import bare_type, is_composite
from sesmail.message.file_names import carried_name
from sesmail.message.headers import encoded_headers
from sesmail.message.text import encoded_words

if TYPE_CHECKING:
    from sesmail.message.alternative import Alternative
    from sesmail.message.attachment import Attachment

MAX_LINE_LENGTH = 998
"""A header that SES takes, 996 characters and ": ", is one line of RFC 5322: only lists of people are ever folded."""

Headers = Iterable[tuple[str, str]]


class Composable(Protocol):  # noqa: D101  what of an `Email` a message is made of; described there
    @property
    def to(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def cc(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def reply_to(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def from_email(self) -> str | None: ...  # noqa: D102
    @property
    def subject(self) -> str: ...  # noqa: D102
    @property
    def text(self) -> str | None: ...  # noqa: D102
    @property
    def html(self) -> str | None: ...  # noqa: D102
    @property
    def alternatives(self) -> tuple[Alternative, ...]: ...  # noqa: D102
    @property
    def attachments(self) -> tuple[Attachment, ...]: ...  # noqa: D102
    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class _Part:
    """Headers, and what follows them, in pieces that are put together once."""

    headers: tuple[tuple[str, str], ...]
    body: list[bytes]

    @property
    def bare_type(self) -> str:
        return bare_type(dict(self.headers)["Content-Type"])


def build(email: Composable, extra: Mapping[str, str] | None = None) -> bytes:
    """The message, with the email's own headers and `extra` ones.

    `Bcc` is on the envelope only. `Date` and `Message-ID` are set by SES:
    https://docs.aws.amazon.com/ses/latest/dg/header-fields.html
    """
    content = _content(email)
    own = {**_addressed(email), "Subject": encoded_words(email.subject)}
    headers = own | encoded_headers(email.headers) | {**(extra or {})} | {"MIME-Version": "1.0"}
    return b"".join(_written((*headers.items(), *content.headers), content.body))


def _addressed(email: Composable) -> dict[str, str]:
    senders = (email.from_email,) if email.from_email else ()
    lists = {"From": senders, "To": email.to, "Cc": email.cc, "Reply-To": email.reply_to}
    return {name: ", ".join(map(encoded_mailbox, mailboxes)) for name, mailboxes in lists.items() if mailboxes}


def _content(email: Composable) -> _Part:
    """mixed(related(alternative(text, html), pictures), files), without levels that would hold one part only."""
    bodies = _bodies(email)
    files = [_attached(each) for each in email.attachments if not (bodies and _is_shown(each))]
    if not bodies and not files:
        bodies = [_encoded("text/plain; charset=utf-8", b"")]
    if not bodies:
        return _multipart("mixed", files)
    shown = [_attached(each) for each in email.attachments if _is_shown(each)]
    related = _one_or("related", [_one_or("alternative", bodies), *shown])
    return _one_or("mixed", [related, *files])


def _is_shown(attachment: Attachment) -> bool:
    """Whether it belongs to the HTML: readers hide what stands beside a page and is not used by it."""
    return attachment.disposition == "inline" and attachment.content_id is not None


def _bodies(email: Composable) -> list[_Part]:
    """All forms of the text, from the plainest on."""
    forms = [(0, "text/plain; charset=utf-8", email.text), (2, "text/html; charset=utf-8", email.html)]
    given = [(place, kind, text.encode()) for place, kind, text in forms if text is not None]
    others = [(each.place, each.content_type, each.content) for each in email.alternatives]
    return [_form(kind, content) for _, kind, content in sorted([*given, *others], key=lambda form: form[0])]


def _form(content_type: str, content: bytes) -> _Part:
    """A form of the text; one that has parts of its own stays as it is, byte by byte: it may be signed."""
    if is_composite(content_type):
        return _Part((("Content-Type", content_type),), [content])
    return _encoded(content_type, content)


def _attached(attachment: Attachment) -> _Part:
    headers = [
        ("Content-Type", attachment.content_type),
        ("Content-Disposition", _disposition(attachment)),
        *attachment.headers,
    ]
    if attachment.content_id:
        headers.append(("Content-ID", f"<{attachment.content_id}>"))
    if is_composite(attachment.content_type):
        return _Part(tuple(headers), [attachment.content])
    return _encoded(attachment.content_type, attachment.content, headers[1:])


def _disposition(attachment: Attachment) -> str:
    kind, name = attachment.disposition or "attachment", carried_name(attachment.filename)
    return f'{kind}; filename="{name}"' if name.isascii() else f"{kind}; filename*={encode_rfc2231(name, 'utf-8')}"


def _encoded(content_type: str, content: bytes, headers: Headers = ()) -> _Part:
    lines = base64.encodebytes(content).replace(b"\n", b"\r\n")
    return _Part((("Content-Type", content_type), ("Content-Transfer-Encoding", "base64"), *headers), [lines])


def _one_or(subtype: str, parts: Sequence[_Part]) -> _Part:
    return parts[0] if len(parts) == 1 else _multipart(subtype, parts)


def _multipart(subtype: str, parts: Sequence[_Part]) -> _Part:
    boundary = f"={uuid4().hex}="  # "=" stands in no base64 line but its last, and there without a letter behind it
    root = f'; type="{parts[0].bare_type}"' if subtype == "related" else ""  # RFC 2387 §3.1
    pieces: list[bytes] = []
    for part in parts:
        pieces += [b"\r\n--%s\r\n" % boundary.encode(), *_written(part.headers, part.body)]
    pieces.append(b"\r\n--%s--\r\n" % boundary.encode())
    return _Part((("Content-Type", f'multipart/{subtype}; boundary="{boundary}"{root}'),), pieces)


def _written(headers: Headers, body: Iterable[bytes]) -> list[bytes]:
    return [*(_header_line(name, value) for name, value in headers), b"\r\n", *body]


def _header_line(name: str, value: str) -> bytes:
    lines = [f"{name}:"]
    for word in value.split(" "):
        if len(lines[-1]) + 1 + len(word) <= MAX_LINE_LENGTH:
            lines[-1] += f" {word}"
        else:
            lines.append(f" {word}")
    return "\r\n".join(lines).encode("ascii") + b"\r\n"
