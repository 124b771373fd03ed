"""Pages of a list: PageSize and NextToken, from the query or, in the newer list calls, from the body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from seslocal.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seslocal.api.call import Call

Item = TypeVar("Item")

MAX_PAGE = 1000


def page(everything: Sequence[Item], call: Call) -> tuple[Sequence[Item], dict[str, str]]:
    """The items asked for, and `{"NextToken": ...}` if there are more."""
    first = _whole_number(_parameter(call, "NextToken", "0"), "NextToken")
    size = _whole_number(_parameter(call, "PageSize", str(MAX_PAGE)), "PageSize")
    if not 1 <= size <= MAX_PAGE:
        raise invalid(f"PageSize must be between 1 and {MAX_PAGE}.")
    following = first + size
    return everything[first:following], {"NextToken": str(following)} if following < len(everything) else {}


def query(call: Call, name: str) -> str | None:
    """One query parameter."""
    values = call.query.get(name)
    return values[0] if values else None


def _parameter(call: Call, name: str, default: str) -> str:
    given: Any = call.body.get(name) or query(call, name) or default
    return str(given)


def _whole_number(given: str, name: str) -> int:
    if not given.isdecimal():
        raise invalid(f"{name} is not valid.")
    return int(given)
