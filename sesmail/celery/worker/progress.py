"""Each batch as one task, for Flower and whatever else listens to Celery's events: how far it is, and its end.

It is `sesmail.batch` under the batch's id, in the custom state PROGRESS, with the counts as its result. That is told
again and again, so that a Flower which starts in the middle knows it, too.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sesmail.errors import UnknownSend
from sesmail.vocabulary import BatchState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesmail.client import Client
    from sesmail.vocabulary import BatchStatus

NAME = "sesmail.batch"
"""What Flower shows it as. There is no such task to be called."""
EVERY_SECONDS = 2.0
LATEST = 10
"""Of how many that may have ended the ends are looked for."""
END_TOLD_EVERY_SECONDS = 86_400.0
KINDS = {
    BatchState.QUEUEING: "task-queueing",
    BatchState.RUNNING: "task-progress",
    BatchState.PAUSED: "task-paused",
    BatchState.CANCELLED: "task-cancelled",  # Celery's own "revoked" does not come behind PROGRESS
    BatchState.FINISHED: "task-succeeded",
}
"""Celery's name for an event, in capitals, is the state that Flower shows where it is none of Celery's own."""


class BatchesAsTasks:
    """One of a site's workers tells of its batches, where anybody listens to events (`-E`, or Flower's own wish)."""

    def __init__(self, client: Client, consumer: Any) -> None:
        """`consumer` is the worker's, whose dispatcher of events comes and goes with its connection."""
        self._client = client
        self._consumer = consumer

    def look(self) -> None:
        """Once. Raises `LedgerUnavailable`."""
        dispatcher, site = self._consumer.event_dispatcher, self._client.settings.site
        if not dispatcher or not dispatcher.enabled or (dispatcher.groups and "task" not in dispatcher.groups):
            return
        if not self._client.turns.take(f"show-batches:{site}", EVERY_SECONDS * 0.9):
            return
        for status in self._of_late(site):
            dispatcher.send(KINDS[status.state], **_as_task(status))

    def _of_late(self, site: str) -> Iterator[BatchStatus]:
        """Those that go on, and the ends of which nobody has told."""
        batches, turns = self._client.batches, self._client.turns
        yield from (each for each in batches.under_way() if each.site == site)
        for batch_id in batches.latest(LATEST):
            with suppress(UnknownSend):  # it is forgotten by now
                status = batches.status(batch_id)
                has_ended = status.site == site and status.finished_at is not None
                if has_ended and turns.take(f"show-end:{batch_id}", END_TOLD_EVERY_SECONDS):
                    yield status


def _as_task(status: BatchStatus) -> dict[str, Any]:
    """What Celery's events say of a task."""
    about = {"list": status.list, "lane": str(status.lane), "recipients": status.recipients, "site": status.site}
    said: dict[str, Any] = {
        "uuid": status.batch_id,
        "name": NAME,
        "args": "()",
        "kwargs": repr(about),
        "received": status.accepted_at,
        "started": status.accepted_at,
        "result": in_words(status),
    }
    if status.state is BatchState.FINISHED and status.finished_at is not None:
        said["runtime"] = status.finished_at - status.accepted_at
    return said


def in_words(status: BatchStatus) -> str:
    """As `4100 of 40000 (10 %): 4000 sent, 100 suppressed; 12 bounced_permanent`."""
    share = 100 * status.done // status.recipients if status.recipients else 0
    done = {state: count for state, count in status.counts.items() if count}
    told = {what: count for what, count in status.events.items() if count and what != "sent"}
    parts = [", ".join(f"{count} {name}" for name, count in of.items()) for of in (done, told)]
    return f"{status.done} of {status.recipients} ({share} %): " + "; ".join(filter(None, parts))
