"""`--dry-run`: the exact requests, their tokens and what they could cost, without sending anything."""

from __future__ import annotations

import json

from .. import models
from .. import plan as plans
from ..records import Result, payload
from ..reports.table import money, plural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..config import Settings
    from ..plan import Plan
    from ..records import Request


def dry_run(plan: Plan, settings: Settings) -> Result:
    """Return every request that `plan` would send; outputs of steps stand as notes in their place."""
    priced = [_priced(job, item, request, settings) for job, item, request in plans.preview(plan)]
    most = models.total(cost for _, cost in priced)
    requests = [entry for entry, _ in priced]
    data = {"schema_version": 1, "dry_run": True, "requests": requests, "estimated_cost_at_most": models.usd(most)}
    return Result(data, _text(priced, most))


def _priced(
    job: plans.Job, item: plans.Item | None, request: Request, settings: Settings
) -> tuple[dict[str, Any], int | None]:
    """Return what is told of a request, and the most that it could cost in nanodollars."""
    prompt = sum(models.estimate_tokens(b.text, request.model) for b in (*request.system, *request.user))
    most = models.worst_case(prompt, request.max_tokens, request.model, prices=settings.prices)
    entry = {
        "step": job.step.id,
        "agent": job.agent.name,
        **({"item": item.label} if item else {}),
        "estimated_input_tokens": prompt,
        "estimated_cost_at_most": models.usd(most),
        "request": payload(request),
    }
    return entry, most


def _text(priced: list[tuple[dict[str, Any], int | None]], most: int | None) -> str:
    parts = []
    for entry, cost in priced:
        item = f" [{entry['item']}]" if "item" in entry else ""
        agent = "" if entry["agent"] == entry["step"] else f" ({entry['agent']})"
        parts.append(
            f"# {entry['step']}{item}{agent}: at most {entry['estimated_input_tokens']:,} tokens in, {money(cost)}\n"
            f"{json.dumps(entry['request'], indent=2, ensure_ascii=False)}"
        )
    parts.append(f"# {plural(len(priced), 'request')}, at most {money(most)}; nothing was sent")
    return "\n\n".join(parts)
