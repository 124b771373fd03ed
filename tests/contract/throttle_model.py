"""The throttle's arithmetic written down a second time, slowly and plainly: every slot is kept and everything is searched."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

MARGIN = 0.015


@dataclass
class Model:
    rate: int
    slots: list[tuple[int, int]] = field(default_factory=list)
    next_slot: float = 0.0

    @property
    def limit(self) -> int:
        return ceil(self.rate / (1 + MARGIN))

    @property
    def window(self) -> float:
        return self.limit * (1 + MARGIN) / self.rate * 1e6

    def room_from(self, recipients: int) -> float:
        """When the last of those left the window that must have left it."""
        in_window = 0
        if recipients > self.limit:
            return self.slots[-1][0] + self.window if self.slots else 0.0
        for slot, sent in reversed(self.slots):
            in_window += sent
            if in_window + recipients > self.limit:
                return slot + self.window
        return 0.0

    def reserve(self, now: int, recipients: int) -> int:
        room = self.room_from(recipients)
        latest = self.slots[-1][0] if self.slots else 0
        slot = ceil(max(now, latest, self.next_slot, room))
        pace = float(slot)
        if room > self.next_slot and room >= now and recipients <= self.limit:
            pace = max(self.next_slot, slot - 10 * self.window / self.limit)
        self.next_slot = pace + recipients * self.window / self.limit
        self.slots.append((slot, recipients))
        return slot
