"""Who stood in a list before: kept on disk when the list is long, so that its length costs no memory."""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import closing, contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DIGEST_BYTES = 12
CACHED_KIB = 8 * 1024
"""What of it is held in memory; the rest goes to a file that SQLite makes for itself, and that nobody else can open."""


class Seen:
    """The line in which each of many texts stood first."""

    def __init__(self, table: sqlite3.Connection) -> None:
        self._table = table
        self._secret = secrets.token_bytes(16)  # what is on disk tells nobody who is on the list

    def first_line(self, text: str, line: int) -> int:
        """Where it stood first: in `line`, if it has not been seen."""
        digest = blake2b(text.encode(), digest_size=DIGEST_BYTES, key=self._secret).digest()
        if self._table.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (digest, line)).rowcount:
            return line
        (first,) = self._table.execute("SELECT line FROM seen WHERE digest = ?", (digest,)).fetchone()
        return int(first)


@contextmanager
def seen() -> Iterator[Seen]:
    """Nothing, at first; forgotten at the end. An empty name is a private database: https://sqlite.org/inmemorydb.html"""
    with closing(sqlite3.connect("", isolation_level=None)) as table:
        table.execute("PRAGMA journal_mode = OFF")
        table.execute("PRAGMA synchronous = OFF")
        table.execute(f"PRAGMA cache_size = -{CACHED_KIB}")
        table.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY, line INTEGER) WITHOUT ROWID")
        table.execute("BEGIN")
        yield Seen(table)
