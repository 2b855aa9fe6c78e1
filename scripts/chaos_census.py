"""The census of money and work: what the simulator billed, held against what runs kept and what the ledger says."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass

from chaos_actors import name_of
from stage import called, whole

HEADINGS = ("PHASE", "NEEDED", "PAID", "LOST", "AT MOST", "DOUBLED", "SPENT", "IN LEDGER", "CAP")


@dataclass(frozen=True)
class Row:
    """What became of the calls of one phase; money is in nanodollars, `spent` by the simulator's bills.

    `needed` are distinct calls. Of the answers that were `paid` some are `lost`: no run kept them, so that they were
    paid once more; that may happen `at_most` so often. What was paid though it was kept is `doubled`.
    """

    phase: str
    needed: int
    paid: int
    lost: int
    at_most: int
    doubled: int
    spent: int
    ledger: int
    cap: int | None = None

    @property
    def ok(self):
        """Whether nothing was paid twice, nothing lost that need not be, and no cap exceeded."""
        return not self.doubled and 0 <= self.lost <= self.at_most and (self.cap is None or self.spent <= self.cap)

    @property
    def cells(self):
        """The columns of `HEADINGS`."""
        counts = (self.needed, self.paid, self.lost, self.at_most, self.doubled)
        money = [dollars(amount) for amount in (self.spent, self.ledger)]
        return self.phase, *(f"{count:,}" for count in counts), *money, "-" if self.cap is None else dollars(self.cap)


def dollars(nanodollars):
    """Return an amount to the last nanodollar."""
    return f"${nanodollars // 10**9}.{nanodollars % 10**9:09}"


def row(phase, needed, bills, ledger, *, kept_at=None, at_most=0, cap=None):
    """Return the row for `bills` to the `needed` names of calls.

    `kept_at` tells by name when an answer was seen to be kept: what is paid later is doubled. Without it every answer
    but the first is. What nobody needed counts as doubled, too.
    """
    doubled = set()
    if kept_at is None:
        met = set()
        doubled = {n for n, bill in enumerate(bills) if bill.call in met or met.add(bill.call)}
    else:
        doubled = {n for n, bill in enumerate(bills) if bill.asked > kept_at.get(bill.call, bill.asked)}
    doubled |= {n for n, bill in enumerate(bills) if bill.call not in needed}
    lost = len(bills) - len(doubled) - len(set(needed))
    return Row(phase, len(set(needed)), len(bills), lost, at_most, len(doubled), total(bills), ledger, cap)


def total(bills):
    """Return what bills come to."""
    return sum(bill.cost for bill in bills)


def standing(state):
    """Return what the ledger in `state` has: spent, the part of it that is uncertain, and reserved, in nanodollars.

    What dead processes had reserved is released before.
    """
    status, _, said = called(state.parent, "budget", "show")
    if status or said:
        raise AssertionError(f"budget show: status {status}: {said}")
    with closing(sqlite3.connect(state / "state.db")) as connection:
        spent = "SELECT coalesce(sum(amount), 0), coalesce(sum(uncertain), 0) FROM spent WHERE scope = 'daily'"
        held = "SELECT coalesce(sum(amount), 0) FROM holds"
        return *connection.execute(spent).fetchone(), *connection.execute(held).fetchone()


def compare(stage, bills, state):
    """Return what the ledger in `state` has; any difference from `bills` is a problem."""
    spent, uncertain, reserved = standing(state)
    if (spent, uncertain, reserved) != (total(bills), 0, 0):
        found = f"{dollars(spent)}, {dollars(uncertain)} of it uncertain, and {dollars(reserved)} reserved"
        stage.problems.append(f"paid {dollars(total(bills))}, in the ledger of {state.parent.name} {found}")
    return spent


def bound(stage, bills, state):
    """Return what the ledger in `state` has; it is a problem if it has less than `bills`, or is sure of cut answers."""
    spent, uncertain, reserved = standing(state)
    certain = total([bill for bill in bills if bill.whole])
    if reserved or not spent - uncertain <= certain <= total(bills) <= spent:
        found = f"{dollars(spent)}, {dollars(uncertain)} of it uncertain, and {dollars(reserved)} reserved"
        stage.problems.append(
            f"paid {dollars(total(bills))}, {dollars(certain)} of it for whole answers, but in the ledger {found}"
        )
    return spent


def kept(journal, task):
    """Return how often each call stands in a journal as answered, and not as recalled: read by plain JSON."""
    found = Counter()
    for line in journal.read_bytes().split(b"\n") if journal.exists() else ():
        entry = whole(line) or {}
        ended = entry.get("status") in {"ok", "cached"} and not entry.get("recalled") and "members" not in entry
        if "step" in entry and ended:
            found[name_of(task, entry["step"], entry.get("member"))] += 1
    return found


def begun(journal):
    """Say whether a journal tells what its run is to do: it can be resumed."""
    lines = journal.read_bytes().split(b"\n") if journal.exists() else ()
    return any("session" in (whole(line) or {}) for line in lines)
