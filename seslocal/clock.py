"""The simulator's time: seconds since the epoch that never step back, whatever happens to the machine's clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime

_EPOCH_SECONDS_AT_START = time.time() - time.monotonic()


def now() -> float:
    """Seconds since the epoch, advancing with the monotonic clock."""
    return _EPOCH_SECONDS_AT_START + time.monotonic()


def iso(epoch_seconds: float) -> str:
    """As SES writes a time in an event: `2026-11-20T14:05:45.123Z`."""
    moment = datetime.fromtimestamp(epoch_seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
