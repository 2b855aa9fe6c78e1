"""What a run would use, as a lock file keeps it: digests of agents, skills and workflows, models, the date of prices.

Digests are of what decides a request, so a file that was moved, or described in other words, has not changed. It knows
neither where the lock file lies nor what is done about a difference.
"""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256

from .. import models
from ..errors import ConfigError, reason
from ..files import read_regular
from ..frozen import fields, replace
from ..records import Agent, Skill, Step, canonical
from ..workflow.definition import implied_inputs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from ..records import Workflow
    from .plan import Plan

    Entries = dict[str, dict[str, Any]]
    Lock = dict[str, Any]
    Difference = tuple[str, ...]
    """Its kind, a key of the tables of words, and what they name."""

NAME = "claude-force.lock"
VERSION = 1
KINDS = ("agents", "skills", "workflows")
_LARGEST_BYTES = 16 << 20


def of(plans: Iterable[Plan], *, skills: Iterable[Skill] = (), default_model: str) -> Lock:
    """Return the lock of all that `plans` use, and of `skills` besides.

    `default_model` is the id of the one that holds where nothing names another. The list `also` is returned empty:
    it is the caller's, for the names of what is locked though it is not the project's own.
    """
    kinds: dict[str, Entries] = {kind: {} for kind in KINDS}
    kinds["skills"] = {skill.name: _entry(skill, Skill, _SKILL) for skill in skills}
    for plan in plans:
        for kind, entries in _used(plan).items():
            for name, entry in entries.items():
                kinds[kind][name] = kinds[kind].get(name, {}) | entry
    version = models.price_version()
    return {"version": VERSION, "price_version": version, "default_model": default_model, "also": [], **kinds}


def resolved(source: Workflow, plan: Callable[..., Plan]) -> Plan:
    """Return what `plan` makes of `source` without the task, files and inputs that only a run is given."""
    bare = replace(source, task="", steps=tuple(replace(step, files=()) for step in source.steps))
    names = [i.name for i in source.inputs] or implied_inputs(source)
    return replace(plan(bare, "", given=dict.fromkeys(names, "")), workflow=source)


def drift(locked: Lock, now: Lock) -> list[str]:
    """Return in words how what is used `now` differs from what was locked; what is locked besides does not count."""
    return [_FOUND[kind].format(*facts) for kind, *facts in _drift(locked, now)]


def differences(locked: Lock, now: Lock) -> list[str]:
    """Return what `drift` does, and what is locked but no longer used, and another default model."""
    return [_FOUND[kind].format(*facts) for kind, *facts in _differences(locked, now)]


def changes(locked: Lock, now: Lock) -> list[str]:
    """Return the same as `differences`, in the words for what has been written in the place of `locked`."""
    return [_WRITTEN[kind].format(*facts) for kind, *facts in _differences(locked, now)]


def merged(locked: Lock, now: Lock) -> Lock:
    """Return `now` with what only `locked` has."""
    also = sorted({*locked["also"], *now["also"]})
    return now | {kind: locked[kind] | now[kind] for kind in KINDS} | {"also": also}


def text(lock: Lock) -> str:
    """Return the lock as it is written: equal locks are equal bytes, and a change is a change of few lines."""
    return json.dumps(lock, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read(path: Path) -> Lock | None:
    """Return the lock in the file at `path`, None if there is none; raises ConfigError if it is no lock."""
    try:
        lock = json.loads(read_regular(path, _LARGEST_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {reason(error)}") from None
    except (ValueError, RecursionError):
        lock = None
    if not _is_lock(lock):
        hint = "claude-force lock writes it anew; a merge may have left its marks in it"
        raise ConfigError(f"{path} is no lock file of version {VERSION}", hint=hint)
    return dict(lock)


_FOUND = {
    "added": "{} is not in it",
    "changed": "{} has changed",
    "removed": "{} is no longer used",
    "model": "{} is now {}, not {}",
    "prices": "the prices are those of {}, not of {}",
}
_WRITTEN = {
    "added": "added {}",
    "changed": "changed {}",
    "removed": "removed {}",
    "model": "changed {0} from {2} to {1}",
    "prices": "changed the prices from those of {1} to those of {0}",
}
"""Words by the kind of a difference: about a lock that stays, and about one that took its place."""


def _differences(locked: Lock, now: Lock) -> Iterator[Difference]:
    yield from _drift(locked, now)
    for kind in KINDS:
        for name in sorted(locked[kind].keys() - now[kind].keys()):
            yield "removed", _what(kind, name)
    if (old := locked["default_model"]) != (new := now["default_model"]):
        yield "model", "the default model", new, old


def _drift(locked: Lock, now: Lock) -> Iterator[Difference]:
    if locked["price_version"] != now["price_version"]:
        yield "prices", now["price_version"], locked["price_version"]
    for kind in KINDS:
        for name, entry in sorted(now[kind].items()):
            if (old := locked[kind].get(name)) is None:
                yield "added", _what(kind, name)
            else:
                yield from _changes(_what(kind, name), old, entry)


def _what(kind: str, name: str) -> str:
    return f"{kind.removesuffix('s')} '{name}'"


def _is_lock(value: Any) -> bool:
    if not isinstance(value, dict) or value.get("version") != VERSION:
        return False
    also, kinds = value.get("also"), [value.get(kind) for kind in KINDS]
    texts = [value.get("price_version"), value.get("default_model"), *(also if isinstance(also, list) else [None])]
    entries = [entry for kind in kinds if isinstance(kind, dict) for entry in kind.values()]
    whole = all(isinstance(kind, dict) for kind in kinds) and all(isinstance(text, str) for text in texts)
    return whole and all(map(_is_entry, entries))


def _is_entry(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("sha256"), str) and _are_models(value.get("models", {}))


def _are_models(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(model, str) for model in value.values())


def _used(plan: Plan) -> Mapping[str, Entries]:
    jobs = plan.jobs.values()
    used: dict[str, Entries] = {
        "agents": {job.agent.name: _entry(job.agent, Agent, _AGENT) for job in jobs},
        "skills": {skill.name: _entry(skill, Skill, _SKILL) for job in jobs for skill in job.skills},
        "workflows": {},
    }
    if plan.workflow.source == "agent":
        for job in jobs:
            used["agents"][job.agent.name]["model"] = job.model.id
    else:
        entry: dict[str, Any] = {"source": plan.workflow.source, "sha256": _workflow_digest(plan.workflow)}
        used["workflows"] = {plan.workflow.name: entry | {"models": {i: job.model.id for i, job in plan.jobs.items()}}}
    return used


_AGENT = ("prompt", "effort", "max_tokens", "skills")
_SKILL = ("name", "body")


def _entry(item: Agent | Skill, kind: type, names: Iterable[str]) -> dict[str, Any]:
    return {"source": item.source, "sha256": _digest(_told(item, kind, names))}


def _workflow_digest(workflow: Workflow) -> str:
    """Return the digest of the steps; a model is compared by what its name means, and has no part in it."""
    names = [f.name for f in fields(Step) if f.name != "model"]
    steps = [_told(step, Step, names) for step in workflow.steps]
    return _digest({"steps": steps, "inputs": {i.name: i.default for i in workflow.inputs}})


def _told(record: Any, kind: type, names: Iterable[str]) -> dict[str, Any]:
    """Return the fields that say something: a field that a later version adds then changes no digest."""
    usual = _defaults(kind)
    return {name: value for name in names if (value := getattr(record, name)) != usual.get(name, ...)}


@cache
def _defaults(kind: Any) -> dict[str, Any]:
    return {f.name: f.default for f in fields(kind)}


def _digest(value: Any) -> str:
    return sha256(canonical(value).encode()).hexdigest()


def _changes(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Difference]:
    if old["sha256"] != new["sha256"]:
        yield "changed", what
    if "model" in new and old.get("model", new["model"]) != new["model"]:
        yield "model", f"the model of {what}", new["model"], old["model"]
    yield from _other_models(what, old.get("models", {}), new.get("models", {}))


def _other_models(what: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Difference]:
    """Yield one difference for all steps that went from one model to the same other one."""
    moved: dict[tuple[str, str], list[str]] = {}
    for step in old.keys() & new.keys():
        if old[step] != new[step]:
            moved.setdefault((old[step], new[step]), []).append(step)
    for (before, after), steps in sorted(moved.items()):
        listed = ", ".join(f"'{step}'" for step in sorted(steps))
        yield "model", f"the model of step{'s' * (len(steps) > 1)} {listed} of {what}", after, before
