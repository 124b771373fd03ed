"""What a row leaves out, as it is understood: see `lua/rows.lua`, which writes a sent one anew with little in it."""

from __future__ import annotations

from sesmail.vocabulary import DEFAULT_ACCOUNT, State

__all__ = ["DEFAULT_ACCOUNT", "attempts_of"]


def attempts_of(state: str, said: str | None) -> int:
    """How often SES was asked; of a sent email once, unless its row says otherwise."""
    return int(said or (state == State.SENT))
