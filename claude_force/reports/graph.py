"""A workflow's graph as text, or in the languages of Mermaid and Graphviz."""

from __future__ import annotations

from json import dumps

from ..dag import dependents, order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..records import Workflow


def graph(workflow: Workflow, form: str) -> str:
    """Return the graph of `workflow` in one of FORMATS."""
    return FORMATS[form](workflow)


def _text(workflow: Workflow) -> str:
    """Return a line for each step, those that can run side by side on one level."""
    by_id = {step.id: step for step in workflow.steps}
    level: dict[str, int] = {}
    for step_id in order(workflow):
        level[step_id] = 1 + max((level[d] for d in by_id[step_id].dependencies), default=-1)
    lines = []
    for step in sorted(workflow.steps, key=lambda s: level[s.id]):
        after = f"  after {', '.join(step.dependencies)}" if step.dependencies else ""
        many = f"  for each of {_many(step.foreach)}" if step.foreach is not None else ""
        lines.append(f"{'    ' * level[step.id]}{step.id} ({step.agent}){after}{many}")
    return "\n".join(lines)


def _mermaid(workflow: Workflow) -> str:
    number = {step.id: f"s{n}" for n, step in enumerate(workflow.steps)}
    nodes = [f'    {number[s.id]}["{_entity(s.id)}<br/>{_entity(s.agent)}"]' for s in workflow.steps]
    edges = [f"    {number[a]} --> {number[b]}" for a, waiting in dependents(workflow).items() for b in waiting]
    return "\n".join(["flowchart TD", *nodes, *edges])


def _dot(workflow: Workflow) -> str:
    labels = {s.id: dumps(s.id + "\n" + s.agent) for s in workflow.steps}
    nodes = [f"    {dumps(i)} [label={label}];" for i, label in labels.items()]
    edges = [f"    {dumps(a)} -> {dumps(b)};" for a, waiting in dependents(workflow).items() for b in waiting]
    return "\n".join([f"digraph {dumps(workflow.name)} {{", *nodes, *edges, "}"])


def _entity(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def _many(foreach: object) -> str:
    return f"{len(foreach)} items" if isinstance(foreach, tuple) else str(foreach)


FORMATS = {"text": _text, "mermaid": _mermaid, "dot": _dot}
