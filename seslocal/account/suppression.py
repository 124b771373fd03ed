"""The account's suppression list: addresses that SES takes mail for, counts, and does not deliver to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

REASONS = ("BOUNCE", "COMPLAINT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppressed:
    """Why and since when an address is on the list; `attributes` name the email that put it there."""

    address: str
    reason: str
    updated_at: float
    attributes: dict[str, str] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """As the list shows it."""
        return {"EmailAddress": self.address, "Reason": self.reason, "LastUpdateTime": self.updated_at}


class SuppressionList:
    """Addresses are compared without regard to case."""

    def __init__(self) -> None:
        self.reasons: tuple[str, ...] = REASONS
        """What puts an address on the list by itself."""
        self.entries: dict[str, Suppressed] = {}

    def add(self, address: str, reason: str, now: float, **attributes: str) -> None:
        """Put an address on the list."""
        self.entries[address.lower()] = Suppressed(
            address=address.lower(), reason=reason, updated_at=now, attributes=attributes
        )

    def reason(self, address: str) -> str | None:
        """Why mail to an address is not delivered; None if it is."""
        entry = self.entries.get(address.lower())
        return entry.reason if entry else None
