"""Lines and rollups as one history: the sums over any span of time, in memory that does not grow with it."""

from __future__ import annotations

import sqlite3
import sys
from collections import defaultdict

from ..errors import Busy, ForceError
from ..frozen import dataclass
from ..records import iso
from . import histogram, index
from .manifest import RESTORE
from .metrics import START, is_left, pieces, records
from .rollups import Rollups
from .sqlite import is_busy, is_moved
from .tally import Tally, added, moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import Any, BinaryIO, TypeVar

    from .index import Bounds, Index
    from .rollups import View
    from .tally import Names

    T = TypeVar("T")

_NOON = "T12:00:00"
_TRIES = 100
_HINT = "see whether a line of executions.jsonl, or a day file, tells of more than there can be"


@dataclass(frozen=True)
class Span:
    """From `since` until before `until`, UTC, `YYYY-MM-DDTHH:MM:SS`; None is open."""

    since: str | None = None
    until: str | None = None

    @staticmethod
    def of_last(days: float, now: float) -> Span:
        """Return the last `days` times 24 hours before `now`, seconds since the epoch, before which nothing was."""
        return Span(iso(now - days * 86_400)[:19]) if days * 86_400 < now else Span()

    def holds(self, stamp: str) -> bool:
        """Whether the time `stamp`, in the same form, lies within."""
        return (self.since is None or self.since <= stamp) and (self.until is None or stamp < self.until)

    def holds_day(self, day: str) -> bool:
        """Whether a day of which only sums are left counts: it does if its noon lies within."""
        return self.holds(day + _NOON)

    def cut_days(self) -> set[str]:
        """Return the days of which only a part lies within."""
        return {end[:10] for end in (self.since, self.until) if end and not end.endswith("T00:00:00")}


@dataclass(frozen=True)
class Sums:
    """What happened in a span: rows of counters, latency histograms as integers, and counts of failures."""

    cells: Mapping[Names, int]
    hours: Mapping[str, int]
    latencies: Mapping[str, int]
    """By agent."""
    errors: Mapping[str, int]
    damaged: int
    """Lines that could not be read, whenever they were written; see `read`."""
    notes: tuple[str, ...] = ()
    """What the reader should know of the figures."""


def gather(directory: Path, span: Span, *, hourly: bool = False) -> Sums:
    """Return the sums over `span`, with those of each hour if `hourly`; brings the index up to date.

    Raises what `consult` does.
    """
    return consult(directory, lambda found, view: _gather(found, view, directory / "rollups", span, hourly=hourly))


def consult(directory: Path, work: Callable[[Index, View], T]) -> T:
    """Return what `work` makes of the index and of the files at one moment; it may be called again.

    Raises Busy while another process builds the index, OSError, and ForceError for damaged rollups, or for executions
    that cannot be added up. An index that cannot be used is made anew, once, and then in memory.
    """
    path: Path | None = directory / index.FILE
    missing: object = path
    notes: list[str] = []
    anew = False
    for _ in range(_TRIES):
        try:
            with index.opened(path) as found, Rollups(directory).view() as view:
                found.notes += notes
                return work(found, view)
        except FileNotFoundError as error:
            missing = error.filename  # swept away by a roll since we looked, or by somebody else
        except (sqlite3.Error, *index.FOREIGN) as error:
            if is_busy(error):
                raise Busy(f"cannot use {path}: {error}", hint="try again later") from None
            if not path:  # nothing in memory is of another's making
                raise ForceError(f"cannot add up {directory}: {error}", hint=_HINT) from error
            notes += getattr(error, "__notes__", ())
            if not is_moved(error):
                path, anew = path if index.is_derelict(error) and not anew else None, True
    raise ForceError(f"{missing} is missing, though the manifest of the rollups names it", hint=RESTORE)


def read(stream: BinaryIO, start: int, stop: int, span: Span, *, day: str = "") -> Iterator[dict[str, Any] | None]:
    """Yield the records of the lines of one file that lie within `span`, and None for each damaged line.

    With `day`, only those of that day, which the lines of others need not be parsed for. A last line without its
    newline counts if it lacks nothing else; if it does, it is damaged, but not while somebody may be writing it.
    """
    end = start
    for after, lines in pieces(stream, start, stop):
        yield from _told(lines, span, day)
        end = after
    for _, lines in pieces(stream, end, stop, whole=True):
        last = _told(lines, span, day)
        yield from last if is_left(stream) else filter(None, last)


def count(tally: Tally, found: Iterable[dict[str, Any] | None]) -> int:
    """Add what `read` found and return how many lines were damaged."""
    return sum(not (record and tally.add(record)) for record in found)


def _told(lines: Iterable[bytes], span: Span, day: str) -> Iterator[dict[str, Any] | None]:
    for record in records(_of_day(lines, day.encode()) if day else lines):
        try:
            stamp = moment(record["timestamp"]) if record else ""
        except (KeyError, TypeError, ValueError, OverflowError):
            stamp = ""
        if not stamp:
            yield None
        elif span.holds(stamp) and stamp.startswith(day):
            yield record


def _of_day(lines: Iterable[bytes], day: bytes) -> Iterator[bytes]:
    """Yield the lines that may be of `day`: all but those of ours that name another one."""
    for line in lines:
        if line[15:25] == day or line[38:40] != b'Z"' or not line.startswith(START):
            yield line


def _gather(found: Index, view: View, rollups: Path, span: Span, *, hourly: bool) -> Sums:
    found.refresh_days(view.generation.days, rollups)
    end, damaged = found.refresh_lines(view.path, view.live)
    rest = Tally()
    if view.live:
        for day in span.cut_days():
            for start, stop in found.extents(day):
                count(rest, read(view.live, start, stop, span, day=day))
        damaged += count(rest, read(view.live, end, sys.maxsize, span))
    for stream, moved in view.residues:
        damaged += count(rest, read(stream, moved, sys.maxsize, span))
    return _merged(found, rest, span, damaged, hourly=hourly)


def _merged(found: Index, rest: Tally, span: Span, damaged: int, *, hourly: bool) -> Sums:
    bounds = _bounds(span)
    cells: dict[Names, int] = defaultdict(int, found.cells(bounds))
    hours: dict[str, int] = defaultdict(int, found.hours(bounds) if hourly else ())
    latencies: dict[str, int] = defaultdict(int, found.latencies(bounds))
    errors = dict(found.errors(bounds))
    for day in rest.days().values():
        for names, cell in day.cells.items():
            cells[names] = added((cells[names], cell.row))
            latencies[names[0]] += histogram.to_integer(cell.latencies)
            histogram.merge(errors, cell.errors)
        for hour, row in day.hours.items():
            hours[hour] = added((hours[hour], row))
    for rows in (cells, hours):
        added(rows.values())  # a ValueError, lest any sum of them runs over
    return Sums(cells, hours, latencies, errors, damaged, tuple(_notes(found, span)))


def _bounds(span: Span) -> Bounds:
    """Return which days count: of lines those that lie within `span` as a whole, of day files those whose noon does."""
    first, rolled_first = ("", "") if span.since is None else (_day(span.since, "00"), _day(span.since, "12"))
    last, rolled_last = ("~", "~") if span.until is None else (span.until[:10], _day(span.until, "12"))
    return first, last, rolled_first, rolled_last


def _day(stamp: str, latest: str) -> str:
    """Return the day of `stamp` if its time is not after the hour `latest`, else the next day."""
    from datetime import date, timedelta

    day = date.fromisoformat(stamp[:10])
    return (day if stamp[11:] <= f"{latest}:00:00" else day + timedelta(1)).isoformat()


def _notes(found: Index, span: Span) -> Iterator[str]:
    yield from found.notes
    for day in sorted(span.cut_days().intersection(found.rolled_days())):
        counts = "counts as a whole" if span.holds_day(day) else "is left out"
        yield f"{day} (UTC) is rolled up and {counts}"
