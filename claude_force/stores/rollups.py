"""`metrics rollup`: old lines of `executions.jsonl` become daily sums, exactly, whatever happens meanwhile."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from ..errors import Busy, ForceError
from ..files import fcntl, locked, private_directory
from .daily import DayFiles
from .manifest import Generation, Manifest, prepared, sync, without
from .metrics import FILE
from .sieve import Sieve, holds_old
from .tally import counters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

_PASSES = 3
_CATCH_UPS = 10
_SETTLE_SECONDS = 0.1
"""How long a file must have had another name before nobody can still be opening it by the old one."""
_ABANDONED_SECONDS = 3600.0
"""The same for nobody still writing to it, where the system cannot tell who has it open."""


@dataclass(frozen=True)
class View:
    """The history at one moment: open files that stay as they are but for lines appended at their ends."""

    generation: Generation
    live: BinaryIO | None
    residues: tuple[tuple[BinaryIO, int], ...]
    """Former `executions.jsonl` that somebody may still write to, and from where on their lines are nowhere else."""


class Rollups:
    """`rollups/` and `segments/` in `directory`, beside `executions.jsonl`.

    On disk: `rollups/manifest.json`, the day files and raw lines that it names, and in `segments/` former
    `executions.jsonl` that a slow writer may still hold open. A roll hard-links the file into `segments/`, sums its
    old lines into new day files, copies the others into a prepared file, and renames that over `executions.jsonl`:
    this one rename puts everything in force. Before it nothing has changed, after it nothing is left to do that a
    later roll would not do; whatever is in neither generation is swept away. A writer that opened the file before the rename
    appends to the segment, which is read from where the roll had stopped, and kept until nobody has it open.
    """

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self._clock = clock
        self._live = directory / FILE
        self._segments = directory / "segments"
        self._rollups = directory / "rollups"
        self._manifest = Manifest(directory)

    def roll(self, retention_days: float, *, keep_raw: bool = False) -> dict[str, int]:
        """Sum up the lines older than `retention_days` and return how many, in how many days.

        `keep_raw` keeps the lines themselves too, as gzip. Raises Busy while another process rolls, OSError, and
        ForceError for damaged rollups.
        """
        cutoff = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self._clock() - retention_days * 86_400))
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
        raise ForceError(f"{self.directory} does not hold what its manifest names", hint="see: claude-force metrics verify")

    def _open(self, generation: Generation, opened: ExitStack) -> View:
        def enter(path: Path) -> BinaryIO:
            return opened.enter_context(path.open("rb", buffering=0))

        live = enter(self._live) if self._live.exists() else None
        residues = tuple((enter(self._segments / name), moved) for name, moved in generation.segments.items())
        return View(generation, live, residues)

    def _recover(self) -> Generation:
        """Make the generation in force the only one, and remove all files that are not of it."""
        generation = self._manifest.current()
        self._manifest.publish(generation)
        receipts = {receipt["raw"] for receipt in generation.receipts}
        for path in (*self._segments.iterdir(), *self._rollups.glob("*.gz")):
            if path.name not in {*generation.segments, *receipts, *(file for file, _ in generation.days.values())}:
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
