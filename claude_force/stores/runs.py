"""The runs of a project, below `runs/`: which there are, which one is meant, and how each one stands.

A directory there that has no name of ours, or is a link, is no run.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from json import loads

from .. import files
from ..errors import NotFound, UsageError
from ..frozen import dataclass
from .journal import LOCK
from .transcript import FILE, read, sums

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

_ID = re.compile(r"\d{8}-\d{9}-[0-9a-f]{6}")
_LONGEST_LINE = 4096
"""Bytes that the first line of a journal, and the line that ends it, may have."""


@dataclass(frozen=True)
class Summary:
    """How a run stands. `counts` says how many steps ended how; money is in nanodollars, None if unpriced."""

    run_id: str
    workflow: str
    began: str
    status: str
    """ok, failed, interrupted, running, or unreadable."""
    steps: int
    counts: Mapping[str, int]
    cost: int | None
    saved: int
    seconds: float


def run_ids(directory: Path) -> list[str]:
    """Return the ids of the runs in `directory`, the newest first."""
    try:
        with os.scandir(directory) as entries:
            found = [e.name for e in entries if _ID.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]
    except OSError:  # there is none yet
        return []
    return sorted(found, reverse=True)


def find_run(directory: Path, spelling: str, *, workflow: str | None = None) -> Path:
    """Return the directory of the run that `spelling` means: its id, the beginning of it, or `last`.

    The last one is that of `workflow`, if one is named. Raises NotFound, or UsageError for what fits several runs and
    where there is none at all.
    """
    ids = run_ids(directory)
    if not ids:
        raise UsageError("there is no run yet")
    if spelling == "last":
        found = next((i for i in ids if _is_of(directory / i, workflow)), None)
        if found is None:
            raise UsageError(f"there is no run of {workflow} yet")
        return _unlinked(directory / found)
    fitting = [i for i in ids if spelling and i.startswith(spelling)]
    if not fitting:
        raise NotFound("run", spelling, ids[:5])
    if len(fitting) > 1:
        few = ", ".join(fitting[:5])
        raise UsageError(f"'{spelling}' is the beginning of {len(fitting)} runs", hint=f"write more of it: {few}")
    return _unlinked(directory / fitting[0])


def summaries(directory: Path, *, workflow: str | None = None) -> Iterator[Summary]:
    """Yield how the runs in `directory` stand, the newest first, of `workflow` alone if one is named.

    Of a run that has ended the first and the last line are read, of another one all.
    """
    for run_id in run_ids(directory):
        if _is_of(directory / run_id, workflow):
            yield summary(directory / run_id)


def summary(run: Path) -> Summary:
    """Return how the run in the directory `run` stands."""
    head = _head(run)
    end: dict[str, Any] | None = _end(run) if head else {"status": "running" if is_going(run) else "unreadable"}
    if end is None:
        end = {"status": "running" if is_going(run) else "interrupted", **sums(read(run / FILE).sessions)}
    return Summary(
        run_id=run.name,
        workflow=str(head.get("workflow", "?")),
        began=str(head.get("began", "")),
        status=str(end.get("status")),
        steps=int(head.get("steps", 0)),
        counts=end.get("counts", {}),
        cost=end.get("cost"),
        saved=end.get("saved", 0),
        seconds=end.get("seconds", 0.0),
    )


def is_going(run: Path) -> bool:
    """Say whether a process carries out the run in the directory `run`."""
    if not (run / LOCK).is_file():
        return False
    try:
        with files.locked(run / LOCK, wait=False) as free:
            return not free
    except OSError:  # it cannot be asked: the file is another user's
        return False


def remove(run: Path, *, before: float) -> int | None:
    """Remove the directory `run` if nothing in it was written since `before`, in seconds since the epoch.

    Returns how many bytes its files had, None if it stays because it is younger or goes on. Raises UsageError if it
    holds anything but a run's files, links among them, and OSError.
    """
    with os.scandir(run) as entries:
        held = {entry: entry.stat(follow_symlinks=False) for entry in entries}
    if max(status.st_mtime for status in (run.lstat(), *held.values())) >= before:
        return None
    for entry in held:
        if entry.name not in {FILE, LOCK} or not entry.is_file(follow_symlinks=False):
            raise UsageError(f"{entry.path} is no file of a run", hint="remove it yourself")
    with files.locked(run / LOCK, wait=False) as free:
        if not free:
            return None
        (run / FILE).unlink(missing_ok=True)
        (run / LOCK).unlink()
        run.rmdir()
    return sum(status.st_size for status in held.values())


def _unlinked(run: Path) -> Path:
    """Return `run`; raises UsageError if one of its files leads elsewhere."""
    for name in (FILE, LOCK):
        if (run / name).is_symlink():
            raise UsageError(f"{run / name} is a link and is not followed", hint="this run was not written here")
    return run


def _is_of(run: Path, workflow: str | None) -> bool:
    return workflow is None or _head(run).get("workflow") == workflow


def _head(run: Path) -> dict[str, Any]:
    """Return the first line of a run's journal, nothing if it cannot be read."""
    with suppress(OSError, ValueError):
        if (run / FILE).is_symlink():
            return {}
        line = files.read_regular(run / FILE, _LONGEST_LINE).partition(b"\n")[0]
        head = loads(line)
        return head if isinstance(head, dict) else {}
    return {}


def _end(run: Path) -> dict[str, Any] | None:
    """Return the last line of a run's journal, if it tells how the run ended."""
    with suppress(OSError, ValueError), (run / FILE).open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(size - _LONGEST_LINE, 0))
        line = stream.read().rstrip(b"\n").rpartition(b"\n")[2]
        if line.startswith(b'{"end": '):
            end = loads(line)
            return end if isinstance(end, dict) else None
    return None
