"""Sums over executions by day, agent, model and workflow: what a rollup keeps of lines and what analytics adds up.

Money is whole nanodollars throughout. Knows lines as dictionaries, but neither files nor prices.
"""

from __future__ import annotations

from operator import add

from . import histogram

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    Key = tuple[str, str, str, str]
    """Day, agent, model, workflow; an execution without a model or a workflow has an empty name there."""

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
"""What is summed, in this order everywhere. `tokens` is the total of every execution, the four kinds of tokens are only
of those that were paid for, not of answers from the cache; `unpriced` counts executions whose cost is unknown."""

Counters = list[int]


class Cell:
    """The sums of one key: counters, a latency histogram in milliseconds, and failures by type of error."""

    __slots__ = ("counters", "errors", "latencies")

    def __init__(self) -> None:
        self.counters: Counters = [0] * len(COUNTERS)
        self.latencies: dict[int, int] = {}
        self.errors: dict[str, int] = {}

    def merge(self, other: Cell) -> None:
        """Add another cell to this one."""
        self.counters[:] = map(add, self.counters, other.counters)
        histogram.merge(self.latencies, other.latencies)
        for error, count in other.errors.items():
            self.errors[error] = self.errors.get(error, 0) + count


class Tally:
    """Cells by day, agent, model and workflow, and counters by hour (UTC, `2026-11-22T06`)."""

    def __init__(self) -> None:
        self.cells: dict[Key, Cell] = {}
        self.hours: dict[str, Counters] = {}

    def add(self, record: Mapping[str, Any]) -> bool:
        """Count the execution that a line tells of; False, and nothing counted, if it is not a line of ours."""
        try:
            values = _values(record)
            names = (record["agent_name"], record.get("model") or "", record.get("workflow_id") or "")
            error = "" if record["success"] else record.get("error_type") or "unknown"
            "".join((*names, error))  # a TypeError for what is no text
            hour = self._hour(record["timestamp"])
        except (TypeError, KeyError, ValueError, OverflowError):
            return False
        key = (hour[:10], *names)
        cell = self.cells.get(key)
        if cell is None:
            cell = self.cells[key] = Cell()
        cell.counters[:] = map(add, cell.counters, values)
        counters = self.hours[hour]
        counters[:] = map(add, counters, values)
        number = histogram.bucket(values[3])
        cell.latencies[number] = cell.latencies.get(number, 0) + 1
        if error:
            cell.errors[error] = cell.errors.get(error, 0) + 1
        return True

    def merge(self, other: Tally) -> None:
        """Add another tally to this one."""
        for key, cell in other.cells.items():
            self.cells.setdefault(key, Cell()).merge(cell)
        for hour, counters in other.hours.items():
            self.hours[hour] = list(map(add, self.hours.get(hour, _ZERO), counters))

    def totals(self) -> Counters:
        """Return the counters of all cells together."""
        return total(cell.counters for cell in self.cells.values())

    def _hour(self, stamp: str) -> str:
        """Return the hour of a timestamp; one that was seen before is not parsed again."""
        hour = stamp[:13]
        if hour not in self.hours or not stamp.endswith(("Z", "+00:00")):
            hour = utc(stamp)[:13]
            self.hours.setdefault(hour, [0] * len(COUNTERS))
        return hour


def total(rows: Iterator[Sequence[int]]) -> Counters:
    """Return the sum of `rows` of counters."""
    return [sum(column) for column in zip(_ZERO, *rows, strict=True)]


def utc(stamp: str) -> str:
    """Return an ISO 8601 timestamp as `YYYY-MM-DDTHH:MM:SS` in UTC, where it is taken to be if it names no zone.

    Raises ValueError, or OverflowError for the ends of time.
    """
    from datetime import UTC, datetime  # 2 ms, for timestamps that other programs wrote

    moment = datetime.fromisoformat(stamp)
    return (moment.astimezone(UTC) if moment.tzinfo else moment).isoformat()[:19]


def _values(record: Mapping[str, Any]) -> Sequence[int]:
    """Return what a line adds to the counters; raises TypeError, ValueError or OverflowError for what is no number."""
    get = record.get
    success, cached = get("success"), get("cached", False)
    if type(success) is not bool or type(cached) is not bool:
        raise TypeError("a flag is neither true nor false")
    cost, saved = get("estimated_cost"), get("saved_cost")
    paid = not cached
    values = (
        1,
        int(success),
        int(cached),
        round(get("execution_time_ms", 0)),
        get("total_tokens", 0),
        get("input_tokens", 0) if paid else 0,
        get("output_tokens", 0) if paid else 0,
        get("cache_creation_input_tokens", 0) if paid else 0,
        get("cache_read_input_tokens", 0) if paid else 0,
        round(cost * 1e9) if cost else 0,
        int(cost is None),
        round(saved * 1e9) if saved else 0,
    )
    if type(sum(values)) is not int or min(values) < 0:
        raise ValueError("a count is no whole number, or negative")
    return values


_ZERO = (0,) * len(COUNTERS)
