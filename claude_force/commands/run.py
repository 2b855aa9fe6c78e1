"""`run agent` and `run workflow`."""

from __future__ import annotations

import json
from contextlib import closing

from .. import run_ids
from ..errors import ForceError, Interrupted, UsageError
from ..frozen import replace
from ..project import recording
from ..records import EFFORTS, Result
from ..reports.result import of_agent, of_workflow, verdict
from ..reports.table import duration, money, plural
from ..running import plan as plans
from ..running.runner import run
from ..workflow import dag
from . import given, scheduled, targets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ..models import Prices
    from ..project.workspace import Workspace
    from ..records import Outcome
    from ..running.plan import Plan
    from .resume import Resumed
    from .targets import Folder


def agent_options(parser: ArgumentParser) -> None:
    """Add the options of `run agent`."""
    parser.add_argument("name", metavar="NAME", help="the agent, see 'list agents'")
    given.task_options(parser)
    parser.add_argument("-f", "--file", action="extend", nargs="+", default=[], help="attach files; - is stdin")
    parser.add_argument("--model", help="haiku, sonnet, opus, fable or a model id")
    parser.add_argument("--max-tokens", type=given.positive, metavar="N", help="tokens the answer may have")
    parser.add_argument("--effort", choices=EFFORTS, help="how hard the model thinks")
    parser.add_argument("--skill", action="extend", nargs="+", default=[], metavar="S", help="skills to add")
    parser.add_argument("--schema", metavar="FILE", help="JSON Schema that the answer must fit")
    parser.add_argument("--sample", type=given.count, default=0, metavar="N", help="ask for an nth, distinct answer")
    parser.add_argument("--recall", type=given.count, metavar="N", help="attach the N past sessions most like the task")
    parser.add_argument("--no-stream", action="store_true", help="show the answer when it is complete")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the answer to FILE instead of stdout")
    given.run_options(parser)
    scheduled.options(parser)


@scheduled.unattended
def agent(args: Namespace, workspace: Workspace) -> Result:
    """Run one agent on a task."""
    target = targets.file(args.output)
    source = plans.single(
        args.name,
        model=args.model,
        max_tokens=args.max_tokens,
        effort=args.effort,
        skills=tuple(args.skill),
        schema=args.schema and workspace.read_schema(args.schema),
    )
    files = [given.attached(name) for name in args.file]
    task = given.required_task(args, workspace)
    recall = workspace.settings.memory_recall if args.recall is None else args.recall
    files += workspace.stores.recalled(args.name, task, recall)
    workspace.auto_model, workspace.wait = args.auto_model, args.wait
    plan = workspace.plan(source, task, files=files, sample=args.sample)
    scheduled.check_frozen(plan, args, workspace)
    if args.dry_run:
        return _dry_run(plan, workspace)
    screen = workspace.screen
    on_text = screen.write if screen.streams and not (args.no_stream or target or args.schema) else None
    run_id = run_ids.new()
    watch: dict[str, Any] = {"on_start": screen.board(plan).started} if screen.live else {}
    context = workspace.engine.context(plan, run_id=run_id, on_text=on_text, **given.context_options(args), **watch)
    with closing(run(plan, context)) as going:
        (outcome,) = going
    screen.close_board(stand=False)
    if outcome.usage.prompt_tokens or outcome.status == "cached":
        screen.note(_summary(outcome, workspace.settings.prices, run_id))
    data, error = of_agent(outcome, run_id, prices=workspace.settings.prices), outcome.error
    if target and error is None:
        return targets.written(target, outcome.output, data)
    return Result(
        data,
        outcome.output,
        error,
        error.exit_code if error else 0,
        streamed=bool(on_text) and outcome.status != "cached",
    )


def _dry_run(plan: Plan, workspace: Workspace) -> Result:
    from .dry_run import dry_run  # which runs need not load

    return dry_run(plan, workspace.settings)


def workflow_options(parser: ArgumentParser) -> None:
    """Add the options of `run workflow`."""
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="the workflow, see 'list workflows', or a .toml or .json file"
    )
    given.task_options(parser)
    attach = "attach files to each step; - is stdin"
    parser.add_argument("-f", "--file", action="extend", nargs="+", default=[], help=attach)
    resumed = "go on with a run: its id, the beginning of it, or 'last'"
    parser.add_argument("--resume", type=given.word, metavar="RUN_ID", help=resumed)
    anew = "ask STEP, and what depends on it, anew"
    parser.add_argument("--from", dest="from_step", type=given.word, metavar="STEP", help=anew)
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--parallel", action="store_true", help="steps side by side where they can be (the default)")
    pace.add_argument("--sequential", action="store_true", help="one step after the other")
    pace.add_argument("--jobs", type=given.positive, metavar="N", help="steps side by side at most")
    parser.add_argument("--input", action="extend", nargs="+", default=[], metavar="K=V", help="values for the inputs")
    parser.add_argument("--on-error", choices=("stop", "continue"), help="what a failed step means (stop)")
    parser.add_argument("-o", "--output", metavar="DIR", help="write each step's answer and result.json to DIR")
    given.run_options(parser)
    scheduled.options(parser)
    scheduled.lock_option(parser)


@scheduled.unattended
def workflow(args: Namespace, workspace: Workspace) -> Result:
    """Run a workflow, its steps in parallel where they can be."""
    workspace.auto_model, workspace.wait = args.auto_model, args.wait
    plan, resumed = _planned(args, workspace)
    scheduled.check_frozen(plan, args, workspace)
    plans.check(plan)
    if args.dry_run:
        return _dry_run(plan, workspace)
    if resumed:
        args = resumed.as_begun(args, workspace.screen.note)
    folder = targets.Folder(args.output, workspace.screen.warn) if args.output else None
    run_id = resumed.journal.run_id if resumed else run_ids.new()
    jobs = 1 if args.sequential else args.jobs
    options = {"jobs": jobs, "from_step": args.from_step, **given.context_options(args)}
    if resumed:
        options["tape"] = resumed.tape(plan)
    outcomes, error = follow(plan, workspace, run_id, folder=folder, stop=args.on_error != "continue", **options)
    result = report(plan, outcomes, error, workspace, run_id, folder)
    if not folder and not workspace.screen.json:
        _tell_of_unprinted(plan, outcomes, error, workspace, run_id)
    if error and _may_go_better(outcomes, error) and recording.is_resumable(workspace, run_id):
        workspace.screen.note(f"to go on with it: claude-force run workflow --resume {run_id}")
    return result


def _planned(args: Namespace, workspace: Workspace) -> tuple[Plan, Resumed | None]:
    """Return the plan that the arguments ask for, and the run that it goes on with, if it is one."""
    task, inputs = given.workflow_task(args, workspace), given.inputs(args.input)
    files = [given.attached(name) for name in args.file]
    if args.resume:
        from .resume import resume  # 2 ms that other runs need not pay

        resumed = resume(workspace, args.resume, args.name, task, inputs)
        return workspace.plan(resumed.source, resumed.task, given=resumed.inputs, files=files or resumed.files), resumed
    if args.name is None:
        raise UsageError("no workflow is named", hint="see 'list workflows', or give --resume")
    source = workspace.workflow(args.name)
    if task and any(task.startswith(f"{i.name}=") for i in source.inputs):
        raise UsageError(f"'{task}' was taken for the task", hint=f"to set an input, write --input {task}")
    given.refuse_empty(inputs, source)
    return workspace.plan(source, task or "", given=inputs, files=files), None


def follow(
    plan: Plan, workspace: Workspace, run_id: str, *, folder: Folder | None = None, stop: bool = True, **options: Any
) -> tuple[list[Outcome], ForceError | None]:
    """Run `plan` before the user's eyes; return the steps' outcomes in the order of their ends, and what went wrong.

    `stop` ends the run at the first failure; `options` are those of `Engine.context`, which may
    refuse them before anything is told of the run.
    """
    screen = workspace.screen
    context = workspace.engine.context(plan, run_id=run_id, stop_on_error=stop, **options)
    screen.note(f"run {run_id}: {plan.workflow.name}, {plural(len(plan.workflow.steps), 'step')}")
    ended: list[Outcome] = []
    with screen.board(plan) as board:
        try:
            with closing(run(plan, replace(context, on_start=board.started))) as outcomes:
                for outcome in outcomes:
                    board.ended(outcome)
                    if outcome.member is None:
                        ended.append(outcome)
                        if folder and outcome.output:
                            folder.keep(f"{outcome.step}.md", outcome.output)
        except Interrupted as error:
            return ended, error
    return ended, verdict(ended, stop=stop)


def report(
    plan: Plan,
    outcomes: Sequence[Outcome],
    error: ForceError | None,
    workspace: Workspace,
    run_id: str,
    folder: Folder | None,
) -> Result:
    """Return the result of a run, after telling how it went."""
    _tell(plan, outcomes, error, workspace, run_id)
    if folder and folder.failed and error is None:
        error = ForceError(f"not every answer could be written to {folder.path}", hint="the last ones are on stdout")
    data = of_workflow(plan.workflow, outcomes, run_id, error, prices=workspace.settings.prices)
    if folder:
        folder.keep("result.json", json.dumps(data, indent=2) + "\n")
    text = str(folder.path) if folder and not folder.failed else answer(plan, {o.step: o for o in outcomes})
    return Result(data, text, error, error.exit_code if error else 0)


def answer(plan: Plan, outcomes: Mapping[str, Outcome]) -> str:
    """Return the outputs of the steps on which no other depends, under headings if there are several."""
    final = [outcomes[i] for i in dag.final_steps(plan.workflow) if i in outcomes and outcomes[i].output]
    if len(final) == 1:
        return final[0].output
    return "\n\n".join(f"## {o.step}\n\n{o.output.rstrip()}" for o in final)


def _tell_of_unprinted(
    plan: Plan, outcomes: Sequence[Outcome], error: ForceError | None, workspace: Workspace, run_id: str
) -> None:
    """Tell where the answers are that stdout has not, and warn if it has none since all last steps were skipped."""
    last = dag.final_steps(plan.workflow)
    others = [o.step for o in outcomes if o.output and o.step not in last]
    show = f"claude-force runs show {run_id} --step"
    if others and error is None and all(o.status == "skipped" for o in outcomes if o.step in last):
        skipped = " and ".join(f"'{step}'" for step in last)
        workspace.screen.warn(f"there is nothing to print, since {skipped} did not run; see: {show} {others[-1]}")
    elif others and recording.is_resumable(workspace, run_id):
        workspace.screen.note(f"what the other steps put out: {show} STEP")


def _may_go_better(outcomes: Sequence[Outcome], error: ForceError) -> bool:
    """Say whether a run that ended in `error` can come to another end with the same files."""
    failures = [o.error for o in outcomes if o.error]
    return isinstance(error, Interrupted) or any(not isinstance(failure, UsageError) for failure in failures)


def _tell(plan: Plan, outcomes: Sequence[Outcome], error: ForceError | None, workspace: Workspace, run_id: str) -> None:
    from ..reports import timeline  # which single agents need not

    screen = workspace.screen
    seconds = max((o.finished for o in outcomes), default=0.0)
    by_step = {o.step: o for o in outcomes}
    if (screen.live or screen.verbose) and len(outcomes) > 1:
        screen.note(timeline.timeline(outcomes, width=min(screen.width, 100), blocks=screen.draws_blocks))
    if error is None and (saved := timeline.parallel_line(outcomes, seconds)):
        screen.note(saved)
    counts = timeline.census(plan.workflow, by_step)
    spared = sum(o.saved or 0 for o in outcomes)
    prompt_cache = timeline.prompt_cache_line(outcomes, workspace.settings.prices)
    screen.note(timeline.census_line(counts, timeline.cost(by_step), spared, seconds, run_id, prompt_cache))


def _summary(outcome: Outcome, prices: Prices, run_id: str) -> str:
    if outcome.status == "cached":
        return f"{outcome.agent}: {outcome.model}, from the cache, saved {money(outcome.saved)}; run {run_id}"
    from ..reports.timeline import prompt_cache_line  # which answers from the cache need not

    tokens = f"{outcome.usage.prompt_tokens:,} + {outcome.usage.output_tokens:,} tokens"
    took = duration(outcome.seconds)
    told = [f"{outcome.agent}: {outcome.model}, {took}, {tokens}, {money(outcome.cost)}"]
    return "; ".join([*told, *filter(None, [prompt_cache_line([outcome], prices)]), f"run {run_id}"])
