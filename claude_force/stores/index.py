"""The index of analytics: sums of the whole history, so that nothing old is read twice."""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections import defaultdict
from contextlib import closing, contextmanager

from . import daily, histogram
from .sqlite import connect, is_damage, transaction
from .sqlitefile import SqliteFile
from .summing import batches
from .tally import COUNTERS, counters, row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import Any, BinaryIO

    from .daily import Files
    from .tally import Day, Names

    Bounds = tuple[str, str, str, str]
    """First day and day after the last one: of lines, and of day files."""

FILE = "index.db"
_COLUMNS = ", ".join(f"{name} INTEGER NOT NULL" for name in COUNTERS)
_SUMS = ", ".join(f"sum({name})" for name in COUNTERS)
_PLUS = ", ".join(f"{name} = {name} + excluded.{name}" for name in COUNTERS)
_MARKS = ", ".join("?" * len(COUNTERS))
_WHERE = "CASE rolled WHEN 0 THEN day >= ? AND day < ? ELSE day >= ? AND day < ? END"
_MIGRATIONS = [
    [
        "CREATE TABLE lines (mark TEXT NOT NULL)",
        "CREATE TABLE files (day TEXT PRIMARY KEY, file TEXT NOT NULL, crc INTEGER NOT NULL)",
        "CREATE TABLE extents (day TEXT NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL)",
        f"CREATE TABLE cells (rolled INTEGER, day TEXT, agent TEXT, model TEXT, workflow TEXT, {_COLUMNS}, "
        "PRIMARY KEY (rolled, day, agent, model, workflow)) WITHOUT ROWID",
        f"CREATE TABLE hours (rolled INTEGER, day TEXT, hour TEXT, {_COLUMNS}, PRIMARY KEY (rolled, day, hour)) "
        "WITHOUT ROWID",
        "CREATE TABLE errors (rolled INTEGER, day TEXT, agent TEXT, error TEXT, count INTEGER NOT NULL, "
        "PRIMARY KEY (rolled, day, agent, error)) WITHOUT ROWID",
        "CREATE TABLE latencies (rolled INTEGER, day TEXT, agent TEXT, counts BLOB NOT NULL, "
        "PRIMARY KEY (rolled, day, agent))",
    ],
    # to be filled anew: histograms were kept at their full width, most of it empty
    [f"DELETE FROM {table}" for table in ("lines", "files", "extents", "cells", "hours", "errors", "latencies")],  # noqa: S608
]
VERSION = len(_MIGRATIONS)
"""Of the tables, the newest that we know."""
_APPLICATION_ID = 0x43464D49
_SAMPLES, _SAMPLE_BYTES = 16, 512
_NOTHING: Mapping[str, Any] = {"device": 0, "inode": 0, "size": 0, "modified": 0, "check": 0, "damaged": 0}


class Index:
    """`index.db`: SQLite tables of sums by day, from the lines (`rolled` 0) and from the day files (1).

    All of it is derived. What it holds of the lines fits a prefix of one `executions.jsonl`, known by inode, size and
    samples of its bytes; what does not fit, or is damaged, is computed anew. A crash leaves the sums of before.
    Use it within a transaction of `opened`.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def refresh_days(self, files: Files, directory: Path) -> None:
        """Take in the day files that are new and forget those that are gone; raises OSError, ValueError."""
        known = {day: (file, crc) for day, file, crc in self._connection.execute("SELECT * FROM files")}
        for day, entry in known.items():
            if files.get(day) != entry:
                self._connection.execute("DELETE FROM files WHERE day = ?", (day,))
                self._forget(1, day)
        for day, (file, crc) in files.items():
            if known.get(day) != (file, crc):
                self._add(1, {day: daily.read(directory / file, crc)})
                self._connection.execute("INSERT INTO files VALUES (?, ?, ?)", (day, file, crc))

    def refresh_lines(self, path: Path, stream: BinaryIO | None) -> tuple[int, int]:
        """Take in the whole lines that are new; return where they end, and how many of all are damaged.

        `stream` is open on `path`, or on what was there before; None if there is no file.
        """
        saved = self._connection.execute("SELECT mark FROM lines").fetchone()
        mark = json.loads(saved[0]) if saved else _NOTHING
        if stream is None or not _fits(stream, mark):
            self.forget_lines()
            mark = _NOTHING
        return self._take_in(path, stream, mark) if stream else (0, 0)

    def forget_lines(self) -> None:
        """Forget all that is known of lines."""
        self._forget(0, None)
        self._connection.execute("DELETE FROM lines")
        self._connection.execute("DELETE FROM extents")

    def cells(self, bounds: Bounds) -> Iterator[tuple[Names, int]]:
        """Yield agent, model and workflow with their row of counters over the days within `bounds`."""
        query = f"SELECT agent, model, workflow, {_SUMS} FROM cells WHERE {_WHERE} GROUP BY 1, 2, 3"  # noqa: S608
        for agent, model, workflow, *sums in self._connection.execute(query, bounds):
            yield (agent, model, workflow), row(sums)

    def hours(self, bounds: Bounds) -> Iterator[tuple[str, int]]:
        """Yield the hours of the days within `bounds` with their rows."""
        query = f"SELECT hour, {_SUMS} FROM hours WHERE {_WHERE} GROUP BY hour"  # noqa: S608
        for hour, *sums in self._connection.execute(query, bounds):
            yield hour, row(sums)

    def errors(self, bounds: Bounds) -> Iterator[tuple[str, int]]:
        """Yield the types of error with their counts."""
        query = f"SELECT error, sum(count) FROM errors WHERE {_WHERE} GROUP BY error"  # noqa: S608
        yield from self._connection.execute(query, bounds)

    def latencies(self, bounds: Bounds) -> Mapping[str, int]:
        """Return by agent the latency histogram, as one integer."""
        totals: dict[str, histogram.Total] = defaultdict(histogram.Total)
        query = f"SELECT agent, counts FROM latencies WHERE {_WHERE}"  # noqa: S608
        for agent, counts in self._connection.execute(query, bounds):
            totals[agent].add(counts)
        return {agent: total.whole() for agent, total in totals.items()}

    def rolled_days(self) -> list[str]:
        """Return the days of which there are day files, the first one first."""
        return [day for (day,) in self._connection.execute("SELECT day FROM files ORDER BY day")]

    def extents(self, day: str) -> list[tuple[int, int]]:
        """Return the parts of the file, from offset to offset, between which all lines of `day` lie."""
        query = "SELECT start, stop FROM extents WHERE day = ? ORDER BY start"
        return list(self._connection.execute(query, (day,)))

    def _take_in(self, path: Path, stream: BinaryIO, mark: Mapping[str, Any]) -> tuple[int, int]:
        status = os.fstat(stream.fileno())
        end, damaged = mark["size"], mark["damaged"]
        for start, stop, more, days in batches(path, stream, end, status.st_size):
            self._connection.executemany("INSERT INTO extents VALUES (?, ?, ?)", [(day, start, stop) for day in days])
            self._add(0, days)
            end, damaged = stop, damaged + more
        if end > mark["size"]:
            self._connection.execute("DELETE FROM lines")
            identity = {"device": status.st_dev, "inode": status.st_ino, "modified": status.st_mtime_ns}
            mark = {**identity, "size": end, "check": _check(stream, end), "damaged": damaged}
            self._connection.execute("INSERT INTO lines VALUES (?)", (json.dumps(mark),))
        return end, damaged

    def _add(self, rolled: int, days: Mapping[str, Day]) -> None:
        for name, day in days.items():
            cells = [(rolled, name, *map(_text, names), *counters(cell.row)) for names, cell in day.cells.items()]
            self._upsert(f"cells VALUES (?, ?, ?, ?, ?, {_MARKS})", _PLUS, cells)
            hours = [(rolled, name, hour, *counters(row)) for hour, row in day.hours.items()]
            self._upsert(f"hours VALUES (?, ?, ?, {_MARKS})", _PLUS, hours)
            errors = [
                (rolled, name, _text(names[0]), _text(error), count)
                for names, cell in day.cells.items()
                for error, count in cell.errors.items()
            ]
            self._upsert("errors VALUES (?, ?, ?, ?, ?)", "count = count + excluded.count", errors)
            self._add_latencies(rolled, name, day)

    def _upsert(self, into: str, plus: str, rows: Iterable[tuple[Any, ...]]) -> None:
        self._connection.executemany(f"INSERT INTO {into} ON CONFLICT DO UPDATE SET {plus}", rows)

    def _add_latencies(self, rolled: int, name: str, day: Day) -> None:
        counts: dict[str, dict[int, int]] = defaultdict(dict)
        for (agent, _, _), cell in day.cells.items():
            histogram.merge(counts[_text(agent)], cell.latencies)
        query = "SELECT agent, counts FROM latencies WHERE rolled = ? AND day = ?"
        for agent, known in self._connection.execute(query, (rolled, name)):
            if agent in counts:
                histogram.merge(counts[agent], histogram.from_bytes(known))
        rows = [(rolled, name, agent, histogram.to_bytes(more)) for agent, more in counts.items()]
        self._connection.executemany("INSERT OR REPLACE INTO latencies VALUES (?, ?, ?, ?)", rows)

    def _forget(self, rolled: int, day: str | None) -> None:
        for table in ("cells", "hours", "errors", "latencies"):
            query = f"DELETE FROM {table} WHERE rolled = ? AND (? IS NULL OR day = ?)"  # noqa: S608
            self._connection.execute(query, (rolled, day, day))


@contextmanager
def opened(path: Path) -> Iterator[Index]:
    """Open the index for one transaction; where nothing can be written, make one in memory.

    Raises sqlite3.Error. A file that turns out to be damaged is removed, as the next one is made of what it was.
    """
    if not (os.access(path.parent, os.W_OK) and (os.access(path, os.W_OK) or not path.exists())):
        with closing(_in_memory()) as connection, transaction(connection):
            yield Index(connection)
        return
    file = SqliteFile(path, lambda: connect(path, migrations=_MIGRATIONS, application_id=_APPLICATION_ID))
    try:
        with closing(file), file as connection, transaction(connection):
            yield Index(connection)
    except sqlite3.Error as error:
        if is_damage(error):
            file.remove()
        raise


def _in_memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statement in _MIGRATIONS[0]:
        connection.execute(statement)
    return connection


def _fits(stream: BinaryIO, mark: Mapping[str, Any]) -> bool:
    """Whether the file still begins with the lines of which `mark` tells."""
    status = os.fstat(stream.fileno())
    same = (status.st_dev, status.st_ino) == (mark["device"], mark["inode"])
    unchanged = status.st_size > mark["size"] or status.st_mtime_ns == mark["modified"]
    return same and status.st_size >= mark["size"] and unchanged and _check(stream, mark["size"]) == mark["check"]


def _check(stream: BinaryIO, size: int) -> int:
    """Return the CRC-32 of samples of the first `size` bytes, the very first and the very last among them."""
    check = 0
    for number in range(_SAMPLES + 1):
        stream.seek(max(size - _SAMPLE_BYTES, 0) * number // _SAMPLES)
        check = zlib.crc32(stream.read(min(_SAMPLE_BYTES, size)), check)
    return check


def _text(name: str) -> str:
    """Return `name` as SQLite can keep it: a surrogate on its own, from a file name that is no UTF-8, is no text."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()
