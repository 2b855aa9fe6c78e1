"""What the rows of a ledger add up to, if they are such as a ledger writes: the file may be of a cloned repository."""

from __future__ import annotations

import sqlite3
import time

from .periods import PERIOD, window

_SUMS = (
    "SELECT coalesce(sum(max(amount, 0)), 0), coalesce(sum(max(uncertain, 0)), 0), "
    "(SELECT min(coalesce(sum(max(amount, 0)), 0), 4000000000000000000) FROM holds WHERE {held}), max(period), "
    "total(typeof(amount) != 'integer' OR amount < 0 OR typeof(uncertain) != 'integer') "
    "FROM spent WHERE scope = :scope AND period BETWEEN :first AND :last"
)
_BY_DAY = "day BETWEEN :first AND :last || '~'"
_OF_RUN = _SUMS.format(held="run = :run")
_OF_AGENT = _SUMS.format(held=f"agent = :agent AND {_BY_DAY}")
_OF_ALL = _SUMS.format(held=_BY_DAY)


def sums(connection: sqlite3.Connection | None, scope: str, run_id: str, now: float) -> tuple[int, int, int, str]:
    """Return what counts in `scope`: what is spent, the uncertain part of it, what is held, and the last period.

    Amounts are in nanodollars; without a connection nothing is spent. Raises DatabaseError for sums that no ledger
    writes.
    """
    first, last = (run_id, run_id) if scope == "run" else window(now, monthly=scope == "monthly")
    if connection is None:
        return 0, 0, 0, first
    agent = scope.removeprefix("agent:")
    query = _OF_RUN if scope == "run" else _OF_ALL if agent == scope else _OF_AGENT
    values = {"scope": scope, "first": first, "last": last, "run": run_id, "agent": agent}
    spent, uncertain, held, latest, odd = connection.execute(query, values).fetchone()
    if scope != "run" and latest and not PERIOD.fullmatch(latest):
        raise sqlite3.DatabaseError("it holds a day that is none")
    if odd:  # it came from somebody who would have us spend more
        raise sqlite3.DatabaseError("it holds sums that no ledger writes")
    return int(spent), int(uncertain), int(held), latest or first


def holders(connection: sqlite3.Connection) -> set[str]:
    """Return the ids of all who hold something; raises DatabaseError for what is none."""
    found = {holder for (holder,) in connection.execute("SELECT DISTINCT holder FROM holds")}
    if not all(isinstance(holder, str) for holder in found):
        raise sqlite3.DatabaseError("it holds calls that no ledger writes")
    return found


def check(connection: sqlite3.Connection) -> None:
    """Raise DatabaseError for rows because of which calls under a cap are refused now."""
    agents = [scope for (scope,) in connection.execute("SELECT DISTINCT scope FROM spent WHERE scope GLOB 'agent:*'")]
    for scope in ("daily", "monthly", *agents):
        sums(connection, scope, "", time.time())
    holders(connection)
