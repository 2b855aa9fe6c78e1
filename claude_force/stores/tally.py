"""Sums over executions by day, agent, model and workflow: what a rollup keeps of lines and what analytics adds up.

Money is whole nanodollars throughout. Knows lines as dictionaries, but neither files nor prices.
"""

from __future__ import annotations

from collections import defaultdict
from operator import add, itemgetter

from . import histogram

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    Names = tuple[str, str, str]
    """Agent, model, workflow; an execution without a model or a workflow has an empty name there."""
    Counters = list[int]
    """One for each of COUNTERS."""
    Row = tuple[int, ...]
    """What one execution adds to the counters."""

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
        self.errors: dict[str, int] = defaultdict(int)

    def merge(self, other: Cell) -> None:
        """Add another cell to this one."""
        self.counters = plus(self.counters, other.counters)
        histogram.merge(self.latencies, other.latencies)
        for error, count in other.errors.items():
            self.errors[error] += count


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

    Rows are collected first and summed in bulk: with a million lines that is the difference between reading them
    and reading them twice.
    """

    def __init__(self) -> None:
        self.count = 0
        """Executions taken in."""
        self._hours: dict[str, tuple[list[Row], dict[Any, list[Row]]]] = {}
        self._groups: dict[str, dict[Any, list[Row]]] = defaultdict(lambda: defaultdict(list))
        self._errors: dict[tuple[str, Names, str], int] = defaultdict(int)

    def add(self, record: Mapping[str, Any]) -> bool:
        """Count the execution that a line tells of; False, and nothing counted, if it is not a line of ours."""
        try:
            stamp, *names, success = _IDENTITY(record)
            row = _row(record, success)
            names.append(record.get("workflow_id"))
            "".join(filter(None, names))
            rows, groups = self._place(stamp)
        except (TypeError, KeyError, ValueError, OverflowError):
            return False
        rows.append(row)
        groups[tuple(names)].append(row)
        return True
