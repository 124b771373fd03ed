"""The single fields of an email, but for its addresses and attachments: each checked against SES's limit for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from sesmail.errors import InvalidEmail
from sesmail.message.addresses import encoded_words, kind_of, line, listed

MAX_HEADERS = 15
MAX_TAGS = 49
"""SES states no number; with sesmail's own tag this makes fifty."""
MAX_METADATA_BYTES = 16 * 1024
MAX_METADATA_DEPTH = 20
"""Both are ours: metadata stays in Redis as long as the send's record does, and is copied by recursion."""
MAX_IDEMPOTENCY_KEY_LENGTH = 256

ID_TAG = "sesmail-id"
ID_HEADER = "X-Sesmail-Id"
LIST_TAG = "sesmail-list"
"""A tag of the caller's: the list that the email goes to. Rates are counted, and opt-outs may be, by it."""

NOTHING: Mapping[str, str] = MappingProxyType({})


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


def either(name: str, value: str | None, alias: str, aliased: str | None) -> str | None:
    """One of two names for the same. Raises `InvalidEmail` when both are given."""
    if value is not None and aliased is not None:
        raise InvalidEmail(name, f"is given twice, as {name} and as {alias}")
    return aliased if value is None else value


def body(field: str, value: object) -> str | None:
    """A body as it is kept, None for an empty one. Raises `InvalidEmail`."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidEmail(field, f"is {kind_of(value)}, not text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidEmail(field, "has half of a surrogate pair, which UTF-8 cannot encode") from None
    return value


_HEADER_NAME = re.compile(r"[!-9;-~]{1,126}")
# What SES does not take as a header of one's own, and what it ignores beside an API parameter of that meaning; with the
# argument that says it. https://docs.aws.amazon.com/ses/latest/dg/header-fields.html
_REFUSED_HEADERS = {
    "bcc": "bcc",
    "cc": "cc",
    "content-disposition": "attachments",
    "content-transfer-encoding": "",
    "content-type": "",
    "date": "",
    "from": "from_email",
    "message-id": "",
    "mime-version": "",
    "reply-to": "reply_to",
    "return-path": "",
    "subject": "subject",
    "to": "to",
    "x-ses-configuration-set": "configuration_set",
    "x-ses-message-tags": "tags",
    ID_HEADER.lower(): "",
}


def headers_of(value: Mapping[str, str] | None) -> Mapping[str, str]:
    """The caller's headers, in order. Raises `InvalidEmail`."""
    headers: dict[str, str] = {}
    for field, name, content in _items("headers", value, MAX_HEADERS):
        checked = _header_name(field, name)
        headers[checked] = _header_value(field, checked, content)
    if len({name.lower() for name in headers}) < len(headers):
        raise InvalidEmail("headers", "has one name twice, in different case")
    return MappingProxyType(headers)


def _items(field: str, value: object, most: int) -> Iterable[tuple[str, Any, Any]]:
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise InvalidEmail(field, f"is {kind_of(value)}, not a mapping")
    if len(value) > most:
        raise InvalidEmail(field, f"has {len(value)} entries", f"at most {most}")
    for n, (name, content) in enumerate(value.items()):
        yield f"{field}[{n}]", name, content


def _header_name(field: str, name: object) -> str:
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise InvalidEmail(
            field, "its name is not a header's", "1 to 126 printable ASCII characters, no colon, no space"
        )
    if (instead := _REFUSED_HEADERS.get(name.lower())) is not None:
        raise InvalidEmail(field, f"SES sets this header itself{instead and f'; give {instead}='}")
    return name


def _header_value(field: str, name: str, value: object) -> str:
    content = line(field, value, 995).strip()
    length = len(encoded_words(content))
    if not 1 <= length <= 995 or len(name) + length > 996:
        raise InvalidEmail(
            field, f"its value has {length} characters, as encoded for a header", "1 to 995, 996 with the name"
        )
    return content


_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,256}")


def tags_of(value: Mapping[str, str] | Iterable[str] | None) -> Mapping[str, str]:
    """SES message tags; a list of names is short for each with the value 1. Raises `InvalidEmail`."""
    if isinstance(value, str):
        value = {value: "1"}
    elif value is not None and not isinstance(value, Mapping):
        value = {_tag(f"tags[{n}]", name): "1" for n, name in enumerate(listed("tags", value, MAX_TAGS))}
    tags = {_tag(field, name): _tag(field, content) for field, name, content in _items("tags", value, MAX_TAGS)}
    if ID_TAG in map(str.lower, tags):
        raise InvalidEmail("tags", f"{ID_TAG} is sesmail's own")
    return MappingProxyType(tags)


def _tag(field: str, value: object) -> str:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise InvalidEmail(field, "its name or value is not a tag's", "1 to 256 characters: A-Z a-z 0-9 _ -")
    return value


def metadata_of(value: Mapping[str, Any] | None) -> dict[str, Any]:
    """The caller's JSON object, a copy. Raises `InvalidEmail`."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidEmail("metadata", f"is {kind_of(value)}, not a mapping")
    try:
        text = json.dumps({**value}, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
        kept: dict[str, Any] = json.loads(text)
        depth = _depth(kept)
    except (TypeError, ValueError, RecursionError):
        raise InvalidEmail("metadata", "is not a JSON object") from None
    if size > MAX_METADATA_BYTES or depth > MAX_METADATA_DEPTH:
        limit = f"at most {MAX_METADATA_BYTES} and {MAX_METADATA_DEPTH}"
        raise InvalidEmail("metadata", f"has {size} bytes as JSON, {depth} levels deep", limit)
    return kept


def _depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


_CONFIGURATION_SET = re.compile(r"[A-Za-z0-9_-]{1,64}")


def configuration_set_of(value: object) -> str | None:
    """The name of a configuration set. Raises `InvalidEmail`."""
    if value is None or (isinstance(value, str) and _CONFIGURATION_SET.fullmatch(value)):
        return value
    raise InvalidEmail("configuration_set", "is not a configuration set's name", "1 to 64 characters: A-Z a-z 0-9 _ -")


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
