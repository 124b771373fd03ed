"""How the commands end that go on until they are told."""

from __future__ import annotations

import signal
from queue import SimpleQueue


def told_to_end() -> SimpleQueue[Exception | None]:
    """A queue that gets None at Ctrl-C and SIGTERM; threads may put in the error that ends the command.

    Not an Event: `set` in a signal handler could wait for ever for the lock of the `wait` that it interrupts.
    https://docs.python.org/3/library/queue.html#queue.SimpleQueue.put
    """
    told: SimpleQueue[Exception | None] = SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.put(None))
    return told
