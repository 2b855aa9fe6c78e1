"""A session, and how it is read from its row, whatever another program or a cloned repository has put there.

It reads a connection to the table `sessions`, and does not know how that is opened or filled.
"""

from __future__ import annotations

import json
from math import isfinite

from ..frozen import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

_LONGEST = 32_000
"""Bytes of a text that are read, whoever kept more: as many as the characters that we keep can have."""
_DEEPEST = 100
"""Levels of brackets that metadata may have: with more, Python could not write again what it reads."""


@dataclass(frozen=True)
class Session:
    """One execution of an agent. `timestamp` is ISO 8601 in UTC, `task_hash` the first 8 hex digits of the task's MD5.

    `score` says how much alike a search found it, the more the higher; it is 0 where nothing was searched for.
    """

    id: int
    agent_name: str
    task: str
    task_hash: str
    result: str
    success: bool
    timestamp: str
    metadata: Mapping[str, Any]
    score: float = 0.0


def read(connection: sqlite3.Connection, which: str, values: Sequence[Any] | Mapping[str, Any]) -> list[Session]:
    """Return the sessions that `which` selects, a WHERE and what follows it, with `values` in it."""
    texts = ", ".join(map(_cut, ("agent_name", "task", "task_hash", "result", "timestamp", "metadata")))
    query = f"SELECT id, coalesce(success, 0) != 0, {texts} FROM sessions {which}"  # noqa: S608 - our own words
    found = []
    for number, success, *columns in connection.execute(query, values):
        agent, task, code, result, stamp, metadata = map(text, columns)
        found.append(Session(number, agent, task, code, result, bool(success), stamp, _object(metadata)))
    return found


def as_bytes(column: str) -> str:
    """Return the SQL for a column that `text` can read: to SQLite any value is of any type, and any bytes are text."""
    return f"CAST({column} AS BLOB)"


def _cut(column: str) -> str:
    return f"substr({as_bytes(column)}, 1, {_LONGEST})"


def text(value: bytes | None) -> str:
    """Return the text of a column, as far as it is one: that of NULL is empty."""
    return (value or b"").decode("utf-8", "replace")


def _object(metadata: str) -> dict[str, Any]:
    """Return the JSON object in `metadata`, an empty one for what is none, or could not be written as JSON again."""
    try:
        value = json.loads(metadata or "{}", parse_float=_finite, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) and not _is_deeper(value, _DEEPEST) else {}


def _finite(digits: str) -> float:
    return number if isfinite(number := float(digits)) else _refuse(digits)


def _refuse(number: str) -> NoReturn:
    raise ValueError(number)


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return not levels or any(_is_deeper(one, levels - 1) for one in inner)
