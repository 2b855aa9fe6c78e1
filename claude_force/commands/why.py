"""`why`: what made a step run, or spared it, in comparison with its execution before that one."""

from __future__ import annotations

from itertools import islice

from ..errors import NotFound, UsageError
from ..project import recording
from ..records import Result
from ..reports import why as reports
from ..reports.table import plural
from ..stores.runs import own_ids
from ..stores.transcript import FILE, Transcript, outcome, planned, read, workflow
from ..workflow import dag
from .runs import RUN_HELP, find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from ..project.workspace import Workspace
    from ..records import Outcome
    from ..reports.why import Explanation
    from ..stores.seal import Secret

_FARTHEST = 50
"""Earlier runs of a workflow in which an execution of a step is looked for."""


def why_options(parser: ArgumentParser) -> None:
    """Add the options of `why`."""
    parser.add_argument("run", metavar="RUN_ID", help=RUN_HELP)
    parser.add_argument("step", metavar="STEP", help="the step, or STEP[ITEM] for one item of it")


def why(args: Namespace, workspace: Workspace) -> Result:
    """Say why a step ran or was reused: what decided its answer, and what of it has changed."""
    secret = recording.secret(workspace)
    run = find(args.run, workspace, secret)
    transcript = read(run / FILE, secret)
    step, item = _named(args.step, planned(transcript.sessions), f"run {run.name}: ")
    session, calls = _last(transcript, step)
    if not calls:
        raise UsageError(f"run {run.name} ended before '{step}' began", hint=f"--resume {run.name} goes on")
    if item is not None:
        calls = [_of_item(item, calls, f"run {run.name}: step '{step}': ")]
    before, compared = _earlier(run.parent, transcript, session, calls, secret)
    told = [_explained(transcript, session, call, before.get(call.item)) for call in calls]
    whole = "" if item is not None or calls[0].item is None else _whole(told)
    data = {
        "schema_version": 1,
        "run_id": run.name,
        "workflow": transcript.head.get("workflow"),
        "step": step,
        **({"reason": whole} if whole else reports.facts(told[0])),
        "compared_with": compared or None,
        **({"members": [reports.facts(one) for one in told]} if whole else {}),
    }
    return Result(data, reports.text(step, whole, told, compared))


def _named(spelling: str, steps: Collection[str], where: str) -> tuple[str, str | None]:
    """Return the step that `spelling` names, and the item if it is STEP[ITEM]; raises NotFound."""
    step, bracket, item = spelling.partition("[")
    if step not in steps:
        raise NotFound("step", step, steps, where=where)
    return step, item.removesuffix("]") if bracket else None


def _of_item(item: str, calls: Sequence[Outcome], where: str) -> Outcome:
    """Return the call for `item`, which may be cut as it is where it is shown; raises NotFound."""
    items = {call.item: call for call in reversed(calls) if call.item is not None}
    shown = {reports.label(name): call for name, call in items.items()}
    if found := items.get(item) or shown.get(item):
        return found
    raise NotFound("item", item, items, where=where)


def _last(transcript: Transcript, step_id: str) -> tuple[int, list[Outcome]]:
    """Return the calls of a step in the last session that came to it, and which session that is."""
    for number in range(len(transcript.sessions) - 1, -1, -1):
        if calls := _calls(transcript, number, step_id):
            return number, calls
    return 0, []


def _calls(transcript: Transcript, session: int, step_id: str) -> list[Outcome]:
    """Return how the members of a step ended in one session, or the step itself if it has none."""
    entries = [e for e in transcript.sessions[session].steps if e["step"] == step_id]
    members = sorted((e for e in entries if "member" in e), key=lambda e: int(e["member"]))
    return [outcome(entry, transcript) for entry in members or entries[-1:]]


def _earlier(
    directory: Path, transcript: Transcript, session: int, calls: Sequence[Outcome], secret: Secret
) -> tuple[dict[str | None, Outcome], str]:
    """Return by item the executions of a step before its last one, and where they were found."""
    for number in range(session - 1, -1, -1):
        if found := _executed(transcript, number, calls):
            return found, f"this run's execution of {transcript.sessions[number].plan['session']}"
    name = transcript.head.get("workflow")
    older = (i for i in own_ids(directory, secret=secret, workflow=name) if i < transcript.run_id)
    for run_id in islice(older, _FARTHEST):
        other = read(directory / run_id / FILE, secret)
        for number in range(len(other.sessions) - 1, -1, -1):
            if found := _executed(other, number, calls):
                return found, f"run {run_id}"
    return {}, ""


def _executed(transcript: Transcript, session: int, calls: Sequence[Outcome]) -> dict[str | None, Outcome]:
    """Return by item what was executed in one session of the step that made `calls`."""
    found = _calls(transcript, session, calls[0].step)
    return {call.item: call for call in found if call.parts and not call.recalled}


def _explained(transcript: Transcript, session: int, now: Outcome, before: Outcome | None) -> Explanation:
    plan = transcript.sessions[session].plan
    options = plan.get("options", {})
    begin = options.get("from_step")
    return reports.explain(
        now,
        before,
        options,
        anew=bool(begin) and now.step in dag.since(workflow(transcript, session), begin),
        cacheable=reports.is_cacheable(plan, now.step),
    )


def _whole(told: Sequence[Explanation]) -> str:
    """Return how many of a step's calls were made."""
    made = sum(one.origin not in {"journal", "cache"} for one in told)
    others = ", the others taken from what was there" if made < len(told) else ""
    return f"{made} of {plural(len(told), 'item')} run{others}"
