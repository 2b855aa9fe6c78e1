"""`state.db`: what all processes of a project, or of a user, share about money and about the API's health.

It knows the tables and their versions. What the rows mean is the ledger's and the circuits' business.
"""

from __future__ import annotations

from .sqlite import Schema, connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

_LEDGER = (
    "CREATE TABLE spent (scope TEXT NOT NULL, period TEXT NOT NULL, amount INTEGER NOT NULL, "
    "uncertain INTEGER NOT NULL, PRIMARY KEY (scope, period)) WITHOUT ROWID",
    "CREATE TABLE holds (id INTEGER PRIMARY KEY, holder TEXT NOT NULL, run TEXT NOT NULL, agent TEXT NOT NULL, "
    "day TEXT NOT NULL, amount INTEGER NOT NULL)",
    "CREATE TABLE uncertain_calls (ref TEXT NOT NULL, run TEXT NOT NULL, step TEXT NOT NULL, agent TEXT NOT NULL, "
    "day TEXT NOT NULL, charged INTEGER NOT NULL, settled INTEGER, settled_at TEXT)",
)
_CIRCUITS = (
    "CREATE TABLE circuits (name TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE paces (name TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID",
)
SCHEMA = Schema([[*_LEDGER[:2], *_CIRCUITS], [*_LEDGER[2:]]])


def open_state(path: Path) -> sqlite3.Connection:
    """Open the `state.db` at `path`, made if absent, its tables up to date; raises as `sqlite.connect` does."""
    return connect(path, SCHEMA)
