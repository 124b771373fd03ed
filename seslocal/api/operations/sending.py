"""SES v2's SendEmail and SendBulkEmail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seslocal.api.requests import submissions, validation
from seslocal.errors import Kind, Refused, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from seslocal.api.call import Call, Operation
    from seslocal.ses import Ses

MAX_BULK_ENTRIES = 50

BULK_STATUS: dict[Kind, str] = {
    Kind.RATE: "ACCOUNT_THROTTLED",
    Kind.DAILY_QUOTA: "ACCOUNT_DAILY_QUOTA_EXCEEDED",
    Kind.PAUSED: "ACCOUNT_SENDING_PAUSED",
    Kind.PAUSED_BY_AWS: "ACCOUNT_SENDING_PAUSED",
    Kind.SUSPENDED: "ACCOUNT_SUSPENDED",
    Kind.CONFIGURATION_SET_PAUSED: "CONFIGURATION_SET_SENDING_PAUSED",
    Kind.CONFIGURATION_SET_MISSING: "CONFIGURATION_SET_NOT_FOUND",
    Kind.TEMPLATE_MISSING: "TEMPLATE_NOT_FOUND",
    Kind.MAIL_FROM: "MAIL_FROM_DOMAIN_NOT_VERIFIED",
    Kind.UNVERIFIED: "MESSAGE_REJECTED",
    Kind.REJECTED: "MESSAGE_REJECTED",
    Kind.INVALID: "INVALID_PARAMETER",
}


def send_email(ses: Ses, call: Call) -> dict[str, Any]:
    """SendEmail."""
    return {"MessageId": ses.send(submissions.parse_send_email(ses.account, call)).message_id}


def send_bulk_email(ses: Ses, call: Call) -> dict[str, Any]:
    """SendBulkEmail: each entry has its own fate, in a call that succeeds."""
    content = validation.mapping(validation.required(call.body, "DefaultContent"), "DefaultContent")
    template = validation.mapping(validation.required(content, "Template"), "Template")
    entries = list(validation.items(validation.required(call.body, "BulkEmailEntries"), "BulkEmailEntries"))
    if not 1 <= len(entries) <= MAX_BULK_ENTRIES:
        raise invalid(f"BulkEmailEntries must have between 1 and {MAX_BULK_ENTRIES} entries.")
    return {"BulkEmailEntryResults": [_bulk_result(ses, call, template, entry) for entry in entries]}


def _bulk_result(ses: Ses, call: Call, template: Mapping[str, Any], entry: Any) -> dict[str, str]:
    try:
        submission = submissions.parse_bulk_entry(ses.account, call, template, entry)
        return {"Status": "SUCCESS", "MessageId": ses.send(submission).message_id}
    except Refused as refused:
        ses.account.count_refusal(refused)
        return {"Status": BULK_STATUS.get(refused.kind, "FAILED"), "Error": refused.message}


OPERATIONS: tuple[Operation, ...] = (
    ("POST", "/v2/email/outbound-emails", "SendEmail", send_email),
    ("POST", "/v2/email/outbound-bulk-emails", "SendBulkEmail", send_bulk_email),
)
