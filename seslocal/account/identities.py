"""Who may send: verified addresses and domains; in the sandbox, who may receive."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from seslocal.errors import Kind, Refused, invalid
from seslocal.options import ACCOUNT_ID

if TYPE_CHECKING:
    from collections.abc import Iterable


class Identities:
    """Known identities and whether each is verified.

    Where `verified` is None everyone may send, except identities that were created here and are not verified yet.
    """

    def __init__(self, verified: Iterable[str] | None) -> None:
        self._open = verified is None
        self.known: dict[str, bool] = {name.lower(): True for name in verified or ()}
        self.policies: dict[str, dict[str, str]] = {}
        """Of each identity its policies by their names, as JSON: who else may send as it."""
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

    def is_taken_as_verified(self, name: str) -> bool:
        """Whether a domain is nobody's here, in an account in which everyone may send: whoever looks is told so."""
        return self._open and "@" not in name and name not in self.known

    def verified(self, address: str) -> bool:
        """Whether an address is verified, by itself or by its domain."""
        return bool(self._state(address))

    def check_authorized(self, address: str, arn: str) -> None:
        """Raise `Refused` where an address is to be sent as by an ARN that is another's, or whose owner permits it not.

        This account plays the owner, too: whatever account the ARN names, the policies are those of its identity here.
        """
        identity = arn.rpartition("identity/")[2].lower()
        if identity not in names_of(address):
            raise invalid(f"Identity ARN <{arn}> does not match the address.")
        is_own = arn.split(":")[4:5] == [ACCOUNT_ID]
        if not is_own and not any(map(_allows_sending, self.policies.get(identity, {}).values())):
            raise Refused(
                Kind.ACCESS_DENIED,
                f"User `arn:aws:iam::{ACCOUNT_ID}:user/simulator' is not authorized to perform `ses:SendEmail' "
                f"on resource `{arn}'",
            )

    def notified(self, sender: str, kind: str) -> list[tuple[str, bool]]:
        """(topic, whether headers are wanted) of a sender's feedback notifications: its own, else its domain's."""
        for name in names_of(sender):
            if (name, kind) in self.topics:
                return [(self.topics[name, kind], (name, kind) in self.with_headers)]
        return []

    def _state(self, address: str) -> bool | None:
        states = [self.known[name] for name in names_of(address) if name in self.known]
        return any(states) if states else None


def _allows_sending(policy: str) -> bool:
    """Whether a policy lets this account send; its conditions are not looked at."""
    statements = json.loads(policy)["Statement"]
    return any(
        each["Effect"] == "Allow" and {"ses:SendEmail", "ses:*", "*"} & {*_each(each["Action"])} and _is_ours(each)
        for each in _each(statements)
    )


def _is_ours(statement: dict[str, Any]) -> bool:
    principal = statement["Principal"]
    named = _each(principal.get("AWS") if isinstance(principal, dict) else principal)
    return any(who == "*" or ACCOUNT_ID in str(who) for who in named)


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def names_of(address: str) -> list[str]:
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
