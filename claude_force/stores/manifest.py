"""Which files make up the history of executions, and how a change of all of them happens at one instant."""

from __future__ import annotations

import json
import os
import re

from ..errors import ForceError
from ..files import private_directory, read_regular, write_atomic
from ..frozen import dataclass, field, replace
from .tally import MOST, row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any


_LARGEST = 32 << 20
"""Bytes; a roll a day for a hundred years makes eleven million."""


@dataclass(frozen=True)
class Generation:
    """The files that are the history, beside `executions.jsonl`; every line is counted in exactly one of them."""

    number: int = 0
    days: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """By day (UTC), the name of its file below `rollups/` and the CRC-32 of the file's bytes."""
    segments: Mapping[str, int] = field(default_factory=dict)
    """Former `executions.jsonl` below `segments/`, with the bytes of each whose lines have moved elsewhere."""
    receipts: tuple[Mapping[str, Any], ...] = ()
    """For each roll the counters of the lines that it took, and `raw`, the file that keeps them, or None."""


class Manifest:
    """`rollups/manifest.json` in `directory`: the generation in force, and perhaps the one that is to follow.

    A generation takes force by one rename, that of its prepared `segments/N.next` over `executions.jsonl`: as long as
    the prepared file is there, the old generation holds; once it is gone, the new one does. The manifest itself is
    replaced atomically. So a reader, and whoever comes after a crash at any instant, finds one or the other, whole.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.path = directory / "rollups" / "manifest.json"

    def current(self) -> Generation:
        """Return the generation in force; raises ForceError for a damaged or lost manifest, OSError."""
        try:
            data = self._read()
        except FileNotFoundError:
            if any(self.path.parent.glob("*.json.gz")):
                raise ForceError(f"{self.path} is missing, though there are rollups", hint=RESTORE) from None
            return Generation()
        try:
            entries = json.loads(data)
            follows = entries.get("follows")
            if follows and not prepared(self._directory, _count(follows["number"])).exists():
                return _generation(follows)
            return _generation(entries["holds"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise ForceError(f"{self.path} is damaged", hint=RESTORE) from None

    def settle(self) -> Generation:
        """Make the generation in force the only one that the manifest names, and return it."""
        generation = self.current()
        if not self.path.exists() or b'"follows"' in self._read():
            self.publish(generation)
        return generation

    def propose(self, follows: Generation) -> None:
        """Name the generation that takes force when its prepared file is renamed."""
        self._write({"holds": self.current().__dict__, "follows": follows.__dict__})

    def publish(self, generation: Generation) -> None:
        """Put `generation` in force; whatever was proposed is dropped."""
        self._write({"holds": generation.__dict__})

    def _read(self) -> bytes:
        return read_regular(self.path, _LARGEST)

    def _write(self, entries: Mapping[str, Any]) -> None:
        private_directory(self.path.parent)
        write_atomic(self.path, json.dumps({"version": 1, **entries}).encode())
        sync(self.path.parent)


RESTORE = "restore the whole directory 'rollups' from a backup, or move it away to begin anew without it"


def prepared(directory: Path, number: int) -> Path:
    """Return where generation `number` prepares the `executions.jsonl` with which it takes force."""
    return directory / "segments" / f"{number}.next"


def without(generation: Generation, segments: set[str]) -> Generation:
    """Return the generation that follows when `segments` are no longer needed."""
    rest = {name: moved for name, moved in generation.segments.items() if name not in segments}
    return replace(generation, number=generation.number + 1, segments=rest)


def sync(directory: Path) -> None:
    """Make what was created and renamed in `directory` survive a loss of power, where the system can do that."""
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _generation(entry: Mapping[str, Any]) -> Generation:
    days = {day: (_name(file), _count(check)) for day, (file, check) in entry["days"].items()}
    segments = {_name(name): _count(moved) for name, moved in entry["segments"].items()}
    receipts = tuple(_receipt(receipt) for receipt in entry["receipts"])
    return Generation(_count(entry["number"]), days, segments, receipts)


def _receipt(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    row(entry["counters"])  # a ValueError if they are none
    return {**entry, "raw": entry["raw"] and _name(entry["raw"])}


def _count(number: int) -> int:
    if type(number) is not int or not 0 <= number < MOST:
        raise ValueError(number)
    return number


def _name(file: str) -> str:
    """Return `file` if it is a plain name: a manifest that came with a project must not lead out of it."""
    if not re.fullmatch(r"\w[\w.-]*", file):
        raise ValueError(file)
    return file
