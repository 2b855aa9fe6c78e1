"""A plan as data and back: what a journal needs so that the run can be played again without the project it was of.

Every free text goes by its digest, so that a journal holds it once, and without secrets.
"""

from __future__ import annotations

from json import loads
from pathlib import Path

from ..answers.schema import wire
from ..errors import NotFound, ValidationError
from ..frozen import fields, replace
from ..models import Model, all_models
from ..records import Agent, Document, Skill, Step, Workflow, canonical
from ..stores.transcript import keeping, plan_files
from .material import own_inputs
from .plan import Item, Job, Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from ..stores.transcript import Entry, Session, Transcript

    Named = Callable[[str], str]
    """Keeps a text and returns its digest."""

_TEXTS = ("task", "when", "schema")
"""Fields of a step that are free text."""


def of_plan(plan: Plan) -> tuple[Entry, dict[str, str]]:
    """Return `plan` as data, and by digest the texts that it names."""
    texts: dict[str, str] = {}
    named = keeping(texts)
    source = plan.workflow
    agents = {job.agent.name: job.agent for job in plan.jobs.values()}
    skills = {skill.name: skill for job in plan.jobs.values() for skill in job.skills}
    facts = {
        "workflow": {"name": source.name, "source": source.source, "path": source.path and str(source.path.absolute())},
        "task": named(plan.task),
        "inputs": {name: named(value) for name, value in plan.inputs.items()},
        "given": own_inputs(plan),
        "sample": plan.sample,
        "files": _named_files(plan.files, named),
        "agents": {name: _agent_facts(agent, named) for name, agent in agents.items()},
        "skills": {name: named(skill.body) for name, skill in skills.items()},
        "steps": [_step_facts(step, named) | _job_facts(plan.jobs[step.id], named) for step in source.steps],
    }
    return facts, texts


def plan_of(transcript: Transcript) -> Plan:
    """Return the plan that a run followed last; raises ValidationError if its journal does not hold all of it."""
    try:
        session = transcript.sessions[-1]
        return _plan(session, transcript)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValidationError(
            f"the journal of run {transcript.run_id} is not complete: {error}", hint="this run cannot be replayed"
        ) from None


def swapped(plan: Plan, models: Mapping[str, Model]) -> Plan:
    """Return `plan` with other models: by step, or for all steps under the name ''. Raises NotFound for a step."""
    for step_id in models:
        if step_id and step_id not in plan.jobs:
            raise NotFound("step", step_id, plan.jobs)
    jobs = {i: _with_model(job, models.get(i, models.get("", job.model))) for i, job in plan.jobs.items()}
    return replace(plan, jobs=jobs)


def _with_model(job: Job, model: Model) -> Job:
    effort = job.effort if job.effort in model.efforts else None
    return replace(job, model=model, effort=effort, max_tokens=min(job.max_tokens, model.max_output_tokens))


def _named_files(files: Iterable[Document], named: Named) -> dict[str, str]:
    return {document.name: named(document.text) for document in files}


def _agent_facts(agent: Agent, named: Named) -> Entry:
    return {"prompt": named(agent.prompt), "source": agent.source, "path": agent.path and str(agent.path)}


def _step_facts(step: Step, named: Named) -> Entry:
    facts: Entry = {f.name: value for f in fields(step) if (value := getattr(step, f.name)) != f.default}
    facts |= {name: named(facts[name]) for name in _TEXTS if name in facts}
    if isinstance(step.foreach, tuple):
        facts["foreach"] = [named(canonical(value)) for value in step.foreach]
    return facts


def _job_facts(job: Job, named: Named) -> Entry:
    facts: Entry = {
        "model": job.model.id,
        "max_tokens": job.max_tokens,
        "effort": job.effort,
        "skills": [skill.name for skill in job.skills],
        "files": None if job.files is None else _named_files(job.files, named),
    }
    if job.route and not job.step.model:
        facts["routed_from"] = job.agent.model or ""
    if job.items is not None and isinstance(job.step.foreach, str):
        facts["items"] = [[named(item.label), item.quoted] for item in job.items]
    return {"job": facts}


def _plan(session: Session, transcript: Transcript) -> Plan:
    facts, texts = session.plan, transcript.texts
    steps = {entry["id"]: _step(entry, texts) for entry in facts["steps"]}
    told = facts["workflow"]
    path = Path(told["path"]) if told["path"] else None
    agents = {name: Agent(name, "", texts[a["prompt"]], source=a["source"]) for name, a in facts["agents"].items()}
    skills = {name: Skill(name, "", texts[body]) for name, body in facts["skills"].items()}
    lines = [line for before in transcript.sessions for line in before.steps]
    jobs = {}
    for entry in facts["steps"]:
        step = steps[entry["id"]]
        job = _job(step, entry["job"], agents[step.agent], skills, texts)
        by_item = None if job.files is not None else _by_item(plan_files(lines, step.id), texts)
        jobs[step.id] = replace(job, member_files=by_item)
    return Plan(
        workflow=Workflow(told["name"], tuple(steps.values()), source=told["source"], path=path),
        task=texts[facts["task"]],
        inputs={name: texts[value] for name, value in facts["inputs"].items()},
        root=Path(),
        jobs=jobs,
        files=_documents(facts["files"], texts),
        sample=facts["sample"],
    )


def _step(entry: Entry, texts: Mapping[str, str]) -> Step:
    facts: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in entry.items() if name != "job"}
    facts |= {name: texts[facts[name]] for name in _TEXTS if name in facts}
    if isinstance(facts.get("foreach"), tuple):
        facts["foreach"] = tuple(loads(texts[value]) for value in facts["foreach"])
    return Step(**facts)


def _job(step: Step, facts: Entry, agent: Agent, skills: Mapping[str, Skill], texts: Mapping[str, str]) -> Job:
    items = tuple(Item(texts[label], quoted) for label, quoted in facts["items"]) if "items" in facts else None
    if isinstance(step.foreach, tuple):
        items = tuple(Item(value) for value in step.foreach)
    return Job(
        step=step,
        agent=agent,
        skills=tuple(skills[name] for name in facts["skills"]),
        model=next((m for m in all_models() if m.id == facts["model"]), Model(facts["model"], known=False)),
        max_tokens=facts["max_tokens"],
        effort=facts["effort"],
        schema=canonical(wire(loads(step.schema))) if step.schema else None,
        files=None if facts["files"] is None else _documents(facts["files"], texts),
        items=items,
    )


def _documents(files: Mapping[str, str], texts: Mapping[str, str]) -> tuple[Document, ...]:
    return tuple(Document(name, texts[text]) for name, text in files.items())


def _by_item(files: Mapping[str, Mapping[str, str]], texts: Mapping[str, str]) -> dict[str, tuple[Document, ...]]:
    return {texts[item]: _documents(attached, texts) for item, attached in files.items()}
