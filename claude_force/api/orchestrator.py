"""The public Python API: a thin face over the same engine that the command line uses."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from .. import attachments, pools, run_ids
from ..answers import schema
from ..errors import ForceError, Interrupted, UsageError
from ..frozen import replace
from ..models import usd
from ..project.workspace import Workspace
from ..records import Step, Usage, Workflow, canonical
from ..reports.result import of_workflow, verdict
from ..running import plan as plans
from ..running.runner import run
from ..terminal.output import Screen
from ..workflow.templates import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Executor
    from typing import Any, ParamSpec, Self, TypeVar

    from ..records import Outcome
    from ..running.context import RunContext
    from ..running.plan import Job, Plan

    P = ParamSpec("P")
    R = TypeVar("R")


@dataclass(frozen=True)
class AgentResult:
    """What one execution brought: the text, and what it took. `cost` is in USD, None if the price is unknown."""

    agent: str
    text: str
    model: str | None
    stop_reason: str | None
    usage: Usage
    cost: float | None
    saved_cost: float | None
    cached: bool
    execution_time_ms: int
    run_id: str


class AgentOrchestrator:
    """Runs agents and workflows of the project around the working directory; usable from many threads.

    Errors are those of `claude_force.errors`. Close it, or use it in a `with`, to end its connections.
    """

    def __init__(
        self, config_path: str | Path | None = None, *, api_key: str | None = None, directory: str | Path | None = None
    ) -> None:
        start = Path(directory).absolute() if directory else None
        screen = Screen(stdout=sys.stderr)
        screen.quiet = True
        self._workspace = Workspace(screen=screen, config=config_path, api_key=api_key, start=start)
        self._opening = Lock()
        self._callers: Executor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections and threads; what is used again is opened anew."""
        if self._callers:
            self._callers.shutdown(wait=False, cancel_futures=True)
            self._callers = None
        self._workspace.close()

    def execute_agent(self, name: str, task: str, **options: Any) -> str:
        """Return the text with which the agent `name` answers `task`; `options` are those of `run_agent`."""
        return self.run_agent(name, task, **options).text

    def run_agent(
        self, name: str, task: str, *, timeout: float | None = None, files: Sequence[str | Path] = (), **step: Any
    ) -> AgentResult:
        """Return the whole result of one execution.

        `timeout` is in seconds; `step` may set model, max_tokens, effort, skills and schema (a JSON Schema as a
        dict). Raises ForceError: also for an answer that was cut, refused or empty.
        """
        outcome, run_id = self._execute(name, task, timeout, files, step)
        if outcome.error:
            raise outcome.error
        return _result(outcome, run_id)

    def execute_multiple(self, tasks: Sequence[tuple[str, str]], **options: Any) -> list[str | ForceError]:
        """Return the answers to pairs of agent and task, side by side, in the order of `tasks`.

        A failure stands in its place in the list as the ForceError that it is, and costs none of the others.
        """
        settings = _step_settings(options)
        steps = [Step(str(number), name, escape(task), **settings) for number, (name, task) in enumerate(tasks)]
        with self._opening:
            plan, wrong = self._side_by_side(steps)
            context = self._workspace.engine.context(plan, stop_on_error=False)
        results = wrong | {o.step: o.error or o.output for o in _outcomes(plan, context)}
        return [results[step.id] for step in steps]

    def execute_workflow(
        self,
        name: str,
        task: str = "",
        *,
        inputs: Mapping[str, str] | None = None,
        jobs: int | None = None,
        on_error: str = "stop",
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Run the workflow `name` and return the result of `run workflow --json`, also under `workflow_name`.

        `on_error` is stop or continue, `timeout` is in seconds. A step that failed is told in its result and in
        `success` and `error`; what cannot begin raises ForceError.
        """
        if on_error not in {"stop", "continue"}:
            raise UsageError(f"on_error '{on_error}' is not known", hint="stop or continue")
        run_id = run_ids.new()
        with self._opening:
            plan = self._workspace.plan(self._workspace.workflow(name), task, given=inputs)
            plans.check(plan)
            context = self._workspace.engine.context(
                plan, run_id=run_id, jobs=jobs, timeout=timeout, stop_on_error=on_error == "stop"
            )
        outcomes = _outcomes(plan, context)
        error = verdict(outcomes, stop=on_error == "stop")
        prices = self._workspace.settings.prices
        result = of_workflow(plan.workflow, outcomes, run_id, error, prices=prices)
        return result | {"workflow_name": plan.workflow.name}

    async def execute_agent_async(self, name: str, task: str, **options: Any) -> str:
        """Do what `execute_agent` does without holding up the event loop."""
        return await self._aside(self.execute_agent, name, task, **options)

    async def execute_multiple_async(self, tasks: Sequence[tuple[str, str]], **options: Any) -> list[str | ForceError]:
        """Do what `execute_multiple` does without holding up the event loop."""
        return await self._aside(self.execute_multiple, tasks, **options)

    async def execute_workflow_async(self, name: str, task: str = "", **options: Any) -> dict[str, Any]:
        """Do what `execute_workflow` does without holding up the event loop."""
        return await self._aside(self.execute_workflow, name, task, **options)

    def _execute(
        self, name: str, task: str, timeout: float | None, files: Sequence[str | Path], step: dict[str, Any]
    ) -> tuple[Outcome, str]:
        run_id = run_ids.new()
        with self._opening:
            documents = [attachments.read(Path(file), str(file)) for file in files]
            plan = self._workspace.plan(plans.single(name, **_step_settings(step)), task, files=documents)
            context = self._workspace.engine.context(plan, run_id=run_id, timeout=timeout)
        (outcome,) = _outcomes(plan, context)
        return outcome, run_id

    def _side_by_side(self, steps: Sequence[Step]) -> tuple[Plan, dict[str, str | ForceError]]:
        """Return the plan of the steps that can be run, and by id why the others cannot."""
        jobs: dict[str, Job] = {}
        wrong: dict[str, str | ForceError] = {}
        for step in steps:
            try:
                jobs |= self._workspace.plan(Workflow("multiple", (step,), source="agent"), "").jobs
            except ForceError as error:
                wrong[step.id] = error
        able = Workflow("multiple", tuple(step for step in steps if step.id in jobs), source="agent")
        return replace(self._workspace.plan(Workflow("multiple", ()), ""), workflow=able, jobs=jobs), wrong

    async def _aside(self, call: Callable[P, R], *args: P.args, **options: P.kwargs) -> R:
        """Await `call` in a thread of our own: those of asyncio are as few as processors, and these only wait."""
        from asyncio import get_running_loop  # 200 ms that the sync methods need not pay
        from contextvars import copy_context
        from functools import partial

        with self._opening:
            if self._callers is None:
                self._callers = pools.threads(self._workspace.settings.performance_max_concurrent_agents)
        context = copy_context()
        return await get_running_loop().run_in_executor(self._callers, partial(context.run, call, *args, **options))


def _outcomes(plan: Plan, context: RunContext) -> list[Outcome]:
    """Return the outcomes of all steps; Ctrl-C is the KeyboardInterrupt that it is everywhere in Python."""
    try:
        with closing(run(plan, context)) as going:
            return [outcome for outcome in going if outcome.member is None]
    except Interrupted:
        raise KeyboardInterrupt from None


def _step_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a Step takes of the options of `run_agent`; raises TypeError for one that does not exist."""
    settings = dict(options)
    if unknown := settings.keys() - {"model", "max_tokens", "effort", "skills", "schema"}:
        raise TypeError(f"unknown option: {', '.join(sorted(unknown))}")
    if isinstance(settings.get("schema"), dict):
        settings["schema"] = canonical(schema.load(json.dumps(settings["schema"]), "schema"))
    if "skills" in settings:
        settings["skills"] = tuple(settings["skills"])
    return settings


def _result(outcome: Outcome, run_id: str) -> AgentResult:
    return AgentResult(
        agent=outcome.agent,
        text=outcome.output,
        model=outcome.model,
        stop_reason=outcome.stop_reason,
        usage=outcome.usage,
        cost=usd(outcome.cost),
        saved_cost=usd(outcome.saved),
        cached=outcome.status == "cached",
        execution_time_ms=round(outcome.seconds * 1000),
        run_id=run_id,
    )
