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


def dry_run(plan: Plan, settings: Settings) -> Result:
    """Return every request that `plan` would send; outputs of steps stand as notes in their place."""
    requests = [_entry(job, item, request, settings) for job, item, request in plans.preview(plan)]
    most = [r["estimated_cost_at_most"] for r in requests]
    total = None if None in most else round(sum(most), 9)
    data = {"schema_version": 1, "dry_run": True, "requests": requests, "estimated_cost_at_most": total}
    return Result(data, _text(requests, total))


def _entry(job: plans.Job, item: plans.Item | None, request: Any, settings: Settings) -> dict[str, Any]:
    prompt = sum(models.estimate_tokens(b.text, request.model) for b in (*request.system, *request.user))
    most = models.worst_case(prompt, request.max_tokens, request.model, prices=settings.prices)
    return {
        "step": job.step.id,
        "agent": job.agent.name,
        **({"item": item.label} if item else {}),
        "estimated_input_tokens": prompt,
        "estimated_cost_at_most": models.usd(most),
        "request": payload(request),
    }


def _text(requests: list[dict[str, Any]], total: float | None) -> str:
    parts = []
    for entry in requests:
        item = f" [{entry['item']}]" if "item" in entry else ""
        cost = money(_nano(entry["estimated_cost_at_most"]))
        parts.append(
            f"# {entry['step']}{item}: {entry['agent']}, about {entry['estimated_input_tokens']:,} tokens in, "
            f"at most {cost}\n{json.dumps(entry['request'], indent=2, ensure_ascii=False)}"
        )
    parts.append(f"# {plural(len(requests), 'request')}, at most {money(_nano(total))}; nothing was sent")
    return "\n\n".join(parts)


def _nano(dollars: float | None) -> int | None:
    return None if dollars is None else round(dollars * 1e9)
