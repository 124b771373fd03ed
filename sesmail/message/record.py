"""An email's written form: a small record that JSON can hold, and the large parts that it refers to."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sesmail.message.alternative import Alternative
from sesmail.message.attachment import Attachment
from sesmail.message.content_types import MAX_TYPE_LENGTH, is_composite
from sesmail.message.email import Email
from sesmail.message.fields import Lane, fill, moment_of
from sesmail.message.headers import NOTHING, is_structured

if TYPE_CHECKING:
    from collections.abc import Mapping

PLAIN, RICH, WHOLE = 1, 2, 3
"""Versions of the written form. All that a `PLAIN` one says is sent as it is meant by each release that ever was; a
`RICH` one says what those before could not compose, or not without loss: they must leave it. So must those leave a
`WHOLE` one that would encode a form with parts of its own, which is signed or encrypted."""

_LISTS = ("cc", "bcc", "reply_to")
_MAPPINGS = ("headers", "tags", "ses")
_STRINGS = ("from_email", "configuration_set", "idempotency_key")
_MOMENTS = ("send_at", "expires_at")


def detach(email: Email) -> tuple[dict[str, Any], list[bytes]]:
    """Take the email apart: a small record that JSON can hold, and the bodies and attachments that it refers to.

    The record has `Email`'s keywords, those without a value left out; where a body would stand, in `text`, `html`
    and the `content` of each attachment and alternative, stands its index in the list of parts.
    """
    parts: list[bytes] = []
    record: dict[str, Any] = {"to": [*email.to], "subject": email.subject, "lane": email.lane.value}
    for name in ("text", "html"):
        if body := getattr(email, name):
            record[name] = _add(parts, body.encode())
    if email.alternatives:
        record["alternatives"] = [
            {"content": _add(parts, each.content), "content_type": each.content_type} for each in email.alternatives
        ]
    if email.attachments:
        record["attachments"] = [_detached(each, parts) for each in email.attachments]
    record |= {name: [*value] for name in _LISTS if (value := getattr(email, name))}
    record |= {name: {**value} for name in _MAPPINGS if (value := getattr(email, name))}
    record |= {name: value for name in _STRINGS if (value := getattr(email, name)) is not None}
    record |= {name: value.isoformat() for name in _MOMENTS if (value := getattr(email, name))}
    if metadata := email.metadata:
        record["metadata"] = metadata
    return record, parts


def version_of(email: Email) -> int:
    """The lowest version in which an email can be written down: older releases take what they can send without loss."""
    if any(is_composite(each.content_type) for each in email.alternatives):
        return WHOLE
    plain = (
        not email.alternatives
        and not email.ses
        and (email.text is not None or email.html is not None)
        and all(value.isascii() or not is_structured(name) for name, value in email.headers.items())
        and all(map(_is_plain, email.attachments))
    )
    return PLAIN if plain else RICH


def _is_plain(attachment: Attachment) -> bool:
    return (
        attachment.disposition == _former_disposition(attachment.content_id)
        and not attachment.headers
        and len(attachment.content_type) <= MAX_TYPE_LENGTH
        and not is_composite(attachment.content_type)
    )


def _former_disposition(content_id: str | None) -> str:
    return "inline" if content_id else "attachment"


def attach(record: Mapping[str, Any], parts: list[bytes]) -> Email:
    """Put together what `detach` took apart. Nothing is checked again: only for what `detach` gave."""
    get = record.get
    email = object.__new__(Email)
    fill(
        email,
        to=tuple(record["to"]),
        subject=record["subject"],
        text=None if (text := get("text")) is None else parts[text].decode(),
        html=None if (html := get("html")) is None else parts[html].decode(),
        alternatives=tuple(_alternative(each, parts) for each in get("alternatives", ())),
        from_email=get("from_email"),
        cc=tuple(get("cc", ())),
        bcc=tuple(get("bcc", ())),
        reply_to=tuple(get("reply_to", ())),
        headers=MappingProxyType(headers) if (headers := get("headers")) else NOTHING,
        attachments=tuple(_attached(each, parts) for each in get("attachments", ())),
        tags=MappingProxyType(tags) if (tags := get("tags")) else NOTHING,
        _metadata=get("metadata", {}),
        configuration_set=get("configuration_set"),
        ses=MappingProxyType(ses) if (ses := get("ses")) else NOTHING,
        account=None,  # the row says it, so that scripts can read it
        lane=Lane(record["lane"]),
        send_at=moment_of("send_at", get("send_at")),
        expires_at=moment_of("expires_at", get("expires_at")),
        idempotency_key=get("idempotency_key"),
    )
    return email


def _add(parts: list[bytes], part: bytes) -> int:
    parts.append(part)
    return len(parts) - 1


def _detached(attachment: Attachment, parts: list[bytes]) -> dict[str, Any]:
    record: dict[str, Any] = {
        "filename": attachment.filename,
        "content": _add(parts, attachment.content),
        "content_type": attachment.content_type,
        "content_id": attachment.content_id,
    }
    if attachment.disposition != _former_disposition(attachment.content_id):
        record["disposition"] = attachment.disposition
    return record | ({"headers": attachment.headers} if attachment.headers else {})


def _attached(record: Mapping[str, Any], parts: list[bytes]) -> Attachment:
    attachment = object.__new__(Attachment)
    fill(
        attachment,
        filename=record["filename"],
        content=parts[record["content"]],
        content_type=record["content_type"],
        content_id=record["content_id"],
        disposition=record.get("disposition", _former_disposition(record["content_id"])),
        headers=tuple((name, value) for name, value in record.get("headers", ())),
    )
    return attachment


def _alternative(record: Mapping[str, Any], parts: list[bytes]) -> Alternative:
    alternative = object.__new__(Alternative)
    fill(alternative, content=parts[record["content"]], content_type=record["content_type"])
    return alternative
