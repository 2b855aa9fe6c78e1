"""The index of analytics: sums of the whole history, so that nothing old is read twice."""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections import defaultdict
from contextlib import closing, contextmanager, suppress

from ..files import read_regular
from . import daily, histogram
from .sqlite import Schema, connect, is_damage, transaction
from .sqlitefile import SqliteFile
from .summing import batches
from .tally import COUNTERS, counters, is_hour, row

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
_LINES, _DAY_FILES, _MONTHS = range(3)
_OF_DAYS = " OR ".join(["source = ? AND period >= ? AND period < ?"] * 2)
_WITHIN = " OR ".join(["source = ? AND period >= ? AND period < ?"] * 5)
_OF_MONTH = f"source IN ({_LINES}, {_DAY_FILES}) AND period >= ? || '-' AND period < ? || '.'"  # '.' comes after '-'
_SUMMED = ("cells", "errors", "latencies")
_GROUPED = (("cells", "agent, model, workflow", _SUMS), ("errors", "agent, error", "sum(count)"))
_TABLES = (
    "CREATE TABLE lines (mark TEXT NOT NULL)",
    "CREATE TABLE files (day TEXT PRIMARY KEY, file TEXT NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE extents (day TEXT NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL)",
    # a period is a day or, of source 2, a month; a month is stale while its sums are not those of its days
    f"CREATE TABLE cells (source INTEGER, period TEXT, agent TEXT, model TEXT, workflow TEXT, {_COLUMNS}, "
    "PRIMARY KEY (source, period, agent, model, workflow)) WITHOUT ROWID",
    f"CREATE TABLE hours (source INTEGER, period TEXT, hour TEXT, {_COLUMNS}, PRIMARY KEY (source, period, hour)) "
    "WITHOUT ROWID",
    "CREATE TABLE errors (source INTEGER, period TEXT, agent TEXT, error TEXT, count INTEGER NOT NULL, "
    "PRIMARY KEY (source, period, agent, error)) WITHOUT ROWID",
    "CREATE TABLE latencies (source INTEGER, period TEXT, agent TEXT, counts BLOB NOT NULL, "
    "PRIMARY KEY (source, period, agent))",
    "CREATE TABLE stale (month TEXT PRIMARY KEY) WITHOUT ROWID",
)
VERSION = 4
"""Of the tables, the newest that we know."""
_APPLICATION_ID = 0x43464D49
SCHEMA = Schema([*[()] * (VERSION - 1), _TABLES], _APPLICATION_ID)
"""Knows no tables of former versions: those are none of ours, and all that was in them is computed anew."""
_ID_ENDS = 72
"""Offset in a SQLite file after its application id, which has four bytes, the highest first."""
FOREIGN = (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError)
"""What comes of rows that are of another kind than ours."""
_SAMPLES, _SAMPLE_BYTES = 16, 512
_NOTHING: Mapping[str, Any] = {"device": 0, "inode": 0, "size": 0, "modified": 0, "check": 0, "damaged": 0}


class Index:
    """`index.db`: SQLite tables of sums by day, from the lines (`source` 0) and from the day files (1).

    What is asked of whole months comes from sums of all their days (2), which are made when they are first asked for,
    and anew once one of the days has changed. All of it is derived. What it holds of the lines fits a prefix of one
    `executions.jsonl`, known by inode, size and samples of its bytes; what does not fit, or is damaged, is computed
    anew: all methods may raise one of FOREIGN. A crash leaves the sums of before. Use it within a transaction of
    `opened`.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.notes: list[str] = []
        """What became of the file that was there before."""
        self._connection = connection

    def refresh_days(self, files: Files, directory: Path) -> None:
        """Take in the day files that are new and forget those that are gone; raises OSError, ForceError."""
        known = {day: (file, crc) for day, file, crc in self._connection.execute("SELECT * FROM files")}
        for day, entry in known.items():
            if files.get(day) != entry:
                self._connection.execute("DELETE FROM files WHERE day = ?", (day,))
                self._forget(_DAY_FILES, day, day)
        for day, (file, crc) in files.items():
            if known.get(day) != (file, crc):
                self._add(_DAY_FILES, {day: daily.read(directory / file, crc)})
                self._connection.execute("INSERT INTO files VALUES (?, ?, ?)", (day, file, crc))

    def refresh_lines(self, path: Path, stream: BinaryIO | None) -> tuple[int, int]:
        """Take in the whole lines that are new; return where they end, and how many of all are damaged.

        `stream` is open on `path`, or on what was there before; None if there is no file.
        """
        saved = self._connection.execute("SELECT mark FROM lines").fetchone()
        mark = _mark(saved[0]) if saved else _NOTHING
        if stream is None or not _fits(stream, mark):
            self.forget_lines()
            mark = _NOTHING
        return self._take_in(path, stream, mark) if stream else (0, 0)

    def forget_lines(self) -> None:
        """Forget all that is known of lines."""
        self._forget(_LINES)
        self._connection.execute("DELETE FROM lines")
        self._connection.execute("DELETE FROM extents")

    def cells(self, bounds: Bounds) -> Iterator[tuple[Names, int]]:
        """Yield agent, model and workflow with their row of counters over the days within `bounds`."""
        query = f"SELECT agent, model, workflow, {_SUMS} FROM cells WHERE {_WITHIN} GROUP BY 1, 2, 3"  # noqa: S608
        for agent, model, workflow, *sums in self._connection.execute(query, self._parts(bounds)):
            "".join((agent, model, workflow))  # a TypeError for a name that is no text
            yield (agent, model, workflow), row(sums)

    def hours(self, bounds: Bounds) -> Iterator[tuple[str, int]]:
        """Yield the hours of the days within `bounds` with their rows."""
        query = f"SELECT hour, {_SUMS} FROM hours WHERE {_OF_DAYS} GROUP BY hour"  # noqa: S608
        first, stop, file_first, file_stop = bounds
        days = (_LINES, first, stop, _DAY_FILES, file_first, file_stop)
        for hour, *sums in self._connection.execute(query, days):
            _require(is_hour(hour))
            yield hour, row(sums)

    def errors(self, bounds: Bounds) -> Iterator[tuple[str, int]]:
        """Yield the types of error with their counts."""
        query = f"SELECT error, sum(count) FROM errors WHERE {_WITHIN} GROUP BY error"  # noqa: S608
        for error, count in self._connection.execute(query, self._parts(bounds)):
            _require(type(error) is str and type(count) is int and count > 0)
            yield error, count

    def latencies(self, bounds: Bounds) -> Mapping[str, int]:
        """Return by agent the latency histogram, as one integer."""
        totals = self._totals(_WITHIN, self._parts(bounds))
        "".join(totals)  # a TypeError as above
        return {agent: total.whole() for agent, total in totals.items()}

    def rolled_days(self) -> list[str]:
        """Return the days of which there are day files, the first one first."""
        return [day for (day,) in self._connection.execute("SELECT day FROM files ORDER BY day")]

    def extents(self, day: str) -> list[tuple[int, int]]:
        """Return the parts of the file, from offset to offset, between which all lines of `day` lie."""
        query = "SELECT start, stop FROM extents WHERE day = ? ORDER BY start"
        found = list(self._connection.execute(query, (day,)))
        _require(all(type(start) is type(stop) is int and 0 <= start <= stop for start, stop in found))
        return found

    def _take_in(self, path: Path, stream: BinaryIO, mark: Mapping[str, Any]) -> tuple[int, int]:
        status = os.fstat(stream.fileno())
        end, damaged = mark["size"], mark["damaged"]
        for start, stop, more, days in batches(path, stream, end, status.st_size):
            self._connection.executemany("INSERT INTO extents VALUES (?, ?, ?)", [(day, start, stop) for day in days])
            self._add(_LINES, days)
            end, damaged = stop, damaged + more
        if end > mark["size"]:
            self._connection.execute("DELETE FROM lines")
            identity = {"device": status.st_dev, "inode": status.st_ino, "modified": status.st_mtime_ns}
            mark = {**identity, "size": end, "check": _check(stream, end), "damaged": damaged}
            self._connection.execute("INSERT INTO lines VALUES (?)", (json.dumps(mark),))
        return end, damaged

    def _add(self, source: int, days: Mapping[str, Day]) -> None:
        self._connection.executemany("INSERT OR IGNORE INTO stale VALUES (?)", {(name[:7],) for name in days})
        for name, day in days.items():
            cells = [(source, name, *map(_text, names), *counters(cell.row)) for names, cell in day.cells.items()]
            self._upsert(f"cells VALUES (?, ?, ?, ?, ?, {_MARKS})", _PLUS, cells)
            hours = [(source, name, hour, *counters(row)) for hour, row in day.hours.items()]
            self._upsert(f"hours VALUES (?, ?, ?, {_MARKS})", _PLUS, hours)
            errors = [
                (source, name, _text(names[0]), _text(error), count)
                for names, cell in day.cells.items()
                for error, count in cell.errors.items()
            ]
            self._upsert("errors VALUES (?, ?, ?, ?, ?)", "count = count + excluded.count", errors)
            self._add_latencies(source, name, day)

    def _upsert(self, into: str, plus: str, rows: Iterable[tuple[Any, ...]]) -> None:
        self._connection.executemany(f"INSERT INTO {into} ON CONFLICT DO UPDATE SET {plus}", rows)

    def _add_latencies(self, source: int, name: str, day: Day) -> None:
        counts: dict[str, dict[int, int]] = defaultdict(dict)
        for (agent, _, _), cell in day.cells.items():
            histogram.merge(counts[_text(agent)], cell.latencies)
        query = "SELECT agent, counts FROM latencies WHERE source = ? AND period = ?"
        for agent, known in self._connection.execute(query, (source, name)):
            if agent in counts:
                histogram.merge(counts[agent], histogram.from_bytes(known))
        rows = [(source, name, agent, histogram.to_bytes(more)) for agent, more in counts.items()]
        self._connection.executemany("INSERT OR REPLACE INTO latencies VALUES (?, ?, ?, ?)", rows)

    def _parts(self, bounds: Bounds) -> tuple[Any, ...]:
        """Return the values of `_WITHIN`; sums up anew those whole months within `bounds` that are stale."""
        first, stop = _whole_months(bounds)
        line_first, line_stop, file_first, file_stop = bounds
        query = "SELECT month FROM stale WHERE month >= ? AND month < ?"
        for (month,) in self._connection.execute(query, (first, stop)).fetchall():
            self._sum_up(month)
        before = (_LINES, line_first, min(first, line_stop), _DAY_FILES, file_first, min(first, file_stop))
        return *before, _MONTHS, first, stop, _LINES, stop, line_stop, _DAY_FILES, stop, file_stop

    def _sum_up(self, month: str) -> None:
        execute, days = self._connection.execute, (month, month)
        for table in _SUMMED:
            execute(f"DELETE FROM {table} WHERE source = ? AND period = ?", (_MONTHS, month))  # noqa: S608
        for table, names, sums in _GROUPED:
            sums_of_days = f"SELECT ?, ?, {names}, {sums} FROM {table} WHERE {_OF_MONTH} GROUP BY {names}"  # noqa: S608
            execute(f"INSERT INTO {table} {sums_of_days}", (_MONTHS, month, *days))
        rows = [(_MONTHS, month, agent, total.data()) for agent, total in self._totals(_OF_MONTH, days).items()]
        self._connection.executemany("INSERT INTO latencies VALUES (?, ?, ?, ?)", rows)
        execute("DELETE FROM stale WHERE month = ?", (month,))

    def _totals(self, where: str, values: tuple[Any, ...]) -> Mapping[str, histogram.Total]:
        totals: dict[str, histogram.Total] = defaultdict(histogram.Total)
        for agent, counts in self._connection.execute(f"SELECT agent, counts FROM latencies WHERE {where}", values):  # noqa: S608
            totals[agent].add(counts)
        return totals

    def _forget(self, source: int, first: str = "", last: str = "~") -> None:
        where, days = "WHERE source = ? AND period >= ? AND period <= ?", (source, first, last)
        months = f"SELECT DISTINCT substr(period, 1, 7) FROM cells {where}"  # noqa: S608
        self._connection.execute(f"INSERT OR IGNORE INTO stale {months}", days)
        for table in ("hours", *_SUMMED):
            self._connection.execute(f"DELETE FROM {table} {where}", days)  # noqa: S608


@contextmanager
def opened(path: Path | None) -> Iterator[Index]:
    """Open the index for one transaction; without a path, or where nothing can be written, make one in memory.

    Raises sqlite3.Error, and whatever the body does. After what `is_derelict`, the file is removed, as the next one is
    made of what it was; one that never was an index of ours is set aside, and a note of the error tells of it.
    """
    if path is None or not _is_writable(path):
        with closing(_in_memory()) as connection, transaction(connection):
            yield Index(connection)
        return
    file = SqliteFile(path, lambda: _connected(path))
    try:
        with closing(file), file as connection, transaction(connection):
            yield Index(connection)
    except (sqlite3.Error, *FOREIGN) as error:
        if is_derelict(error):
            _take_away(file, error)
        raise


def is_derelict(error: Exception) -> bool:
    """Whether `error`, a sqlite3.Error or one of FOREIGN, can come of what is in the file, rather than of its place."""
    return is_damage(error) or not isinstance(error, sqlite3.OperationalError | sqlite3.NotSupportedError)


def _is_writable(path: Path) -> bool:
    return os.access(path.parent, os.W_OK) and (os.access(path, os.W_OK) or not path.exists())


def _connected(path: Path) -> sqlite3.Connection:
    try:
        return connect(path, SCHEMA)
    except (OSError, sqlite3.NotSupportedError):  # no room for a file, or one of a newer version, which can use it
        return _in_memory()


def _in_memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for statement in _TABLES:
        connection.execute(statement)
    return connection


def _take_away(file: SqliteFile, error: Exception) -> None:
    with suppress(OSError):  # then the next one is in memory
        if _is_ours(file.path):
            file.remove()
        elif aside := file.set_aside():
            error.add_note(f"{file.path} is no index of executions: set aside as {aside.name}")


def _is_ours(path: Path) -> bool:
    """Whether a file, or what a link leads to, has the mark of an index, of any version."""
    try:
        return read_regular(path, _ID_ENDS).endswith(_APPLICATION_ID.to_bytes(4, "big"))
    except OSError:
        return False


def _whole_months(bounds: Bounds) -> tuple[str, str]:
    """Return the first month of which all lines and day files lie within, and before which month that ends.

    Both compare with days as with months: `2026-11` comes before all days of its month, and `2026-11~` after them.
    """
    first, stop = max(bounds[0], bounds[2]), min(bounds[1], bounds[3])[:7]
    first = first[:7] + "~" * (first[7:] not in ("", "-01"))
    return (first, stop) if first < stop else ("~", "~")


def _mark(text: str) -> Mapping[str, Any]:
    """Return what was noted of the lines; raises ValueError, or another of FOREIGN, for anything else."""
    mark: Mapping[str, Any] = json.loads(text)
    _require(set(mark) == set(_NOTHING) and {*map(type, mark.values())} == {int})
    _require(mark["size"] >= 0 and mark["damaged"] >= 0)
    return mark


def _require(is_ours: bool) -> None:
    if not is_ours:
        raise ValueError("it holds rows that are none of ours")


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
