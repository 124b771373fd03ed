"""MIME: the message that SES would build, and the parts of one that it was given."""

from __future__ import annotations

import html
import re
from email import policy
from email.header import Header, decode_header, make_header
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from seslocal.message.submission import Attachment, Content

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from seslocal.message.submission import Submission

_PARSER = BytesParser(policy=policy.default)
_BODIES = frozenset({"text/plain", "text/html"})
_USED = re.compile(r"""cid:([^"'\s<>)]+)""", re.IGNORECASE)
MAX_LINE_LENGTH = 998
"""RFC 5322 §2.1.1. Headers are not folded before it: a link that is torn up is no link."""


def build(content: Content, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """A message from its parts, with other headers before its own."""
    message = EmailMessage(policy=policy.SMTP)
    if content.text is not None:
        message.set_content(content.text)
    if content.html is not None and content.text is not None:
        message.add_alternative(content.html, subtype="html")
    elif content.html is not None:
        message.set_content(content.html, subtype="html")
    for attachment in sorted(content.attachments, key=lambda one: not _is_shown(one, content)):
        _attach(message, attachment, shown=_is_shown(attachment, content))
    subject = content.subject.replace("\r", " ").replace("\n", " ")
    own = [*headers, ("Subject", subject), *content.headers]
    return b"".join(_line(name, value) for name, value in own) + message.as_bytes()


def source(submission: Submission, message_id: str, accepted_at: float) -> bytes:
    """What a recipient would get: as it was given, or built, with the headers that SES sets."""
    own = [("Message-ID", f"<{message_id}@email.amazonses.com>"), ("Date", formatdate(accepted_at))]
    if submission.content.raw is None:
        return build(submission.content, [*submission.addressing, *own])
    given = parse_headers(submission.content.raw)
    return b"".join(_line(name, value) for name, value in own if name not in given) + submission.content.raw


def parse_headers(raw: bytes) -> EmailMessage:
    """The headers of a message."""
    return _PARSER.parsebytes(raw, headersonly=True)


def decoded(value: str) -> str:
    """A header's value as it is read: a name that is not ASCII travels as encoded words (RFC 2047)."""
    try:
        return str(make_header(decode_header(value))) if "=?" in value else value
    except (LookupError, ValueError):
        return value


def file_names(raw: bytes) -> list[str]:
    """The names of the files in a message."""
    if b"name" not in raw:
        return []
    return [name for part in _PARSER.parsebytes(raw).walk() if (name := part.get_filename())]


def readable(content: Content) -> Content:
    """The same content with text, HTML and attachments taken out of a raw message."""
    if content.raw is None:
        return content
    message = _PARSER.parsebytes(content.raw)
    bodies = [part for part in (message.get_body(("plain",)), message.get_body(("html",))) if part is not None]
    return Content(
        subject=content.subject,
        text=_body(message, "plain"),
        html=_body(message, "html"),
        headers=tuple((name, str(value)) for name, value in message.items()),
        attachments=tuple(_attachment(part) for part in _leaves(message) if not any(part is body for body in bodies)),
    )


def _line(name: str, value: str) -> bytes:
    text = value if value.isascii() else Header(value, "utf-8", maxlinelen=75).encode(linesep="")
    lines = [f"{name}:"]
    for word in text.split(" "):
        if len(lines[-1]) + 1 + len(word) <= MAX_LINE_LENGTH:
            lines[-1] += f" {word}"
        else:
            lines.append(f" {word}")
    return "\r\n".join(lines).encode() + b"\r\n"


def _is_shown(attachment: Attachment, content: Content) -> bool:
    """Whether the HTML shows it."""
    used = {unquote(found) for found in _USED.findall(html.unescape(content.html or ""))}
    return attachment.disposition == "INLINE" and _bare_id(attachment.content_id) in used


def _bare_id(content_id: str | None) -> str | None:
    return content_id and content_id.removeprefix("<").removesuffix(">")


def _attach(message: EmailMessage, attachment: Attachment, *, shown: bool) -> None:
    how: dict[str, Any] = {
        "filename": attachment.filename,
        "disposition": attachment.disposition.lower(),
        "cid": f"<{_bare_id(attachment.content_id)}>" if attachment.content_id else None,
    }
    maintype, subtype, parameters = _type(attachment.content_type)
    page = message.get_body(("html",)) if shown else None
    add = message.add_attachment if page is None else page.add_related
    if (maintype, subtype) == ("message", "rfc822"):
        add(_PARSER.parsebytes(attachment.content), **how)
    else:
        add(attachment.content, maintype=maintype, subtype=subtype, params=parameters, **how)


def _type(content_type: str) -> tuple[str, str, dict[str, str]]:
    given = EmailMessage()
    given["Content-Type"] = content_type
    kind, _, subtype = given.get_content_type().partition("/")
    is_other_composite = kind == "multipart" or (kind == "message" and subtype != "rfc822")
    if is_other_composite or content_type.partition(";")[0].strip().lower() != f"{kind}/{subtype}":
        return "application", "octet-stream", {}
    return kind, subtype, dict(given["Content-Type"].params)


def _leaves(message: MIMEPart) -> Iterator[MIMEPart]:
    """The parts that hold something; a forwarded email is one."""
    if message.get_content_maintype() != "multipart":
        yield message
        return
    for part in message.iter_parts():
        yield from _leaves(part)


def _body(message: EmailMessage, subtype: str) -> str | None:
    part = message.get_body((subtype,))
    if part is None:
        return None
    try:
        content = part.get_content()
    except LookupError:  # a character set that nobody knows
        part.set_param("charset", "utf-8")
        content = part.get_content()
    return content if isinstance(content, str) else None


def _attachment(part: MIMEPart) -> Attachment:
    content_id = part["Content-ID"]
    return Attachment(
        filename=part.get_filename() or "unnamed",
        content_type=part.get_content_type(),
        content=_content(part),
        disposition=(part.get_content_disposition() or "attachment").upper(),
        content_id=None if content_id is None else str(content_id),
    )


def _content(part: MIMEPart) -> bytes:
    if part.is_multipart():  # headers and lines of its own, as message/rfc822
        inner: Any = part.get_payload()  # messages
        return b"".join(each.as_bytes() for each in inner)
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""
