"""A workflow's graph as text, or in the languages of Mermaid and Graphviz."""

from __future__ import annotations

import re
from json import dumps

from ..workflow.dag import dependents, order
from .table import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..records import Workflow


def graph(workflow: Workflow, form: str) -> str:
    """Return the graph of `workflow` in one of FORMATS."""
    return FORMATS[form](workflow)


def levels(workflow: Workflow) -> dict[str, int]:
    """Return by step how many others lie before it on the longest path that leads there."""
    by_id = {step.id: step for step in workflow.steps}
    level: dict[str, int] = {}
    for step_id in order(workflow):
        level[step_id] = 1 + max((level[d] for d in by_id[step_id].dependencies), default=-1)
    return level


def _text(workflow: Workflow) -> str:
    """Return a line for each step, those that can run side by side on one level."""
    level = levels(workflow)
    lines = []
    for step in sorted(workflow.steps, key=lambda s: level[s.id]):
        after = f"  after {', '.join(step.dependencies)}" if step.dependencies else ""
        many = f"  for each of {_many(step.foreach)}" if step.foreach is not None else ""
        lines.append(f"{'    ' * level[step.id]}{one_line(f'{step.id} ({step.agent}){after}{many}')}")
    return "\n".join(lines)


def _mermaid(workflow: Workflow) -> str:
    number = {step.id: f"s{n}" for n, step in enumerate(workflow.steps)}
    nodes = [f'    {number[s.id]}["{_entities(s.id)}<br/>{_entities(s.agent)}"]' for s in workflow.steps]
    edges = [f"    {number[a]} --> {number[b]}" for a, waiting in dependents(workflow).items() for b in waiting]
    return "\n".join(["flowchart TD", *nodes, *edges])


def _dot(workflow: Workflow) -> str:
    nodes = [f"    {_quoted(s.id)} [label={_quoted(s.id, s.agent)}];" for s in workflow.steps]
    edges = [f"    {_quoted(a)} -> {_quoted(b)};" for a, waiting in dependents(workflow).items() for b in waiting]
    return "\n".join([f"digraph {_quoted(workflow.name)} {{", *nodes, *edges, "}"])


def _entities(text: str) -> str:
    """Return `text` as Mermaid writes it in a label: what is neither letter nor digit could mean something there."""
    return re.sub(r"[^\w .,/-]", lambda match: f"#{ord(match[0])};", one_line(text))


def _quoted(*lines: str) -> str:
    """Return `lines` as one string of the DOT language, which escapes as JSON does but reads HTML entities too."""
    text = "\n".join(one_line(line).replace("&", "&amp;") for line in lines)
    return dumps(text, ensure_ascii=False)


def _many(foreach: object) -> str:
    return f"{len(foreach)} items" if isinstance(foreach, tuple) else str(foreach)


FORMATS = {"text": _text, "mermaid": _mermaid, "dot": _dot}
