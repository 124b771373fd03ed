"""Records made from what a caller gives: each value is of the type that its field says, or the field is named."""

from __future__ import annotations

import math
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a string", NoneType: "null"}


def check_types(record: Any) -> None:
    """Raise ValueError for the first field with a value of another type; composite types are not looked at."""
    for name, types in _simple_fields(type(record)).items():
        value = getattr(record, name)
        if not any(_is(value, one) for one in types):
            raise ValueError(f"{name} must be {' or '.join(WORDS[one] for one in types)}, not {value!r}")


def is_number(value: Any) -> bool:
    """Whether this is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is(value: Any, one: type) -> bool:
    if one is float:
        return is_number(value)
    return isinstance(value, one) and (one is bool or not isinstance(value, bool))


def _simple_fields(record: type) -> dict[str, tuple[type, ...]]:
    hints = get_type_hints(record).items()
    fields = {name: get_args(hint) if isinstance(hint, UnionType) else (hint,) for name, hint in hints}
    return {name: types for name, types in fields.items() if all(one in WORDS for one in types)}
