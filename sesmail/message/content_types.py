"""MIME types as attachments have them, and what they mean for a text's bytes."""

from __future__ import annotations

import codecs
import re
from email.utils import encode_rfc2231

from sesmail.errors import InvalidEmail
from sesmail.message.text import as_text

MAX_TYPE_LENGTH = 78
"""SES's limit for the type itself: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_Attachment.html"""
MAX_WHOLE_LENGTH = 900
"""With its parameters it is one line of a message of at most 998 characters (RFC 5322 §2.1.1)."""

_WORD = r"[A-Za-z0-9!#$&^_.+-]+"
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f\ud800-\udfff]|\\[ -~])*"'
_BARE = r'[^\s";\x00-\x1f\x7f\ud800-\udfff]+'
_PARAMETER = re.compile(rf";[ \t]*([A-Za-z0-9!#$&^_.+*-]+)[ \t]*=[ \t]*({_QUOTED}|{_BARE}|)[ \t]*")
_CONTENT_TYPE = re.compile(rf"[ \t]*({_WORD}/{_WORD})[ \t]*((?:{_PARAMETER.pattern}|;[ \t]*)*)")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+")
_FOLD = re.compile(r"\r?\n[ \t]+")
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^";]*)"?', re.IGNORECASE)


def content_type_of(value: object, *, composite: bool = False) -> str:
    """A type as it is kept: `type/subtype; name=value`, whatever the blanks and semicolons it came with.

    A `composite` one may be `multipart/...`: only where its parts are at hand. Raises `InvalidEmail`.
    """
    text = as_text("content_type", value)
    match = _CONTENT_TYPE.fullmatch(_FOLD.sub(" ", text).strip()) if isinstance(text, str) else None
    is_one = match is not None and (composite or not match[1].lower().startswith("multipart/"))
    if match is None or not is_one or len(match[1]) > MAX_TYPE_LENGTH:
        limit = f"at most {MAX_TYPE_LENGTH} characters"
        raise InvalidEmail("content_type", "is not a file's MIME type, such as application/pdf", limit)
    given = [(name, _unquoted(name, value)) for name, value in _PARAMETER.findall(match[2]) if value]
    return whole_type(match[1], given)


def _unquoted(name: str, value: str) -> str:
    if value.startswith('"'):
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    return value.strip("'") if name.lower() == "charset" else value  # charset='utf-8' is seen, and no character set


def whole_type(bare: str, parameters: list[tuple[str, str]]) -> str:
    """A type with its parameters. Raises `InvalidEmail` where a line of a message could not hold it."""
    whole = "; ".join([bare, *(_parameter(name, value) for name, value in parameters)])
    if len(whole) > MAX_WHOLE_LENGTH:
        raise InvalidEmail(
            "content_type", f"has {len(whole)} characters with its parameters", f"at most {MAX_WHOLE_LENGTH}"
        )
    return whole


def _parameter(name: str, value: str) -> str:
    if not value.isascii():
        return f"{name.rstrip('*')}*={encode_rfc2231(value, 'utf-8')}"
    if _TOKEN.fullmatch(value):
        return f"{name}={value}"
    escaped = re.sub(r'(["\\])', r"\\\1", value)
    return f'{name}="{escaped}"'


def bare_type(content_type: str) -> str:
    """The type alone, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def charset_of(content_type: str) -> str:
    """The character set that a type declares; '' where it declares none."""
    match = _CHARSET.search(content_type)
    return match[1].strip() if match else ""


def is_composite(content_type: str) -> bool:
    """Whether the content consists of headers and lines of its own, and so must not be encoded: RFC 2046 §5."""
    return bare_type(content_type).startswith(("message/", "multipart/"))


def encoded_text(text: str, content_type: str) -> tuple[bytes, str]:
    """A text's bytes, and the type that says what they are: in the character set that it declares, else in UTF-8.

    Where that set lacks a letter, UTF-8 is declared instead. Raises `InvalidEmail`.
    """
    declared = charset_of(content_type)
    if declared:
        try:
            if codecs.lookup(declared).name not in _PYTHON_S_OWN:
                return text.encode(declared), content_type
        except (LookupError, ValueError):
            pass
        content_type = _CHARSET.sub("", content_type)
        text = "\ufeff" + text if _is_utf_8_with_a_mark(declared) else text
    try:
        content = text.encode()
    except UnicodeEncodeError:
        raise InvalidEmail("content", "has half of a surrogate pair, which UTF-8 cannot encode") from None
    says_so = declared or (bare_type(content_type).startswith("text/") and not text.isascii())
    return content, f"{content_type}; charset=utf-8" if says_so else content_type


_PYTHON_S_OWN = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "utf-8-sig"})
"""Codecs that no reader of email knows."""


def _is_utf_8_with_a_mark(charset: str) -> bool:
    """Which people ask for by Python's name, for Excel."""
    return charset.lower().replace("_", "-") == "utf-8-sig"


def with_charset(content: bytes, content_type: str) -> str:
    """The type of bytes: text that is UTF-8 says so, as in Django, where it says nothing or what cannot be.

    What else it may be is not guessed.
    """
    if not bare_type(content_type).startswith("text/") or content.isascii():
        return content_type
    declared = charset_of(content_type)
    if (declared and _can_be(content, declared)) or not _can_be(content, "utf-8"):
        return content_type
    return f"{_CHARSET.sub('', content_type)}; charset=utf-8"


def _can_be(content: bytes, charset: str) -> bool:
    try:
        content.decode(charset)
    except (LookupError, ValueError):
        return False
    return True
