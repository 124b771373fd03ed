"""A prefork worker's warm shutdown, as far as Celery does not tell its children of it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from sesmail.celery.internals import linger_at_most

if TYPE_CHECKING:
    from collections.abc import Callable

CHILD_LINGERS_SECONDS = 3.0
"""How long a child of a prefork worker waits at its end until the parent has read what became of its tasks.

When a warm shutdown begins, the parent forgets tasks that it has just handed out (`AsynPool.flush`), and reads no more
once the others are done: their children would wait for 30 seconds, billiard's limit, for nothing. Of a child that ends,
the parent reads what is left (`AsynPool.process_flush_queues`).
"""


class Bell:
    """Tells the children of a prefork worker that a warm shutdown has begun. Celery only gives them no more tasks.

    It is a pipe to which nothing is ever written: it ends for the children that were forked with it when the parent
    closes it. Children that were spawned (`worker_pool_start_method`) hear nothing and sit out their patience.
    """

    def __init__(self) -> None:
        self._parent = os.getpid()
        self._listening, self._ringing = os.pipe()
        self._rung = False

    def ring(self) -> None:
        """In the parent; once more does nothing."""
        if not self._rung:
            self._rung = True
            os.close(self._ringing)

    def listen(self, then: Callable[[], None]) -> None:
        """In a child: have this done when the bell rings, by a thread of its own."""
        if os.getpid() == self._parent:  # Celery's solo pool calls itself a child
            return
        if not self._rung:
            os.close(self._ringing)
        threading.Thread(target=self._wait, args=(then,), name="sesmail-bell", daemon=True).start()

    def _wait(self, then: Callable[[], None]) -> None:
        os.read(self._listening, 1)
        then()


def linger_less() -> None:
    """In a child: wait for the parent at its end no longer than `CHILD_LINGERS_SECONDS`."""
    linger_at_most(CHILD_LINGERS_SECONDS)
