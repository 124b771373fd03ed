"""Lists and maps in the fields of a query: `Tags.member.1.Name`, `Attributes.entry.1.key`; and maps in its answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from seslocal.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Mapping


class Entries(dict[str, Any]):
    """A map in an answer, which the query form writes as a list of entries."""


def required(fields: Mapping[str, str], name: str) -> str:
    """A field that must be there."""
    if not fields.get(name):
        raise invalid(f"Missing required parameter {name}.")
    return fields[name]


def strings(fields: Mapping[str, str], prefix: str) -> list[str]:
    """`prefix.member.N`, in order."""
    pattern = re.compile(rf"{re.escape(prefix)}\.member\.(\d+)")
    found = [(int(match[1]), value) for name, value in fields.items() if (match := pattern.fullmatch(name))]
    return [value for _, value in sorted(found)]


def records(fields: Mapping[str, str], prefix: str, kind: str = "member") -> list[dict[str, str]]:
    """`prefix.member.N.Field`, in order, as one mapping each."""
    pattern = re.compile(rf"{re.escape(prefix)}\.{kind}\.(\d+)\.(\w+)")
    found: dict[int, dict[str, str]] = {}
    for name, value in fields.items():
        if match := pattern.fullmatch(name):
            found.setdefault(int(match[1]), {})[match[2]] = value
    return [found[number] for number in sorted(found)]


def attributes(fields: Mapping[str, str]) -> dict[str, str]:
    """`Attributes.entry.N.key` and `.value`."""
    return {one["key"]: one.get("value", "") for one in records(fields, "Attributes", "entry") if "key" in one}
