"""Addresses with or without a name, as `Email` takes and keeps them, and the text of any header line.

Nothing here repeats a value in an error: addresses and subjects do not belong in logs.
"""

from __future__ import annotations

import re
import stringprep
from collections.abc import Iterable, Mapping
from email.header import Header
from itertools import islice
from typing import Any

from sesmail.errors import InvalidEmail

MAX_RECIPIENTS = 50
"""In one email, over all its lists: https://docs.aws.amazon.com/ses/latest/dg/quotas.html"""
MAX_DISPLAY_NAME_LENGTH = 200
MAX_LOCAL_LENGTH = 64
"""RFC 5321 §4.5.3.1.1."""
MAX_ADDRESS_LENGTH = 254
"""RFC 5321 §4.5.3.1.3: a path has 256 octets, its angle brackets included. (The 320 often seen is 64 + 1 + 255.)"""

Addresses = str | Iterable[str] | None
"""One string is one address, with or without a name: `ann@example.org` or `Ann <ann@example.org>`."""


def bare_address(mailbox: str) -> str:
    """The address alone of a mailbox as `Email` keeps it: `ann@example.org` of `Ann <ann@example.org>`."""
    return mailbox[mailbox.rindex("<") + 1 : -1] if mailbox.endswith(">") else mailbox


def display_name(mailbox: str) -> str:
    """The name alone of a mailbox as `Email` keeps it, without quotes; empty when there is none."""
    return _unquoted(mailbox[: mailbox.rindex("<")].strip()) if mailbox.endswith(">") else ""


def encoded_mailbox(mailbox: str) -> str:
    """A mailbox as `Email` keeps it, as a header can carry it."""
    return mailbox if mailbox.isascii() else f"{encoded_words(display_name(mailbox))} <{bare_address(mailbox)}>"


def encoded_words(text: str) -> str:
    """Text as a header can carry it: ASCII as it is, anything else as encoded words (RFC 2047), on one line."""
    return text if text.isascii() else Header(text, "utf-8", maxlinelen=75).encode(linesep="")


# Lines of text: whatever ends up in a header

# C0 and C1 controls, the line and paragraph separators, and halves of surrogate pairs, which UTF-8 cannot encode.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def line(field: str, value: object, most: int, *, least: int = 1) -> str:
    """Text of `least` to `most` characters that stays on one line of a header. Raises `InvalidEmail`."""
    if not isinstance(value, str):
        raise InvalidEmail(field, f"is {kind_of(value)}, not text")
    if _CONTROL.search(value):
        raise InvalidEmail(field, "has a line break or another control character")
    if not least <= len(value) <= most:
        raise InvalidEmail(field, f"has {len(value)} characters", f"{least} to {most}")
    return value


def kind_of(value: object) -> str:
    """What a value is, without showing it."""
    return "None" if value is None else f"of type {type(value).__name__}"


def listed(field: str, value: object, most: int) -> tuple[Any, ...]:
    """The items of any iterable that cannot be meant as one item. It may be endless."""
    if isinstance(value, str | bytes | bytearray | Mapping) or not isinstance(value, Iterable):
        raise InvalidEmail(field, f"is {kind_of(value)}, not a list")
    items = tuple(islice(value, most + 1))
    if len(items) > most:
        raise InvalidEmail(field, "has too many entries", f"at most {most}")
    return items


# Addresses

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM = rf"{_ATOM}(?:\.{_ATOM})*"
# A quoted local part is let through for addresses such as "a..b"@example.com, which exist in Japan; without the
# characters that would need a backslash or end an angle bracket.
_QUOTED = r'"[ !#-;=?-\[\]-~]+"'
_MAILBOX = re.compile(rf"(?:(?P<name>[^<>]*)<)?(?P<local>{_DOT_ATOM}|{_QUOTED})@(?P<domain>[^\s@<>]+)(?(name)>)")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])")
_QUOTED_NAME = re.compile(r'"(?:[^"\\]|\\.)*"')
_PHRASE = re.compile(r"[\w!#$%&'*+/=?^`{|}~ -]+")
_SHARP_S_FINAL_SIGMA_JOINERS = re.compile("[\u00df\u1e9e\u03c2\u200c\u200d]")


def mailboxes(field: str, value: Addresses) -> tuple[str, ...]:
    """The mailboxes of a list, or of one string. Raises `InvalidEmail` that names the first wrong one by its place."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (mailbox_of(field, value),)
    return tuple(mailbox_of(f"{field}[{n}]", each) for n, each in enumerate(listed(field, value, MAX_RECIPIENTS)))


def mailbox_of(field: str, value: object) -> str:
    """A mailbox as `Email` keeps it: `ann@example.org` or `Ann <ann@example.org>`, its domain in ASCII, lower case.

    Raises `InvalidEmail`.
    """
    text = line(field, value, 2 * (MAX_DISPLAY_NAME_LENGTH + MAX_ADDRESS_LENGTH)).strip()
    match = _MAILBOX.fullmatch(text)
    if match is None:
        raise InvalidEmail(field, _why_no_mailbox(text))
    address = f"{_local(field, match['local'])}@{_domain(field, match['domain'])}"
    if len(address) > MAX_ADDRESS_LENGTH:
        raise InvalidEmail(field, f"the address has {len(address)} characters", f"at most {MAX_ADDRESS_LENGTH}")
    name = _name(field, (match["name"] or "").strip())
    return f"{name} <{address}>" if name else address


def _why_no_mailbox(text: str) -> str:
    local = text.rpartition("@")[0].rpartition("<")[2]
    if not local.isascii():
        return "the part before the @ is not ASCII, which SES cannot deliver"
    if text.count("@") > 1 or any(separator in text for separator in ",;"):
        return "is not one address: give several as a list"
    return "is not an email address, such as ann@example.org or Ann <ann@example.org>"


def _local(field: str, local: str) -> str:
    if len(local) > MAX_LOCAL_LENGTH:
        raise InvalidEmail(field, f"has {len(local)} characters before the @", f"at most {MAX_LOCAL_LENGTH}")
    inner = local[1:-1]
    return inner if local.startswith('"') and re.fullmatch(_DOT_ATOM, inner) else local


def _domain(field: str, domain: str) -> str:
    ascii_domain = (domain if domain.isascii() else _to_ascii(field, domain)).lower()
    if len(ascii_domain) > 253 or not _DOMAIN.fullmatch(ascii_domain):
        raise InvalidEmail(field, "what stands after the @ is not an internet domain")
    return ascii_domain


def _to_ascii(field: str, domain: str) -> str:
    """Convert by IDNA 2003, the standard library's.

    It differs from IDNA 2008 in four characters, where it would name another, perhaps a stranger's, domain; and it
    ends with Unicode 3.2. Both are refused rather than guessed: https://www.unicode.org/reports/tr46/#Deviations
    """
    if _SHARP_S_FINAL_SIGMA_JOINERS.search(domain) or any(map(stringprep.in_table_a1, domain)):
        raise InvalidEmail(field, "the domain has a character that standards convert differently: give its xn-- form")
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError:
        raise InvalidEmail(field, "the international domain cannot be converted to its xn-- form") from None


def _name(field: str, name: str) -> str:
    """The display name as a header has it: as it is, or in quotes."""
    if not _QUOTED_NAME.fullmatch(name) and any(separator in name for separator in ",;"):
        raise InvalidEmail(field, 'is not one address: give several as a list, or write the name in double quotes: "…"')
    plain = _unquoted(name)
    if len(plain) > MAX_DISPLAY_NAME_LENGTH:
        raise InvalidEmail(field, f"the name has {len(plain)} characters", f"at most {MAX_DISPLAY_NAME_LENGTH}")
    return plain if _PHRASE.fullmatch(plain) or not plain else '"' + re.sub(r'(["\\])', r"\\\1", plain) + '"'


def _unquoted(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name[1:-1]).strip() if _QUOTED_NAME.fullmatch(name) else name
