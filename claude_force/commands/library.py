"""`list`, `show` and `graph`: what can be run, where it comes from, and what it says."""

from __future__ import annotations

from .. import models
from ..library import lookup as shelf
from ..records import Result
from ..reports.graph import FORMATS
from ..reports.graph import graph as drawn
from ..reports.table import first_line, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence
    from typing import Any

    from ..project.workspace import Workspace
    from ..records import Agent, Skill, Workflow


def list_agents(args: Namespace, workspace: Workspace) -> Result:
    """List the agents by name; where several have one name, the nearest alone."""
    agents = workspace.agents()
    data = [_entry(a, model=a.model, effort=a.effort, skills=list(a.skills)) for a in agents]
    rows = [(a.name, a.model or "inherit", a.source, first_line(a.description)) for a in agents]
    return Result(data, _listed(("AGENT", "MODEL", "SOURCE", "DESCRIPTION"), rows, workspace))


def list_skills(args: Namespace, workspace: Workspace) -> Result:
    """List the skills."""
    skills = shelf.list_skills(workspace.shelves, warn=workspace.screen.warn)
    rows = [(s.name, s.source, first_line(s.description)) for s in skills]
    return Result([_entry(s) for s in skills], _listed(("SKILL", "SOURCE", "DESCRIPTION"), rows, workspace))


def list_workflows(args: Namespace, workspace: Workspace) -> Result:
    """List the workflows."""
    found = workspace.workflows()
    rows = [(w.name, str(len(w.steps)), w.source, first_line(w.description)) for w in found]
    data = [_entry(w, steps=[s.id for s in w.steps]) for w in found]
    return Result(data, _listed(("WORKFLOW", "STEPS", "SOURCE", "DESCRIPTION"), rows, workspace))


def list_models_options(parser: ArgumentParser) -> None:
    """Add the options of `list models`."""
    parser.add_argument("--all", action="store_true", help="also the retired ones")


def list_models(args: Namespace, workspace: Workspace) -> Result:
    """List the models with their prices in USD per million tokens."""
    rows = models.price_rows(prices=workspace.settings.prices)
    if not args.all:
        rows = [row for row in rows if row["lifecycle"] != "retired"]
    headings = ("MODEL", "SHORT", "INPUT", "OUTPUT", "CACHE READ", "CONTEXT", "MAX OUTPUT", "STATE")
    cells = [_model_row(row) for row in rows]
    listed = table(headings, cells, width=workspace.screen.page, numbers=headings[2:7], texts=("SHORT",))
    note = f"Prices in USD per million tokens, as of {models.price_version()}."
    return Result(rows, f"{listed}\n\n{note}{'' if args.all else ' Retired models: --all.'}")


def _model_row(row: dict[str, Any]) -> tuple[str, ...]:
    prices = row["usd_per_million_tokens"] or {}
    rates = [prices.get(kind) for kind in ("input", "output", "cache_read")]
    usd = ["unknown" if rate is None else f"{rate:.2f}" for rate in rates]
    state = f"{row['lifecycle']}, use {row['successor']}" if row["successor"] else row["lifecycle"]
    limits = (f"{row['context_tokens']:,}", f"{row['max_output_tokens']:,}")
    short = [alias for alias in row["aliases"] if "-" not in alias]
    return (row["id"], ", ".join(short), *usd, *limits, state)


def show_agent_options(parser: ArgumentParser) -> None:
    """Add the options of `show agent`."""
    parser.add_argument("name", metavar="NAME")


show_skill_options = show_workflow_options = show_agent_options


def show_agent(args: Namespace, workspace: Workspace) -> Result:
    """Show an agent's settings and prompt."""
    agent = workspace.agent(args.name)
    facts = {
        "model": agent.model or f"inherit ({workspace.settings.default_model})",
        "effort": agent.effort,
        "max_tokens": agent.max_tokens,
        "skills": ", ".join(agent.skills),
        "source": f"{agent.source}, {agent.path}",
        "ignored": ", ".join(agent.ignored),
    }
    data = _entry(agent, **{k: getattr(agent, k) for k in ("model", "effort", "max_tokens", "prompt")})
    data |= {"skills": list(agent.skills), "ignored": list(agent.ignored)}
    return Result(data, _page(agent, facts, agent.prompt))


def show_skill(args: Namespace, workspace: Workspace) -> Result:
    """Show a skill's text."""
    skill = workspace.skill(args.name)
    return Result(_entry(skill, body=skill.body), _page(skill, {"source": f"{skill.source}, {skill.path}"}, skill.body))


def show_workflow(args: Namespace, workspace: Workspace) -> Result:
    """Show a workflow's inputs and steps."""
    found = workspace.workflow(args.name)
    steps: list[dict[str, Any]] = [
        {"id": s.id, "agent": s.agent, "dependencies": list(s.dependencies), "task": s.task} for s in found.steps
    ]
    inputs = [{"name": i.name, "default": i.default, "description": i.description} for i in found.inputs]
    rows = [(s.id, s.agent, ", ".join(s.dependencies), first_line(s.task)) for s in found.steps]
    given = [f"  --input {i.name}={'…' if i.default is None else i.default}  {i.description}" for i in found.inputs]
    task = found.task and f"task: {found.task}"
    parts = [f"{found.name}: {found.description}", f"source: {found.source}, {found.path}", task, "\n".join(given)]
    headings = ("STEP", "AGENT", "AFTER", "TASK")
    parts.append(table(headings, rows, width=workspace.screen.page, texts=headings))
    return Result(
        _entry(found, task=found.task or None, inputs=inputs, steps=steps), "\n\n".join(p for p in parts if p)
    )


def graph_options(parser: ArgumentParser) -> None:
    """Add the options of `graph`."""
    parser.add_argument("name", metavar="WORKFLOW")
    parser.add_argument("--format", choices=tuple(FORMATS), default="text", help="text, or for Mermaid or Graphviz")


def graph(args: Namespace, workspace: Workspace) -> Result:
    """Show which step of a workflow waits for which."""
    found = workspace.workflow(args.name)
    text = drawn(found, args.format)
    edges = [[d, s.id] for s in found.steps for d in s.dependencies]
    data = {"workflow": found.name, "steps": [s.id for s in found.steps], "edges": edges, "text": text}
    return Result(data, text)


def _listed(headings: Sequence[str], rows: Sequence[Sequence[str]], workspace: Workspace) -> str:
    texts = (headings[0], "DESCRIPTION")
    return table(headings, rows, width=workspace.screen.page, numbers=("STEPS",), texts=texts)


def _entry(item: Agent | Skill | Workflow, **more: Any) -> dict[str, Any]:
    facts = {"name": item.name, "description": item.description, "source": item.source, "path": _path(item.path)}
    return facts | more


def _path(path: object) -> str | None:
    return None if path is None else str(path)


def _page(item: Agent | Skill, facts: dict[str, Any], text: str) -> str:
    head = "\n".join(f"{name}: {value}" for name, value in facts.items() if value)
    return f"{item.name}: {item.description}\n\n{head}\n\n{text.strip()}"
