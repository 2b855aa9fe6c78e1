"""What `--json` says of an execution and of a run: the objects that programs read."""

from __future__ import annotations

from ..errors import ForceError, PartlyFailed, UsageError
from ..models import usd
from .table import plural
from .timeline import census, cost, critical_path, prompt_cache_saved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ..models import Prices
    from ..records import Outcome, Usage, Workflow

SCHEMA_VERSION = 1


def of_agent(outcome: Outcome, run_id: str, *, prices: Prices | None = None) -> dict[str, Any]:
    """Return the result of `run agent`; `prices` are those that take the place of the table's."""
    return {
        "schema_version": SCHEMA_VERSION,
        "agent": outcome.agent,
        "success": outcome.error is None,
        **_answer(outcome),
        "prompt_cache_saved": usd(prompt_cache_saved([outcome], prices or {})),
        "run_id": run_id,
        "error": outcome.error and outcome.error.facts(),
    }


def of_workflow(
    workflow: Workflow,
    outcomes: Sequence[Outcome],
    run_id: str,
    error: ForceError | None,
    *,
    prices: Prices | None = None,
) -> dict[str, Any]:
    """Return the result of `run workflow`; `outcomes` are those of whole steps in the order in which they ended.

    `prices` are those that take the place of the table's.
    """
    by_step = {o.step: o for o in outcomes}
    ran = sorted((o for o in outcomes if o.status != "skipped"), key=lambda o: o.started)
    return {
        "schema_version": SCHEMA_VERSION,
        "workflow": workflow.name,
        "run_id": run_id,
        "success": error is None,
        "results": {s.id: of_step(by_step[s.id]) for s in workflow.steps if s.id in by_step},
        "execution_order": [o.step for o in ran],
        "census": census(workflow, by_step),
        "total_time_seconds": round(max((o.finished for o in outcomes), default=0.0), 3),
        "critical_path_seconds": round(critical_path(workflow, by_step)[0], 3),
        "estimated_cost": usd(cost(by_step)),
        "saved_cost": usd(sum(o.saved or 0 for o in outcomes)),
        "prompt_cache_saved": usd(prompt_cache_saved(outcomes, prices or {})),
        "error": error and error.facts(),
    }


_NOTHING = "every step was skipped: look at the inputs, and at the conditions of the steps"


def verdict(outcomes: Sequence[Outcome], *, stop: bool) -> ForceError | None:
    """Return what went wrong in a run: with `stop`, or if nothing came of it, that is its first error.

    A run whose every step was skipped has no answer, so that is wrong too. The status of a UsageError says that nothing
    was sent: one that came later has that of a failure.
    """
    wrong = [(o.step, o.error) for o in outcomes if o.error]
    if not wrong and outcomes and all(o.status == "skipped" for o in outcomes):
        return ForceError(f"nothing was run: {outcomes[0].note or 'every step was skipped'}", hint=_NOTHING)
    if not wrong:
        return None
    step, error = wrong[0]
    if stop or not any(o.status in {"ok", "cached"} for o in outcomes):
        told = error.within(f"step '{step}'")
        if isinstance(told, UsageError) and any(o.attempts for o in outcomes):
            told.exit_code = ForceError.exit_code
        return told
    names = ", ".join(f"'{step}'" for step, _ in wrong)
    return PartlyFailed(f"{plural(len(wrong), 'step')} failed: {names}", hint="the other results are there")


def of_step(outcome: Outcome) -> dict[str, Any]:
    """Return the result of one step, with one for each member if it ran for many items."""
    result = {"status": outcome.status, "agent": outcome.agent, **_answer(outcome), "attempts": outcome.attempts}
    if outcome.note:
        result["note"] = outcome.note
    if outcome.members:
        result["members"] = [{"item": m.item, **of_step(m)} for m in outcome.members]
    return result | {"error": outcome.error and outcome.error.facts()}


def _answer(outcome: Outcome) -> dict[str, Any]:
    return {
        "output": outcome.output,
        "model": outcome.model,
        "stop_reason": outcome.stop_reason,
        "usage": _usage(outcome.usage),
        "estimated_cost": usd(outcome.cost),
        "saved_cost": usd(outcome.saved),
        "cached": outcome.status == "cached",
        "execution_time_ms": round(outcome.seconds * 1000),
    }


def _usage(usage: Usage) -> Mapping[str, int]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_creation_input_tokens": usage.cache_creation_input_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
    }
