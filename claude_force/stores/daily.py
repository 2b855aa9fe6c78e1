"""Day files, `rollups/DAY.GENERATION.json.gz`: all that is kept of the executions of one day (UTC)."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict

from ..errors import ForceError
from ..files import read_regular, write_atomic
from . import histogram
from .tally import COUNTERS, Day, counters, is_hour, row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Files = Mapping[str, tuple[str, int]]
    """By day: the name of its file, and the CRC-32 of the file's bytes."""

_GZIP = 31  # the `wbits` with which zlib reads and writes gzip
_LARGEST = 32 << 20
"""Bytes of a day file, and of the JSON in it: a thousand agents whose executions all took another time make eight."""
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
        """Add `days` to what the files hold of them.

        Raises OSError, ForceError for a damaged file, and ValueError for what no file can hold.
        """
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
    """Return the day in the file at `path`.

    Raises OSError, and ForceError if the file is no day file or its CRC-32 is not `check`.
    """
    data = read_regular(path, _LARGEST)
    if zlib.crc32(data) != check:
        raise ForceError(f"{path} is not as it was written", hint=_HINT)
    try:
        return decode(data)
    except ValueError as error:
        raise ForceError(f"{path} is damaged: {error}", hint=_HINT) from None


def encode(name: str, day: Day) -> bytes:
    """Return `day` as gzip JSON; equal days give equal bytes. Raises ValueError for what `decode` would not read."""
    cells = [
        [*names, counters(cell.row), _failures(cell.errors), histogram.packed(cell.latencies)]
        for names, cell in sorted(day.cells.items())
    ]
    hours = {hour: counters(row) for hour, row in sorted(day.hours.items())}
    document = {"version": 1, "day": name, "counters": COUNTERS, "hours": hours, "cells": cells}
    text = json.dumps(document, separators=(",", ":")).encode()
    if len(text) > _LARGEST:
        raise ValueError(f"the sums of {name} take {len(text):,} bytes, more than the {_LARGEST:,} of a day file")
    return zlib.compress(text, wbits=_GZIP)


def decode(data: bytes) -> Day:
    """Return the day that `encode` wrote; raises ValueError for anything else."""
    try:
        document = json.loads(_inflated(data))
        day = Day()
        for agent, model, workflow, sums, errors, latencies in document["cells"]:
            cell = day.cells[_text(agent), _text(model), _text(workflow)]
            cell.row, cell.errors, cell.latencies = row(sums), _failures(errors), histogram.unpacked(latencies)
        day.hours.update({_hour(name): row(sums) for name, sums in document["hours"].items()})
    except (zlib.error, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no day file: {error}") from None
    return day


_HINT = "see: claude-force metrics verify"


def _inflated(data: bytes) -> bytes:
    """Return what was compressed; three megabytes could hold three thousand, which nobody would wait for."""
    stream = zlib.decompressobj(wbits=_GZIP)
    text = stream.decompress(data, _LARGEST + 1)
    if not stream.eof or len(text) > _LARGEST:
        raise ValueError("it is cut short, or holds more than a day can")
    return text


def _text(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{name!r:.20} is no name")
    return name


def _hour(name: str) -> str:
    if not is_hour(name):
        raise ValueError(f"{name!r:.20} is no hour")
    return name


def _failures(errors: Mapping[str, int]) -> dict[str, int]:
    """Return the counts of errors in the order of their names; raises ValueError for what is no count."""
    if not all(type(count) is int and 0 < count < 1 << 32 for count in errors.values()):
        raise ValueError("errors are counted in what is no count")
    return dict(sorted(errors.items()))
