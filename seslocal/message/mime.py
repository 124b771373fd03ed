"""MIME: the message that SES would build, and the parts of one that it was given."""

from __future__ import annotations

from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import TYPE_CHECKING

from seslocal.message.submission import Attachment, Content

if TYPE_CHECKING:
    from seslocal.message.submission import Submission

_PARSER = BytesParser(policy=policy.default)
_COMPOSITE = frozenset({"message", "multipart"})


def build(content: Content) -> EmailMessage:
    """A message from its parts, without addresses."""
    message = EmailMessage(policy=policy.SMTP)
    message["Subject"] = content.subject.replace("\r", " ").replace("\n", " ")
    for name, value in content.headers:
        message[name] = value
    if content.text is not None:
        message.set_content(content.text)
    if content.html is not None and content.text is not None:
        message.add_alternative(content.html, subtype="html")
    elif content.html is not None:
        message.set_content(content.html, subtype="html")
    for attachment in content.attachments:
        _attach(message, attachment)
    return message


def source(submission: Submission, message_id: str) -> bytes:
    """What a recipient would get: as it was given, or built, with the Message-ID that SES sets."""
    if submission.content.raw is not None:
        return submission.content.raw
    message = build(submission.content)
    for name, addresses in submission.addressing:
        message[name] = addresses
    message["Message-ID"] = f"<{message_id}@email.amazonses.com>"
    return message.as_bytes()


def parse_headers(raw: bytes) -> EmailMessage:
    """The headers of a message."""
    return _PARSER.parsebytes(raw, headersonly=True)


def readable(content: Content) -> Content:
    """The same content with text, HTML and attachments taken out of a raw message."""
    if content.raw is None:
        return content
    message = _PARSER.parsebytes(content.raw)
    return Content(
        subject=content.subject,
        text=_body(message, "plain"),
        html=_body(message, "html"),
        headers=tuple((name, str(value)) for name, value in message.items()),
        attachments=tuple(_attachment(part) for part in message.iter_attachments()),
    )


def _attach(message: EmailMessage, attachment: Attachment) -> None:
    kind, _, subtype = attachment.content_type.partition(";")[0].partition("/")
    if kind in _COMPOSITE or not subtype:
        kind, subtype = "application", "octet-stream"
    message.add_attachment(
        attachment.content,
        maintype=kind,
        subtype=subtype,
        filename=attachment.filename,
        disposition=attachment.disposition.lower(),
        cid=attachment.content_id,
    )


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


def _attachment(part: EmailMessage) -> Attachment:
    payload = part.get_payload(decode=True)
    return Attachment(
        filename=part.get_filename() or "unnamed",
        content_type=part.get_content_type(),
        content=payload if isinstance(payload, bytes) else b"",
        disposition=(part.get_content_disposition() or "attachment").upper(),
        content_id=part["Content-ID"],
    )
