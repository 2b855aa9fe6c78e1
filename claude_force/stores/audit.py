"""`metrics verify`: the history added up again from what is on disk, and compared to the nanodollar."""

from __future__ import annotations

import sys
from collections import defaultdict
from contextlib import suppress
from itertools import islice

from ..errors import ForceError
from ..files import open_regular
from ..frozen import dataclass
from ..models import usd
from . import daily
from .history import Span, consult, count, read
from .metrics import LONGEST, is_left, pieces, records
from .summing import batches
from .tally import COUNTERS, Tally, added, counters, row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any, BinaryIO

    from .index import Index
    from .manifest import Generation
    from .rollups import View
    from .tally import Day

_LINES = ("", "~", "~", "")
_DAY_FILES = ("~", "", "", "~")
_BOTH_WAYS = ((_LINES, _DAY_FILES), (("", "~", "", "~"),))
"""What spans all days: lines and day files apart are added up by day, together by month."""
_MOST_NAMED = 20
_COST = COUNTERS.index("cost")


@dataclass(frozen=True)
class Audit:
    """What was added up, by the name of the account, and in which ways the accounts disagree."""

    accounts: Mapping[str, int]
    """Rows of counters: `day files`, `receipts` of the rolls, `raw lines` if all were kept, `lines`."""
    damaged: tuple[int, ...]
    """The numbers of damaged lines in `executions.jsonl`, the first twenty."""
    problems: tuple[str, ...]


def verify(directory: Path) -> Audit:
    """Add everything up anew; an index that disagrees is emptied, to be built again. Raises what `consult` does."""
    return consult(directory, lambda found, view: _audit(found, view, directory / "rollups"))


def _audit(found: Index, view: View, rollups: Path) -> Audit:
    problems: list[str] = []
    days = dict(_days(view.generation, rollups, problems))
    receipts = added(row(receipt["counters"]) for receipt in view.generation.receipts)
    accounts = {"day files": added(days.values()), "receipts": receipts}
    if accounts["day files"] != receipts:
        problems.append(f"the day files hold {_said(accounts['day files'])}, the rolls took {_said(receipts)}")
    raw: dict[str, int] = defaultdict(int)
    for day, total in _raw_days(view.generation, rollups, problems):
        raw[day] = added((raw[day], total))
    if raw and all(receipt["raw"] for receipt in view.generation.receipts):
        accounts["raw lines"] = added(raw.values())
        problems += [f"{day}: day file and raw lines differ" for day in days.keys() | raw if days.get(day) != raw[day]]
    accounts["lines"], damaged = _lines(found, view, problems)
    if not problems:
        _compare_day_files(found, view.generation, rollups, receipts, problems)
    named = tuple(islice(_damaged(view.path), _MOST_NAMED)) if damaged else ()
    return Audit(accounts, named, tuple(problems))


def _days(generation: Generation, rollups: Path, problems: list[str]) -> Iterator[tuple[str, int]]:
    """Yield the row of each day file that is as it was written."""
    for name, (file, check) in generation.days.items():
        try:
            day = daily.read(rollups / file, check)
        except ForceError as error:
            problems.append(error.message)
            continue
        if not _is_consistent(day):
            problems.append(f"{rollups / file} contradicts itself")
        yield name, day.total()


def _is_consistent(day: Day) -> bool:
    """Whether every execution is in one hour, in one bucket, and a success or an error."""
    for cell in day.cells.values():
        executions, successes, *_ = counters(cell.row)
        if sum(cell.latencies.values()) != executions or sum(cell.errors.values()) != executions - successes:
            return False
    return added(day.hours.values()) == day.total()


def _raw_days(generation: Generation, rollups: Path, problems: list[str]) -> Iterator[tuple[str, int]]:
    """Yield day and row of the raw lines that were kept, each file compared with the receipt of its roll."""
    for receipt in generation.receipts:
        if receipt["raw"]:
            path, taken = rollups / receipt["raw"], 0
            try:
                for day, total in _raw(path):
                    yield day, total
                    taken = added((taken, total))
            except (EOFError, ValueError) as error:
                problems.append(f"{path} is damaged: {error}")
            if taken != (expected := row(receipt["counters"])):
                problems.append(f"{path} holds {_said(taken)}, its roll took {_said(expected)}")


def _raw(path: Path) -> Iterator[tuple[str, int]]:
    """Yield day and row of the lines of a gzip file; raises EOFError or ValueError where it is damaged."""
    from gzip import BadGzipFile, GzipFile  # 3 ms, for raw lines
    from zlib import error as ZlibError  # noqa: N812

    tally = Tally()
    try:
        with open_regular(path) as data, GzipFile(fileobj=data) as stream:
            for _, lines in pieces(stream, 0, sys.maxsize):  # type: ignore[arg-type]
                for record in records(lines):
                    tally.add(record or {})
                if tally.is_full:
                    yield from _rows(tally)
    except (BadGzipFile, ZlibError) as error:
        raise ValueError(error) from None
    yield from _rows(tally)


def _rows(tally: Tally) -> Iterator[tuple[str, int]]:
    for name, day in tally.days().items():
        yield name, day.total()


def _lines(found: Index, view: View, problems: list[str]) -> tuple[int, int]:
    """Return the row of all lines and how many are damaged; those that the index knows are added up without it."""
    total = damaged = 0
    rest = Tally()
    end, _ = found.refresh_lines(view.path, view.live)
    if view.live:
        for _, _, bad, days in batches(view.path, view.live, 0, end):
            total = added((total, *(day.total() for day in days.values())))
            damaged += bad
        damaged += count(rest, read(view.live, end, sys.maxsize, Span()))
    indexed = added(cells for _, cells in found.cells(_LINES))
    if indexed != total:
        problems.append(f"the index held {_said(indexed)} of the lines, they hold {_said(total)}; it is emptied")
        found.forget_lines()
    for stream, moved in view.residues:
        count(rest, read(stream, moved, sys.maxsize, Span()))
    return added((total, *(rows for _, rows in _rows(rest)))), damaged


def _compare_day_files(found: Index, generation: Generation, rollups: Path, total: int, problems: list[str]) -> None:
    found.refresh_days(generation.days, rollups)
    indexed = added(cells for _, cells in found.cells(_DAY_FILES))
    if indexed != total:
        problems.append(f"the index held {_said(indexed)} of the day files, they hold {_said(total)}; it is emptied")
        found.refresh_days({}, rollups)
    days, months = (added(cells for bounds in spans for _, cells in found.cells(bounds)) for spans in _BOTH_WAYS)
    if days != months:
        problems.append(f"the index held {_said(months)} by month, {_said(days)} by day; it is emptied")
        found.forget_lines()
        found.refresh_days({}, rollups)


def _damaged(path: Path) -> Iterator[int]:
    """Yield the numbers of the damaged lines of the file, counted from 1."""
    tally = Tally()
    with suppress(FileNotFoundError), path.open("rb") as stream:
        for number, line in enumerate(_each(stream), 1):
            if not line.endswith(b"\n") and not is_left(stream):
                return
            if line != b"\n" and not tally.add(_record(line)):
                yield number
            if tally.is_full:
                tally.days()


def _each(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the lines with their newlines; of one that is too long no more than that it is damaged, and how it ends."""
    while line := stream.readline(LONGEST + 1):
        whole = len(line) <= LONGEST or line.endswith(b"\n")
        while len(line) > LONGEST and not line.endswith(b"\n"):
            line = stream.readline(LONGEST + 1)
        yield line if whole else b"?" + line[-1:]


def _record(line: bytes) -> Mapping[str, Any]:
    return next(iter(records([line]))) or {}


def _said(row: int) -> str:
    executions, *_ = numbers = counters(row)
    return f"{executions:,} executions of {usd(numbers[_COST]):.9f} USD"
