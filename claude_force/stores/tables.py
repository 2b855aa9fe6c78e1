"""Whether the tables of a database are those that we make: a file may have come with a cloned repository.

A view, a trigger, a check or a default could run for ever, fill the memory, or undo what is written. It knows SQL as
`sqlite_master` keeps it; it does not know what the tables hold, nor what becomes of a file that is refused.
"""

from __future__ import annotations

import re
import sqlite3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_OF_SQLITE = {
    "CREATE TABLE sqlite_sequence(name,seq)",
    "CREATE TABLE sqlite_stat1(tbl,idx,stat)",
    "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)",
}
# texts, not compiled at each start: few files need them
_NAME = r"""(\w+|"[\w ]+"|'[\w ]+')"""
_COLUMN = rf"{_NAME}( ASC| DESC)?"
_PLAIN_INDEX = rf"(?i)CREATE (UNIQUE )?INDEX {_NAME} ON {_NAME} ?\({_COLUMN}(, ?{_COLUMN})*\)"
_PLAIN_TABLE = rf"""(?i)CREATE TABLE {_NAME}\s*\([\w\s,.()"'{{}}\[\]-]*\)( WITHOUT ROWID)?"""
_RUNS = r"(?i)\b(AS|CHECK|COLLATE|CONFLICT|GENERATED|REFERENCES)\b|\bDEFAULT\s*\("


def require_own(
    connection: sqlite3.Connection, statements: Iterable[str], besides: Iterable[str] = (), plain: str = ""
) -> None:
    """Raise DatabaseError unless the file holds what `statements` make, and else at most what `besides` do, or SQLite.

    Tables whose SQL goes on after CREATE TABLE as the pattern `plain` says may be of any columns, and may have any
    indexes of columns, as long as nothing in them can run. It takes 20 us, and looks at nothing but `sqlite_master`.
    """
    found = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    odd = (found ^ _made(statements)) - _made(besides) - _OF_SQLITE
    if odd and not (plain and all(_is_plain(sql, plain) for sql in odd)):
        raise sqlite3.DatabaseError("its tables are not ours")


def _made(statements: Iterable[str]) -> set[str]:
    """Return what SQLite keeps of `statements`."""
    return {sql.replace(" IF NOT EXISTS", "", 1) for sql in statements if sql.startswith("CREATE")}


def _is_plain(sql: object, tables: str) -> bool:
    """Say whether `sql` makes one of `tables`, or an index, of which no part is computed."""
    if not isinstance(sql, str) or re.search(_RUNS, sql):
        return False
    is_table = re.match(f"(?i)CREATE TABLE ({tables})", sql) and re.fullmatch(_PLAIN_TABLE, sql)
    return bool(is_table or re.fullmatch(_PLAIN_INDEX, sql))
