"""How a worker waits for a Redis that is away."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, TypeVar

from redis.exceptions import RedisError

from sesmail.errors import LedgerRefuses, LedgerUnavailable, StaleClaim, in_a_line

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("sesmail")

Answer = TypeVar("Answer")

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 2.0
TROUBLE = (LedgerUnavailable, LedgerRefuses)
"""What a worker waits for to end: also a refusal does, when somebody mends the password or the rights."""


class Patience:
    """Tries a step on the ledger until Redis is there; one object for all threads of a process."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._never = threading.Event()

    def stop(self) -> None:
        """A shutdown has begun: `unless_stopped` waits no more."""
        self._stopping.set()

    def unless_stopped(self, step: Callable[[], Answer]) -> Answer:
        """A step before SES is asked: nothing is lost with it. Raises `LedgerUnavailable` once `stop` was called."""
        return self._until_done(step, self._stopping)

    def whatever_happens(self, step: Callable[[], Answer]) -> Answer:
        """A step after SES has answered: above all, its yes must be written down, whatever trouble Redis makes.

        A time limit of Celery's may strike in it, once: each step may be repeated, so it is.
        """
        despite = (*TROUBLE, RedisError)
        try:
            return self._until_done(step, self._never, despite=despite)
        except StaleClaim:
            raise
        except Exception:  # noqa: BLE001  a bug raises it again
            return self._until_done(step, self._never, despite=despite)

    @staticmethod
    def _until_done(
        step: Callable[[], Answer],
        given_up: threading.Event,
        despite: tuple[type[Exception], ...] = TROUBLE,
    ) -> Answer:
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            try:
                return step()
            except despite as error:
                if given_up.is_set():
                    raise LedgerUnavailable(str(error)) from error
                extra = {"pause_seconds": pause_seconds, "cause": type(error.__cause__ or error).__name__}
                log.warning("%s; waiting for it", in_a_line(error).rstrip("."), extra=extra)
            given_up.wait(pause_seconds)
            pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)
