"""`--dry-run`: the exact requests, their tokens and what they could cost, without sending anything."""

from __future__ import annotations

import json

from .. import models, prefixes
from .. import plan as plans
from ..records import Result, payload
from ..reports.table import money, plural
from ..spending import worst_case

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..config import Settings
    from ..plan import Plan
    from ..prefixes import Prefix
    from ..records import Request

    Shared = Sequence[tuple[Prefix, int | None]]


def dry_run(plan: Plan, settings: Settings) -> Result:
    """Return every request that `plan` would send, and the prefixes that they share.

    Outputs of steps stand as notes in their place.
    """
    found = prefixes.shared(plan)
    priced = [_priced(job, item, request, settings) for job, item, request in plans.preview(plan, found)]
    most = models.total(cost for _, cost in priced)
    requests = [entry for entry, _ in priced]
    shared = [(prefix, prefixes.saving(prefix, settings.prices)) for prefix in found]
    data = {
        "schema_version": 1,
        "dry_run": True,
        "requests": requests,
        "estimated_cost_at_most": models.usd(most),
        "shared_prefixes": [_shared(prefix, saved) for prefix, saved in shared],
        "estimated_prompt_cache_saving": models.usd(models.total(saved for _, saved in shared)),
    }
    return Result(data, _text(priced, most, shared))


def _priced(
    job: plans.Job, item: plans.Item | None, request: Request, settings: Settings
) -> tuple[dict[str, Any], int | None]:
    """Return what is told of a request, and the most that it could cost in nanodollars."""
    prompt = sum(models.estimate_tokens(b.text, request.model) for b in (*request.system, *request.user))
    most = worst_case(request, settings.prices)
    entry = {
        "step": job.step.id,
        "agent": job.agent.name,
        **({"item": item.label} if item else {}),
        "estimated_input_tokens": prompt,
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


def _text(priced: list[tuple[dict[str, Any], int | None]], most: int | None, shared: Shared) -> str:
    parts = []
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
