"""What was spent and what is about to be: one ledger for all threads and processes of a project, or of a user.

It knows amounts, runs, agents, days and months. It does not know what a request costs, whose caps hold, nor the words
in which a refusal is told. Amounts are whole nanodollars, days those of UTC, by which the API bills.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from ..errors import BudgetExceeded, reason
from ..frozen import dataclass
from . import uncertain
from .holders import Holder
from .periods import day_of, end
from .spent import holders, sums
from .sqlite import JOURNAL, is_busy, is_damage, is_full, is_read_only, look, transaction
from .sqlitefile import SqliteFile
from .state import SCHEMA, open_state
from .uncertain import UncertainCall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self, TypeVar

    T = TypeVar("T")

    Caps = Mapping[str, int | None]
    """By scope the most that may be spent: `run`, `daily`, `monthly`, or `agent:NAME`, which is by the day."""

_MOST = 10**18
"""A thousand million dollars: sums of a few stay within 64 bits."""
_ANEW = "move it away to begin a new one, in which nothing is spent yet"
_OUT_OF_REACH = "make room on the disk, or make the file and its directory writable"
_CHARGE = (  # saturates: beyond 64 bits SQLite would go on in floating point
    "INSERT INTO spent VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
    "amount = min(amount + excluded.amount, 4000000000000000000), "
    "uncertain = min(uncertain + excluded.uncertain, 4000000000000000000)"
)


@dataclass(frozen=True)
class Hold:
    """What a call may cost, set aside until it is settled; it counts on the day on which the call was sent."""

    id: int
    """0 if nothing is set aside."""
    holder: str
    run_id: str
    agent: str
    day: str
    amount: int
    step: str = ""
    ref: str = ""
    """By which the call is known if nobody learns what it cost."""


@dataclass(frozen=True)
class Standing:
    """How a scope stands at the time `now`: `uncertain` is the part of `spent` that may not have been billed."""

    scope: str
    limit: int | None
    spent: int
    uncertain: int
    reserved: int
    now: float
    """In seconds since 1970."""
    period: str
    """The last day or month that counts; the run's id for a run."""

    @property
    def left(self) -> int | None:
        """What may still be spent; None without a limit."""
        return None if self.limit is None else max(0, self.limit - self.spent - self.reserved)

    @property
    def resets_at(self) -> float | None:
        """When nothing is spent any more, in seconds since 1970; None for a run, which never begins anew."""
        return None if self.scope == "run" else end(self.period)


class Ledger:
    """On disk: `state.db` at `path`, with a row of `spent` for each run, day, month, and day of an agent.

    It has a row of `holds` for each call under way under a cap, and `holders/` beside it a locked file for each process
    that makes such calls; a row of `uncertain_calls` for each whose charge is not certain. Sums are kept, so that no
    call waits longer as the history grows.

    A killed process loses nothing that was settled; what it held is released when a cap would otherwise refuse. A power
    failure takes no call that was settled under a cap. A damaged file is never set aside: money would be forgotten.

    Each day has its own sum, which never exceeds the cap whatever the clock does, and what is dated up to a month ahead
    counts too: a clock that is set back frees no money, or if by more than a month, what the earlier day left over.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Callable[[], float] = time.time,
        warn: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Open nothing yet; `clock` gives seconds since 1970. Threads may share it, a fork opens it anew."""
        self.path = Path(path)
        self._clock, self._warn = clock, warn
        self._synchronous = ""
        self._holder = Holder(self.path.parent / "holders")
        self._owed: list[tuple[Hold, int, bool]] = []
        """What is to be charged, and whether that is certain; what a full disk did not take is tried again."""
        self._held: dict[int, Hold] = {}
        """What this process has set aside, by id."""
        self.file = SqliteFile(self.path, self._open, follow=True, forget=self._forget)
        """For others who keep something in `state.db`: one connection costs less to open and to close than two."""
        self._warned = self._locked_out = False
        """A full disk may have room again; a lock that is never freed would be waited for at each call."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reserve(
        self, amount: int, *, run_id: str, agent: str, caps: Caps, step: str = "", ref: str = ""
    ) -> Hold | Standing:
        """Set `amount` aside for a call, or return how the first of `caps` stands that it could break.

        What dead processes held is released first. Raises BudgetExceeded where the ledger cannot be read or written.
        """
        hold = Hold(0, "", run_id, agent, "", min(amount, _MOST), step, ref)
        return self._surely(lambda connection: self._reserve(connection, hold, caps))

    def settle(self, hold: Hold, spent: int, *, certain: bool = True) -> None:
        """Charge what a call cost in the place of what was set aside; if not `certain`, it may have cost less.

        Never raises for the disk: what it does not take is warned of once, stays reserved, and is tried again.
        """
        with self.file.lock:
            self.file.leave_parent()
            self._held.pop(hold.id, None)
            self._owed.append((hold, min(spent, _MOST), certain))
            self._attempt(_nothing, "what a call cost stays reserved")

    def note(self, spent: int, *, run_id: str, agent: str, certain: bool = True, step: str = "", ref: str = "") -> None:
        """Charge what a call cost for which nothing was reserved; what the disk does not take is warned of once."""
        if self._locked_out or not spent:
            return
        with self.file.lock:
            self.file.leave_parent()
            hold = Hold(0, "", run_id, agent, day_of(self._clock()), 0, step, ref)
            debt = (hold, min(spent, _MOST), certain)
            self._owed.append(debt)
            self._attempt(_nothing, "what calls cost is not recorded")
            if debt in self._owed:
                self._owed.remove(debt)

    def standing(self, caps: Caps, *, run_id: str = "") -> list[Standing]:
        """Return how each scope of `caps` stands, for `run` that of `run_id`; None is no limit. Looking makes no file.

        What dead processes held is released first, if the file can be written. Raises BudgetExceeded for a file that
        cannot be read.
        """
        now = self._clock()
        return self._look(lambda found: [_stands(found, scope, limit, run_id, now) for scope, limit in caps.items()])

    def uncertain_calls(self) -> list[UncertainCall]:
        """Return the calls of this month whose charges are or were not certain; raises as `standing` does."""
        now = self._clock()
        return self._look(lambda found: uncertain.of_month(found, now) if found else [])

    def correct(self, ref: str, cost: int) -> int:
        """Put what the call `ref` did cost in the place of its uncertain charge; return how many charges it had.

        It has none if that was done before. Raises BudgetExceeded where the ledger cannot be read or written.
        """
        if not os.path.lexists(self.path):
            return 0
        now = self._clock()
        return self._surely(lambda connection: uncertain.settle(connection, ref, min(cost, _MOST), now))

    def warm(self) -> None:
        """Open the file now, while there is time, rather than at the first `note`."""
        if not self._locked_out and not self.file.is_open:
            self._attempt(_nothing, "what calls cost is not recorded")

    def close(self) -> None:
        """Close the file; the next use opens it again. What was reserved and never settled is charged as uncertain."""
        with self.file.lock:
            if self._holder.held and not self._attempt(self._abandon, "what calls under way cost stays reserved"):
                self._holder.leave()
            with suppress(sqlite3.Error):  # what was to be written was, or has been warned of
                self.file.close()
            self._holder.close()

    def _forget(self) -> None:
        """In a fork, leave to the parent what is its own."""
        self._owed.clear()
        self._held.clear()

    def _reserve(self, connection: sqlite3.Connection, hold: Hold, caps: Caps) -> Hold | Standing:
        now = self._clock()  # once: between two looks at the clock a day could end
        refusal = _in_the_way(connection, hold, caps, now)
        if refusal and refusal.reserved and self._release_dead(connection):
            refusal = _in_the_way(connection, hold, caps, now)
        if refusal:
            return refusal
        row = (self._holder.id, hold.run_id, hold.agent, day_of(now), hold.amount)
        cursor = connection.execute("INSERT INTO holds VALUES (NULL, ?, ?, ?, ?, ?)", row)
        held = Hold(cursor.lastrowid or 0, *row, hold.step, hold.ref)
        self._held[held.id] = held
        return held

    def _release_dead(self, connection: sqlite3.Connection) -> int:
        """Release what dead processes hold; return the number of their calls. In a transaction, so one at a time."""
        dead = self._holder.dead(holders(connection))
        which = "SELECT value FROM json_each(?)"
        return connection.execute(f"DELETE FROM holds WHERE holder IN ({which})", (json.dumps([*dead]),)).rowcount  # noqa: S608

    def _look(self, read: Callable[[sqlite3.Connection | None], T]) -> T:
        """Release what the dead hold, and return what `read` finds; it is given nothing where there is no file."""
        if not os.path.lexists(self.path):
            return read(None)
        try:
            self._tidy()
            with self.file as connection:
                return read(connection)
        except (sqlite3.Error, OSError) as error:
            if not is_full(error):
                raise self._refusal(error) from error
        return self._glance(read)

    def _glance(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `read` finds where the disk has no room even for what SQLite keeps beside a file."""
        try:
            with closing(look(self.path, SCHEMA)) as connection:
                return read(connection)
        except sqlite3.Error as error:
            raise self._refusal(error) from error

    def _tidy(self) -> None:
        try:
            self._do(self._release_dead)
        except sqlite3.OperationalError as error:
            if not is_read_only(error):
                raise

    def _abandon(self, connection: sqlite3.Connection) -> None:
        """Charge what this process still holds: nobody knows any more what became of those calls."""
        mine = connection.execute("SELECT * FROM holds WHERE holder = ?", (self._holder.id,)).fetchall()
        for row in mine:
            hold = self._held.get(row[0]) or Hold(*row)  # the table has neither step nor ref
            _charge(connection, hold, hold.amount, certain=False)

    def _attempt(self, work: Callable[[sqlite3.Connection], object], otherwise: str) -> bool:
        """Do `work` if the disk lets us, and return whether it did; that it does not is told once."""
        try:
            self._do(work)
        except (sqlite3.Error, OSError) as error:
            if not self._warned:
                self._warn(f"the ledger {self.path}: {reason(error)}; {otherwise}")
            self._warned, self._locked_out = True, is_busy(error)
            return False
        return True

    def _surely(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Charge what is owed and do `work`, or raise BudgetExceeded."""
        try:
            return self._do(work)
        except (sqlite3.Error, OSError) as error:
            raise self._refusal(error) from error

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Charge what is owed and do `work`, both or neither."""
        with self.file as connection:
            # a reservation need not survive a power failure: neither does its process
            self._synchronise(connection, "FULL" if any(hold.id for hold, _, _ in self._owed) else "NORMAL")
            with transaction(connection):
                for hold, spent, certain in self._owed:
                    _charge(connection, hold, spent, certain=certain)
                found = work(connection)
            self._owed.clear()
            return found

    def _synchronise(self, connection: sqlite3.Connection, level: str) -> None:
        if level != self._synchronous:
            connection.execute(f"PRAGMA synchronous = {level}")
            self._synchronous = level

    def _open(self) -> sqlite3.Connection:
        self._holder.close()  # somebody may have removed its directory with the file
        self._synchronous = "NORMAL"
        connection = open_state(self.path)
        # rows out of their order would be charged to, and not be found
        (first,) = connection.execute("PRAGMA integrity_check(spent)").fetchone()
        if first != "ok":
            connection.close()
            raise sqlite3.DatabaseError(first)
        return connection

    def _refusal(self, error: sqlite3.Error | OSError) -> BudgetExceeded:
        damaged, newer = is_damage(error), isinstance(error, sqlite3.NotSupportedError)
        hint = f"{'update claude-force, or ' if newer else ''}{_ANEW}" if damaged or newer else _OUT_OF_REACH
        return BudgetExceeded(
            f"the ledger {self.path} {'is damaged' if damaged else 'is out of reach'} ({reason(error)}): "
            "under a cap nothing can be spent",
            hint=f"remove {self.path}-journal" if str(error) == JOURNAL else hint,
            retryable=is_busy(error),
        )


def _in_the_way(connection: sqlite3.Connection, hold: Hold, caps: Caps, now: float) -> Standing | None:
    standings = (_stands(connection, scope, limit, hold.run_id, now) for scope, limit in caps.items())
    return next((s for s in standings if s.left is not None and hold.amount > s.left), None)


def _stands(connection: sqlite3.Connection | None, scope: str, limit: int | None, run_id: str, now: float) -> Standing:
    """Return how `scope` stands; without a connection nothing is spent."""
    spent, doubtful, held, period = sums(connection, scope, run_id, now)
    return Standing(scope, limit, spent, doubtful, held, now, period)


def _charge(connection: sqlite3.Connection, hold: Hold, spent: int, *, certain: bool) -> None:
    """Put `spent` in the place of `hold`; the holder is asked for, since another file may have the same number."""
    if hold.id:
        connection.execute("DELETE FROM holds WHERE id = ? AND holder = ?", (hold.id, hold.holder))
    if not spent:
        return
    doubtful = 0 if certain else spent
    scopes = uncertain.periods(hold.run_id, hold.agent, hold.day).items()
    connection.executemany(_CHARGE, [(scope, period, spent, doubtful) for scope, period in scopes])
    if doubtful:
        call = UncertainCall(hold.ref, hold.run_id, hold.step, hold.agent, hold.day, spent)
        uncertain.note(connection, call)


def _nothing(_: sqlite3.Connection) -> None:
    """Do no work beside paying what is owed."""
