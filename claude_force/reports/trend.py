"""How the figures of executions went from hour to hour or from day to day."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta

from .analytics import SCHEMA_VERSION, bar, facts, milliseconds, percent, sheet, with_amounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import tzinfo
    from typing import Any

_BLOCKS, _ASCII = "▁▂▃▄▅▆▇█", "_.-=+*#@"
_MOST_GAPS = 10_000
"""Periods without executions that are shown; more are the work of a wrong clock."""


def trends(hours: Mapping[str, int], interval: str, zone: tzinfo, name: str) -> dict[str, Any]:
    """Return the result of `analytics trends`: the rows of `hours` (UTC) by hour, or by day of `zone`, gaps filled.

    An hour counts for the day in which it begins.
    """
    rows: dict[str, int] = defaultdict(int)
    for hour, row in hours.items():
        rows[_period(_start(hour), interval, zone)] += row
    if hours:
        for period in _between(_start(min(hours)), _start(max(hours)), interval, zone):
            rows[period] += 0
    periods = [{"period": period, **facts(rows[period])} for period in sorted(rows)]
    return {"schema_version": SCHEMA_VERSION, "interval": interval, "tz": name, "periods": periods}


def trends_text(data: Mapping[str, Any], *, width: int, blocks: bool) -> str:
    """Return trends for people: a sparkline, a table, and a bar for the executions of each period."""
    periods = data["periods"]
    if not periods:
        return "no executions"
    most = max(period["executions"] for period in periods)
    rows = [
        (
            _short(period["period"]),
            f"{period['executions']:,}",
            percent(period["success_rate"]),
            milliseconds(period["average_execution_time_ms"]),
            f"{period['total_tokens']:,}",
            spent,
            saved,
            bar(period["executions"] / most, blocks=blocks),
        )
        for period, saved, spent in with_amounts(periods)
    ]
    headings = (f"{data['interval'].upper()} ({data['tz']})", "RUNS", "OK", "MEAN", "TOKENS", "COST", "SAVED", "")
    lines = [
        f"runs  {sparkline([period['executions'] for period in periods], blocks=blocks)}",
        f"cost  {sparkline([period['total_cost'] or 0 for period in periods], blocks=blocks)}",
    ]
    return "\n".join([*lines, "", sheet(headings, rows, width=width)])


def sparkline(values: Sequence[float], *, blocks: bool, width: int = 60) -> str:
    """Return a character for each value, or for the mean of as many neighbours as make `width` characters."""
    marks = _BLOCKS if blocks else _ASCII
    group = -(-len(values) // width)
    means = [sum(values[n : n + group]) / len(values[n : n + group]) for n in range(0, len(values), group)]
    most = max(means, default=0) or 1
    return "".join(marks[min(int(mean / most * len(marks)), len(marks) - 1)] for mean in means)


def _start(hour: str) -> datetime:
    return datetime.fromisoformat(f"{hour}:00Z")


def _period(start: datetime, interval: str, zone: tzinfo) -> str:
    local = start.astimezone(zone)
    return local.date().isoformat() if interval == "daily" else local.isoformat(timespec="minutes")


def _between(first: datetime, last: datetime, interval: str, zone: tzinfo) -> Iterator[str]:
    """Yield the periods from one to the other; none if they are too many."""
    step = timedelta(hours=1)
    if (last - first) / (step * (24 if interval == "daily" else 1)) <= _MOST_GAPS:
        while first <= last:
            yield _period(first, interval, zone)
            first += step


def _short(period: str) -> str:
    return period[:16].replace("T", " ")
