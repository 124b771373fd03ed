"""Where events are kept: one row a notification, under its SNS MessageId, so that none is there twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RETENTION_SECONDS = 90 * 86_400.0
"""How long processed events are kept unless told otherwise."""
EVENT_VERSION = 1
"""Of a stored event, which says it in `v`; one that does not is of version 1."""

CLOCKS_DIFFER_SECONDS = 3600.0
"""By how much a door's clock may be ahead of that of a worker, which finds its events all the same."""


class EventState(StrEnum):
    """How far a stored event has come."""

    UNPROCESSED = "unprocessed"  #: waits, is leased, or backs off after a failure
    PROCESSED = "processed"  #: everything that follows from it is done
    SET_ASIDE = "set_aside"  #: given up after failures; kept with its error until somebody replays it


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """One notification as it came. Times are epoch seconds."""

    event_id: str
    source: str
    """The site that it belongs to."""
    message: str = field(repr=False)
    """SES's words, verbatim."""
    topic_arn: str = ""
    received_at: float
    attempts: int = 0
    """How often processing it failed."""
    error: str = field(default="", repr=False)
    """What the last failure was; it may hold what is personal."""

    @property
    def first_due_at(self) -> float:
        """At once, by whatever clock; and the oldest first."""
        return self.received_at - CLOCKS_DIFFER_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many events of a site need something."""

    unprocessed: int
    set_aside: int


class EventStore(Protocol):
    """Keeps notifications until they are processed, and a while longer.

    Several processes may use one store, and several sites: each gathers its own. Every method raises
    `EventStoreUnavailable` when the store cannot do it; what was asked may then be done, in part or whole, and may be
    asked again. `now` and other times are epoch seconds.

    What a newer release has stored in a version that this one does not know, is left for it: `counts` counts it, and
    for all else it is not there.
    """

    def put(self, events: Sequence[StoredEvent]) -> int:
        """Keep them, durably, before this returns; those known already are left as they are. How many were new."""

    def gather(self, source: str, *, limit: int, lease_seconds: float, now: float) -> list[StoredEvent]:
        """Lease events of a site that are due, oldest first: nobody else gathers them for so long."""

    def mark_processed(self, events: Sequence[StoredEvent], *, now: float) -> None:
        """They are done with. From now on their retention runs."""

    def retry_later(self, event: StoredEvent, *, error: str, due_at: float) -> None:
        """Processing failed: one attempt more is noted, and it is due again at `due_at`."""

    def set_aside(self, event: StoredEvent, *, error: str, now: float) -> None:
        """Processing failed for good: it is not gathered again until it is replayed."""

    def replay(self, events: Sequence[StoredEvent], *, now: float) -> None:
        """Make them unprocessed again, with a clean slate."""

    def get(self, event_id: str) -> StoredEvent | None:
        """One event, or None."""

    def read(self, source: str, state: EventState, *, naming: str = "") -> Iterator[StoredEvent]:
        """All events of a site in a state, oldest first where the store knows an order.

        `naming` is for who looks only for those with this in their text (in lower case): a store may leave others out.
        """

    def rewrite(self, events: Sequence[StoredEvent]) -> None:
        """Keep their messages and errors as they are here instead; those that are gone meanwhile stay gone."""

    def counts(self, source: str) -> Counts:
        """How many wait, and how many were set aside."""

    def purge(self, source: str, *, older_than: float) -> int:
        """Forget those processed before a time, never others. How many."""
