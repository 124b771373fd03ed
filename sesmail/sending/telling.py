"""Tells a site's own functions how its sends have ended."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sesmail.signals import email_failed, email_sent, tell
from sesmail.vocabulary import State

if TYPE_CHECKING:
    from sesmail.state.ledger.endings import Ending, Endings

log = logging.getLogger("sesmail")

BATCH = 100
LEASE_SECONDS = 120.0
MOST_ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 3600.0


class Teller:
    """Tells the receivers of `email_sent` and `email_failed`, at least once each.

    Any number of them may work at once. When one dies, what it had leased is told by another after `LEASE_SECONDS`.
    """

    def __init__(self, site: str, endings: Endings) -> None:
        self._site = site
        self._endings = endings

    def has_receivers(self) -> bool:
        """Whether anybody in this process listens."""
        return any(signal.has_receivers_for(self._site) for signal in (email_sent, email_failed))

    def listen(self) -> bool:
        """Have ends noted where anybody listens; whether some wait to be told. Raises `LedgerUnavailable`."""
        return self.has_receivers() and self._endings.listen(self._site)

    def tell_what_ended(self) -> int:
        """Tell all that has ended by now; how many. Raises `LedgerUnavailable`."""
        if not self.has_receivers():
            return 0
        told = 0
        while ended := self._endings.gather(self._site, limit=BATCH, lease_seconds=LEASE_SECONDS):
            for ending in ended:
                self._tell(ending)
            told += len(ended)
        return told

    def _tell(self, ending: Ending) -> None:
        status = ending.status
        signal = email_sent if status.state is State.SENT else email_failed
        failed = tell(signal, self._site, only=ending.failed_receivers, status=status, metadata=ending.metadata)
        if failed and ending.tells_failed + 1 >= MOST_ATTEMPTS:
            log.error(
                "the end of a send was told %d times in vain: %s raised each time. It is not told again.",
                MOST_ATTEMPTS,
                ", ".join(failed),
                extra={"action": "telling_given_up", "send_id": status.send_id},
            )
            failed = {}
        pause_seconds = min(FIRST_PAUSE_SECONDS * 2.0**ending.tells_failed, LONGEST_PAUSE_SECONDS)
        self._endings.told(self._site, ending, failed=failed, again_in_seconds=pause_seconds)
