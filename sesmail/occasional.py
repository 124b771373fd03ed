"""What is worth saying now and then, not each time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Occasional:
    """Lets something be done at once, and again only when a while has passed; for all threads together."""

    def __init__(self, every_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds that never go back."""
        self._every_seconds = every_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._due_at = float("-inf")

    def is_due(self) -> bool:
        """Whether to do it now; if so, not again for a while."""
        with self._lock:
            now = self._clock()
            if now < self._due_at:
                return False
            self._due_at = now + self._every_seconds
            return True
