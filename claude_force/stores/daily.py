"""Day files, `rollups/DAY.GENERATION.json.gz`: all that is kept of the executions of one day (UTC)."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict

from ..files import require_regular, write_atomic
from . import histogram
from .tally import COUNTERS, Day, counters, row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Files = Mapping[str, tuple[str, int]]
    """By day: the name of its file, and the CRC-32 of the file's bytes."""

_GZIP = 31  # the `wbits` with which zlib reads and writes gzip
_HEAVY = 250_000
"""Histogram entries held before days are written out, about 100 bytes each; a cell weighs ten."""


class DayFiles:
    """The day files of a generation that is being made: those of the generation before, and what is merged into them.

    A file once written is never changed, only replaced by one of a later generation under another name; what a crash
    leaves half done is in no manifest. `merge` keeps days in memory until they are heavy.
    """

    def __init__(self, directory: Path, generation: int, before: Files) -> None:
        self._directory = directory
        self._generation = generation
        self._files = dict(before)
        self._held: dict[str, Day] = defaultdict(Day)
        self._weights: dict[str, int] = {}

    def merge(self, days: Mapping[str, Day]) -> None:
        """Add `days` to what the files hold of them; raises OSError, ValueError for a damaged file."""
        for name, day in days.items():
            held = self._held[name]
            held.merge(day)
            self._weights[name] = sum(10 + len(cell.latencies) for cell in held.cells.values())
        if sum(self._weights.values()) > _HEAVY:
            self.finish()

    def finish(self) -> dict[str, tuple[str, int]]:
        """Write what is held, and return the files of all days."""
        self._weights.clear()
        while self._held:
            name, day = self._held.popitem()
            if name in self._files:
                day.merge(read(self._directory / self._files[name][0], self._files[name][1]))
            data = encode(name, day)
            file = f"{name}.{self._generation}.json.gz"
            write_atomic(self._directory / file, data)
            self._files[name] = (file, zlib.crc32(data))
        return self._files


def read(path: Path, check: int) -> Day:
    """Return the day in the file at `path`; raises OSError, and ValueError if its CRC-32 is not `check`."""
    require_regular(path)  # a pipe that a manifest names would be waited for
    data = path.read_bytes()
    if zlib.crc32(data) != check:
        raise ValueError(f"{path} is not as it was written")
    return decode(data)


def encode(name: str, day: Day) -> bytes:
    """Return `day` as gzip JSON; equal days give equal bytes."""
    cells = [
        [*names, counters(cell.row), dict(sorted(cell.errors.items())), histogram.packed(cell.latencies)]
        for names, cell in sorted(day.cells.items())
    ]
    hours = {hour: counters(row) for hour, row in sorted(day.hours.items())}
    document = {"version": 1, "day": name, "counters": COUNTERS, "hours": hours, "cells": cells}
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), wbits=_GZIP)


def decode(data: bytes) -> Day:
    """Return the day that `encode` wrote; raises ValueError for anything else."""
    try:
        document = json.loads(zlib.decompress(data, wbits=_GZIP))
        day = Day()
        for agent, model, workflow, sums, errors, latencies in document["cells"]:
            cell = day.cells[agent, model, workflow]
            cell.row, cell.errors, cell.latencies = row(sums), errors, histogram.unpacked(latencies)
        day.hours.update({hour: row(sums) for hour, sums in document["hours"].items()})
    except (zlib.error, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no day file: {error}") from None
    return day
