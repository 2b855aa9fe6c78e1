"""A shelf whose values are sealed JSON in place of pickles, and the SQLite file below it.

It knows bytes, the order of their use, and how much room they may take. It does not know what the values mean.
"""

from __future__ import annotations

import hmac
import json
import os
import shelve
import sqlite3
from collections.abc import MutableMapping
from functools import cached_property

from .sqlite import Schema, connect, transaction
from .sqlitefile import SqliteFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any, Self

SCHEMA = Schema(
    [
        [
            "CREATE TABLE entries (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, used INTEGER NOT NULL)",
            # apart from `used`, which every hit changes: SQLite writes a row as a whole
            "CREATE TABLE bodies (id INTEGER PRIMARY KEY REFERENCES entries ON DELETE CASCADE, value BLOB NOT NULL)",
            # `uses` orders the entries: a count, as clocks go backwards; an index on it would double what a hit writes
            "CREATE TABLE statistics (uses INTEGER NOT NULL, hits INTEGER NOT NULL, misses INTEGER NOT NULL, "
            "evictions INTEGER NOT NULL)",
            "INSERT INTO statistics VALUES (0, 0, 0, 0)",
        ]
    ],
    application_id=0x43464361,
)
_HIT = "UPDATE statistics SET uses = uses + 1, hits = hits + 1"
_MISSES = "UPDATE statistics SET misses = misses + ?"
_TOUCH = "UPDATE entries SET used = (SELECT uses FROM statistics) WHERE key = ?"
_VALUE = "SELECT value FROM entries JOIN bodies USING (id) WHERE key = ?"
_USE = "UPDATE statistics SET uses = uses + 1, misses = misses + ?"
_ENTER = (
    "INSERT INTO entries (key, used) SELECT ?, uses FROM statistics WHERE true "
    "ON CONFLICT (key) DO UPDATE SET used = excluded.used"
)
_FILL = "INSERT OR REPLACE INTO bodies (id, value) SELECT id, ? FROM entries WHERE key = ?"
# what another wrote there may be infinite
_STATISTICS = "SELECT min(total(hits), 1e15), min(total(misses), 1e15), min(total(evictions), 1e15) FROM statistics"
_PAGE = 4096
_LARGEST_RESERVE = 8 << 20
_HEAD, _MIDDLE, _TAIL = b'{"hmac":"', b'","value":', b"}"
_BODY = len(_HEAD) + 64 + len(_MIDDLE)


class SealedShelf(shelve.Shelf["Any"]):
    """A shelf over a mapping of text to bytes: each value is JSON under an HMAC-SHA256 of its key and itself.

    What bears another HMAC is absent: reading it raises KeyError, though its key is listed. Nothing is unpickled.
    """

    def __init__(self, values: MutableMapping[str, bytes], secret: bytes | Callable[[], bytes]) -> None:
        """`secret`, or what it returns when first needed, is the key of the HMAC."""
        super().__init__(values)  # type: ignore[arg-type]  # of bytes, were the keys encoded as for dbm
        self._values = values
        self._given = secret

    @cached_property
    def _secret(self) -> bytes:
        return self._given if isinstance(self._given, bytes) else self._given()

    def __getitem__(self, key: str) -> Any:
        sealed = self._values[key]
        body = sealed[_BODY : -len(_TAIL)]
        if not hmac.compare_digest(sealed, self._sealed(key, body)):
            raise KeyError(key)
        return json.loads(body.decode())

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[key] = self._sealed(key, json.dumps(value, separators=(",", ":")).encode())

    def __delitem__(self, key: str) -> None:
        del self._values[key]

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of `key`, or `default`; asks once, where a Shelf would look for the key first."""
        try:
            return self[key]
        except KeyError:
            return default

    def clear(self) -> None:
        """Remove all values, also those that cannot be read."""
        self._values.clear()

    def close(self) -> None:
        """Close the mapping, if it can be closed; a Shelf would refuse all further use, this one leaves that to it."""
        if close := getattr(self._values, "close", None):
            close()

    def _sealed(self, key: str, body: bytes) -> bytes:
        code = hmac.digest(self._secret, key.encode() + b"\0" + body, "sha256").hex().encode()
        return b"".join((_HEAD, code, _MIDDLE, body, _TAIL))


class SqliteMapping(MutableMapping[str, bytes]):
    """On disk: a SQLite file at `path`: values with the order of their use, and statistics of all processes.

    A killed process loses nothing that was written but the count of its last misses; a power failure loses the last
    writes, or leaves a damaged file. The least recently used values go when the files, `-wal` and `-shm` included,
    reach `max_bytes`, which many writers at once may exceed for moments; a value larger than an eighth of that is not
    kept. Opened on first use; threads take turns. Raises sqlite3.Error and OSError.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self.path = path
        self.file = SqliteFile(path, self._open, forget=self._forget)
        self._log, self._index = (path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))
        self._reserve = min(max_bytes // 4, _LARGEST_RESERVE)  # room for what is written but not yet in its place
        self._largest = self._reserve // 2
        self._budget = (max_bytes - self._reserve) // _PAGE
        self._misses = 0
        """Not written yet: a transaction for each would be a tenth of what an execution costs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if not self.file.is_open:
            return
        try:
            with self.file as connection:
                misses, self._misses = self._misses, 0
                if misses:
                    connection.execute(_MISSES, (misses,))
                # the last one to close waits twice for the disk, 1 ms of each process, to empty the log
                connection.execute("PRAGMA synchronous = OFF")
        finally:
            self.file.close()

    def __getitem__(self, key: str) -> bytes:
        with self.file as connection:
            row = connection.execute(_VALUE, (key,)).fetchone()
        if row is None or not isinstance(row[0], bytes):
            raise KeyError(key)
        return row[0]

    def __setitem__(self, key: str, value: bytes) -> None:
        if len(value) > self._largest:
            return
        with self.file as connection, transaction(connection):
            connection.execute(_USE, (self._misses,))
            connection.execute(_ENTER, (key,))
            connection.execute(_FILL, (value, key))
            self._evict(connection)
        self._misses = 0
        self._checkpoint()

    def __delitem__(self, key: str) -> None:
        with self.file as connection, transaction(connection):
            if not connection.execute("DELETE FROM entries WHERE key = ?", (key,)).rowcount:
                raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        with self.file as connection:
            rows = connection.execute("SELECT key FROM entries WHERE typeof(key) = 'text' ORDER BY id").fetchall()
        return iter([key for (key,) in rows])

    def __len__(self) -> int:
        with self.file as connection:
            return int(connection.execute("SELECT count(*) FROM entries").fetchone()[0])

    def clear(self) -> None:
        """Remove all values; the statistics stay."""
        with self.file as connection, transaction(connection):
            connection.execute("DELETE FROM entries")

    def record(self, key: str, *, hit: bool) -> None:
        """Count a hit, which makes `key` the most recently used, or a miss, which is written with the next value."""
        if not hit:
            with self.file.lock:
                self._misses += 1
            return
        with self.file as connection, transaction(connection):
            connection.execute(_HIT)
            connection.execute(_TOUCH, (key,))
        self._checkpoint()

    def statistics(self) -> tuple[int, int, int]:
        """Return how many hits, misses and evictions all processes had."""
        with self.file as connection:
            row = connection.execute(_STATISTICS).fetchone()
        hits, misses, evictions = map(int, row)
        return hits, misses + self._misses, evictions

    def size(self) -> int:
        """Return how many bytes the files take on disk."""
        return sum(map(_size, (self.path, self._log, self._index)))

    def exists(self) -> bool:
        """Whether there is anything at the path."""
        return os.path.lexists(self.path)

    def compact(self) -> None:
        """Evict what is too much and give unused space back to the file system."""
        with self.file as connection:
            with transaction(connection):
                self._evict(connection)
            # frees a page a step, and `execute` takes one step where there are no columns
            connection.executescript("PRAGMA incremental_vacuum")
            self._checkpoint(0)

    def check(self) -> None:
        """Read the whole file; raises DatabaseError if it is damaged."""
        with self.file as connection:
            (first,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if first != "ok":
            raise sqlite3.DatabaseError(first)

    def _open(self) -> sqlite3.Connection:
        connection = connect(self.path, SCHEMA)
        try:
            if connection.execute("PRAGMA page_size").fetchone()[0] != _PAGE:  # in which its room is counted
                raise sqlite3.DatabaseError("its pages are not those of a cache")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA wal_autocheckpoint = {max(1, self._reserve // 4 // _PAGE)}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _forget(self) -> None:
        self._misses = 0

    def _checkpoint(self, limit: int | None = None) -> None:
        """Empty the log if it has grown beyond `limit` bytes.

        SQLite's own checkpoints wait for nobody: between eight busy processes the log grew to 38 times `max_bytes`.
        They write it anew from its start, though, which is a third faster than what an emptied one takes.
        """
        if _size(self._log) > (self._reserve // 2 if limit is None else limit):
            with self.file as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _evict(self, connection: sqlite3.Connection) -> None:
        """Remove the least recently used entries, a few more than needed, if more pages are in use than allowed."""
        if _pages(connection) <= self._budget or _pages_in_use(connection) <= self._budget:
            return
        count = 0
        for entry in connection.execute("SELECT id FROM entries ORDER BY used").fetchall():
            if _pages_in_use(connection) <= self._budget * 63 // 64:
                break
            connection.execute("DELETE FROM entries WHERE id = ?", entry)
            count += 1
        connection.execute("UPDATE statistics SET evictions = evictions + ?", (count,))


def _pages(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA page_count").fetchone()[0])


def _pages_in_use(connection: sqlite3.Connection) -> int:
    return _pages(connection) - int(connection.execute("PRAGMA freelist_count").fetchone()[0])


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
