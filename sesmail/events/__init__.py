"""SES's way back in: what it tells about each email, stored once before it is acknowledged, processed afterwards."""

from __future__ import annotations

import traceback

ANNOUNCE_EVERY_SECONDS = 1.0
"""How often, at most, it is told that events of a site have come."""


def place_of(error: BaseException) -> str:
    """What was raised and where, for logs: without the error's own text, which may hold an address."""
    frames = traceback.extract_tb(error.__traceback__)[-1:]
    return " at ".join([type(error).__name__, *(f"{frame.filename}:{frame.lineno}" for frame in frames)])
