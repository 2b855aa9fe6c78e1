"""Sums over executions by day, agent, model and workflow: what a rollup keeps of lines, and what analytics adds up.

Money is whole nanodollars. Knows lines as dictionaries, but neither files nor prices.
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from functools import lru_cache
from itertools import repeat
from operator import itemgetter
from sys import byteorder

from . import histogram

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    Names = tuple[str, str, str]
    """Agent, model, workflow; an execution without a model or a workflow has an empty name there."""

COUNTERS = (
    "executions",
    "successes",
    "cached",
    "milliseconds",
    "tokens",
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cost",
    "unpriced",
    "saved",
)
"""What is summed. `tokens` is the total of every execution; the four kinds of tokens are only of those that were paid
for, not of answers from the cache. `unpriced` counts executions whose cost is unknown.

A row of counters is one integer with 64 bits for each, the first lowest, so that adding two rows is one addition."""

MOST = 1 << 63
"""What no counter may reach: SQLite has signed numbers of 64 bits."""
_MOST_OF_ONE = 1 << 50
"""What an execution's milliseconds and nanodollars may not add up to: a million dollars, and then some."""
_MANY = MOST // _MOST_OF_ONE
"""Rows of executions that can be added up without a look at the sum."""
_FULL = 40_000
_TOOK = COUNTERS.index("milliseconds")
_FORMAT = struct.Struct(f"={len(COUNTERS)}Q")
_TOKENS = "I4x" if byteorder == "little" else "4xI"
_pack = struct.Struct(f"=QQQQ{_TOKENS * 5}QQQ").pack
"""Packs the row of one execution, whose tokens have 32 bits: a bound that takes no time to check."""
_TOO_MUCH = int.from_bytes(_FORMAT.pack(*[MOST] * len(COUNTERS)), byteorder)


def row(counters: Sequence[int]) -> int:
    """Return `counters` as one integer; raises ValueError if one is negative, no whole number, or not below MOST."""
    try:
        return added([int.from_bytes(_FORMAT.pack(*counters), byteorder)])
    except struct.error as error:
        raise ValueError(f"no row of counters: {error}") from None


def added(rows: Iterable[int]) -> int:
    """Return the sum of `rows`; raises ValueError where a counter reaches MOST, before it can run into the next one."""
    total = 0
    for row in rows:
        total += row
        if total & _TOO_MUCH:
            raise ValueError("the executions add up to more than can be counted")
    return total


def counters(row: int) -> tuple[int, ...]:
    """Return the counters of which `row` is made, in the order of COUNTERS."""
    return _FORMAT.unpack(row.to_bytes(_FORMAT.size, byteorder))


class Cell:
    """The sums of one day, agent, model and workflow; latencies are by histogram bucket of milliseconds."""

    __slots__ = ("errors", "latencies", "row")

    def __init__(self) -> None:
        self.row = 0
        self.latencies: dict[int, int] = {}
        self.errors: dict[str, int] = {}

    def merge(self, other: Cell) -> None:
        """Add another cell to this one; raises ValueError as `added` does."""
        self.row = added((self.row, other.row))
        histogram.merge(self.latencies, other.latencies)
        histogram.merge(self.errors, other.errors)


class Day:
    """The cells of one day by names, and the rows of its hours (`2026-11-22T06`, UTC)."""

    __slots__ = ("cells", "hours")

    def __init__(self) -> None:
        self.cells: dict[Names, Cell] = defaultdict(Cell)
        self.hours: dict[str, int] = defaultdict(int)

    def merge(self, other: Day) -> None:
        """Add another account of the same day to this one; raises ValueError as `added` does."""
        for names, cell in other.cells.items():
            self.cells[names].merge(cell)
        for hour, row in other.hours.items():
            self.hours[hour] = added((self.hours[hour], row))

    def total(self) -> int:
        """Return the row of all cells together; raises ValueError as `added` does."""
        return added(cell.row for cell in self.cells.values())


class Tally:
    """Takes in executions one by one and hands out their sums by day.

    `add` runs for every line of a file that may have millions, so it only collects rows, as bytes, which are summed
    in bulk: that takes two thirds of the time of adding each to its sums.
    """

    def __init__(self) -> None:
        self.weight = 0
        """How much is held: each execution weighs 1, about 160 bytes, and each group of them 5."""
        self._groups: dict[str, dict[Any, list[bytes]]] = {}
        self._hours: dict[str, _Hour] = {}
        self._errors: list[tuple[str, Any, str]] = []

    def add(self, record: Mapping[str, Any]) -> bool:
        """Count the execution that a line tells of; False, and nothing counted, if it is not a line of ours."""
        get = record.get
        try:
            stamp, agent, model, success, took, tokens, fresh, output, cost = _facts(record)
            if type(took) is not int:
                took = round(took)
            cost, unpriced = (round(cost * 1e9) if cost else 0), cost is None  # exact up to a million dollars a call
            if get("cached"):
                saved = round((get("saved_cost") or 0) * 1e9)
                data = _pack(1, success, 1, took, tokens, 0, 0, 0, 0, cost, unpriced, saved)
                much = took + cost + saved
            else:
                written, read = get("cache_creation_input_tokens", 0), get("cache_read_input_tokens", 0)
                data = _pack(1, success, 0, took, tokens, fresh, output, written, read, cost, unpriced, 0)
                much = took + cost
            if much >= _MOST_OF_ONE:
                return False
            hour = (_OURS.fullmatch(stamp) and self._hours.get(stamp[:13])) or self._hour(stamp)
            names = (agent, model, get("workflow_id"))
            group = hour.groups.get(names) or self._group(hour.groups, names)
            if success is not True:
                self._failed(hour, names, record)
        except KeyError:
            complete = {**_ABSENT, **record}
            return len(complete) > len(record) and self.add(complete)
        except (TypeError, ValueError, OverflowError, struct.error):
            return False
        hour.rows.append(data)
        group.append(data)
        self.weight += 1
        return True

    @property
    def is_full(self) -> bool:
        """Whether it is time to ask for the sums, before much memory is taken."""
        return self.weight > _FULL

    def days(self) -> dict[str, Day]:
        """Return the sums by day of all that was taken in, and begin anew; raises ValueError as `added` does."""
        days: dict[str, Day] = defaultdict(Day)
        for day, groups in self._groups.items():
            for names, rows in groups.items():
                if rows:
                    _put(days[day].cells, _plain(names), _cell(rows))
        for name, hour in self._hours.items():
            if hour.rows:
                days[hour.day].hours[name] = _sum(hour.rows)
        for day, names, error in self._errors:
            histogram.merge(days[day].cells[_plain(names)].errors, {error: 1})
        self.weight, self._groups, self._hours, self._errors = 0, {}, {}, []
        return days

    def _hour(self, stamp: str) -> _Hour:
        name = utc(stamp)[:13]
        if name not in self._hours:
            self._hours[name] = _Hour(name[:10], self._groups.setdefault(name[:10], {}))
        return self._hours[name]

    def _group(self, groups: dict[Any, list[bytes]], names: tuple[Any, ...]) -> list[bytes]:
        "".join(filter(None, names))  # a TypeError for a name that is no text
        self.weight += 5
        return groups.setdefault(names, [])

    def _failed(self, hour: _Hour, names: Any, record: Mapping[str, Any]) -> None:
        if record["success"] is not False:
            raise TypeError
        self._errors.append((hour.day, names, str(record.get("error_type") or "unknown")))


class _Hour:
    """Where the rows of one hour go: to its own, and to the groups of its day."""

    __slots__ = ("day", "groups", "rows")

    def __init__(self, day: str, groups: dict[Any, list[bytes]]) -> None:
        self.day = day
        self.groups = groups
        self.rows: list[bytes] = []


def moment(stamp: str) -> str:
    """Return what `utc` does, in a third of its time for one of ours on a day that was met before."""
    return stamp[:19] if _OURS.fullmatch(stamp) and _is_day(stamp[:10]) else utc(stamp)


def utc(stamp: str) -> str:
    """Return an ISO 8601 timestamp as `YYYY-MM-DDTHH:MM:SS` in UTC, where it is taken to be if it names no zone.

    Raises ValueError or TypeError for what is no timestamp, and these or OverflowError for the ends of time.
    """
    from datetime import UTC, datetime  # 2 ms, which appending need not pay

    moment = datetime.fromisoformat(stamp)
    found = (moment.astimezone(UTC) if moment.tzinfo else moment).isoformat()[:19]
    if found[:10] in _ENDS_OF_TIME:
        raise ValueError(f"{stamp} is at an end of time")
    return found


def is_hour(name: object) -> bool:
    """Whether `name` is an hour as Day has them."""
    stamp = f"{name}:00:00.000Z"
    return bool(_OURS.fullmatch(stamp)) and _is_day(stamp[:10])


@lru_cache
def _is_day(day: str) -> bool:
    from datetime import date  # 2 ms, as above

    try:
        return bool(date.fromisoformat(day)) and day not in _ENDS_OF_TIME
    except ValueError:
        return False


_OURS = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z", re.ASCII)
"""A timestamp as we write it, save that its day may be none."""
_ENDS_OF_TIME = ("0001-01-01", "9999-12-31")
"""Days that in other zones may lie beyond what can be told."""
_MEASURES = ("execution_time_ms", "total_tokens", "input_tokens", "output_tokens", "estimated_cost")
_ABSENT = {"model": None, **dict.fromkeys(_MEASURES, 0), "estimated_cost": None}
"""What a line from elsewhere may lack: all but when it was, who it was and whether it went well."""
_facts = itemgetter("timestamp", "agent_name", "model", "success", *_MEASURES)


def _plain(names: tuple[Any, ...]) -> Names:
    agent, model, workflow = (name or "" for name in names)
    return agent, model, workflow


def _put(cells: dict[Names, Cell], names: Names, cell: Cell) -> None:
    if names in cells:
        cells[names].merge(cell)
    else:
        cells[names] = cell


def _cell(rows: list[bytes]) -> Cell:
    """Return the sums of executions that have day and names in common."""
    cell = Cell()
    cell.row = _sum(rows)
    for took in memoryview(b"".join(rows)).cast("Q")[_TOOK :: len(COUNTERS)]:
        number = histogram.bucket(took)
        cell.latencies[number] = cell.latencies.get(number, 0) + 1
    return cell


def _sum(rows: list[bytes]) -> int:
    """Return the sum of the rows of executions."""
    if len(rows) > _MANY:
        return added(_sum(rows[start : start + _MANY]) for start in range(0, len(rows), _MANY))
    return sum(map(int.from_bytes, rows, repeat(byteorder)))
