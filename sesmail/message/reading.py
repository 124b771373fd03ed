"""What files, and objects that behave as files, hold."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from sesmail.errors import InvalidEmail

if TYPE_CHECKING:
    from pathlib import Path

MAX_ENCODED_BYTES = 40 * 1024 * 1024
"""SES's limit for an email: https://docs.aws.amazon.com/ses/latest/dg/quotas.html"""


def read_file(path: Path) -> bytes:
    """A file's bytes, as far as an email could hold them. Raises `InvalidEmail`."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_ENCODED_BYTES + 1)
    except (OSError, ValueError) as error:
        raise _unreadable(error) from None


def is_file_object(value: object) -> bool:
    """Whether it can be read: an open file, `io.BytesIO`, Django's `UploadedFile`, Werkzeug's `FileStorage`, ..."""
    return not isinstance(value, type) and callable(getattr(value, "read", None))


def read_file_object(file: Any) -> bytes | str:
    """All that it holds, wherever it stands; it is left where it stood. Raises `InvalidEmail`."""
    if inspect.iscoroutinefunction(file.read):  # Starlette's UploadFile
        file = getattr(file, "file", file)
    try:
        before = _rewound(file)
        content = file.read(MAX_ENCODED_BYTES + 1)
        if before is not None:
            file.seek(before)
    except Exception as error:  # noqa: BLE001  an upload may be kept anywhere: whatever its storage raises
        if getattr(file, "closed", False) is True:
            raise InvalidEmail("content", "the file cannot be read: it is closed; hand it over open") from None
        raise _unreadable(error) from None
    if isinstance(content, str | bytes | bytearray | memoryview):
        return content if isinstance(content, str) else bytes(content)
    if inspect.iscoroutine(content):
        content.close()
    raise InvalidEmail("content", "what it reads is neither text nor bytes: give (filename, content, mimetype)")


def name_of(file: Any) -> str | None:
    """The name under which it was uploaded or opened, without folders."""
    for name in (getattr(file, "filename", None), getattr(file, "name", None)):
        if isinstance(name, str) and name:
            return name.replace("\\", "/").rstrip("/").rpartition("/")[2] or None
    return None


def type_of(file: Any) -> str | None:
    """The type with which it was uploaded."""
    kind = getattr(file, "content_type", None)
    return kind if isinstance(kind, str) and kind else None


def _rewound(file: Any) -> int | None:
    """Where it stood, if it can be told: what has been read to check it, or has just been written, is sent too."""
    if getattr(file, "closed", False) and callable(getattr(file, "open", None)):
        file.open()  # a file of Django's storages
    seekable = getattr(file, "seekable", None)
    if not callable(getattr(file, "seek", None)) or (callable(seekable) and not seekable()):
        return None
    before: int = file.tell()
    file.seek(0)
    return before


def _unreadable(error: Exception) -> InvalidEmail:
    reason = getattr(error, "strerror", None) or (
        "not a path" if isinstance(error, ValueError) else type(error).__name__
    )
    return InvalidEmail("content", f"the file cannot be read: {reason}")
