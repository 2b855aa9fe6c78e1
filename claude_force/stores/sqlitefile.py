"""A SQLite file that many threads and processes share, for as long as a store has it open.

It does not know what the tables hold, nor what damage means: a file is set aside or removed where its store says so.
`Attempts` is for stores that one can do without.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import ExitStack, contextmanager, suppress
from threading import RLock

from ..files import locked, private_directory
from .sqlite import decoding, is_damage, is_moved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TypeVar

    T = TypeVar("T")

_SUFFIXES = ("-journal", "-wal", "-shm", "")
"""Of what is one with a file; the logs first, which a new file would take for its own."""

_UNFORESEEN = (TypeError, ValueError, ArithmeticError, RecursionError)
"""What comes of rows that are of another kind than ours."""


class SqliteFile:
    """One connection to the file at `path`, made by `opening` when needed; `with` gives it to one thread at a time.

    A fork opens the file anew, before which `forget` is called: what is not written yet is for its parent to write.
    If another process moves the file away, SQLite writes on to what was moved; who is to `follow` opens what is at
    `path` at its next turn, at the price of a look at it, 2 us, for each.

    On disk beside it: `-wal` and `-shm` while a process has it open, and an empty `.lock`, held while the file is
    opened, closed and set aside. Who opened it while another process put a new file in its place would take the log of
    that for its own; who closed it then would remove the log.
    """

    def __init__(
        self,
        path: Path,
        opening: Callable[[], sqlite3.Connection],
        *,
        follow: bool = False,
        forget: Callable[[], object] = lambda: None,
    ) -> None:
        self.path = path
        self._name = str(path)  # as it is looked at in each turn
        self.lock = RLock()
        """Held within `with`; to be held by who needs several turns in succession."""
        self._opening, self._follow, self._forget = opening, follow, forget
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int, int] | None = None
        """Of the file that was opened, or could not be."""
        self._process = os.getpid()
        self._inherited: list[sqlite3.Connection | None] = []

    def __enter__(self) -> sqlite3.Connection:
        """Wait for the turn and return the connection.

        Raises what `opening` does, and DatabaseError for a link or what else is no file.
        """
        self.lock.acquire()
        try:
            if self._connection is None or self._process != os.getpid() or self._has_moved():
                self._connection = self._opened()
        except BaseException:
            self.lock.release()
            raise
        return self._connection

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.lock.release()
        if isinstance(error, UnicodeDecodeError):
            with decoding():
                raise error

    @property
    def is_open(self) -> bool:
        """Whether this process has the file open."""
        return self._connection is not None and self._process == os.getpid()

    def leave_parent(self) -> None:
        """In a fork, begin anew: it must neither use nor close the connection of its parent."""
        if self._process != os.getpid():
            self._inherited.append(self._connection)
            self._connection, self._process = None, os.getpid()
            self._forget()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self.lock:
            self.leave_parent()
            if self._connection:
                with self._alone():
                    self._connection.close()
                self._connection = None

    def set_aside(self) -> Path | None:
        """Rename the file, so that the next use makes a new one, and return its new path.

        Returns None if it is no longer there, another thread or process having been faster. Raises OSError.
        """
        aside = self._beside(f".damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}")

        def rename(suffix: str) -> None:
            # who looks into it with sqlite3 is not to have a foreign journal carried out either
            self._beside(suffix).rename(aside.with_name(aside.name + suffix.replace("-journal", ".journal")))

        return aside if self._away(rename) else None

    def remove(self) -> None:
        """Remove the file, unless another one is there by now; raises OSError."""
        self._away(lambda suffix: self._beside(suffix).unlink())

    def _has_moved(self) -> bool:
        return self._follow and _identity(self._name) != self._identity

    def _opened(self) -> sqlite3.Connection:
        self.close()
        if not self.path.parent.is_dir():
            with suppress(OSError):  # in which the lock is to lie; `opening` says what is wrong
                private_directory(self.path.parent)
        with self._alone():
            self._identity = _identity(self.path)
            if self._identity and self._identity[2] != stat.S_IFREG:
                # a link could lead to a database of another program
                raise sqlite3.DatabaseError("it is no file, or a link")
            connection = self._opening()
            self._identity = self._identity or _identity(self.path)
            return connection

    def _away(self, step: Callable[[str], object]) -> bool:
        """Take `step` with the suffix of each file, if they are still those that were opened; return whether."""
        with self.lock:
            self.close()
            with self._alone():
                found = _identity(self.path)
                if found is None or found != self._identity:
                    return False
                for suffix in _SUFFIXES:
                    with suppress(FileNotFoundError):
                        step(suffix)
                return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from doing the like; where no lock can be made, nothing can be set aside either."""
        with ExitStack() as held:
            with suppress(OSError):
                held.enter_context(locked(self._beside(".lock")))
            yield

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)


class Attempts:
    """Work on a file that one can do without: it never raises for the disk.

    A damaged file is set aside with a warning and the work done on a new one. What fails for another reason is warned
    of once, in the words that `failure` has for it, and its kind, such as "read", not attempted again: a full disk, or
    a lock that is never freed, is not waited for twice. `name` is how the warnings call the file.
    """

    def __init__(
        self,
        file: SqliteFile,
        *,
        name: str,
        failure: Callable[[str, Exception], str],
        warn: Callable[[str], object],
    ) -> None:
        self.repairs = 0
        """How often the file was set aside."""
        self._file = file
        self._name, self._failure, self._warn = name, failure, warn
        self._useless: dict[str, None] = {}

    @property
    def failed(self) -> str:
        """The last kind of work that the disk did not let be done, '' if there was none."""
        return next(reversed(self._useless), "")

    def __call__(self, kind: str, work: Callable[[], T], otherwise: T) -> T:
        """Return what `work` returns, or `otherwise` where the disk does not let it; raises neither of its errors."""
        with self._file.lock:  # also between failure and repair, lest two threads repair and the second harm the first
            for last in (False, True):
                if kind in self._useless:
                    break
                try:
                    return work()
                except (sqlite3.Error, OSError) as error:
                    if last or not self._repaired(error):
                        self._give_up(kind, error)
                except _UNFORESEEN as error:  # rather than lose what was paid for; it may be our own fault, too
                    self._give_up(kind, error)
            return otherwise

    def _repaired(self, error: sqlite3.Error | OSError) -> bool:
        """Set a damaged file aside; return whether it is worth trying again."""
        if not is_damage(error) and not is_moved(error):
            return False
        try:
            aside = self._file.set_aside()
        except OSError:
            return False
        if aside:
            self.repairs += 1
            found = f"{self._name} {self._file.path} is damaged ({error})"
            self._warn(f"{found}; set aside as {aside.name}, going on with a new one")
        return True

    def _give_up(self, kind: str, error: Exception) -> None:
        if not self._useless:
            self._warn(self._failure(kind, error))
        self._useless[kind] = None


def _identity(path: str | Path) -> tuple[int, int, int] | None:
    """Return device, inode and type of what lies at `path`."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, stat.S_IFMT(status.st_mode)
