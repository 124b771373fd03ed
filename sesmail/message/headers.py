"""Headers of the caller's own: what they may say, and how they are written where they are not ASCII."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from sesmail.errors import InvalidEmail
from sesmail.message.addresses import encoded_mailbox, mailbox_of
from sesmail.message.text import as_text, as_text_or_number, encoded_words, kind_of, line

MAX_HEADERS = 15
MAX_VALUE_LENGTH = 995
MAX_WITH_NAME = 996
ID_HEADER = "X-Sesmail-Id"

NOTHING: Mapping[str, str] = MappingProxyType({})

_NAME = re.compile(r"[!-9;-~]{1,126}")
# What SES does not take as a header of one's own, and what it ignores beside an API parameter of that meaning; with the
# argument that says it. https://docs.aws.amazon.com/ses/latest/dg/header-fields.html
REFUSED = {
    "bcc": "bcc",
    "cc": "cc",
    "content-disposition": "attachments",
    "content-transfer-encoding": "",
    "content-type": "",
    "date": "",
    "from": "from_email",
    "message-id": "",
    "mime-version": "",
    "reply-to": "reply_to",
    "return-path": "",
    "subject": "subject",
    "to": "to",
    "x-ses-configuration-set": "configuration_set",
    "x-ses-message-tags": "tags",
}

# Values with a grammar of their own. Encoding them whole would hide the address or the URL in them: RFC 2047 §5.
_ADDRESSES = frozenset(
    [
        "sender",
        "resent-from",
        "resent-sender",
        "resent-to",
        "resent-cc",
        "resent-bcc",
        "resent-reply-to",
        "disposition-notification-to",
        "return-receipt-to",
        "errors-to",
        "mail-reply-to",
        "mail-followup-to",
        "x-confirm-reading-to",
        "delivered-to",
        "x-original-to",
        "x-original-from",
        "x-envelope-to",
        "x-envelope-from",
        "x-forwarded-to",
        "x-complaints-to",
        "x-sender",
        "x-errors-to",
        "apparently-to",
        "mail-copies-to",
    ]
)
_PHRASE_AND_ID = frozenset({"list-id"})
_ASCII_ALONE = frozenset(
    [
        "list-unsubscribe",
        "list-unsubscribe-post",
        "list-help",
        "list-subscribe",
        "list-post",
        "list-owner",
        "list-archive",
        "archived-at",
        "content-location",
        "content-base",
        "references",
        "in-reply-to",
        "resent-message-id",
        "original-message-id",
        "supersedes",
        "obsoletes",
        "auto-submitted",
        "precedence",
        "resent-date",
        "expires",
        "reply-by",
        "dkim-signature",
        "feedback-id",
        "x-report-abuse-to",
        "list-unsubscribe-link",
        "x-list-unsubscribe",
        "autocrypt",
        "require-recipient-valid-since",
        "authentication-results",
        "received",
        "received-spf",
        "content-language",
        "content-id",
        "list-url",
        "x-url",
        "importance",
        "priority",
        "x-priority",
        "sensitivity",
    ]
)
_IDS = frozenset({"references", "in-reply-to"})


def headers_of(value: Mapping[str, Any] | None) -> Mapping[str, str]:
    """The caller's headers, in order. Raises `InvalidEmail`."""
    headers: dict[str, str] = {}
    for field, name, content in items("headers", value, MAX_HEADERS):
        checked = _header_name(field, name)
        headers[checked] = _header_value(field, checked, content)
    if len({name.lower() for name in headers}) < len(headers):
        raise InvalidEmail("headers", "has one name twice, in different case")
    return MappingProxyType(headers)


def encoded_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """All headers of an email as they travel."""
    return {name: encoded_header(name, value) for name, value in headers.items()}


def encoded_header(name: str, value: str) -> str:
    """A value as it travels: ASCII as it is; where its header has a grammar, only what people read is encoded."""
    if value.isascii():
        return value
    try:
        return _structured(name.lower(), value, "") or encoded_words(value)
    except InvalidEmail:  # accepted by a release that did not look
        return encoded_words(value)


def is_structured(name: str) -> bool:
    """Whether a value of this header is not encoded as a whole."""
    return name.lower() in _ADDRESSES | _PHRASE_AND_ID | _ASCII_ALONE


def items(field: str, value: object, most: int) -> Iterable[tuple[str, Any, Any]]:
    """Each pair of a mapping, with the words that name it. Raises `InvalidEmail`."""
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise InvalidEmail(field, f"is {kind_of(value)}, not a mapping")
    if len(value) > most:
        raise InvalidEmail(field, f"has {len(value)} entries", f"at most {most}")
    for n, (name, content) in enumerate(value.items()):
        yield f"{field}[{n}]", as_text(f"{field}[{n}]", name), content


def _header_name(field: str, name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidEmail(
            field, "its name is not a header's", "1 to 126 printable ASCII characters, no colon, no space"
        )
    if name.lower() == ID_HEADER.lower():
        raise InvalidEmail(field, "sesmail sets this header itself, with the id of the send")
    if (instead := REFUSED.get(name.lower())) is not None:
        raise InvalidEmail(field, f"SES sets this header itself{instead and f'; give {instead}='}")
    return name


def _header_value(field: str, name: str, value: object) -> str:
    text = as_text_or_number(field, value)
    if isinstance(text, str) and name.lower() in _IDS:
        text = _trimmed(" ".join(text.split()), min(MAX_VALUE_LENGTH, MAX_WITH_NAME - len(name)))
    content = line(field, text, MAX_VALUE_LENGTH).strip()
    encoded = content if content.isascii() else _structured(name.lower(), content, field) or encoded_words(content)
    if not 1 <= len(encoded) <= MAX_VALUE_LENGTH or len(name) + len(encoded) > MAX_WITH_NAME:
        raise InvalidEmail(
            field, f"its value has {len(encoded)} characters, as encoded for a header", "1 to 995, 996 with the name"
        )
    return content


_ID = re.compile(r"<[^<>]*>|[^<>\s,]+")


def _trimmed(value: str, most: int) -> str:
    """The ids of a thread, which grows with each answer; of a long one its first and its last: RFC 5537 §3.4.4."""
    if len(value) <= most:
        return value
    ids = _ID.findall(value)
    while len(" ".join(ids)) > most and len(ids) > 1:
        del ids[min(1, len(ids) - 2)]
    return " ".join(ids)


# One after the other, between commas that stand neither in quotes nor in angle brackets.
_LISTED = re.compile(r'(?:"(?:[^"\\]|\\.)*"|<[^>]*>|[^,"<])+')


def _structured(name: str, value: str, field: str) -> str:
    """A value that is not ASCII, by the grammar of its header; '' where it has none. Raises `InvalidEmail`."""
    if name in _ADDRESSES:
        return ", ".join(encoded_mailbox(mailbox_of(field, each)) for each in _LISTED.findall(value) if each.strip())
    if name in _PHRASE_AND_ID:
        phrase, bracket, list_id = value.rpartition("<")
        if bracket and list_id.isascii() and list_id.endswith(">"):
            return f"{encoded_words(phrase.strip().strip(chr(34)))} <{list_id}"
        raise InvalidEmail(field, "has no id in ASCII: write Name of the list <list.example.com>")
    if name in _ASCII_ALONE:
        raise InvalidEmail(field, "must be ASCII in this header; a URL is percent-encoded (urllib.parse.quote)")
    return ""
