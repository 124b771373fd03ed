"""Emails and their parts, of Python's own `email` package, as bytes that SES can carry."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from copy import deepcopy
from dataclasses import dataclass
from email.charset import Charset
from email.encoders import encode_base64
from email.generator import BytesGenerator
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesParser
from email.policy import EmailPolicy, compat32
from email.utils import collapse_rfc2231_value
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeAlias

from sesmail.errors import InvalidEmail
from sesmail.message.content_types import is_composite, whole_type

if TYPE_CHECKING:
    from email.policy import Policy

Part: TypeAlias = "Message[Any, Any]"

MAX_LINE_LENGTH = 998
"""Without its end: RFC 5322 §2.1.1."""

_OF_AN_EMAIL = ("From", "To", "Cc", "Subject", "Date", "Received", "Message-ID", "Sender", "Return-Path", "Reply-To")
SAID_ELSEWHERE = frozenset(
    {"content-type", "content-transfer-encoding", "content-disposition", "content-id", "mime-version"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadPart:
    """What a part says of itself."""

    filename: str | None
    content: bytes
    content_type: str
    content_id: str | None
    disposition: str | None
    headers: tuple[tuple[str, str], ...]


def is_email(part: Part) -> bool:
    """Whether it is a whole email, not a part of one."""
    return any(name in part for name in _OF_AN_EMAIL)


def read_part(part: Part) -> ReadPart:
    """A part as it is. Raises `InvalidEmail` where it cannot be written."""
    try:
        return _read(part)
    except InvalidEmail:
        raise
    except Exception as error:  # noqa: BLE001  the package raises whatever it stumbles over
        raise InvalidEmail("content", f"the part cannot be read ({type(error).__name__})") from None


def _read(part: Part) -> ReadPart:
    said = _readable(part)
    filename = _decoded(said.get_filename())
    content_id = said["Content-ID"]
    disposition = said.get_content_disposition()
    headers = _other_headers(said)
    if part.is_multipart():
        part = deepcopy(part)  # its boundary is made up while it is written
        content = written(part).partition(b"\r\n\r\n")[2]
        content_type = _whole_type(part, filename)
    else:
        content, content_type = _payload(part, _whole_type(said, filename))
        if part.get_content_maintype() == "multipart":  # without a boundary, say: no reader takes it apart
            content_type = "application/octet-stream"
    return ReadPart(
        filename=filename,
        content=content,
        content_type=content_type,
        content_id=_bare_id(content_id),
        disposition=disposition if disposition in ("inline", "attachment") else None,
        headers=headers,
    )


def read_whole(part: Part) -> tuple[bytes, str]:
    """What a part that must stay as it is consists of, byte by byte, and its type.

    A signature holds for these bytes alone: RFC 1847 §2.1. Raises `InvalidEmail` where they cannot travel so.
    """
    if not part.is_multipart():
        return _payload(part, _whole_type(_readable(part), None))
    part = deepcopy(part)  # its boundary is made up while it is written
    try:
        content = _flat(part, part.policy).partition(b"\r\n\r\n")[2]
        signed = any(each.get_content_type() == "multipart/signed" for each in part.walk())
    except Exception as error:  # noqa: BLE001  the package raises whatever it stumbles over
        raise InvalidEmail("message", f"it cannot be written ({type(error).__name__})") from None
    if signed and not _is_seven_bit(content):
        raise InvalidEmail(
            "message",
            "what is signed in it is not in lines of ASCII, which servers on the way would change: sign it as "
            "quoted-printable or base64",
            f"lines of at most {MAX_LINE_LENGTH} characters",
        )
    return (content if signed else written(part).partition(b"\r\n\r\n")[2]), _whole_type(part, None)


def written(message: Part) -> bytes:
    """A message, or a part, as it travels, in ASCII if possible. Raises `InvalidEmail` if it cannot be written."""
    try:
        content = _flat(message, message.policy)
    except Exception as error:  # noqa: BLE001  the package raises whatever it stumbles over
        raise InvalidEmail("content", f"the message cannot be written ({type(error).__name__})") from None
    return _made_seven_bit(content) or content


def as_lines(content: bytes, bare_type: str) -> bytes | None:
    """Headers and lines as SES can carry them, unencoded: ASCII, of at most 998 characters, ending with CR and LF.

    None where they cannot be made so.
    """
    is_letter = bare_type in ("message/rfc822", "message/news", "message/global")
    lines = _ENDS.sub(b"\r\n", content.removeprefix(BOM_UTF8) if is_letter else content)
    is_what_it_says = _HEAD.match(lines) if is_letter else _BLOCKS.fullmatch(lines) if bare_type in _REPORTS else True
    if not is_what_it_says:
        return None
    if _is_seven_bit(lines):
        return lines
    return _made_seven_bit(lines) if is_letter else None


_NAME = re.compile(rb"name[*\d]*[ \t]*=", re.IGNORECASE)


def names_within(content: bytes, content_type: str) -> list[str]:
    """The names of files in its type and, where it is an email or has parts, in these: SES looks at each."""
    is_looked_into = is_composite(content_type) and _NAME.search(content)
    if not is_looked_into and ";" not in content_type:
        return []
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    try:
        outer = BytesParser(policy=compat32).parsebytes(head + content if is_looked_into else head)
        names = [_decoded(part.get_filename()) for part in outer.walk()]
    except Exception:  # noqa: BLE001  the package raises whatever it stumbles over
        return []
    return [name for name in names if name]


class _Generator(BytesGenerator):
    """Writes the headers of each part as its own policy has them.

    Python's writes all as that of the outermost: of a message within one of the other kind it encodes whole headers,
    the names of its files with them, or stumbles.
    """

    policy: Policy[Any]

    def flatten(self, msg: Part, unixfrom: bool = False, linesep: str | None = None) -> None:
        self._own = msg.policy
        super().flatten(msg, unixfrom=unixfrom, linesep=linesep)

    def _write_headers(self, msg: Part) -> None:
        outermost = self.policy
        if isinstance(self._own, EmailPolicy) != isinstance(outermost, EmailPolicy):
            self.policy = self._own.clone(linesep=outermost.linesep, cte_type=outermost.cte_type)
        super()._write_headers(msg)  # type: ignore[misc]  # a name that the package does not promise: tests watch it
        self.policy = outermost


def _flat(message: Part, policy: Policy[Any]) -> bytes:
    buffer = BytesIO()
    _Generator(buffer, mangle_from_=False, policy=policy).flatten(message, linesep="\r\n")
    return _ENDS.sub(b"\r\n", buffer.getvalue())


def _made_seven_bit(content: bytes) -> bytes | None:
    if _is_seven_bit(content):
        return content
    try:
        message = BytesParser(policy=compat32).parsebytes(content)
        _encode_what_is_not_seven_bit(message)
        again = _flat(message, compat32.clone(cte_type="7bit"))
    except Exception:  # noqa: BLE001  the package raises whatever it stumbles over
        return None
    return again if _is_seven_bit(again) else None


# Headers, each with lines that continue it, up to an empty line or the end; perhaps behind the line of an mbox.
_FIELDS = rb"(?:[!-9;-~]+[ \t]*:.*(?:\r\n|\Z)(?:[ \t].*(?:\r\n|\Z))*)*"
_HEAD = re.compile(rb"(?:From .*\r\n)?" + _FIELDS + rb"(?:\r\n|\Z)")
_BLOCKS = re.compile(_FIELDS + rb"(?:\r\n" + _FIELDS + rb")*")
_REPORTS = ("message/delivery-status", "message/disposition-notification", "message/feedback-report")
_ENDS = re.compile(rb"\r\n|\r|\n")


def _is_seven_bit(content: bytes) -> bool:
    longest = max(map(len, content.split(b"\r\n")))
    return content.isascii() and b"\0" not in content and longest <= MAX_LINE_LENGTH


def _encode_what_is_not_seven_bit(message: Part) -> None:
    for part in message.walk():
        if part.is_multipart() or is_composite(part.get_content_type()):
            continue
        if str(part.get("Content-Transfer-Encoding", "7bit")).strip().lower() not in ("7bit", "8bit", "binary"):
            continue
        data = part.get_payload(decode=True)
        if isinstance(data, bytes) and not _is_seven_bit(data):
            del part["Content-Transfer-Encoding"]
            part.set_payload(data)
            encode_base64(part)


def readable_headers(part: Part) -> list[tuple[str, Any]]:
    """Its headers as it parses them; those that hold letters as they are, which no parser reads, as text."""
    pairs = zip(part.items(), part.raw_items(), strict=True)
    return [(name, _of_letters(raw) or value) for (name, value), (_, raw) in pairs]


def _of_letters(raw: object) -> str | None:
    """What a header says that was read from bytes with letters in UTF-8, as RFC 6532 has them, or in Windows' code."""
    if not isinstance(raw, str) or not _OF_BYTES.search(raw):
        return None
    content = raw.encode("utf-8", "surrogateescape")
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _readable(part: Part) -> Part:
    """The same, or its headers alone where the package would replace their letters."""
    if not any(_of_letters(raw) for _, raw in part.raw_items()):
        return part
    headers: Part = Message()
    for name, value in readable_headers(part):
        headers[name] = value
    return headers


def _payload(part: Part, content_type: str) -> tuple[bytes, str]:
    text = part._payload  # type: ignore[attr-defined]  # noqa: SLF001  what get_payload() makes of it has lost letters
    if isinstance(text, str) and not _is_of_bytes(text) and "Content-Transfer-Encoding" not in part:
        charset = str(part.get_content_charset() or "")
        try:
            return text.encode(Charset(charset).output_codec or "utf-8" if charset else "utf-8"), content_type
        except (LookupError, ValueError):
            return text.encode("utf-8", "surrogateescape"), content_type
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b"", content_type


_OF_BYTES = re.compile("[\udc80-\udcff]")


def _is_of_bytes(text: str) -> bool:
    """Whether it stands for bytes that were read, of which it keeps those above 127 as halves of surrogate pairs."""
    return text.isascii() or bool(_OF_BYTES.search(text))


def _whole_type(part: Part, filename: str | None) -> str:
    parameters = [(name, collapse_rfc2231_value(value)) for name, value in (part.get_params() or [])[1:]]
    kept = [(name, _on_a_line(value)) for name, value in parameters if not _is_its_name(name, value, filename)]
    return whole_type(part.get_content_type(), kept)


def _is_its_name(parameter: str, value: str, filename: str | None) -> bool:
    return parameter.lower() == "name" and _decoded(value) == filename


def _on_a_line(value: str) -> str:
    return " ".join(str(value).encode("utf-8", "replace").decode().split())


def _decoded(name: str | None) -> str | None:
    """A file's name; Outlook and others write it as encoded words, which RFC 2047 §5 forbids and all readers decode."""
    if not name or "=?" not in name:
        return name
    try:
        return str(make_header(decode_header(name)))
    except (LookupError, ValueError):
        return name


def _bare_id(value: object) -> str | None:
    text = str(value).strip() if value is not None else ""
    return text.removeprefix("<").removesuffix(">").strip() or None


def _other_headers(part: Part) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, _on_a_line(value))
        for name, value in part.items()
        if name.lower() not in SAID_ELSEWHERE and _on_a_line(value)
    )
