"""Sums over executions by day, agent, model and workflow: what a rollup keeps of lines, and what analytics adds up.

Money is whole nanodollars throughout. Knows lines as dictionaries, but neither files nor prices.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from operator import add, itemgetter

from . import histogram

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Names = tuple[str, str, str]
    """Agent, model, workflow; an execution without a model or a workflow has an empty name there."""
    Counters = list[int]
    """One for each of COUNTERS."""

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
for, not of answers from the cache. `unpriced` counts executions whose cost is unknown."""

ZERO = (0,) * len(COUNTERS)


class Cell:
    """The sums of one day, agent, model and workflow; latencies are by histogram bucket of milliseconds."""

    __slots__ = ("counters", "errors", "latencies")

    def __init__(self) -> None:
        self.counters: Counters = list(ZERO)
        self.latencies: dict[int, int] = {}
        self.errors: dict[str, int] = {}

    def merge(self, other: Cell) -> None:
        """Add another cell to this one."""
        self.counters = plus(self.counters, other.counters)
        histogram.merge(self.latencies, other.latencies)
        for error, count in other.errors.items():
            self.errors[error] = self.errors.get(error, 0) + count


class Day:
    """The cells of one day by names, and the counters of its hours (`2026-11-22T06`, UTC)."""

    __slots__ = ("cells", "hours")

    def __init__(self) -> None:
        self.cells: dict[Names, Cell] = defaultdict(Cell)
        self.hours: dict[str, Counters] = defaultdict(lambda: list(ZERO))

    def merge(self, other: Day) -> None:
        """Add another account of the same day to this one."""
        for names, cell in other.cells.items():
            self.cells[names].merge(cell)
        for hour, counters in other.hours.items():
            self.hours[hour] = plus(self.hours[hour], counters)

    def totals(self) -> Counters:
        """Return the counters of all cells together."""
        return total(cell.counters for cell in self.cells.values())


class Tally:
    """Takes in executions one by one and hands out their sums by day.

    Rows are collected as bytes and summed in bulk, which takes a third of the time of adding each to its sums, and
    leaves the garbage collector nothing to look at.
    """

    def __init__(self) -> None:
        self.count = 0
        """Executions taken in since the last hand-out."""
        self._days: dict[str, dict[Any, list[bytes]]] = {}
        self._hours: dict[str, _Place] = {}
        self._errors: list[tuple[str, Any, str]] = []

    def add(self, record: Mapping[str, Any]) -> bool:
        """Count the execution that a line tells of; False, and nothing counted, if it is not a line of ours."""
        try:
            stamp, agent, success = _IDENTITY(record)
            row = _row(record, success)
            if stamp[-1] != "Z":
                stamp = utc(stamp)
            place = self._hours.get(stamp[:13]) or self._place(stamp)
            names = (agent, record.get("model"), record.get("workflow_id"))
            group = place.groups.get(names)
            if group is None:
                group = _new_group(place.groups, names)
        except (TypeError, KeyError, IndexError, ValueError, OverflowError, struct.error):
            return False
        place.rows.append(row)
        group.append(row)
        self.count += 1
        if not success:
            self._errors.append((place.day, names, str(record.get("error_type") or "unknown")))
        return True

    def days(self) -> dict[str, Day]:
        """Return the sums by day of all that was taken in, and begin anew."""
        days: dict[str, Day] = defaultdict(Day)
        for day, groups in self._days.items():
            for names, rows in groups.items():
                days[day].cells[_plain(names)].merge(_cell(rows))
        for hour, place in self._hours.items():
            days[place.day].hours[hour] = _sums(b"".join(place.rows))
        for day, names, error in self._errors:
            errors = days[day].cells[_plain(names)].errors
            errors[error] = errors.get(error, 0) + 1
        self.count, self._days, self._hours, self._errors = 0, {}, {}, []
        return days

    def _place(self, stamp: str) -> _Place:
        hour = utc(stamp)[:13]
        if hour not in self._hours:
            self._hours[hour] = _Place(hour[:10], self._days.setdefault(hour[:10], {}))
        return self._hours[hour]


class _Place:
    """Where the rows of one hour go: to its own, and to the groups of its day."""

    __slots__ = ("day", "groups", "rows")

    def __init__(self, day: str, groups: dict[Any, list[bytes]]) -> None:
        self.day = day
        self.groups = groups
        self.rows: list[bytes] = []


def plus(one: Iterable[int], other: Iterable[int]) -> Counters:
    """Return the sum of two rows of counters."""
    return list(map(add, one, other))


def total(rows: Iterable[Iterable[int]]) -> Counters:
    """Return the sum of `rows` of counters."""
    return [sum(column) for column in zip(ZERO, *rows, strict=True)]


def utc(stamp: str) -> str:
    """Return an ISO 8601 timestamp as `YYYY-MM-DDTHH:MM:SS` in UTC, where it is taken to be if it names no zone.

    Raises ValueError or TypeError for what is no timestamp, OverflowError for the ends of time.
    """
    from datetime import UTC, datetime  # 2 ms, which appending need not pay

    moment = datetime.fromisoformat(stamp)
    return (moment.astimezone(UTC) if moment.tzinfo else moment).isoformat()[:19]


_IDENTITY = itemgetter("timestamp", "agent_name", "success")
_pack = struct.Struct(f"={len(COUNTERS)}Q").pack


def _row(record: Mapping[str, Any], success: bool) -> bytes:
    """Return the counters of one execution; struct.error tells of what is no whole number, or negative."""
    get = record.get
    cost, saved, cached = get("estimated_cost"), get("saved_cost"), get("cached", False)
    if type(success) is not bool or type(cached) is not bool:
        raise TypeError
    return _pack(
        1,
        success,
        cached,
        round(get("execution_time_ms", 0)),
        get("total_tokens", 0),
        0 if cached else get("input_tokens", 0),
        0 if cached else get("output_tokens", 0),
        0 if cached else get("cache_creation_input_tokens", 0),
        0 if cached else get("cache_read_input_tokens", 0),
        round(cost * 1e9) if cost else 0,  # exact up to a million dollars a call
        cost is None,
        round(saved * 1e9) if saved else 0,
    )


def _new_group(groups: dict[Any, list[bytes]], names: tuple[Any, ...]) -> list[bytes]:
    "".join(filter(None, names))  # a TypeError for a name that is no text
    return groups.setdefault(names, [])


def _plain(names: tuple[Any, ...]) -> Names:
    agent, model, workflow = (name or "" for name in names)
    return agent, model, workflow


def _cell(rows: list[bytes]) -> Cell:
    """Return the cell of executions of one day and names."""
    cell = Cell()
    data = b"".join(rows)
    cell.counters = _sums(data)
    for took in memoryview(data).cast("Q")[3 :: len(COUNTERS)]:
        number = histogram.bucket(took)
        cell.latencies[number] = cell.latencies.get(number, 0) + 1
    return cell


def _sums(data: bytes) -> Counters:
    numbers = memoryview(data).cast("Q")
    return [sum(numbers[column :: len(COUNTERS)]) for column in range(len(COUNTERS))]
