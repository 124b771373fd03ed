"""Who may send: verified addresses and domains; in the sandbox, who may receive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seslocal.errors import Kind, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable


class Identities:
    """Known identities and whether each is verified.

    Where `verified` is None everyone may send, except identities that were created here and are not verified yet.
    """

    def __init__(self, verified: Iterable[str] | None) -> None:
        self._open = verified is None
        self.known: dict[str, bool] = {name.lower(): True for name in verified or ()}
        self.dkim_off: set[str] = set()
        """Identities whose owner has switched DKIM off."""
        self.mail_from: dict[str, tuple[str, str]] = {}
        """Custom MAIL FROM domains of identities, each with what becomes of email while its MX record is missing."""
        self.topics: dict[tuple[str, str], str] = {}
        """Topic ARNs of feedback notifications, by (identity, type)."""
        self.with_headers: set[tuple[str, str]] = set()

    def may_send(self, address: str) -> bool:
        """Whether an address may be a sender."""
        state = self._state(address)
        return self._open if state is None else state

    def verified(self, address: str) -> bool:
        """Whether an address is verified, by itself or by its domain."""
        return bool(self._state(address))

    def notified(self, sender: str, kind: str) -> list[tuple[str, bool]]:
        """(topic, whether headers are wanted) of a sender's feedback notifications: its own, else its domain's."""
        for name in _names(sender):
            if (name, kind) in self.topics:
                return [(self.topics[name, kind], (name, kind) in self.with_headers)]
        return []

    def _state(self, address: str) -> bool | None:
        states = [self.known[name] for name in _names(address) if name in self.known]
        return any(states) if states else None


def _names(address: str) -> list[str]:
    """The identities that an address can be verified by: itself, its domain, and the domains above."""
    address = address.lower()
    domain = address.rpartition("@")[2]
    return [address, *(domain.split(".", skipped)[-1] for skipped in range(domain.count(".") + 1))]


def not_verified(addresses: Iterable[str], region: str) -> Refused:
    """SES's words; they quote the addresses that failed."""
    failed = ", ".join(addresses)
    return Refused(
        Kind.UNVERIFIED,
        "Email address is not verified. "
        f"The following identities failed the check in region {region.upper()}: {failed}",
    )
