"""An email as the request that SES v2 takes: `Simple` where SES can put the message together itself, else `Raw`.

https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sesmail import tracing
from sesmail.errors import SendRejected
from sesmail.message import ID_HEADER, ID_TAG, MAX_HEADERS, Attachment, Email, mime
from sesmail.message.addresses import encoded_mailbox
from sesmail.message.content_types import is_composite
from sesmail.message.fields import MAX_TAGS
from sesmail.message.file_names import carried_name
from sesmail.message.headers import encoded_headers

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_COMPOSED = "not-composed"
"""The code of a send that was rejected here, before SES was asked."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Composed:
    """An email that is ready to be asked for: nothing is left that could fail but the asking."""

    email: Email
    request: dict[str, Any]
    """The arguments of boto3's `send_email`."""


def compose(email: Email, *, send_id: str) -> Composed:
    """What SES will be asked. `send_id` travels along as a tag and as a header.

    Raises `SendRejected` for what cannot be composed, with the place where that failed: SES is never asked for it.
    """
    try:
        return Composed(email=email, request=send_email_request(email, send_id))
    except Exception as bug:  # noqa: BLE001  whatever it is, SES was not asked
        failure, place = _not_composed(bug), bug.__traceback__
    raise failure.with_traceback(place)  # out here, so that no traceback shows words that may quote the email


def _not_composed(bug: Exception) -> SendRejected:
    return SendRejected(
        f"The email could not be put together ({type(bug).__name__}): SES was not asked, nobody got it. Mend the "
        "email, or upgrade the workers if the fault is theirs, and send it again.",
        code=NOT_COMPOSED,
    )


def send_email_request(email: Email, send_id: str) -> dict[str, Any]:
    """The arguments of boto3's `send_email`; the id of the send travels along as a tag and as a header."""
    own = {ID_HEADER: send_id}
    request: dict[str, Any] = {
        "Destination": _destination(email),
        "Content": _content(email, own),
        "EmailTags": [{"Name": name, "Value": value} for name, value in _tags(email, send_id)],
    }
    return {**email.ses, **request, **sender_fields(email)}


def sender_fields(email: Email) -> dict[str, Any]:
    """What each call of SES says of an email by the same names: sender, reply addresses and configuration set."""
    named: dict[str, Any] = {}
    if email.from_email:
        named["FromEmailAddress"] = encoded_mailbox(email.from_email)
    if email.reply_to:
        named["ReplyToAddresses"] = [*map(encoded_mailbox, email.reply_to)]
    if email.configuration_set:
        named["ConfigurationSetName"] = email.configuration_set
    return named


def _tags(email: Email, send_id: str) -> Iterator[tuple[str, str]]:
    """The caller's, and ours: the trace only where it is none too many."""
    yield from email.tags.items()
    yield ID_TAG, send_id
    if len(email.tags) < MAX_TAGS and (trace := tracing.current()):
        yield tracing.TRACE_TAG, trace


def _destination(email: Email) -> dict[str, list[str]]:
    lists = {"ToAddresses": email.to, "CcAddresses": email.cc, "BccAddresses": email.bcc}
    return {name: [*map(encoded_mailbox, mailboxes)] for name, mailboxes in lists.items() if mailboxes}


def _content(email: Email, own: dict[str, str]) -> dict[str, Any]:
    if "Content" in email.ses:
        headers = [{"Name": name, "Value": value} for name, value in (encoded_headers(email.headers) | own).items()]
        return {"Template": {**email.ses["Content"]["Template"], "Headers": headers}}
    return _simple(email, own) if _is_simple(email) else {"Raw": {"Data": mime.build(email, own)}}


def _is_simple(email: Email) -> bool:
    """Whether SES can put the message together itself, which costs us nothing.

    Not with sixteen headers, ours included, not without a body or with other forms of it, and not where AWS leaves open
    what becomes of an attachment: an email or what else has parts of its own, a type with parameters, a file name that
    is not ASCII or has no extension. https://docs.aws.amazon.com/ses/latest/dg/attachments.html
    """
    return (
        len(email.headers) < MAX_HEADERS
        and not email.alternatives
        and not (email.text is None and email.html is None)
        and all(map(_is_simple_attachment, email.attachments))
    )


def _is_simple_attachment(attachment: Attachment) -> bool:
    name, kind = attachment.filename, attachment.content_type
    is_plain = ";" not in kind and not is_composite(kind) and not attachment.headers
    return is_plain and name.isascii() and "." in name.strip(".")


def _simple(email: Email, own: dict[str, str]) -> dict[str, Any]:
    headers = encoded_headers(email.headers) | own
    bodies = {"Text": email.text, "Html": email.html}
    message: dict[str, Any] = {
        "Subject": _text(email.subject),
        "Body": {kind: _text(body) for kind, body in bodies.items() if body is not None},
        "Headers": [{"Name": name, "Value": value} for name, value in headers.items()],
    }
    if email.attachments:
        message["Attachments"] = [*map(_attachment, email.attachments)]
    return {"Simple": message}


def _text(text: str) -> dict[str, str]:
    return {"Data": text, "Charset": "UTF-8"}


def _attachment(attachment: Attachment) -> dict[str, Any]:
    described = {
        "FileName": carried_name(attachment.filename),
        "RawContent": attachment.content,
        "ContentType": attachment.content_type,
        "ContentDisposition": (attachment.disposition or "attachment").upper(),
        "ContentTransferEncoding": "BASE64",  # SES would else take it for seven-bit text
    }
    return described | ({"ContentId": attachment.content_id} if attachment.content_id else {})


def request_with_everything() -> dict[str, Any]:
    """A request that has every member that any request may have."""
    return send_email_request(email_with_everything(), send_id="-")


def email_with_everything() -> Email:
    """An email that has all that requests are made of."""
    return Email(
        "to@example.com",
        "-",
        "-",
        "-",
        from_email="from@example.com",
        cc="cc@example.com",
        bcc="bcc@example.com",
        reply_to="reply@example.com",
        configuration_set="-",
        attachments=Attachment("logo.png", b"-", content_id="logo"),
    )
