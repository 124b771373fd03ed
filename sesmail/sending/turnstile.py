"""One at a time, in the order of coming, with an end to the waiting."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Turnstile:
    """A lock that is given to threads first come, first served. Waiting for it has an end and can be called off."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Event] = deque()

    def enter(
        self,
        timeout_seconds: float,
        *,
        soon_seconds: float = 0.0,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> bool:
        """Wait for one's turn; True when it has come, and then `leave` must follow.

        `meanwhile` is done once, in a wait that is longer than `soon_seconds`.
        """
        with self._lock:
            if not self._taken:
                self._taken = True
                return True
            turn = threading.Event()
            self._waiting.append(turn)
        try:
            timeout_seconds = max(0.0, timeout_seconds)
            if not turn.wait(min(soon_seconds, timeout_seconds)):
                meanwhile()
                turn.wait(max(0.0, timeout_seconds - soon_seconds))
        except BaseException:  # a time limit of Celery's: who waits behind must not wait for one that is gone
            if self._was_given(turn):
                self.leave()
            raise
        return self._was_given(turn)

    def leave(self) -> None:
        """Hand it to whoever has waited longest."""
        with self._lock:
            self._taken = bool(self._waiting)
            if self._waiting:
                self._waiting.popleft().set()

    def call_off(self) -> None:
        """Wake all who wait, without giving it to them."""
        with self._lock:
            for turn in self._waiting:
                turn.set()

    def _was_given(self, turn: threading.Event) -> bool:
        with self._lock:
            if turn not in self._waiting:
                return True
            self._waiting.remove(turn)
            return False
