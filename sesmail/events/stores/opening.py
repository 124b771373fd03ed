"""Opens the event store that the settings name. Each kind is loaded when it is the one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from sesmail.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sesmail.events.stores import EventStore
    from sesmail.settings import Settings
    from sesmail.state.scripts import Scripts


def open_store(settings: Settings, scripts_at: Callable[[str], Scripts]) -> EventStore:
    """Where events are kept. `scripts_at` runs scripts on the Redis at a URL.

    Raises `ConfigurationError` for a store that there is not.
    """
    url = settings.event_store or settings.redis_url
    match url.partition("://")[0].partition("+")[0].lower():
        case "redis" | "rediss" | "unix" | "sentinel":
            return _redis_store(settings, scripts_at(url))
        case "sqlite":
            _check_place(url)
            return _sql_store(url)
        case "postgresql":
            return _sql_store(url)
        case "dynamodb":
            return _dynamodb_store(url, settings.event_retention_seconds)
    raise ConfigurationError(
        "Events cannot be kept at the SESMAIL_EVENT_STORE that is set: it begins with none of redis, sqlite, "
        "postgresql and dynamodb. None are accepted until it is mended; AWS tries again."
    )


def _check_place(url: str) -> None:
    """Doors and workers run in folders of their own: a relative path would give each a database of its own."""
    path = url.partition("://")[2].partition("?")[0]
    if not path.startswith("//"):
        name = path.lstrip("/")
        place = Path(name if name and name != ":memory:" else "events.db").absolute()
        raise ConfigurationError(
            f"SESMAIL_EVENT_STORE names an SQLite database by a relative path ({name or 'in memory'}): a door and a "
            "worker in other folders would each have one of their own, and events would be lost between them. None "
            f"are accepted until it is mended. Write all of the path, such as sqlite:///{place}."
        )


def _redis_store(settings: Settings, scripts: Scripts) -> EventStore:
    from sesmail.events.stores.redis import RedisEventStore  # noqa: PLC0415  who has another store needs none of it

    return RedisEventStore(
        scripts, most_events=settings.max_stored_events, retention_seconds=settings.event_retention_seconds
    )


def _sql_store(url: str) -> EventStore:
    from sesmail.events.stores.sql import SqlEventStore  # noqa: PLC0415  needs the extra `sql`

    store = SqlEventStore(url)
    store.create_table()
    return store


def _dynamodb_store(url: str, retention_seconds: float) -> EventStore:
    import boto3  # noqa: PLC0415  costs half a second: only who talks to AWS pays

    from sesmail.events.stores.dynamodb import WRITE_CONFIG, DynamoDbEventStore  # noqa: PLC0415

    place = urlsplit(url)
    options = dict(parse_qsl(place.query))
    client = boto3.client(
        "dynamodb",
        region_name=options.get("region"),
        config=WRITE_CONFIG,
        endpoint_url=options.get("endpoint_url"),
    )
    return DynamoDbEventStore(client, place.netloc, retention_seconds=retention_seconds)
