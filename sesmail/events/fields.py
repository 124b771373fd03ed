"""What can be read of SES's JSON, one field at a time: an odd field costs itself, not the event that it is in.

A name may be spelt in another case; what is there in another form than SES's is read where it can only mean one thing,
and otherwise passed over, its place noted. Nothing here raises, and no value is repeated.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from sesmail.errors import InvalidEmail
from sesmail.message.addresses import MAX_GIVEN_LENGTH, normal_address, normal_address_of

if TYPE_CHECKING:
    from collections.abc import Iterator

EARLIEST = datetime(2010, 1, 1, tzinfo=UTC)
"""SES is from 2011."""
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)
_MILLISECONDS_FROM = 1e11
"""A number this large counts milliseconds: in seconds it would be the year 5138."""
_COMMENT = re.compile(r"\s*\([^()]*\)\s*")
_ADDRESS = re.compile(r"(?!')[\w!#$%&'*+/=?^~.-]+@\w(?:[\w.-]*\w)?")
"""In a text that has more than that: its type (`rfc822;`), a name, quotes, brackets, a full stop."""
_NO_ADDRESS = re.compile(r"[\s<>\"]")
_YES, _NO = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0", "none"})


class Part:
    """One object of the JSON. What is missing or null is empty; what is there and cannot be read is noted, too."""

    __slots__ = ("_by_folded_name", "_place", "_unread", "raw")

    def __init__(self, value: object, place: str, unread: list[str]) -> None:
        """`unread` collects the places of what cannot be read, such as `bounce.timestamp`."""
        self.raw: dict[str, Any] = value if isinstance(value, dict) else {}
        self._place = place
        self._unread = unread
        self._by_folded_name: dict[str, Any] | None = None
        if value is not None and not isinstance(value, dict):
            unread.append(place)

    def __bool__(self) -> bool:
        """Whether there is anything in it."""
        return bool(self.raw)

    def get(self, name: str) -> Any:
        """The value as it is, or None."""
        value = self.raw.get(name)
        if value is not None or name in self.raw or not self.raw:
            return value
        if self._by_folded_name is None:
            self._by_folded_name = {_folded(spelt): value for spelt, value in self.raw.items()}
        return self._by_folded_name.get(_folded(name))

    def note(self, name: str) -> None:
        """This field could not be read."""
        self._unread.append(f"{self._place}.{name}" if self._place else name)

    def part(self, name: str) -> Part:
        """The object of that name."""
        return Part(self.get(name), f"{self._place}.{name}" if self._place else name, self._unread)

    def parts(self, name: str) -> list[Part]:
        """The objects in the list of that name; one that is not in a list counts as a list of one."""
        place = f"{self._place}.{name}"
        return [Part(value, place, self._unread) for value in _listed(self.get(name)) if value is not None]

    def text(self, name: str) -> str:
        """The text of that name."""
        value = self.get(name)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, str):
            return value
        if value is not None:
            self.note(name)
        return ""

    def flag(self, name: str) -> bool | None:
        """Whether it is true, also where that is written as text or as a number; None where that cannot be read."""
        given = str(self.get(name)).strip().lower()
        if given not in _YES | _NO:
            self.note(name)
            return None
        return given in _YES

    def time(self, name: str) -> datetime | None:
        """The time of that name in UTC, in whatever form; None for one in no year of SES's."""
        value = self.get(name)
        time = _time(value)
        if time is None and value is not None:
            self.note(name)
        return time

    def addresses(self, name: str) -> list[str]:
        """The addresses in the list of that name, each in its one form and once."""
        found = dict.fromkeys(self._address(value, name) for value in _listed(self.get(name)))
        return [address for address in found if address]

    def recipients(self, name: str) -> Iterator[tuple[Part, str]]:
        """Those whom the list of that name tells of, with their addresses; one without an address is passed over."""
        for value in _listed(self.get(name)):
            if isinstance(value, str):  # the address alone: used, and said
                part, address = Part({}, "", []), readable_address(value)
                self.note(name)
            else:
                part = Part(value, f"{self._place}.{name}", self._unread)
                address = part._address(part.get("emailAddress"), "emailAddress")
            if address:
                yield part, address

    def _address(self, value: object, name: str) -> str:
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        address = readable_address(value)
        if not address:
            self.note(name)
        return address


def readable_address(value: object) -> str:
    """The bare address in its one form, whatever is written around it; empty where there is none, or more than one.

    `parseaddr` would not do: from Python 3.11.10 on it answers nothing for `Ann, B. <ann@example.org>`.
    """
    if not isinstance(value, str) or "@" not in value[:MAX_GIVEN_LENGTH]:
        return ""
    within = value[:MAX_GIVEN_LENGTH].rpartition("<")[2].partition(">")[0].strip()
    text = within if "@" in within else value[:MAX_GIVEN_LENGTH]
    try:
        return normal_address_of("address", text)
    except InvalidEmail:
        without_comments = _COMMENT.sub(" ", text)
        found = {*map(normal_address, _ADDRESS.findall(without_comments if "@" in without_comments else text))}
    if found:
        return found.pop() if len(found) == 1 else ""
    local, _, domain = text.strip().rpartition("@")
    return normal_address(text) if local and domain and not _NO_ADDRESS.search(local + domain) else ""


def folded(text: str) -> str:
    """A word of SES's, for comparing: however it is spelt."""
    return "".join(filter(str.isalnum, text.lower()))


def _listed(value: object) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _folded(name: object) -> str:
    return str(name).lower().replace("_", "").replace("-", "")


def _time(value: object) -> datetime | None:
    try:
        time = _time_of_text(value) if isinstance(value, str) else _time_of_number(value)
        time = (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return time if EARLIEST <= time < _LATEST else None


def _time_of_text(text: str) -> datetime:
    text = text.strip()
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    if re.fullmatch(r"\d{9,14}(\.\d+)?", text):
        return _time_of_number(float(text))
    return parsedate_to_datetime(text)


def _time_of_number(value: object) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=value / 1000 if value > _MILLISECONDS_FROM else value)
