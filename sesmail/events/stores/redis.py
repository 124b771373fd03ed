"""Events in Redis: the default. As durable as that Redis is, and bounded, because Redis keeps everything in memory."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from sesmail.errors import EventStoreUnavailable, LedgerUnavailable
from sesmail.events.stores import EVENT_VERSION, RETENTION_SECONDS, Counts, EventState, StoredEvent
from sesmail.state.server.exchange import unreadable
from sesmail.state.server.trouble import reachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sesmail.state.scripts import Scripts

log = logging.getLogger(__name__)

MOST_EVENTS = 250_000
"""Per site. An event takes about 2.2 KB of memory, so this is about 550 MB: 60,000 letters with four events each."""
WARN_FROM = 0.8
WARN_EVERY_SECONDS = 60.0
_FIELDS = ("source", "topic_arn", "received_at", "message", "attempts", "error", "v")
_PAGE = 500


class RedisEventStore:
    """An `EventStore` in the ledger's Redis. When it is full, the oldest processed events make room for new ones."""

    def __init__(
        self, scripts: Scripts, *, most_events: int = MOST_EVENTS, retention_seconds: float = RETENTION_SECONDS
    ) -> None:
        """`most_events` is kept per site, and a warning is logged from four fifths of it on."""
        self._run = scripts.run
        self._redis = scripts.redis
        self._key = scripts.keys
        self._most_events = most_events
        self._retention_ms = round(retention_seconds * 1000)
        self._warned_at = -WARN_EVERY_SECONDS

    def put(self, events: Sequence[StoredEvent]) -> int:
        arguments: Iterable[str | int] = chain.from_iterable(
            (
                event.event_id,
                event.source,
                event.topic_arn,
                _ms(event.received_at),
                event.message,
                _ms(event.first_due_at),
            )
            for event in events
        )
        with _reached():
            new, fullest = self._run("put_events", self._most_events, EVENT_VERSION, *arguments)
        self._warn_before_it_is_full(fullest)
        if new < 0:
            raise EventStoreUnavailable(
                f"{self._most_events} events of one site wait in Redis, all unprocessed: there is no room for more, so "
                "AWS delivers them again later, for as long as it tries. Find out why none are processed."
            )
        return int(new)

    def _warn_before_it_is_full(self, held: int) -> None:
        if held < WARN_FROM * self._most_events or time.monotonic() < self._warned_at + WARN_EVERY_SECONDS:
            return
        self._warned_at = time.monotonic()
        log.warning(
            "Redis holds %d events of one site; at %d the oldest processed ones are given up, then new ones refused. "
            "Purge, raise the limit, or use another store.",
            held,
            self._most_events,
            extra={"action": "event_store_filling", "held": held, "limit": self._most_events},
        )

    def gather(self, source: str, *, limit: int, lease_seconds: float, now: float) -> list[StoredEvent]:
        with _reached():
            return self._rows(self._lease(source, limit, _ms(now), _ms(now + lease_seconds)))

    def _lease(self, source: str, limit: int, now_ms: int, until_ms: int) -> list[bytes]:
        """Ids of events of this release, page by page: those of a newer one may be many."""
        ids: list[bytes] = []
        passed_over = 0
        while wanted := limit - len(ids):
            looked_at, *leased = self._run(
                "gather_events", source, wanted, now_ms, until_ms, EVENT_VERSION, passed_over
            )
            ids += leased
            passed_over += looked_at - len(leased)
            if looked_at < wanted:
                break
        return ids

    def mark_processed(self, events: Sequence[StoredEvent], *, now: float) -> None:
        with _reached(), self._redis.pipeline() as pipeline:
            for event in events:
                row, id_ = self._row(event), event.event_id
                pipeline.zrem(self._index(event, EventState.UNPROCESSED), id_)
                pipeline.zrem(self._index(event, EventState.SET_ASIDE), id_)
                pipeline.zadd(self._index(event, EventState.PROCESSED), {id_: _ms(now)})
                pipeline.pexpire(row, self._retention_ms)
            for source in dict.fromkeys(event.source for event in events):
                done = self._key("events", EventState.PROCESSED, source)
                pipeline.zremrangebyscore(done, "-inf", _ms(now) - self._retention_ms)
            pipeline.execute()

    def retry_later(self, event: StoredEvent, *, error: str, due_at: float) -> None:
        with _reached(), self._redis.pipeline() as pipeline:
            pipeline.hset(self._row(event), mapping={"attempts": event.attempts + 1, "error": unreadable(error)})
            pipeline.zadd(self._index(event, EventState.UNPROCESSED), {event.event_id: _ms(due_at)}, xx=True)
            pipeline.execute()

    def set_aside(self, event: StoredEvent, *, error: str, now: float) -> None:
        with _reached(), self._redis.pipeline() as pipeline:
            pipeline.hset(self._row(event), mapping={"attempts": event.attempts + 1, "error": unreadable(error)})
            pipeline.zrem(self._index(event, EventState.UNPROCESSED), event.event_id)
            pipeline.zadd(self._index(event, EventState.SET_ASIDE), {event.event_id: _ms(now)})
            pipeline.execute()

    def replay(self, events: Sequence[StoredEvent], *, now: float) -> None:
        with _reached(), self._redis.pipeline() as pipeline:
            for event in events:
                pipeline.persist(self._row(event))
                pipeline.hdel(self._row(event), "attempts", "error")
                pipeline.zrem(self._index(event, EventState.PROCESSED), event.event_id)
                pipeline.zrem(self._index(event, EventState.SET_ASIDE), event.event_id)
                pipeline.zadd(self._index(event, EventState.UNPROCESSED), {event.event_id: _ms(now)})
            pipeline.execute()

    def get(self, event_id: str) -> StoredEvent | None:
        with _reached():
            return next(iter(self._rows([event_id.encode()])), None)

    def rewrite(self, events: Sequence[StoredEvent]) -> None:
        with _reached():
            for event in events:
                self._run("redact", f"event:{event.event_id}", 0, "message", event.message, "error", event.error)

    def read(self, source: str, state: EventState, *, naming: str = "") -> Iterator[StoredEvent]:  # noqa: ARG002
        with _reached():
            ids: Any = self._redis.zrange(self._key("events", state, source), 0, -1)
            for start in range(0, len(ids), _PAGE):
                yield from self._rows(ids[start : start + _PAGE])

    def counts(self, source: str) -> Counts:
        with _reached(), self._redis.pipeline() as pipeline:
            pipeline.zcard(self._key("events", EventState.UNPROCESSED, source))
            pipeline.zcard(self._key("events", EventState.SET_ASIDE, source))
            unprocessed, set_aside = pipeline.execute()
        return Counts(unprocessed=unprocessed, set_aside=set_aside)

    def purge(self, source: str, *, older_than: float) -> int:
        looked_at, purged, passed_over = _PAGE, 0, 0
        with _reached():
            while looked_at == _PAGE:
                arguments = (source, _ms(older_than), EVENT_VERSION, passed_over, _PAGE)
                looked_at, forgotten = map(int, self._run("purge_events", *arguments))
                purged += forgotten
                passed_over += looked_at - forgotten
        return purged

    def _rows(self, ids: Sequence[bytes]) -> list[StoredEvent]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for id_ in ids:
                pipeline.hmget(self._key("event", id_.decode()), _FIELDS)
            found = zip(ids, pipeline.execute(), strict=True)
        return [_event(id_, fields) for id_, (*fields, version) in found if fields[0] and _is_known(version)]

    def _row(self, event: StoredEvent) -> str:
        return self._key("event", event.event_id)

    def _index(self, event: StoredEvent, state: EventState) -> str:
        return self._key("events", state, event.source)


@contextmanager
def _reached() -> Iterator[None]:
    try:
        with reachable():
            yield
    except (RedisError, LedgerUnavailable) as error:
        raise EventStoreUnavailable.because(type(error.__cause__ or error).__name__) from error


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _is_known(version: bytes | None) -> bool:
    return version is None or (version.isdigit() and int(version) <= EVENT_VERSION)


def _event(event_id: bytes, fields: list[bytes | None]) -> StoredEvent:
    source, topic_arn, received_at, message, attempts, error = (field or b"" for field in fields)
    return StoredEvent(
        event_id=event_id.decode(),
        source=source.decode(),
        topic_arn=topic_arn.decode(),
        received_at=int(received_at) / 1000,
        message=message.decode(),
        attempts=int(attempts or 0),
        error=error.decode(),
    )
