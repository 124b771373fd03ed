"""What a message of Django's, or of Python's own `email` package, says, as the arguments of an `Email`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from email.message import Message
from email.utils import collapse_rfc2231_value, getaddresses
from typing import Any

from sesmail.errors import InvalidEmail
from sesmail.message.alternative import Alternative
from sesmail.message.given import is_django_message
from sesmail.message.parts import SAID_ELSEWHERE, Part, read_part, read_whole, readable_headers
from sesmail.message.text import kind_of

_SET_BY_SES = frozenset({"date", "message-id", "mime-version", "content-type", "content-transfer-encoding"})
_ONCE = {"from": "from_email", "subject": "subject"}
_RECIPIENTS = {"to": "to", "cc": "cc", "bcc": "bcc", "reply-to": "reply_to"}

# What anymail's messages can say besides, and SES cannot do with one email: https://anymail.dev/
_ANYMAIL_ELSEWHERE = {
    "envelope_sender": "SES sets the envelope's sender by the identity's MAIL FROM domain",
    "template_id": "one of SES's own templates is said by ses=, as docs/ses.md shows",
    "merge_data": "give each recipient an email of their own, or all of them `send_batch`",
    "merge_global_data": "fill in the text yourself",
    "merge_headers": "give each recipient an email of their own",
    "merge_metadata": "give each recipient an email of their own",
    "track_clicks": "a configuration set says what is tracked",
    "track_opens": "a configuration set says what is tracked",
}
_ESP_EXTRA = {"ConfigurationSetName": "configuration_set", "EmailTags": "tags"}


def is_message(value: object) -> bool:
    """Whether it is an email of Django's or of Python's `email` package."""
    return isinstance(value, Message) or is_django_message(value)


def arguments_of(message: object) -> dict[str, Any]:
    """The arguments that say the same. Raises `InvalidEmail`."""
    if is_django_message(message):
        return _of_django(message)
    if isinstance(message, Message):
        return _of_python(message)
    raise InvalidEmail("message", f"is {kind_of(message)}: give an email of Django's or of Python's email package")


# -- Django's ---------------------------------------------------------------------------------------------------------


_COMPOSING = frozenset(
    [
        "message",
        "_create_message",
        "_create_alternatives",
        "_create_attachments",
        "_create_attachment",
        "_create_mime_attachment",
        "_add_bodies",
        "_add_attachments",
        "_add_attachment",
    ]
)
"""What puts a message of Django's together; who derives from it to sign or encrypt overrides one of these."""


def _of_django(message: Any) -> dict[str, Any]:
    headers, addressed = _sorted_headers(message.extra_headers.items(), message)
    arguments: dict[str, Any] = {
        "to": [*message.to],
        "cc": [*message.cc],
        "bcc": [*message.bcc],
        "reply_to": [*message.reply_to],
        "subject": " ".join(str(message.subject).splitlines()) if message.subject else "",
        "from_email": message.from_email or None,
        "headers": headers,
    }
    contents = _contents_of(message.message()) if _is_put_together_otherwise(message) else _djangos_contents(message)
    return arguments | contents | addressed | _of_anymail(message)


def _is_put_together_otherwise(message: Any) -> bool:
    derived = (each for each in type(message).__mro__ if not each.__module__.startswith("django.core.mail"))
    return any(_COMPOSING & vars(each).keys() for each in derived)


def _djangos_contents(message: Any) -> dict[str, Any]:
    contents: dict[str, Any] = {
        "attachments": [_djangos_attachment(each) for each in message.attachments],
        "alternatives": [tuple(each) for each in getattr(message, "alternatives", None) or ()],
    }
    contents["html" if message.content_subtype == "html" else "text"] = message.body
    if message.content_subtype not in ("html", "plain"):
        contents["alternatives"].insert(0, (contents.pop("text"), f"text/{message.content_subtype}"))
    return contents


def _djangos_attachment(attachment: Any) -> Any:
    return attachment if isinstance(attachment, Message) else tuple(attachment)


def _sorted_headers(pairs: Iterable[tuple[str, Any]], message: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those that stay headers, and those that an argument says."""
    headers: dict[str, Any] = {}
    arguments: dict[str, Any] = {}
    for name, value in pairs:
        lower = name.lower()
        if _ONCE.get(lower) in arguments:
            raise _twice(name)
        if lower == "from":
            arguments["from_email"] = _only_sender(value)
        elif lower in _RECIPIENTS and (message is None or not _same(value, getattr(message, _RECIPIENTS[lower]))):
            if message is not None and lower != "reply-to":
                raise InvalidEmail("headers", f"{name} says others than the recipients, which SES would not send")
            arguments.setdefault(_RECIPIENTS[lower], []).extend(_addresses(value))
        elif lower == "subject":
            arguments["subject"] = " ".join(str(value).split())
        elif lower not in _SET_BY_SES and lower not in _RECIPIENTS:
            if lower in map(str.lower, headers):
                raise _twice(name)
            headers[name] = _unfolded(value)
    return headers, arguments


def _twice(name: str) -> InvalidEmail:
    return InvalidEmail("headers", f"{name} stands in the message more than once: join them, or leave one")


def _only_sender(value: Any) -> str | None:
    senders = _addresses(value)
    if len(senders) > 1:
        raise InvalidEmail("from_email", "the message has several senders, of which SES takes one")
    return senders[0] if senders else None


def _same(value: object, mailboxes: Iterable[str]) -> bool:
    named = [address for _, address in getaddresses([str(value)])]
    return named == [address for _, address in getaddresses([*map(str, mailboxes)])]


def _unfolded(value: Any) -> Any:
    return " ".join(value.splitlines()) if isinstance(value, str) else value


def _addresses(value: Any) -> list[str]:
    """The mailboxes of a header, as it is or as the newer policies have parsed it."""
    parsed = getattr(value, "addresses", None)
    if parsed is not None:
        return [_mailbox(each.display_name, each.addr_spec) for each in parsed]
    return [_mailbox(_decoded(name), address) for name, address in getaddresses([str(value)]) if address]


def _decoded(value: Any) -> str:
    from email.header import decode_header, make_header  # noqa: PLC0415

    text = str(value)
    try:
        return str(make_header(decode_header(text))) if "=?" in text else text
    except (LookupError, ValueError):
        return text


def _mailbox(name: str, address: str) -> str:
    if not name:
        return address
    escaped = name.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}" <{address}>'


def _of_anymail(message: Any) -> dict[str, Any]:
    """What anymail adds to a message: https://anymail.dev/en/stable/sending/anymail_additions/"""
    for name, why in _ANYMAIL_ELSEWHERE.items():
        if _says(message, name):
            raise InvalidEmail(name, f"cannot be said by an email: {why}")
    found: dict[str, Any] = {}
    if _says(message, "metadata"):
        found["metadata"] = message.metadata
    if _says(message, "tags"):
        found["tags"] = message.tags
    if _says(message, "send_at"):
        found["send_at"] = _moment(message.send_at)
    extra = dict(message.esp_extra) if _says(message, "esp_extra") else {}
    if others := {name: value for name, value in extra.items() if name not in _ESP_EXTRA}:
        found["ses"] = others
    if "ConfigurationSetName" in extra:
        found["configuration_set"] = extra["ConfigurationSetName"]
    if "EmailTags" in extra:
        own = {each["Name"]: each["Value"] for each in extra["EmailTags"]}
        found["tags"] = own | _as_mapping(found.get("tags") or {})
    return found


def _as_mapping(tags: Any) -> dict[Any, Any]:
    return {**tags} if isinstance(tags, Mapping) else dict.fromkeys(tags, "1")


def _says(message: Any, name: str) -> bool:
    value = getattr(message, name, None)
    return value is not None and not isinstance(value, type) and value not in ({}, [], ())  # its UNSET is a class


def _moment(value: Any) -> Any:
    """A time as anymail takes it: a timestamp, a date, a time in the current time zone."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if isinstance(value, datetime) and value.tzinfo is None:
        from django.utils.timezone import get_current_timezone  # noqa: PLC0415  only with a message of Django's

        return value.replace(tzinfo=get_current_timezone())
    return value


# -- Python's ---------------------------------------------------------------------------------------------------------


class _Contents:
    """The bodies, other forms and attachments found in a message, part by part."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.html: str | None = None
        self.alternatives: list[tuple[bytes, str] | Alternative] = []
        self.attachments: list[Part] = []

    def take(self, part: Part, *, as_body: bool) -> None:
        kind = part.get_content_type()
        children = _children(part)
        if kind == "multipart/alternative" and as_body and not self._has_a_body():
            for child in children:
                self._take_form(child)
        elif kind in ("multipart/mixed", "multipart/related") and as_body and children:
            self.take(children[0], as_body=not self._has_a_body())
            for child in children[1:]:
                self.take(child, as_body=False)
        elif as_body and not self._has_a_body() and _stays_whole(part):
            self.alternatives.append(Alternative.of_part(*read_whole(part)))
        elif not (as_body and (self._take_body(part) or self._take_other_text(part))):
            self.attachments.append(part)

    def _has_a_body(self) -> bool:
        return self.text is not None or self.html is not None or bool(self.alternatives)

    def _take_form(self, part: Part) -> None:
        children = _children(part)
        if part.get_content_type() == "multipart/related" and children:
            self._take_form(children[0])
            self.attachments += children[1:]
        elif _stays_whole(part):
            self.alternatives.append(Alternative.of_part(*read_whole(part)))
        elif part.is_multipart() or part.get_content_disposition() == "attachment":
            self.attachments.append(part)
        elif not self._take_body(part):
            self._add_form(part)

    def _take_other_text(self, part: Part) -> bool:
        """Whether it is the text of the message in a form of its own: an invitation, lines that flow, odd letters."""
        is_one = not self._has_a_body() and part.get_content_maintype() == "text" and not _is_file(part)
        if is_one:
            self._add_form(part)
        return is_one

    def _add_form(self, part: Part) -> None:
        read = read_part(part)
        self.alternatives.append((read.content, read.content_type))

    def _take_body(self, part: Part) -> bool:
        """Whether it is a body that is not there yet, with nothing else to it that would be lost."""
        name = {"text/plain": "text", "text/html": "html"}.get(part.get_content_type())
        if name is None or _is_file(part) or part.is_multipart() or getattr(self, name) is not None:
            return False
        text = _text_of(part)
        if text is not None:
            setattr(self, name, text)
        return text is not None


_SMIME = ("application/pkcs7-mime", "application/x-pkcs7-mime")


def _stays_whole(part: Part) -> bool:
    """Whether its parts belong together, as what is signed and its signature."""
    return part.is_multipart() and part.get_content_maintype() == "multipart"


def _is_file(part: Part) -> bool:
    return part.get_content_disposition() == "attachment" or part.get_filename() is not None


def _children(part: Part) -> list[Part]:
    """Its parts; of a page and its pictures, the page first, wherever it stands: RFC 2387 §3.2."""
    children = [*part.get_payload()] if part.is_multipart() else []
    root = part.get_param("start")
    if root is not None and part.get_content_type() == "multipart/related":
        start = collapse_rfc2231_value(root).strip(" <>")
        children.sort(key=lambda child: str(child.get("Content-ID", "")).strip(" <>") != start)
    return children


def _text_of(part: Part) -> str | None:
    read = read_part(part)
    parameters = {name.lower() for name, _ in (part.get_params() or [])[1:]} - {"charset"}
    charset = str(part.get_content_charset() or "utf-8")
    try:
        return (
            None
            if parameters
            else read.content.decode("utf-8" if charset == "us-ascii" else charset).replace("\r\n", "\n")
        )
    except (LookupError, ValueError):
        return None


def _of_python(message: Part) -> dict[str, Any]:
    headers, arguments = _sorted_headers(pair for pair in readable_headers(message) if not _is_of_a_part(pair[0]))
    return {
        "to": [],
        "subject": "",
        "headers": {name: _decoded(value) for name, value in headers.items()},
        **_contents_of(message),
    } | {name: _decoded(value) if name == "subject" else value for name, value in arguments.items()}


def _is_of_a_part(header: str) -> bool:
    return header.lower() in SAID_ELSEWHERE | {"content-description", "content-location", "content-md5"}


def _contents_of(message: Part) -> dict[str, Any]:
    contents = _Contents()
    if message.get_content_type() in _SMIME:  # readers look for it nowhere but on top
        contents.alternatives.append(Alternative.of_part(*read_whole(message)))
    else:
        contents.take(message, as_body=True)
    if contents.attachments == [message]:
        contents.attachments = [_without_its_address(message)]
    return {name: getattr(contents, name) for name in ("text", "html", "alternatives", "attachments")}


def _without_its_address(message: Part) -> Part:
    """A message that is one file, as a part: its own headers are the email's."""
    from copy import copy  # noqa: PLC0415

    part = copy(message)
    part._headers = [pair for pair in message._headers if pair[0].lower().startswith("content-")]  # type: ignore[attr-defined]  # noqa: SLF001
    return part
