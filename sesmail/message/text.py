"""Text as arguments are given: lazy or not, a number, on one line or as a body.

Nothing here repeats a value in an error: addresses and subjects do not belong in logs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from email.header import Header
from enum import Enum
from itertools import islice
from numbers import Real
from typing import Any

from sesmail.errors import InvalidEmail

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # C0 and C1, the line and paragraph separators
_HALVES = re.compile(r"[\ud800-\udfff]")
# RFC 5322 §2.2 and §3.6 forbid NUL, and other controls mean nothing to a reader; tab, line ends and form feed stay.
_NOT_IN_A_BODY = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")

_NUMBERS: tuple[type, ...] = (Real, Decimal)


def kind_of(value: object) -> str:
    """What a value is, without showing it."""
    return "None" if value is None else f"of type {type(value).__name__}"


def as_text(field: str, value: object) -> object:
    """The plain text that a text of any make stands for, a lazy translation too; anything else as it is.

    Lazy ones of Django, Flask-Babel, Babel and others are told by what they can do: none of them is a `str`, and not
    all behave as one where it matters. Raises `InvalidEmail` where one cannot be read.
    """
    if type(value) is str or value is None:
        return value
    if issubclass(type(value), str):
        return str.__str__(value)  # of a subclass, its letters: Markup would escape what is added
    if issubclass(type(value), type):
        return value
    try:
        return str.__str__(str(value)) if hasattr(value, "casefold") else value
    except Exception as error:  # noqa: BLE001  whatever the caller's own code raises while it makes up its text
        raise InvalidEmail(field, f"cannot be read as text ({type(error).__name__})") from None


def as_text_or_number(field: str, value: object) -> object:
    """The same, with numbers as they are written."""
    if type(value) is not str and not isinstance(value, bool) and isinstance(value, _NUMBERS):
        try:
            return str(value.value if isinstance(value, Enum) else value)
        except ValueError:  # thousands of digits
            raise InvalidEmail(field, "is too long a number") from None
    return as_text(field, value)


def line(field: str, value: object, most: int, *, least: int = 1) -> str:
    """Text of `least` to `most` characters that stays on one line of a header. Raises `InvalidEmail`."""
    text = as_text(field, value)
    if not isinstance(text, str):
        raise InvalidEmail(field, f"is {kind_of(value)}, not text")
    if _HALVES.search(text):
        raise InvalidEmail(field, "has half of a surrogate pair, which UTF-8 cannot encode")
    if _CONTROL.search(text):
        raise InvalidEmail(field, "has a line break or another control character")
    if not least <= len(text) <= most:
        raise InvalidEmail(field, f"has {len(text)} characters", f"{least} to {most}")
    return text


def body(field: str, value: object) -> str | None:
    """A body as it is kept, None for an empty one. Raises `InvalidEmail`."""
    text = as_text(field, value)
    if text is None:
        return None
    if not isinstance(text, str):
        raise InvalidEmail(field, f"is {kind_of(value)}, not text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidEmail(field, "has half of a surrogate pair, which UTF-8 cannot encode") from None
    return _NOT_IN_A_BODY.sub("", text) or None


def listed(field: str, value: object, most: int, *, limit: int | None = None) -> tuple[Any, ...]:
    """The items of any iterable that cannot be meant as one item. It may be endless. `limit` is what is told of it."""
    if isinstance(value, str | bytes | bytearray | Mapping) or not isinstance(value, Iterable):
        raise InvalidEmail(field, f"is {kind_of(value)}, not a list")
    items = tuple(islice(value, most + 1))
    if len(items) > most:
        raise InvalidEmail(field, "has too many entries", f"at most {limit or most}")
    return items


def encoded_words(text: str) -> str:
    """Text as a header can carry it: ASCII as it is, anything else as encoded words (RFC 2047), on one line."""
    return text if text.isascii() else Header(text, "utf-8", maxlinelen=75).encode(linesep="")
