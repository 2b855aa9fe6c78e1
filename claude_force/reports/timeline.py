"""How a run went: a bar for each step on one axis of time, its critical path, and the census."""

from __future__ import annotations

from collections import Counter

from ..frozen import replace
from ..models import cost as cost_of
from ..models import total
from ..records import STATUSES
from ..workflow.dag import order
from .table import columns, cut, duration, money, plural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..models import Prices
    from ..records import Outcome, Workflow


def timeline(outcomes: Sequence[Outcome], *, width: int = 80, blocks: bool = True) -> str:
    """Return a line for each step that ran: name, bar, time and cost. `blocks` uses block characters for bars."""
    ran = [o for o in outcomes if o.status != "skipped"]
    if not ran:
        return ""
    total = max(o.finished for o in ran) or 1e-9
    names = min(max(columns(o.step) for o in ran), 24)
    room = max(width - names - 26, 10)
    mark = "█" if blocks else "#"
    return "\n".join(_bar(o, total, names, room, mark) for o in sorted(ran, key=lambda o: o.started))


def _bar(outcome: Outcome, total: float, names: int, room: int, mark: str) -> str:
    start = min(int(outcome.started / total * room), room - 1)
    length = max(round(outcome.seconds / total * room), 1)
    bar = (" " * start + mark * length)[:room].ljust(room)
    took = duration(outcome.seconds)
    cost = money(outcome.cost) if outcome.status == "ok" else outcome.status
    name = cut(outcome.step, names)
    return f"{name}{' ' * (names - columns(name))}  {bar} {took:>11}  {cost:>9}".rstrip()


def critical_path(workflow: Workflow, outcomes: Mapping[str, Outcome]) -> tuple[float, list[str]]:
    """Return the longest sum of step times, in seconds, along dependencies, and the steps that took them, in order.

    No number of jobs can beat that time.
    """
    dependencies = {step.id: step.dependencies for step in workflow.steps}
    paths: dict[str, tuple[float, list[str]]] = {}
    for step_id in order(workflow):
        before, steps = max((paths[d] for d in dependencies[step_id]), default=(0.0, []))
        took = outcomes[step_id].seconds if step_id in outcomes else 0.0
        paths[step_id] = before + took, [*steps, step_id] if took else steps
    return max(paths.values(), default=(0.0, []))


def census(workflow: Workflow, outcomes: Mapping[str, Outcome]) -> dict[str, int]:
    """Return how many steps were planned and how they ended."""
    ended = Counter(o.status for o in outcomes.values())
    return {"planned": len(workflow.steps)} | {s: ended[s] for s in STATUSES}


def cost(outcomes: Mapping[str, Outcome]) -> int | None:
    """Return what the steps cost together in nanodollars; None if the price of one is unknown."""
    return total(o.cost for o in outcomes.values())


def prompt_cache_saved(outcomes: Iterable[Outcome], prices: Prices) -> int | None:
    """Return what the API's prompt cache saved, in nanodollars, less what writing to it cost more; None if unpriced.

    That is what the same tokens would have cost, all read fresh, less what they cost: negative if too little was read.
    """
    return total(_saved(call, prices) for o in outcomes for call in o.members or (o,))


def prompt_cache_line(outcomes: Sequence[Outcome], prices: Prices) -> str:
    """Return how much was read from the API's prompt cache and what that saved, or '' if nothing was."""
    read = sum(o.usage.cache_read_input_tokens for o in outcomes)
    if not read:
        return ""
    saved = prompt_cache_saved(outcomes, prices)
    told = f", saved {money(saved)}" if saved is not None else ""
    return f"{read:,} tokens read from the API's prompt cache{told}"


def _saved(call: Outcome, prices: Prices) -> int | None:
    usage = call.usage
    if not (usage.cache_read_input_tokens or usage.cache_creation_input_tokens) or call.cost == 0:
        return 0  # a refusal before any output tells its tokens and is not billed
    model = call.model or ""
    fresh = replace(
        usage,
        input_tokens=usage.prompt_tokens,
        cache_creation_input_tokens=0,
        cache_creation_1h_input_tokens=0,
        cache_read_input_tokens=0,
    )
    without, spent = cost_of(fresh, model, prices=prices), cost_of(usage, model, prices=prices)
    return None if without is None or spent is None else without - spent


def census_line(
    counts: Mapping[str, int], spent: int | None, saved: int, seconds: float, run_id: str, prompt_cache: str = ""
) -> str:
    """Return the line that ends a run; `prompt_cache` is that of `prompt_cache_line`."""
    ended = ", ".join(f"{counts[s]} {s}" for s in STATUSES if counts[s])
    parts = [f"{plural(counts['planned'], 'step')}: {ended or 'none run'}", duration(seconds), money(spent)]
    if saved:
        parts.append(f"saved {money(saved)}")
    if prompt_cache:
        parts.append(prompt_cache)
    return "; ".join([*parts, f"run {run_id}"])


def parallel_line(outcomes: Sequence[Outcome], seconds: float) -> str:
    """Return how much time running in parallel saved, or '' if it saved none."""
    alone = sum(m.finished - m.started for o in outcomes if o.status != "skipped" for m in (o.members or (o,)))
    if seconds <= 0 or alone <= seconds * 1.05:
        return ""
    saved = duration(alone - seconds)
    return f"in parallel {duration(seconds)}, one after the other {duration(alone)}: {saved} saved"
