"""Why a step ran, or why it did not: what decided its answer now and before, and the difference between the texts."""

from __future__ import annotations

from ..frozen import dataclass
from .table import cut, one_line, plural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any, TypeVar

    from ..records import Outcome
    from ..stores.transcript import Entry

    T = TypeVar("T")

LONGEST_DIFF = 60
"""Lines of one part's difference that are shown."""
_LONGEST_TEXT = 4_000
"""Lines of a text that are compared; beyond that a comparison takes seconds."""
_WIDTH = 200
_FEW = 3
"""Items of which the same is told for each by its name."""


@dataclass(frozen=True)
class Change:
    """One part that differs: `kind` is changed, added or removed."""

    part: str
    kind: str
    diff: tuple[str, ...]
    more: int = 0
    """Lines of the difference that were left out."""


@dataclass(frozen=True)
class Explanation:
    """Why one call was made, or was not; `origin` is model, journal or cache, and empty if there is no answer."""

    item: str | None
    status: str
    origin: str
    reason: str
    changes: tuple[Change, ...] = ()


def explain(
    now: Outcome, before: Outcome | None, options: Mapping[str, Any], *, anew: bool, cacheable: bool
) -> Explanation:
    """Return why a call went as it did, `before` being its execution before that one, with their differences.

    `options` are those of the run, `anew` says whether `--from` named the step or one before it, and `cacheable`
    whether the workflow lets its answer be cached.
    """
    found = tuple(changes(now, before)) if before else ()
    if now.status == "skipped":
        return Explanation(now.item, now.status, "", now.note)
    if now.recalled:
        return Explanation(now.item, now.status, "journal", "nothing that decides its answer has changed")
    if now.status == "cached":
        return Explanation(now.item, now.status, "cache", "an equal request was answered before", found)
    origin = "model" if now.status == "ok" else ""
    reason = _cause(now, before, found, options, anew=anew, cacheable=cacheable)
    failed = f"; it failed: {now.error.message}" if now.error else ""
    return Explanation(now.item, now.status, origin, reason + failed, found)


def _cause(
    now: Outcome,
    before: Outcome | None,
    found: Sequence[Change],
    options: Mapping[str, Any],
    *,
    anew: bool,
    cacheable: bool,
) -> str:
    """Return why a request was sent."""
    if not now.parts:
        return "it could not be asked"
    if found:
        return f"{_listed(found)} changed"
    if anew:
        return f"--from {options.get('from_step')} asked for it"
    if before is None:
        return "no execution before it is known"
    if before.error:
        return f"it had failed: {before.error.message}"
    return _uncached(options, cacheable=cacheable)


def _uncached(options: Mapping[str, Any], *, cacheable: bool) -> str:
    """Return why the cache did not answer a request that was answered before."""
    if options.get("refresh"):
        return "nothing changed, and --refresh asked for a new answer"
    if not options.get("cache"):
        return "nothing changed, and the cache was off"
    if not cacheable:
        return "nothing changed, and the workflow does not let its answer be cached"
    return "nothing changed, and its answer was not in the cache any more, or never was"


def changes(now: Outcome, before: Outcome) -> Iterator[Change]:
    """Yield the parts that differ between two executions of a step."""
    for name in dict.fromkeys((*before.parts, *now.parts)):
        old, new = before.parts.get(name), now.parts.get(name)
        if old is None or new is None:
            kind = "added" if old is None else "removed"
            yield Change(name, kind, *diff(old[0] if old else "", new[0] if new else ""))
        elif old[1] != new[1]:
            yield Change(name, "changed", *diff(old[0], new[0]))


def diff(old: str, new: str) -> tuple[tuple[str, ...], int]:
    """Return the unified difference of two texts, without its heading, and how many of its lines were left out."""
    from difflib import unified_diff  # 4 ms, for this alone

    before, after = old.splitlines(), new.splitlines()
    if before == after:
        return ("(they differ only in what was redacted, or in their ends of line)",), 0
    if max(len(before), len(after)) > _LONGEST_TEXT:
        return (f"({len(before):,} lines before, {len(after):,} now: too many to compare)",), 0
    lines = [*unified_diff(before, after, lineterm="", n=2)][2:]
    return tuple(lines[:LONGEST_DIFF]), max(len(lines) - LONGEST_DIFF, 0)


def facts(explanation: Explanation) -> dict[str, Any]:
    """Return an explanation as it stands in JSON."""
    told: dict[str, Any] = {"item": explanation.item} if explanation.item is not None else {}
    told |= {"status": explanation.status, "origin": explanation.origin or None, "reason": explanation.reason}
    return told | {"changes": [change_facts(change) for change in explanation.changes]}


def change_facts(change: Change) -> dict[str, Any]:
    """Return a change as it stands in JSON."""
    return {"part": change.part, "change": change.kind, "diff": list(change.diff), "diff_lines_left_out": change.more}


def text(step: str, whole: str, explanations: Sequence[Explanation], compared: str) -> str:
    """Return for people why the step `step` went as it did: `whole` for all of its calls, and each one's reason.

    What is the same of many items, a reason or a difference, stands there once.
    """
    lines = [one_line(f"{step}: {whole}")] if whole else []
    for reason, items in _alike((f"{_how(told)}: {told.reason}", told.item) for told in explanations).items():
        lines += [one_line(f"{name}: {reason}") for name in _names(step, items)]
    if compared and any(told.changes for told in explanations):
        lines.append(f"compared with {compared}")
    differing = _alike((change, told.item) for told in explanations for change in told.changes)
    for change, items in differing.items():
        lines += ["", *diff_lines(f"{change.part}{_whose(items)} ({change.kind})", change.diff, change.more)]
    return "\n".join(lines)


def label(item: str) -> str:
    """Return the name of an item as it is shown: cut where it is long."""
    return cut(one_line(item), 60)


def _alike(pairs: Iterable[tuple[T, str | None]]) -> dict[T, list[str | None]]:
    """Return the items by what is the same of them."""
    found: dict[T, list[str | None]] = {}
    for same, item in pairs:
        found.setdefault(same, []).append(item)
    return found


def _names(step: str, items: Sequence[str | None]) -> list[str]:
    """Return the names of a step's calls, or how many they are if they are many."""
    if len(items) > _FEW:
        return [plural(len(items), "item")]
    return [step if item is None else f"{step}[{label(item)}]" for item in items]


def _whose(items: Sequence[str | None]) -> str:
    if len(items) > _FEW:
        return f", {plural(len(items), 'item')}"
    names = ", ".join(label(item) for item in items if item is not None)
    return f" [{names}]" if names else ""


def diff_lines(title: str, lines: Sequence[str], more: int) -> list[str]:
    """Return a difference under its title."""
    rest = [f"… {plural(more, 'more line')}"] if more else []
    return [f"== {one_line(title)}", *(cut(line, _WIDTH) for line in lines), *rest]


def _how(told: Explanation) -> str:
    if told.origin in {"journal", "cache"}:
        return f"from the {told.origin}"
    return {"ok": "was run", "failed": "was run and failed"}.get(told.status, told.status)


def _listed(changes: Sequence[Change]) -> str:
    names = [change.part for change in changes]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def is_cacheable(plan: Entry, step_id: str) -> bool:
    """Say whether the plan of a session lets the answer of a step be cached."""
    return all(step.get("cache", True) for step in plan.get("steps", ()) if step["id"] == step_id)
