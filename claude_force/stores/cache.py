"""Answers that were paid for once: a shelf of JSON over SQLite, shared by all processes of a project.

It knows a reply and the key it is kept under. It does not know what a request is, which agents are excluded, or
where the user's key comes from.
"""

from __future__ import annotations

import hmac
import json
import os
import shelve
import sqlite3
import stat
import time
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from threading import RLock

from ..records import Reply, Usage
from .sqlite import connect, is_damage, transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Self, TypeVar

    T = TypeVar("T")

MB = 1_000_000

_APPLICATION_ID = 0x43464361
_MIGRATIONS = [
    [
        "CREATE TABLE entries (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, value BLOB NOT NULL, "
        "used INTEGER NOT NULL)",
        "CREATE INDEX entries_by_use ON entries (used)",
        "CREATE TABLE statistics (hits INTEGER NOT NULL, misses INTEGER NOT NULL, evictions INTEGER NOT NULL)",
        "INSERT INTO statistics VALUES (0, 0, 0)",
    ]
]
_TABLES = {statement for statement in _MIGRATIONS[0] if statement.startswith("CREATE")}
_NEXT = "(SELECT coalesce(max(used), 0) + 1 FROM entries)"
"""The order of use is counted, not timed: clocks go backwards."""


class ResponseCache:
    """On disk: a SQLite file at `path`, with `-wal` and `-shm` beside it while a process has it open.

    A killed process loses nothing that `put` returned from, a power failure the last few answers. Every answer lies
    there as JSON under an HMAC of its key and text: what bears another one, as in a cache that came with a cloned
    repository, counts as absent. No pickle is ever read.

    An entry lives `ttl_hours`; the least recently used go first when the files reach `max_size_mb` (10^6 bytes).
    Threads and processes may share it. No verb raises for what is wrong on the disk: a damaged file is set aside,
    one that cannot be read or written counts as empty, and `warn` is told once.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        secret: bytes | Callable[[], bytes],
        ttl_hours: float = 24,
        max_size_mb: float = 100,
        values: MutableMapping[str, bytes] | None = None,
        clock: Callable[[], float] = time.time,
        warn: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Open nothing yet. `secret`, or what it returns when first needed, is the user's key.

        `values` keeps the entries in place of SQLite, which then keeps the statistics; it may raise OSError.
        """
        self.path = Path(path)
        self._file = SqliteMapping(self.path, max_bytes=int(max_size_mb * MB))
        self._shelf = SealedShelf(self._file if values is None else values, secret)
        self._seconds = ttl_hours * 3600
        self._clock = clock
        self._warn = warn
        self._useless: set[str] = set()
        """`read`, `write` or both: what failed once is not tried again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; using the cache again is an error."""
        with suppress(sqlite3.Error, OSError):  # a full disk: what it could not take was told when it was put
            self._shelf.close()
            self._file.close()

    def get(self, key: str) -> Reply | None:
        """Return the reply kept under `key`, or None; counts a hit or a miss."""
        reply = self._attempt("read", lambda: self._fresh(key), None)
        self._attempt("write", lambda: self._file.record(key, hit=reply is not None), None)
        return reply

    def put(self, key: str, reply: Reply, *, agent: str = "") -> None:
        """Keep a complete `reply` under `key`; what is refused, truncated or empty is not kept."""
        if reply.stop_reason not in {"end_turn", "stop_sequence"} or reply.refusal or not reply.text.strip():
            return
        fields = vars(reply) | {"usage": vars(reply.usage)}
        entry = {"agent": agent, "stored": self._clock(), "reply": fields}
        self._attempt("write", lambda: self._shelf.__setitem__(key, entry), None)

    def stats(self) -> dict[str, int | float]:
        """Return counts over all processes, and the size on disk in MB of 10^6 bytes."""
        hits, misses, evictions, entries = self._existing(self._counts, (0, 0, 0, 0))
        return {
            "hits": hits,
            "misses": misses,
            "hit_rate": round(hits / (hits + misses), 4) if hits + misses else 0.0,
            "evictions": evictions,
            "size_mb": round(self._file.size() / MB, 3),
            "entries": entries,
        }

    def prune(self) -> int:
        """Remove what has expired or is not this user's, give the space back, and return how many entries went."""
        return self._existing(lambda: self._remove(lambda entry: not self._is_fresh(entry)), 0)

    def clear(self) -> int:
        """Remove all entries, and damaged files that were set aside; return how many entries went."""
        for old in self.path.parent.glob(f"{self.path.name}.damaged-*"):
            with suppress(OSError):  # a directory that was in the way may hold somebody's files
                old.unlink()
        return self._existing(lambda: self._remove(lambda _: True), 0)

    def verify(self) -> dict[str, int]:
        """Read everything; return how many `entries` are `valid`, `expired`, or `foreign`: not signed by this user.

        `damaged` is 1 if the file turned out to be damaged and was set aside.
        """
        before = self._identity()
        counts = self._existing(self._census, {"entries": 0, "valid": 0, "expired": 0, "foreign": 0})
        return counts | {"damaged": int(self._identity() != before)}

    def _fresh(self, key: str) -> Reply | None:
        entry = self._shelf.get(key)
        if entry is None or not self._is_fresh(entry):
            return None
        fields = entry["reply"]
        return Reply(**fields | {"usage": Usage(**fields["usage"])})

    def _is_fresh(self, entry: dict[str, Any] | None) -> bool:
        """Whether `entry` is within its time, also seen from a clock that was set back after it was kept."""
        return entry is not None and abs(self._clock() - entry["stored"]) < self._seconds

    def _counts(self) -> tuple[int, ...]:
        return (*self._file.statistics(), len(self._shelf))

    def _census(self) -> dict[str, int]:
        self._file.check()
        entries = [self._shelf.get(key) for key in self._shelf]
        foreign = entries.count(None)
        valid = sum(map(self._is_fresh, entries))
        return {
            "entries": len(entries),
            "valid": valid,
            "expired": len(entries) - valid - foreign,
            "foreign": foreign,
        }

    def _remove(self, unwanted: Callable[[dict[str, Any] | None], bool]) -> int:
        gone = [key for key in self._shelf if unwanted(self._shelf.get(key))]
        for key in gone:
            self._shelf.pop(key, None)
        self._file.compact()
        return len(gone)
