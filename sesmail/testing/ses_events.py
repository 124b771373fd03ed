"""What SES tells of an email, as it writes it: the JSON of event publishing, for the sends in a test's outbox.

https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from sesmail.message import ID_HEADER, ID_TAG
from sesmail.testing.delivering import new_message_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sesmail.message import Email
    from sesmail.testing.sends import Send

Kind: TypeAlias = Literal[
    "Send",
    "Delivery",
    "Bounce",
    "Complaint",
    "Open",
    "Click",
    "DeliveryDelay",
    "Reject",
    "Rendering Failure",
    "Subscription",
]
"""SES's names of what it tells."""

ACCOUNT = "123456789012"
REGION = "us-east-1"
REPORTING_MTA = "a8-70.smtp-out.amazonses.com"
REMOTE_IP = "192.0.2.200"
OUTGOING_IP = "192.0.2.77"
BOUNCES = {
    "Permanent": ("General", "5.1.1", "smtp; 550 5.1.1 user unknown"),
    "Transient": ("MailboxFull", "4.2.2", "smtp; 452 4.2.2 the recipient's inbox is out of storage space"),
    "Undetermined": ("Undetermined", "5.0.0", "smtp; 500 no reason given"),
}
_LEFT_OUT = dict.fromkeys(("DeliveryDelay", "Rendering Failure"), ("headers", "commonHeaders"))
"""As in AWS's examples of them."""
_VISITOR = {"ipAddress": "198.51.100.7", "userAgent": "Mozilla/5.0 (X11; Linux x86_64)"}


def ses_event(kind: Kind, send: Send, *, recipient: str | None = None, at: datetime | None = None, **facts: Any) -> str:
    """The message that SES publishes of this email: of one `recipient`, or of all; at a time, or now.

    `facts` are, by their kind: `bounce_type`, `bounce_sub_type`; `feedback_type`; `by_bot`; `link`; `delay_type`;
    `topics`; `error_message`, `template`. Raises `ValueError` for a kind that there is not.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"SES tells nothing of the kind {kind!r}: choose one of {', '.join(get_args(Kind))}.")
    at = at or datetime.now(UTC)
    recipients = [recipient] if recipient else list(send.email.recipients)
    name, details = _DETAILS[kind](recipients, at, facts)
    mail = {part: value for part, value in _mail(send, at).items() if part not in _LEFT_OUT.get(kind, ())}
    if kind == "Delivery":
        mail["tags"]["ses:outgoing-ip"] = [OUTGOING_IP]
    return json.dumps({"eventType": kind, "mail": mail, name: details}, ensure_ascii=False)


def _mail(send: Send, at: datetime) -> dict[str, Any]:
    email, message_id = send.email, send.status.message_id or new_message_id()
    return {
        "timestamp": _iso(min(at, datetime.fromtimestamp(send.status.changed_at, UTC))),
        "source": email.from_email,
        "sourceArn": f"arn:aws:ses:{REGION}:{ACCOUNT}:identity/{email.sender_domain}",
        "sendingAccountId": ACCOUNT,
        "messageId": message_id,
        "destination": list(email.recipients),
        "headersTruncated": False,
        "headers": [{"name": name, "value": value} for name, value in _headers(email, send.id).items()],
        "commonHeaders": _common_headers(email, message_id),
        "tags": _tags(email) | {ID_TAG: [send.id]},
    }


def _headers(email: Email, send_id: str) -> dict[str, str]:
    lists = {"To": email.to, "Cc": email.cc, "Reply-To": email.reply_to}
    addressed = {name: ", ".join(mailboxes) for name, mailboxes in lists.items() if mailboxes}
    own = {"From": email.from_email or "", **addressed, "Subject": email.subject, "MIME-Version": "1.0"}
    return own | dict(email.headers) | {ID_HEADER: send_id}


def _common_headers(email: Email, message_id: str) -> dict[str, Any]:
    lists = {"to": email.to, "cc": email.cc, "replyTo": email.reply_to}
    given = {name: list(mailboxes) for name, mailboxes in lists.items() if mailboxes}
    return {"from": [email.from_email], **given, "messageId": message_id, "subject": email.subject}


def _tags(email: Email) -> dict[str, list[str]]:
    automatic = {
        "ses:operation": "SendEmail",
        "ses:configuration-set": email.configuration_set or "",
        "ses:source-ip": "192.0.2.10",
        "ses:from-domain": email.sender_domain,
        "ses:caller-identity": "sesmail-worker",
    }
    return {name: [value] for name, value in {**automatic, **email.tags}.items()}


# -- what happened ----------------------------------------------------------------------------------------------------

_Details: TypeAlias = tuple[str, dict[str, Any]]


def _sent(_recipients: Sequence[str], _at: datetime, _facts: Mapping[str, Any]) -> _Details:
    return "send", {}


def _delivered(recipients: Sequence[str], at: datetime, _facts: Mapping[str, Any]) -> _Details:
    return "delivery", {
        "timestamp": _iso(at),
        "processingTimeMillis": 1279,
        "recipients": list(recipients),
        "smtpResponse": "250 2.0.0 OK",
        "remoteMtaIp": REMOTE_IP,
        "reportingMTA": REPORTING_MTA,
    }


def _bounced(recipients: Sequence[str], at: datetime, facts: Mapping[str, Any]) -> _Details:
    kind = facts.get("bounce_type", "Permanent")
    sub_type, status, diagnostic = BOUNCES[kind]
    report = {"action": "failed", "status": status, "diagnosticCode": diagnostic}
    return "bounce", {
        "feedbackId": new_message_id(),
        "bounceType": kind,
        "bounceSubType": facts.get("bounce_sub_type") or sub_type,
        "bouncedRecipients": [{"emailAddress": address, **report} for address in recipients],
        "timestamp": _iso(at),
        "reportingMTA": f"dns; {REPORTING_MTA}",
    }


def _complained(recipients: Sequence[str], at: datetime, facts: Mapping[str, Any]) -> _Details:
    return "complaint", {
        "feedbackId": new_message_id(),
        "complaintSubType": None,
        "complainedRecipients": [{"emailAddress": address} for address in recipients],
        "timestamp": _iso(at),
        "userAgent": "ExampleISP-FBL/1.0",
        "complaintFeedbackType": facts.get("feedback_type", "abuse"),
        "arrivalDate": _iso(at),
    }


def _opened(_recipients: Sequence[str], at: datetime, facts: Mapping[str, Any]) -> _Details:
    return "open", {**_VISITOR, "timestamp": _iso(at), "isBotEvent": "Likely" if facts.get("by_bot") else "Unlikely"}


def _clicked(recipients: Sequence[str], at: datetime, facts: Mapping[str, Any]) -> _Details:
    _, visit = _opened(recipients, at, facts)
    return "click", {**visit, "link": facts.get("link", "https://example.com/"), "linkTags": None}


def _delayed(recipients: Sequence[str], at: datetime, facts: Mapping[str, Any]) -> _Details:
    status = {"status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 Unable to connect to remote host"}
    return "deliveryDelay", {
        "timestamp": _iso(at),
        "delayType": facts.get("delay_type", "TransientCommunicationFailure"),
        "expirationTime": _iso(at + timedelta(hours=14)),
        "reportingMTA": REPORTING_MTA,
        "delayedRecipients": [{"emailAddress": address, **status} for address in recipients],
    }


def _rejected(_recipients: Sequence[str], _at: datetime, _facts: Mapping[str, Any]) -> _Details:
    return "reject", {"reason": "Bad content"}


def _rendering_failed(_recipients: Sequence[str], _at: datetime, facts: Mapping[str, Any]) -> _Details:
    message = facts.get("error_message", "Attribute 'name' is not present in the rendering data.")
    return "failure", {"errorMessage": message, "templateName": facts.get("template", "welcome")}


def _unsubscribed(_recipients: Sequence[str], at: datetime, facts: Mapping[str, Any]) -> _Details:
    topics = facts.get("topics", ())

    def preferences(status: str, everything: bool) -> dict[str, Any]:
        named = [{"topicName": topic, "subscriptionStatus": status} for topic in topics]
        return {"unsubscribeAll": everything, "topicSubscriptionStatus": named}

    return "subscription", {
        "contactList": "Contacts",
        "timestamp": _iso(at),
        "source": "UnsubscribeHeader",
        "newTopicPreferences": preferences("OptOut", not topics),
        "oldTopicPreferences": preferences("OptIn", False),
    }


_DETAILS: dict[str, Callable[[Sequence[str], datetime, Mapping[str, Any]], _Details]] = {
    "Send": _sent,
    "Delivery": _delivered,
    "Bounce": _bounced,
    "Complaint": _complained,
    "Open": _opened,
    "Click": _clicked,
    "DeliveryDelay": _delayed,
    "Reject": _rejected,
    "Rendering Failure": _rendering_failed,
    "Subscription": _unsubscribed,
}


def _iso(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"
