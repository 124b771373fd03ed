"""A letter to a list: one email a row, with the row's own values in it."""

from __future__ import annotations

import csv
import html
import re
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from sesmail.errors import ConfigurationError, InvalidEmail
from sesmail.message import Email, Lane
from sesmail.message.addresses import normal_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sesmail.message import Attachment

PLACEHOLDER = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")
ADDRESS_COLUMNS = ("email", "to", "address", "e-mail", "email_address")


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Person:
    """A row of the list."""

    line: int
    """Where it stands in the file, counted from 1 with the header."""
    address: str
    values: Mapping[str, str]
    problem: str = ""
    """What is wrong with the row itself."""

    @property
    def mailbox(self) -> str:
        """The address alone, by which the person is told from others; of a valid row only."""
        return normal_address(self.address)

    @property
    def former_mailbox(self) -> str:
        """How former releases told the person from others: a mailing that they began knows whom it has mailed."""
        return self.address.rpartition("<")[2].removesuffix(">").lower()


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRow:
    """A row that cannot be mailed. It holds nothing of the row itself."""

    line: int
    problem: str


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Letter:
    """What everybody gets; `{{column}}` in subject, text and HTML stands for the row's value."""

    subject: str
    text: str | None
    html: str | None
    from_email: str | None = None
    reply_to: Sequence[str] = ()
    attachments: Sequence[Attachment | Path] = ()
    tags: Mapping[str, str] | None = None
    configuration_set: str | None = None
    lane: Lane = Lane.BULK

    def columns(self) -> set[str]:
        """The columns that it uses."""
        parts = (self.subject, self.text or "", self.html or "")
        return {name for part in parts for name in PLACEHOLDER.findall(part)}

    def email(self, person: Person, key: str) -> Email:
        """The email to one person; `key` with their address is its idempotency key. Raises `InvalidEmail`."""
        return Email(
            person.address,
            _filled(self.subject, person.values, str),
            None if self.text is None else _filled(self.text, person.values, str),
            None if self.html is None else _filled(self.html, person.values, html.escape),
            from_email=self.from_email,
            reply_to=self.reply_to,
            attachments=self.attachments,
            tags=self.tags,
            configuration_set=self.configuration_set,
            lane=self.lane,
            idempotency_key=f"{key}:{person.mailbox}",
        )


def read_people(path: Path, column: str | None = None) -> list[Person]:
    """The rows of a CSV file with a header, in UTF-8. Empty lines are passed over, and columns without a name.

    `column` names the one with the address; without it, `email`, `to` or `address` is taken.
    Raises `ConfigurationError` when the file has no such column or cannot be read as CSV.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            rows = list(_numbered(reader))
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{path.name} is not in UTF-8: {error}. Nothing was queued.") from None
        except csv.Error as error:
            raise ConfigurationError(
                f"{path.name} cannot be read as CSV near line {reader.line_num}: {error}. Nothing was queued."
            ) from None
    names = [name.strip() for name in rows[0][1]] if rows else []
    address = _address_column(names, column)
    return [_person(line, names, row, address) for line, row in rows[1:]]


def check(letter: Letter, people: Sequence[Person], key: str) -> Iterator[Person | BadRow]:
    """Each row, or what is wrong with it: made into its email once, so that nothing is found out half-way.

    An address that stands twice in the list is mailed once. Raises `ConfigurationError` when the letter uses a column
    that the list does not have.
    """
    missing = letter.columns() - set(people[0].values) if people else set()
    if missing:
        raise ConfigurationError(
            f"The letter uses {', '.join(f'{{{{{name}}}}}' for name in sorted(missing))}, but the list has no such "
            f"column (it has {', '.join(people[0].values)}). Nothing was queued."
        )
    first: dict[str, int] = {}
    for person in people:
        problem = person.problem or _problem(letter, person, key)
        if not problem and (line := first.setdefault(person.mailbox, person.line)) != person.line:
            problem = f"the same address stands in line {line}"
        yield BadRow(line=person.line, problem=problem) if problem else person


def _problem(letter: Letter, person: Person, key: str) -> str:
    try:
        letter.email(person, key)
    except InvalidEmail as error:
        return f"{error.field}: {error.problem}" + (f" ({error.limit})" if error.limit else "")
    return ""


def _numbered(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """The rows that hold something, each with the line in which it begins: a quoted value may go over several."""
    line = 1
    for row in reader:
        if row:
            yield line, row
        line = reader.line_num + 1


def _address_column(names: Sequence[str], column: str | None) -> int:
    wanted = (column.strip().lower(),) if column else ADDRESS_COLUMNS
    found = [place for place, name in enumerate(names) if name.lower() in wanted]
    if not found:
        looked_for, there = column or " or ".join(ADDRESS_COLUMNS[:3]), ", ".join(names) or "none"
        raise ConfigurationError(
            f"The list has no column {looked_for}; its first line names {there}. Nothing was queued."
        )
    return found[0]


def _person(line: int, names: Sequence[str], row: Sequence[str], address: int) -> Person:
    problem = "more values than columns" if any(row[len(names) :]) else ""
    if len(row) < len(names):
        problem = "fewer values than columns"
    values = {name: value for name, value in zip_longest(names, row[: len(names)], fillvalue="") if name}
    return Person(line=line, address=values.get(names[address], "").strip(), values=values, problem=problem)


def _filled(template: str, values: Mapping[str, str], quoted: Callable[[str], str]) -> str:
    return PLACEHOLDER.sub(lambda match: quoted(values[match[1]]), template)
