"""Events in a table: PostgreSQL, or SQLite for one host. Needs the extra `sql`."""

from __future__ import annotations

import logging
import math
import os
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from sesmail.errors import ConfigurationError, EventStoreUnavailable, MissingExtra
from sesmail.events.stores import EVENT_VERSION, Counts, EventState, StoredEvent

try:
    import sqlalchemy as sa
    from sqlalchemy.exc import SQLAlchemyError
except ImportError as error:
    raise MissingExtra("Events cannot be kept in SQL. Install it with `pip install 'sesmail[sql]'`.") from error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor

log = logging.getLogger(__name__)

_MOST_PARAMETERS = {"postgresql": 65_535, "sqlite": 999}  # of a statement; SQLite's before 3.32
_WRITTEN = ("event_id", "source", "message", "topic_arn", "received_at", "due_at", "v")
_PAGE = 500
ASK_AFTER_SECONDS = 1.0
"""A connection that was used within this time is taken to live."""
_LEFT_AT = "left_at"


class SqlEventStore:
    """An `EventStore` in one table, through SQLAlchemy Core."""

    def __init__(self, engine: sa.Engine | str, *, table: str = "sesmail_events") -> None:
        """`engine` or its URL. Raises `ConfigurationError` for other databases than PostgreSQL and SQLite."""
        self.engine = _engine(engine) if isinstance(engine, str) else engine
        self.table = _table(table)
        if self.engine.dialect.name not in _MOST_PARAMETERS:
            raise ConfigurationError(
                f"Events cannot be kept in {self.engine.dialect.name}: none are accepted. Use PostgreSQL or SQLite."
            )
        self._versioned: bool | None = None
        self._name = self.engine.dialect.identifier_preparer.format_table(self.table)
        self._placeholder = "?" if self.engine.dialect.paramstyle == "qmark" else "%s"
        if self.engine.dialect.name == "sqlite":
            sa.event.listen(self.engine, "connect", _make_sqlite_durable)

    def create_table(self) -> None:
        """Make the table and its indexes, where they are not there yet, and the column that a former release lacked."""
        with _reached():
            self.table.metadata.create_all(self.engine)
            if not self._says_versions():
                self._add_versions()

    def _add_versions(self) -> None:
        """A release that does not know the column goes on beside this one: what it writes is of the default's version.

        Where the table may not be changed, or is in use for too long, this process does without the column.
        """
        column = sa.schema.CreateColumn(self.table.c.v).compile(dialect=self.engine.dialect)
        change = f"ALTER TABLE {self._name} ADD COLUMN {column}"
        try:
            with self.engine.begin() as connection:
                if self.engine.dialect.name == "postgresql":  # whoever waits for a table holds up all who come after
                    connection.execute(sa.text("SET LOCAL lock_timeout = '3s'"))
                connection.execute(sa.text(change))
        except SQLAlchemyError as error:
            problem = type(getattr(error, "orig", None) or error).__name__
        else:
            problem = ""
        self._versioned = None
        if not self._says_versions():  # had it been added meanwhile, by another process, all would be well
            log.warning(
                "The table of events lacks a column, and it could not be added (%s). Events are taken in and processed "
                "without it. Before a later release than this one is installed, have the table's owner do it: %s",
                problem,
                change,
            )

    def _says_versions(self) -> bool:
        """Whether the table has the column for the events' versions. Without it, no release has written a later one."""
        if self._versioned is None:
            columns = sa.inspect(self.engine).get_columns(self.table.name)
            self._versioned = any(column["name"] == "v" for column in columns)
        return self._versioned

    def _is_known(self) -> sa.ColumnElement[bool]:
        """What a newer release has written is not ours to touch."""
        with _reached():
            return self.table.c.v <= EVENT_VERSION if self._says_versions() else sa.true()

    def put(self, events: Sequence[StoredEvent]) -> int:
        with _reached():
            names = _WRITTEN if self._says_versions() else _WRITTEN[:-1]
        most = _MOST_PARAMETERS[self.engine.dialect.name] // len(names)
        # In one order everywhere: two writers with the same events in different orders would wait for each other.
        in_order = sorted(events, key=lambda event: event.event_id)
        with self._committing_each() as cursor:
            return sum(
                self._insert(cursor, names, in_order[start : start + most]) for start in range(0, len(in_order), most)
            )

    def _insert(self, cursor: DBAPICursor, names: Sequence[str], events: Sequence[StoredEvent]) -> int:
        """By one statement; how many were new. That none is there twice is the database's doing."""
        one = f"({', '.join([self._placeholder] * len(names))})"
        cursor.execute(
            f"INSERT INTO {self._name} ({', '.join(names)}) VALUES {', '.join([one] * len(events))} "  # noqa: S608  no values
            "ON CONFLICT DO NOTHING",
            [value for event in events for value in _values(event)[: len(names)]],
        )
        return cursor.rowcount

    @contextmanager
    def _committing_each(self) -> Iterator[DBAPICursor]:
        """Of the pool, for statements that are a transaction each.

        The driver's own: SQLAlchemy's way costs a door more time, and three trips to PostgreSQL for one.
        """
        dialect = self.engine.dialect
        with _reached(dialect.loaded_dbapi.Error), closing(self.engine.raw_connection()) as pooled:
            connection: Any = pooled.dbapi_connection
            try:
                dialect.set_isolation_level(connection, "AUTOCOMMIT")
                with closing(connection.cursor()) as cursor:
                    yield cursor
                dialect.reset_isolation_level(connection)
            except BaseException:
                pooled.invalidate()  # nobody is to get it as it is now
                raise

    def gather(self, source: str, *, limit: int, lease_seconds: float, now: float) -> list[StoredEvent]:
        t = self.table.c
        due = (
            sa.select(t.event_id)
            .where(t.source == source, t.due_at <= now, self._is_known())
            .order_by(t.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)  # PostgreSQL's; SQLite has one writer at a time anyhow
            .cte("due")
        )
        lease = (
            self.table.update()
            .where(t.event_id.in_(sa.select(due.c.event_id)))
            .values(due_at=now + lease_seconds)
            .returning(*_fields(self.table))
        )
        with self._begun() as connection:
            events = [StoredEvent(**row) for row in connection.execute(lease).mappings()]
        return sorted(events, key=lambda event: event.received_at)

    def mark_processed(self, events: Sequence[StoredEvent], *, now: float) -> None:
        self._update(events, processed=True, processed_at=now, due_at=None)

    def retry_later(self, event: StoredEvent, *, error: str, due_at: float) -> None:
        still_waits = self.table.c.due_at.is_not(None)
        self._update([event], still_waits, attempts=event.attempts + 1, error=error, due_at=due_at)

    def set_aside(self, event: StoredEvent, *, error: str, now: float) -> None:  # noqa: ARG002
        self._update([event], attempts=event.attempts + 1, error=error, due_at=None)

    def replay(self, events: Sequence[StoredEvent], *, now: float) -> None:
        self._update(events, processed=False, processed_at=None, due_at=now, attempts=0, error="")

    def get(self, event_id: str) -> StoredEvent | None:
        query = sa.select(*_fields(self.table)).where(self.table.c.event_id == event_id, self._is_known())
        with self._begun() as connection:
            row = connection.execute(query).mappings().first()
        return StoredEvent(**row) if row else None

    def rewrite(self, events: Sequence[StoredEvent]) -> None:
        for event in events:
            self._update([event], message=event.message, error=event.error)

    def read(self, source: str, state: EventState, *, naming: str = "") -> Iterator[StoredEvent]:
        t = self.table.c
        of_site = sa.select(*_fields(self.table)).where(t.source == source, self._is_known())
        query = of_site.where(_is(state, t)).order_by(t.received_at)
        if naming:
            text = sa.func.lower(t.message + t.error)
            query = query.where(text.contains(naming, autoescape=True))
        with self._begun() as connection:
            rows = connection.execution_options(yield_per=_PAGE).execute(query).mappings()
            yield from (StoredEvent(**row) for row in rows)

    def counts(self, source: str) -> Counts:
        t = self.table.c
        query = sa.select(sa.func.count(t.due_at), sa.func.count()).where(t.source == source, ~t.processed)
        with self._begun() as connection:
            unprocessed, left = connection.execute(query).one()
        return Counts(unprocessed=unprocessed, set_aside=left - unprocessed)

    def purge(self, source: str, *, older_than: float) -> int:
        t = self.table.c
        old = self.table.delete().where(t.source == source, t.processed, t.processed_at < older_than, self._is_known())
        with self._begun() as connection:
            return connection.execute(old).rowcount

    def _update(self, events: Sequence[StoredEvent], *conditions: sa.ColumnElement[bool], **values: object) -> None:
        ids = [event.event_id for event in events]
        with self._begun() as connection:
            connection.execute(self.table.update().where(self.table.c.event_id.in_(ids), *conditions).values(**values))

    @contextmanager
    def _begun(self) -> Iterator[sa.Connection]:
        with _reached(), self.engine.begin() as connection:
            yield connection


def _engine(url: str) -> sa.Engine:
    """Parameters are hidden: they hold addresses, and SQLAlchemy would put them into the text of its exceptions."""
    place = sa.make_url(url)
    if place.get_backend_name() == "sqlite" and place.database and not place.database.startswith((":", "file:")):
        # Made before SQLite does, for nobody else to read; its -wal and -shm get the rights of the file.
        with suppress(OSError):  # SQLite says better what is wrong
            os.close(os.open(place.database, os.O_CREAT | os.O_RDWR, 0o600))
    engine = sa.create_engine(place, hide_parameters=True, connect_args=_bounds(place))
    if place.get_backend_name() != "sqlite":
        _ask_first_after_a_pause(engine)
    return engine


def _ask_first_after_a_pause(engine: sa.Engine) -> None:
    """Whether a connection still lives. `pool_pre_ping` would ask before each write of a burst: a trip more."""

    @sa.event.listens_for(engine, "checkin")
    def note(_connection: DBAPIConnection, record: sa.pool.ConnectionPoolEntry) -> None:
        record.info[_LEFT_AT] = time.monotonic()

    @sa.event.listens_for(engine, "checkout")
    def ask(connection: DBAPIConnection, record: sa.pool.ConnectionPoolEntry, _pooled: object) -> None:
        if time.monotonic() < record.info.get(_LEFT_AT, math.inf) + ASK_AFTER_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise sa.exc.DisconnectionError from error  # the pool makes a new one


def _bounds(place: sa.URL) -> dict[str, int]:
    """A host that vanished must not hold a door for the quarter of an hour that TCP goes on trying.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
    """
    if not place.drivername.startswith("postgresql+psycopg"):
        return {}
    bounds = {"connect_timeout": 5, "tcp_user_timeout": 10_000}
    return {name: value for name, value in bounds.items() if name not in place.query}


def _table(name: str) -> sa.Table:
    """Unprocessed events have a time at which they are due, and only they are in the index that gathering uses."""
    table = sa.Table(
        name,
        sa.MetaData(),
        sa.Column("event_id", sa.String(255), primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("processed", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("topic_arn", sa.Text, nullable=False),
        sa.Column("received_at", sa.Double, nullable=False),
        sa.Column("due_at", sa.Double),
        sa.Column("processed_at", sa.Double),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("error", sa.Text, nullable=False, server_default=""),
        sa.Column("v", sa.Integer, nullable=False, server_default="1"),  # what does not say its own
    )
    due = table.c.due_at.is_not(None)
    sa.Index(f"{name}_due", table.c.source, table.c.due_at, postgresql_where=due, sqlite_where=due)
    return table


def _fields(table: sa.Table) -> list[sa.Column[Any]]:
    return [table.c[name] for name in StoredEvent.__dataclass_fields__]


def _values(event: StoredEvent) -> tuple[str | float, ...]:
    """Of the columns in `_WRITTEN`."""
    return (
        event.event_id,
        event.source,
        event.message,
        event.topic_arn,
        event.received_at,
        event.first_due_at,
        EVENT_VERSION,
    )


def _is(state: EventState, t: sa.ColumnCollection[str, Any]) -> sa.ColumnElement[bool]:
    conditions: dict[EventState, sa.ColumnElement[bool]] = {
        EventState.PROCESSED: t.processed.is_(True),
        EventState.UNPROCESSED: t.due_at.is_not(None),
        EventState.SET_ASIDE: sa.and_(t.processed.is_(False), t.due_at.is_(None)),
    }
    return conditions[state]


def _make_sqlite_durable(connection: DBAPIConnection, _record: object) -> None:
    """WAL lets readers and the writer work at once; FULL writes to the disk before a commit returns."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


@contextmanager
def _reached(drivers_error: type[Exception] = SQLAlchemyError) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, drivers_error) as error:
        raise EventStoreUnavailable.because(type(getattr(error, "orig", None) or error).__name__) from error
