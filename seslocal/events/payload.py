"""The JSON that SES publishes about an email: one function per kind of happening, and the `mail` object they share.

Event publishing says `eventType` and carries tags; feedback notifications of an identity say `notificationType`, carry
none, and exist for bounces, complaints and deliveries only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seslocal import clock
from seslocal.events.outcomes import Happening
from seslocal.options import ACCOUNT_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from seslocal.account.mailbox import Record
    from seslocal.message.submission import Submission

MAX_HEADER_CHARACTERS = 10_240
REMOTE_IP = "192.0.2.200"
OUTGOING_IP = "192.0.2.1"
REPORTING_MTA = "a8-70.smtp-out.amazonses.com"
SUPPRESSED_TEXT = (
    "Amazon SES did not send the message to this address because it is on the suppression list for your account."
)
EXPIRED_TEXT = "smtp; 550 4.4.7 Message expired: unable to deliver. <421 4.4.1 Unable to connect to remote host>"
GLOBAL_TEXT = (
    "Amazon SES has suppressed sending to this address because it has a recent history of bouncing "
    "as an invalid address."
)

EVENT_TYPES: dict[Happening, str] = {
    Happening.SEND: "Send",
    Happening.DELIVERY: "Delivery",
    Happening.BOUNCE: "Bounce",
    Happening.SOFT_BOUNCE: "Bounce",
    Happening.AUTOMATIC_ANSWER: "Bounce",
    Happening.GLOBALLY_SUPPRESSED: "Bounce",
    Happening.SUPPRESSED: "Bounce",
    Happening.TENANT_SUPPRESSED: "Bounce",
    Happening.GIVEN_UP: "Bounce",
    Happening.TIMED_OUT: "Bounce",
    Happening.SUPPRESSED_COMPLAINT: "Complaint",
    Happening.COMPLAINT: "Complaint",
    Happening.REJECT: "Reject",
    Happening.DELAY: "DeliveryDelay",
    Happening.OPEN: "Open",
    Happening.CLICK: "Click",
    Happening.RENDERING_FAILURE: "Rendering Failure",
}

API_EVENT_TYPES: dict[str, str] = {
    "Send": "SEND",
    "Delivery": "DELIVERY",
    "Bounce": "BOUNCE",
    "Complaint": "COMPLAINT",
    "Reject": "REJECT",
    "DeliveryDelay": "DELIVERY_DELAY",
    "Open": "OPEN",
    "Click": "CLICK",
    "Rendering Failure": "RENDERING_FAILURE",
}
"""As event destinations name them."""

IDENTITY_NOTIFICATIONS = frozenset({"Bounce", "Complaint", "Delivery"})


def mail_object(record: Record, submission: Submission, region: str) -> dict[str, Any]:
    """What every event says about the email itself, tags included."""
    headers, truncated = _headers(submission)
    domain = submission.sender.rpartition("@")[2]
    return {
        "timestamp": clock.iso(record.accepted_at),
        "source": submission.source,
        "sourceArn": f"arn:aws:ses:{region}:{ACCOUNT_ID}:identity/{domain}",
        "sendingAccountId": ACCOUNT_ID,
        "messageId": record.message_id,
        "destination": list(submission.recipients),
        "headersTruncated": truncated,
        "headers": headers,
        "commonHeaders": _common_headers(record, submission),
        "tags": _tags(record, submission, domain),
    }


def event(
    happening: Happening, mail: dict[str, Any], recipients: tuple[str, ...], now: float, **facts: str
) -> dict[str, Any]:
    """An event of event publishing. `facts` are what only the email knows: its link, its template, why it failed."""
    name, details = _DETAILS[happening](recipients, now, facts)
    feedback = {"feedbackId": facts["feedback_id"]} if name in {"bounce", "complaint"} else {}
    if name == "delivery":
        mail = mail | {"tags": mail["tags"] | {"ses:outgoing-ip": [OUTGOING_IP]}}
    return {"eventType": EVENT_TYPES[happening], "mail": mail, name: feedback | details}


def identity_notification(event_json: dict[str, Any], source_ip: str, *, with_headers: bool) -> dict[str, Any]:
    """The same event as a feedback notification of the sender's identity."""
    kept = {"timestamp", "source", "sourceArn", "sendingAccountId", "messageId", "destination"}
    kept |= {"headersTruncated", "headers", "commonHeaders"} if with_headers else set()
    mail = {name: value for name, value in event_json["mail"].items() if name in kept}
    details = {name: value for name, value in event_json.items() if name not in {"eventType", "mail"}}
    if bounce := details.get("bounce"):
        details["bounce"] = bounce | {"remoteMtaIp": REMOTE_IP}
    caller = {"sourceIp": source_ip, "callerIdentity": "simulator"}
    return {"notificationType": event_json["eventType"], "mail": mail | caller} | details


def _headers(submission: Submission) -> tuple[list[dict[str, str]], bool]:
    built = (*submission.addressing, ("Subject", submission.content.subject))
    written = {name.lower() for name, _ in submission.content.headers}
    everything = [pair for pair in built if pair[0].lower() not in written] + list(submission.content.headers)
    kept: list[dict[str, str]] = []
    characters = 0
    for name, value in everything:
        characters += len(name) + len(value)
        if characters > MAX_HEADER_CHARACTERS:
            return kept, True
        kept.append({"name": name, "value": value})
    return kept, False


def _common_headers(record: Record, submission: Submission) -> dict[str, Any]:
    lists = {"to": submission.to, "cc": submission.cc, "replyTo": submission.reply_to}
    given = {name: list(addresses) for name, addresses in lists.items() if addresses}
    return {"from": [submission.source], "messageId": record.message_id, "subject": submission.content.subject} | given


def _tags(record: Record, submission: Submission, domain: str) -> dict[str, list[str]]:
    automatic = {
        "ses:operation": [submission.operation],
        "ses:configuration-set": [record.configuration_set or ""],
        "ses:source-ip": [submission.source_ip],
        "ses:from-domain": [domain],
        "ses:caller-identity": ["simulator"],
    }
    if record.tenant:
        automatic["ses:tenant-name"] = [record.tenant]
    return automatic | {name: [value] for name, value in submission.tags.items()}


Details = tuple[str, dict[str, object]]


def _send(_recipients: tuple[str, ...], _now: float, _facts: dict[str, str]) -> Details:
    return "send", {}


def _delivery(recipients: tuple[str, ...], now: float, _facts: dict[str, str]) -> Details:
    return "delivery", {
        "timestamp": clock.iso(now),
        "processingTimeMillis": 1279,
        "recipients": list(recipients),
        "smtpResponse": "250 2.0.0 OK simulated",
        "remoteMtaIp": REMOTE_IP,
        "reportingMTA": REPORTING_MTA,
    }


def _bounced(
    kind: tuple[str, str], status: str | None, diagnostic: str | None
) -> Callable[[tuple[str, ...], float, dict[str, str]], Details]:
    """A kind of bounce; one without a delivery status comes without a report of who bounced it, too."""
    delivery_status = (
        {"action": "failed", "status": status, "diagnosticCode": diagnostic} if status and diagnostic else {}
    )
    reporter = {"reportingMTA": f"dns; {REPORTING_MTA}"} if status else {}

    def bounce(recipients: tuple[str, ...], now: float, _facts: dict[str, str]) -> Details:
        details: dict[str, object] = {
            "bounceType": kind[0],
            "bounceSubType": kind[1],
            "bouncedRecipients": [{"emailAddress": address} | delivery_status for address in recipients],
            "timestamp": clock.iso(now),
        }
        return "bounce", details | reporter

    return bounce


def _complaint(recipients: tuple[str, ...], now: float, _facts: dict[str, str]) -> Details:
    return "complaint", {
        "complaintSubType": None,
        "complainedRecipients": [{"emailAddress": address} for address in recipients],
        "timestamp": clock.iso(now),
        "userAgent": "Amazon SES Mailbox Simulator",
        "complaintFeedbackType": "abuse",
        "arrivalDate": clock.iso(now),
    }


def _suppressed_complaint(recipients: tuple[str, ...], now: float, _facts: dict[str, str]) -> Details:
    return "complaint", {
        "complaintSubType": "OnAccountSuppressionList",
        "complainedRecipients": [{"emailAddress": address} for address in recipients],
        "timestamp": clock.iso(now),
    }


def _reject(_recipients: tuple[str, ...], _now: float, _facts: dict[str, str]) -> Details:
    return "reject", {"reason": "Bad content"}


def _delay(recipients: tuple[str, ...], now: float, _facts: dict[str, str]) -> Details:
    status = {"status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 Unable to connect to remote host"}
    return "deliveryDelay", {
        "timestamp": clock.iso(now),
        "delayType": "TransientCommunicationFailure",
        "expirationTime": clock.iso(now + 50_400),
        "reportingMTA": REPORTING_MTA,
        "delayedRecipients": [{"emailAddress": address} | status for address in recipients],
    }


def _open(_recipients: tuple[str, ...], now: float, _facts: dict[str, str]) -> Details:
    return "open", _reader(now)


def _click(_recipients: tuple[str, ...], now: float, facts: dict[str, str]) -> Details:
    return "click", _reader(now) | {"link": facts.get("link", "https://example.com/"), "linkTags": None}


def _reader(now: float) -> dict[str, object]:
    return {
        "ipAddress": "198.51.100.7",
        "timestamp": clock.iso(now),
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64)",
        "isBotEvent": "Unlikely",
    }


def _rendering_failure(_recipients: tuple[str, ...], _now: float, facts: dict[str, str]) -> Details:
    return "failure", {"errorMessage": facts.get("failure", ""), "templateName": facts.get("template", "")}


_DETAILS: dict[Happening, Callable[[tuple[str, ...], float, dict[str, str]], Details]] = {
    Happening.SEND: _send,
    Happening.DELIVERY: _delivery,
    Happening.BOUNCE: _bounced(("Permanent", "General"), "5.1.1", "smtp; 550 5.1.1 user unknown"),
    Happening.SOFT_BOUNCE: _bounced(("Transient", "MailboxFull"), "4.2.2", "smtp; 452 4.2.2 mailbox full"),
    Happening.AUTOMATIC_ANSWER: _bounced(("Transient", "General"), None, None),
    Happening.GLOBALLY_SUPPRESSED: _bounced(("Permanent", "Suppressed"), "5.1.1", GLOBAL_TEXT),
    Happening.SUPPRESSED: _bounced(("Permanent", "OnAccountSuppressionList"), "5.1.1", SUPPRESSED_TEXT),
    Happening.TENANT_SUPPRESSED: _bounced(("Permanent", "OnTenantSuppressionList"), "5.1.1", SUPPRESSED_TEXT),
    Happening.GIVEN_UP: _bounced(("Transient", "General"), "4.4.7", EXPIRED_TEXT),
    Happening.TIMED_OUT: _bounced(("Transient", "CustomTimeoutExceeded"), "4.4.7", EXPIRED_TEXT),
    Happening.SUPPRESSED_COMPLAINT: _suppressed_complaint,
    Happening.COMPLAINT: _complaint,
    Happening.REJECT: _reject,
    Happening.DELAY: _delay,
    Happening.OPEN: _open,
    Happening.CLICK: _click,
    Happening.RENDERING_FAILURE: _rendering_failure,
}
