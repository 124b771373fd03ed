"""An email, valid from birth: whatever constructs, SES takes.

boto3 checks almost none of SES's limits, so they are all checked here, before anything is queued. One `InvalidEmail`
names the field, what is wrong with its value and the limit; it never repeats the value, because addresses, subjects and
bodies do not belong in logs.

    Email("Ann <ann@example.org>", "Your receipt", "Thank you.", "<p>Thank you.</p>", from_email="shop@example.com")

Every argument may also be what JSON has for it, so a client in any language can post `Email`'s keywords:

    send_at, expires_at    "2027-01-31T09:00:00+01:00"      (ISO 8601 with an offset)
    attachments            [{"filename": "a.pdf", "content_base64": "JVBE...", "content_type": "application/pdf"}]

The limits are those of SES v2: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html and
https://docs.aws.amazon.com/ses/latest/dg/quotas.html
"""

from __future__ import annotations

import base64
import json
import mimetypes
import re
from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from email.message import Message
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypeAlias

from sesmail.errors import InvalidEmail
from sesmail.mailbox import (
    MAX_RECIPIENTS,
    Addresses,
    bare_address,
    encoded_words,
    kind_of,
    line,
    listed,
    mailbox_of,
    mailboxes,
)

MAX_ENCODED_BYTES = 40 * 1024 * 1024
MAX_HEADERS = 15
MAX_ATTACHMENTS = 500 - 5
"""SES takes 500 MIME parts; two bodies and what holds them together make five."""
MAX_TAGS = 49
"""SES states no number; with sesmail's own tag this makes fifty."""
MAX_METADATA_BYTES = 16 * 1024
MAX_METADATA_DEPTH = 20
"""Both are ours: metadata stays in Redis as long as the send's record does, and is copied by recursion."""
MAX_SUBJECT_LENGTH = 998 - len("Subject: ")
"""One line of a message: RFC 5322 §2.1.1."""
MAX_IDEMPOTENCY_KEY_LENGTH = 256

ID_TAG = "sesmail-id"
ID_HEADER = "X-Sesmail-Id"
LIST_TAG = "sesmail-list"
"""A tag of the caller's: the list that the email goes to. Rates are counted, and opt-outs may be, by it."""

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Lane(StrEnum):
    """Which queue an email waits in."""

    TRANSACTIONAL = "transactional"
    """Somebody waits for it (a receipt, a password reset): it goes first."""
    BULK = "bulk"
    """An e-letter: it gives way to transactional email and leaves that a part of the daily quota."""


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Attachment:
    """A file that travels with an email. Its `repr` shows neither name nor content."""

    filename: str
    content: bytes
    content_type: str
    """A MIME type. Guessed from the file's name when not given."""
    content_id: str | None
    """For a picture that the HTML shows as `<img src="cid:logo">`: `"logo"`, without angle brackets."""

    def __init__(
        self, filename: str, content: bytes | str, content_type: str | None = None, *, content_id: str | None = None
    ) -> None:
        """Take text or bytes; text is encoded as UTF-8. Raises `InvalidEmail`."""
        filename = _filename(filename)
        content_type = _content_type(content_type or _guessed_type(filename))
        if isinstance(content, str) and not content.isascii():
            content_type = _with_charset(content_type)
        _fill(
            self,
            filename=filename,
            content=_content(content),
            content_type=content_type,
            content_id=_content_id(content_id),
        )

    def __repr__(self) -> str:
        return f"<Attachment {self.content_type.partition(';')[0]}, {len(self.content)} bytes>"


AttachmentLike: TypeAlias = (
    "Attachment | Path | bytes | Mapping[str, Any] | Message[str, str]"
    " | tuple[str | None, bytes | str] | tuple[str | None, bytes | str, str | None]"
)
"""See `Email.attachments`."""


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Email:
    """One email. Immutable; compared by value, but not hashable: a send is known by its id. `repr` is not personal."""

    to: tuple[str, ...]
    """Mailboxes as they will appear in the header, domains in lower-case ASCII; the same for `cc` and `bcc`."""
    subject: str
    text: str | None
    html: str | None
    from_email: str | None
    """`None` until the default sender is filled in: see `with_defaults`."""
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    reply_to: tuple[str, ...]
    headers: Mapping[str, str]
    """At most 15. Values that are not ASCII are encoded on the way out (RFC 2047)."""
    attachments: tuple[Attachment, ...]
    """Given as `Attachment`, `(filename, content, mimetype)` as in Django, `pathlib.Path`, bytes, an `email.message`
    part, or a mapping with `filename`, `content` (text) or `content_base64`, `content_type`, `content_id`."""
    tags: Mapping[str, str]
    """SES's message tags; they come back with every event. `tags=["newsletter"]` is short for `{"newsletter": "1"}`."""
    _metadata: dict[str, Any]
    configuration_set: str | None
    lane: Lane
    send_at: datetime | None
    """In UTC, as is `expires_at`."""
    expires_at: datetime | None
    idempotency_key: str | None

    __hash__ = None  # type: ignore[assignment]  # mappings are not hashable, and nobody needs a set of emails

    def __init__(
        self,
        to: Addresses,
        subject: str,
        text: str | None = None,
        html: str | None = None,
        *,
        from_email: str | None = None,
        cc: Addresses = (),
        bcc: Addresses = (),
        reply_to: Addresses = (),
        headers: Mapping[str, str] | None = None,
        attachments: Iterable[AttachmentLike] | AttachmentLike = (),
        tags: Mapping[str, str] | Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        configuration_set: str | None = None,
        lane: Lane | str = Lane.TRANSACTIONAL,
        send_at: datetime | str | None = None,
        expires_at: datetime | str | None = None,
        idempotency_key: str | None = None,
        message: str | None = None,
        html_message: str | None = None,
    ) -> None:
        """Check everything and keep it. `message` and `html_message` are Django's words for `text` and `html`.

        Raises `InvalidEmail` for any value that SES would not take.
        """
        _fill(
            self,
            to=mailboxes("to", to),
            subject=line("subject", subject, MAX_SUBJECT_LENGTH, least=0),
            text=_body("text", _either("text", text, "message", message)),
            html=_body("html", _either("html", html, "html_message", html_message)),
            from_email=None if from_email is None else mailbox_of("from_email", from_email),
            cc=mailboxes("cc", cc),
            bcc=mailboxes("bcc", bcc),
            reply_to=mailboxes("reply_to", reply_to),
            headers=_headers(headers),
            attachments=_attachments(attachments),
            tags=_tags(tags),
            _metadata=_metadata(metadata),
            configuration_set=_configuration_set(configuration_set),
            lane=_lane(lane),
            send_at=_moment("send_at", send_at),
            expires_at=_moment("expires_at", expires_at),
            idempotency_key=_idempotency_key(idempotency_key),
        )
        _check_as_a_whole(self)

    @property
    def metadata(self) -> dict[str, Any]:
        """Your own JSON object, kept with the send: a fresh copy each time."""
        return deepcopy(self._metadata)

    @property
    def recipients(self) -> tuple[str, ...]:
        """The bare addresses of `to`, `cc` and `bcc`, in this order. SES counts its limits in these."""
        return tuple(map(bare_address, (*self.to, *self.cc, *self.bcc)))

    @property
    def recipient_count(self) -> int:
        """How many recipients SES will count."""
        return len(self.to) + len(self.cc) + len(self.bcc)

    @property
    def sender_domain(self) -> str:
        """The domain of `from_email`; empty while there is none."""
        return bare_address(self.from_email or "").rpartition("@")[2]

    def with_defaults(self, *, from_email: str | None = None, configuration_set: str | None = None) -> Self:
        """Fill in what this email leaves open. Raises `InvalidEmail` for a bad default."""
        missing: dict[str, str | None] = {}
        if self.from_email is None and from_email is not None:
            missing["from_email"] = mailbox_of("from_email", from_email)
        if self.configuration_set is None and configuration_set is not None:
            missing["configuration_set"] = _configuration_set(configuration_set)
        if not missing:
            return self
        return self._with(**missing)

    def without(self, addresses: Collection[str]) -> Self:
        """The same email, but not to these bare addresses, in whatever case they are."""
        left_out = set(map(str.lower, addresses))

        def remaining(mailboxes: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(mailbox for mailbox in mailboxes if bare_address(mailbox).lower() not in left_out)

        return self._with(to=remaining(self.to), cc=remaining(self.cc), bcc=remaining(self.bcc))

    def _with(self, **changes: object) -> Self:
        changed = object.__new__(type(self))
        _fill(changed, **{each.name: getattr(self, each.name) for each in fields(self)} | changes)
        return changed

    def detach(self) -> tuple[dict[str, Any], list[bytes]]:
        """Take the email apart: a small record that JSON can hold, and the bodies and attachments that it refers to.

        The record has `Email`'s keywords, those without a value left out; where a body would stand, in `text`, `html`
        and each attachment's `content`, stands its index in the list of parts.
        """
        parts: list[bytes] = []
        record: dict[str, Any] = {"to": [*self.to], "subject": self.subject, "lane": self.lane.value}
        for name in ("text", "html"):
            if body := getattr(self, name):
                record[name] = _add(parts, body.encode())
        if self.attachments:
            record["attachments"] = [_detached(each, parts) for each in self.attachments]
        record |= {name: [*value] for name in _LISTS if (value := getattr(self, name))}
        record |= {name: {**value} for name in _MAPPINGS if (value := getattr(self, name))}
        record |= {name: value for name in _STRINGS if (value := getattr(self, name)) is not None}
        record |= {name: value.isoformat() for name in _MOMENTS if (value := getattr(self, name))}
        if self._metadata:
            record["metadata"] = self.metadata
        return record, parts

    @classmethod
    def attach(cls, record: Mapping[str, Any], parts: list[bytes]) -> Self:
        """Put together what `detach` took apart. Nothing is checked again: only for what `detach` gave."""
        get = record.get
        email = object.__new__(cls)
        _fill(
            email,
            to=tuple(record["to"]),
            subject=record["subject"],
            text=None if (text := get("text")) is None else parts[text].decode(),
            html=None if (html := get("html")) is None else parts[html].decode(),
            from_email=get("from_email"),
            cc=tuple(get("cc", ())),
            bcc=tuple(get("bcc", ())),
            reply_to=tuple(get("reply_to", ())),
            headers=MappingProxyType(headers) if (headers := get("headers")) else _NOTHING,
            attachments=tuple(_attached(each, parts) for each in get("attachments", ())),
            tags=MappingProxyType(tags) if (tags := get("tags")) else _NOTHING,
            _metadata=get("metadata", {}),
            configuration_set=get("configuration_set"),
            lane=Lane(record["lane"]),
            send_at=_moment("send_at", get("send_at")),
            expires_at=_moment("expires_at", get("expires_at")),
            idempotency_key=get("idempotency_key"),
        )
        return email

    def __repr__(self) -> str:
        bodies = "+".join(name for name in ("text", "html") if getattr(self, name))
        return f"<Email {self.lane}, {self.recipient_count} recipients, {bodies}, {len(self.attachments)} attachments>"


_LISTS = ("cc", "bcc", "reply_to")
_MAPPINGS = ("headers", "tags")
_STRINGS = ("from_email", "configuration_set", "idempotency_key")
_MOMENTS = ("send_at", "expires_at")


# Taking apart and putting together


def _fill(target: Email | Attachment, **values: object) -> None:
    """Set the fields of a frozen record; a dataclass' own `__init__` does the same."""
    for name, value in values.items():
        object.__setattr__(target, name, value)


def _add(parts: list[bytes], part: bytes) -> int:
    parts.append(part)
    return len(parts) - 1


def _detached(attachment: Attachment, parts: list[bytes]) -> dict[str, Any]:
    return {
        "filename": attachment.filename,
        "content": _add(parts, attachment.content),
        "content_type": attachment.content_type,
        "content_id": attachment.content_id,
    }


def _attached(record: Mapping[str, Any], parts: list[bytes]) -> Attachment:
    attachment = object.__new__(Attachment)
    _fill(attachment, **{**record, "content": parts[record["content"]]})
    return attachment


def _either(name: str, value: str | None, alias: str, aliased: str | None) -> str | None:
    if value is not None and aliased is not None:
        raise InvalidEmail(name, f"is given twice, as {name} and as {alias}")
    return aliased if value is None else value


# Bodies, headers, tags and the rest


def _body(field: str, value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidEmail(field, f"is {kind_of(value)}, not text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidEmail(field, "has half of a surrogate pair, which UTF-8 cannot encode") from None
    return value


_HEADER_NAME = re.compile(r"[!-9;-~]{1,126}")
# What SES does not take as a header of one's own, and what it ignores beside an API parameter of that meaning; with the
# argument that says it. https://docs.aws.amazon.com/ses/latest/dg/header-fields.html
_REFUSED_HEADERS = {
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
    ID_HEADER.lower(): "",
}


def _headers(value: Mapping[str, str] | None) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for field, name, content in _items("headers", value, MAX_HEADERS):
        checked = _header_name(field, name)
        headers[checked] = _header_value(field, checked, content)
    if len({name.lower() for name in headers}) < len(headers):
        raise InvalidEmail("headers", "has one name twice, in different case")
    return MappingProxyType(headers)


def _items(field: str, value: object, most: int) -> Iterable[tuple[str, Any, Any]]:
    if value is None:
        return
    if not isinstance(value, Mapping):
        raise InvalidEmail(field, f"is {kind_of(value)}, not a mapping")
    if len(value) > most:
        raise InvalidEmail(field, f"has {len(value)} entries", f"at most {most}")
    for n, (name, content) in enumerate(value.items()):
        yield f"{field}[{n}]", name, content


def _header_name(field: str, name: object) -> str:
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise InvalidEmail(
            field, "its name is not a header's", "1 to 126 printable ASCII characters, no colon, no space"
        )
    if (instead := _REFUSED_HEADERS.get(name.lower())) is not None:
        raise InvalidEmail(field, f"SES sets this header itself{instead and f'; give {instead}='}")
    return name


def _header_value(field: str, name: str, value: object) -> str:
    content = line(field, value, 995).strip()
    length = len(encoded_words(content))
    if not 1 <= length <= 995 or len(name) + length > 996:
        raise InvalidEmail(
            field, f"its value has {length} characters, as encoded for a header", "1 to 995, 996 with the name"
        )
    return content


_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,256}")


def _tags(value: Mapping[str, str] | Iterable[str] | None) -> Mapping[str, str]:
    if isinstance(value, str):
        value = {value: "1"}
    elif value is not None and not isinstance(value, Mapping):
        value = {_tag(f"tags[{n}]", name): "1" for n, name in enumerate(listed("tags", value, MAX_TAGS))}
    tags = {_tag(field, name): _tag(field, content) for field, name, content in _items("tags", value, MAX_TAGS)}
    if ID_TAG in map(str.lower, tags):
        raise InvalidEmail("tags", f"{ID_TAG} is sesmail's own")
    return MappingProxyType(tags)


def _tag(field: str, value: object) -> str:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise InvalidEmail(field, "its name or value is not a tag's", "1 to 256 characters: A-Z a-z 0-9 _ -")
    return value


def _metadata(value: Mapping[str, Any] | None) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidEmail("metadata", f"is {kind_of(value)}, not a mapping")
    try:
        text = json.dumps({**value}, allow_nan=False, ensure_ascii=False)
        size = len(text.encode())
        kept: dict[str, Any] = json.loads(text)
        depth = _depth(kept)
    except (TypeError, ValueError, RecursionError):
        raise InvalidEmail("metadata", "is not a JSON object") from None
    if size > MAX_METADATA_BYTES or depth > MAX_METADATA_DEPTH:
        limit = f"at most {MAX_METADATA_BYTES} and {MAX_METADATA_DEPTH}"
        raise InvalidEmail("metadata", f"has {size} bytes as JSON, {depth} levels deep", limit)
    return kept


def _depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


_CONFIGURATION_SET = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _configuration_set(value: object) -> str | None:
    if value is None or (isinstance(value, str) and _CONFIGURATION_SET.fullmatch(value)):
        return value
    raise InvalidEmail("configuration_set", "is not a configuration set's name", "1 to 64 characters: A-Z a-z 0-9 _ -")


def _lane(value: object) -> Lane:
    try:
        return Lane(value)  # type: ignore[arg-type]  # anything else is a ValueError
    except ValueError:
        raise InvalidEmail("lane", "is unknown", " or ".join(Lane)) from None


def _moment(field: str, value: object) -> datetime | None:
    if value is None:
        return None
    moment = _parsed(field, value) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        raise InvalidEmail(field, f"is {kind_of(moment)}, not a date and time")
    if moment.utcoffset() is None:
        raise InvalidEmail(field, "has no time zone: give an aware datetime, such as datetime.now(timezone.utc)")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidEmail(field, "is before the year 1 or after the year 9999") from None


def _parsed(field: str, value: str) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise InvalidEmail(field, "is not a date and time in ISO 8601, such as 2027-01-31T09:00:00+01:00") from None


def _idempotency_key(value: object) -> str | None:
    return None if value is None else line("idempotency_key", value, MAX_IDEMPOTENCY_KEY_LENGTH)


# Attachments

_MIME_WORD = r"[A-Za-z0-9!#$&^_.+-]+"
_CONTENT_TYPE = re.compile(
    rf"(?!multipart/){_MIME_WORD}/{_MIME_WORD}(?:; ?{_MIME_WORD}=(?:{_MIME_WORD}|\"[ !#-\[\]-~]*\"))*",
    re.IGNORECASE,
)
_MAPPING_FIELDS = frozenset({"filename", "content", "content_base64", "content_type", "content_id"})
_CONTENT_ID = re.compile(r"[!-;=?-~]{1,76}")


def _attachments(value: object) -> tuple[Attachment, ...]:
    if value is None:
        return ()
    if isinstance(value, Attachment | Path | bytes | bytearray | Mapping | Message):
        value = (value,)
    return tuple(_attachment(n, each) for n, each in enumerate(listed("attachments", value, MAX_ATTACHMENTS)))


def _attachment(n: int, entry: object) -> Attachment:
    try:
        return entry if isinstance(entry, Attachment) else _read(entry, f"attachment-{n + 1}")
    except InvalidEmail as error:
        raise InvalidEmail(f"attachments[{n}].{error.field}", error.problem, error.limit) from None


def _read(entry: object, nameless: str) -> Attachment:
    match entry:
        case Path():
            return Attachment(entry.name, _read_file(entry))
        case bytes() | bytearray():
            return Attachment(f"{nameless}.bin", bytes(entry))
        case Mapping():
            return _read_mapping(entry, nameless)
        case Message():
            return _read_part(entry, nameless)
        case [filename, content]:
            return _named(filename, content, None, None, nameless)
        case [filename, content, content_type]:
            return _named(filename, content, content_type, None, nameless)
    raise InvalidEmail("content", f"is {kind_of(entry)}; give (filename, content, mimetype), a pathlib.Path or bytes")


def _named(filename: Any, content: Any, content_type: Any, content_id: Any, nameless: str) -> Attachment:
    filename = filename or nameless + (mimetypes.guess_extension(str(content_type)) or ".bin")
    return Attachment(filename, content, content_type, content_id=content_id)


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise InvalidEmail("content", f"the file cannot be read: {reason}") from None


def _read_mapping(entry: Mapping[Any, Any], nameless: str) -> Attachment:
    if not _MAPPING_FIELDS.issuperset(entry):
        raise InvalidEmail("fields", "has an unknown one", ", ".join(sorted(_MAPPING_FIELDS)))
    filename, content, encoded, content_type, content_id = map(
        entry.get, ("filename", "content", "content_base64", "content_type", "content_id")
    )
    if (content is None) == (encoded is None):
        raise InvalidEmail("content", "must be given once, as content or as content_base64")
    return _named(filename, _decoded(encoded) if content is None else content, content_type, content_id, nameless)


def _decoded(encoded: object) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)  # type: ignore[arg-type]  # anything else is a TypeError
    except (TypeError, ValueError):
        raise InvalidEmail("content_base64", "is not base64") from None


def _read_part(part: Message, nameless: str) -> Attachment:
    content_id = part["Content-ID"]
    return _named(
        part.get_filename(),
        part.get_payload(decode=True),
        part.get_content_type(),
        content_id and str(content_id),
        nameless,
    )


def _filename(value: object) -> str:
    filename = line("filename", value, 255)
    if (size := len(filename.encode())) > 255:
        raise InvalidEmail("filename", f"has {size} bytes in UTF-8", "at most 255")
    return filename


def _content(value: object) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise InvalidEmail("content", "has half of a surrogate pair, which UTF-8 cannot encode") from None
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise InvalidEmail("content", f"is {kind_of(value)}, not text or bytes")


def _content_type(value: object) -> str:
    if isinstance(value, str) and len(value) <= 78 and _CONTENT_TYPE.fullmatch(value):
        return value
    raise InvalidEmail("content_type", "is not a file's MIME type, such as application/pdf", "at most 78 characters")


def _guessed_type(filename: str) -> str:
    content_type, compression = mimetypes.guess_type(filename)
    return content_type if content_type and not compression else "application/octet-stream"


def _with_charset(content_type: str) -> str:
    stated = "charset=" in content_type.lower() or not content_type.lower().startswith("text/")
    return content_type if stated else f"{content_type}; charset=utf-8"


def _content_id(value: object) -> str | None:
    if value is None:
        return None
    bare = value.removeprefix("<").removesuffix(">") if isinstance(value, str) else ""
    if not _CONTENT_ID.fullmatch(bare):
        raise InvalidEmail("content_id", "is not a content id", "1 to 76 printable ASCII characters, no space, no <>")
    return bare


# The email as a whole


def _check_as_a_whole(email: Email) -> None:
    if not 1 <= email.recipient_count <= MAX_RECIPIENTS:
        problem = f"has {email.recipient_count} recipients, cc and bcc included"
        raise InvalidEmail("to", problem, f"1 to {MAX_RECIPIENTS}; better send one email to each")
    _refuse_duplicates(to=email.to, cc=email.cc, bcc=email.bcc)
    if email.text is None and email.html is None:
        raise InvalidEmail("text", "there is no body: give text, html or both")
    if email.send_at and email.expires_at and email.expires_at <= email.send_at:
        raise InvalidEmail("expires_at", "is not after send_at")
    if (size := _encoded_size(email)) > MAX_ENCODED_BYTES:
        largest = "attachments" if email.attachments else "html" if email.html else "text"
        raise InvalidEmail(
            largest, f"the email has {size} bytes as encoded for sending", f"at most {MAX_ENCODED_BYTES}"
        )


def _refuse_duplicates(**lists: tuple[str, ...]) -> None:
    """SES would send two copies, or one: it does not say."""
    seen: dict[str, tuple[str, int]] = {}
    for field, people in lists.items():
        for n, mailbox in enumerate(people):
            first = seen.setdefault(bare_address(mailbox), (field, n))
            if first != (field, n):
                raise InvalidEmail(f"{field}[{n}]", f"is the same address as {first[0]}[{first[1]}]")


def _encoded_size(email: Email) -> int:
    """An upper estimate of what SES will count: everything in base64, and its headers."""
    bodies = [len(body.encode()) for body in (email.text, email.html) if body]
    contents = [*bodies, *(len(each.content) for each in email.attachments)]
    headers = sum(len(name) + 6 * len(value) for name, value in email.headers.items())
    return sum(map(_base64_size, contents)) + headers + 1_000 * (len(contents) + email.recipient_count + 5)


def _base64_size(count: int) -> int:
    characters = -(-count // 3) * 4
    return characters + characters // 76 * len("\r\n")
