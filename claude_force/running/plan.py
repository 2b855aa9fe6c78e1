"""A workflow with everything found that it names: what `--dry-run` shows and the runner carries out.

All that can be wrong is found here, before anything is sent: agents, skills, models, inputs, files, and by `check`
what a call would be refused for.
"""

from __future__ import annotations

import json
from functools import cache, partial

from .. import prompt
from ..errors import NotFound, UsageError, ValidationError
from ..frozen import dataclass, replace
from ..models import find
from ..records import Document, Outcome, Step, Workflow, canonical
from ..workflow.templates import names, origin, sole_name, step_of
from . import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from ..models import Model
    from ..records import Agent, Request, Skill
    from ..routing import Route, Router
    from ..settings.config import Settings

_OVERESTIMATE = 3
"""How many times the true number of tokens the estimate may be."""
_SURELY_SENT = 1_000_000
"""Characters of a task that a request holds in any case."""
DEFAULT_MAX_TOKENS = 16_000
"""Tokens of output a call may use where nothing says otherwise: thinking counts too, so 4,096 cuts real answers."""


@dataclass(frozen=True)
class Job:
    """A step with all that it names."""

    step: Step
    agent: Agent
    skills: tuple[Skill, ...]
    model: Model
    max_tokens: int
    effort: str | None
    schema: str | None = None
    """The step's schema as far as the API can hold an answer to it."""
    route: Route | None = None
    """Why it has this model, if models are routed."""
    files: tuple[Document, ...] | None = ()
    """What it attaches, read once; None if that depends on the item of `foreach`."""
    items: tuple[Item, ...] | None = None
    """What it runs once for each of; None if it runs once, or if the items are an answer's."""
    member_files: Mapping[str, tuple[Document, ...]] | None = None
    """What is attached for each item, by label, where that comes from a journal."""
    marks: tuple[int, ...] | None = None
    """The blocks of its requests that end a prefix for the API's prompt cache; None leaves it to `prompt.build`."""


@dataclass(frozen=True)
class Plan:
    """A workflow, its task and its inputs, ready to run below the directory `root`."""

    workflow: Workflow
    task: str
    inputs: Mapping[str, str]
    root: Path
    jobs: Mapping[str, Job]
    files: tuple[Document, ...] = ()
    """Attached to every step."""
    sample: int = 0


@dataclass(frozen=True)
class Item:
    """One value of `foreach`; `quoted` if it is not the author's word: from a step, or an odd file name."""

    value: Any
    quoted: bool = False

    @property
    def label(self) -> str:
        """The value as a short text for headings and progress."""
        return self.value if isinstance(self.value, str) else canonical(self.value)


def make(
    source: Workflow,
    task: str,
    given: Mapping[str, str],
    *,
    root: Path,
    settings: Settings,
    find_agent: Callable[[str], Agent],
    find_skills: Callable[[Agent, Step], tuple[Skill, ...]],
    warn: Callable[[str], None],
    files: Sequence[Document] = (),
    sample: int = 0,
    router: Router | None = None,
) -> Plan:
    """Return the plan for `source`, with models from `router`; raises UsageError for what is missing or wrong."""
    warned: set[str] = set()

    def warn_once(text: str) -> None:
        if text not in warned:
            warned.add(text)
            warn(text)

    agent = cache(find_agent)  # many steps share one file, which is read once
    if source.task and not (task.strip() or files):
        hint = f'give it in quotes, as in: claude-force run workflow {source.name} "…", or attach it with -f'
        raise UsageError(f"workflow '{source.name}' needs a task: {source.task}", hint=hint)
    inputs = _inputs(source, given)
    known = {"task": task, **{f"input.{name}": value for name, value in inputs.items()}}
    route = router and partial(router, known, sum(len(file.text) for file in files))
    jobs = {step.id: _job(step, settings, agent, find_skills, warn_once, route) for step in source.steps}
    plan = Plan(source, task, inputs, root, jobs, tuple(files), sample)
    attached = _material(plan, warn_once)
    items = {step.id: _known_items(plan, step) for step in source.steps}
    return replace(plan, jobs={i: replace(job, files=attached[i], items=items[i]) for i, job in jobs.items()})


def single(agent: str, **settings: Any) -> Workflow:
    """Return the workflow of one step that runs one agent; `settings` are those of a Step."""
    return Workflow(agent, (Step(agent, agent, **settings),), source="agent")


def files(plan: Plan, job: Job, item: Item | None = None) -> tuple[Document, ...]:
    """Return what one call attaches; raises ValidationError for a file that is missing, binary or unreadable."""
    if job.files is not None:
        return (*plan.files, *job.files)
    from . import material  # which few steps need

    return (*plan.files, *material.of_item(plan, job, item))


def lacks_files(job: Job) -> bool:
    """Say whether a step is to run for each file that fits a glob, and none does."""
    return job.items == () and isinstance(job.step.foreach, str)


def items(plan: Plan, step: Step, outcomes: Mapping[str, Outcome]) -> Sequence[Item] | None:
    """Return what `step` runs once for each of, or None if it runs once; raises ValidationError for bad JSON lines."""
    if step.foreach is None:
        return None
    if (known := plan.jobs[step.id].items) is not None:
        return known
    from ..answers import listing  # which few steps need

    name = sole_name(str(step.foreach)) or ""
    listed = listing.values(values.value_of(plan, name, outcomes, None), where="foreach", name=f"{{{{{name}}}}}")
    return [Item(value, quoted=True) for value in listed]


def request(
    plan: Plan,
    job: Job,
    outcomes: Mapping[str, Outcome],
    item: Item | None = None,
    attached: Sequence[Document] | None = None,
) -> Request:
    """Return the request of one call, with what earlier steps put out; reads its files unless they are `attached`.

    Raises UsageError for an empty task; ValidationError as `files` does, for an item that lacks what the task names,
    for a request above 32 MiB, and for a prompt far beyond what the model takes.
    """
    task, quotes = values.task(plan, job.step, outcomes, item)
    if attached is None:
        attached = files(plan, job, item)
    if attached or len(task) > _SURELY_SENT:
        from .. import attachments  # with `globs` a third of a millisecond

        attachments.check_size(attached, task)
    if not task.strip():
        raise UsageError("the task is empty", hint="say what to do: give the run a TASK, or the step its own task")
    built = prompt.build(
        job.agent,
        job.skills,
        task,
        model=job.model,
        max_tokens=job.max_tokens,
        effort=job.effort,
        schema=job.schema,
        files=attached,
        quotes=quotes,
        sample=plan.sample,
        marks=job.marks,
    )
    _check_context(built, job.model, attached)
    return built


def _check_context(request: Request, model: Model, attached: Sequence[Document]) -> None:
    """Raise ValidationError for a prompt far beyond what `model` takes; whether a smaller one fits, the API knows."""
    tokens = prompt.estimated_tokens(request)
    if tokens > _OVERESTIMATE * model.context_tokens:
        largest = max(attached, key=lambda file: len(file.text), default=None)
        about = f"; the largest file is {largest.name}" if largest else ""
        told = f"the prompt has far more than the {model.context_tokens:,} tokens that {model.id} takes{about}"
        raise ValidationError(told, hint="attach less, or split the work")


def check(plan: Plan) -> None:
    """Raise UsageError, naming the step, for a call that would be refused whatever is answered before it.

    What is read for items is not kept, since it may be more than memory holds: it is read again when it is sent.
    """
    from . import material  # which single agents need not

    for job in plan.jobs.values():
        before = {i: Outcome(i, "", "ok", output=f"(the output of step '{i}')") for i in values.sources(job.step)}
        with material.about(job.step):
            for item in _known_calls(plan, job):
                request(plan, job, before, item)


def _job(
    step: Step,
    settings: Settings,
    find_agent: Callable[[str], Agent],
    find_skills: Callable[[Agent, Step], tuple[Skill, ...]],
    warn: Callable[[str], None],
    route: Callable[[Agent, Step], Route] | None,
) -> Job:
    agent = find_agent(step.agent)
    routed = route(agent, step) if route else None
    asked = routed.model if routed else step.model or agent.model or settings.default_model
    model, warning = find(asked, prices=settings.prices)
    if warning:
        warn(warning)
    max_tokens = step.max_tokens or agent.max_tokens or min(DEFAULT_MAX_TOKENS, model.max_output_tokens)
    if max_tokens > model.max_output_tokens:
        raise UsageError(f"{model.id} writes at most {model.max_output_tokens:,} tokens, not {max_tokens:,}")
    effort = step.effort or agent.effort
    if effort and effort not in model.efforts:
        warn(f"{model.id} takes no effort '{effort}'; it is left out")
        effort = None
    schema = _on_the_wire(step.schema) if step.schema else None
    return Job(step, agent, find_skills(agent, step), model, max_tokens, effort, schema, routed)


def _on_the_wire(schema: str) -> str:
    from ..answers.schema import wire  # 1 ms that steps without a schema need not pay

    return canonical(wire(json.loads(schema)))


def _inputs(source: Workflow, given: Mapping[str, str]) -> dict[str, str]:
    known = [i.name for i in source.inputs] or _implied_inputs(source)
    for name in given:
        if name not in known:
            raise NotFound("input", name, known, where=f"workflow '{source.name}': ")
    found = {i.name: i.default for i in source.inputs if i.default is not None} | dict(given)
    for name in known:
        if name not in found:
            raise UsageError(f"workflow '{source.name}' needs input '{name}'", hint=f"give --input {name}=VALUE")
    return found


def _implied_inputs(source: Workflow) -> list[str]:
    if source.source == "agent":
        return []
    from ..workflow.definition import implied_inputs  # 1 ms that single agents need not pay

    return list(implied_inputs(source))


def _known_calls(plan: Plan, job: Job) -> Iterator[Item | None]:
    """Yield None for a step that runs once, or its items as far as they are known; without what its condition skips."""
    for item in (None,) if job.step.foreach is None else job.items or ():
        if not _is_ruled_out(plan, job.step, item):
            yield item


def _is_ruled_out(plan: Plan, step: Step, item: Item | None) -> bool:
    if step.when is None or "steps" in map(origin, names(step.when)):
        return False
    from ..workflow.conditions import holds  # which few steps need

    return not holds(step.when, lambda name: values.value_of(plan, name, {}, item))


def _material(plan: Plan, warn: Callable[[str], object]) -> Mapping[str, tuple[Document, ...] | None]:
    if not plan.files and not any(step.files for step in plan.workflow.steps):
        return dict.fromkeys(plan.jobs, ())
    from . import material  # which single agents mostly need not

    return material.of_steps(plan, warn)


def _known_items(plan: Plan, step: Step) -> tuple[Item, ...] | None:
    if step.foreach is None:
        return None
    if isinstance(step.foreach, tuple):
        return tuple(Item(value) for value in step.foreach)
    if step_of(sole_name(step.foreach) or ""):
        return None
    from .. import globs  # which few steps need

    found = globs.expand(plan.root, values.rendered(plan, step.foreach))
    return tuple(Item(name, quoted=not name.isprintable()) for name in found)
