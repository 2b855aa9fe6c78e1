"""`route`: which model a task would be given, why, and what it would cost on each of the others."""

from __future__ import annotations

from .. import models, prompt
from ..frozen import replace
from ..project.naming import default_model
from ..project.router import router
from ..records import Result, Step, Usage, Workflow
from ..reports.table import table, usd_amounts
from ..routing import TIERS
from ..running import plan as plans
from . import given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ..project.workspace import Workspace
    from ..routing import Route
    from ..running.plan import Plan


def route_options(parser: ArgumentParser) -> None:
    """Add the options of `route`."""
    parser.add_argument("name", metavar="AGENT", help="the agent, see 'list agents'")
    given.task_options(parser)
    parser.add_argument("-f", "--file", action="extend", nargs="+", default=[], help="as if attached; - is stdin")
    parser.add_argument("--model", help="a model asked for by name, which routing keeps")
    parser.add_argument("--skill", action="extend", nargs="+", default=[], metavar="S", help="skills to add")


def route(args: Namespace, workspace: Workspace) -> Result:
    """Show which model a task would be given, and why; nothing is sent."""
    files = [given.attached(name) for name in args.file]
    task = given.required_task(args, workspace)
    agent = workspace.agent(args.name)
    step = Step(agent.name, agent.name, model=args.model, skills=tuple(args.skill))
    found = router(workspace)({"task": task}, sum(len(file.text) for file in files), agent, step)
    source = Workflow(agent.name, (replace(step, model=found.model),), source="agent")
    plan = workspace.plan(source, task, files=files)
    default = agent.model or default_model(workspace.settings).id
    costs = _costs(plan, found, default, workspace.settings.prices)
    if not args.model and not workspace.settings.routing_auto:
        workspace.screen.note(f"routing.auto is off: a run takes {default} unless it is given --auto-model")
    return Result(_facts(agent.name, found, costs), _text(found, costs, workspace.screen.page))


def _costs(plan: Plan, found: Route, default: str, prices: models.Prices) -> list[dict[str, Any]]:
    """Return a row for each tier, the chosen and the default model, with what the task's real request would cost."""
    (job,) = plan.jobs.values()
    names = [*TIERS, default, found.model]
    rows = {model.id: model for model in (models.find(name, prices=prices)[0] for name in names)}
    usual = models.find(default, prices=prices)[0].id
    return [
        {
            **_cost(plan, replace(job, model=model), found.expected_tokens, prices),
            "chosen": model.id == job.model.id,
            "default": model.id == usual,
        }
        for model in rows.values()
    ]


def _cost(plan: Plan, job: plans.Job, expected: int, prices: models.Prices) -> dict[str, Any]:
    request = plans.request(plan, job, {})
    tokens = prompt.estimated_tokens(request)
    output = min(expected, request.max_tokens)
    cost = models.cost(Usage(input_tokens=tokens, output_tokens=output), request.model, prices=prices)
    return {
        "model": job.model.id,
        "tier": job.model.line if job.model.line in TIERS else None,
        "estimated_input_tokens": tokens,
        "expected_output_tokens": output,
        "estimated_cost": models.usd(cost),
    }


def _facts(agent: str, found: Route, costs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    chosen = next(row for row in costs if row["chosen"])
    return {
        "schema_version": 1,
        "agent": agent,
        "model": chosen["model"],
        "tier": found.tier or None,
        "kind": found.kind or None,
        "critical": bool(found.risk),
        "risk": list(found.risk),
        "confidence": found.confidence,
        "reasons": list(found.reasons),
        "estimated_cost": chosen["estimated_cost"],
        "costs": list(costs),
    }


def _text(found: Route, costs: Sequence[Mapping[str, Any]], width: int) -> str:
    chosen = next(row for row in costs if row["chosen"])
    column = usd_amounts(row["estimated_cost"] for row in costs)
    rows = [_row(row, amount, chosen) for row, amount in zip(costs, column, strict=True)]
    headings = ("MODEL", "TOKENS IN", "OUT", "COST", "AGAINST", "")
    why = "\n".join(f"  {reason}" for reason in found.reasons)
    listed = table(headings, rows, width=width, numbers=headings[1:-1])
    return f"{chosen['model']} (confidence {found.confidence:.1f})\n{why}\n\n{listed}"


def _row(row: Mapping[str, Any], amount: str, chosen: Mapping[str, Any]) -> tuple[str, ...]:
    cost, base = row["estimated_cost"], chosen["estimated_cost"]
    against = f"{cost / base:.3g}x" if cost is not None and base else ""
    marks = [name for name in ("chosen", "default") if row[name]]
    tokens = (f"{row['estimated_input_tokens']:,}", f"{row['expected_output_tokens']:,}")
    return (row["model"], *tokens, amount, against, ", ".join(marks))
