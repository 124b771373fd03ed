"""A guard against loops: an error handler that mails its admins ten thousand times. See `guard.lua`."""

from __future__ import annotations

import logging

log = logging.getLogger("sesmail")


def tell(limit: int, whose: str, send_id: str) -> None:
    """An address has had as many emails within the hour as there may be: said once an hour for each."""
    log.error(
        "An address (%s) has had %d emails within an hour, the most that SESMAIL_HOURLY_LIMIT_PER_ADDRESS lets pass. "
        "Is something in a loop? What comes beyond is set aside, not sent; `sesmail failed` lists it (code too-many), "
        "and --requeue sends it all the same. The first of it is %s.",
        whose,
        limit,
        send_id,
        extra={"action": "hourly_limit_reached", "send_id": send_id, "address": whose},
    )
