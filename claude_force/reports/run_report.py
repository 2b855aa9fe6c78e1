"""Past runs for people and for programs: the list of them, one in full, and how two differ."""

from __future__ import annotations

from ..models import usd
from ..records import STATUSES
from . import timeline
from .result import of_step, of_workflow
from .table import amounts, duration, money, table, usd_amounts
from .why import change_facts, changes, diff, diff_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ..errors import ForceError
    from ..records import Outcome, Workflow
    from ..stores.runs import Summary


def listing_facts(summary: Summary) -> dict[str, Any]:
    """Return a run as it stands in the JSON of `runs list`."""
    return {
        "run_id": summary.run_id,
        "workflow": summary.workflow,
        "began": summary.began,
        "status": summary.status,
        "census": {"planned": summary.steps, **{s: summary.counts.get(s, 0) for s in STATUSES}},
        "estimated_cost": usd(summary.cost),
        "saved_cost": usd(summary.saved),
        "total_time_seconds": summary.seconds,
    }


def listing(summaries: Sequence[Summary], *, width: int) -> str:
    """Return a table of runs."""
    headings = ("RUN", "BEGAN", "WORKFLOW", "STATUS", "STEPS", "COST", "TIME")
    rows = [_row(*row) for row in zip(summaries, amounts([summary.cost for summary in summaries]), strict=True)]
    if not rows:
        return ""
    # an id tells too when its run began
    return table(headings, rows, width=width, numbers=("COST", "TIME"), texts=("WORKFLOW",), spare="BEGAN")


def _row(summary: Summary, cost: str) -> tuple[str, ...]:
    ended = ", ".join(f"{summary.counts[s]} {s}" for s in STATUSES if summary.counts.get(s)) or "none"
    began = summary.began[:19].replace("T", " ")
    facts = summary.run_id, began, summary.workflow, summary.status, f"{ended} of {summary.steps}"
    return *facts, cost, duration(summary.seconds)


def run_facts(
    summary: Summary, workflow: Workflow, outcomes: Sequence[Outcome], error: ForceError | None
) -> dict[str, Any]:
    """Return a run as it stands in the JSON of `runs show`: that of `run workflow`, and how the run stands."""
    by_step = {o.step: o for o in outcomes}
    result = of_workflow(workflow, outcomes, summary.run_id, error)
    costs = {"estimated_cost": usd(summary.cost), "saved_cost": usd(summary.saved)}
    _, path = timeline.critical_path(workflow, by_step)
    standing = {"began": summary.began, "status": summary.status, "critical_path": path}
    return result | costs | {"success": summary.status == "ok"} | standing


def run_text(
    summary: Summary, workflow: Workflow, outcomes: Sequence[Outcome], *, width: int, blocks: bool, notes: Sequence[str]
) -> str:
    """Return a run in full: its course, its steps, and its critical path."""
    by_step = {o.step: o for o in outcomes}
    seconds, path = timeline.critical_path(workflow, by_step)
    began = summary.began[:19].replace("T", " ")
    counts = timeline.census(workflow, by_step)
    parts = [
        "\n".join([f"run {summary.run_id}: {workflow.name}, {summary.status}, began {began} UTC", *notes]),
        timeline.timeline(outcomes, width=min(width, 100), blocks=blocks),
        _steps_table(workflow, by_step, width),
        f"critical path: {' → '.join(path)}, {duration(seconds)}" if path else "",
        timeline.census_line(counts, summary.cost, summary.saved, summary.seconds, summary.run_id),
    ]
    return "\n\n".join(part for part in parts if part)


def _steps_table(workflow: Workflow, outcomes: Mapping[str, Outcome], width: int) -> str:
    ended = [outcomes[step.id] for step in workflow.steps if step.id in outcomes]
    costs = dict(zip((o.step for o in ended), amounts([o.cost for o in ended]), strict=True))
    rows = [
        _step(outcomes[s.id], costs[s.id]) if s.id in outcomes else (s.id, s.agent, "not run", "", "", "", "")
        for s in workflow.steps
    ]
    headings = ("STEP", "AGENT", "STATUS", "MODEL", "TIME", "TOKENS", "COST")
    return table(headings, rows, width=width, numbers=headings[4:], texts=("STEP", "AGENT"))


def _step(outcome: Outcome, cost: str) -> tuple[str, ...]:
    tokens = f"{outcome.usage.prompt_tokens + outcome.usage.output_tokens:,}"
    known = outcome.step, outcome.agent, outcome.status, outcome.model or ""
    return *known, duration(outcome.seconds), tokens, cost


def differences(a: Mapping[str, Outcome], b: Mapping[str, Outcome]) -> list[dict[str, Any]]:
    """Return for each step of two runs how it differs in them: status, cost in USD, what decided it, and output."""
    return [_difference(i, a.get(i), b.get(i)) for i in dict.fromkeys((*a, *b))]


def _difference(step_id: str, a: Outcome | None, b: Outcome | None) -> dict[str, Any]:
    lines, more = diff(a.output, b.output) if a and b and a.output != b.output else ((), 0)
    return {
        "step": step_id,
        "a": a and _side(a),
        "b": b and _side(b),
        "changes": [change_facts(change) for change in changes(b, a)] if a and b else [],
        "items_changed": _items_changed(a, b) if a and b else [],
        "same_output": bool(a and b and a.output == b.output),
        "output_diff": list(lines),
        "output_diff_lines_left_out": more,
    }


def _side(outcome: Outcome) -> dict[str, Any]:
    told = of_step(outcome)
    return {name: told[name] for name in ("status", "model", "estimated_cost", "execution_time_ms")}


def _items_changed(a: Outcome, b: Outcome) -> list[str]:
    """Return the items of a `foreach` step that only one run had, or whose answers were decided otherwise."""
    before, now = ({m.item or "": m for m in whole.members} for whole in (a, b))
    return [i for i in dict.fromkeys((*before, *now)) if _marks(before.get(i)) != _marks(now.get(i))]


def _marks(outcome: Outcome | None) -> dict[str, str] | None:
    return {name: mark for name, (_, mark) in outcome.parts.items()} if outcome else None


_DIFFERENCES = ("STEP", "A", "B", "OUTPUT", "COST A", "COST B", "CHANGED")


def differences_text(a: Summary, b: Summary, found: Sequence[Mapping[str, Any]], *, width: int) -> str:
    """Return how two runs differ; of one run and itself, only that."""
    if a.run_id == b.run_id:
        return f"A and B are the same run, {a.run_id}: nothing differs"
    rows = [_difference_row(step) for step in found]
    outputs = [
        "\n".join(diff_lines(f"output of {d['step']}", d["output_diff"], d["output_diff_lines_left_out"]))
        for d in found
        if d["output_diff"]
    ]
    parts = [
        "\n".join(_side_line(name, summary) for name, summary in (("A", a), ("B", b))),
        table(_DIFFERENCES, rows, width=width, numbers=("COST A", "COST B"), texts=("STEP", "CHANGED")),
        *outputs,
    ]
    return "\n\n".join(parts)


def _side_line(name: str, summary: Summary) -> str:
    went = f"{summary.workflow}, {summary.status}, {money(summary.cost)}, {duration(summary.seconds)}"
    return f"{name}: run {summary.run_id}, {went}"


def _difference_row(step: Mapping[str, Any]) -> tuple[str, ...]:
    sides = [step["a"], step["b"]]
    statuses = [side["status"] if side else "-" for side in sides]
    amounts = [usd_amounts([side["estimated_cost"]])[0] if side else "-" for side in sides]
    changed = [change["part"] for change in step["changes"]] + [f"item {item}" for item in step["items_changed"]]
    same = "same" if step["same_output"] else "differs"
    return step["step"], *statuses, same if all(sides) else "-", *amounts, ", ".join(changed)
