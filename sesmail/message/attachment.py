"""A file that travels with an email, from whatever form it is given in."""

from __future__ import annotations

import base64
import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, TypeAlias

from sesmail.errors import InvalidEmail
from sesmail.message.addresses import kind_of, line, listed
from sesmail.message.fields import fill

MAX_ATTACHMENTS = 500 - 5
"""SES takes 500 MIME parts; two bodies and what holds them together make five."""


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Attachment:
    """A file that travels with an email. Its `repr` shows neither name nor content."""

    filename: str
    """As the reader sees it: 1 to 255 bytes in UTF-8."""
    content: bytes
    """Bytes, or a text, which is encoded as UTF-8."""
    content_type: str
    """A MIME type of at most 78 characters. Guessed from the file's name when not given."""
    content_id: str | None
    """For a picture that the HTML shows as `<img src="cid:logo">`: `"logo"`, without angle brackets, at most 76
    printable ASCII characters."""

    def __init__(
        self, filename: str, content: bytes | str, content_type: str | None = None, *, content_id: str | None = None
    ) -> None:
        """Take text or bytes; text is encoded as UTF-8. Raises `InvalidEmail`."""
        filename = _filename(filename)
        content_type = _content_type(content_type or _guessed_type(filename))
        if isinstance(content, str) and not content.isascii():
            content_type = _with_charset(content_type)
        fill(
            self,
            filename=filename,
            content=_content(content),
            content_type=content_type,
            content_id=_content_id(content_id),
        )

    def __repr__(self) -> str:
        return f"<Attachment {self.content_type.partition(';')[0]}, {len(self.content)} bytes>"


AttachmentLike: TypeAlias = (
    "Attachment | Path | bytes | Mapping[str, Any] | Message[str, str]"
    " | tuple[str | None, bytes | str] | tuple[str | None, bytes | str, str | None]"
)
"""See `Email.attachments`."""


_MIME_WORD = r"[A-Za-z0-9!#$&^_.+-]+"
_CONTENT_TYPE = re.compile(
    rf"(?!multipart/){_MIME_WORD}/{_MIME_WORD}(?:; ?{_MIME_WORD}=(?:{_MIME_WORD}|\"[ !#-\[\]-~]*\"))*",
    re.IGNORECASE,
)
_MAPPING_FIELDS = frozenset({"filename", "content", "content_base64", "content_type", "content_id"})
_CONTENT_ID = re.compile(r"[!-;=?-~]{1,76}")


def attachments_of(value: object) -> tuple[Attachment, ...]:
    """The attachments of an email, in whatever form they were given. Raises `InvalidEmail` that names the wrong one."""
    if value is None:
        return ()
    if isinstance(value, Attachment | Path | bytes | bytearray | Mapping | Message):
        value = (value,)
    return tuple(_attachment(n, each) for n, each in enumerate(listed("attachments", value, MAX_ATTACHMENTS)))


def _attachment(n: int, entry: object) -> Attachment:
    try:
        return entry if isinstance(entry, Attachment) else _read(entry, f"attachment-{n + 1}")
    except InvalidEmail as error:
        raise InvalidEmail(f"attachments[{n}].{error.field}", error.problem, error.limit) from None


def _read(entry: object, nameless: str) -> Attachment:
    match entry:
        case Path():
            return Attachment(entry.name, _read_file(entry))
        case bytes() | bytearray():
            return Attachment(f"{nameless}.bin", bytes(entry))
        case Mapping():
            return _read_mapping(entry, nameless)
        case Message():
            return _read_part(entry, nameless)
        case [filename, content]:
            return _named(filename, content, None, None, nameless)
        case [filename, content, content_type]:
            return _named(filename, content, content_type, None, nameless)
    raise InvalidEmail("content", f"is {kind_of(entry)}; give (filename, content, mimetype), a pathlib.Path or bytes")


def _named(filename: Any, content: Any, content_type: Any, content_id: Any, nameless: str) -> Attachment:
    filename = filename or nameless + (mimetypes.guess_extension(str(content_type)) or ".bin")
    return Attachment(filename, content, content_type, content_id=content_id)


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise InvalidEmail("content", f"the file cannot be read: {reason}") from None


def _read_mapping(entry: Mapping[Any, Any], nameless: str) -> Attachment:
    if not _MAPPING_FIELDS.issuperset(entry):
        raise InvalidEmail("fields", "has an unknown one", ", ".join(sorted(_MAPPING_FIELDS)))
    filename, content, encoded, content_type, content_id = map(
        entry.get, ("filename", "content", "content_base64", "content_type", "content_id")
    )
    if (content is None) == (encoded is None):
        raise InvalidEmail("content", "must be given once, as content or as content_base64")
    return _named(filename, _decoded(encoded) if content is None else content, content_type, content_id, nameless)


def _decoded(encoded: object) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)  # type: ignore[arg-type]  # anything else is a TypeError
    except (TypeError, ValueError):
        raise InvalidEmail("content_base64", "is not base64") from None


def _read_part(part: Message, nameless: str) -> Attachment:
    content_id = part["Content-ID"]
    return _named(
        part.get_filename(),
        part.get_payload(decode=True),
        part.get_content_type(),
        content_id and str(content_id),
        nameless,
    )


def _filename(value: object) -> str:
    filename = line("filename", value, 255)
    if (size := len(filename.encode())) > 255:
        raise InvalidEmail("filename", f"has {size} bytes in UTF-8", "at most 255")
    return filename


def _content(value: object) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise InvalidEmail("content", "has half of a surrogate pair, which UTF-8 cannot encode") from None
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise InvalidEmail("content", f"is {kind_of(value)}, not text or bytes")


def _content_type(value: object) -> str:
    if isinstance(value, str) and len(value) <= 78 and _CONTENT_TYPE.fullmatch(value):
        return value
    raise InvalidEmail("content_type", "is not a file's MIME type, such as application/pdf", "at most 78 characters")


def _guessed_type(filename: str) -> str:
    content_type, compression = mimetypes.guess_type(filename)
    return content_type if content_type and not compression else "application/octet-stream"


def _with_charset(content_type: str) -> str:
    stated = "charset=" in content_type.lower() or not content_type.lower().startswith("text/")
    return content_type if stated else f"{content_type}; charset=utf-8"


def _content_id(value: object) -> str | None:
    if value is None:
        return None
    bare = value.removeprefix("<").removesuffix(">") if isinstance(value, str) else ""
    if not _CONTENT_ID.fullmatch(bare):
        raise InvalidEmail("content_id", "is not a content id", "1 to 76 printable ASCII characters, no space, no <>")
    return bare
