"""A row as a status, and what a row leaves out: see `rows.lua`, which writes a sent one anew with little in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sesmail.message import Lane
from sesmail.vocabulary import DEFAULT_ACCOUNT, Move, State, Status, state_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["DEFAULT_ACCOUNT", "STATUS_FIELDS", "attempts_of", "moves_of", "status_of"]


def attempts_of(state: str, said: str | None) -> int:
    """How often SES was asked; of a sent email once, unless its row says otherwise."""
    return int(said or (state == State.SENT))


STATUS_FIELDS = (
    "state",
    "lane",
    "recipients",
    "accepted_at",
    "moved_at",
    "attempts",
    "waits",
    "message_id",
    "reason",
    "code",
    "account",
    "through",
    "moves",
)
"""What a status is made of, as a row has it."""


def status_of(send_id: str, row: Sequence[bytes | None]) -> Status:
    """The status that a row's `STATUS_FIELDS` tell."""
    text: dict[str, Any] = {
        name: value.decode() if value else None for name, value in zip(STATUS_FIELDS, row, strict=True)
    }
    return Status(
        send_id=send_id,
        state=state_of(text["state"]),
        lane=Lane(text["lane"]),
        recipients=int(text["recipients"]),
        accepted_at=float(text["accepted_at"]) / 1000,
        changed_at=float(text["moved_at"]) / 1000,
        attempts=attempts_of(text["state"], text["attempts"]),
        waits=int(text["waits"] or 0),
        message_id=text["message_id"],
        reason=text["reason"],
        code=text["code"],
        account=text["account"] or DEFAULT_ACCOUNT,
        through=text["through"] or text["account"] or DEFAULT_ACCOUNT,
        moves=tuple(moves_of(text["moves"] or "")),
    )


_MOVE = re.compile(r"(\d+)(?:\*(\d+))? (\S+) (\S+)(?: (\S+))?")


def moves_of(text: str) -> Iterator[Move]:
    """The moves that a row's `moves` tells; a line that a newer release writes in another way is passed over."""
    for line in text.split("\n"):
        if found := _MOVE.match(line):
            at, times, state, why, worker = found.groups()
            yield Move(
                at=float(at),
                state=state_of(state),
                why="" if why == "-" else why,
                worker="" if worker in (None, "-") else worker,
                times=int(times or 1),
            )
