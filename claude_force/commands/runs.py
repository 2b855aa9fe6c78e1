"""`runs list`, `show`, `diff` and `prune`: what became of past runs of workflows, and for how long it is kept."""

from __future__ import annotations

import time
from errno import ENOENT, ENOTEMPTY
from itertools import islice

from ..errors import ForceError, Interrupted, NotFound, UsageError, reason
from ..project import recording
from ..records import Result
from ..reports import run_report
from ..reports.result import of_step, verdict
from ..reports.table import plural
from ..run_ids import is_id
from ..stores import runs
from ..stores.transcript import FILE, outcomes, read, workflow
from . import consent, given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ..project.workspace import Workspace
    from ..records import Outcome
    from ..stores.runs import Summary
    from ..stores.seal import Secret

RUN_HELP = "the run: its id, the beginning of it, 'last', or 'last~1' for the one before"


def list_runs_options(parser: ArgumentParser) -> None:
    """Add the options of `runs list`."""
    parser.add_argument("--workflow", metavar="NAME", help="only runs of this workflow")
    parser.add_argument("--limit", type=given.positive, default=20, metavar="N", help="how many at most (20)")


def list_runs(args: Namespace, workspace: Workspace) -> Result:
    """List past runs, the newest first."""
    foreign: list[str] = []
    known = runs.summaries(
        _directory(workspace), secret=recording.secret(workspace), workflow=args.workflow, foreign=foreign.append
    )
    found = list(islice(known, args.limit))
    if foreign:
        workspace.screen.warn(f"{plural(len(foreign), 'run')} of another user or machine left out")
    if not found:
        workspace.screen.note("there is no run yet")
    return Result([*map(run_report.listing_facts, found)], run_report.listing(found, width=workspace.screen.page))


def show_options(parser: ArgumentParser) -> None:
    """Add the options of `runs show` and `show run`."""
    parser.add_argument("name", metavar="RUN_ID", help=RUN_HELP)
    parser.add_argument("--step", metavar="STEP", help="print what this step put out")


def show(args: Namespace, workspace: Workspace) -> Result:
    """Show a run's course, its steps with their costs, and its critical path; or what one step put out."""
    secret = recording.secret(workspace)
    run = find(args.name, workspace, secret)
    transcript = read(run / FILE, secret)
    ended = outcomes(transcript)
    if args.step:
        return _output(ended, args.step, run.name, workspace)
    summary, graph = runs.summary(run, secret), workflow(transcript)
    facts = run_report.run_facts(summary, graph, ended, _error(summary, ended))
    notes = []
    if (sessions := len(transcript.sessions)) > 1:
        notes.append(f"resumed {plural(sessions - 1, 'time')}; pauses are left out of the times")
    if transcript.foreign:
        notes.append(f"{plural(transcript.foreign, 'line')} of its journal left out: another user's or machine's")
    if transcript.damaged:
        notes.append(f"{plural(transcript.damaged, 'line')} of its journal were cut short by a crash and left out")
    screen = workspace.screen
    text = run_report.run_text(summary, graph, ended, width=screen.page, blocks=screen.draws_blocks, notes=notes)
    return Result(facts, text)


def diff_options(parser: ArgumentParser) -> None:
    """Add the options of `runs diff`."""
    parser.add_argument("a", metavar="A", help=RUN_HELP)
    parser.add_argument("b", metavar="B", help="the run to compare it with")


def diff(args: Namespace, workspace: Workspace) -> Result:
    """Show which steps of two runs differ: in what decided them, in their output and in their cost."""
    secret = recording.secret(workspace)
    found = [find(spelling, workspace, secret) for spelling in (args.a, args.b)]
    a, b = (runs.summary(run, secret) for run in found)
    ended = [{o.step: o for o in outcomes(read(run / FILE, secret))} for run in found]
    differing = run_report.differences(*ended)
    data = {
        "schema_version": 1,
        "a": run_report.listing_facts(a),
        "b": run_report.listing_facts(b),
        "steps": differing,
    }
    return Result(data, run_report.differences_text(a, b, differing, width=workspace.screen.page))


def prune_options(parser: ArgumentParser) -> None:
    """Add the options of `runs prune`."""
    consent.prune_options(parser)


def prune(args: Namespace, workspace: Workspace) -> Result:
    """Remove what is kept of runs that ended long ago, if the user says yes; nothing can resume or show them then."""
    days = workspace.settings.memory_retention_days if args.older_than is None else args.older_than
    directory, before = _directory(workspace), time.time() - days * 86_400
    if directory.is_symlink():  # a clone's link must not choose what is removed
        raise UsageError(f"{directory} is a link and is not followed", hint="remove old runs there yourself")
    old = [run for run in (directory / run_id for run_id in runs.run_ids(directory)) if _is_old(run, before)]
    if old and not args.yes:
        consent.ask(f"{plural(len(old), 'run')} older than {days:g} days", workspace)
    sizes = list(_removed(old, before, workspace))
    data = {"schema_version": 1, "success": True, "removed": len(sizes), "bytes": sum(sizes)}
    return Result(data, f"removed {plural(len(sizes), 'run')}, {sum(sizes) / 2**20:,.1f} MiB")


def find(spelling: str, workspace: Workspace, secret: Secret) -> Path:
    """Return the directory of the run that `spelling` means.

    Raises NotFound and UsageError as `find_run` does, but tells of a run of one agent where its session is.
    """
    try:
        return runs.find_run(_directory(workspace), spelling, secret=secret)
    except UsageError as error:
        raise _of_one_agent(spelling, workspace) or error from None


def _of_one_agent(run_id: str, workspace: Workspace) -> UsageError | None:
    """Return the error that a run has no journal because it was one of a single agent, None if it is not known so."""
    session = workspace.stores.memory.of_run(run_id) if is_id(run_id) else None
    if session is None or session.metadata.get("workflow"):
        return None
    told = f"run {run_id} was one of the agent {session.agent_name} alone"
    return UsageError(told, hint=f"see: claude-force memory show {session.id}")


def _is_old(run: Path, before: float) -> bool:
    """Say whether nothing of `run` was written since; of what cannot be looked at, removing it tells."""
    try:
        return max(path.lstat().st_mtime for path in (run, *run.iterdir())) < before
    except OSError:
        return True


def _removed(found: Sequence[Path], before: float, workspace: Workspace) -> Iterator[int]:
    """Remove the runs of which nothing was written since `before`, and yield how many bytes each had."""
    for run in found:
        try:
            size = runs.remove(run, before=before)
        except OSError as error:
            if error.errno not in {ENOENT, ENOTEMPTY}:  # else another process is removing it
                workspace.screen.warn(f"run {run.name} stays: {reason(error)}")
        except UsageError as error:
            workspace.screen.warn(f"run {run.name} stays: {error.message}; {error.hint}")
        else:
            if size is not None:
                yield size


def _directory(workspace: Workspace) -> Path:
    return workspace.state / "runs"


def _output(ended: Sequence[Outcome], step: str, run_id: str, workspace: Workspace) -> Result:
    by_step = {o.step: o for o in ended}
    if step not in by_step:
        raise NotFound("step that ended", step, by_step, where=f"run {run_id}: ")
    outcome = by_step[step]
    error = _unanswered(outcome, run_id)
    if not error and not outcome.output:
        workspace.screen.note(f"step '{step}' put out nothing{f': {outcome.note}' if outcome.note else ''}")
    data = {"schema_version": 1, "run_id": run_id, "step": step, **of_step(outcome)}
    return Result(data, outcome.output, error, error.exit_code if error else 0)


def _unanswered(outcome: Outcome, run_id: str) -> ForceError | None:
    """Return why a step has no output, or not the one that was wanted; None if it succeeded."""
    where = f"step '{outcome.step}' of run {run_id}"
    if outcome.error:
        return ForceError(f"{where} failed: {outcome.error.message}", hint=outcome.error.hint)
    return ForceError(f"{where} was skipped: {outcome.note}") if outcome.status == "skipped" else None


def _error(summary: Summary, ended: Sequence[Outcome]) -> ForceError | None:
    if summary.status == "interrupted":
        return Interrupted("the run was interrupted", hint=f"--resume {summary.run_id} goes on")
    return verdict(ended, stop=True)
