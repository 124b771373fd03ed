"""A file that travels with an email: what it may be."""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Protocol, Self, TypeAlias

from sesmail.errors import InvalidEmail
from sesmail.frames import shows_no_email
from sesmail.message.content_types import (
    bare_type,
    content_type_of,
    encoded_text,
    is_composite,
    with_charset,
)
from sesmail.message.fields import fill
from sesmail.message.file_names import file_name, refuse_files_within
from sesmail.message.parts import SAID_ELSEWHERE, as_lines, written
from sesmail.message.reading import is_file_object, name_of, read_file, read_file_object
from sesmail.message.text import as_text, encoded_words, kind_of, line, listed

MAX_ATTACHMENTS = 500 - 5
"""SES takes 500 MIME parts; two bodies and what holds them together make five."""
DISPOSITIONS = ("attachment", "inline")
MAX_PART_HEADER_LENGTH = 900
MAX_PART_HEADERS = 100
OCTETS = "application/octet-stream"


class FileObject(Protocol):
    """What can be read: an open file, `io.BytesIO`, Django's `UploadedFile`, Werkzeug's `FileStorage`, ..."""

    def read(self, size: int = -1, /) -> bytes | str:
        """What it holds."""


Content: TypeAlias = "bytes | str | Path | FileObject | Message[str, str]"
PartHeaders: TypeAlias = "Mapping[str, str] | Iterable[tuple[str, str]]"


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Attachment:
    """A file that travels with an email. Its `repr` shows neither name nor content."""

    filename: str
    """As the reader sees it: 1 to 255 bytes in UTF-8, with none of the extensions that
    [SES refuses](https://docs.aws.amazon.com/ses/latest/dg/mime-types.html), such as `.exe` and `.js`. What no file on
    Windows may be called by, such as `/` or `:`, travels as `_`."""
    content: bytes
    """Bytes, an open file, or a text, encoded in the character set that its type declares, else in UTF-8. An email
    (`message/rfc822`) is kept as SES can carry it: in lines of ASCII, which end with CR and LF."""
    content_type: str
    """A MIME type of at most 78 characters, with parameters or without. Guessed from the file's name when not given."""
    content_id: str | None
    """For a picture that the HTML shows as `<img src="cid:logo">`: `"logo"`, without angle brackets, at most 76
    printable ASCII characters."""
    disposition: str | None
    """`"inline"` to be shown with the text, `"attachment"` to be offered as a file. In an email it is `"inline"` where
    the HTML uses its `content_id`, and a file where neither says anything."""
    headers: tuple[tuple[str, str], ...]
    """Other headers of its part, such as `{"Content-Description": "..."}`."""

    @shows_no_email
    def __init__(
        self,
        filename: str,
        content: Content,
        content_type: str | None = None,
        *,
        content_id: str | None = None,
        disposition: str | None = None,
        headers: PartHeaders = (),
    ) -> None:
        """Take text or bytes. Raises `InvalidEmail`."""
        filename = file_name(filename)
        kind = content_type_of(content_type or guessed_type(filename))
        self._keep(filename, content, kind, content_id, disposition, headers)

    def _keep(
        self,
        filename: str,
        content: object,
        content_type: str,
        content_id: object,
        disposition: object,
        headers: PartHeaders,
    ) -> None:
        data, kind = _content(content, content_type)
        refuse_files_within(data, kind)
        fill(
            self,
            filename=filename,
            content=data,
            content_type=kind,
            content_id=_content_id(content_id),
            disposition=_disposition(disposition),
            headers=_part_headers(headers),
        )

    @classmethod
    def inline(
        cls, content: Path | bytes | FileObject, filename: str | None = None, content_type: str | None = None
    ) -> Self:
        """A picture for the HTML, a file or its bytes, with a `cid` of its own: `<img src="cid:{picture.cid}">`.

        The same picture has the same `cid`. Raises `InvalidEmail`.
        """
        data = _read(content)
        if not isinstance(data, bytes | bytearray | memoryview):
            raise InvalidEmail("content", f"is {kind_of(content)}; give a pathlib.Path, bytes or an open file")
        data = bytes(data)
        kind = content_type or _picture_type(data)
        name = filename or (None if isinstance(content, bytes) else name_of(content)) or _picture_name(kind)
        cid = hashlib.sha256(f"{name}\n".encode(errors="surrogateescape") + data).hexdigest()[:24]
        return cls(
            name,
            data,
            content_type or (None if guessed_type(name) != OCTETS else kind),
            content_id=f"{cid}@inline",
            disposition="inline",
        )

    @classmethod
    def of_part(
        cls,
        filename: str,
        content: bytes,
        content_type: str,
        *,
        content_id: str | None,
        disposition: str | None,
        headers: tuple[tuple[str, str], ...],
    ) -> Self:
        """A part of another email, with all that it says of itself. Raises `InvalidEmail`."""
        part = object.__new__(cls)
        kind = content_type_of(content_type, composite=True)
        part._keep(file_name(filename), content, kind, content_id, disposition, headers)
        return part

    @property
    def cid(self) -> str | None:
        """What stands behind `cid:` in the HTML that shows it; its `content_id`."""
        return self.content_id

    def __repr__(self) -> str:
        return f"<Attachment {bare_type(self.content_type)}, {len(self.content)} bytes>"


def guessed_type(filename: str) -> str:
    """The MIME type that a file's name stands for."""
    content_type, compression = mimetypes.guess_type(filename)
    return content_type if content_type and not compression else OCTETS


def _content(value: object, content_type: str) -> tuple[bytes, str]:
    """The bytes that travel, and the type that says what they are."""
    text = as_text("content", _read(value))
    if isinstance(text, str):
        content, content_type = encoded_text(text, content_type)
    elif isinstance(text, bytes | bytearray | memoryview):
        content = bytes(text)
    else:
        raise InvalidEmail("content", f"is {kind_of(value)}, not text or bytes")
    if is_composite(content_type):
        lines = as_lines(content, bare_type(content_type))
        return (content, OCTETS) if lines is None else (lines, content_type)
    return content, with_charset(content, content_type)


def _read(value: object) -> object:
    """What a file holds, or a message says; anything else as it is."""
    if isinstance(value, Path):
        return read_file(value)
    if isinstance(value, Message):
        return written(value)
    return read_file_object(value) if is_file_object(value) else value


_CONTENT_ID = re.compile(r"[!-;=?-~]{1,76}")


def _content_id(value: object) -> str | None:
    text = as_text("content_id", value)
    if text is None:
        return None
    bare = text.strip().removeprefix("<").removesuffix(">") if isinstance(text, str) else ""
    if not _CONTENT_ID.fullmatch(bare):
        raise InvalidEmail("content_id", "is not a content id", "1 to 76 printable ASCII characters, no space, no <>")
    return bare


def _disposition(value: object) -> str | None:
    text = as_text("disposition", value)
    if text is None:
        return None
    if not isinstance(text, str) or text.lower() not in DISPOSITIONS:
        raise InvalidEmail("disposition", "is unknown", " or ".join(DISPOSITIONS))
    return text.lower()


_HEADER_NAME = re.compile(r"[!-9;-~]{1,126}")


def _part_headers(value: PartHeaders) -> tuple[tuple[str, str], ...]:
    pairs = value.items() if isinstance(value, Mapping) else listed("headers", value, MAX_PART_HEADERS)
    return tuple(_part_header(f"headers[{n}]", pair) for n, pair in enumerate(pairs))


def _part_header(field: str, pair: object) -> tuple[str, str]:
    name, value = pair if isinstance(pair, tuple | list) and len(pair) == 2 else (None, None)
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name) or name.lower() in SAID_ELSEWHERE:
        raise InvalidEmail(field, "its name is not that of another header of a part")
    return name, encoded_words(line(field, value, MAX_PART_HEADER_LENGTH))


_PICTURES = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))


def _picture_type(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data.lstrip()[:4] == b"<svg":
        return "image/svg+xml"
    return next((kind for magic, kind in _PICTURES if data.startswith(magic)), OCTETS)


def _picture_name(kind: str) -> str:
    extensions = {"image/webp": ".webp"}  # which Python 3.11 and 3.12 do not know
    return f"picture{extensions.get(kind) or mimetypes.guess_extension(bare_type(kind)) or '.bin'}"
