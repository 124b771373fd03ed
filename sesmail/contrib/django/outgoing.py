"""What a message of Django's says, as emails that SES takes; what only SES may set is left out.

Beyond `Email.from_message`, which refuses what it cannot carry, this mends what Django's other backends take: many
readers in `bcc` become several emails, and a header that SES would not take is left out with a line of the log.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Mapping
from inspect import signature
from typing import Any

from sesmail.errors import InvalidEmail
from sesmail.message import Email
from sesmail.message.addresses import MAX_RECIPIENTS, normal_address_of
from sesmail.message.from_message import arguments_of
from sesmail.message.hints import checked_arguments
from sesmail.message.text import kind_of

log = logging.getLogger("sesmail")

DJANGOS_OWN_SENDERS = frozenset({"webmaster@localhost", "root@localhost"})
"""What DEFAULT_FROM_EMAIL and SERVER_EMAIL are where nobody has set them: no address that SES could send from."""

OWN_ARGUMENTS = "sesmail"
"""The attribute of a message that holds further arguments of `Email`: `message.sesmail = {"lane": "bulk"}`."""

_EMAIL = signature(Email)
_SAID_BY_RECIPIENTS = "SES writes it from the recipients"
_BY_THE_IDENTITY = "what its identity is allowed is said at SES"
_LEFT_OUT = {
    "to": _SAID_BY_RECIPIENTS,
    "cc": _SAID_BY_RECIPIENTS,
    "bcc": "nobody is to read it",
    "message-id": "SES gives it one",
    "date": "SES writes the time at which it takes it",
    "mime-version": "SES writes it",
    "content-type": "it is written from the parts",
    "content-transfer-encoding": "it is written from the parts",
    "content-disposition": "it is written from the parts",
    "subject": "the message has a subject",
    "return-path": "SES writes it, by the MAIL FROM domain of the identity",
    "x-sesmail-id": "it is the id of the send",
    "x-ses-source-arn": _BY_THE_IDENTITY,
    "x-ses-from-arn": _BY_THE_IDENTITY,
    "x-ses-return-path-arn": _BY_THE_IDENTITY,
}
"""Headers that Django's sites set and SES does not take as one's own, with the reason."""

_CONFIGURATION_SET = "x-ses-configuration-set"
_MESSAGE_TAGS = "x-ses-message-tags"
_TRACKING = ("track_clicks", "track_opens")
_NO_TAG = re.compile(r"[^A-Za-z0-9_-]")
_told: set[str] = set()


def emails_of(message: Any, options: Mapping[str, Any]) -> list[Email]:
    """The emails that say what a message says: one, or several where `bcc` has more readers than fit into one.

    `options` are arguments of `Email` for all of a backend's messages; the message's own go before them.
    Raises `InvalidEmail`.
    """
    given = copy.copy(message)
    given.extra_headers, said = _sorted_headers(message.extra_headers)
    given.from_email = _sender(message.from_email)
    for name in _TRACKING:
        _leave_out_tracking(given, name)
    arguments = arguments_of(given)
    own = getattr(message, OWN_ARGUMENTS, None) or {}
    if not isinstance(own, Mapping):
        raise InvalidEmail(OWN_ARGUMENTS, f"is {kind_of(own)}, not a mapping of an email's arguments")
    checked_arguments(_EMAIL, (), {"to": None, "subject": None, **own})
    found = {**options, **said, **arguments, **own}
    found["tags"] = _merged(*(each.get("tags") for each in (options, said, arguments, own)))
    return [Email(**each) for each in _split(found)]


def _sender(from_email: Any) -> str | None:
    """None, which the settings complete, for what Django says where nobody has set it."""
    return None if str(from_email or "").strip() in {"", *DJANGOS_OWN_SENDERS} else from_email


def _sorted_headers(headers: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those that the email keeps, and the arguments that SES's own headers stand for."""
    kept: dict[str, Any] = {}
    said: dict[str, Any] = {}
    for name, value in headers.items():
        lower = str(name).lower()
        if lower == _CONFIGURATION_SET:
            said["configuration_set"] = str(value).strip() or None
        elif lower == _MESSAGE_TAGS:
            said["tags"] = _tags_of_header(str(value))
        elif lower in _LEFT_OUT:
            _tell(name, _LEFT_OUT[lower])
        elif value is None or not str(value).strip():
            _tell(name, "it is empty")
        else:
            kept[name] = value
    return kept, {name: value for name, value in said.items() if value}


def _tags_of_header(text: str) -> dict[str, str]:
    """`campaign=spring, kind=news`: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-send-email.html"""
    pairs = (each.partition("=") for each in re.split("[,;]", text) if each.strip())
    return {name.strip(): value.strip() or "1" for name, _, value in pairs}


def _leave_out_tracking(message: Any, name: str) -> None:
    """anymail's: SES tracks what a configuration set says, for all of its emails."""
    if isinstance(getattr(message, name, None), bool):
        setattr(message, name, None)
        _tell(name, "a configuration set says what SES tracks")


def _merged(*tags: Any) -> dict[str, Any]:
    """All tags, later ones before earlier; what is no letter, digit, _ or - in a name becomes one."""
    merged: dict[str, Any] = {}
    for each in tags:
        if each:
            merged |= each if isinstance(each, Mapping) else {_NO_TAG.sub("_", str(name)): "1" for name in each}
    return merged


def _split(arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """One email, or several where `bcc` does not fit: those readers see each other in none.

    Readers in `to` and `cc` are in the first; they see each other, so they must fit into it.
    """
    seen = len(arguments["to"]) + len(arguments["cc"])
    if seen + len(arguments["bcc"]) <= MAX_RECIPIENTS or seen > MAX_RECIPIENTS:
        return [arguments]
    shown = {normal_address_of(name, each) for name in ("to", "cc") for each in arguments[name]}
    by_address = {
        normal_address_of("bcc", each): each for each in reversed(arguments["bcc"])
    }  # the first spelling stays
    hidden = [each for address, each in reversed(by_address.items()) if address not in shown]
    room = MAX_RECIPIENTS - seen
    first = arguments | {"bcc": hidden[:room]}
    rest = [hidden[start : start + MAX_RECIPIENTS] for start in range(room, len(hidden), MAX_RECIPIENTS)]
    if rest and arguments.get("idempotency_key"):
        raise InvalidEmail("idempotency_key", "stands for one email, and so many readers need several")
    return [first, *(arguments | {"to": [], "cc": [], "bcc": each} for each in rest)]


def _tell(name: str, why: str) -> None:
    """Once in a process: each message of a site has the same ones."""
    if name not in _told:
        _told.add(name)
        log.info("%s of a Django message is left out, here and from now on: %s.", name, why)
