"""A list for a broker."""

from __future__ import annotations

from collections.abc import Sequence

from sesmail.message import Lane
from sesmail.vocabulary import Ticket


class Broker:
    """Remembers the tickets that it was given."""

    def __init__(self, *, empty: bool = False) -> None:
        self.tickets: list[tuple[str, bool]] = []
        self.empty = empty

    @property
    def ids(self) -> list[str]:
        return [send_id for send_id, _ in self.tickets]

    def issue(self, tickets: Sequence[Ticket], *, express: bool = False, **_: object) -> None:
        self.tickets += [(ticket.send_id, express) for ticket in tickets]

    def send_batches(self, lane: Lane, count: int) -> None:
        self.tickets += [(f"batches {lane}", False)] * count

    def is_empty(self, lane: Lane) -> bool:
        return self.empty

    def process_events(self, site: str) -> None:
        """Nobody is told."""
