"""Addresses with or without a name, as `Email` takes and keeps them, and the one form in which they are compared.

Nothing here repeats a value in an error: addresses do not belong in logs.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache

from sesmail.errors import InvalidEmail
from sesmail.message.text import as_text, encoded_words, kind_of, line, listed

log = logging.getLogger("sesmail")

MAX_RECIPIENTS = 50
"""In one email, over all its lists: https://docs.aws.amazon.com/ses/latest/dg/quotas.html"""
MAX_LISTED = 1000
"""Entries of one list that are looked at: those that stand twice count once."""
MAX_MAILBOX_BYTES = 320
"""SES's limit for a mailbox with its name, as encoded for a header: more is refused as "Address length is more than 320
bytes long"."""
MAX_GIVEN_LENGTH = 4000
"""Of an address with its name, as given: what SES cannot carry of the name is cut off."""
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


_PLAIN = re.compile(r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@[a-z0-9.-]+")


def is_normal_address(text: str) -> bool:
    """Whether this is an address in its one form, as most are: neither `mailbox_of` nor `normal_address` changes it.

    False says nothing.
    """
    return len(text) <= MAX_ADDRESS_LENGTH and _NORMAL.fullmatch(text) is not None


def normal_address(address: str) -> str:
    """The one form of an address, in which it is compared, counted and kept: for duplicates, opt-outs, events, keys.

    Without a name, in lower case, because servers do not tell Ann@example.org from ann@example.org; an international
    domain as `xn--...`; without quotes that it does not need and without invisible characters. What is no address is
    kept in lower case: no email can be sent to it.
    """
    text = address.strip().lower()
    if _PLAIN.fullmatch(text):
        return text
    try:
        return bare_address(mailbox_of("address", address)).lower()
    except InvalidEmail:
        return _visible(text)


def former_addresses(normal: str) -> tuple[str, ...]:
    """How former releases may have kept an address: in quotes that it does not need, its domain not in ASCII."""
    local, _, domain = normal.rpartition("@")
    quoted = () if local.startswith('"') else (f'"{local}"@{domain}',)
    return quoted + (_in_letters(local, domain) if "xn--" in domain else ())


def _in_letters(local: str, domain: str) -> tuple[str, ...]:
    import idna  # noqa: PLC0415  few addresses need it

    try:
        return (f"{local}@{idna.decode(domain)}",)
    except UnicodeError:
        return ()


def folded(*lists: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Lists of mailboxes in which each address stands once: its first place counts. SES may send a copy for each."""
    seen: set[str] = set()
    return tuple(tuple(one for one in mailboxes if _is_new(bare_address(one).lower(), seen)) for mailboxes in lists)


def _is_new(address: str, seen: set[str]) -> bool:
    before = len(seen)
    seen.add(address)
    return len(seen) > before


def normal_address_of(field: str, value: object) -> str:
    """The address alone of a mailbox as somebody writes it, in its one form. Raises `InvalidEmail`."""
    return normal_address(bare_address(mailbox_of(field, value)))


def encoded_mailbox(mailbox: str) -> str:
    """A mailbox as `Email` keeps it, as a header can carry it; a name that SES would not take is shortened."""
    if len(mailbox) <= MAX_MAILBOX_BYTES and mailbox.isascii():
        return mailbox
    address = bare_address(mailbox)
    return _encoded(_fitting(display_name(mailbox), address), address)


# What is an address

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM = rf"{_ATOM}(?:\.{_ATOM})*"
# A quoted local part is let through for addresses such as "a..b"@example.com, which exist in Japan; without the
# characters that would need a backslash or end an angle bracket.
_QUOTED = r'"[ !#-;=?-\[\]-~]+"'
_MAILBOX = re.compile(rf"(?:(?P<name>[^<>]*)<)?(?P<local>{_DOT_ATOM}|{_QUOTED})@(?P<domain>[^\s@<>]+)(?(name)>)")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])")
_NORMAL = re.compile(
    rf"(?=.{{1,{MAX_LOCAL_LENGTH}}}@)[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])"
)
_QUOTED_NAME = re.compile(r'"(?:[^"\\]|\\.)*"')
_PHRASE = re.compile(r"[\w!#$%&'*+/=?^`{|}~ -]+")

# What copying from web pages leaves: soft hyphens, zero-width spaces, marks of direction, byte order marks.
_INVISIBLE = re.compile("[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
_INVISIBLE_ENDS = re.compile(rf"^(?:\s|{_INVISIBLE.pattern})+|(?:\s|{_INVISIBLE.pattern})+$")
_JOINERS = re.compile("[\u200c\u200d]")  # these two have a meaning within a domain: RFC 5892, appendix A


def mailboxes(field: str, value: Addresses) -> tuple[str, ...]:
    """The mailboxes of a list, or of one string; each address once.

    Raises `InvalidEmail` that names the first wrong one by its place.
    """
    if value is None or (type(value) is tuple and not value):
        return ()
    given = as_text(field, value)
    if isinstance(given, str):
        return (mailbox_of(field, given),)
    if not isinstance(given, Iterable):
        raise InvalidEmail(field, f"is {kind_of(given)}: give an address, or a list of them")
    entries = listed(field, given, MAX_LISTED, limit=MAX_RECIPIENTS)
    (found,) = folded(mailbox_of(f"{field}[{n}]", each) for n, each in enumerate(entries))
    if len(found) > MAX_RECIPIENTS:
        raise InvalidEmail(field, "has too many entries", f"at most {MAX_RECIPIENTS}")
    return found


def mailbox_of(field: str, value: object) -> str:
    """A mailbox as `Email` keeps it: `ann@example.org` or `Ann <ann@example.org>`, its domain in ASCII, lower case.

    A name that SES could not carry is shortened. Raises `InvalidEmail`.
    """
    text = _without_what_cannot_be_seen(line(field, value, MAX_GIVEN_LENGTH))
    match = _MAILBOX.fullmatch(text)
    if match is None:
        raise InvalidEmail(field, _why_no_mailbox(text))
    address = f"{_local(field, match['local'])}@{_domain(field, match['domain'])}"
    if len(address) > MAX_ADDRESS_LENGTH:
        raise InvalidEmail(field, f"the address has {len(address)} characters", f"at most {MAX_ADDRESS_LENGTH}")
    name = _name(field, (match["name"] or "").strip())
    shown = _fitting(name, address)
    if shown != name:
        log.warning("A name is longer than SES can carry (%s): it was shortened.", field)
    return f"{_written(shown)} <{address}>" if shown else address


def _without_what_cannot_be_seen(text: str) -> str:
    """A name keeps what it has within: marks of direction and joiners belong to Arabic, Hebrew, Hindi and emoji."""
    text = text.strip()
    if text.isascii() and "< " not in text and " >" not in text:
        return text
    name, bracket, address = text.rpartition("<")
    closed = address.rstrip().endswith(">") if bracket else False
    address = _visible(address.rstrip().removesuffix(">") if closed else address)
    return f"{_visible_ends(name)}{bracket}{address}{'>' if closed else ''}"


def _visible(address: str) -> str:
    local, at, domain = _INVISIBLE.sub("", address).strip().strip("\u200c\u200d").rpartition("@")
    return f"{_JOINERS.sub('', local)}{at}{domain}" if at else _JOINERS.sub("", domain)


def _visible_ends(name: str) -> str:
    while (
        less := _INVISIBLE.sub("", name[:1]) + name[1:-1] + _INVISIBLE.sub("", name[-1:] if name[1:] else "")
    ) != name:
        name = less.strip()
    return name.strip()


def _why_no_mailbox(text: str) -> str:
    local = text.rpartition("@")[0].rpartition("<")[2]
    if not local.isascii():
        return "the part before the @ is not ASCII, which SES cannot deliver"
    if text.count("@") > 1 or any(separator in text for separator in ",;"):
        return "is not one address: give several as a list"
    if re.fullmatch(r"[A-Za-z0-9._+-]*(\.\.[A-Za-z0-9._+-]*|\.)", local):
        return (
            "has a dot where none may be: before the @, or beside another one. Such addresses exist in Japan: write "
            'what stands before the @ in double quotes, as in "ann."@example.org'
        )
    return "is not an email address, such as ann@example.org or Ann <ann@example.org>"


def _local(field: str, local: str) -> str:
    if len(local) > MAX_LOCAL_LENGTH:
        raise InvalidEmail(field, f"has {len(local)} characters before the @", f"at most {MAX_LOCAL_LENGTH}")
    inner = local[1:-1]
    return inner if local.startswith('"') and re.fullmatch(_DOT_ATOM, inner) else local


def _domain(field: str, domain: str) -> str:
    try:
        name = ascii_domain(domain)
    except UnicodeError:
        raise InvalidEmail(field, "the domain has characters that no domain can have: give its xn-- form") from None
    if len(name) > 253 or not _DOMAIN.fullmatch(name):
        raise InvalidEmail(field, "what stands after the @ is not an internet domain")
    return name


def ascii_domain(domain: str) -> str:
    """A domain as DNS and SES have it: in lower case, `xn--...` for other letters. Raises `UnicodeError`.

    By IDNA 2008 after the mapping of UTS 46, as browsers do it: https://www.unicode.org/reports/tr46/
    """
    return domain.lower() if domain.isascii() else _from_letters(domain)


@lru_cache(maxsize=1024)
def _from_letters(domain: str) -> str:
    """Kept, as it takes longer than all else about an address."""
    import idna  # noqa: PLC0415  few addresses need it

    return idna.encode(domain, uts46=True).decode("ascii").lower()


# Names

_JOINED_TO_WHAT_IS_BEFORE = re.compile("[\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff]")


def _name(field: str, name: str) -> str:
    """The display name as readers see it."""
    if not _QUOTED_NAME.fullmatch(name) and any(separator in name for separator in ",;"):
        raise InvalidEmail(field, 'is not one address: give several as a list, or write the name in double quotes: "…"')
    return _unquoted(name)


def _written(name: str) -> str:
    """The name as a mailbox has it: as it is, or in quotes."""
    return name if _PHRASE.fullmatch(name) or not name else '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'


def _unquoted(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name[1:-1]).strip() if _QUOTED_NAME.fullmatch(name) else name


def _encoded(name: str, address: str) -> str:
    if not name:
        return address
    return f"{_written(name) if name.isascii() else encoded_words(name)} <{address}>"


MAX_ENCODED_WORD = 75
FEWEST_BYTES_OF_A_WORD = 36
"""Of UTF-8 in an encoded word of a longer name: 45 in base64, less where a letter would be torn up."""


def _fits(name: str, address: str) -> bool:
    # Most names are short enough not to be encoded for it.
    if name.isascii():
        longest = 2 * len(name) + len('""')
    else:
        longest = (MAX_ENCODED_WORD + 1) * (len(name.encode()) // FEWEST_BYTES_OF_A_WORD + 1)
    return longest + len(address) + 3 < MAX_MAILBOX_BYTES or len(_encoded(name, address)) <= MAX_MAILBOX_BYTES


def _fitting(name: str, address: str) -> str:
    """As much of a name as SES carries: nobody must lock himself out of all email by his name."""
    if _fits(name, address):
        return name
    rest = "..." if name.isascii() else "…"
    kept = bisect_left(range(len(name)), True, key=lambda length: not _fits(name[: length + 1] + rest, address))
    while kept and (_belongs_to_the_next(name, kept) or not _fits(name[:kept] + rest, address)):
        kept -= 1
    return name[:kept].rstrip() + rest if kept else ""


def _belongs_to_the_next(name: str, place: int) -> bool:
    """Whether a cut at this place would tear up what is read as one letter."""
    following = name[place : place + 1]
    return bool(
        (following and (unicodedata.combining(following) or _JOINED_TO_WHAT_IS_BEFORE.match(following)))
        or name[place - 1] == "\u200d"
    )
