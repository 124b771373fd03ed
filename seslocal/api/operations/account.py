"""What calls do with the account as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seslocal.api.requests import validation

if TYPE_CHECKING:
    from seslocal.api.call import Call, Operation
    from seslocal.ses import Ses


def get_account(ses: Ses, _call: Call) -> dict[str, Any]:
    """The account's limits and whether it may send."""
    return {
        "DedicatedIpAutoWarmupEnabled": False,
        "EnforcementStatus": ses.account.enforcement_status,
        "ProductionAccessEnabled": ses.account.production_access,
        "SendQuota": ses.account.send_quota(),
        "SendingEnabled": ses.account.sending_enabled,
        "SuppressionAttributes": {"SuppressedReasons": list(ses.account.suppression.reasons)},
    }


def put_account_sending(ses: Ses, call: Call) -> dict[str, Any]:
    """PutAccountSendingAttributes: the owner's own pause."""
    ses.account.sending_enabled = validation.flag(call.body.get("SendingEnabled", False), "SendingEnabled")
    return {}


OPERATIONS: tuple[Operation, ...] = (
    ("GET", "/v2/email/account", "GetAccount", get_account),
    ("PUT", "/v2/email/account/sending", "PutAccountSendingAttributes", put_account_sending),
)
