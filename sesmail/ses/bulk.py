"""One letter to several recipients as one call of SendBulkEmail: an inline template, and ready values for each.

All that is a reader's own is made ready here, escaped as it must be: SES only puts it in its place, and does not escape
(https://docs.aws.amazon.com/ses/latest/dg/send-personalized-email-advanced.html). Each has headers and tags of its own,
so that one-click links and events are as with single calls.

https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendBulkEmail.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sesmail.message import ID_HEADER, ID_TAG
from sesmail.message.addresses import encoded_mailbox
from sesmail.message.headers import encoded_headers
from sesmail.ses.request import sender_fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sesmail.message import Email

MOST_ENTRIES = 50
"""Recipients of one call: https://docs.aws.amazon.com/ses/latest/dg/quotas.html"""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Template:
    """Texts with `{{name}}` for values, as SES fills them in."""

    subject: str
    text: str | None
    html: str | None


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Entry:
    """One recipient of a call."""

    send_id: str
    mailbox: str
    values: Mapping[str, Any]
    headers: Mapping[str, str]
    """Its own, besides the letter's."""
    tags: Mapping[str, str]


def send_bulk_email_request(letter: Email, template: Template, entries: Sequence[Entry]) -> dict[str, Any]:
    """The arguments of boto3's `send_bulk_email`."""
    texts = {"Subject": template.subject, "Text": template.text, "Html": template.html}
    content: dict[str, Any] = {
        "TemplateContent": {name: text for name, text in texts.items() if text is not None},
        "TemplateData": "{}",
        "Headers": _named(encoded_headers(letter.headers)),
    }
    request: dict[str, Any] = {
        "DefaultContent": {"Template": content},
        "BulkEmailEntries": [_entry(letter, entry) for entry in entries],
    }
    return {**letter.ses, **request, **sender_fields(letter)}


def _entry(letter: Email, entry: Entry) -> dict[str, Any]:
    values = json.dumps(entry.values, separators=(",", ":"), ensure_ascii=False)
    return {
        "Destination": {"ToAddresses": [encoded_mailbox(entry.mailbox)]},
        "ReplacementTags": _named({**letter.tags, **entry.tags, ID_TAG: entry.send_id}),
        "ReplacementHeaders": _named({**encoded_headers(entry.headers), ID_HEADER: entry.send_id}),
        "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": values}},
    }


def _named(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in values.items()]
