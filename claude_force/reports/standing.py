"""How each workflow stands: its last run, its last success and its last failure, from the end of the metrics.

Lines are read backwards, a block at a time, and parsed only while they can still tell something new, so a long history
costs little. What a line cannot tell, that a run was killed between two steps, the run's journal does. A run whose
journal is not the user's own says nothing: it may have come with a cloned repository.
"""

from __future__ import annotations

import os
import re
from json import loads

from ..frozen import dataclass
from ..stores import runs
from ..stores.metrics import records
from ..stores.rollups import Rollups
from ..stores.tally import moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import Any, BinaryIO

    from ..stores.seal import Secret

_BLOCK_BYTES = 1 << 18
_WORKFLOW = re.compile(rb'"workflow_id": ?("(?:[^"\\]|\\.)*")')
_FAILURE = re.compile(rb'"success": ?false')
_START = re.compile(r"(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)\d{3}-[0-9a-f]{6}")


@dataclass(frozen=True)
class Run:
    """A run that has ended at `finished`, UTC, `YYYY-MM-DDTHH:MM:SS`; `cost` is USD, None if a part is unpriced."""

    run_id: str
    finished: str
    status: str
    """ok, failed, interrupted, or running."""
    cost: float | None


@dataclass(frozen=True)
class Standing:
    """The last run of a workflow, the last one that succeeded, and the last one that did not; None if there is none."""

    last: Run | None = None
    success: Run | None = None
    failure: Run | None = None


def standings(
    state: Path, names: Iterable[str], *, secret: Secret, foreign: Callable[[str], object] = lambda _: None
) -> dict[str, Standing]:
    """Return how the workflows `names` stand, and all others that have run, by name.

    `state` is the project's directory of state. `foreign` is told the id of each run that is left out because its
    journal is not sealed with the user's `secret`. Raises OSError, and ForceError for a damaged manifest of rollups.
    """
    search = _Search(state / "runs", names, secret, foreign)
    with Rollups(state / "metrics").view() as view:
        for stream, start in view.residues:
            for block in _backwards(stream, start):
                search.take(block)
        for block in _backwards(view.live, 0) if view.live else ():
            search.close(since=search.take(block))
    search.close(since="")
    return search.found


class _Open:
    """A run of which some lines have been seen, and earlier ones may follow."""

    def __init__(self, workflow: str, run_id: str, stamp: str) -> None:
        self.workflow = workflow
        self.run_id = run_id
        self.began = _began(run_id) or stamp
        self.finished = ""
        self.success = True
        self.interrupted = False
        self.cost: float | None = 0.0

    def add(self, stamp: str, line: Mapping[str, Any]) -> None:
        self.finished = max(self.finished, stamp)
        self.success = self.success and line.get("success") is True
        self.interrupted = self.interrupted or line.get("error_type") == "interrupted"
        cost = line.get("estimated_cost")
        self.cost = None if self.cost is None or not isinstance(cost, int | float) else self.cost + cost


class _Search:
    """What has been found so far, going backwards."""

    def __init__(self, journals: Path, names: Iterable[str], secret: Secret, foreign: Callable[[str], object]) -> None:
        self.found = dict.fromkeys(names, Standing())
        self._journals = journals
        self._secret = secret
        self._foreign = foreign
        self._open: dict[tuple[str, str], _Open] = {}

    def take(self, block: bytes) -> str:
        """Take in whole lines; return the earliest time, UTC, among those that had anything to tell, or `~`."""
        earliest = "~"
        for line in records(self._telling(block)):
            try:
                stamp, workflow = (moment(line["timestamp"]), line["workflow_id"]) if line else ("", "")
            except (KeyError, TypeError, ValueError, OverflowError):
                continue
            if line and workflow and isinstance(workflow, str):
                self._add(workflow, stamp, line)
                earliest = min(earliest, stamp)
        return earliest

    def _add(self, workflow: str, stamp: str, line: Mapping[str, Any]) -> None:
        """Add a line to its run, unless the run has nothing to tell: then another one may, or all is known."""
        run_id = str(line.get("run_id") or stamp)
        run = self._open.get((workflow, run_id))
        known = self.found.get(workflow, Standing())
        if run is None and (known.success is None or (known.failure is None and line.get("success") is not True)):
            run = self._open[workflow, run_id] = _Open(workflow, run_id, stamp)
        if run is not None:
            run.add(stamp, line)

    def close(self, since: str) -> None:
        """Judge the runs that began after `since`: no more of their lines can follow."""
        for key in [key for key, run in self._open.items() if run.began > since or not since]:
            run = self._open.pop(key)
            journal = self._journals / run.run_id if _began(run.run_id) else None
            if journal and runs.is_foreign(journal, self._secret):
                self._foreign(run.run_id)
            else:
                self._note(run.workflow, self._ended(run, journal))

    def _telling(self, block: bytes) -> list[bytes]:
        """Return the lines of workflows of which more is to be known; once only failures are, those of failures."""
        names = {quoted: _text(quoted) for quoted in set(_WORKFLOW.findall(block))}
        begun = {run.workflow for run in self._open.values()}
        known = {quoted: self.found.get(name, Standing()) for quoted, name in names.items()}
        whole = {quoted for quoted, standing in known.items() if names[quoted] in begun or not standing.success}
        failing = {quoted for quoted, standing in known.items() if not standing.failure} - whole
        lines = [line for line in block.split(b"\n") if _of(line) in whole] if whole else []
        return lines + [line for line in _failures(block) if _of(line) in failing] if failing else lines

    def _ended(self, run: _Open, journal: Path | None) -> Run:
        status = "ok" if run.success else "interrupted" if run.interrupted else "failed"
        if status == "ok" and journal and os.path.isdir(journal):
            told = runs.summary(journal, self._secret).status
            status = told if told in {"failed", "interrupted", "running"} else "ok"
        return Run(run.run_id, run.finished, status, run.cost)

    def _note(self, workflow: str, run: Run) -> None:
        old = self.found.get(workflow, Standing())
        success = _later(old.success, run) if run.status == "ok" else old.success
        failure = _later(old.failure, run) if run.status in {"failed", "interrupted"} else old.failure
        self.found[workflow] = Standing(_later(old.last, run), success, failure)


def _later(one: Run | None, other: Run) -> Run:
    return other if one is None or other.finished > one.finished else one


def _began(run_id: str) -> str:
    """Return when a run began, which its id tells; nothing if it is not one of ours."""
    match = _START.fullmatch(run_id)
    return "{}-{}-{}T{}:{}:{}".format(*match.groups()) if match else ""


def _of(line: bytes) -> bytes | None:
    """Return the name of the workflow that a line is of, as it stands there."""
    found = _WORKFLOW.search(line)
    return found and found[1]


def _failures(block: bytes) -> Iterator[bytes]:
    for found in _FAILURE.finditer(block):
        end = block.find(b"\n", found.end())
        yield block[block.rfind(b"\n", 0, found.start()) + 1 : end if end >= 0 else None]


def _text(name: bytes) -> str:
    try:
        return str(loads(name))
    except ValueError:
        return ""


def _backwards(stream: BinaryIO, start: int) -> Iterator[bytes]:
    """Yield the lines of `stream` from its end to the offset `start`, in blocks of whole lines, the last one first."""
    end, rest = stream.seek(0, os.SEEK_END), b""
    while end > start:
        begin = max(end - _BLOCK_BYTES, start)
        stream.seek(begin)
        data = stream.read(end - begin) + rest
        end = begin
        cut = data.find(b"\n") + 1 if begin > start else 0
        rest = data[:cut] if cut or begin == start else data
        if begin == start or cut:
            yield data[cut:]
