"""`status`: how the project's workflows stand, and whether one of them is overdue."""

from __future__ import annotations

import time
from calendar import timegm

from ..errors import ForceError, NotFound, reason
from ..frozen import dataclass
from ..project import recording
from ..records import Result, iso_seconds
from ..reports.standing import Standing, standings
from ..reports.table import duration, plural, table, usd_amounts
from . import given
from .scheduled import is_running, lock_file
from .troubles import troubles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence
    from typing import Any

    from ..client.standing import Standing as Trouble
    from ..project.workspace import Workspace
    from ..reports.standing import Run

_LEFT_OUT = {"foreign": "of another user or machine left out", "ahead": "dated ahead of this clock left out"}
_DOUBTFUL = {"unconfirmed": "unconfirmed", "ahead": "ahead of this clock"}
"""By the status of a run that is neither a success nor a failure, how an alarm calls it."""
_WIDE = 100
"""Columns of a page that holds the times of two runs besides their ages."""


@dataclass(frozen=True)
class _Row:
    """A workflow at one moment; `running` is since when it runs under its lock, in seconds since the epoch."""

    name: str
    standing: Standing
    running: float | None
    overdue: bool
    now: float

    @property
    def state(self) -> str:
        last = self.standing.last
        if self.running is not None:
            return "running"
        return last.status if last else "never run"


def status_options(parser: ArgumentParser) -> None:
    """Add the options of `status`."""
    parser.add_argument("names", metavar="WORKFLOW", nargs="*", help="these alone (those that can be run, or have run)")
    stale = "say nothing, but exit 1 if one has not succeeded for so long, as in 90m, 26h or 2d; never counts if named"
    parser.add_argument("--stale", type=given.seconds, metavar="AGE", help=stale)


def status(args: Namespace, workspace: Workspace) -> Result:
    """Show when each workflow last succeeded and failed, what its last run cost, and whether it is running."""
    rows, api = _rows(args, workspace), _api(workspace)
    overdue = [row for row in rows if row.overdue]
    error = _alarm(overdue, args.stale) if overdue else None
    if args.stale is not None and not args.names and not _is_watched(rows, workspace):
        error = ForceError(
            f"no workflow has run in {workspace.root}, and none is defined there",
            hint="start it in the directory of the project, or name that with -C",
        )
    data = {
        "schema_version": 1,
        "success": error is None,
        "stale_seconds": args.stale,
        "workflows": [_facts(row) for row in rows],
        "api": [vars(trouble) for trouble in api],
        "error": error.facts() if error else None,
    }
    silent = args.stale is not None and not workspace.screen.verbose
    lines = [f"{trouble.name}: {trouble.state}: {trouble.found}" for trouble in api]
    return Result(data, "" if silent else "\n".join([_text(rows, workspace), *lines]), error, 1 if error else 0)


def _api(workspace: Workspace) -> list[Trouble]:
    try:
        return troubles(workspace)
    except OSError as error:
        workspace.screen.warn(f"what is known of the API's health cannot be read: {reason(error)}")
        return []


def _rows(args: Namespace, workspace: Workspace) -> list[_Row]:
    known = {w.name: w.source for w in workspace.workflows()}
    names = args.names or [n for n, source in known.items() if source != "bundled"]
    now = time.time()
    found = _found(names, workspace, now)
    for name in args.names:
        if name not in known and not found[name].last:
            raise NotFound("workflow", name, {*known, *(n for n, standing in found.items() if standing.last)})
    rows = []
    for name in args.names or sorted(found):
        overdue = args.stale is not None and _is_overdue(found[name], now - args.stale, named=bool(args.names))
        rows.append(_Row(name, found[name], _running_since(name, workspace), overdue, now))
    return rows


def _found(names: Sequence[str], workspace: Workspace, now: float) -> dict[str, Standing]:
    left: dict[str, set[str]] = {why: set() for why in _LEFT_OUT}
    secret = recording.secret(workspace)
    try:
        found = standings(
            workspace.state, names, secret=secret, now=now, left_out=lambda why, run_id: left[why].add(run_id)
        )
    except OSError as error:
        told = f"cannot read {error.filename or 'the metrics'}: {reason(error)}"
        raise ForceError(told, hint="see: claude-force doctor") from None
    for why, run_ids in left.items():
        if run_ids:
            workspace.screen.warn(f"{plural(len(run_ids), 'run')} {_LEFT_OUT[why]}")
    return found


def _running_since(name: str, workspace: Workspace) -> float | None:
    """Return since when a workflow runs under its lock, None also where that cannot be told, which is warned of."""
    try:
        return is_running(workspace.state, name)
    except OSError as error:
        path = lock_file(workspace.state, name)
        told = f"cannot tell whether '{name}' is running: {path}: {reason(error)}"
        workspace.screen.warn(f"{told}; remove it if it is no file")
        return None


def _is_overdue(standing: Standing, limit: float, *, named: bool) -> bool:
    """Say whether the last success is before `limit`; who has never run is not overdue unless `named`."""
    if standing.success:
        return _seconds(standing.success) < limit
    return named or standing.last is not None


def _is_watched(rows: Sequence[_Row], workspace: Workspace) -> bool:
    """Say whether there is anything that can be overdue: else a monitor in the wrong place would never say a word."""
    if any(row.standing.last or row.running is not None for row in rows):
        return True
    return any(workflow.source in {"project", "config"} for workflow in workspace.workflows())


def _alarm(overdue: Sequence[_Row], limit: float) -> ForceError:
    told = [f"'{row.name}' ({_last_success(row)})" for row in overdue]
    have = "has" if len(overdue) == 1 else "have"
    message = f"{plural(len(overdue), 'workflow')} {have} not succeeded for {_age(limit)}: {', '.join(told)}"
    return ForceError(message, hint="see: claude-force status")


def _last_success(row: _Row) -> str:
    success, last = row.standing.success, row.standing.last
    if success:
        return _ago(success, row.now)
    return _DOUBTFUL.get(last.status, "never") if last else "never"


def _facts(row: _Row) -> dict[str, Any]:
    standing = row.standing
    return {
        "workflow": row.name,
        "state": row.state,
        "running_since": row.running and iso_seconds(row.running),
        "stale": row.overdue,
        "last_run": _run(standing.last, row.now),
        "last_success": _run(standing.success, row.now),
        "last_failure": _run(standing.failure, row.now),
    }


def _run(run: Run | None, now: float) -> dict[str, Any] | None:
    if run is None:
        return None
    seconds = _seconds(run)
    facts = {"run_id": run.run_id, "status": run.status, "finished": iso_seconds(seconds)}
    return facts | {"age_seconds": round(max(now - seconds, 0)), "estimated_cost": run.cost}


def _text(rows: Sequence[_Row], workspace: Workspace) -> str:
    if not rows:
        return "no workflow has run yet"
    costs = usd_amounts(row.standing.last.cost if row.standing.last else 0 for row in rows)
    width = workspace.screen.page
    when = _when if width >= _WIDE else _ago
    cells = [
        (
            row.name,
            row.state,
            when(row.standing.success, row.now),
            when(row.standing.failure, row.now),
            cost if row.standing.last else "",
        )
        for row, cost in zip(rows, costs, strict=True)
    ]
    headings = ("WORKFLOW", "STATE", "LAST SUCCESS", "LAST FAILURE", "LAST COST")
    return table(headings, cells, width=width, numbers=("LAST COST",), texts=("WORKFLOW",))


def _when(run: Run | None, now: float) -> str:
    if run is None:
        return _ago(run, now)
    return f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(_seconds(run)))}, {_ago(run, now)}"


def _ago(run: Run | None, now: float) -> str:
    return f"{_age(max(now - _seconds(run), 0))} ago" if run else "never"


def _age(seconds: float) -> str:
    """Return an age for people, of whole seconds."""
    whole = max(round(seconds), 1)
    if whole < 60:
        return f"{whole} s"
    if seconds < 2 * 86_400:
        return duration(whole).removesuffix(" 0 s")
    return f"{int(seconds // 86_400)} d {int(seconds % 86_400 // 3600)} h"


def _seconds(run: Run) -> float:
    """Return the end of a run in seconds since the epoch."""
    return timegm(time.strptime(run.finished[:19], "%Y-%m-%dT%H:%M:%S"))
