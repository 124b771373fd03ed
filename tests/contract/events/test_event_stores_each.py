"""What is particular to one store: its bounds, its durability, and how it fails."""

from __future__ import annotations

import logging
import os
import socket
from uuid import uuid4

import pytest
import sqlalchemy as sa
from botocore.config import Config
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from sesmail.errors import ConfigurationError, EventStoreUnavailable
from sesmail.events.stores import EventState, StoredEvent
from sesmail.events.stores.dynamodb import DynamoDbEventStore
from sesmail.events.stores.redis import RedisEventStore
from sesmail.events.stores.sql import SqlEventStore
from sesmail.state.keys import CATALOGUE, Keys
from sesmail.state.scripts import Scripts
from tests.contract.events.conftest import POSTGRES

NOW = 1_700_000_000.0


def event(number: int = 0, **fields) -> StoredEvent:
    return StoredEvent(
        **{"event_id": f"event-{number}", "source": "alpha", "message": "{}", "received_at": NOW + number, **fields}
    )


def gather(store, limit=100):
    return store.gather("alpha", limit=limit, lease_seconds=60, now=NOW + 1000)


# -- every store when it is away


@pytest.fixture
def dead_port():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


@pytest.fixture(params=["redis", "sqlite", "postgresql", "dynamodb"])
def dead_store(request, dead_port, tmp_path, aws):
    match request.param:
        case "redis":
            return RedisEventStore(Scripts(Redis(port=dead_port, retry=Retry(NoBackoff(), 0)), Keys()))
        case "sqlite":
            return SqlEventStore(f"sqlite:///{tmp_path}/no/such/folder/events.db")
        case "postgresql":
            return SqlEventStore(f"postgresql+psycopg://nobody@127.0.0.1:{dead_port}/none")
        case "dynamodb":
            once = Config(retries={"total_max_attempts": 1})
            return DynamoDbEventStore(aws("dynamodb", config=once, endpoint_url=f"http://127.0.0.1:{dead_port}"))


@pytest.mark.parametrize(
    "act",
    [
        lambda store: store.put([event()]),
        gather,
        lambda store: store.mark_processed([event()], now=NOW),
        lambda store: store.retry_later(event(), error="", due_at=NOW),
        lambda store: store.set_aside(event(), error="", now=NOW),
        lambda store: store.replay([event()], now=NOW),
        lambda store: store.get("event-0"),
        lambda store: list(store.read("alpha", EventState.UNPROCESSED)),
        lambda store: list(store.read("alpha", EventState.PROCESSED)),
        lambda store: store.counts("alpha"),
        lambda store: store.purge("alpha", older_than=NOW),
    ],
    ids=["put", "gather", "mark", "retry", "set aside", "replay", "get", "read", "read old", "counts", "purge"],
)
def test_a_store_that_is_away_says_so_whatever_is_asked(dead_store, act) -> None:
    with pytest.raises(EventStoreUnavailable, match=r"\(\w+Error\)$"):
        act(dead_store)


# -- Redis


def test_redis_when_full_refuses_new_events_and_still_knows_the_old_ones(scripts) -> None:
    store = RedisEventStore(scripts, most_events=3)
    store.put([event(1), event(2)])
    with pytest.raises(EventStoreUnavailable, match="no room"):
        store.put([event(3), event(4)])
    assert store.put([event(1)]) == 0
    assert store.counts("alpha").unprocessed == 3


def test_redis_when_full_gives_up_the_oldest_processed_event_for_a_new_one(scripts) -> None:
    store = RedisEventStore(scripts, most_events=2)
    store.put([event(1), event(2)])
    first, second = gather(store)
    store.mark_processed([second], now=NOW + 1)
    store.mark_processed([first], now=NOW + 2)
    assert store.put([event(3)]) == 1
    assert store.get("event-2") is None
    assert store.get("event-1") == event(1)


def test_redis_is_bounded_for_each_site_by_itself(scripts) -> None:
    store = RedisEventStore(scripts, most_events=1)
    assert store.put([event(1), event(2, source="beta")]) == 2


def test_redis_that_is_full_of_one_site_still_takes_in_what_comes_with_it_of_others(scripts) -> None:
    store = RedisEventStore(scripts, most_events=1)
    store.put([event(1)])
    with pytest.raises(EventStoreUnavailable, match="no room"):
        store.put([event(2), event(3, source="beta")])
    assert store.counts("beta").unprocessed == 1


def test_redis_warns_before_it_is_full_and_not_at_every_event(scripts, caplog) -> None:
    store = RedisEventStore(scripts, most_events=10)
    store.put([event(number) for number in range(7)])
    assert not caplog.records
    for number in range(7, 10):
        store.put([event(number)])
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_redis_that_is_out_of_memory_acknowledges_nothing(redis_server, scripts) -> None:
    store = RedisEventStore(scripts)
    scripts.redis.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(EventStoreUnavailable):
            store.put([event(1, message="x" * 200_000)])
    finally:
        scripts.redis.config_set("maxmemory", 0)


def test_redis_forgets_processed_events_after_their_retention_and_never_others(scripts) -> None:
    store = RedisEventStore(scripts, retention_seconds=50)
    store.put([event(1), event(2), event(3)])
    first, second, _ = gather(store)
    store.mark_processed([first], now=NOW)
    store.set_aside(second, error="", now=NOW)
    lifetimes = [scripts.redis.pttl(scripts.keys("event", f"event-{number}")) for number in (1, 2, 3)]
    assert 0 < lifetimes[0] <= 50_000
    assert lifetimes[1:] == [-1, -1]


def test_every_key_of_the_redis_store_is_in_the_catalogue(scripts) -> None:
    store = RedisEventStore(scripts)
    store.put([event(1), event(2), event(3)])
    first, second, _ = gather(store)
    store.mark_processed([first], now=NOW)
    store.set_aside(second, error="", now=NOW)
    base = scripts.keys.base
    kinds = {key.decode().removeprefix(base).rpartition(":")[0] for key in scripts.redis.scan_iter(f"{base}*")}
    assert kinds == {key.pattern.rpartition(":")[0] for key in CATALOGUE if key.pattern.startswith("event")}


# -- SQL


def test_only_its_owner_can_read_what_sqlite_keeps(tmp_path) -> None:
    before = os.umask(0o022)
    try:
        store = SqlEventStore(f"sqlite:///{tmp_path}/events.db")
        store.create_table()
        with store.engine.connect():
            rights = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        store.engine.dispose()
    finally:
        os.umask(before)
    assert rights == dict.fromkeys(["events.db", "events.db-wal", "events.db-shm"], 0o600)


def test_sqlite_writes_to_the_disk_before_it_says_yes(sqlite_store) -> None:
    with sqlite_store.engine.connect() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar() == 2  # FULL


def test_gathering_uses_the_index_of_what_is_due(sqlite_store) -> None:
    query = "EXPLAIN QUERY PLAN SELECT event_id FROM sesmail_events WHERE source = 'a' AND due_at <= 1 ORDER BY due_at"
    with sqlite_store.engine.connect() as connection:
        assert "sesmail_events_due" in str(connection.execute(sa.text(query)).all())


@pytest.mark.usefixtures("postgres_schema")
def test_a_postgresql_whose_host_vanished_is_given_up_in_time_unless_the_url_says_otherwise() -> None:
    store = SqlEventStore(f"{POSTGRES}?connect_timeout=9")
    with store.engine.connect() as connection:
        said = connection.connection.driver_connection.info.get_parameters()
    store.engine.dispose()
    assert (said["tcp_user_timeout"], said["connect_timeout"]) == ("10000", "9")


@pytest.fixture
def postgresql_by_url(postgres_schema):
    store = SqlEventStore(f"{POSTGRES}?options=-csearch_path%3D{postgres_schema}", table=f"events_{uuid4().hex[:8]}")
    store.create_table()
    yield store
    store.engine.dispose()


def test_a_postgresql_that_was_restarted_in_a_pause_costs_no_write(postgresql_by_url, monkeypatch) -> None:
    monkeypatch.setattr("sesmail.events.stores.sql.ASK_AFTER_SECONDS", 0.0)
    with postgresql_by_url.engine.connect() as connection:
        (backend,) = connection.execute(sa.text("SELECT pg_backend_pid()")).one()
    admin = sa.create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend})
    admin.dispose()
    assert postgresql_by_url.put([event()]) == 1


@pytest.mark.parametrize("store", ["sqlite_store", "postgresql_by_url"])
def test_sql_keeps_many_at_once_each_once_however_few_parameters_a_statement_may_have(store, request, monkeypatch):
    monkeypatch.setattr("sesmail.events.stores.sql._MOST_PARAMETERS", {"sqlite": 20, "postgresql": 20})
    store = request.getfixturevalue(store)
    many = [event(number) for number in range(5)]
    assert (store.put([*many, *many[:2]]), store.put(many)) == (5, 0)
    assert gather(store) == many


@pytest.mark.parametrize("store", ["sqlite_store", "postgresql_by_url"])
def test_what_sql_has_stored_is_committed_and_what_others_do_on_the_same_connection_is_not(store, request) -> None:
    store = request.getfixturevalue(store)
    store.put([event()])
    with store.engine.connect() as connection:
        connection.execute(store.table.delete())
    store.engine.dispose()
    assert store.get("event-0") == event()


def test_another_database_is_a_configuration_error() -> None:
    engine = sa.create_mock_engine("mysql://", lambda *_: None)
    with pytest.raises(ConfigurationError, match="mysql"):
        SqlEventStore(engine)


def test_what_is_personal_is_not_in_the_text_of_a_sql_error(tmp_path) -> None:
    store = SqlEventStore(f"sqlite:///{tmp_path}/events.db")  # without its table
    with pytest.raises(EventStoreUnavailable) as caught:
        store.put([event(message="reader@example.org")])
    assert "reader" not in str(caught.value.__cause__)
    store.engine.dispose()


# -- DynamoDB


def item(store, event_id: str) -> dict:
    return store._client.get_item(TableName=store._table, Key={"event_id": {"S": event_id}})["Item"]


def test_dynamodb_keeps_the_four_fields_that_such_tables_have(dynamodb_store) -> None:
    dynamodb_store.put([event(1, message='{"eventType":"Send"}')])
    stored = item(dynamodb_store, "event-1")
    assert {name: stored[name] for name in ("event_id", "source", "processed", "message")} == {
        "event_id": {"S": "event-1"},
        "source": {"S": "alpha"},
        "processed": {"BOOL": False},
        "message": {"S": '{"eventType":"Send"}'},
    }


def test_dynamodb_lets_only_processed_items_expire_and_only_unprocessed_ones_into_the_index(dynamodb_store) -> None:
    dynamodb_store.put([event(1), event(2)])
    first, _ = gather(dynamodb_store)
    dynamodb_store.mark_processed([first], now=NOW)
    done, waiting = item(dynamodb_store, "event-1"), item(dynamodb_store, "event-2")
    assert "expires_at" in done
    assert "pending" not in done
    assert "expires_at" not in waiting
    assert "pending" in waiting


def test_dynamodb_spreads_the_new_events_of_a_site_over_shards(dynamodb_store) -> None:
    dynamodb_store.put([event(number) for number in range(40)])
    shards = {item(dynamodb_store, f"event-{number}")["pending"]["S"] for number in range(40)}
    assert len(shards) > 4


class Throttled:
    """A client of DynamoDB that leaves part of each batch undone at first, as the real one does when it is throttled."""

    def __init__(self, client, times: int) -> None:
        self._client, self._times = client, times

    def __getattr__(self, name: str):
        return getattr(self._client, name)

    def batch_get_item(self, **request) -> dict:
        return self._part("batch_get_item", request, "UnprocessedKeys")

    def batch_write_item(self, **request) -> dict:
        return self._part("batch_write_item", request, "UnprocessedItems")

    def _part(self, name: str, request: dict, undone: str) -> dict:
        if self._times:
            self._times -= 1
            return {"Responses": {}, undone: request["RequestItems"]}
        return getattr(self._client, name)(**request)


def throttled(store, times: int) -> tuple[DynamoDbEventStore, list[float]]:
    pauses: list[float] = []
    client = Throttled(store._client, times)
    return DynamoDbEventStore(client, store._table, pause=pauses.append), pauses


def test_what_dynamodb_leaves_undone_is_asked_again_after_longer_and_longer_pauses(dynamodb_store) -> None:
    dynamodb_store.put([event(1)])
    store, pauses = throttled(dynamodb_store, times=3)
    assert [found.event_id for found in store.read("alpha", EventState.UNPROCESSED)] == ["event-1"]
    assert pauses == [0.05, 0.1, 0.2]


def test_what_dynamodb_leaves_undone_when_purging_is_asked_again(dynamodb_store) -> None:
    dynamodb_store.put([event(1)])
    dynamodb_store.mark_processed(gather(dynamodb_store), now=NOW)
    store, pauses = throttled(dynamodb_store, times=1)
    assert store.purge("alpha", older_than=NOW + 1) == 1
    assert pauses
    assert store.get("event-1") is None


def test_a_dynamodb_that_never_finishes_is_given_up_loudly(dynamodb_store) -> None:
    dynamodb_store.put([event(1)])
    store, _ = throttled(dynamodb_store, times=100)
    with pytest.raises(EventStoreUnavailable):
        list(store.read("alpha", EventState.UNPROCESSED))


def test_one_throttled_write_among_many_is_not_acknowledged_and_all_may_be_put_again(dynamodb_store) -> None:
    client = dynamodb_store._client
    refusing = [True]

    def refuse_one(params, **_):
        if refusing[0] and b"event-7" in params["body"]:
            raise client.exceptions.ProvisionedThroughputExceededException({"Error": {}}, "PutItem")

    name = f"throttle-{uuid4()}"
    client.meta.events.register("before-call.dynamodb.PutItem", refuse_one, unique_id=name)
    events = [event(number) for number in range(10)]
    with pytest.raises(EventStoreUnavailable):
        dynamodb_store.put(events)
    refusing[0] = False
    dynamodb_store.put(events)
    client.meta.events.unregister("before-call.dynamodb.PutItem", unique_id=name)
    assert dynamodb_store.counts("alpha").unprocessed == 10
