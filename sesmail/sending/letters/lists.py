"""A list of people as spreadsheets and newsletter services write it: CSV in some dialect, with a header."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import string
import sys
import tempfile
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import IO, TYPE_CHECKING, Any

from sesmail.errors import ConfigurationError
from sesmail.message.addresses import normal_address_of
from sesmail.sending.letters.columns import address_column, address_columns, column_name, columns_called, refuse_doubled
from sesmail.sending.letters.encodings import encoding_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from pathlib import Path

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}
"""What may stand between values without being named, and how it is called."""

SAMPLE_ROWS = 20
_NOTHING = string.whitespace + "\u00a0\ufeff\x1a"
"""Blanks, and the end of a file as DOS marks it."""
_SEPARATOR_LINE = re.compile(r'"?sep ?=(.)"?[,;\t|]*\s*', re.IGNORECASE)


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
        """The address alone, in the one form of all its spellings. Raises `InvalidEmail` where it is none."""
        return normal_address_of("to", self.address)


def spellings(address: str) -> set[str]:
    """All by which this release and earlier ones, which kept a mailbox as the list had it, may know a valid address."""
    mailbox = normal_address_of("to", address)
    local, _, domain = mailbox.rpartition("@")
    as_given = address.rpartition("<")[2].removesuffix(">").lower()
    return {mailbox, as_given, f"{local}@{_international(domain)}"}


@contextmanager
def read_people(
    path: Path, column: str | None = None, *, delimiter: str | None = None, encoding: str | None = None
) -> Iterator[People]:
    """The people of a CSV file with a header; of standard input, when the path is `-`.

    `column` names the one with the address, `delimiter` what stands between values, `encoding` how letters are
    written; what is left open is told from the file. Raises `ConfigurationError` when it cannot be told.
    """
    name = "standard input" if str(path) == "-" else path.name
    with _seekable(path) as file:
        yield People(file, name, column=column, delimiter=delimiter, encoding=encoding)


class People:
    """The rows of a list, read anew each time they are asked for: never more than one of them is held.

    Empty rows are passed over, and columns without a name.
    """

    names: list[str]
    """Those of the columns."""
    remarks: list[str]
    """What was told from the file, where it could have been meant otherwise."""

    def __init__(
        self, file: IO[bytes], name: str, *, column: str | None, delimiter: str | None, encoding: str | None
    ) -> None:
        self._file, self._name = file, name
        self._state = _state(file)
        try:
            self._encoding = encoding_of(file, encoding)
        except ConfigurationError as error:
            raise ConfigurationError(f"{name} {error}") from None
        first_line = self._first_line()
        separator = _SEPARATOR_LINE.fullmatch(first_line)
        self._skipped_lines = 1 if separator else 0
        said = delimiter or (separator and separator[1])
        self._delimiter = said or self._told_delimiter(column)
        self.names, sample = self._head(self._delimiter)
        refuse_doubled(self.names)
        self._address = address_column(self.names, column, sample)
        others = [] if column else [place for place in address_columns(self.names, sample) if place != self._address]
        self.remarks = self._remarks([self.names[place] for place in others], delimiter, encoding)

    def __iter__(self) -> Iterator[Person]:
        """Raise `ConfigurationError` when the file cannot be read as CSV to its end, or changes meanwhile."""
        with closing(self._rows(self._delimiter)) as rows:
            next(rows, None)
            for line, row in rows:
                if _state(self._file) != self._state:
                    raise ConfigurationError(f"{self._name} was changed while it was read: run this again.")
                yield _person(line, self.names, row, self._address)

    def _rows(self, delimiter: str) -> Generator[tuple[int, list[str]]]:
        """The rows that hold something, each with the line in which it begins: a quoted value may go over several."""
        with self._text() as text:
            for _ in range(self._skipped_lines):
                text.readline()
            reader = csv.reader(text, strict=True, delimiter=delimiter)
            line = 1 + self._skipped_lines
            try:
                for row in reader:
                    if any(value.strip(_NOTHING) for value in row):
                        yield line, row
                    line = reader.line_num + self._skipped_lines + 1
            except csv.Error as error:
                near = reader.line_num + self._skipped_lines
                raise ConfigurationError(
                    f"{self._name} cannot be read as CSV near line {near}: {error}. Nothing was queued."
                ) from None

    @contextmanager
    def _text(self) -> Iterator[io.TextIOWrapper]:
        self._file.seek(self._encoding.start)
        text = io.TextIOWrapper(self._file, self._encoding.name, newline="")
        try:
            yield text
        finally:
            if not self._file.closed:  # whoever stopped half-way may be rid of the rows only afterwards
                text.detach()

    def _first_line(self) -> str:
        with self._text() as text:
            return text.readline(csv.field_size_limit())

    def _head(self, delimiter: str) -> tuple[list[str], list[list[str]]]:
        """The names of the columns, and the first rows."""
        with closing(self._rows(delimiter)) as rows:
            first = [row for _, row in islice(rows, SAMPLE_ROWS + 1)] or [[]]
        return [column_name(name) for name in first[0]], first[1:]

    def _told_delimiter(self, column: str | None) -> str:
        """That under which the header has several columns, one of them an address."""
        headers = {delimiter: names for delimiter in DELIMITERS if len(names := self._header(delimiter)) > 1}
        with_address = [each for each, names in headers.items() if _has_address(names, column)]
        possible = with_address or list(headers) or [","]
        if len(possible) > 1:
            raise ConfigurationError(
                f"Whether {' or '.join(DELIMITERS[each] for each in possible)} stand between the values of "
                f"{self._name} cannot be told: say it with --delimiter. Nothing was queued."
            )
        return possible[0]

    def _header(self, delimiter: str) -> list[str]:
        """The names of the columns, if this is the delimiter; none if that cannot be."""
        try:
            with closing(self._rows(delimiter)) as rows:
                return [column_name(name) for name in next(rows, (0, []))[1]]
        except ConfigurationError:
            return []

    def _remarks(self, others: list[str], delimiter: str | None, encoding: str | None) -> list[str]:
        told = []
        if encoding is None and self._encoding.name != "utf-8":
            told.append(f"in {self._encoding.name} (--encoding says otherwise)")
        if delimiter is None and self._delimiter != ",":
            called = DELIMITERS.get(self._delimiter, repr(self._delimiter))
            told.append(f"with {called} between values (--delimiter says otherwise)")
        remarks = [f"{self._name} is read as CSV {', '.join(told)}."] if told else []
        if others:
            remarks.append(
                f"Addresses are taken from the column {self.names[self._address]}, not from {', '.join(others)} "
                "(--column says otherwise)."
            )
        return remarks


@contextmanager
def _seekable(path: Path) -> Iterator[IO[bytes]]:
    """The file, or a copy that nobody else sees of what can be read only once: a pipe."""
    with nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb") as source:
        if source is not sys.stdin.buffer and source.seekable():
            yield source
            return
        with tempfile.TemporaryFile() as copy:  # 0600, and without a name: https://docs.python.org/3/library/tempfile
            shutil.copyfileobj(source, copy)
            copy.flush()
            yield copy


def _state(file: IO[bytes]) -> tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


def _has_address(names: Sequence[str], column: str | None) -> bool:
    return bool(columns_called(column, names) if column else address_columns(names))


def _person(line: int, names: Sequence[str], row: Sequence[str], address: int) -> Person:
    problem = "more values than columns" if any(row[len(names) :]) else ""
    if len(row) < len(names):
        problem = "fewer values than columns"
    filled: Any = zip_longest(names, row[: len(names)], fillvalue="")
    given = row[address].strip() if address < len(row) else ""
    return Person(line=line, address=given, values={name: value for name, value in filled if name}, problem=problem)


def _international(domain: str) -> str:
    """A domain as people write it."""
    try:
        return domain.encode().decode("idna")
    except UnicodeError:
        return domain
