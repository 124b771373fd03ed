"""What is still in the form of a former release. It is read as it is, and goes by itself as the emails go out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesmail.message import Lane
from sesmail.vocabulary import WAITING, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesmail.state.scripts import Scripts

PAGE = 500


def former_rows(scripts: Scripts) -> dict[State, int]:
    """How many sends that may still go out have a row of a former form, by state; states without any are left out.

    Sends that move meanwhile may be missed or counted twice. Raises `LedgerUnavailable`.
    """
    counts = {state: sum(former for index in _indexes(state) for former in _pages(scripts, index)) for state in WAITING}
    return {state: count for state, count in counts.items() if count}


def _indexes(state: State) -> list[str]:
    by_lane = state in (State.QUEUED, State.SCHEDULED)
    return [f"{state}:{lane}" for lane in Lane] if by_lane else [str(state)]


def _pages(scripts: Scripts, index: str) -> Iterator[int]:
    """How many there are in each page of an index."""
    position = 0
    while position >= 0:
        position, former = scripts.run("former_rows", index, position, PAGE)
        yield former
