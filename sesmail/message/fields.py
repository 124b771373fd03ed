"""The other single fields of an email: each checked against SES's limit for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from sesmail.errors import InvalidEmail
from sesmail.message.headers import items
from sesmail.message.text import as_text, as_text_or_number, kind_of, line, listed

MAX_TAGS = 49
"""SES states no number; with sesmail's own tag this makes fifty."""
MAX_METADATA_BYTES = 16 * 1024
MAX_METADATA_DEPTH = 20
"""Both are ours: metadata stays in Redis as long as the send's record does, and is copied by recursion."""
MAX_IDEMPOTENCY_KEY_LENGTH = 256

ID_TAG = "sesmail-id"
LIST_TAG = "sesmail-list"
"""A tag of the caller's: the list that the email goes to. Rates are counted, and opt-outs may be, by it."""


class Lane(StrEnum):
    """Which queue an email waits in."""

    TRANSACTIONAL = "transactional"
    """Somebody waits for it (a receipt, a password reset): it goes first."""
    BULK = "bulk"
    """An e-letter: it gives way to transactional email and leaves that a part of the daily quota."""


def fill(target: object, **values: object) -> None:
    """Set the fields of a frozen record; a dataclass' own `__init__` does the same."""
    for name, value in values.items():
        object.__setattr__(target, name, value)


def either(name: str, value: object, alias: str, aliased: object) -> object:
    """One of two names for the same. Raises `InvalidEmail` when both are given."""
    if value is not None and aliased is not None:
        raise InvalidEmail(name, f"is given twice, as {name} and as {alias}")
    return aliased if value is None else value


_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,256}")


def tags_of(value: Mapping[str, Any] | Iterable[Any] | None) -> Mapping[str, str]:
    """SES message tags; a list of names is short for each with the value 1. Raises `InvalidEmail`."""
    given = as_text("tags", value)
    if isinstance(given, str):
        given = {given: "1"}
    elif given is not None and not isinstance(given, Mapping):
        given = {_tag(f"tags[{n}]", name): "1" for n, name in enumerate(listed("tags", given, MAX_TAGS))}
    tags = {_tag(field, name): _tag(field, content) for field, name, content in items("tags", given, MAX_TAGS)}
    if ID_TAG in map(str.lower, tags):
        raise InvalidEmail("tags", f"{ID_TAG} is sesmail's own")
    return MappingProxyType(tags)


def _tag(field: str, value: object) -> str:
    text = as_text_or_number(field, value)
    if not isinstance(text, str):
        raise InvalidEmail(field, f"its name or value is {kind_of(value)}, not text or a number")
    if not _TOKEN.fullmatch(text):
        raise InvalidEmail(field, "its name or value is not a tag's", "1 to 256 characters: A-Z a-z 0-9 _ -")
    return text


def metadata_of(value: Mapping[str, Any] | None) -> dict[str, Any]:
    """The caller's JSON object, a copy. Raises `InvalidEmail`."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidEmail("metadata", f"is {kind_of(value)}, not a mapping")
    try:
        text = json.dumps(_plain(value), allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
        kept: dict[str, Any] = json.loads(text)
        depth = _depth(kept)
    except (TypeError, ValueError, RecursionError):
        raise InvalidEmail("metadata", "is not a JSON object") from None
    if size > MAX_METADATA_BYTES or depth > MAX_METADATA_DEPTH:
        limit = f"at most {MAX_METADATA_BYTES} and {MAX_METADATA_DEPTH}"
        raise InvalidEmail("metadata", f"has {size} bytes as JSON, {depth} levels deep", limit)
    return kept


def _plain(value: Any) -> Any:
    """The same with the texts of lazy ones, which JSON does not know."""
    if isinstance(value, Mapping):
        return {as_text("metadata", name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [*map(_plain, value)]
    return as_text("metadata", value)


def _depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


MAX_ACCOUNT_LENGTH = 64
_CONFIGURATION_SET = re.compile(r"[A-Za-z0-9_-]{1,64}")


def configuration_set_of(given: object) -> str | None:
    """The name of a configuration set. Raises `InvalidEmail`."""
    value = as_text("configuration_set", given)
    if value is None or (isinstance(value, str) and _CONFIGURATION_SET.fullmatch(value)):
        return value
    raise InvalidEmail("configuration_set", "is not a configuration set's name", "1 to 64 characters: A-Z a-z 0-9 _ -")


def account_of(given: object) -> str | None:
    """The name of an account; whether there is one, settings know. Raises `InvalidEmail`."""
    return None if given is None else line("account", given, MAX_ACCOUNT_LENGTH)


def lane_of(value: object) -> Lane:
    """The lane of that name. Raises `InvalidEmail`."""
    try:
        return Lane(value)  # type: ignore[arg-type]  # anything else is a ValueError
    except ValueError:
        raise InvalidEmail("lane", "is unknown", " or ".join(Lane)) from None


def moment_of(field: str, value: object) -> datetime | None:
    """A time in UTC, from an aware datetime or ISO 8601. Raises `InvalidEmail`."""
    if value is None:
        return None
    moment = _parsed(field, value) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        raise InvalidEmail(field, f"is {kind_of(moment)}, not a date and time")
    if moment.utcoffset() is None:
        raise InvalidEmail(field, "has no time zone: give an aware datetime, such as datetime.now(timezone.utc)")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidEmail(field, "is before the year 1 or after the year 9999") from None


def _parsed(field: str, value: str) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise InvalidEmail(field, "is not a date and time in ISO 8601, such as 2027-01-31T09:00:00+01:00") from None


def idempotency_key_of(value: object) -> str | None:
    """The caller's key. Raises `InvalidEmail`."""
    return None if value is None else line("idempotency_key", value, MAX_IDEMPOTENCY_KEY_LENGTH)
