"""What SES accepts: the limits of its model and documentation, checked by hand because every email passes here.

The words for addresses are those that SES has from JavaMail; those for the model's limits are the form that all AWS
services use.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from email.utils import getaddresses, parseaddr
from typing import TYPE_CHECKING, Any

from seslocal.errors import Refused, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_RECIPIENTS = 50
MAX_LOCAL_LETTERS = 64
MAX_ADDRESS_LETTERS = 320
MAX_MAILBOX_LETTERS = 320
"""With its name, as encoded for a header."""
MAX_HEADERS = 15
MAX_EMAIL_BYTES = 40 * 1024 * 1024
MAX_TEMPLATE_DATA = 262_144

HEADERS_SES_WRITES = frozenset(
    [
        "bcc",
        "cc",
        "content-disposition",
        "content-type",
        "date",
        "from",
        "message-id",
        "mime-version",
        "reply-to",
        "return-path",
        "subject",
        "to",
    ]
)
"""May not be given as custom headers (SES developer guide, header fields)."""

HEADERS_ALLOWED_ONCE = frozenset({"list-unsubscribe", "list-unsubscribe-post"})

HEADERS_ONCE_IN_A_MESSAGE = frozenset(
    [
        *HEADERS_SES_WRITES,
        *HEADERS_ALLOWED_ONCE,
        "content-transfer-encoding",
        "delivered-to",
        "dkim-signature",
        "in-reply-to",
        "references",
        "sender",
    ]
)
"""As RFC 5322 §3.6 has them, and those of which people report SES's refusal beside."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf'(?:{_ATOM}(?:\.{_ATOM})*|"[ !#-\[\]-~]+")@(?:{_LABEL}\.)+{_LABEL}')
_HEADER_NAME = re.compile(r"[!-9;-@A-~]{1,126}")
_HEADER_VALUE = re.compile(r"[ -~]{1,995}")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def address(given: str) -> str:
    """The bare address in `Name <address>`; refused in SES's words when it is none."""
    check_mailbox_length(given.strip())
    if _ADDRESS.fullmatch(given):
        return _within_length(given)
    if "\r" in given or "\n" in given:
        raise invalid("Local address contains control or whitespace")
    bare = parseaddr(given)[1] if "<" in given else given.strip()
    if not _ADDRESS.fullmatch(bare):
        raise invalid(_what_is_wrong(bare))
    return _within_length(bare)


def _within_length(bare: str) -> str:
    if bare.rindex("@") > MAX_LOCAL_LETTERS or len(bare) > MAX_ADDRESS_LETTERS:
        raise invalid(f"Address is longer than {MAX_ADDRESS_LETTERS} characters, or its name than {MAX_LOCAL_LETTERS}")
    return bare


def _what_is_wrong(bare: str) -> str:
    local, at, domain = bare.rpartition("@")
    if not at:
        return "Missing final '@domain'"
    if not local or not domain:
        return "Missing domain" if local else "Missing local name"
    if re.search(r"[\s\x00-\x1f\x7f]", local):
        return "Local address contains control or whitespace"
    if ".." in local or local.startswith(".") or local.endswith("."):
        return "Local address contains dot-dot"
    if not re.fullmatch(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*", domain):
        return "Domain contains illegal character" if ".." not in domain else "Domain contains dot-dot"
    return "Illegal address"


def addresses(given: Any, field: str) -> tuple[str, ...]:
    """A list of addresses, any of which fails the call."""
    return tuple([address(text(one, field)) for one in items(given, field)])


def check_mailboxes(values: Iterable[Any]) -> None:
    """The length of each mailbox in headers of addresses."""
    for name, bare in getaddresses([str(value) for value in values]):
        check_mailbox_length(f"{name} <{bare}>" if name else bare)


def check_mailbox_length(mailbox: str) -> None:
    """SES counts UTF-16 units of the name as it is written, encoded words undecoded, and the address.

    These words are the API's of 2026; through SMTP they were "Transaction failed: Address length is more than 320 bytes
    long" for years: https://github.com/zulip/zulip/issues/17558, https://github.com/floci-io/floci (SesAddressLength).
    """
    if len(mailbox.encode("utf-16-le", "surrogatepass")) > 2 * MAX_MAILBOX_LETTERS:
        raise invalid(f"Address length is more than {MAX_MAILBOX_LETTERS} characters long: '{mailbox}'.")


_UNSUPPORTED = """
ade adp app asp bas bat cer chm cmd com cpl crt csh der exe fxp gadget hlp hta inf ins isp its js jse ksh
lib lnk mad maf mag mam maq mar mas mat mau mav maw mda mdb mde mdt mdw mdz msc msh msh1 msh2 mshxml msh1xml
msh2xml msi msp mst ops pcd pif plg prf prg reg scf scr sct shb shs sys ps1 ps1xml ps2 ps2xml psc1 psc2 tmp
url vb vbe vbs vps vsmacros vss vst vsw vxd ws wsc wsf wsh xnk
"""
UNSUPPORTED_EXTENSIONS = frozenset(_UNSUPPORTED.split())
"""https://docs.aws.amazon.com/ses/latest/dg/mime-types.html"""

_UNSUPPORTED_LETTERS = frozenset('/\\:*?"<>|')
"""Reported as a BadRequestException of SES v2: https://github.com/govuk-forms/forms-runner/pull/1594"""


def file_name(given: str) -> str:
    """A file's name; SES sends none that might be run, or that Windows could not save.

    Its own words for either are published nowhere; these are like its `Illegal content type '...'`.
    """
    is_run = "." in given and given.rstrip(". ").rpartition(".")[2].lower() in UNSUPPORTED_EXTENSIONS
    if is_run or not _UNSUPPORTED_LETTERS.isdisjoint(given):
        raise invalid(f"Illegal filename '{given}'.")
    return given


def check_recipients(count: int) -> None:
    """At least one recipient, at most 50."""
    if count == 0:
        raise invalid("Destination is required: there must be at least one recipient.")
    if count > MAX_RECIPIENTS:
        raise invalid(f"Recipient count exceeds {MAX_RECIPIENTS}.")


def tags(given: Any) -> dict[str, str]:
    """Email tags: ASCII letters, digits, `_` and `-`, at most 256 of them."""
    checked: dict[str, str] = {}
    for one in items(given, "EmailTags"):
        name, value = text(required(one, "Name"), "Name"), text(required(one, "Value"), "Value")
        if not _TAG.fullmatch(name):
            raise invalid(
                f"Tag name <{name}> is not valid: only A-Z, a-z, 0-9, _ and - are allowed, at most 256 of them."
            )
        if not _TAG.fullmatch(value):
            raise invalid(
                f"Tag value <{value}> is not valid: only A-Z, a-z, 0-9, _ and - are allowed, at most 256 of them."
            )
        if name in checked:
            raise invalid(f"Duplicate tag name <{name}>.")
        checked[name] = value
    return checked


def headers(given: Any, field: str = "content.simple.headers") -> tuple[tuple[str, str], ...]:
    """Custom headers of an email that SES builds."""
    pairs = [
        (text(required(one, "Name"), "Name"), text(required(one, "Value"), "Value")) for one in items(given, field)
    ]
    if len(pairs) > MAX_HEADERS:
        raise constraint(field, f"have length less than or equal to {MAX_HEADERS}")
    for name, value in pairs:
        _check_header(name, value, field)
    names = [name.lower() for name, _ in pairs]
    for name in HEADERS_ALLOWED_ONCE.intersection(names):
        if names.count(name) > 1:
            raise invalid(f"Header <{name}> may be given only once.")
    return tuple(pairs)


def check_headers_once(names: Iterable[str]) -> None:
    """Of a raw message; in the words that SES has for it through its API."""
    seen: set[str] = set()
    for name in names:
        if name.lower() in HEADERS_ONCE_IN_A_MESSAGE & seen:
            raise invalid(f"Duplicate header '{name}'.")
        seen.add(name.lower())


def _check_header(name: str, value: str, field: str) -> None:
    if not _HEADER_NAME.fullmatch(name):
        raise constraint(
            f"{field}.name", "have length between 1 and 126, and satisfy regular expression pattern: ^[!-9;-@A-~]+$"
        )
    if not _HEADER_VALUE.fullmatch(value):
        raise constraint(
            f"{field}.value", "have length between 1 and 995, and satisfy regular expression pattern: [ -~]*"
        )
    if len(name) + len(value) > 996:
        raise invalid(f"Header <{name}> is longer than 996 characters with its name.")
    if name.lower() in HEADERS_SES_WRITES:
        raise invalid(f"Header <{name}> is not allowed.")


def configuration_set_name(given: Any) -> str | None:
    """A configuration set's name, if one was given."""
    if given is None:
        return None
    return resource_name(given, "Configuration set name")


def resource_name(given: Any, field: str) -> str:
    """A name of something in the account."""
    value = text(given, field)
    if not _NAME.fullmatch(value):
        raise invalid(f"{field} <{value}> is not valid: only A-Z, a-z, 0-9, _ and -, at most 64 of them.")
    return value


def blob(given: Any, field: str) -> bytes:
    """Bytes in base64, as JSON carries them."""
    try:
        return base64.b64decode(text(given, field), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(f"{field} is not valid base64.") from error


def check_size(size_bytes: int, limit_bytes: int = MAX_EMAIL_BYTES) -> None:
    """Whether the whole email is small enough."""
    if size_bytes > limit_bytes:
        raise invalid(f"Message length is more than {limit_bytes} bytes long: '{size_bytes}'.")


def required(given: Any, name: str) -> Any:
    """A member that must be there."""
    value = mapping(given, name).get(name)
    if value is None:
        raise constraint(name[0].lower() + name[1:], "not be null")
    return value


def mapping(given: Any, field: str) -> Mapping[str, Any]:
    """A JSON object, or nothing at all."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise invalid(f"{field} must be an object.")
    return given


def items(given: Any, field: str) -> Iterable[Any]:
    """A JSON list, or nothing at all."""
    if given is None:
        return ()
    if not isinstance(given, list):
        raise invalid(f"{field} must be a list.")
    return given


def text(given: Any, field: str) -> str:
    """A JSON string."""
    if not isinstance(given, str):
        raise invalid(f"{field} must be a string.")
    return given


def up_to(letters: int, given: Any, field: str) -> str:
    """A JSON string of at most so many characters, none of them a line's end: it becomes part of a header."""
    value = text(given, field)
    if len(value) > letters:
        raise constraint(field[0].lower() + field[1:], f"have length less than or equal to {letters}")
    if "\r" in value or "\n" in value:
        raise invalid(f"{field} contains a line break.")
    return value


def json_value(given: str | bytes, field: str) -> Any:
    """What JSON says; half of a surrogate pair in it is no text, and nobody could be shown it."""
    try:
        value = json.loads(given)
        if _SURROGATE.search(given if isinstance(given, bytes) else given.encode()):
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise invalid(f"{field} is not valid JSON.") from error
    return value


def flag(given: Any, field: str) -> bool:
    """True or false."""
    if not isinstance(given, bool):
        raise invalid(f"{field} must be true or false.")
    return given


def one_of(given: Any, field: str, allowed: Sequence[str]) -> str:
    """A value of an enumeration."""
    value = text(given, field)
    if value not in allowed:
        raise constraint(field, f"satisfy enum value set: [{', '.join(allowed)}]")
    return value


def constraint(field: str, must: str) -> Refused:
    """A broken limit of the model, in the words that all AWS services use."""
    return invalid(f"1 validation error detected: Value at '{field}' failed to satisfy constraint: Member must {must}")
