"""SES's template language: Handlebars' variables and blocks (`if`, `unless`, `each`, `with`), without escaping of HTML.

A variable that is missing is an error, as in SES; in an `if` it is false. Partials and helpers are not supported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TAG = re.compile(r"\{\{\{?~?\s*(.*?)\s*~?\}?\}\}", re.DOTALL)
_MISSING = object()


class RenderingError(ValueError):
    """The template or its data is wrong; the message is what SES says in the event."""


@dataclass(slots=True)
class _Block:
    """A part of a template: text, a variable, or a block with its contents."""

    kind: str
    argument: str = ""
    contents: list[_Block] = field(default_factory=list)
    otherwise: list[_Block] = field(default_factory=list)
    in_otherwise: bool = False

    def add(self, block: _Block) -> None:
        (self.otherwise if self.in_otherwise else self.contents).append(block)


def render(template: str, data: Mapping[str, Any]) -> str:
    """The template filled in; raises RenderingError."""
    return "".join(_rendered(_parsed(template).contents, [data]))


def _parsed(template: str) -> _Block:
    open_blocks = [_Block("root")]
    position = 0
    for tag in _TAG.finditer(template):
        open_blocks[-1].add(_Block("text", template[position : tag.start()]))
        position = tag.end()
        _place(tag[1], open_blocks)
    open_blocks[-1].add(_Block("text", template[position:]))
    if len(open_blocks) > 1:
        raise RenderingError(f"Block '{open_blocks[-1].kind}' is not closed.")
    return open_blocks[0]


def _place(tag: str, open_blocks: list[_Block]) -> None:
    if tag.startswith("#"):
        kind, _, argument = tag[1:].strip().partition(" ")
        block = _Block(kind, argument.strip())
        open_blocks[-1].add(block)
        open_blocks.append(block)
    elif tag.startswith("/"):
        _close(tag[1:].strip(), open_blocks)
    elif tag in {"else", "^"}:
        open_blocks[-1].in_otherwise = True
    elif not tag.startswith("!"):
        open_blocks[-1].add(_Block("variable", tag))


def _close(kind: str, open_blocks: list[_Block]) -> None:
    if len(open_blocks) == 1 or open_blocks[-1].kind != kind:
        raise RenderingError(f"Block '{kind}' is closed but not open.")
    open_blocks.pop()


def _rendered(blocks: Sequence[_Block], scopes: list[Any]) -> list[str]:
    return [text for block in blocks for text in _rendered_block(block, scopes)]


def _rendered_block(block: _Block, scopes: list[Any]) -> list[str]:
    if block.kind == "text":
        return [block.argument]
    if block.kind == "variable":
        return [_as_text(_required(block.argument, scopes))]
    value = _looked_up(block.argument, scopes)
    given = value is not _MISSING and bool(value)
    match block.kind:
        case "if":
            return _rendered(block.contents if given else block.otherwise, scopes)
        case "unless":
            return _rendered(block.otherwise if given else block.contents, scopes)
        case "with":
            return _rendered(block.contents, [*scopes, value]) if given else _rendered(block.otherwise, scopes)
        case "each":
            return _repeated(block, value, scopes) if given else _rendered(block.otherwise, scopes)
    raise RenderingError(f"Block '{block.kind}' is not known.")


def _repeated(block: _Block, value: Any, scopes: list[Any]) -> list[str]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    texts: list[str] = []
    for key, one in pairs:
        around = {"@index": key, "@key": key}
        texts += _rendered(block.contents, [*scopes, around, one])
    return texts


def _required(name: str, scopes: list[Any]) -> Any:
    value = _looked_up(name, scopes)
    if value is _MISSING:
        raise RenderingError(f"Attribute '{name}' is not present in the rendering data.")
    return value


def _looked_up(name: str, scopes: list[Any]) -> Any:
    if name in {"this", "."}:
        return scopes[-1]
    first, *rest = name.removeprefix("this.").removeprefix("../").split(".")
    value: Any = next(
        (scope[first] for scope in reversed(scopes) if isinstance(scope, dict) and first in scope), _MISSING
    )
    for part in rest:
        value = value.get(part, _MISSING) if isinstance(value, dict) else _MISSING
    return value


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
