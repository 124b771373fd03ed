"""Loaded by workers under test (`celery worker --include tests.acceptance.crash_points`): they die or freeze on the spot.

A send whose id begins with the name of a step, such as `after_begin-1`, strikes its worker down there, once. What strikes
is in STRIKE: `KILL self`, `KILL parent`, `STOP self`, or `HOLD thread`, which goes no further. The file named as the send tells the state that it was in.

A batch to a list that is named as a step of a chunk strikes the worker down there, once.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sesmail import current_client
from sesmail.errors import UnknownSend
from sesmail.sending.batches import sending
from sesmail.sending.throttle import SendThrottle
from sesmail.ses.transport import SesTransport
from sesmail.state.batches.batches import Batches
from sesmail.state.ledger.ledger import Ledger

STEPS: dict[str, tuple[type, str]] = {
    "before_claim": (Ledger, "claim"),
    "after_claim": (Ledger, "claim"),
    "after_reserve": (SendThrottle, "acquire"),
    "after_begin": (Ledger, "begin"),
    "after_begin_with_slot": (SendThrottle, "acquire"),
    "after_yes": (SesTransport, "send_composed"),
    "before_ack": (Ledger, "sent"),
}

CHUNK_STEPS: dict[str, tuple[type, str, int]] = {
    "chunk_claimed": (Batches, "claim", 1),
    "chunk_screened": (Batches, "screen", 1),
    "slots_leased": (SendThrottle, "acquire", 1),
    "first_begun": (Batches, "begin", 1),
    "first_taken": (SesTransport, "send_composed", 1),
    "second_begun": (Batches, "begin", 2),
    "second_taken": (SesTransport, "send_composed", 2),
    "last_written_down": (Batches, "settle", 1),
    "chunk_released": (Batches, "release", 1),
}
"""Behind which call, and the how-manieth of it since its thread has the chunk."""
CHUNK_STEPS_OF_BULK_CALLS: dict[str, tuple[type, str, int]] = {
    "several_begun": (Batches, "begin", 1),
    "several_taken": (SesTransport, "send_bulk", 1),
    "several_written_down": (Batches, "settle", 1),
}

current = threading.local()


def wrap(owner: type, name: str) -> None:
    """Make a method strike before and after itself, where that is a step."""
    method: Callable[..., Any] = getattr(owner, name)
    steps = [step for step, place in STEPS.items() if place == (owner, name) and step != "before_claim"]

    def struck(self: Any, *args: Any, **kwargs: Any) -> Any:
        if name == "claim":
            current.send_id = args[0]
            strike(["before_claim"])
        if name == "acquire" and current.send_id.startswith(("after_reserve-", "after_begin-")):
            kwargs["begins"] = None  # as where the slot is not due at once
        answer = method(self, *args, **kwargs)
        if name == "acquire" and current.send_id.startswith("after_begin_with_slot-"):
            while not getattr(answer, "has_begun", True):  # another send had the slot of this very moment
                time.sleep(0.01)
                answer = method(self, *args, **kwargs)
        strike(steps)
        return answer

    setattr(owner, name, struck)


def strike(steps: list[str]) -> None:
    send_id = current.send_id
    if not any(send_id.startswith(f"{step}-") for step in steps) or Path(send_id).exists():
        return
    try:
        state = str(current_client().ledger.status(send_id).state)
    except UnknownSend:
        state = "none"
    strike_down(send_id, state)


def wrap_for_chunks(owner: type, name: str) -> None:
    """Make a method strike behind itself, where that is a step of the chunk that its thread has in hand."""
    method: Callable[..., Any] = getattr(owner, name)

    def struck(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = method(self, *args, **kwargs)
        if (owner, name) == (Batches, "claim"):
            current.send_id, current.list, current.calls = "", answer.list_name if answer else "", Counter[str]()
        step = getattr(current, "list", "")
        if place := (CHUNK_STEPS | CHUNK_STEPS_OF_BULK_CALLS).get(step):
            current.calls[name] += 1
            if place == (owner, name, current.calls[name]) and not Path(step).exists():
                strike_down(step, "")
        return answer

    setattr(owner, name, struck)


def strike_down(mark: str, state: str) -> None:
    Path(mark).write_text(state)
    what, whom = os.environ["STRIKE"].split()
    if what == "HOLD":
        threading.Event().wait()
    os.kill(os.getppid() if whom == "parent" else os.getpid(), signal.Signals[f"SIG{what}"])
    if what == "KILL":
        signal.pause()  # the kernel takes a moment to end the children of a killed parent


if "STRIKE" in os.environ:  # in a worker, not where the tests only look up the steps
    sending.HOLD_SECONDS = 600.0  # however busy the machine is, a chunk is worked through under one ticket
    for place in dict.fromkeys(STEPS.values()):
        wrap(*place)
    for place in dict.fromkeys(place[:2] for place in (CHUNK_STEPS | CHUNK_STEPS_OF_BULK_CALLS).values()):
        wrap_for_chunks(*place)
