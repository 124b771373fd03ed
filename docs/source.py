"""What the code says of itself where Python does not keep it: words beside members and fields, moves in scripts."""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from enum import StrEnum
    from types import ModuleType

LUA = Path(__file__).parents[1] / "sesmail" / "state" / "lua"
MOVE = re.compile(r"-- (?:Moves:)? +((?:\w+, )*\w+) -> (\w+): (.+)")
OF_BATCHES = "batch_"
"""What the names of scripts begin with that move recipients of batches."""
TABLE_LINE = re.compile(r"    (?P<name>[\w.]+)  +(?P<words>\S.*)|        +(?P<more>\S.*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """One way of sends from some states to another; `nothing` is before it is accepted, or after it is forgotten."""

    script: str
    room: str
    """The folder of `sesmail/state/lua` that it lies in."""
    origins: tuple[str, ...]
    to: str
    when: str


def moves() -> Iterator[Move]:
    """The moves that each Lua script says at its head that it makes. A test compares them with what it does."""
    return (move for move in _all_moves() if not move.script.startswith(OF_BATCHES))


def moves_in_batches() -> Iterator[Move]:
    """The same for the recipients of a batch."""
    return (move for move in _all_moves() if move.script.startswith(OF_BATCHES))


def _all_moves() -> Iterator[Move]:
    for file in sorted(LUA.glob("*/*.lua"), key=lambda file: file.name):
        for origins, to, when in MOVE.findall(file.read_text(encoding="utf-8")):
            yield Move(script=file.stem, room=file.parent.name, origins=tuple(origins.split(", ")), to=to, when=when)


def members(states: type[StrEnum]) -> dict[str, str]:
    """The values of an enumeration, each with the words beside or below it."""
    source = inspect.getsource(states)
    beside = dict(re.findall(r"^    (\w+) = .*  #: (.+)$", source, re.MULTILINE))
    words = attributes(ast.parse(dedent(source)).body[0]) | beside
    return {member.value: words[member.name] for member in states}


def fields(record: type) -> dict[str, str]:
    """The fields that a class itself declares, in order, each with the docstring below it, or nothing."""
    (node,) = ast.parse(dedent(inspect.getsource(record))).body
    assert isinstance(node, ast.ClassDef)
    declared = [
        each.target.id for each in node.body if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    ]
    return {name: attributes(node).get(name, "") for name in declared}


def attributes(node: Any) -> dict[str, str]:
    """What is assigned in a class or module, by name, with the docstring below it."""
    words: dict[str, str] = {}
    for assigned, below in zip(node.body, node.body[1:], strict=False):
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            targets = [assigned.target] if isinstance(assigned, ast.AnnAssign) else getattr(assigned, "targets", [])
            words |= {target.id: one_line(below.value.value) for target in targets if isinstance(target, ast.Name)}
    return words


def module_attributes(module: ModuleType) -> dict[str, str]:
    """What is assigned in a module, by name, with the docstring below it."""
    return attributes(ast.parse(inspect.getsource(module)))


def table(docstring: str | None) -> dict[str, str]:
    """The lines of a docstring that are set off as `    name  meaning`, with those that go on further in."""
    rows: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc(docstring or "").splitlines():
        if found := TABLE_LINE.fullmatch(line):
            name = found["name"] or name
            rows[name] = found["words"] or f"{rows[name]} {found['more']}"
    return rows


def one_line(docstring: str | None) -> str:
    """A docstring's words on one line, for a cell of a table."""
    return " ".join(inspect.cleandoc(docstring or "").split())


def first_paragraph(docstring: str | None) -> str:
    """The first paragraph of a docstring, on one line."""
    return one_line(inspect.cleandoc(docstring or "").partition("\n\n")[0])
