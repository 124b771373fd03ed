"""Where a Redis is, as people write it: one server, a group that Sentinels watch, or a cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from inspect import signature
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from redis.connection import URL_QUERY_ARGUMENT_PARSERS, SSLConnection, parse_url

from sesmail.errors import ConfigurationError
from sesmail.state.server.options import wanted_instead


class Kind(StrEnum):
    """How the server is found that takes the writes."""

    ONE = "one"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


_SCHEMES = {
    "redis": (Kind.ONE, "redis"),
    "rediss": (Kind.ONE, "rediss"),
    "unix": (Kind.ONE, "unix"),
    "sentinel": (Kind.SENTINEL, "redis"),  # Celery's
    "redis+sentinel": (Kind.SENTINEL, "redis"),
    "rediss+sentinel": (Kind.SENTINEL, "rediss"),
    "redis+cluster": (Kind.CLUSTER, "redis"),
    "rediss+cluster": (Kind.CLUSTER, "rediss"),
}
SAID_AS = "SESMAIL_REDIS_URL, SESMAIL_EVENT_STORE or the broker's"
"""Where an address may come from, for who is not told."""
_PORTS = {Kind.ONE: 6379, Kind.SENTINEL: 26379, Kind.CLUSTER: 6379}
_CERTIFICATES = re.compile(r"(?<=ssl_cert_reqs=)CERT_(NONE|OPTIONAL|REQUIRED)\b")
_OF_TLS = "ssl_"
_OF_SENTINELS = "sentinel_"
_TEXTS = {"username", "password", "client_name", "lib_name", "lib_version"}
_ANSWERS = {"decode_responses", "encoding", "encoding_errors", "legacy_responses"}
"""How redis-py is to give answers: for a program's own client of the same address. To us they are bytes."""
_OPTIONS = {name for name in (*_TEXTS, *_ANSWERS, *URL_QUERY_ARGUMENT_PARSERS) if not name.startswith(_OF_TLS)}
_OPTIONS -= {"timeout", "retry_on_error"}  # of pools that we do not use; errors cannot be named in a text
"""What an address may say behind its question mark."""
_TLS_OPTIONS = {name for name in signature(SSLConnection.__init__).parameters if name.startswith(_OF_TLS)}
_TLS_OPTIONS -= {"ssl_ocsp_context", "ssl_ocsp_expected_cert", "ssl_validate_ocsp_stapled"}  # they need objects
"""The same, where it speaks TLS."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """A Redis that can hold a ledger. Nothing of it is shown but what `__str__` says: it may hold passwords."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    """Of the server, of the Sentinels, or of some nodes of the cluster."""
    is_encrypted: bool
    options: dict[str, Any] = field(repr=False)
    """What redis-py needs to connect to the server: user, password, database, what concerns TLS."""
    master_name: str = ""
    """What the Sentinels call the group."""
    sentinel_options: dict[str, Any] = field(repr=False, default_factory=dict)
    """What redis-py needs to connect to a Sentinel."""
    credentials: str = ""
    """Where in Python it is told who connects: see `sesmail.state.server.connection.credentials_of`."""
    said_as: str = field(compare=False, default="")
    """The setting that says it, for people."""

    @property
    def named_hosts(self) -> list[str]:
        """Each as it stands in an address: `HOST:PORT`."""
        return [f"{f'[{host}]' if ':' in host else host}:{port}" for host, port in self.hosts]

    def __str__(self) -> str:
        """Without user and password: `redis://127.0.0.1:6379/5`."""
        database = self.options.get("db", 0)
        if "path" in self.options:
            return f"unix://{self.options['path']}?db={database}"
        hosts = ",".join(self.named_hosts)
        scheme = "rediss" if self.is_encrypted else "redis"
        if self.kind is Kind.CLUSTER:
            return f"{scheme}+cluster://{hosts}"
        if self.kind is Kind.SENTINEL:
            return f"{scheme}+sentinel://{hosts}/{database}?master_name={self.master_name}"
        return f"{scheme}://{hosts}/{database}"


class _Wrong(Exception):
    """What is wrong with an address, and what to write."""


def read_address(url: str, *, master_name: str = "", said_as: str = SAID_AS) -> Address:
    """What an address says; `master_name` is the Sentinels' where it says none. Raises `ConfigurationError`.

    What redis-py would overlook is refused, too: with it, another database would be used than is meant. `said_as` names
    the setting for people.
    """
    if not url:  # and not 127.0.0.1: what waits there may be email of somebody else
        raise ConfigurationError(
            "No Redis is named for the ledger, and Celery's broker (`broker_url`) is none that could hold it. Nothing "
            "was done. Set SESMAIL_REDIS_URL, such as redis://HOST:6379/0, in the environment or as a setting, alike "
            "for the application, its workers and the commands."
        )
    try:
        address = _read(url, master_name)
    except _Wrong as wrong:
        raise ConfigurationError(f"The address of a Redis ({said_as}) {wrong}") from None
    except (ValueError, KeyError):  # its words may hold a part of a password
        raise ConfigurationError(f"The address of a Redis ({said_as}) {_no_address(url)}") from None
    if address.kind is Kind.SENTINEL and not address.master_name:
        raise ConfigurationError(
            "The address of the Redis names Sentinels, but not the group that they watch. Nothing was done. Say what "
            'they call it: sentinel://HOST:26379/0?master_name=NAME, SESMAIL_REDIS_MASTER_NAME, or "master_name" in '
            "Celery's broker_transport_options."
        )
    if address.kind is Kind.CLUSTER and address.options.get("db", 0):
        raise ConfigurationError(
            "The address of the Redis names a cluster and a database, but a cluster has the database 0 alone. Nothing "
            "was done. Leave the number away; SESMAIL_KEY_PREFIX keeps several installations apart."
        )
    return replace(address, said_as="" if said_as == SAID_AS else said_as)


def _read(url: str, master_name: str) -> Address:
    scheme = url.partition("://")[0].lower()
    kind, spelt = _SCHEMES[scheme]
    user, hosts, path, query = _parts_of_one(url) if kind is Kind.ONE else _parts_of_several(url)
    if scheme != "unix" and not _is_number(path):
        raise ValueError("an odd character in the password")
    sentinel = {name: query.pop(name) for name in list(query) if name.startswith(_OF_SENTINELS)}
    master_name = query.pop("master_name", "") or master_name
    credentials = query.pop("credential_provider", "")  # kombu's word
    is_encrypted = spelt == "rediss"
    for name, value in query.items():
        _check(name, value, is_encrypted=is_encrypted)
    for name, value in sentinel.items():
        _check_of_sentinels(name, value)
    asked = {name: value for name, value in query.items() if name not in _ANSWERS}
    options = _options(spelt, f"{user}{hosts[0]}", path, asked)
    return Address(
        kind=kind,
        hosts=tuple(_host_and_port(host, kind) for host in hosts) if scheme != "unix" else (),
        is_encrypted=is_encrypted,
        options=options,
        master_name=master_name,
        sentinel_options=_sentinel_options(sentinel, options, is_encrypted=is_encrypted),
        credentials=credentials,
    )


def _parts_of_one(url: str) -> tuple[str, list[str], str, dict[str, str]]:
    place = _split(url)
    user, at, host = place.netloc.rpartition("@")
    return f"{user}{at}", [host], place.path, _query(place.query)


def _parts_of_several(url: str) -> tuple[str, list[str], str, dict[str, str]]:
    """Hosts by commas, as libraries write them, or whole addresses by semicolons, as Celery does; said once is said."""
    users, hosts, paths = [], [], []
    query: dict[str, str] = {}
    for text in filter(None, map(str.strip, url.split(";"))):
        one = _split(text if "://" in text else f"//{text}")
        user, at, named = one.netloc.rpartition("@")
        users.append(f"{user}{at}")
        hosts += named.split(",")
        paths.append(one.path.rstrip("/"))
        query |= _query(one.query)
    said_users, said_paths = set(filter(None, users)), set(filter(None, paths))
    if len(said_users) > 1 or len(said_paths) > 1:
        raise ValueError("they do not agree")
    return "".join(said_users), hosts, "".join(said_paths), query


def _split(text: str) -> SplitResult:
    before, apart, rest = text.partition("//")
    hosts = re.split("[/?#]", rest, maxsplit=1)[0]
    # Newer Pythons refuse a place that is several, where one of them stands in brackets.
    place = urlsplit(f"{before}{apart}{'place' if hosts else ''}{rest[len(hosts) :]}")._replace(netloc=hosts)
    if place.fragment or "@" in f"{place.path}{place.query}":
        raise ValueError("an odd character in the password")
    return place


def _query(text: str) -> dict[str, str]:
    """As redis-py reads it: Celery has `CERT_NONE` where that has `none`."""
    return dict(parse_qsl(_CERTIFICATES.sub(lambda found: found[1].lower(), text)))


def _is_number(path: str) -> bool:
    number = path.strip("/")
    return number.isdecimal() or not number


def _host_and_port(text: str, kind: Kind) -> tuple[str, int]:
    place = urlsplit(f"//{text}")
    return place.hostname or "localhost", place.port or _PORTS[kind]


def _options(scheme: str, place: str, path: str, query: dict[str, str]) -> dict[str, Any]:
    """By redis-py's own reading, which knows the types of what it is told."""
    url = f"{scheme}://{place}{path}" + (f"?{urlencode(query)}" if query else "")
    read: dict[str, Any] = dict(parse_url(url))  # type: ignore[no-untyped-call]  # of redis-py
    return {name: value for name, value in read.items() if name not in ("host", "port", "connection_class")}


def _sentinel_options(said: dict[str, str], of_server: dict[str, Any], *, is_encrypted: bool) -> dict[str, Any]:
    """Encrypted as the server is, unless `sentinel_ssl=false`; a user and password are for who has them alone."""
    names = {name.removeprefix(_OF_SENTINELS): value for name, value in said.items()}
    is_encrypted = _is_true(names.pop("ssl", str(is_encrypted)))
    options = _options("redis", "localhost", "", names)
    if not is_encrypted:
        return options
    return {"ssl": True, **{name: of_server[name] for name in of_server if name.startswith(_OF_TLS)}, **options}


def _is_true(text: str) -> bool:
    return text.lower() in ("1", "true", "yes", "on")


def _check(name: str, value: str, *, is_encrypted: bool, prefix: str = "") -> None:
    """Whether a connection can have this option, and whether it can be so. Raises `ConfigurationError`."""
    known = _TLS_OPTIONS if is_encrypted and name.startswith(_OF_TLS) else _OPTIONS
    if name not in known:
        raise _no_option(f"{prefix}{name}")
    if wanted := wanted_instead(name, value):
        raise _no_value(f"{prefix}{name}", value, wanted)


def _check_of_sentinels(name: str, value: str) -> None:
    of_server = name.removeprefix(_OF_SENTINELS)
    _check("socket_keepalive" if of_server == "ssl" else of_server, value, is_encrypted=True, prefix=_OF_SENTINELS)


def _no_value(name: str, value: str, wanted: str) -> _Wrong:
    told = value if re.fullmatch(r"[\w.+-]{1,40}", value) else "what stands there"  # which may be more than was meant
    return _Wrong(f"has an option that cannot be so: {name}={told}. Nothing was done. Write {wanted}, or leave it out.")


def _no_option(name: str) -> _Wrong:
    told = name if re.fullmatch(r"[A-Za-z_]{1,40}", name) else "one"
    wanted = "Leave it out. "
    if name in _TLS_OPTIONS:
        wanted = "It is for TLS: write rediss:// in front, or leave it out. "
    return _Wrong(
        f"has an option that a connection to it cannot have: {told}. Nothing was done. {wanted}Options are "
        "those of redis-py's URLs, such as db, socket_timeout, health_check_interval and, with TLS, ssl_cert_reqs."
    )


def _no_address(url: str) -> str:
    """Of the address itself, only its scheme is repeated: anything else may be a part of a password."""
    scheme, separator, _ = url.partition("://")
    told = "It has no redis:// in front. "
    if scheme in _SCHEMES:
        told = ""
    elif separator and re.fullmatch(r"[a-z][a-z0-9+.-]{0,19}", scheme):
        told = f"It begins with {scheme}://. "
    return (
        f"is not written as one. Nothing was done. {told}Write it like redis://HOST:6379/0, "
        "rediss://USER:PASSWORD@HOST:6379/0, unix:///run/redis.sock?db=0, "
        "sentinel://HOST:26379,HOST:26379/0?master_name=NAME or redis+cluster://HOST:6379,HOST:6379; "
        "in a password, / is written %2F, @ is %40, ? is %3F, # is %23."
    )
