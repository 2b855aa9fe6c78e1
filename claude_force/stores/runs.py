"""The runs of a project, below `runs/`: which there are, which one is meant, and how each one stands.

A directory there that has no name of ours, or is a link, is no run. A run that another user or another machine made,
which may have come with a cloned repository, is left out: nothing of it is recalled, shown or gone on with.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from itertools import islice

from .. import files
from ..errors import NotFound, UsageError
from ..frozen import dataclass
from ..run_ids import is_id
from . import seal
from .journal import LOCK
from .transcript import FILE, read, sums

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from .seal import Secret

_LAST = re.compile(r"last(?:~(\d{1,6}))?", re.ASCII)
_LONGEST_LINE = 4096
"""Bytes that the first line of a journal, and the line that ends it, may have; what a full disk cut short included."""


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
            found = [e.name for e in entries if is_id(e.name) and e.is_dir(follow_symlinks=False)]
    except OSError:  # there is none yet
        return []
    return sorted(found, reverse=True)


def find_run(directory: Path, spelling: str, *, secret: Secret, workflow: str | None = None) -> Path:
    """Return the directory of the run that `spelling` means: its id, the beginning of it, `last`, or `last~N`.

    `last~1` is the one before the last; only those of `workflow` count, if one is named. Raises NotFound, or UsageError
    for what fits several runs, for one that is not this user's or whose journal tells nothing, and where there is none.
    """
    ids = run_ids(directory)
    if not ids:
        raise UsageError("there is no run yet")
    if last := _LAST.fullmatch(spelling):
        return _unlinked(directory / _before_last(directory, int(last[1] or 0), secret, workflow))
    fitting = [i for i in ids if spelling and i.startswith(spelling)]
    if not fitting and is_id(spelling):  # all ids are alike, so that none is close
        raise _unknown(spelling)
    if not fitting:
        raise NotFound("run", spelling, [*("last", "last~1")[: len(ids)], *ids[:5]])
    own = [i for i in fitting if head(directory / i, secret)] or fitting
    if len(own) > 1:
        few = ", ".join(own[:5])
        raise UsageError(f"'{spelling}' is the beginning of {len(own)} runs", hint=f"write more of it: {few}")
    return _telling(_unlinked(directory / own[0]), secret)


def _unknown(run_id: str) -> NotFound:
    error = NotFound("run", run_id)
    error.hint = "runs of single agents are in 'claude-force memory recent'"
    return error


def _before_last(directory: Path, number: int, secret: Secret, workflow: str | None) -> str:
    """Return the id of the user's run `number` runs before the last one."""
    found = [*islice(own_ids(directory, secret=secret, workflow=workflow), number + 1)]
    if not found:
        raise UsageError(f"there is no run of {workflow} yet" if workflow else "there is no run of yours yet")
    if len(found) <= number:
        known = "'last'" if len(found) == 1 else f"'last' to 'last~{len(found) - 1}'"
        told = f"there is no 'last~{number}': too few runs{f' of {workflow}' if workflow else ''} are kept"
        raise UsageError(told, hint=f"there is {known}")
    return found[-1]


def own_ids(directory: Path, *, secret: Secret, workflow: str | None = None) -> Iterator[str]:
    """Yield the ids of the user's own runs in `directory` that have begun, the newest first, of `workflow` alone."""
    for run_id in run_ids(directory):
        if (found := head(directory / run_id, secret)) and workflow in {None, found.get("workflow")}:
            yield run_id


def summaries(
    directory: Path,
    *,
    secret: Secret,
    workflow: str | None = None,
    foreign: Callable[[str], object] = lambda _: None,
) -> Iterator[Summary]:
    """Yield how the runs in `directory` stand, the newest first, of `workflow` alone if one is named.

    Of a run that has ended the first and the last line are read, of another one all. `foreign` is told the id of each
    run that is left out because it is not this user's.
    """
    for run_id in run_ids(directory):
        run = directory / run_id
        known = head(run, secret)
        if not known and is_foreign(run, secret):
            foreign(run_id)
        elif workflow is None or known.get("workflow") == workflow:
            yield summary(run, secret)


def summary(run: Path, secret: Secret) -> Summary:
    """Return how the run in the directory `run` stands, by what the user sealed of its journal."""
    known = head(run, secret)
    end: dict[str, Any] | None = (
        _end(run, secret) if known else {"status": "running" if is_going(run) else "unreadable"}
    )
    if end is None:
        end = {"status": "running" if is_going(run) else "interrupted", **sums(read(run / FILE, secret).sessions)}
    return Summary(
        run_id=run.name,
        workflow=str(known.get("workflow", "?")),
        began=str(known.get("began", "")),
        status=str(end.get("status")),
        steps=int(known.get("steps", 0)),
        counts=end.get("counts", {}),
        cost=end.get("cost"),
        saved=end.get("saved", 0),
        seconds=end.get("seconds", 0.0),
    )


def head(run: Path, secret: Secret) -> dict[str, Any]:
    """Return the line with which a run's journal begins, nothing if there is none that the user sealed.

    Raises OSError if the secret cannot be read.
    """
    for line in _beginning(run).split(b"\n"):
        if line.startswith(b'{"run": ') and (found := _own(line, run, secret)):
            return found
    return {}


def is_foreign(run: Path, secret: Secret) -> bool:
    """Say whether the journal of `run` begins with a whole line, and has no head that the user sealed."""
    return seal.entry(_beginning(run).partition(b"\n")[0]) is not None and not head(run, secret)


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


def _telling(run: Path, secret: Secret) -> Path:
    """Return `run`; raises UsageError if its journal is not this user's, or tells nothing."""
    if head(run, secret):
        return run
    if is_foreign(run, secret):
        raise UsageError(
            f"run {run.name} was made by another user or on another machine", hint="its journal is not used; run anew"
        )
    told = "damaged" if _beginning(run) else "empty or missing"
    raise UsageError(f"the journal of run {run.name} is {told}", hint="nothing of it is known; run anew")


def _beginning(run: Path) -> bytes:
    """Return the first bytes of a run's journal, none if they cannot be read or are elsewhere."""
    with suppress(OSError):
        return b"" if (run / FILE).is_symlink() else files.read_regular(run / FILE, _LONGEST_LINE)
    return b""


def _end(run: Path, secret: Secret) -> dict[str, Any] | None:
    """Return the last line of a run's journal, if it tells how the run ended."""
    line = b""
    with suppress(OSError), (run / FILE).open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(size - _LONGEST_LINE, 0))
        line = stream.read().rstrip(b"\n").rpartition(b"\n")[2]
    return _own(line, run, secret) if line.startswith(b'{"end": ') else None


def _own(line: bytes, run: Path, secret: Secret) -> dict[str, Any] | None:
    own = seal.opened(line, run.name, secret())
    return None if own is None else seal.entry(own)
