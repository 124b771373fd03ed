"""The columns of a list: how their names are read, and which of them holds the address."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

from sesmail.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

ADDRESS_COLUMNS = (
    "email",
    "emailaddress",  # Mailchimp's "Email Address", Outlook's "E-mail Address"
    "emailaddr",
    "emailid",
    "useremail",  # WordPress
    "email1value",  # Google Contacts' "E-mail 1 - Value"
    "emailadresse",
    "adresseemail",
    "courriel",
    "correoelectronico",
    "indirizzoemail",
    "mail",
    "to",
    "address",
)
"""Names of the column with the address, the first wins; in lower case, without spaces, dashes, dots and accents."""

_MAY_BE_SOMETHING_ELSE = {"mail", "to", "address"}
"""A postal address, the end of a journey, yes or no: such a column is taken when it holds email addresses."""

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")


@lru_cache(maxsize=4096)
def column_name(text: str) -> str:
    """A name as lists and letters are compared by: what looks the same is the same."""
    return " ".join(unicodedata.normalize("NFC", _INVISIBLE.sub("", text)).split())


def address_columns(names: Sequence[str], sample: Sequence[Sequence[str]] = ()) -> list[int]:
    """The places of the columns that may hold the address by their names, and these rows; the likeliest first."""
    known = {place: _bare(name) for place, name in enumerate(names)}
    found = [place for place in known if known[place] in ADDRESS_COLUMNS]
    likely = [place for place in found if not _is_something_else(known[place], place, sample)]
    return sorted(likely, key=lambda place: ADDRESS_COLUMNS.index(known[place]))


def columns_called(column: str, names: Sequence[str]) -> list[int]:
    """The places of the columns that somebody may mean who asks for `column`: those spelt so, else in any case."""
    wanted = column_name(column)
    exact = [place for place, name in enumerate(names) if name == wanted]
    return exact or [place for place, name in enumerate(names) if name.casefold() == wanted.casefold()]


def refuse_doubled(names: Sequence[str]) -> None:
    """Raise `ConfigurationError` when two columns have one name: which of their values is meant nobody can tell."""
    if doubled := [name for name, count in Counter(filter(None, names)).items() if count > 1]:
        raise ConfigurationError(
            f"The list has more than one column {', '.join(doubled)}: which of them is meant cannot be told. "
            "Rename or remove all but one. Nothing was queued."
        )


def address_column(names: Sequence[str], column: str | None, sample: Sequence[Sequence[str]]) -> int:
    """The place of the column with the address: the one called `column`, or the likeliest by its name.

    `sample` are the first rows. Raises `ConfigurationError` when there is none, or more than one.
    """
    likely = columns_called(column, names) if column else address_columns(names, sample)
    if not likely:
        something_else = [] if column else [names[place] for place in address_columns(names)]
        raise ConfigurationError(_no_column(names, column, something_else))
    alike = [names[place] for place in likely if _bare(names[place]) == _bare(names[likely[0]])]
    if len(alike) > 1:
        raise ConfigurationError(
            f"The list has {' and '.join(alike)}, and which of them is the address cannot be told: name it exactly "
            "with --column. Nothing was queued."
        )
    return likely[0]


def _bare(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.casefold())
    return re.sub(r"[\s._-]|[\u0300-\u036f]", "", letters)


def _is_something_else(bare_name: str, place: int, sample: Sequence[Sequence[str]]) -> bool:
    values = [row[place] for row in sample if len(row) > place and row[place].strip()]
    return bare_name in _MAY_BE_SOMETHING_ELSE and bool(values) and not any("@" in value for value in values)


def _no_column(names: Sequence[str], column: str | None, something_else: Sequence[str]) -> str:
    if any("@" in name for name in names):
        return (
            "The list begins with an address: its first line must name the columns, such as email,name. "
            "Nothing was queued."
        )
    looked_for, there = column or "email or to or address", ", ".join(filter(None, names)) or "none"
    why = f"; {', '.join(something_else)} holds no email addresses" if something_else else ""
    typed = "Name the one with the addresses with --column."
    if len(names) == 1 and re.search(r"\W", there):
        typed = (
            "If something else stands between its values, say it with --delimiter; else " + typed[0].lower() + typed[1:]
        )
    return f"The list has no column {looked_for}; its first line names {there}{why}. {typed} Nothing was queued."
