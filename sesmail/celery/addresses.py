"""One Redis as kombu writes its address, and as redis-py does."""

from __future__ import annotations

from ssl import CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED
from typing import Any
from urllib.parse import parse_qsl, urlencode

_REDIS = ("redis", "rediss", "unix")
_OF_TLS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_CERTIFICATES = {CERT_NONE: "none", CERT_OPTIONAL: "optional", CERT_REQUIRED: "required"}


def redis_of_broker(broker: Any, use_ssl: Any = None) -> str | None:
    """The address of a broker, or of the first of several, where it is a Redis that can keep the ledger, too.

    `use_ssl` is Celery's `broker_use_ssl`. It counts for the ledger, too:
    https://docs.celeryq.dev/en/stable/userguide/configuration.html#broker-use-ssl
    """
    first = broker[0] if isinstance(broker, list | tuple) and broker else broker
    scheme, _, rest = str(first or "").partition(";")[0].strip().partition("://")
    scheme = scheme.lower()
    if scheme == "redis+socket":
        scheme, rest = "unix", rest.replace("virtual_host=", "db=")
    if scheme not in _REDIS:
        return None
    if not use_ssl or not isinstance(use_ssl, dict) or scheme == "unix":  # kombu makes nothing of True
        return f"{scheme}://{rest}"
    place, _, query = rest.partition("?")
    said = {name: _CERTIFICATES.get(use_ssl[name], use_ssl[name]) for name in _OF_TLS if use_ssl.get(name) is not None}
    return f"rediss://{place}?{urlencode(dict(parse_qsl(query)) | said, safe='/')}"


def broker_of_redis(url: str) -> str:
    """The broker that is this Redis."""
    return url.replace("unix", "redis+socket", 1).replace("db=", "virtual_host=") if url.startswith("unix://") else url
