"""Who waits for a slow account waits in the ledger, so that it holds no thread of a worker: the others go on meanwhile.

All accounts share the queues and the threads of a worker. Of each account, no more of these threads wait for the rate
than have their turns shortly, but one may; an email that finds them full goes back to the ledger, where its place is
kept. A thread of its own then sends what waits there, one after the other, until nothing does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

from sesmail.errors import LedgerRefuses, LedgerUnavailable
from sesmail.vocabulary import Cause, Postponed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sesmail.message import Lane
    from sesmail.vocabulary import Claim

log = logging.getLogger("sesmail")

WAITING_SECONDS = 0.5
"""Threads of the worker may wait that have their turns within this."""
LIMIT_HOLDS_SECONDS = 5.0
"""How long what is known of an account's limit tells how many threads may wait for it."""
LOOKS_EVERY_SECONDS = 0.5
GONE_AFTER_LOOKS = 10
"""A thread that has found nothing so often ends."""

Place: TypeAlias = "tuple[str, Lane]"
"""An account and a lane, among whose emails each has its place."""

CROWDED = Postponed(
    seconds=600.0,  # if nobody sends it before
    cause=Cause.RATE,
    reason="others of its account wait before it for the rate: it goes in its turn",
    for_room=True,
)


class Crowd:
    """The threads that send what waits in the ledger, one for each account and lane; one object a process."""

    def __init__(self, take: Callable[[Place], Claim | None], work: Callable[[Claim], object]) -> None:
        """`take` claims the next that waits, `work` sends it."""
        self._take = take
        self._work = work
        self._lock = threading.Lock()
        self._threads: dict[Place, threading.Thread] = {}
        self._inside: Counter[Place] = Counter()
        self._limits: dict[str, tuple[float, float]] = {}
        self._stopping = threading.Event()

    def stop(self) -> None:
        """A shutdown has begun: what waits is left where it is."""
        self._stopping.set()

    def enter(self, account: str, lane: Lane, limit: Callable[[], float]) -> bool:
        """Whether another thread of the worker may wait for the rate: then `leave` follows.

        `limit` is in recipients a second. None may overtake what waits in the ledger.
        """
        place = account, lane
        if time.monotonic() > self._limits.get(account, (0.0, 0.0))[1]:
            self._limits[account] = limit(), time.monotonic() + LIMIT_HOLDS_SECONDS
        known, _ = self._limits[account]
        with self._lock:
            is_full = known >= 0 and self._inside[place] >= max(1.0, known * WAITING_SECONDS)
            if is_full or place in self._threads:
                return False
            self._inside[place] += 1
        return True

    def leave(self, account: str, lane: Lane) -> None:
        """It has its slot, or waits no more."""
        with self._lock:
            self._inside[account, lane] -= 1

    def one_waits_at(self, account: str, lane: Lane) -> None:
        """One has gone back to the ledger: it will be sent from there."""
        place = account, lane
        with self._lock:
            if place not in self._threads and not self._stopping.is_set():
                name = f"sesmail-{account}-{lane}"
                self._threads[place] = threading.Thread(target=self._send_all, args=[place], name=name, daemon=True)
                self._threads[place].start()

    def _send_all(self, place: Place) -> None:
        looks_left = GONE_AFTER_LOOKS
        try:
            while looks_left and not self._stopping.is_set():
                looks_left = GONE_AFTER_LOOKS if self._send_one(place) else looks_left - 1
        finally:
            with self._lock:
                del self._threads[place]

    def _send_one(self, place: Place) -> bool:
        """Whether there was one that could go."""
        try:
            claim = self._take(place)
            if claim is not None and not isinstance(self._work(claim), Postponed):
                return True
        except (LedgerUnavailable, LedgerRefuses):
            pass
        except Exception:
            log.exception("a bug held up emails that wait for their account's rate")
        self._stopping.wait(LOOKS_EVERY_SECONDS)
        return False
