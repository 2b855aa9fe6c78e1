"""Calls that were charged though nobody knows what they cost, and the true figure once a person knows it.

A row stays when it is settled, so that every sum can be explained. It knows the rows and the sums that they are part
of; who may be asked for a figure, and which ledgers a call is in, is not known here.
"""

from __future__ import annotations

import sqlite3
from os import urandom

from ..frozen import dataclass
from ..records import iso_seconds
from .periods import PERIOD, window

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTE = "INSERT INTO uncertain_calls VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)"
_OF_MONTH = "SELECT * FROM uncertain_calls WHERE day >= ? ORDER BY rowid"
_OPEN = "SELECT * FROM uncertain_calls WHERE ref = ? AND settled IS NULL"
_SETTLE = "UPDATE uncertain_calls SET settled = ?, settled_at = ? WHERE ref = ? AND settled IS NULL"
_CORRECT = (
    "UPDATE spent SET amount = min(amount - min(:charged, uncertain, amount) + :cost, 4000000000000000000), "
    "uncertain = max(0, uncertain - :charged) WHERE scope = :scope AND period = :period"
)


@dataclass(frozen=True)
class UncertainCall:
    """A call that was `charged` as much as it can have cost, in nanodollars, on a `day`, in UTC."""

    ref: str
    """8 hex digits, the same in each ledger that the call counts in; given here if it is empty."""
    run_id: str
    step: str
    agent: str
    day: str
    charged: int
    settled: int | None = None
    """What it did cost, None as long as nobody said so."""
    settled_at: str | None = None
    """When that was said: ISO 8601, UTC."""


def periods(run_id: str, agent: str, day: str) -> Mapping[str, str]:
    """Return by scope the period in which a call counts."""
    return {"run": run_id, "daily": day, "monthly": day[:7], f"agent:{agent}": day}


def note(connection: sqlite3.Connection, call: UncertainCall) -> None:
    """Write down a call that was just charged; in the transaction of that."""
    connection.execute(
        _NOTE, (call.ref or urandom(4).hex(), call.run_id, call.step, call.agent, call.day, call.charged)
    )


def of_month(connection: sqlite3.Connection, now: float) -> list[UncertainCall]:
    """Return the calls that still count at the time `now`, settled ones too, in the order of their charges.

    Raises DatabaseError for rows that no ledger writes.
    """
    first, _ = window(now, monthly=True)
    return [_sound(UncertainCall(*row)) for row in connection.execute(_OF_MONTH, (first,))]


def settle(connection: sqlite3.Connection, ref: str, cost: int, now: float) -> int:
    """Put `cost` in the place of what the call `ref` was charged, unless that was done; return how many rows it had.

    In a transaction. Raises DatabaseError for rows that no ledger writes.
    """
    found = [_sound(UncertainCall(*row)) for row in connection.execute(_OPEN, (ref,))]
    for call in found:
        scopes = periods(call.run_id, call.agent, call.day).items()
        amounts = {"charged": call.charged, "cost": cost}
        connection.executemany(_CORRECT, [{"scope": s, "period": p, **amounts} for s, p in scopes])
    connection.execute(_SETTLE, (cost, iso_seconds(now), ref))
    return len(found)


def _sound(call: UncertainCall) -> UncertainCall:
    """Return `call`; raises DatabaseError if it came from somebody who would have us spend more."""
    texts = (call.ref, call.run_id, call.step, call.agent, call.day, call.settled_at or "")
    amounts = (call.charged, call.settled or 0)
    worded = all(isinstance(text, str) for text in texts) and PERIOD.fullmatch(call.day)
    if not worded or not all(isinstance(amount, int) and amount >= 0 for amount in amounts):
        raise sqlite3.DatabaseError("it holds charges that no ledger writes")
    return call
