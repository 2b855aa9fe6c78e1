"""What agents did before: every execution, to be searched by likeness, counted and put before an agent again.

It knows sessions. It does not know how a recalled session gets into a prompt, nor which executions are worth keeping.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from operator import index
from pathlib import Path

from ..errors import reason
from ..frozen import replace
from ..records import iso, task_hash
from ..redaction import redact
from . import relevance
from .sqlite import Schema, connect
from .sqlitefile import Attempts, SqliteFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, Self, TypeVar

    from .sessions import Session

    T = TypeVar("T")

LONGEST = 8_000
"""Characters of a task, and of a result, that are kept."""
LARGEST_METADATA = 4_000
"""Characters of JSON that metadata may have."""

_COLUMNS = ("agent_name", "task_hash", "timestamp", "success")
SCHEMA = Schema(
    [
        [
            # a file that an older program made has the table already, but no version
            "CREATE TABLE IF NOT EXISTS sessions (id INTEGER PRIMARY KEY, agent_name TEXT, task TEXT, task_hash TEXT, "
            "result TEXT, success INTEGER, timestamp TEXT, metadata JSON)",
            *(f"CREATE INDEX IF NOT EXISTS sessions_by_{column} ON sessions ({column})" for column in _COLUMNS),
            relevance.TEXTS,
        ]
    ],
    besides=(*relevance.STATEMENTS, *relevance.OF_FTS5),
    plain=rf"[\"']?sessions[\"']?\s*\(\s*\"?id\"? INTEGER PRIMARY KEY\b|{relevance.SHADOWS}",
)
_INSERT = (
    "INSERT INTO sessions (agent_name, task, task_hash, result, success, timestamp, metadata) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_WITHOUT = {
    "read": "nothing is remembered",
    "write": "new sessions are not kept",
}
_REMEMBERED = 128
"""Look-ups that are served again without a search."""
_BATCH = 500


class AgentMemory:
    """On disk: a SQLite file at `path`, a row of `sessions` for each execution, and a full-text index beside them.

    A killed process loses nothing that `store` returned from, a power failure the last few sessions. Secrets are
    redacted before anything is written, `known` ones wherever they stand. Many processes may store at once.

    Opened on first use; looking makes no file. No verb raises for what is wrong on the disk: a damaged file is set
    aside, one that cannot be read or written counts as empty, and `warn` is told once.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        known: Iterable[str] = (),
        full_text: bool = True,
        clock: Callable[[], float] = time.time,
        warn: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Open nothing yet. Without `full_text`, as where SQLite lacks FTS5, only the newest sessions are searched."""
        self.path = Path(path)
        self._file = SqliteFile(self.path, self._open, follow=True)
        self._attempt = Attempts(self._file, name="the memory", failure=self._failure, warn=warn)
        self._known = tuple(known)
        self._full_text, self._indexed = full_text, False
        self._clock = clock
        self._warn = warn
        self._found: OrderedDict[tuple[object, ...], tuple[Session, ...]] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def warm(self) -> None:
        """Open the file now, while there is time, rather than at the first `store`."""
        self._do("write", lambda _: None, None)

    @property
    def failed(self) -> bool:
        """Whether the disk did not let something be done, of which `warn` was told."""
        return bool(self._attempt.failed)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with suppress(sqlite3.Error):  # nothing that is lost was paid for
            self._file.close()

    def store(
        self,
        agent_name: str,
        task: str,
        result: str,
        *,
        success: bool = True,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep an execution that ends now, its task and result cut at LONGEST characters.

        `metadata` is JSON; more of it than LARGEST_METADATA is left out with a warning.
        """
        row = (
            _storable(agent_name),
            self._kept(task),
            task_hash(task),
            self._kept(result),
            int(success),
            iso(self._clock()),
            self._metadata(metadata or {}),
        )
        self._do("write", lambda connection: self._insert(connection, row), None)

    def search(self, query: str, *, agent: str | None = None, limit: int = 5) -> list[Session]:
        """Return the `limit` sessions most like `query`, of `agent` if one is named, the best first.

        Any text is a query. The same one is answered from memory until this or another process writes.
        """
        own, most = None if agent is None else _storable(agent), _most(limit)
        return self._existing(lambda connection: self._search(connection, query, own, most), [])

    def recent(self, limit: int = 10, *, agent: str | None = None) -> list[Session]:
        """Return the last `limit` sessions, of `agent` if one is named, the newest first."""
        where = "" if agent is None else "WHERE agent_name = :agent"
        values = {"agent": _storable(agent or ""), "limit": _most(limit)}
        return self._selected(f"{where} ORDER BY id DESC LIMIT :limit", values)

    def get(self, session_id: int) -> Session | None:
        """Return the session with the id `session_id`, None if there is none."""
        return next(iter(self._selected("WHERE id = ?", (_most(session_id),))), None)

    def of_run(self, run_id: str) -> Session | None:
        """Return the last session whose metadata has this `run_id`, None if there is none; looks at every session."""
        named = "CASE WHEN json_valid(metadata) THEN json_extract(metadata, '$.run_id') END"
        return next(iter(self._selected(f"WHERE {named} = ? ORDER BY id DESC LIMIT 1", (_storable(run_id),))), None)

    def stats(self) -> dict[str, Any]:
        """Return counts: sessions, successes and success_rate, in all and by agent, and the ten most repeated_tasks."""
        from . import session_counts  # as a process that stores need not

        return self._existing(session_counts.counted, session_counts.counted(None))

    def prune(self, older_than_days: float) -> int:
        """Remove the sessions that are older, give the space back, and return how many went."""
        cutoff = self._cutoff(older_than_days)
        return self._existing(lambda connection: self._prune(connection, cutoff), 0, kind="write")

    def count_older(self, than_days: float) -> int:
        """Return how many sessions `prune` would remove."""
        query, values = "SELECT count(*) FROM sessions WHERE timestamp < ?", (self._cutoff(than_days),)
        return self._existing(lambda connection: int(connection.execute(query, values).fetchone()[0]), 0)

    def export(self) -> Iterator[Session]:
        """Yield all sessions, the oldest first; others may be stored meanwhile."""
        last = -(2**63)
        while batch := self._after(last):
            yield from batch
            last = batch[-1].id

    def _after(self, last: int) -> list[Session]:
        return self._selected("WHERE id > ? ORDER BY id LIMIT ?", (last, _BATCH))

    def _selected(self, which: str, values: Sequence[Any] | Mapping[str, Any]) -> list[Session]:
        from . import sessions  # as above

        return self._existing(lambda connection: sessions.read(connection, which, values), [])

    def _open(self) -> sqlite3.Connection:
        connection = connect(self.path, SCHEMA)
        try:
            self._indexed = relevance.keep_index(connection, wanted=self._full_text)
        except BaseException:
            connection.close()
            raise
        self._found.clear()
        return connection

    def _existing(self, work: Callable[[sqlite3.Connection], T], otherwise: T, *, kind: str = "read") -> T:
        """Attempt `work` if there is a file: looking makes none."""
        return self._do(kind, work, otherwise) if os.path.lexists(self.path) else otherwise

    def _do(self, kind: str, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        def worked() -> T:
            with self._file as connection:
                return work(connection)

        return self._attempt(kind, worked, otherwise)

    def _failure(self, kind: str, error: Exception) -> str:
        return f"the memory {self.path}: {reason(error)}; {_WITHOUT[kind]}"

    def _insert(self, connection: sqlite3.Connection, row: Sequence[Any]) -> None:
        session = connection.execute(_INSERT, row).lastrowid
        if self._indexed:
            relevance.stored(connection, session or 0)

    def _search(self, connection: sqlite3.Connection, query: str, agent: str | None, limit: int) -> list[Session]:
        key = (*_moment(connection), query, agent, limit)
        if key not in self._found:
            if self._indexed:
                relevance.catch_up(connection)
                key = (*_moment(connection), query, agent, limit)
            with _one_state(connection):
                self._found[key] = self._most_alike(connection, query, agent, limit)
            if len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)
        self._found.move_to_end(key)
        return list(self._found[key])

    def _most_alike(
        self, connection: sqlite3.Connection, query: str, agent: str | None, limit: int
    ) -> tuple[Session, ...]:
        from . import sessions  # as above

        scores = relevance.search(connection, query, agent=agent, limit=limit, indexed=self._indexed)
        wanted = "WHERE id IN (SELECT value FROM json_each(?))"
        found = {s.id: s for s in sessions.read(connection, wanted, (json.dumps([i for i, _ in scores]),))}
        return tuple(replace(found[i], score=round(score, 3)) for i, score in scores)

    def _cutoff(self, days: float) -> str:
        return iso(max(0.0, self._clock() - days * 86_400))

    def _prune(self, connection: sqlite3.Connection, cutoff: str) -> int:
        # in steps, so that those who want to store need not wait
        some = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE timestamp < ? LIMIT ?)"
        removed = 0
        while count := connection.execute(some, (cutoff, _BATCH)).rowcount:
            removed += count
        if removed:
            if self._indexed:
                relevance.forget_removed(connection)
            connection.execute("PRAGMA incremental_vacuum").fetchall()  # works a page for each row that is fetched
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return removed

    def _kept(self, text: str) -> str:
        """Return as much of `text` as is stored; what cannot be is not looked at for secrets either."""
        safe = redact(text[: 4 * LONGEST], self._known)
        return _storable(safe if len(safe) <= LONGEST else f"{safe[: LONGEST - 1]}…")

    def _metadata(self, metadata: Mapping[str, Any]) -> str:
        kept = json.dumps(metadata if self._is_harmless(metadata) else self._without_secrets(metadata))
        if len(kept) <= LARGEST_METADATA:
            return kept
        self._warn(f"{len(kept):,} characters of metadata are too many to remember; left out")
        return "{}"

    def _is_harmless(self, metadata: Mapping[str, Any]) -> bool:
        """Say whether there are only texts, and one look at all of them finds no secret: most are so."""
        told = [text for text in (*metadata, *metadata.values()) if text is not None]
        if type(metadata) is not dict or not all(isinstance(text, str) for text in told):
            return False
        return redact(joined := "\n".join(told), self._known) == joined

    def _without_secrets(self, value: Any) -> Any:
        if isinstance(value, str):
            return redact(value, self._known)
        if isinstance(value, Mapping):
            return {self._without_secrets(key): self._without_secrets(item) for key, item in value.items()}
        return [self._without_secrets(item) for item in value] if isinstance(value, list | tuple) else value


def _most(limit: int) -> int:
    """Return `limit` as SQLite can take it; raises TypeError for what is no whole number, before a file is blamed."""
    return min(max(0, index(limit)), 2**63 - 1)


def _moment(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return what changes when another connection commits, and when this one writes."""
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return version, connection.total_changes


@contextmanager
def _one_state(connection: sqlite3.Connection) -> Iterator[None]:
    """Let all that the body reads be of one moment, whatever others store meanwhile."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.rollback()


def _storable(text: str) -> str:
    """Return `text` with what is half a character, which UTF-8 cannot hold, replaced."""
    return text.encode("utf-8", "replace").decode()
