"""An email as a MIME message, for SES's `Raw` content.

Building one costs more than the call that sends it, so it is the exception: `ses.py` says when.

The older half of the standard library's `email` package is used with purpose: `EmailMessage` decodes and refolds every
header, and so makes encoded words longer than the 75 characters of RFC 2047 or tears up long unsubscribe links.
"""

from __future__ import annotations

from email.encoders import encode_base64
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import compat32
from typing import TYPE_CHECKING, Any, TypeAlias

from sesmail.message.addresses import encoded_mailbox, encoded_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sesmail.message import Attachment, Email

# A header that SES takes, 996 characters and ": ", is one line of RFC 5322: only lists of recipients are ever folded.
_POLICY = compat32.clone(max_line_length=998, linesep="\r\n")

Part: TypeAlias = "Message[Any, Any]"


def build(email: Email, headers: Mapping[str, str]) -> bytes:
    """The message, with `headers` beside those that the email's own fields make.

    `Bcc` is on the envelope only. `Date` and `Message-ID` are set by SES:
    https://docs.aws.amazon.com/ses/latest/dg/header-fields.html
    """
    message = _content(email)
    for name, value in (_own_headers(email) | {**headers}).items():
        message[name] = value
    return message.as_bytes(policy=_POLICY)


def _content(email: Email) -> Part:
    """mixed(related(alternative(text, html), pictures), files), without the levels that would hold one part only."""
    bodies = [MIMEText(body, kind, "utf-8") for kind, body in (("plain", email.text), ("html", email.html)) if body]
    pictures = [_part(each, "inline") for each in email.attachments if each.content_id]
    files = [_part(each, "attachment") for each in email.attachments if not each.content_id]
    shown = _multipart("related", [_multipart("alternative", bodies), *pictures])
    return _multipart("mixed", [shown, *files])


def _multipart(subtype: str, parts: Sequence[Part]) -> Part:
    return parts[0] if len(parts) == 1 else MIMEMultipart(subtype, _subparts=parts)


def _part(attachment: Attachment, disposition: str) -> Part:
    part = Message()
    part["Content-Type"] = attachment.content_type
    name = attachment.filename
    part.add_header("Content-Disposition", disposition, filename=name if name.isascii() else ("utf-8", "", name))
    if attachment.content_id:
        part["Content-ID"] = f"<{attachment.content_id}>"
    part.set_payload(attachment.content)
    encode_base64(part)
    return part


def _own_headers(email: Email) -> dict[str, str]:
    senders = (email.from_email,) if email.from_email else ()
    lists = {"From": senders, "To": email.to, "Cc": email.cc, "Reply-To": email.reply_to}
    addressed = {name: ", ".join(map(encoded_mailbox, mailboxes)) for name, mailboxes in lists.items() if mailboxes}
    return {**addressed, "Subject": encoded_words(email.subject)}
