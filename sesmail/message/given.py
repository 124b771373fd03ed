"""Attachments from whatever form they are given in."""

from __future__ import annotations

import base64
import mimetypes
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from email.message import Message
from pathlib import Path
from typing import Any, TypeAlias

from sesmail.errors import InvalidEmail
from sesmail.message.attachment import MAX_ATTACHMENTS, Attachment, Content, FileObject
from sesmail.message.content_types import bare_type
from sesmail.message.parts import Part, is_email, read_part, written
from sesmail.message.reading import is_file_object, name_of, read_file, read_file_object, type_of
from sesmail.message.text import kind_of, listed

AttachmentLike: TypeAlias = (
    "Attachment | Path | bytes | FileObject | Mapping[str, Any] | Message[str, str]"
    " | tuple[str | None, Content] | tuple[str | None, Content, str | None]"
)
"""See `Email.attachments`."""

_MAPPING_FIELDS = frozenset({"filename", "content", "content_base64", "content_type", "content_id", "disposition"})
_FORMS = "give a list of (filename, content, mimetype), pathlib.Path, bytes or open files"


def attachments_of(value: object) -> tuple[Attachment, ...]:
    """The attachments of an email, in whatever form they were given. Raises `InvalidEmail` that names the wrong one."""
    if value is None or (type(value) is tuple and not value):
        return ()
    if isinstance(value, Attachment | Path | bytes | bytearray | memoryview | Mapping | Message) or _is_read(value):
        value = (value,)
    entries = listed("attachments", value, MAX_ATTACHMENTS)
    if not isinstance(value, Sequence | AbstractSet) and any(isinstance(each, bytes | bytearray) for each in entries):
        # An answer over HTTP, say: its pieces are no files.
        raise InvalidEmail("attachments", f"is {kind_of(value)}, which gives bytes piece by piece: join them; {_FORMS}")
    return tuple(_attachment(n, each) for n, each in enumerate(entries))


def _is_read(value: object) -> bool:
    return is_file_object(value) or is_django_message(value)


def is_django_message(value: object) -> bool:
    """Whether it is an email of Django's: `django.core.mail.EmailMessage` and what derives from it."""
    return not isinstance(value, type) and callable(getattr(value, "message", None)) and hasattr(value, "recipients")


def _attachment(n: int, entry: object) -> Attachment:
    try:
        return entry if isinstance(entry, Attachment) else _read(entry, f"attachment-{n + 1}")
    except InvalidEmail as error:
        raise InvalidEmail(f"attachments[{n}].{error.field}", error.problem, error.limit) from None


def _read(entry: Any, nameless: str) -> Attachment:
    if isinstance(entry, bytes | bytearray | memoryview | Message) or _is_read(entry):
        return _named(None, entry, None, nameless)
    match entry:
        case Path():
            return Attachment(entry.name, read_file(entry))
        case Mapping():
            return _read_mapping(entry, nameless)
        case [filename, content]:
            return _named(filename, content, None, nameless)
        case [filename, content, content_type]:
            return _named(filename, content, content_type, nameless)
    raise InvalidEmail("content", f"is {kind_of(entry)}; {_FORMS}")


def _named(
    filename: Any, content: Any, content_type: Any, nameless: str, *, content_id: Any = None, disposition: Any = None
) -> Attachment:
    """What is given under a name and a type, or says them itself."""
    if is_django_message(content):
        content = content.message()
    if isinstance(content, Message):
        if is_email(content) or _is_email_type(content_type):
            content, content_type = written(content), content_type or "message/rfc822"
        else:
            return _of_part(content, filename, content_type, nameless)
    elif isinstance(content, Path):
        filename, content = filename or content.name, read_file(content)
    elif is_file_object(content):
        filename, content_type = filename or name_of(content), content_type or type_of(content)
        content = read_file_object(content)
    name = filename or nameless + _extension(content_type)
    return Attachment(name, content, content_type, content_id=content_id, disposition=disposition)


def _is_email_type(content_type: object) -> bool:
    return isinstance(content_type, str) and bare_type(content_type) == "message/rfc822"


def _of_part(part: Part, filename: Any, content_type: Any, nameless: str) -> Attachment:
    read = read_part(part)
    return Attachment.of_part(
        filename or read.filename or nameless + _extension(content_type or read.content_type),
        read.content,
        content_type or read.content_type,
        content_id=read.content_id,
        disposition=read.disposition,
        headers=read.headers,
    )


def _extension(content_type: Any) -> str:
    bare = bare_type(str(content_type or ""))
    if bare.startswith("message/") and bare != "message/rfc822":
        return ".txt"
    return mimetypes.guess_extension(bare) or ".bin"


def _read_mapping(entry: Mapping[Any, Any], nameless: str) -> Attachment:
    if not _MAPPING_FIELDS.issuperset(entry):
        raise InvalidEmail("fields", "has an unknown one", ", ".join(sorted(_MAPPING_FIELDS)))
    content, encoded = entry.get("content"), entry.get("content_base64")
    if (content is None) == (encoded is None):
        raise InvalidEmail("content", "must be given once, as content or as content_base64")
    return _named(
        entry.get("filename"),
        _decoded(encoded) if content is None else content,
        entry.get("content_type"),
        nameless,
        content_id=entry.get("content_id"),
        disposition=entry.get("disposition"),
    )


_BLANKS = re.compile(rb"\s+")
_OF_URLS = bytes.maketrans(b"-_", b"+/")


def _decoded(encoded: object) -> bytes:
    """Base64 with the line breaks that MIME encoders make (RFC 2045 §6.8), in the alphabet for URLs, too.

    Without its padding it may have been cut off.
    """
    try:
        letters = encoded.encode("ascii") if isinstance(encoded, str) else bytes(memoryview(encoded))  # type: ignore[arg-type]
        letters = _BLANKS.sub(b"", letters).translate(_OF_URLS)
        return base64.b64decode(letters, validate=True)
    except (TypeError, ValueError):
        is_url = isinstance(encoded, str) and encoded.startswith("data:")
        instead = ": leave out what stands before the comma" if is_url else ""
        raise InvalidEmail("content_base64", f"is not base64{instead}") from None
