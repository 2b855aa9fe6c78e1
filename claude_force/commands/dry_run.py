"""`--dry-run`: the exact requests, their tokens and what they could cost, without sending anything."""

from __future__ import annotations

import json

from .. import models, prompt
from ..records import Outcome, Result, payload
from ..reports.table import money, plural
from ..running import plan as plans
from ..running import prefixes
from ..running.spending import worst_case
from ..workflow import dag
from ..workflow.definition import used_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ..records import Request, Step
    from ..running.plan import Plan
    from ..running.prefixes import Prefix
    from ..settings.config import Settings

    Shared = Sequence[tuple[Prefix, int | None]]


def dry_run(plan: Plan, settings: Settings) -> Result:
    """Return every request that `plan` would send, and the prefixes that they share.

    Outputs of steps stand as notes in their place.
    """
    found = prefixes.shared(plan)
    skipped = _skipped(plan)
    priced = [_priced(job, item, request, settings) for job, item, request in preview(plan, found, skipped)]
    most = models.total(cost for _, cost in priced)
    requests = [entry for entry, _ in priced]
    shared = [(prefix, prefixes.saving(prefix, settings.prices)) for prefix in found]
    data = {
        "schema_version": 1,
        "dry_run": True,
        "requests": requests,
        "skipped": skipped,
        "estimated_cost_at_most": models.usd(most),
        "shared_prefixes": [_shared(prefix, saved) for prefix, saved in shared],
        "estimated_prompt_cache_saving": models.usd(models.total(saved for _, saved in shared)),
    }
    return Result(data, _text(priced, most, shared, skipped))


def preview(
    plan: Plan, shared: Sequence[Prefix], skipped: Sequence[str] = ()
) -> Iterator[tuple[plans.Job, plans.Item | None, Request]]:
    """Yield every request of the steps that are not `skipped`, with notes in the place of what answers bring.

    The requests have the marks of the prefixes that they have `shared`.
    """
    plan = prefixes.marked(plan, shared)
    unknown: dict[str, Outcome] = {}
    for step_id in (i for i in dag.order(plan.workflow) if i not in skipped):
        job = plan.jobs[step_id]
        for item in _items(job):
            yield job, item, plans.request(plan, job, unknown, item)
        unknown[step_id] = Outcome(step_id, job.agent.name, "ok", output=f"(the output of step '{step_id}')")


def _items(job: plans.Job) -> Sequence[plans.Item | None]:
    if job.step.foreach is None:
        return [None]
    return [_unknown(job.step)] if job.items is None else job.items


def _unknown(step: Step) -> plans.Item:
    """Return what stands for an item that an answer is going to list, with all that the step names of it."""
    note = f"(an item of {step.foreach})"
    value: dict[str, Any] = {}
    for name in (name for name in used_names(step) if name.startswith("item.")):
        *outer, last = name.split(".")[1:]
        inner = value
        for key in outer:
            found = inner.get(key)
            inner[key] = found if isinstance(found, dict) else {}
            inner = inner[key]
        inner.setdefault(last, note)
    return plans.Item(value or note, quoted=True)


def _skipped(plan: Plan) -> list[str]:
    """Return the steps that no file fits, and those that depend on nothing else."""
    found: list[str] = []
    for step_id in dag.order(plan.workflow):
        job = plan.jobs[step_id]
        before = job.step.dependencies
        if plans.lacks_files(job) or (before and all(d in found for d in before)):
            found.append(step_id)
    return found


def _priced(
    job: plans.Job, item: plans.Item | None, request: Request, settings: Settings
) -> tuple[dict[str, Any], int | None]:
    """Return what is told of a request, and the most that it could cost in nanodollars."""
    most = worst_case(request, settings.prices)
    entry = {
        "step": job.step.id,
        "agent": job.agent.name,
        **({"item": item.label} if item else {}),
        "estimated_input_tokens": prompt.estimated_tokens(request),
        "estimated_cost_at_most": models.usd(most),
        "request": payload(request),
    }
    return entry, most


def _shared(prefix: Prefix, saved: int | None) -> dict[str, Any]:
    return {
        "steps": list(prefix.steps),
        "model": prefix.model,
        "calls": prefix.calls,
        "estimated_tokens": prefix.tokens,
        "estimated_saving": models.usd(saved),
    }


def _text(
    priced: list[tuple[dict[str, Any], int | None]], most: int | None, shared: Shared, skipped: Sequence[str]
) -> str:
    parts = [f"# skipped, for no file fits: {', '.join(skipped)}"] if skipped else []
    for entry, cost in priced:
        item = f" [{entry['item']}]" if "item" in entry else ""
        agent = "" if entry["agent"] == entry["step"] else f" ({entry['agent']})"
        parts.append(
            f"# {entry['step']}{item}{agent}: at most {entry['estimated_input_tokens']:,} tokens in, {money(cost)}\n"
            f"{json.dumps(entry['request'], indent=2, ensure_ascii=False)}"
        )
    parts += [_told(prefix, saved) for prefix, saved in shared]
    parts.append(f"# {plural(len(priced), 'request')}, at most {money(most)}; nothing was sent")
    return "\n\n".join(parts)


def _told(prefix: Prefix, saved: int | None) -> str:
    who = f"{', '.join(prefix.steps)}: {plural(prefix.calls, 'call')}"
    return (
        f"# {who} share a prefix of about {prefix.tokens:,} tokens; "
        f"written to the API's prompt cache once and then read, that saves about {money(saved)}"
    )
