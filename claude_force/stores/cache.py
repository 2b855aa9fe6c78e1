"""Answers that were paid for once, shared by all processes of a project.

It knows a reply and the key it is kept under. It does not know what a request is, which agents are excluded, or
where the user's key comes from.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from ..errors import reason
from ..records import Reply, Usage
from .shelf import SealedShelf, SqliteMapping
from .sqlitefile import Attempts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from typing import Any, Self, TypeVar

    T = TypeVar("T")
    Entry = dict[str, Any]

MB = 1_000_000
_COMPLETE = {"end_turn", "stop_sequence"}


class ResponseCache:
    """On disk: a SQLite file at `path`, with `-wal` and `-shm` beside it while a process has it open.

    A killed process loses nothing that `put` returned from, a power failure the last few answers. An answer lies
    there as JSON under an HMAC of its key and text: what bears another one, as in a cache that came with a cloned
    repository, counts as absent. No pickle is ever read.

    An entry lives `ttl_hours`; the least recently used go first when the files reach `max_size_mb` (MB of 10^6
    bytes). Threads and processes may share it. Nothing that is wrong on the disk is raised: a damaged file is set
    aside, one that cannot be read or written counts as empty, and `warn` is told once.
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

        `values` keeps the entries in place of SQLite, which then keeps the statistics alone; it may raise OSError.
        """
        self.path = Path(path)
        self._file = SqliteMapping(self.path, max_bytes=int(max_size_mb * MB))
        self._shelf = SealedShelf(self._file if values is None else values, secret)
        self._seconds = ttl_hours * 3600
        self._clock = clock
        self._attempt = Attempts(self._file.file, name="the cache", failure=self._failure, warn=warn)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def failed(self) -> bool:
        """Whether the disk did not let something be done, of which `warn` was told."""
        return bool(self._attempt.failed)

    def close(self) -> None:
        """Close the file, and `values` if they can be closed; the next use opens the file again."""
        for part in (self._shelf, self._file):
            with suppress(sqlite3.Error, OSError):  # a full disk: it was warned of when an answer was put
                part.close()

    def get(self, key: str) -> Reply | None:
        """Return the reply kept under `key`, or None; counts a hit or a miss."""
        reply = self._attempt("read", lambda: self._found(key), None)
        self._attempt("write", lambda: self._file.record(key, hit=reply is not None), None)
        return reply

    def put(self, key: str, reply: Reply, *, agent: str = "") -> None:
        """Keep `reply` under `key`, unless it is refused, truncated or empty."""
        if reply.stop_reason not in _COMPLETE or reply.refusal or not reply.text.strip():
            return
        fields = vars(reply) | {"usage": vars(reply.usage)}
        entry = {"agent": agent, "stored": self._clock(), "reply": fields}
        self._attempt("write", lambda: self._shelf.__setitem__(key, entry), None)

    def stats(self) -> dict[str, int | float]:
        """Return hits, misses, hit_rate, evictions and entries over all processes, and size_mb on disk."""
        hits, misses, evictions, entries = self._existing("read", self._counts, (0, 0, 0, 0))
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
        return self._existing("write", self._remove_stale, 0)

    def clear(self) -> int:
        """Remove all entries, and damaged files that were set aside; return how many entries went."""
        for old in self.path.parent.glob(f"{self.path.name}.damaged-*"):
            with suppress(OSError):  # a directory that was in the way may hold somebody's files
                old.unlink()
        return self._existing("write", self._remove_all, 0)

    def verify(self) -> dict[str, int]:
        """Read everything; return how many entries are `valid`, `expired`, or `foreign`: not signed by this user.

        `damaged` is 1 if the file turned out to be damaged, and was set aside.
        """
        before = self._attempt.repairs
        counts = self._existing("read", self._census, {"valid": 0, "expired": 0, "foreign": 0})
        return counts | {"damaged": self._attempt.repairs - before}

    def _found(self, key: str) -> Reply | None:
        entry = self._shelf.get(key)
        if entry is None or self._state(entry) != "valid":
            return None
        fields = entry["reply"]
        try:
            return Reply(**fields | {"usage": Usage(**fields["usage"])})
        except TypeError:  # kept by a version whose replies have other fields
            return None

    def _state(self, entry: Entry | None) -> str:
        if entry is None:
            return "foreign"
        # also seen from a clock that was set back after the entry was kept
        return "valid" if abs(self._clock() - entry["stored"]) < self._seconds else "expired"

    def _counts(self) -> tuple[int, int, int, int]:
        return (*self._file.statistics(), len(self._shelf))

    def _census(self) -> dict[str, int]:
        self._file.check()
        counts = {"valid": 0, "expired": 0, "foreign": 0}
        for key in self._shelf:
            counts[self._state(self._shelf.get(key))] += 1
        return counts

    def _remove_stale(self) -> int:
        stale = [key for key in self._shelf if self._state(self._shelf.get(key)) != "valid"]
        for key in stale:
            with suppress(KeyError):  # another process was faster
                del self._shelf[key]
        self._file.compact()
        return len(stale)

    def _remove_all(self) -> int:
        count = len(self._shelf)
        self._shelf.clear()
        self._file.compact()
        return count

    def _existing(self, kind: str, work: Callable[[], T], otherwise: T) -> T:
        """Attempt `work` if there is a file: looking at a cache makes none."""
        return self._attempt(kind, work, otherwise) if self._file.exists() else otherwise

    def _failure(self, kind: str, error: Exception) -> str:
        place = getattr(error, "filename", None) or self.path  # the user's key, too, is a file
        state = "read: it counts as empty" if kind == "read" else "written: new answers are not kept"
        return f"{place}: {reason(error)}; the cache cannot be {state}"
