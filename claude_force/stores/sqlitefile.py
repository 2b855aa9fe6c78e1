"""A SQLite file that work is attempted on: opened on first use, set aside if damaged, done without if out of reach.

It does not know what the tables hold, nor what the work is.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import ExitStack, contextmanager, suppress
from threading import RLock

from ..files import locked, private_directory
from .sqlite import is_damage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import TypeVar

    T = TypeVar("T")

    Warn = Callable[[str], object]


class SqliteFile:
    """One connection to the file at `path`, which threads take turns to use and a fork does not inherit.

    `opening` returns the connection; `name` is how warnings call the file, `without[kind]` says what a failure of
    that kind of work, such as "read", means for the user.
    """

    def __init__(
        self,
        path: Path,
        opening: Callable[[], sqlite3.Connection],
        *,
        name: str,
        without: Mapping[str, str],
        warn: Warn,
    ) -> None:
        self.path = path
        self._opening = opening
        self._name, self._without, self._warn = name, without, warn
        self._lock = RLock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._process = os.getpid()
        self._inherited: list[sqlite3.Connection | None] = []
        self._useless: set[str] = set()
        """Kinds of work that failed: a full disk, or a lock that is never freed, is not waited for again."""

    def attempt(self, kind: str, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Return what `work` returns, or `otherwise` where the disk does not let it; never raises for the disk.

        A damaged file is set aside with a warning and the work done on a new one. What fails for another reason is
        warned of once and its kind not attempted again.
        """
        with self._lock:
            for last in (False, True):
                if kind in self._useless:
                    break
                try:
                    return work(self._opened())
                except (sqlite3.Error, OSError) as error:
                    if last or not self._repaired(error):
                        self._give_up(kind, error)
            return otherwise

    def close(self) -> None:
        """Close the file; the next work opens it again."""
        with self._lock, suppress(sqlite3.Error):  # a full disk: what it could not take was warned of
            if self._connection and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._process != os.getpid():  # a fork must neither use nor close the connection of its parent
            self._inherited.append(self._connection)
            self._connection, self._process = None, os.getpid()
        if self._connection is None:
            with self._alone():
                self._identity = _identity(self.path)
                if self.path.is_symlink() or (self._identity and not self.path.is_file()):
                    raise sqlite3.DatabaseError("it is no file")  # a link could lead to a database of another program
                self._connection = self._opening()
                self._identity = self._identity or _identity(self.path)
        return self._connection

    def _repaired(self, error: sqlite3.Error | OSError) -> bool:
        """Set a damaged file aside; return whether it is worth trying again."""
        moved = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY_DBMOVED  # by another process
        if not moved and not (isinstance(error, sqlite3.Error) and is_damage(error)):
            return False
        self.close()
        try:
            aside = self._set_aside()
        except OSError:
            return False
        if aside:
            self._warn(f"{self._name} {self.path} is damaged ({error}); set aside as {aside}, going on with a new one")
        return True

    def _set_aside(self) -> str:
        """Rename the file and what lies beside it; return its new name, '' if another process was faster."""
        with self._alone():
            found = _identity(self.path)
            if found is None or found != self._identity:
                return ""
            aside = f".damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}"
            for suffix in ("-wal", "-shm", ""):  # the log first: a new file that found it would take it for its own
                with suppress(FileNotFoundError):
                    self._beside(suffix).rename(self._beside(aside + suffix))
            return self.path.name + aside

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from opening the file and from setting it aside.

        Who opened it while another one put a new file in its place would take the log of that for its own. Where the
        lock cannot be made, nothing can be set aside either.
        """
        with ExitStack() as held:
            with suppress(OSError):
                private_directory(self.path.parent)
                held.enter_context(locked(self._beside(".lock")))
            yield

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _give_up(self, kind: str, error: sqlite3.Error | OSError) -> None:
        if not self._useless:
            reason = (isinstance(error, OSError) and error.strerror) or error
            self._warn(f"{self._name} {self.path}: {reason}; {self._without[kind]}")
        self._useless.add(kind)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
