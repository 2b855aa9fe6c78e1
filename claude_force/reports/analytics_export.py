"""The whole history as rows: one for each execution, and one for each group of executions that is rolled up."""

from __future__ import annotations

import csv
import io
import json

from ..models import usd
from ..stores import daily
from ..stores.history import Span, read
from ..stores.tally import COUNTERS, Tally, counters
from .spreadsheet import safe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from ..stores.rollups import View
    from ..stores.tally import Day

    Row = Mapping[str, Any]

COLUMNS = (
    *("timestamp", "agent_name", "model", "workflow_id", "executions", "successes", "cached", "execution_time_ms"),
    *("input_tokens", "output_tokens", "total_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
    *("estimated_cost", "saved_cost", "error_type", "task_hash", "run_id", "step", "stop_reason", "attempts"),
    "price_version",
)
_MANY = 500


def rows(view: View, rollups: Path, span: Span) -> Iterator[Row]:
    """Yield the rows of `span`, the oldest first: sums of days that are rolled up, then a row for each line.

    Sums are by agent, model and workflow, and their `timestamp` is the day. `executions` tells how many a row stands
    for; the other numbers are of all of them together, tokens by kind only of those that were paid for. Money is USD.
    Raises OSError, and ValueError for a damaged day file.
    """
    for day, (file, check) in sorted(view.generation.days.items()):
        if span.holds_day(day):
            yield from _groups(day, daily.read(rollups / file, check))
    streams = [*view.residues, *([(view.live, 0)] if view.live else [])]
    for stream, start in streams:
        probe = Tally()
        for record in read(stream, start, stream.seek(0, 2), span):
            if record and probe.add(record):
                yield _line(record)
            if probe.is_full:
                probe.days()


def text(found: Iterable[Row], form: str) -> Iterator[str]:
    """Yield `found` as `csv`, `json` (one array) or `jsonl`, some hundred rows at a time."""
    return FORMS[form](found)


def known(row: Row) -> Row:
    """Return `row` without what is no column: other programs may write more."""
    return {name: row[name] for name in COLUMNS if name in row}


def _groups(day: str, sums: Day) -> Iterator[Row]:
    for (agent, model, workflow), cell in sorted(sums.cells.items()):
        of = dict(zip(COUNTERS, counters(cell.row), strict=True))
        unknown = of["unpriced"] == of["executions"]
        yield {
            "timestamp": day,
            "agent_name": agent,
            "model": model or None,
            "workflow_id": workflow or None,
            "execution_time_ms": of["milliseconds"],
            "total_tokens": of["tokens"],
            "estimated_cost": None if unknown else usd(of["cost"]),
            "saved_cost": usd(of["saved"]),
            **{name: of[name] for name in COLUMNS if name in of},
        }


def _line(record: Row) -> Row:
    counts = {"executions": 1, "successes": int(record["success"]), "cached": int(bool(record.get("cached")))}
    return {**record, **counts}


def _csv(found: Iterable[Row]) -> Iterator[str]:
    page = io.StringIO()
    writer = csv.DictWriter(page, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for number, row in enumerate(found, 1):
        writer.writerow(safe(row))
        if number % _MANY == 0:
            yield page.getvalue()
            page.seek(0)
            page.truncate()
    yield page.getvalue()


def _jsonl(found: Iterable[Row]) -> Iterator[str]:
    for row in found:
        yield json.dumps(known(row)) + "\n"


def _json(found: Iterable[Row]) -> Iterator[str]:
    before = "["
    for row in found:
        yield f"{before}\n{json.dumps(known(row))}"
        before = ","
    yield "[]\n" if before == "[" else "\n]\n"


FORMS = {"csv": _csv, "json": _json, "jsonl": _jsonl}
