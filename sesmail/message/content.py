"""What an email says, and to whom: by this it is told whether two calls mean the same email."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING, Any

from sesmail.message.addresses import normal_address
from sesmail.message.content_types import is_composite

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sesmail.message.alternative import Alternative
    from sesmail.message.attachment import Attachment
    from sesmail.message.email import Email

FORM = "1"
"""Stands before each digest. Whoever changes what is counted changes it, too: digests of two forms are not compared."""
DIGEST_BYTES = 15


def content_digest(email: Email) -> str:
    """21 characters that are the same for the same readers, sender, subject, bodies and files, in every release.

    Not counted is what a second try may rightly say anew: times, lane, headers (trace ids, signed links), tags,
    metadata, configuration set. How an address is spelt, and in which order several stand, does not count either.
    What a later release adds counts where it is said alone, so that emails without it keep their digest.
    """
    content: dict[str, Any] = {name: _mailboxes(getattr(email, name)) for name in ("to", "cc", "bcc", "reply_to")}
    content["from"] = _mailboxes([email.from_email] if email.from_email else [])
    content["subject"] = email.subject
    content["template"] = email.ses.get("Content")
    content |= {"text": email.text, "html": email.html}
    content["alternatives"] = [_said(each) for each in email.alternatives]
    content["attachments"] = [[each.filename, _said(each)[1]] for each in email.attachments]
    said = {name: value for name, value in content.items() if value not in (None, [])}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()[:DIGEST_BYTES]
    return FORM + urlsafe_b64encode(digest).decode()


def _mailboxes(addresses: Iterable[str]) -> list[str]:
    return sorted(map(normal_address, addresses))


_BOUNDARY = re.compile(rb"""boundary="?([^";\r\n]+)""", re.IGNORECASE)


def _said(part: Alternative | Attachment) -> list[str]:
    """Its type and a digest of its content, but for boundaries, which programs make up each time anew."""
    kind, content = part.content_type.encode(), part.content
    if is_composite(part.content_type):
        for boundary in sorted({*_BOUNDARY.findall(kind), *_BOUNDARY.findall(content)}, key=len, reverse=True):
            kind, content = kind.replace(boundary, b""), content.replace(boundary, b"")
    return [kind.decode(), hashlib.sha256(content).hexdigest()]
