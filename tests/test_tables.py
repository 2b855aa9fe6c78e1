"""Which tables are ours: as SQLite keeps what our statements made, and nothing else."""

import sqlite3
from contextlib import closing
from itertools import chain

import pytest

from claude_force.stores import index, memory, shelf, state
from claude_force.stores.tables import require_own

SCHEMAS = {
    "memory": memory.SCHEMA,
    "cache": shelf.SCHEMA,
    "state": state.SCHEMA,
    "index": index.SCHEMA,
}
VERSIONS = [(name, version) for name, schema in SCHEMAS.items() for version in range(schema.version + 1)]


@pytest.fixture
def connection():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        yield opened


def carry_out(connection, statements):
    for statement in statements:
        connection.execute(statement)


@pytest.mark.parametrize(("name", "version"), VERSIONS)
def test_what_the_statements_of_a_version_made_is_that_versions_own(connection, name, version):
    statements = list(chain(*SCHEMAS[name].migrations[:version]))
    carry_out(connection, statements)
    require_own(connection, statements)
    if statements:
        with pytest.raises(sqlite3.DatabaseError, match="not ours"):
            require_own(connection, statements[1:])


def test_what_may_be_there_besides_need_not_be(connection):
    statements, besides = ["CREATE TABLE IF NOT EXISTS a (b)"], ["CREATE VIEW IF NOT EXISTS v AS SELECT b FROM a"]
    carry_out(connection, statements)
    require_own(connection, statements, besides)
    carry_out(connection, besides)
    require_own(connection, statements, besides)
    with pytest.raises(sqlite3.DatabaseError, match="not ours"):
        require_own(connection, statements)


@pytest.mark.parametrize("change", ["CREATE TABLE A2 (b)", "ALTER TABLE a ADD COLUMN c", "DROP TABLE a"])
def test_any_change_makes_it_anothers(connection, change):
    statements = ["CREATE TABLE a (b)"]
    carry_out(connection, [*statements, change])
    with pytest.raises(sqlite3.DatabaseError, match="not ours"):
        require_own(connection, statements)


@pytest.mark.parametrize("sql", [b"CREATE TABLE a (b)", "CREATE TABLE a (b)\0", ""])
def test_a_text_that_only_begins_like_ours_is_not_ours(connection, sql):
    """What SQLite reads is the text up to a zero byte, of whatever type it is."""
    carry_out(connection, ["CREATE TABLE a (b)", "PRAGMA writable_schema = ON"])
    connection.execute("UPDATE sqlite_master SET sql = ?", [sql])
    with pytest.raises(sqlite3.DatabaseError, match="not ours"):
        require_own(connection, ["CREATE TABLE a (b)"])
