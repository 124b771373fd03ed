"""What the caller of `send_batch` has in hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from sesmail.message import Lane
    from sesmail.vocabulary import BatchState, BatchStatus


KEPT: Any = object()
"""Stands for a limit that stays as it was."""


class Desk(Protocol):
    """Who is asked about batches: those in Redis, or in memory where nothing is to be sent."""

    def status(self, batch_id: str) -> BatchStatus:
        """How far it is."""

    def pause(self, batch_id: str) -> BatchState:
        """Nothing more is begun."""

    def resume(self, batch_id: str) -> BatchState:
        """Go on."""

    def cancel(self, batch_id: str) -> BatchState:
        """Take back what has not begun."""

    def slow(self, batch_id: str, *, rate: object = KEPT, ramp: object = KEPT) -> None:
        """Say how fast it may go."""

    def issue_tickets(self, lane: Lane) -> None:
        """Have workers take chunks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """A letter to many recipients, queued.

    All methods raise `UnknownSend` when its record has expired, and `LedgerUnavailable`.
    """

    id: str
    """`<id>-<number>` is the id of a recipient's send; `sesmail batch ID` shows how far it is."""
    queued: int
    """Recipients that this call has queued."""
    known: int
    """Recipients that were in it already: from an earlier call under the same key, or because they stand twice."""
    opted_out: int
    """Those queued now who have opted out: nothing is sent to them, unless they come back before their turn."""
    bad: int
    """Rows that were left out, with `skip_bad=True`."""
    _desk: Desk = field(repr=False, compare=False)

    def status(self) -> BatchStatus:
        """How many of its recipients are in which state."""
        return self._desk.status(self.id)

    def slow(self, *, rate: str | float | None = KEPT, ramp: int | None = KEPT) -> None:
        """Go on at no more than this rate, `"5/s"` or `"300/m"`, or with no more than `ramp` recipients in the 24 hours
        from now, and twice as many in each that follow; `None` takes a limit off, one that is left out stays as it was.

        Raises `InvalidEmail` for what is no limit.
        """
        self._desk.slow(self.id, rate=rate, ramp=ramp)

    def pause(self) -> None:
        """Begin nothing more, until `resume`. Raises `MoveRefused` where it is not under way."""
        self._desk.pause(self.id)

    def resume(self) -> None:
        """Go on after a pause. Raises `MoveRefused` where it is not paused."""
        self._desk.resume(self.id)

    def cancel(self) -> None:
        """Take back all that has not begun, for good. Raises `MoveRefused` where it has ended."""
        self._desk.cancel(self.id)
