"""What a row leaves out, as it is understood: see `lua/rows.lua`, which writes a sent one anew with little in it."""

from __future__ import annotations

from sesmail.vocabulary import State

DEFAULT_ACCOUNT = "default"
"""The SES account of emails for which none is named, and of sent rows that name none."""


def attempts_of(state: str, said: str | None) -> int:
    """How often SES was asked; of a sent email once, unless its row says otherwise."""
    return int(said or (state == State.SENT))
