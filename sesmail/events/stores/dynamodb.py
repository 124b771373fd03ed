"""Events in DynamoDB: the store that a Lambda function can write to while no server of ours is up.

The item has the four fields that such tables have had all along (`event_id`, `source`, `processed`, `message`). What is
unprocessed is found through a sparse index: only such items carry `pending`, which is the site and one of a few shards,
because all new events of a site under one value would be one hot partition, and a throttled index throttles its table.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html
"""

from __future__ import annotations

import heapq
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sesmail.errors import EventStoreUnavailable
from sesmail.events.stores import EVENT_VERSION, RETENTION_SECONDS, Counts, EventState, StoredEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

INDEX = "pending"
SHARDS = 8
"""How many partitions the index of one site has: 1,000 writes a second each. Never lower it while events wait."""
CONCURRENT_WRITES = 10
WRITE_CONFIG = Config(
    connect_timeout=2,
    read_timeout=3,
    retries={"mode": "standard", "total_max_attempts": 5},  # the whole stays below the 15 s after which SNS gives up
    max_pool_connections=CONCURRENT_WRITES,
)
"""For the client given to the store: short enough that a door can still answer."""

_UNPROCESSED_TRIES = 8
_DELETES_A_CALL = 25
_GETS_A_CALL = 100

_KNOWN = "(attribute_not_exists(v) OR v <= :version)"
"""A condition: what a newer release has written is not ours to touch."""
_KNOWN_VALUES: dict[str, Any] = {":version": {"N": str(EVENT_VERSION)}}


class DynamoDbEventStore:
    """An `EventStore` in one DynamoDB table. Processed items go by the table's time-to-live on `expires_at`."""

    def __init__(
        self,
        client: DynamoDBClient,
        table: str = "sesmail-events",
        *,
        retention_seconds: float = RETENTION_SECONDS,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`client` is boto3's, made with `WRITE_CONFIG`; `pause` waits between tries of what DynamoDB left undone."""
        self._client = client
        self._table = table
        self._retention_seconds = retention_seconds
        self._pause = pause
        self._threads = ThreadPoolExecutor(CONCURRENT_WRITES, thread_name_prefix="sesmail-dynamodb")

    def create_table(self) -> None:
        """Make the table, for development; production has it from deploy/ses-events.yaml."""
        with _reached(), suppress(self._client.exceptions.ResourceInUseException):
            self._client.create_table(
                TableName=self._table,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[
                    {"AttributeName": "event_id", "AttributeType": "S"},
                    {"AttributeName": "pending", "AttributeType": "S"},
                    {"AttributeName": "due_at", "AttributeType": "N"},
                ],
                KeySchema=[{"AttributeName": "event_id", "KeyType": "HASH"}],
                GlobalSecondaryIndexes=[
                    {
                        "IndexName": INDEX,
                        "KeySchema": [
                            {"AttributeName": "pending", "KeyType": "HASH"},
                            {"AttributeName": "due_at", "KeyType": "RANGE"},
                        ],
                        "Projection": {"ProjectionType": "KEYS_ONLY"},
                    }
                ],
            )
            self._client.get_waiter("table_exists").wait(TableName=self._table)
            expiry = {"Enabled": True, "AttributeName": "expires_at"}
            self._client.update_time_to_live(TableName=self._table, TimeToLiveSpecification=expiry)  # type: ignore[arg-type]

    def put(self, events: Sequence[StoredEvent]) -> int:
        # Not BatchWriteItem: it knows no conditions, so a redelivered event would be unprocessed again.
        with _reached():
            return sum(self._threads.map(self._put_one, events))

    def _put_one(self, event: StoredEvent) -> bool:
        item = {
            "event_id": _string(event.event_id),
            "source": _string(event.source),
            "processed": {"BOOL": False},
            "message": _string(event.message),
            "topic_arn": _string(event.topic_arn),
            "received_at": _number(event.received_at),
            "due_at": _number(event.first_due_at),
            "pending": _string(_shard_of(event)),
            "v": {"N": str(EVENT_VERSION)},
        }
        try:
            self._client.put_item(
                TableName=self._table, Item=item, ConditionExpression="attribute_not_exists(event_id)"
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def gather(self, source: str, *, limit: int, lease_seconds: float, now: float) -> list[StoredEvent]:
        leased: list[StoredEvent] = []
        with _reached():
            shards = (self._due(f"{source}#{shard}", now, limit) for shard in range(SHARDS))
            due = heapq.merge(*shards, key=lambda key: float(key["due_at"]["N"]))
            while keys := [*islice(due, limit - len(leased))]:
                leased += filter(None, self._threads.map(lambda key: self._lease(key, now + lease_seconds), keys))
        return sorted(leased, key=lambda event: event.received_at)

    def _due(self, pending: str, now: float, page: int) -> Iterator[Any]:
        """The keys of a shard's events that are due, the oldest first; what comes after a page is asked when needed."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=INDEX,
            KeyConditionExpression="pending = :pending AND due_at <= :now",
            ExpressionAttributeValues={":pending": _string(pending), ":now": _number(now)},
            PaginationConfig={"PageSize": page},
        )
        return (key for found in pages for key in found["Items"])

    def _lease(self, key: dict[str, Any], until: float) -> StoredEvent | None:
        """The event, or None where another gatherer was first (the index may be behind) or a newer release wrote it."""
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key={"event_id": key["event_id"]},
                UpdateExpression="SET due_at = :until",
                ConditionExpression=f"attribute_exists(pending) AND due_at = :seen AND {_KNOWN}",
                ExpressionAttributeValues={":until": _number(until), ":seen": key["due_at"], **_KNOWN_VALUES},
                ReturnValues="ALL_NEW",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        return _event(answer["Attributes"])

    def mark_processed(self, events: Sequence[StoredEvent], *, now: float) -> None:
        values = {
            ":true": {"BOOL": True},
            ":now": _number(now),
            ":expires_at": {"N": str(round(now + self._retention_seconds))},
        }
        change = "REMOVE pending, due_at SET #processed = :true, processed_at = :now, expires_at = :expires_at"
        self._update_all(events, change, values)

    def retry_later(self, event: StoredEvent, *, error: str, due_at: float) -> None:
        self._failed(event, error, "due_at = :due_at", {":due_at": _number(due_at)})

    def set_aside(self, event: StoredEvent, *, error: str, now: float) -> None:
        change = "pending = :pending, due_at = :due_at"
        self._failed(event, error, change, {":pending": _string(_set_aside(event.source)), ":due_at": _number(now)})

    def _failed(self, event: StoredEvent, error: str, change: str, values: dict[str, Any]) -> None:
        values |= {":attempts": {"N": str(event.attempts + 1)}, ":error": _string(error)}
        with _reached():
            self._update(
                event, f"SET attempts = :attempts, last_error = :error, {change}", values, "attribute_exists(pending)"
            )

    def replay(self, events: Sequence[StoredEvent], *, now: float) -> None:
        values = {":false": {"BOOL": False}, ":now": _number(now)}
        change = (
            "SET #processed = :false, due_at = :now, pending = :pending "
            "REMOVE processed_at, expires_at, attempts, last_error"
        )
        self._update_all(events, change, values, with_shard=True)

    def _update_all(
        self, events: Sequence[StoredEvent], change: str, values: dict[str, Any], *, with_shard: bool = False
    ) -> None:
        def update(event: StoredEvent) -> None:
            shard = {":pending": _string(_shard_of(event))} if with_shard else {}
            names = {"#processed": "processed"}  # a reserved word
            self._update(event, change, values | shard, "attribute_exists(event_id)", ExpressionAttributeNames=names)

        with _reached():
            list(self._threads.map(update, events))

    def _update(self, event: StoredEvent, change: str, values: dict[str, Any], condition: str, **options: Any) -> None:
        """Change an item as long as the condition holds; where it does not, another gatherer was first."""
        with suppress(self._client.exceptions.ConditionalCheckFailedException):
            self._client.update_item(
                TableName=self._table,
                Key={"event_id": _string(event.event_id)},
                UpdateExpression=change,
                ConditionExpression=condition,
                ExpressionAttributeValues=values,
                **options,
            )

    def get(self, event_id: str) -> StoredEvent | None:
        with _reached():
            item = self._client.get_item(
                TableName=self._table, Key={"event_id": _string(event_id)}, ConsistentRead=True
            ).get("Item")
        return _event(item) if item and _is_known(item) else None

    def rewrite(self, events: Sequence[StoredEvent]) -> None:
        def update(event: StoredEvent) -> None:
            values = {":message": _string(event.message), ":error": _string(event.error)}
            self._update(event, "SET message = :message, last_error = :error", values, "attribute_exists(event_id)")

        with _reached():
            list(self._threads.map(update, events))

    def read(self, source: str, state: EventState, *, naming: str = "") -> Iterator[StoredEvent]:  # noqa: ARG002
        with _reached():
            if state is EventState.PROCESSED:  # in no index: this reads the whole table, and costs that
                yield from map(_event, self._scan("#source = :source AND #processed = :true", source))
                return
            shards = [f"{source}#{shard}" for shard in range(SHARDS)]
            for pending in shards if state is EventState.UNPROCESSED else [_set_aside(source)]:
                keys = [{"event_id": item["event_id"]} for page in self._pages(pending) for item in page["Items"]]
                for start in range(0, len(keys), _GETS_A_CALL):
                    yield from map(_event, filter(_is_known, self._get_all(keys[start : start + _GETS_A_CALL])))

    def counts(self, source: str) -> Counts:
        with _reached():
            return Counts(
                unprocessed=sum(self._count(f"{source}#{shard}") for shard in range(SHARDS)),
                set_aside=self._count(_set_aside(source)),
            )

    def _count(self, pending: str) -> int:
        return sum(page["Count"] for page in self._pages(pending, Select="COUNT"))

    def _pages(self, pending: str, **options: Any) -> Iterator[Any]:
        return iter(
            self._client.get_paginator("query").paginate(
                TableName=self._table,
                IndexName=INDEX,
                KeyConditionExpression="pending = :pending",
                ExpressionAttributeValues={":pending": _string(pending)},
                **options,
            )
        )

    def purge(self, source: str, *, older_than: float) -> int:
        """Reads the whole table: time-to-live does the same for nothing, so this is for those who cannot wait."""
        condition = "#source = :source AND #processed = :true AND processed_at < :older_than"
        with _reached():
            old = list(self._scan(condition, source, {":older_than": _number(older_than)}))
            for start in range(0, len(old), _DELETES_A_CALL):
                self._delete(old[start : start + _DELETES_A_CALL])
        return len(old)

    def _scan(self, condition: str, source: str, values: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._table,
            FilterExpression=f"{condition} AND {_KNOWN}",
            ExpressionAttributeNames={"#source": "source", "#processed": "processed"},
            ExpressionAttributeValues={
                ":source": _string(source),
                ":true": {"BOOL": True},
                **_KNOWN_VALUES,
                **(values or {}),
            },
        )
        for page in pages:
            yield from page["Items"]

    def _get_all(self, keys: list[Any]) -> Iterator[dict[str, Any]]:
        """DynamoDB answers 200 with part of what was asked when it is throttled; the rest must be asked again."""
        request: Any = {self._table: {"Keys": keys, "ConsistentRead": True}}
        for delay in self._delays():
            answer = self._client.batch_get_item(RequestItems=request)
            yield from answer["Responses"].get(self._table, [])
            request = answer["UnprocessedKeys"]
            if not request:
                return
            self._pause(delay)
        raise EventStoreUnavailable

    def _delete(self, items: list[dict[str, Any]]) -> None:
        request: Any = {self._table: [{"DeleteRequest": {"Key": {"event_id": item["event_id"]}}} for item in items]}
        for delay in self._delays():
            request = self._client.batch_write_item(RequestItems=request)["UnprocessedItems"]
            if not request:
                return
            self._pause(delay)
        raise EventStoreUnavailable

    @staticmethod
    def _delays() -> Iterator[float]:
        return (0.05 * 2**attempt for attempt in range(_UNPROCESSED_TRIES))


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise EventStoreUnavailable.because(error.response["Error"].get("Code", "ClientError")) from error
    except BotoCoreError as error:
        raise EventStoreUnavailable.because(type(error).__name__) from error


def _shard_of(event: StoredEvent) -> str:
    return f"{event.source}#{zlib.crc32(event.event_id.encode()) % SHARDS}"


def _set_aside(source: str) -> str:
    return f"{source}#set-aside"


def _is_known(item: Any) -> bool:
    return int(item["v"]["N"]) <= EVENT_VERSION if "v" in item else True


def _string(value: str) -> dict[str, Any]:
    return {"S": value}


def _number(value: float) -> dict[str, Any]:
    return {"N": repr(value)}


def _event(item: Any) -> StoredEvent:
    return StoredEvent(
        event_id=item["event_id"]["S"],
        source=item["source"]["S"],
        message=item["message"]["S"],
        topic_arn=item["topic_arn"]["S"],
        received_at=float(item["received_at"]["N"]),
        attempts=int(item.get("attempts", {"N": "0"})["N"]),
        error=item.get("last_error", {"S": ""})["S"],
    )
