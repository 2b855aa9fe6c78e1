"""`metrics rollup`: old lines of `executions.jsonl` become daily sums, exactly, whatever happens meanwhile."""

from __future__ import annotations

import os
import re
import time
from contextlib import ExitStack, contextmanager

from ..errors import Busy, ForceError
from ..files import NO_WAIT, locked, open_regular, private_directory
from ..frozen import dataclass
from ..records import iso
from .daily import DayFiles
from .manifest import Generation, Manifest, prepared, sync, without
from .metrics import FILE
from .sieve import Sieve, holds_old
from .tally import COUNTERS, counters
from .writers import closed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

_OURS = r"\d+\.(jsonl|next)|(\d{4}-\d\d-\d\d\.\d+\.json|raw\.\d+\.jsonl)\.gz|\..+\.json(\.gz)?\.\d+\.[0-9a-f]{8}\.tmp"
"""Names of what is made here: nothing else is ever removed."""
_PASSES = 3
_CATCH_UPS = 10


@dataclass(frozen=True)
class View:
    """The history at one moment: open files that stay as they are but for lines appended at their ends."""

    generation: Generation
    path: Path
    live: BinaryIO | None
    """Open on `path`, or on what was there before; None if there is no file."""
    residues: tuple[tuple[BinaryIO, int], ...]
    """Former `executions.jsonl` that somebody may still write to, and from where on their lines are nowhere else."""


class Rollups:
    """`rollups/` and `segments/` in `directory`, beside `executions.jsonl`.

    On disk: `rollups/manifest.json`, the day files and raw lines that it names, and in `segments/` former
    `executions.jsonl` that a slow writer may still hold open. A roll hard-links the file into `segments/`, sums its
    old lines into new day files, copies the others into a prepared file, and renames that over `executions.jsonl`.
    This one rename puts everything in force: before it nothing has changed, after it nothing is missing, and files of
    no generation in force are swept away by the next roll. A writer that opened the file before the rename appends
    to the segment, which is read from where the roll had stopped, and kept until nobody has it open.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self._clock = clock
        self._live = directory / FILE
        self._segments = directory / "segments"
        self._rollups = directory / "rollups"
        self._manifest = Manifest(directory)

    def roll(self, retention_days: float, *, keep_raw: bool = False) -> dict[str, int]:
        """Sum up the lines older than `retention_days`.

        Returns how many `executions` and, as `cost`, nanodollars were summed up now, how many `days` the rollups hold
        in all, and how many segments are `waiting` for a writer that still has them open. `keep_raw` keeps the lines
        themselves too, as gzip. Raises Busy while another process rolls, OSError, and ForceError for damaged rollups.
        """
        cutoff = iso(self._clock() - retention_days * 86_400)[:19]
        for directory in (self.directory, self._segments, self._rollups):
            private_directory(directory)
        with locked(self.directory / "rollup.lock", wait=False) as mine:
            if not mine:
                raise Busy(f"another process rolls up {self.directory}", hint="try again when it is done")
            before = self._recover()
            try:
                after = self._roll(before, cutoff, keep_raw)
            finally:
                self._recover()
        return _difference(before, after)

    @contextmanager
    def view(self) -> Iterator[View]:
        """Open the history as it is at one moment; raises OSError, ForceError for a damaged manifest."""
        for _ in range(1000):
            with ExitStack() as opened:
                generation = self._manifest.current()
                try:
                    view = self._open(generation, opened)
                except FileNotFoundError:
                    continue  # swept away meanwhile
                if self._manifest.current().number == generation.number:
                    yield view
                    return
        raise ForceError(
            f"{self.directory} does not hold what its manifest names", hint="see: claude-force metrics verify"
        )

    def _open(self, generation: Generation, opened: ExitStack) -> View:
        def enter(path: Path) -> BinaryIO:
            return opened.enter_context(open_regular(path))

        live = enter(self._live) if self._live.exists() else None
        residues = tuple((enter(self._segments / name), moved) for name, moved in generation.segments.items())
        return View(generation, self._live, live, residues)

    def _recover(self) -> Generation:
        """Settle which generation is in force, and remove all our files that are not of it."""
        generation = self._manifest.settle()
        receipts = {receipt["raw"] for receipt in generation.receipts}
        files = {*generation.segments, *receipts, *(file for file, _ in generation.days.values())}
        for path in (*self._segments.iterdir(), *self._rollups.iterdir()):
            if re.fullmatch(_OURS, path.name) and path.name not in files:
                path.unlink()
        return generation

    def _roll(self, generation: Generation, cutoff: str, keep_raw: bool) -> Generation:
        """Roll until nothing is left to roll; beside busy writers something may be, for the next time."""
        generation = self._release(generation)
        for _ in range(_PASSES):
            if not self._is_due(generation, cutoff):
                break
            self._pass(generation, cutoff, keep_raw)
            generation = self._release(self._recover())
        return generation

    def _is_due(self, generation: Generation, cutoff: str) -> bool:
        residues = any(self._size(name) > moved for name, moved in generation.segments.items())
        return residues or (self._live.exists() and holds_old(self._live, cutoff))

    def _release(self, generation: Generation) -> Generation:
        """Let go of segments that nobody has open and whose lines have all moved."""
        moved = [self._segments / name for name, end in generation.segments.items() if self._size(name) == end]
        gone = {path.name for path in closed(moved) if self._size(path.name) == generation.segments[path.name]}
        if not gone:
            return generation
        self._manifest.publish(without(generation, gone))
        return self._recover()

    def _size(self, segment: str) -> int:
        return (self._segments / segment).stat().st_size

    def _pass(self, before: Generation, cutoff: str, keep_raw: bool) -> None:
        """Make the next generation and put it in force."""
        number = before.number + 1
        raw = f"raw.{number}.jsonl.gz" if keep_raw else None
        days = DayFiles(self._rollups, number, before.days)
        self._link(number)
        with ExitStack() as opened:
            young = opened.enter_context(_durable(prepared(self.directory, number)))
            lines = opened.enter_context(_gzip(self._rollups / raw)) if raw else None
            sieve = Sieve(cutoff, days, young, lines)
            segments = self._absorb(sieve, {**before.segments, f"{number}.jsonl": 0})
            sieve.flush()
        receipt = {"generation": number, "counters": counters(sieve.taken), "raw": raw}
        receipts = (*before.receipts, receipt) if sieve.taken else before.receipts
        self._commit(Generation(number, days.finish(), segments, receipts))

    def _link(self, number: int) -> None:
        """Give `executions.jsonl` its second name."""
        os.close(os.open(self._live, os.O_WRONLY | os.O_CREAT | NO_WAIT, 0o600))
        os.link(self._live, self._segments / f"{number}.jsonl")
        sync(self._segments)

    def _absorb(self, sieve: Sieve, segments: dict[str, int]) -> dict[str, int]:
        """Sort the lines of all segments, of the last one also those that come meanwhile; return where each ended."""
        *former, last = (self._segments / name for name in segments)
        ends = {last.name: sieve.take(last, segments[last.name])}
        whole = closed(former)
        for path in former:
            ends[path.name] = sieve.take(path, segments[path.name], whole=path in whole)
        for _ in range(_CATCH_UPS):
            before = ends[last.name]
            ends[last.name] = sieve.take(last, before)
            if ends[last.name] == before:
                break
        return ends

    def _commit(self, follows: Generation) -> None:
        young, segment = prepared(self.directory, follows.number), self._segments / f"{follows.number}.jsonl"
        sync(self._segments)
        self._manifest.propose(follows)
        if not self._live.exists() or not self._live.samefile(segment):
            raise ForceError(f"{self._live} was moved away during the rollup", hint="nothing has changed; try again")
        os.replace(young, self._live)
        sync(self.directory)


@contextmanager
def _durable(path: Path) -> Iterator[BinaryIO]:
    """Open a new file for writing that is on the disk when the body is left."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as stream:
        yield stream
        stream.flush()
        os.fsync(descriptor)


@contextmanager
def _gzip(path: Path) -> Iterator[BinaryIO]:
    from gzip import GzipFile  # 3 ms, for --keep-raw

    with _durable(path) as stream, GzipFile(fileobj=stream, mode="wb", compresslevel=3, mtime=0) as lines:
        yield lines  # type: ignore[misc]


def _difference(before: Generation, after: Generation) -> dict[str, int]:
    """Return what `Rollups.roll` does, of a roll between these two generations."""
    new = after.receipts[len(before.receipts) :]
    rows = [dict(zip(COUNTERS, receipt["counters"], strict=True)) for receipt in new]
    sums = {name: sum(row[name] for row in rows) for name in ("executions", "cost")}
    return {**sums, "days": len(after.days), "waiting": len(after.segments)}
