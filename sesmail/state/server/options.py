"""What the options of a Redis' address can be: redis-py takes some nonsense, and fails with it when it connects."""

from __future__ import annotations

import math
import re
import ssl
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_SECONDS = 86_400.0

Rule: TypeAlias = "tuple[Callable[[str], bool], str]"
"""Whether a value can be meant, and what can be written."""


def wanted_instead(name: str, value: str) -> str:
    """What is to be written in place of an option's value; empty where it is well."""
    rule = _RULES.get(name)
    if rule is None or rule[0](value):
        return ""
    return rule[1]


def _is_whole(least: int) -> Callable[[str], bool]:
    return lambda text: text.isascii() and text.isdecimal() and len(text) < 10 and int(text) >= least


def _is_seconds(text: str) -> bool:
    try:
        seconds = float(text)
    except ValueError:
        return False
    return math.isfinite(seconds) and 0 < seconds <= LONGEST_SECONDS


def _is_one_of(*words: str) -> Callable[[str], bool]:
    return lambda text: text.lower() in words


def _is_name(text: str) -> bool:
    """As Redis wants it: https://redis.io/docs/latest/commands/client-setname/"""
    return bool(re.fullmatch(r"[!-~]+", text))


def _are_flags(text: str) -> bool:
    return all(flag.strip() in ssl.VerifyFlags.__members__ for flag in text.strip("[]").split(","))


_SECONDS: Rule = _is_seconds, "seconds, more than 0 and up to a day, such as 1.5"
_YES_OR_NO: Rule = _is_one_of("true", "false", "1", "0", "yes", "no", "y", "n", "t", "f", "on"), "true or false"
_NAME: Rule = _is_name, "a name without spaces"
_FLAGS: Rule = _are_flags, "names of Python's ssl.VerifyFlags with commas between, such as VERIFY_X509_STRICT"

_RULES: dict[str, Rule] = {
    "db": (_is_whole(0), "the number of a database, such as 0"),
    "socket_timeout": _SECONDS,
    "socket_connect_timeout": _SECONDS,
    "socket_read_size": (_is_whole(1), "bytes, such as 65536"),
    "socket_keepalive": _YES_OR_NO,
    "retry_on_timeout": _YES_OR_NO,
    "health_check_interval": (_is_whole(0), "whole seconds, such as 15, or 0 for none"),
    "max_connections": (_is_whole(0), "a whole number, such as 100, or 0 for as many as are needed"),
    "protocol": (_is_one_of("2", "3"), "2 or 3"),
    "client_name": _NAME,
    "lib_name": _NAME,
    "lib_version": _NAME,
    "decode_responses": _YES_OR_NO,
    "legacy_responses": _YES_OR_NO,
    "ssl_cert_reqs": (_is_one_of("none", "optional", "required"), "required, optional or none"),
    "ssl_check_hostname": _YES_OR_NO,
    "ssl_min_version": (_is_one_of("769", "770", "771", "772"), "771 for TLS 1.2, or 772 for TLS 1.3"),
    "ssl_include_verify_flags": _FLAGS,
    "ssl_exclude_verify_flags": _FLAGS,
    "ssl_validate_ocsp": (_is_one_of("true", "1", "yes"), "true"),
}
"""Of what is no text that could be anything."""
