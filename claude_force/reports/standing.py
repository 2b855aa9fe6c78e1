"""How each workflow stands: its last run, its last success and its last failure, from the end of the metrics.

Lines are read backwards, a block at a time, and parsed only while they can still tell something new, so a long history
costs little. Lines are not signed and may have come with a cloned repository: a run counts as a success or a failure if
its journal, which the user sealed, says that there was such a run, and how it ended.
"""

from __future__ import annotations

import os
import re
from itertools import islice
from json import loads

from ..frozen import dataclass
from ..records import iso
from ..run_ids import began, is_id
from ..stores import runs
from ..stores.metrics import records
from ..stores.rollups import Rollups
from ..stores.tally import Tally, moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import Any, BinaryIO

    from ..stores.seal import Secret

_BLOCK_BYTES = 1 << 18
_LONGEST_BYTES = 1 << 20
"""Of a line: a thousand times one of ours."""
_NEWEST = 100
"""Runs whose journals are looked at for what no line tells of."""
_SKEW_SECONDS = 300
"""So far ahead of this clock another machine's may be that shares the directory."""
_WORKFLOW = re.compile(rb'"workflow_id": ?("(?>(?:[^"\\\n]+|\\.)*)")')
_RUN = re.compile(rb'"run_id": ?"([^"\\]*)"')
_FAILURE = re.compile(rb'"success": ?false')


@dataclass(frozen=True)
class Run:
    """A run that has ended at `finished`; `cost` is USD, None if a part is unpriced."""

    run_id: str
    finished: str
    """In UTC, `YYYY-MM-DDTHH:MM:SS`, and a fraction of the second where one is known."""
    status: str
    """ok, failed, interrupted or running; unconfirmed without a journal of the user's; ahead of the clock."""
    cost: float | None


@dataclass(frozen=True)
class Standing:
    """The last run of a workflow, the last one that succeeded, and the last one that did not; None if there is none.

    One that is unconfirmed, or ahead of the clock, neither succeeded nor failed; the latter is the last if it is alone.
    """

    last: Run | None = None
    success: Run | None = None
    failure: Run | None = None


def standings(
    state: Path,
    names: Iterable[str],
    *,
    secret: Secret,
    now: float,
    left_out: Callable[[str, str], object] = lambda *_: None,
) -> dict[str, Standing]:
    """Return how the workflows `names` stand, and all others that have run, by name.

    `state` is the project's directory of state, `now` the time in seconds since the epoch. `left_out` is told the id of
    each run that does not count, and why: `foreign` if its journal is not sealed with the user's `secret`, `ahead` if
    it ended after `now`. Raises OSError, and ForceError for a damaged manifest of rollups.
    """
    search = _Search(state / "runs", names, secret, iso(now + _SKEW_SECONDS)[:19], left_out)
    with Rollups(state / "metrics").view() as view:
        for stream, start in view.residues:
            for block in _backwards(stream, start):
                search.take(block)
        for block in _backwards(view.live, 0) if view.live else ():
            search.close(since=search.take(block))
    search.close(since="")
    for workflow, run in _without_lines(state / "runs", secret):
        search.note(workflow, run)
    return search.found


class _Open:
    """A run of which some lines have been seen, and earlier ones may follow."""

    def __init__(self, workflow: str, run_id: str, stamp: str) -> None:
        self.workflow = workflow
        self.run_id = run_id
        self.began = began(run_id) or stamp
        self.finished = ""
        self.cost: float | None = 0.0

    def add(self, stamp: str, line: Mapping[str, Any]) -> None:
        self.finished = max(self.finished, _exact(str(line["timestamp"]), stamp))
        cost = line.get("estimated_cost")
        self.cost = None if self.cost is None or not isinstance(cost, int | float) else self.cost + cost


class _Search:
    """What has been found so far, going backwards."""

    def __init__(
        self,
        journals: Path,
        names: Iterable[str],
        secret: Secret,
        latest: str,
        left_out: Callable[[str, str], object],
    ) -> None:
        self.found = dict.fromkeys(names, Standing())
        self._journals = journals
        self._confirmable = set(runs.run_ids(journals))
        self._latest = latest
        self._tally = Tally()
        """Tells a damaged line, as it does wherever lines are counted."""
        self._secret = secret
        self._left_out = left_out
        self._open: dict[tuple[str, str], _Open] = {}

    def take(self, block: bytes) -> str:
        """Take in whole lines; return the earliest time, UTC, among those that had anything to tell, or `~`."""
        earliest = "~"
        for line in records(self._telling(block)):
            if line and line.get("workflow_id") and self._tally.add(line):
                stamp = moment(line["timestamp"])
                self._add(line["workflow_id"], stamp, line)
                earliest = min(earliest, stamp)
        if self._tally.is_full:
            self._tally.days()
        return earliest

    def _add(self, workflow: str, stamp: str, line: Mapping[str, Any]) -> None:
        """Add a line to its run, unless the run has nothing to tell: then another one may, or all is known."""
        run_id = str(line.get("run_id") or stamp)
        run = self._open.get((workflow, run_id))
        known = self.found.get(workflow, Standing())
        news = known.success is None or (known.failure is None and line.get("success") is not True)
        if run is None and news and (run_id in self._confirmable or not known.last):
            run = self._open[workflow, run_id] = _Open(workflow, run_id, stamp)
        if run is not None:
            run.add(stamp, line)

    def close(self, since: str) -> None:
        """Judge the runs that began after `since`: no more of their lines can follow."""
        for key in [key for key, run in self._open.items() if run.began > since or not since]:
            run = self._open.pop(key)
            journal = self._journals / run.run_id if is_id(run.run_id) else None
            if journal and runs.is_foreign(journal, self._secret):
                self._left_out("foreign", run.run_id)
            else:
                self.note(run.workflow, self._ended(run, journal))

    def _telling(self, block: bytes) -> list[bytes]:
        """Return the lines of workflows of which more is to be known; once only failures are, those of failures."""
        names = {quoted: _text(quoted) for quoted in set(_WORKFLOW.findall(block))}
        begun = {run.workflow for run in self._open.values()}
        known = {quoted: self.found.get(name, Standing()) for quoted, name in names.items()}
        whole = {quoted for quoted, standing in known.items() if names[quoted] in begun or not standing.last}
        more = known.items() if self._confirmable else ()
        hoped = {quoted for quoted, standing in more if not standing.success} - whole
        failing = {quoted for quoted, standing in more if not standing.failure} - whole - hoped
        lines = [line for line in block.split(b"\n") if self._is_in(line, whole, hoped)] if whole or hoped else []
        return lines + [line for line in _failures(block) if self._is_in(line, (), failing)] if failing else lines

    def _is_in(self, line: bytes, whole: Container[bytes | None], others: Container[bytes | None]) -> bool:
        """Say whether a line is of a workflow of `whole`, or of a run of one of `others` that can be confirmed."""
        workflow = _of(line)
        return workflow in whole or (workflow in others and _run(line) in self._confirmable)

    def _ended(self, run: _Open, journal: Path | None) -> Run:
        told = runs.summary(journal, self._secret) if journal else None
        if run.finished > self._latest:
            status = "ahead"
            self._left_out("ahead", run.run_id)
        elif told is None or told.status == "unreadable" or told.workflow != run.workflow:
            status = "unconfirmed"
        else:
            status = told.status  # a run that failed, and was resumed since, is what became of it in the end
        return Run(run.run_id, run.finished, status, run.cost)

    def note(self, workflow: str, run: Run) -> None:
        """Take in a run that has ended."""
        old = self.found.get(workflow, Standing())
        success = _later(old.success, run) if run.status == "ok" else old.success
        failure = _later(old.failure, run) if run.status in {"failed", "interrupted"} else old.failure
        self.found[workflow] = Standing(_later(old.last, run), success, failure)


def _without_lines(journals: Path, secret: Secret) -> Iterator[tuple[str, Run]]:
    """Yield workflow and run of the newest runs that failed because all of their steps were skipped."""
    for told in islice(runs.summaries(journals, secret=secret), _NEWEST):
        if told.status == "failed" and {how for how, count in told.counts.items() if count} == {"skipped"}:
            yield told.workflow, Run(told.run_id, told.began.removesuffix("Z"), told.status, 0.0)


def _later(one: Run | None, other: Run) -> Run:
    """Return the run that ended later; of two that did so at once, the one that began later, as their ids tell."""
    return other if one is None or _place(other) > _place(one) else one


def _place(run: Run) -> tuple[bool, str, str]:
    return run.status != "ahead", run.finished, run.run_id


def _exact(timestamp: str, stamp: str) -> str:
    """Return the whole second `stamp` of a `timestamp` with its fraction, as those of ours have one."""
    return timestamp[:-1] if timestamp[:-1].startswith(f"{stamp}.") and timestamp.endswith("Z") else stamp


def _of(line: bytes) -> bytes | None:
    """Return the name of the workflow that a line is of, as it stands there."""
    found = _WORKFLOW.search(line)
    return found and found[1]


def _run(line: bytes) -> str:
    """Return the id of the run that a line is of, '' if it has none of ours."""
    found = _RUN.search(line)
    return found[1].decode("ascii", "ignore") if found else ""


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
    """Yield the lines of `stream` from its end to the offset `start`, in blocks of whole lines, the last one first.

    A line that is too long to be one of ours is left out.
    """
    end, rest, is_too_long = stream.seek(0, os.SEEK_END), b"", False
    while end > start:
        begin = max(end - _BLOCK_BYTES, start)
        stream.seek(begin)
        data = stream.read(end - begin)
        end = begin
        if is_too_long:
            data = data[: data.rfind(b"\n") + 1]
            is_too_long = not data
        data += rest
        cut = data.find(b"\n") + 1 if begin > start else 0
        rest = data[:cut] if cut else data
        if begin == start or cut:
            yield data[cut:]
        if len(rest) > _LONGEST_BYTES:
            rest, is_too_long = b"", True
