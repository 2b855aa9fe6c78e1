"""The section on routing of scripts/evaluate: what it saves on labelled tasks, and how often it errs each way.

The labels say which tier suffices, by judgement and not by trying: the small model where the answer follows from the
text given or from common knowledge and an error is seen at once; the middle one where several things must be kept
consistent, and at least where a wrong answer can harm data, money, security, privacy, law or health; the large one for
open design, for causes hidden across components, and for subtle correctness. Two `raters` judged the first tasks again
without knowing the labels. Of the tasks by other writers a third, the set "held", was kept aside while the word lists
were written.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from claude_force import models, prompt, routing
from claude_force.library import lookup
from claude_force.records import Usage
from claude_force.routing import TIERS
from claude_force.settings import config

DATA = Path(__file__).parent.parent / "tests" / "data"
LABELLED = (DATA / "labelled_tasks.jsonl", DATA / "labelled_routing.jsonl")
DEFAULT = config.Settings().default_model
BASELINES = ("the agent's own model", f"always {DEFAULT}, the default model of claude.json", "always opus")
DEFAULT_MAX_TOKENS = 16_000
_RATES = ("too small", "too large", "false alarms")
_CRITICAL = (
    "critical recognised",
    "critical on the small model",
    "critical below the agent's own",
    "critical below the label",
)


def labelled(*paths: Path) -> list[dict]:
    """Return the rows of `paths`, by default all there are, that have a tier and an agent, each with one `agent`."""
    rows = [json.loads(line) for path in paths or LABELLED for line in path.read_text("utf-8").splitlines()]
    rows = [{**row, "agent": row.get("agent") or next(iter(row.get("agents", ())), "")} for row in rows]
    return [row for row in rows if row["agent"] and "tier" in row]


def figures(rows: list[dict]) -> dict:
    """Return what routing does to `rows`: counts of tiers by label, errors both ways, savings and their ceiling.

    A saving is the share of the cost of a baseline; the ceiling is what the labels themselves would save. Costs are
    those of the real request and of an answer of the labelled length, equally long on every model, at today's prices.
    What a model thinks before it answers is in no label, so what a lower effort saves is not counted.
    """
    shelf = lookup.bundled_shelf()
    agents = {agent.name: agent for agent in lookup.list_agents((shelf,), warn=print)}
    pairs: Counter = Counter()
    counts: Counter = Counter()
    costs: Counter = Counter()
    for row in rows:
        agent = agents[row["agent"]]
        own = agent.model or "sonnet"
        route = routing.route(agent, row["task"], default=own)
        pairs[row["tier"], route.tier] += 1
        counts.update(_errors(row, TIERS.index(route.tier), own, bool(route.risk)))
        chosen = {"routed": route.model, "labels": row["tier"], BASELINES[0]: own, BASELINES[1]: DEFAULT}
        for name, model in {**chosen, BASELINES[2]: "opus"}.items():
            costs[name] += _cost(row, agent, model, shelf)
    return {"tasks": len(rows), "pairs": pairs, "counts": counts, "costs": costs}


def _errors(row: dict, tier: int, own: str, alarmed: bool) -> dict[str, bool]:
    label, default = TIERS.index(row["tier"]), TIERS.index(models.find(own)[0].line)
    return {
        "too small": tier < label,
        "too large": tier > label,
        "critical": row["critical"],
        "critical on the small model": row["critical"] and tier == 0,
        "critical below the agent's own": row["critical"] and tier < default,
        "critical below the label": row["critical"] and tier < label,
        "critical recognised": row["critical"] and alarmed,
        "false alarms": alarmed and not row["critical"],
    }


def _cost(row: dict, agent, model_name: str, shelf) -> int:
    model, _ = models.find(model_name)
    skills = [lookup.find_skill((shelf,), name, warn=print) for name in agent.skills]
    request = prompt.build(agent, skills, row["task"], model=model, max_tokens=DEFAULT_MAX_TOKENS)
    tokens = sum(models.estimate_tokens(block.text, model.id) for block in (*request.system, *request.user))
    cost = models.cost(Usage(input_tokens=tokens, output_tokens=row["output_tokens"]), model.id)
    assert cost is not None
    return cost


def section(_=None):
    """Tell what routing saves, and how often the tier is too small or too large for the label."""
    rows = labelled()
    yield from told("held aside", figures([row for row in rows if row["set"] == "held"]))
    yield from told("all", figures(rows))
    judged = [(row["tier"], row["raters"]) for row in rows if "raters" in row]
    agreed = (sum(tier == tiers[rater] for tier, tiers in judged) / len(judged) for rater in (0, 1))
    yield f"labels that two raters agree with, of {len(judged)}: {' and '.join(f'{share:.1%}' for share in agreed)}"


def told(name: str, found: dict) -> list[str]:
    """Return what `figures` found, in lines."""
    counts, costs, tasks = found["counts"], found["costs"], found["tasks"]
    lines = [f"{name}: {tasks} tasks, prices of {models.price_version()}"]
    lines += [f"  {kind}: {counts[kind]} ({counts[kind] / tasks:.1%})" for kind in _RATES]
    lines += [f"  {kind}: {counts[kind]} of {counts['critical']}" for kind in _CRITICAL]
    lines += _confusion(found["pairs"])
    for baseline in BASELINES:
        saved, ceiling = (1 - costs[way] / costs[baseline] for way in ("routed", "labels"))
        lines.append(f"  cheaper than {baseline}: {saved:.1%} (the labels themselves: {ceiling:.1%})")
    return lines


def _confusion(pairs: Counter) -> list[str]:
    """Return the matrix of how many tasks of each label went to each tier, in lines."""
    heading = "".join(f"{tier:>8}" for tier in TIERS)
    rows = ["".join(f"{pairs[label, tier]:>8}" for tier in TIERS) for label in TIERS]
    return [f"  by label{'':>7}{heading}", *(f"    {label:<12}{row}" for label, row in zip(TIERS, rows, strict=True))]
