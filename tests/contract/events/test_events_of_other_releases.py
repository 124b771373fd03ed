"""Stored events say their version. What a newer release has stored is left for it; a table of an older one gets the column."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from uuid import uuid4

import pytest
import sqlalchemy as sa

from sesmail.errors import EventStoreUnavailable
from sesmail.events.stores import EventState
from sesmail.events.stores.dynamodb import DynamoDbEventStore
from sesmail.events.stores.redis import RedisEventStore
from sesmail.events.stores.sql import SqlEventStore
from sesmail.state.people.reputation import Counter, _digest
from sesmail.state.people.suppression import SuppressionList
from sesmail.vocabulary import Reason
from tests.contract.events.conftest import POSTGRES
from tests.contract.events.site_of_events import SiteOfEvents, bounce_of
from tests.contract.events.test_event_stores import LEASE, NOW, counts, event, gather, ids


@pytest.fixture(params=["redis", "sqlite", "postgresql", "dynamodb"])
def store(request):
    """Each of the stores that two releases may share."""
    return request.getfixturevalue(f"{request.param}_store")


def version_of(store, event_id: str) -> str | None:
    """As it is stored."""
    match store:
        case RedisEventStore():
            found = store._redis.hget(store._key("event", event_id), "v")
            return found and found.decode()
        case SqlEventStore():
            with store.engine.connect() as connection:
                return str(connection.execute(sa.select(store.table.c.v).filter_by(event_id=event_id)).scalar())
        case DynamoDbEventStore():
            item = store._client.get_item(TableName=store._table, Key={"event_id": {"S": event_id}})["Item"]
            return item["v"]["N"]


def by_a_newer_release(store, event_id: str, version: int = 2) -> None:
    """It is as a newer release has stored it: whatever it holds, it says that it is of version 2."""
    match store:
        case RedisEventStore():
            store._redis.hset(store._key("event", event_id), "v", version)
        case SqlEventStore():
            with store.engine.begin() as connection:
                connection.execute(store.table.update().filter_by(event_id=event_id).values(v=version))
        case DynamoDbEventStore():
            values = {":v": {"N": str(version)}}
            key = {"event_id": {"S": event_id}}
            store._client.update_item(
                TableName=store._table, Key=key, UpdateExpression="SET v = :v", ExpressionAttributeValues=values
            )


def without_a_version(store, event_id: str) -> None:
    """As an older release stores it. In SQL, the column's default says what it is."""
    match store:
        case RedisEventStore():
            store._redis.hdel(store._key("event", event_id), "v")
        case DynamoDbEventStore():
            key = {"event_id": {"S": event_id}}
            store._client.update_item(TableName=store._table, Key=key, UpdateExpression="REMOVE v")


def test_an_event_says_its_version(store) -> None:
    store.put([event(1)])
    assert version_of(store, "event-0001") == "1"


def test_an_event_of_an_older_release_is_processed_read_and_purged(store) -> None:
    store.put([event(1)])
    without_a_version(store, "event-0001")
    assert store.get("event-0001") == event(1)
    assert list(store.read("alpha", EventState.UNPROCESSED)) == gather(store) == [event(1)]
    store.mark_processed([event(1)], now=NOW)
    assert store.purge("alpha", older_than=NOW + 1) == 1


def test_what_a_newer_release_has_stored_is_not_gathered_but_counted(store) -> None:
    store.put([event(1), event(2)])
    by_a_newer_release(store, "event-0001")
    assert ids(gather(store)) == ["event-0002"]
    assert counts(store) == (2, 0)
    by_a_newer_release(store, "event-0001", version=1)  # as for the release that knows it: due as before
    assert ids(gather(store)) == ["event-0001"]


def test_those_behind_many_of_a_newer_release_are_gathered_all_the_same(store) -> None:
    store.put([event(number) for number in range(30)])
    for number in range(25):
        if number != 7:
            by_a_newer_release(store, f"event-{number:04}")
    assert ids(gather(store, limit=4)) == ["event-0007", "event-0025", "event-0026", "event-0027"]
    assert ids(gather(store, limit=4)) == ["event-0028", "event-0029"]
    assert gather(store, limit=4) == []


def test_what_a_newer_release_has_stored_is_read_by_nobody_else(store) -> None:
    """Its message may be something that we would take for another."""
    store.put([event(number) for number in range(1, 7)])
    waiting, _, processed, _, aside, _ = gather(store)
    store.replay([waiting, store.get("event-0002")], now=NOW)
    store.mark_processed([processed, store.get("event-0004")], now=NOW)
    store.set_aside(aside, error="boom", now=NOW)
    store.set_aside(store.get("event-0006"), error="boom", now=NOW)
    for number in (2, 4, 6):
        by_a_newer_release(store, f"event-{number:04}")
        assert store.get(f"event-{number:04}") is None
    for state, number in zip(
        (EventState.UNPROCESSED, EventState.PROCESSED, EventState.SET_ASIDE), (1, 3, 5), strict=True
    ):
        assert ids(store.read("alpha", state)) == [f"event-{number:04}"]
    assert counts(store) == (2, 2)


def test_purging_leaves_what_a_newer_release_has_processed(store) -> None:
    store.put([event(number) for number in range(20)])
    store.mark_processed(gather(store), now=NOW)
    for number in range(0, 20, 2):
        by_a_newer_release(store, f"event-{number:04}")
    assert store.purge("alpha", older_than=NOW + 1) == 10
    assert all(version_of(store, f"event-{number:04}") == "2" for number in range(0, 20, 2))
    assert store.purge("alpha", older_than=NOW + 1) == 0


def test_a_redelivered_event_that_a_newer_release_has_stays_as_it_is(store) -> None:
    store.put([event(1)])
    by_a_newer_release(store, "event-0001")
    assert store.put([event(1)]) == 0
    assert version_of(store, "event-0001") == "2"


# -- Redis


def test_redis_when_full_gives_up_no_event_that_a_newer_release_has_processed(scripts) -> None:
    store = RedisEventStore(scripts, most_events=2)
    store.put([event(1), event(2)])
    store.mark_processed(gather(store), now=NOW)
    by_a_newer_release(store, "event-0001")
    assert store.put([event(3)]) == 1
    assert (version_of(store, "event-0001"), store.get("event-0002")) == ("2", None)
    with pytest.raises(EventStoreUnavailable, match="no room"):
        store.put([event(4)])
    assert version_of(store, "event-0001") == "2"


# -- SQL


BEFORE_THERE_WERE_VERSIONS = """
CREATE TABLE {name} (
    event_id VARCHAR(255) NOT NULL PRIMARY KEY, source TEXT NOT NULL, processed BOOLEAN DEFAULT false NOT NULL,
    message TEXT NOT NULL, topic_arn TEXT NOT NULL, received_at DOUBLE PRECISION NOT NULL, due_at DOUBLE PRECISION,
    processed_at DOUBLE PRECISION, attempts INTEGER DEFAULT '0' NOT NULL, error TEXT DEFAULT '' NOT NULL
)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def older_store(request, tmp_path):
    """A store whose table was made by the release before there were versions."""
    url, options = f"sqlite:///{tmp_path}/events.db", {}
    if request.param == "postgresql":
        schema = request.getfixturevalue("postgres_schema")
        url, options = POSTGRES, {"connect_args": {"options": f"-csearch_path={schema}"}}
    store = SqlEventStore(sa.create_engine(url, **options), table=f"events_{uuid4().hex[:8]}")
    with store.engine.begin() as connection:
        connection.execute(sa.text(BEFORE_THERE_WERE_VERSIONS.format(name=store.table.name)))
    yield store
    store.engine.dispose()


def put_by_an_older_release(store: SqlEventStore, number: int) -> None:
    names = "event_id, source, message, topic_arn, received_at, due_at"
    values = f"'event-{number:04}', 'alpha', '{{}}', '', {NOW}, {NOW}"
    with store.engine.begin() as connection:
        connection.execute(sa.text(f"INSERT INTO {store.table.name} ({names}) VALUES ({values})"))


def test_a_table_of_an_older_release_gets_the_column_and_that_release_goes_on_beside_it(older_store) -> None:
    store = older_store
    put_by_an_older_release(store, 1)
    store.create_table()
    put_by_an_older_release(store, 2)
    store.put([event(3)])
    assert [version_of(store, f"event-{number:04}") for number in (1, 2, 3)] == ["1", "1", "1"]
    assert len(gather(store)) == 3
    store.create_table()


def test_processes_that_start_at_once_on_an_older_table_all_go_on(older_store) -> None:
    store = older_store
    others = [SqlEventStore(store.engine, table=store.table.name) for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(SqlEventStore.create_table, others))
    for number, other in enumerate(others):
        assert other.put([event(number)]) == 1
    assert len(gather(store)) == 6


def test_a_table_that_may_not_be_changed_serves_as_it_is_and_people_are_told(older_store, caplog) -> None:
    store = older_store

    def refuse(_connection, _cursor, statement, *_):
        if statement.startswith("ALTER"):
            raise sa.exc.OperationalError(statement, {}, Exception("must be owner of the table"))

    sa.event.listen(store.engine, "before_cursor_execute", refuse)
    store.create_table()
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert f"ALTER TABLE {store.table.name} ADD COLUMN v INTEGER" in record.getMessage()
    store.put([event(1), event(2)])
    assert len(gather(store)) == 2
    store.mark_processed([event(1)], now=NOW)
    assert ids(store.read("alpha", EventState.PROCESSED)) == ["event-0001"]
    assert store.purge("alpha", older_than=NOW + 1) == 1
    assert store.get("event-0002") == event(2)


def test_a_store_whose_table_nobody_brought_up_to_date_serves_as_it_is(older_store) -> None:
    """A site that makes its tables itself, and has not called `create_table` since it was upgraded."""
    store = older_store
    store.put([event(1)])
    assert gather(store, now=NOW + 1000 + LEASE) == [event(1)]
    assert counts(store) == (1, 0)


# -- what is rebuilt from events


def test_opt_outs_are_rebuilt_from_what_is_known(redis_store, scripts) -> None:
    from sesmail.events.processing import EventProcessor
    from sesmail.state.people.reputation import Reputation
    from tests.signing import fixture_json

    message = json.dumps(fixture_json("ev_bounce_permanent_general.json"))
    redis_store.put([event(1, message=message), event(2, message="compressed, perhaps")])
    by_a_newer_release(redis_store, "event-0002")
    suppression = SuppressionList(scripts)
    processor = EventProcessor(
        "alpha",
        redis_store,
        suppression,
        Reputation(scripts),
        record_evidence=lambda *_: None,
        metadata=lambda _: {},
    )
    assert processor.rebuild_suppression() == 1
    assert [entry.reason for entry in suppression.read()] == [Reason.BOUNCED]


COUNT_OF_THE_FORMER_RELEASE = """
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 1 then
  return 'first'
end
return redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] and 'again' or 'twin'
"""
"""What decided there whether a fact is counted."""


def counted_formerly(site, bounce, told_by: str) -> str:
    """What a worker of the former release, which knew a bounce by its type alone, makes of it."""
    kind, (recipient,) = bounce["bounce"]["bounceType"], bounce["bounce"]["bouncedRecipients"]
    key = "\n".join((bounce["mail"]["messageId"], "bounced", kind, recipient["emailAddress"]))
    seen = site.scripts.keys("seen", bounce["bounce"]["timestamp"][:10])
    return site.scripts.redis.eval(COUNT_OF_THE_FORMER_RELEASE, 1, seen, _digest(key), _digest(told_by)).decode()


def passing_bounce_of(address: str, sub_type: str):
    return bounce_of(address, to=[address], kind="Transient", sub_type=sub_type)


def counts_of(site, bounce) -> list[int]:
    day = datetime.fromisoformat(bounce["mail"]["timestamp"]).date()
    return [rates.counts[Counter.BOUNCED_TRANSIENT] for rates in site.reputation.rates("alpha", day, day)]


def test_a_bounce_that_the_former_release_counted_is_not_counted_when_it_comes_again(redis) -> None:
    site = SiteOfEvents(redis)
    bounce = passing_bounce_of("ann@example.org", "MailboxFull")
    assert counted_formerly(site, bounce, "another notification") == "first"
    site.hear(bounce)
    assert counts_of(site, bounce) == []


def test_a_bounce_that_we_counted_is_not_counted_by_the_former_release_which_tells_what_we_did_not_get_to(
    redis,
) -> None:
    site = SiteOfEvents(redis)
    bounce = passing_bounce_of("ann@example.org", "MailboxFull")
    site.hear(bounce)
    (stored,) = site.store.read("alpha", EventState.PROCESSED)
    assert counted_formerly(site, bounce, "another notification") == "twin"
    assert counted_formerly(site, bounce, stored.event_id) == "again"  # we died before receivers were told


def test_two_bounces_that_are_one_for_the_former_release_are_two_for_us_each_counted_once(redis) -> None:
    site = SiteOfEvents(redis)
    full, away = (passing_bounce_of("bob@example.org", sub_type) for sub_type in ("MailboxFull", "General"))
    site.hear(full, away)
    site.hear(full, away)
    assert counts_of(site, full) == [2]
    assert counted_formerly(site, full, "another") == counted_formerly(site, away, "another") == "twin"
