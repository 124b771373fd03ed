"""The account's suppression list: addresses that SES takes mail for, counts, and does not deliver to."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sesmail.simulator import clock, validation
from sesmail.simulator.errors import Kind, Refused, invalid
from sesmail.simulator.listing import page, query

if TYPE_CHECKING:
    from sesmail.simulator.calls import Call, Handler
    from sesmail.simulator.ses import Ses

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


def put(ses: Ses, call: Call) -> dict[str, Any]:
    """PutSuppressedDestination; refused in the sandbox, as AWS documents."""
    if not ses.production_access:
        raise Refused(Kind.ACCESS_DENIED, "The suppression list cannot be changed in the sandbox.")
    address = validation.address(validation.text(validation.required(call.body, "EmailAddress"), "EmailAddress"))
    reason = validation.one_of(validation.required(call.body, "Reason"), "reason", REASONS)
    ses.suppression.add(address, reason, clock.now())
    return {}


def get(ses: Ses, call: Call) -> dict[str, Any]:
    """GetSuppressedDestination."""
    found = _existing(ses, call)
    attributes = {"Attributes": found.attributes} if found.attributes else {}
    return {"SuppressedDestination": found.summary() | attributes}


def delete(ses: Ses, call: Call) -> dict[str, Any]:
    """DeleteSuppressedDestination."""
    del ses.suppression.entries[_existing(ses, call).address]
    return {}


def list_all(ses: Ses, call: Call) -> dict[str, Any]:
    """ListSuppressedDestinations, by reason and time."""
    reasons = [validation.one_of(reason, "reasons", REASONS) for reason in call.query.get("Reason", ())] or REASONS
    start, end = _moment(query(call, "StartDate"), 0.0), _moment(query(call, "EndDate"), float("inf"))
    wanted = [
        one for one in ses.suppression.entries.values() if one.reason in reasons and start <= one.updated_at <= end
    ]
    found, more = page(wanted, call)
    return {"SuppressedDestinationSummaries": [one.summary() for one in found]} | more


def put_account_attributes(ses: Ses, call: Call) -> dict[str, Any]:
    """PutAccountSuppressionAttributes: what puts an address on the list by itself."""
    given = validation.items(call.body.get("SuppressedReasons"), "SuppressedReasons")
    ses.suppression.reasons = tuple(validation.one_of(reason, "suppressedReasons", REASONS) for reason in given)
    return {}


def _existing(ses: Ses, call: Call) -> Suppressed:
    address = call.path["EmailAddress"].lower()
    if address not in ses.suppression.entries:
        raise Refused(Kind.NOT_FOUND, f"Email address {address} does not exist on your suppression list.")
    return ses.suppression.entries[address]


def _moment(given: str | None, default: float) -> float:
    if given is None:
        return default
    try:
        moment = datetime.fromisoformat(given)
    except ValueError as error:
        raise invalid("StartDate and EndDate must be times.") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


_ADDRESSES = "/v2/email/suppression/addresses"

OPERATIONS: tuple[tuple[str, str, str, Handler], ...] = (
    ("PUT", _ADDRESSES, "PutSuppressedDestination", put),
    ("GET", _ADDRESSES, "ListSuppressedDestinations", list_all),
    ("GET", _ADDRESSES + "/{EmailAddress:path}", "GetSuppressedDestination", get),
    ("DELETE", _ADDRESSES + "/{EmailAddress:path}", "DeleteSuppressedDestination", delete),
    ("PUT", "/v2/email/account/suppression", "PutAccountSuppressionAttributes", put_account_attributes),
)
