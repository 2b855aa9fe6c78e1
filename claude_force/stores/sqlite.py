"""Opening a SQLite file that many processes share, and writing to it in transactions.

It does not know what the tables hold, nor what to do about a damaged file: that is the store's decision, which is
the one that knows what a loss would mean.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager, suppress
from itertools import chain

from ..files import private_directory
from ..frozen import dataclass
from .tables import require_own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

BUSY_SECONDS = 10.0
"""How long a statement waits for other writers."""
_PAGE = 4096
JOURNAL = "a rollback journal lies beside it, which is none of ours"
"""What is said of a file that SQLite must not open at all."""


@dataclass(frozen=True)
class Schema:
    """What a store keeps in its file: anything else in it is another's, and could run what that one likes."""

    migrations: Sequence[Sequence[str]]
    """`migrations[n]` holds the statements that lead from `PRAGMA user_version` n to n + 1."""
    application_id: int = 0
    """Marks the file, unless 0, so that another program's can be told."""
    besides: Sequence[str] = ()
    """Statements that the store carries out itself where it finds it useful."""
    plain: str = ""
    """A pattern of the tables that may be of any columns, as `tables.require_own` reads it."""

    @property
    def version(self) -> int:
        """The newest version of the tables that we know."""
        return len(self.migrations)


def connect(path: Path, schema: Schema) -> sqlite3.Connection:
    """Open the database at `path` in WAL mode, made 0600 in directories 0700 if absent, its tables up to date.

    What cannot be written is opened for reading, in a copy in memory if its tables are older. A power failure may
    take the last commits, a killed process takes none. To be called while nobody else opens the file.

    The connection is in autocommit mode, write through `transaction`; threads may share it if they take turns.
    Raises OSError, and sqlite3.Error: see `is_damage`; NotSupportedError where a newer version made the file.
    """
    private_directory(path.parent)
    _refuse_journal(path)
    with suppress(FileExistsError):  # SQLite would make it as the umask says, and gives -wal and -shm its mode
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        return _prepared(str(path), schema)
    except sqlite3.OperationalError as error:
        if not is_read_only(error) or not path.is_file():
            raise
        # reading a WAL database writes to its -shm, unless nothing is said to change
        return _prepared(f"{path.absolute().as_uri()}?immutable=1", schema)


def look(path: Path, schema: Schema) -> sqlite3.Connection:
    """Open what is at `path` for reading, without changing anything, not even what SQLite keeps beside it.

    Raises as `connect` does, and sqlite3.OperationalError for a log without its shared memory.
    """
    if os.path.lexists(f"{path}-journal"):
        raise sqlite3.DatabaseError(JOURNAL)
    log = path.with_name(f"{path.name}-wal")
    # without a log nobody has written; with one, not even the shared memory beside it is written to
    how = "mode=ro&readonly_shm=1" if log.is_file() and log.stat().st_size else "immutable=1"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)
    try:
        with decoding():
            _version(connection, schema)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def decoding() -> Iterator[None]:
    """Raise DatabaseError where SQLite's own message quotes a file's bytes that are no UTF-8, at which Python fails."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise sqlite3.DatabaseError("it holds text that is no UTF-8") from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit all that the body writes, or nothing of it if it raises.

    IMMEDIATE: a transaction that begins by reading fails at once, without waiting, if another one writes meanwhile.
    """
    if connection.in_transaction:  # an interrupt came as it began, and nobody was there to end it
        connection.rollback()
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def is_damage(error: Exception) -> bool:
    """Whether `error` speaks of a file that holds something else than it should, rather than of one out of reach.

    No database or a malformed one is a plain DatabaseError; SQLITE_ERROR is a table that is missing or different.
    """
    if not isinstance(error, sqlite3.OperationalError):
        return type(error) is sqlite3.DatabaseError
    # 0: text that is no UTF-8
    return _code(error) in {0, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_IOERR_SHORT_READ}


def is_moved(error: Exception) -> bool:
    """Whether `error` speaks of a file that was renamed or removed since it was opened."""
    return _code(error) == sqlite3.SQLITE_READONLY_DBMOVED


def is_read_only(error: Exception) -> bool:
    """Whether `error` speaks of a file that cannot be opened for writing."""
    return _code(error) & 0xFF in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN} and not is_moved(error)


def is_full(error: Exception) -> bool:
    """Whether `error` speaks of a disk that has no room, or fails."""
    return _code(error) & 0xFF in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR} and not is_damage(error)


def is_busy(error: Exception) -> bool:
    """Whether `error` speaks of a lock that another process did not free in time."""
    return _code(error) & 0xFF == sqlite3.SQLITE_BUSY


def _code(error: Exception) -> int:
    """Return SQLite's extended code, 0 for an error that is not SQLite's own."""
    return getattr(error, "sqlite_errorcode", None) or 0


def _refuse_journal(path: Path) -> None:
    """Raise DatabaseError for a rollback journal: SQLite would undo what it says and remove whatever file it names.

    In WAL mode there is none, save where a process was killed as it made the file, of which nothing is kept then.
    """
    journal = f"{path}-journal"
    if not os.path.lexists(journal):
        return
    if os.path.lexists(f"{path}-wal") or (path.exists() and path.stat().st_size > _PAGE):
        raise sqlite3.DatabaseError(JOURNAL)
    path.unlink(missing_ok=True)  # first: without its journal it could be half a page
    os.unlink(journal)


def _prepared(name: str, schema: Schema) -> sqlite3.Connection:
    is_uri = name.startswith("file:")
    connection = sqlite3.connect(name, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=is_uri)
    try:
        with decoding():
            if _version(connection, schema) < schema.version:
                if is_uri:
                    connection = _copy(connection)
                _migrate(connection, schema)
            connection.execute("PRAGMA synchronous = NORMAL")  # FULL: 0.3 ms more a commit
            if is_uri:
                connection.execute("PRAGMA query_only = ON")
            else:  # a copy that was restored may not be in it, and would have journals that we refuse
                connection.execute("PRAGMA journal_mode = WAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _copy(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return a connection to a copy in memory, and close the one to what was copied."""
    with closing(connection):
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        connection.backup(copy)
    return copy


def _version(connection: sqlite3.Connection, schema: Schema) -> int:
    """Return the version of the tables; raises DatabaseError if they are not ours or newer than we are."""
    connection.execute("BEGIN")  # so that all is of one state: another process may be making the tables
    try:
        # no `pragma_user_version`: the file may hold a view of that name
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (mark,) = connection.execute("PRAGMA application_id").fetchone()
        if mark not in {0, schema.application_id}:
            raise sqlite3.DatabaseError("it is the database of another program")
        if version > schema.version:
            newer = f"its tables are of version {version}, not {schema.version}"
            raise sqlite3.NotSupportedError(f"a newer version made it: {newer}")
        version = max(0, version)
        require_own(connection, chain(*schema.migrations[:version]), schema.besides, schema.plain)
    finally:
        connection.rollback()
    return int(version)


def _migrate(connection: sqlite3.Connection, schema: Schema) -> None:
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only before the first page is written
    connection.execute("PRAGMA journal_mode = WAL")
    with transaction(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()  # anew: another may have been faster
        for statement in chain(*schema.migrations[max(0, version) :]):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {schema.application_id}")
        connection.execute(f"PRAGMA user_version = {schema.version}")
