"""One Redis as kombu writes its address, and as redis-py does."""

from __future__ import annotations

from typing import Any

_REDIS = ("redis://", "rediss://", "unix://")


def redis_of_broker(broker: Any) -> str | None:
    """The address of a broker, or of the first of several, where it is a Redis that can keep the ledger, too."""
    first = broker[0] if isinstance(broker, list | tuple) and broker else broker
    url = str(first or "").partition(";")[0]
    if url.startswith("redis+socket://"):
        url = url.replace("redis+socket", "unix", 1).replace("virtual_host=", "db=")
    return url if url.startswith(_REDIS) else None


def broker_of_redis(url: str) -> str:
    """The broker that is this Redis."""
    return url.replace("unix", "redis+socket", 1).replace("db=", "virtual_host=") if url.startswith("unix://") else url
