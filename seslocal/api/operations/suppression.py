"""What calls do with the suppression list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from seslocal import clock
from seslocal.account.suppression import REASONS
from seslocal.api.requests import validation
from seslocal.api.requests.listing import page, query
from seslocal.errors import Kind, Refused, invalid

if TYPE_CHECKING:
    from seslocal.account.suppression import Suppressed, SuppressionList
    from seslocal.api.call import Call, Operation
    from seslocal.ses import Ses


def put(ses: Ses, call: Call) -> dict[str, Any]:
    """PutSuppressedDestination; refused in the sandbox, as AWS documents."""
    if not ses.account.production_access:
        raise Refused(Kind.ACCESS_DENIED, "The suppression list cannot be changed in the sandbox.")
    address = validation.address(validation.text(validation.required(call.body, "EmailAddress"), "EmailAddress"))
    reason = validation.one_of(validation.required(call.body, "Reason"), "reason", REASONS)
    _list(ses, call).add(address, reason, clock.now())
    return {}


def get(ses: Ses, call: Call) -> dict[str, Any]:
    """GetSuppressedDestination."""
    found = _existing(ses, call)
    attributes = {"Attributes": found.attributes} if found.attributes else {}
    return {"SuppressedDestination": found.summary() | attributes}


def delete(ses: Ses, call: Call) -> dict[str, Any]:
    """DeleteSuppressedDestination."""
    del _list(ses, call).entries[_existing(ses, call).address]
    return {}


def list_all(ses: Ses, call: Call) -> dict[str, Any]:
    """ListSuppressedDestinations, by reason and time."""
    reasons = [validation.one_of(reason, "reasons", REASONS) for reason in call.query.get("Reason", ())] or REASONS
    start, end = _moment(query(call, "StartDate"), 0.0), _moment(query(call, "EndDate"), float("inf"))
    wanted = [
        one for one in _list(ses, call).entries.values() if one.reason in reasons and start <= one.updated_at <= end
    ]
    found, more = page(wanted, call)
    return {"SuppressedDestinationSummaries": [one.summary() for one in found]} | more


def put_account_attributes(ses: Ses, call: Call) -> dict[str, Any]:
    """PutAccountSuppressionAttributes: what puts an address on the list by itself."""
    given = validation.items(call.body.get("SuppressedReasons"), "SuppressedReasons")
    ses.account.suppression.reasons = tuple(validation.one_of(reason, "suppressedReasons", REASONS) for reason in given)
    return {}


def _list(ses: Ses, call: Call) -> SuppressionList:
    """The account's, or that of the tenant that is named."""
    tenant = call.body.get("TenantName") or query(call, "TenantName")
    return ses.account.tenant(str(tenant)).suppression if tenant else ses.account.suppression


def _existing(ses: Ses, call: Call) -> Suppressed:
    address, entries = call.path["EmailAddress"].lower(), _list(ses, call).entries
    if address not in entries:
        raise Refused(Kind.NOT_FOUND, f"Email address {address} does not exist on your suppression list.")
    return entries[address]


def _moment(given: str | None, default: float) -> float:
    if given is None:
        return default
    try:
        moment = datetime.fromisoformat(given)
    except ValueError as error:
        raise invalid("StartDate and EndDate must be times.") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


_ADDRESSES = "/v2/email/suppression/addresses"

OPERATIONS: tuple[Operation, ...] = (
    ("PUT", _ADDRESSES, "PutSuppressedDestination", put),
    ("GET", _ADDRESSES, "ListSuppressedDestinations", list_all),
    ("GET", _ADDRESSES + "/{EmailAddress:path}", "GetSuppressedDestination", get),
    ("DELETE", _ADDRESSES + "/{EmailAddress:path}", "DeleteSuppressedDestination", delete),
    ("PUT", "/v2/email/account/suppression", "PutAccountSuppressionAttributes", put_account_attributes),
)
