"""What the processes of a project know together of the API: its circuits, and the pace that it allows.

It knows names and records. What a record says, and what becomes of it, is the business of who reads and changes it.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from pathlib import Path

from .sqlite import transaction
from .sqlitefile import SqliteFile
from .state import open_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self, TypeVar

    from ..records import Change, Record

    T = TypeVar("T")

_READ = {kind: f"SELECT record FROM {kind} WHERE name = ?" for kind in ("circuits", "paces")}  # noqa: S608 - our words
_KEEP = {
    kind: f"INSERT INTO {kind} VALUES (?, ?) ON CONFLICT DO UPDATE SET record = excluded.record"  # noqa: S608
    for kind in _READ
}


class SharedRecords:
    """On disk: in `state.db` at `path` the tables `circuits` and `paces`, a name and a JSON object in each row.

    A killed process loses nothing that `change` returned from, a power failure the last changes. A row that holds no
    JSON object counts as absent. Threads and processes may share it; a fork opens the file anew.

    Whatever the disk does not allow is raised as OSError, after which nothing has changed. The file is never set
    aside, damaged or not: it is the ledger's too.
    """

    def __init__(self, path: str | Path, *, file: SqliteFile | None = None) -> None:
        """Open nothing yet; `file` is one on `path` that somebody else has made for tables of their own."""
        self.path = Path(path)
        self._file = file or SqliteFile(self.path, lambda: open_state(self.path), follow=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with suppress(sqlite3.Error):  # a full disk: nothing that is lost costs money
            self._file.close()

    def read(self, kind: str, name: str) -> Record | None:
        """Return the record of this `kind`, "circuits" or "paces", that is kept under `name`."""
        return self._do(lambda connection: _found(connection, kind, name))

    def change(self, kind: str, name: str, step: Change[T]) -> T:
        """Put what `step` makes of the record in its place, and return what else it returns; None changes nothing.

        No other thread or process changes anything meanwhile.
        """

        def changed(connection: sqlite3.Connection) -> T:
            with transaction(connection):
                record, result = step(_found(connection, kind, name))
                if record is not None:
                    connection.execute(_KEEP[kind], (name, json.dumps(record)))
                return result

        return self._do(changed)

    def all(self, kind: str) -> dict[str, Record]:
        """Return the records of this `kind` by name; none if the file is not there, which is then not made."""
        if not self._file.is_open and not self.path.exists():
            return {}

        def found(connection: sqlite3.Connection) -> dict[str, Record]:
            rows = connection.execute(f"SELECT name, record FROM {kind} ORDER BY name").fetchall()  # noqa: S608
            known = {name: _parsed(text) for name, text in rows if isinstance(name, str)}
            return {name: record for name, record in known.items() if record is not None}

        return self._do(found)

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with self._file as connection:
                return work(connection)
        except sqlite3.Error as error:
            raise OSError(f"{self.path}: {error}") from error


def _found(connection: sqlite3.Connection, kind: str, name: str) -> Record | None:
    row = connection.execute(_READ[kind], (name,)).fetchone()
    return _parsed(row[0]) if row else None


def _parsed(text: object) -> Record | None:
    try:
        record = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None
