"""Opening a SQLite file that many processes share, and writing to it in transactions.

It does not know what the tables hold, nor what to do about a damaged file: that is the store's decision, which is
the one that knows what a loss would mean.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager, suppress

from ..files import private_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

BUSY_SECONDS = 10.0
"""How long a statement waits for other writers."""


def connect(path: Path, *, migrations: Sequence[Sequence[str]], application_id: int = 0) -> sqlite3.Connection:
    """Open the database at `path` in WAL mode, made 0600 in directories 0700 if absent, its tables up to date.

    `migrations[n]` holds the statements that lead from `PRAGMA user_version` n to n + 1. `application_id`, unless 0,
    marks the file as ours: another program's is refused. What cannot be written is opened for reading, in a copy in
    memory if its tables are older. A power failure may take the last commits, a killed process takes none.

    The connection is in autocommit mode, write through `transaction`; threads may share it if they take turns.
    Raises OSError, and sqlite3.Error: see `is_damage`; NotSupportedError where a newer version made the file.
    """
    private_directory(path.parent)
    with suppress(FileExistsError):  # SQLite would make it as the umask says, and gives -wal and -shm its mode
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        return _prepared(str(path), migrations, application_id)
    except sqlite3.OperationalError as error:
        if not is_read_only(error) or not path.is_file():
            raise
        # reading a WAL database writes to its -shm, unless nothing is said to change
        return _prepared(f"{path.absolute().as_uri()}?immutable=1", migrations, application_id)


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


def is_busy(error: Exception) -> bool:
    """Whether `error` speaks of a lock that another process did not free in time."""
    return _code(error) & 0xFF == sqlite3.SQLITE_BUSY


def _code(error: Exception) -> int:
    """Return SQLite's extended code, 0 for an error that is not SQLite's own."""
    return getattr(error, "sqlite_errorcode", None) or 0


def _prepared(name: str, migrations: Sequence[Sequence[str]], application_id: int) -> sqlite3.Connection:
    is_uri = name.startswith("file:")
    connection = sqlite3.connect(name, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=is_uri)
    try:
        connection.execute("PRAGMA synchronous = NORMAL")  # FULL: 0.3 ms more a commit
        version = _version(connection, len(migrations), application_id)
        if version < len(migrations):
            if is_uri:
                connection = _copy(connection)
            _migrate(connection, migrations, application_id)
        if is_uri:
            connection.execute("PRAGMA query_only = ON")
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


def _version(connection: sqlite3.Connection, newest: int, application_id: int) -> int:
    """Return the version of the tables; raises DatabaseError if they are not ours or newer than we are."""
    # one statement sees one state: between two, another process may have made the tables
    version, found, tables = connection.execute(
        "SELECT (SELECT user_version FROM pragma_user_version), (SELECT application_id FROM pragma_application_id), "
        "(SELECT count(*) FROM sqlite_master)"
    ).fetchone()
    if application_id and found != application_id and (found or tables):
        raise sqlite3.DatabaseError("it is the database of another program")
    if version > newest:
        raise sqlite3.NotSupportedError(f"a newer version made it: its tables are of version {version}, not {newest}")
    return int(version)


def _migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]], application_id: int) -> None:
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only before the first page is written
    connection.execute("PRAGMA journal_mode = WAL")
    with transaction(connection):
        version = _version(connection, len(migrations), application_id)  # anew: another process may have been faster
        for statements in migrations[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {application_id}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
