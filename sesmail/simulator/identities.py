"""Who may send: verified addresses and domains; in the sandbox, who may receive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sesmail.simulator import validation
from sesmail.simulator.errors import Kind, Refused
from sesmail.simulator.listing import page

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sesmail.simulator.calls import Call, Handler
    from sesmail.simulator.ses import Ses


class Identities:
    """Known identities and whether each is verified.

    Where `verified` is None everyone may send, except identities that were created here and are not verified yet.
    """

    def __init__(self, verified: Iterable[str] | None) -> None:
        self._open = verified is None
        self.known: dict[str, bool] = {name.lower(): True for name in verified or ()}
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


def create(ses: Ses, call: Call) -> dict[str, Any]:
    """CreateEmailIdentity: not verified until `PUT /_sim/identities/NAME` says so."""
    name = validation.text(validation.required(call.body, "EmailIdentity"), "EmailIdentity").lower()
    validation.address(name if "@" in name else f"postmaster@{name}")
    if name in ses.identities.known:
        raise Refused(Kind.ALREADY_EXISTS, f"Email identity {name} already exist.")
    ses.identities.known[name] = False
    return _described(ses, name)


def get(ses: Ses, call: Call) -> dict[str, Any]:
    """GetEmailIdentity."""
    name = _existing(ses, call)
    status = "SUCCESS" if ses.identities.known[name] else "PENDING"
    return _described(ses, name) | {
        "FeedbackForwardingStatus": True,
        "Policies": {},
        "Tags": [],
        "VerificationStatus": status,
    }


def delete(ses: Ses, call: Call) -> dict[str, Any]:
    """DeleteEmailIdentity."""
    del ses.identities.known[_existing(ses, call)]
    return {}


def list_all(ses: Ses, call: Call) -> dict[str, Any]:
    """ListEmailIdentities."""
    names, more = page(sorted(ses.identities.known), call)
    return {"EmailIdentities": [_summary(ses, name) for name in names]} | more


def _summary(ses: Ses, name: str) -> dict[str, Any]:
    verified = ses.identities.known[name]
    status = "SUCCESS" if verified else "PENDING"
    return {
        "IdentityType": _type(name),
        "IdentityName": name,
        "SendingEnabled": verified,
        "VerificationStatus": status,
    }


def _described(ses: Ses, name: str) -> dict[str, Any]:
    verified = ses.identities.known[name]
    return {
        "IdentityType": _type(name),
        "VerifiedForSendingStatus": verified,
        "DkimAttributes": {
            "SigningEnabled": True,
            "Status": "SUCCESS" if verified else "PENDING",
            "SigningAttributesOrigin": "AWS_SES",
        },
    }


def _type(name: str) -> str:
    return "EMAIL_ADDRESS" if "@" in name else "DOMAIN"


def _existing(ses: Ses, call: Call) -> str:
    name = call.path["EmailIdentity"].lower()
    if name not in ses.identities.known:
        raise Refused(Kind.NOT_FOUND, f"Email identity {name} does not exist.")
    return name


OPERATIONS: tuple[tuple[str, str, str, Handler], ...] = (
    ("POST", "/v2/email/identities", "CreateEmailIdentity", create),
    ("GET", "/v2/email/identities/{EmailIdentity:path}", "GetEmailIdentity", get),
    ("DELETE", "/v2/email/identities/{EmailIdentity:path}", "DeleteEmailIdentity", delete),
    ("GET", "/v2/email/identities", "ListEmailIdentities", list_all),
    ("POST", "/v2/email/list-identities", "ListEmailIdentities", list_all),
)
