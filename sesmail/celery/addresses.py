"""One Redis as kombu writes its address, and as sesmail does."""

from __future__ import annotations

from contextlib import suppress
from ssl import CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

from sesmail.errors import ConfigurationError
from sesmail.state.server.address import SAID_AS, Kind, read_address
from sesmail.state.server.connection import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from celery import Celery

_REDIS = ("redis", "rediss", "unix")
_OF_TLS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_CERTIFICATES = {CERT_NONE: "none", CERT_OPTIONAL: "optional", CERT_REQUIRED: "required"}


def redis_of_broker(broker: Any, use_ssl: Any = None, transport_options: Mapping[str, Any] | None = None) -> str | None:
    """The address of a broker, or of the first of several, where it is a Redis that can keep the ledger, too.

    `use_ssl` is Celery's `broker_use_ssl`, which counts for the ledger, too, and `transport_options` are Celery's
    `broker_transport_options`, which name the group that Sentinels watch.
    https://docs.celeryq.dev/en/stable/userguide/configuration.html#broker-use-ssl
    """
    said = broker if isinstance(broker, list | tuple) else [broker]
    several = [part.strip() for each in said for part in str(each or "").split(";") if part.strip()]
    first = several[0] if several else ""
    scheme, _, rest = first.partition("://")
    scheme = scheme.lower()
    if scheme == "sentinel":
        sentinels = [one for one in several if "://" not in one or one.lower().startswith("sentinel://")]
        return _sentinels(sentinels, use_ssl, transport_options or {})
    if scheme == "redis+socket":
        scheme, rest = "unix", rest.replace("virtual_host=", "db=")
    if scheme not in _REDIS:
        return None
    if not use_ssl or not isinstance(use_ssl, dict) or scheme == "unix":  # kombu makes nothing of True
        return f"{scheme}://{rest}"
    place, _, query = rest.partition("?")
    return f"rediss://{place}?{urlencode(dict(parse_qsl(query)) | _of_tls(use_ssl), safe='/')}"


def place_of(app: Celery) -> str:
    """Where an app's tickets go, without user and password."""
    conf = app.conf
    with suppress(ConfigurationError):
        options = conf.broker_transport_options or {}
        if url := redis_of_broker(conf.broker_write_url or conf.broker_url, conf.broker_use_ssl, options):
            return shown(url)
    return str(app.connection_for_write().as_uri()).partition("?")[0].rstrip("/")


def _of_tls(said: Mapping[str, Any]) -> dict[str, str]:
    return {name: _CERTIFICATES.get(said[name], said[name]) for name in _OF_TLS if said.get(name) is not None}


def _sentinels(addresses: list[str], use_ssl: Any, transport_options: Mapping[str, Any]) -> str:
    """Celery says what the Sentinels are asked for, and how, beside their addresses."""
    is_encrypted = bool(use_ssl) and isinstance(use_ssl, dict)
    of_sentinels = dict(transport_options.get("sentinel_kwargs") or {})
    query = _of_tls(use_ssl) if is_encrypted else {}
    query["sentinel_ssl"] = str(bool(of_sentinels.pop("ssl", False))).lower()
    query |= {f"sentinel_{name}": value for name, value in {**of_sentinels, **_of_tls(of_sentinels)}.items()}
    if name := transport_options.get("master_name"):
        query["master_name"] = name
    first, *others = addresses
    place = first.partition("://")[2]
    scheme = "rediss+sentinel" if is_encrypted else "sentinel"
    separator = "&" if "?" in place else "?"
    return ";".join([f"{scheme}://{place}{separator}{urlencode(query, safe='/')}", *others])


def celery_of_redis(
    url: str, *, master_name: str = "", credentials: str = "", said_as: str = SAID_AS
) -> dict[str, Any]:
    """Celery's settings for a broker that is this Redis. Raises `ConfigurationError` where none can be."""
    scheme = url.partition("://")[0].lower()
    told = f"{'&' if '?' in url else '?'}{urlencode({'credential_provider': credentials})}" if credentials else ""
    if scheme == "unix":
        return {"broker_url": url.replace("unix", "redis+socket", 1).replace("db=", "virtual_host=") + told}
    if scheme in _REDIS or "://" not in url:
        return {"broker_url": url + told}
    address = read_address(url, master_name=master_name, said_as=said_as)
    if address.kind is Kind.CLUSTER:
        raise ConfigurationError(
            "A cluster of Redis holds the ledger, and Celery cannot have one as its broker, so no ticket could be "
            "issued. Nothing was done. Name another broker in CELERY_BROKER_URL: RabbitMQ, SQS, or a single Redis."
        )
    place = f"{_user(address.options)}{{}}/{address.options.get('db', 0)}{told}"
    settings: dict[str, Any] = {
        "broker_url": ";".join(f"sentinel://{place.format(host)}" for host in address.named_hosts),
        "broker_transport_options": {
            "master_name": address.master_name,
            "sentinel_kwargs": {"socket_timeout": 4, **address.sentinel_options},
        },
    }
    if address.is_encrypted:
        of_tls = {name: address.options[name] for name in _OF_TLS if name in address.options}
        settings["broker_use_ssl"] = {"ssl_cert_reqs": "required", **of_tls}
    return settings


def _user(options: Mapping[str, Any]) -> str:
    if "password" not in options:
        return ""
    return f"{quote(options.get('username', ''), safe='')}:{quote(options['password'], safe='')}@"
