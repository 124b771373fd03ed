"""SES version 1, for those who still use it: sending, the quota, identities and their notification topics."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from seslocal.api.requests import form, submissions, validation
from seslocal.errors import invalid
from seslocal.message.submission import Content, Submission

if TYPE_CHECKING:
    from collections.abc import Mapping

    from seslocal.api.call import Call, Handler
    from seslocal.ses import Ses

NAMESPACE = "http://ses.amazonaws.com/doc/2010-12-01/"
MAX_EMAIL_BYTES = 10 * 1024 * 1024
_WRITTEN = (
    ("To", "Destination.ToAddresses"),
    ("Cc", "Destination.CcAddresses"),
    ("Reply-To", "ReplyToAddresses"),
)
NOTIFICATION_TYPES = ("Bounce", "Complaint", "Delivery")


def send_email(ses: Ses, call: Call) -> dict[str, Any]:
    """SendEmail: subject, text and HTML."""
    fields = call.body
    content = Content(
        subject=fields.get("Message.Subject.Data", ""),
        text=fields.get("Message.Body.Text.Data"),
        html=fields.get("Message.Body.Html.Data"),
    )
    if content.text is None and content.html is None:
        raise invalid("Message body must have Text, Html or both.")
    validation.check_size(content.size_bytes, MAX_EMAIL_BYTES)
    source = form.required(fields, "Source")
    to, cc, bcc = (_addresses(fields, f"Destination.{name}Addresses") for name in ("To", "Cc", "Bcc"))
    validation.check_recipients(len(to) + len(cc) + len(bcc))
    submission = Submission(
        operation="SendEmail",
        source=source,
        sender=validation.address(source),
        to=to,
        cc=cc,
        bcc=bcc,
        reply_to=_addresses(fields, "ReplyToAddresses"),
        written=tuple((name, tuple(form.strings(fields, prefix))) for name, prefix in _WRITTEN),
        content=content,
        tags=_tags(fields),
        configuration_set=validation.configuration_set_name(fields.get("ConfigurationSetName")),
        source_ip=call.source_ip,
    )
    return {"MessageId": ses.send(submission).message_id}


def send_raw_email(ses: Ses, call: Call) -> dict[str, Any]:
    """SendRawEmail: a MIME message."""
    data = validation.blob(form.required(call.body, "RawMessage.Data"), "RawMessage.Data")
    validation.check_size(len(data), MAX_EMAIL_BYTES)
    submission = submissions.mime_submission(
        data,
        source=call.body.get("Source"),
        recipients=(_addresses(call.body, "Destinations"), (), ()),
        tags=_tags(call.body),
        configuration_set=validation.configuration_set_name(call.body.get("ConfigurationSetName")),
    )
    return {"MessageId": ses.send(replace(submission, source_ip=call.source_ip)).message_id}


def get_send_quota(ses: Ses, _call: Call) -> dict[str, Any]:
    """GetSendQuota."""
    return dict(ses.account.send_quota())


def get_account_sending_enabled(ses: Ses, _call: Call) -> dict[str, Any]:
    """GetAccountSendingEnabled."""
    return {"Enabled": "true" if ses.account.sending_enabled else "false"}


def list_identities(ses: Ses, _call: Call) -> dict[str, Any]:
    """ListIdentities."""
    return {"Identities": sorted(ses.account.identities.known)}


def set_identity_notification_topic(ses: Ses, call: Call) -> dict[str, Any]:
    """SetIdentityNotificationTopic: feedback notifications, which exist in this version of the API only."""
    topic = call.body.get("SnsTopic")
    if topic:
        ses.sns.topic(topic)
        ses.account.identities.topics[_identity_and_type(call)] = topic
    else:
        ses.account.identities.topics.pop(_identity_and_type(call), None)
    return {}


def get_identity_notification_attributes(ses: Ses, call: Call) -> dict[str, Any]:
    """GetIdentityNotificationAttributes."""
    names = [name.lower() for name in form.strings(call.body, "Identities")]
    return {"NotificationAttributes": form.Entries(**{name: _notified(ses, name) for name in names})}


def _notified(ses: Ses, name: str) -> dict[str, Any]:
    topics = {f"{kind}Topic": ses.account.identities.topics.get((name, kind)) for kind in NOTIFICATION_TYPES}
    return {kind: topic for kind, topic in topics.items() if topic} | {"ForwardingEnabled": "true"}


def set_identity_headers(ses: Ses, call: Call) -> dict[str, Any]:
    """SetIdentityHeadersInNotificationsEnabled."""
    if form.required(call.body, "Enabled") == "true":
        ses.account.identities.with_headers.add(_identity_and_type(call))
    else:
        ses.account.identities.with_headers.discard(_identity_and_type(call))
    return {}


def _identity_and_type(call: Call) -> tuple[str, str]:
    kind = validation.one_of(form.required(call.body, "NotificationType"), "notificationType", NOTIFICATION_TYPES)
    return form.required(call.body, "Identity").lower(), kind


def _addresses(fields: Mapping[str, str], prefix: str) -> tuple[str, ...]:
    return tuple(validation.address(one) for one in form.strings(fields, prefix))


def _tags(fields: Mapping[str, str]) -> dict[str, str]:
    return validation.tags(form.records(fields, "Tags"))


HANDLERS: dict[str, Handler] = {
    "SendEmail": send_email,
    "SendRawEmail": send_raw_email,
    "GetSendQuota": get_send_quota,
    "GetAccountSendingEnabled": get_account_sending_enabled,
    "ListIdentities": list_identities,
    "GetIdentityNotificationAttributes": get_identity_notification_attributes,
    "SetIdentityNotificationTopic": set_identity_notification_topic,
    "SetIdentityHeadersInNotificationsEnabled": set_identity_headers,
}
