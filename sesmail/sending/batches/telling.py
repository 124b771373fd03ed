"""Tells a site's own functions which of its batches have ended."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from sesmail.errors import UnknownSend
from sesmail.signals import batch_finished, tell

if TYPE_CHECKING:
    from sesmail.state.batches.batches import Batches

log = logging.getLogger("sesmail")

LEASE_SECONDS = 120.0


class BatchTeller:
    """Tells the receivers of `batch_finished`: once, unless the process dies in the middle of it."""

    def __init__(self, site: str, batches: Batches) -> None:
        self._site = site
        self._batches = batches

    def has_something_to_tell(self) -> bool:
        """Whether a batch has ended of which nobody was told. Raises `LedgerUnavailable`."""
        return bool(batch_finished.has_receivers_for(self._site)) and self._batches.any_untold()

    def tell_what_ended(self) -> int:
        """Tell of all that have ended by now; how many. Raises `LedgerUnavailable`."""
        count = 0
        if not batch_finished.has_receivers_for(self._site):
            return count
        while ended := self._batches.untold(LEASE_SECONDS):
            for batch_id in ended:
                with suppress(UnknownSend):  # nobody was there to be told for longer than it is kept
                    failed = tell(batch_finished, self._site, status=self._batches.status(batch_id))
                    if failed:
                        log.error("%s raised at the end of a batch; it is not told again", ", ".join(failed))
                self._batches.told(batch_id)
                count += 1
        return count
