"""Other forms of an email's text, for readers who prefer them: an invitation, AMP, Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

from sesmail.errors import InvalidEmail
from sesmail.message.content_types import (
    bare_type,
    charset_of,
    content_type_of,
    encoded_text,
    is_composite,
    with_charset,
)
from sesmail.message.fields import fill
from sesmail.message.file_names import refuse_files_within
from sesmail.message.text import as_text, kind_of, listed

MAX_ALTERNATIVES = 10

# Readers show the last form that they know, so the plainest comes first: RFC 2046 §5.1.4. AMP stands before HTML for
# those that know the last one only, and an invitation after it, where calendars look for it:
# https://developers.google.com/gmail/ampemail/structure https://datatracker.ietf.org/doc/html/rfc6047#section-2.4
_PLACES = {"text/plain": 0, "text/html": 2, "text/calendar": 3}
BEFORE_HTML = 1
INSTEAD_OF_HTML = 2


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Alternative:
    """The same text in another form. Its `repr` does not show it."""

    content: bytes
    """Bytes, or a text, which is encoded in the character set that its type declares, else in UTF-8."""
    content_type: str
    """Such as `text/calendar; method=REQUEST`, with its parameters."""

    def __init__(self, content: bytes | str, content_type: str) -> None:
        """Take text or bytes. Raises `InvalidEmail`."""
        kind = content_type_of(content_type)
        if is_composite(kind):
            raise InvalidEmail("content_type", "is not that of a text, such as text/calendar")
        text = as_text("content", content)
        if isinstance(text, str):
            data, kind = encoded_text(text, kind)
        elif isinstance(text, bytes | bytearray | memoryview):
            data, kind = bytes(text), with_charset(bytes(text), kind)
        else:
            raise InvalidEmail("content", f"is {kind_of(content)}, not text or bytes")
        fill(self, content=data, content_type=kind)

    @classmethod
    def of_part(cls, content: bytes, content_type: str) -> Self:
        """A part of another email that stays as it is, such as one that is signed. Raises `InvalidEmail`."""
        part, kind = object.__new__(cls), content_type_of(content_type, composite=True)
        refuse_files_within(content, kind)
        fill(part, content=content, content_type=kind)
        return part

    @property
    def place(self) -> int:
        """Where it stands among all forms: smaller comes first."""
        kind = bare_type(self.content_type)
        return INSTEAD_OF_HTML if is_composite(kind) else _PLACES.get(kind, BEFORE_HTML)

    def __repr__(self) -> str:
        return f"<Alternative {bare_type(self.content_type)}, {len(self.content)} bytes>"


AlternativeLike: TypeAlias = "Alternative | tuple[bytes | str, str] | Mapping[str, Any]"
"""See `Email.alternatives`."""


def alternatives_of(value: object) -> tuple[Alternative, ...]:
    """The other forms, in the order in which they travel. Raises `InvalidEmail` that names the wrong one."""
    if value is None or (type(value) is tuple and not value):
        return ()
    if isinstance(value, Alternative | Mapping):
        value = (value,)
    found = [_alternative(n, each) for n, each in enumerate(listed("alternatives", value, MAX_ALTERNATIVES))]
    return tuple(sorted(found, key=lambda one: one.place))


def _alternative(n: int, entry: Any) -> Alternative:
    try:
        match entry:
            case Alternative():
                return entry
            case Mapping() if {*entry} == {"content", "content_type"}:
                return Alternative(entry["content"], entry["content_type"])
            case [content, content_type]:
                return Alternative(content, content_type)
    except InvalidEmail as error:
        raise InvalidEmail(f"alternatives[{n}].{error.field}", error.problem, error.limit) from None
    raise InvalidEmail(f"alternatives[{n}]", f"is {kind_of(entry)}; give (content, mimetype)")


def bodies_and_others(
    text: str | None, html: str | None, alternatives: tuple[Alternative, ...]
) -> tuple[str | None, str | None, tuple[Alternative, ...]]:
    """The two bodies and the other forms, where a body may have been given as one of these."""
    others: list[Alternative] = []
    for each in alternatives:
        body = _as_body(each)
        if body is not None and each.place == 0 and text is None:
            text = body
        elif body is not None and bare_type(each.content_type) == "text/html" and html is None:
            html = body
        else:
            others.append(each)
    return text, html, tuple(others)


def _as_body(alternative: Alternative) -> str | None:
    """Its text, where nothing but that would be lost."""
    parameters = alternative.content_type.partition(";")[2]
    if (parameters.strip() and not parameters.strip().lower().startswith("charset=")) or ";" in parameters:
        return None
    try:
        return alternative.content.decode(charset_of(alternative.content_type) or "utf-8") or None
    except (LookupError, ValueError):
        return None
