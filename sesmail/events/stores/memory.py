"""Events in this process's memory, gone with it: for tests and for suppressed sending."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sesmail.errors import EventStoreUnavailable
from sesmail.events.stores import Counts, EventState, StoredEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@dataclass(slots=True)
class _Row:
    event: StoredEvent
    state: EventState
    at: float
    """When it is due, was processed, or was set aside."""


class MemoryEventStore:
    """An `EventStore` that keeps at most so many events; the oldest make room."""

    def __init__(self, *, most_events: int = 10_000, is_away: Callable[[], bool] = lambda: False) -> None:
        """While `is_away()`, every method raises `EventStoreUnavailable`."""
        self._most_events = most_events
        self._is_away = is_away
        self._rows: dict[str, _Row] = {}
        self._lock = threading.RLock()

    def put(self, events: Sequence[StoredEvent]) -> int:
        rows = self._reached()
        with self._lock:
            new = {event.event_id: event for event in reversed(events) if event.event_id not in rows}
            for event in reversed(new.values()):
                rows[event.event_id] = _Row(event, EventState.UNPROCESSED, event.first_due_at)
            for event_id in [*rows][: max(0, len(rows) - self._most_events)]:
                del rows[event_id]
            return len(new)

    def gather(self, source: str, *, limit: int, lease_seconds: float, now: float) -> list[StoredEvent]:
        with self._lock:
            due = [row for row in self._of(source, EventState.UNPROCESSED) if row.at <= now][:limit]
            for row in due:
                row.at = now + lease_seconds
            return [row.event for row in due]

    def mark_processed(self, events: Sequence[StoredEvent], *, now: float) -> None:
        self._move(events, EventState.PROCESSED, now)

    def retry_later(self, event: StoredEvent, *, error: str, due_at: float) -> None:
        with self._lock:
            row = self._reached().get(event.event_id)
            if row and row.state is EventState.UNPROCESSED:
                row.event, row.at = _failed(event, error), due_at

    def set_aside(self, event: StoredEvent, *, error: str, now: float) -> None:
        self._move([_failed(event, error)], EventState.SET_ASIDE, now)

    def replay(self, events: Sequence[StoredEvent], *, now: float) -> None:
        self._move([replace(event, attempts=0, error="") for event in events], EventState.UNPROCESSED, now)

    def _move(self, events: Sequence[StoredEvent], state: EventState, now: float) -> None:
        rows = self._reached()
        with self._lock:
            for event in events:
                if event.event_id in rows:
                    rows[event.event_id] = _Row(event, state, now)

    def get(self, event_id: str) -> StoredEvent | None:
        row = self._reached().get(event_id)
        return row.event if row else None

    def rewrite(self, events: Sequence[StoredEvent]) -> None:
        rows = self._reached()
        with self._lock:
            for event in events:
                if event.event_id in rows:
                    rows[event.event_id].event = event

    def read(self, source: str, state: EventState, *, naming: str = "") -> Iterator[StoredEvent]:  # noqa: ARG002
        with self._lock:
            return iter([row.event for row in self._of(source, state)])

    def counts(self, source: str) -> Counts:
        with self._lock:
            unprocessed, set_aside = (
                len(self._of(source, state)) for state in (EventState.UNPROCESSED, EventState.SET_ASIDE)
            )
        return Counts(unprocessed=unprocessed, set_aside=set_aside)

    def purge(self, source: str, *, older_than: float) -> int:
        with self._lock:
            old = [row for row in self._of(source, EventState.PROCESSED) if row.at < older_than]
            for row in old:
                del self._rows[row.event.event_id]
            return len(old)

    def waiting(self) -> list[str]:
        """The sites that have events to process."""
        rows = [*self._reached().values()]
        return sorted({row.event.source for row in rows if row.state is EventState.UNPROCESSED})

    def clear(self) -> None:
        """Forget them."""
        with self._lock:
            self._rows.clear()

    def _of(self, source: str, state: EventState) -> list[_Row]:
        rows = [row for row in self._reached().values() if (row.event.source, row.state) == (source, state)]
        return sorted(rows, key=lambda row: row.at)

    def _reached(self) -> dict[str, _Row]:
        if self._is_away():
            raise EventStoreUnavailable
        return self._rows


def _failed(event: StoredEvent, error: str) -> StoredEvent:
    return replace(event, attempts=event.attempts + 1, error=error)
