"""The connection to Redis: bounded, so that who waits for it learns soon that it is away."""

from __future__ import annotations

import importlib
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.backoff import ConstantBackoff, NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.credentials import CredentialProvider
from redis.exceptions import MasterDownError, ReadOnlyError, ResponseError
from redis.retry import Retry

from sesmail.errors import ConfigurationError
from sesmail.state.server.address import SAID_AS, Address, Kind, read_address
from sesmail.state.server.masters import Finder, OwnerConnection, OwnerSSLConnection, Sentinels, SlotOwner
from sesmail.state.server.trouble import SAID_AS_ATTRIBUTE

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_TIMEOUT_SECONDS = 0.3
"""With one retry, an unreachable Redis is reported within a second."""


def connect(
    address: str | Address,
    *,
    timeout_seconds: float,
    connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    key: str = "{sesmail}:",
    finders: dict[str, Finder] | None = None,
) -> Redis:
    """A client whose answers are bytes; one command, or its one repetition, takes `timeout_seconds` at most.

    Of a cluster, it is that of the node which has `key`, and with it all keys with its hash tag. Clients that share
    `finders` leave a master that is none any more together.
    Raises `ConfigurationError` for an address that is none. Nothing is connected to yet.
    """
    if isinstance(address, str):
        address = read_address(address)
    options: dict[str, Any] = {
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": connect_timeout_seconds,
        "health_check_interval": 15,
        "retry": Retry(ConstantBackoff(0.05), 1),
        # After a failover behind a stable name, a connection that is kept leads to the old master, now a replica, for
        # ever: https://github.com/redis/redis-py/issues/1764. With these the client drops it and asks once more.
        "retry_on_error": [ReadOnlyError, MasterDownError],
        "redis_connect_func": _greet,
        **address.options,
    }
    if "path" not in options:  # refused for those
        options["socket_keepalive"] = True
    if address.is_encrypted:
        _check_files(address)
    if address.credentials:
        options["credential_provider"] = _credentials(address)
    if address.kind is Kind.ONE:
        pool = _pool(address, options)
    else:
        known = {} if finders is None else finders
        if str(address) not in known:
            known[str(address)] = _finder(address, options, key)
        pool = known[str(address)].pool(**_by(address), **options)
    client = Redis.from_pool(pool)
    setattr(client, SAID_AS_ATTRIBUTE, address.said_as)
    return client


def _check_files(address: Address) -> None:
    """That TLS can be spoken with what the address names, as redis-py will load it. Raises `ConfigurationError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    named = {name: value for name, value in address.options.items() if name.startswith("ssl_")}
    authorities = [named.get(f"ssl_ca_{kind}") for kind in ("certs", "path", "data")]
    try:
        if "ssl_certfile" in named or "ssl_keyfile" in named:
            context.load_cert_chain(named["ssl_certfile"], named.get("ssl_keyfile"), named.get("ssl_password"))
        if any(authorities):
            context.load_verify_locations(*authorities)
        if "ssl_ciphers" in named:
            context.set_ciphers(named["ssl_ciphers"])
    except (OSError, KeyError) as error:
        said = "ssl_keyfile without ssl_certfile" if isinstance(error, KeyError) else error.strerror or str(error)
        raise ConfigurationError(
            f"The address of a Redis ({address.said_as or SAID_AS}) names for TLS what cannot be used ({said}). "
            "Nothing was done. Are the files of ssl_ca_certs, ssl_certfile and ssl_keyfile there, in PEM, readable for "
            "this process and of one pair, and is ssl_ciphers spelt as OpenSSL does?"
        ) from error


def _pool(address: Address, options: Mapping[str, Any]) -> ConnectionPool:
    if "path" in options:
        return ConnectionPool(connection_class=UnixDomainSocketConnection, **options)
    host, port = address.hosts[0]
    by = SSLConnection if address.is_encrypted else Connection
    return ConnectionPool(host=host, port=port, connection_class=by, **options)


def _finder(address: Address, options: Mapping[str, Any], key: str) -> Finder:
    """Who tells where the master is; each is asked once, as there are others to ask."""
    once = {"retry": Retry(NoBackoff(), 0)}
    if address.kind is Kind.SENTINEL:
        bounds = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), options["socket_connect_timeout"])
        return Sentinels(address.hosts, address.master_name, {**bounds, **address.sentinel_options, **once})
    kept = {name: value for name, value in options.items() if name not in ("db", "retry_on_error")}
    bounds = {"socket_timeout": options["socket_connect_timeout"]}
    return SlotOwner(address.hosts, key, {**kept, **bounds, **once, "ssl": address.is_encrypted})


def _by(address: Address) -> dict[str, Any]:
    if address.kind is Kind.SENTINEL:
        return {"ssl": address.is_encrypted}
    return {"connection_class": OwnerSSLConnection if address.is_encrypted else OwnerConnection}


def shown(url: str, *, master_name: str = "", said_as: str = SAID_AS) -> str:
    """An address without user and password: `redis://127.0.0.1:6379/5`. Raises `ConfigurationError`."""
    return str(read_address(url, master_name=master_name, said_as=said_as))


def _greet(connection: Any) -> None:
    """What redis-py does once connected, bounded as connecting is: a server that takes the call may yet say nothing.

    Our name is for those who look at `CLIENT LIST`, and no matter to a user who may not give one.
    """
    connection._sock.settimeout(connection.socket_connect_timeout)  # noqa: SLF001  it has no other way
    connection.on_connect_check_health(check_health=False)  # the check would connect anew, and so on
    with suppress(ResponseError):
        connection.send_command("CLIENT", "SETNAME", "sesmail", check_health=False)
        connection.read_response()
    connection._sock.settimeout(connection.socket_timeout)  # noqa: SLF001


def _credentials(address: Address) -> CredentialProvider:
    """Who tells user and password whenever a connection is made: tokens of IAM last for minutes.

    https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html
    """
    if not address.is_encrypted and "path" not in address.options:
        raise ConfigurationError(
            "SESMAIL_REDIS_CREDENTIALS would be sent to a Redis without TLS, for anybody to read. Nothing was done. "
            "Write the address as rediss://HOST:6379/0 (or rediss+sentinel://, rediss+cluster://)."
        )
    if "username" in address.options or "password" in address.options:
        raise ConfigurationError(
            "The address of the Redis has a user or password, and SESMAIL_REDIS_CREDENTIALS tells another. Nothing was "
            "done. Leave it away in the address."
        )
    return credentials_of(address.credentials)


def credentials_of(path: str) -> CredentialProvider:
    """The object at `package.module.name`, or `package.module:name`; a class or function there is called for it.

    Raises `ConfigurationError`.
    """
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
        made = found if isinstance(found, CredentialProvider) else found()
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise _no_credentials(path, f"{type(error).__name__}: {error}") from error
    if not isinstance(made, CredentialProvider):
        raise _no_credentials(path, f"it is of type {type(made).__name__}")
    return made


def _no_credentials(path: str, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"SESMAIL_REDIS_CREDENTIALS names {path}, which is no redis.CredentialProvider, nor makes one without "
        f"arguments ({problem}). Nothing was done. Mend the setting."
    )
