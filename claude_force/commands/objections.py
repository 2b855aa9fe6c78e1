"""What would stop a run of an agent or a workflow, or be warned of in it, found without sending anything.

It does not know what is wrong with a file in itself.
"""

from __future__ import annotations

import re
from functools import cache, partial
from itertools import islice
from pathlib import Path

from ..errors import ForceError, UsageError
from ..frozen import dataclass, replace
from ..library import lookup
from ..library.sources import Problem
from ..records import Skill
from ..running import plan as plans
from ..workflow.definition import implied_inputs
from . import places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..library.lookup import Shelf
    from ..library.sources import Severity
    from ..project.workspace import Workspace
    from ..records import Agent, Workflow
    from .places import Page

    Objection = tuple[str, Severity, str, str]
    """About which step, how bad, what, and what to do."""

_MOST = 100
"""Objections to one workflow that are told: nobody reads more, and each may search all names there are."""


@dataclass(frozen=True)
class Subject:
    """Something to check; one without a place stands in `claude.json`."""

    kind: str
    name: str
    path: Path
    place: Shelf | None = None


@dataclass(frozen=True)
class Known:
    """What subjects are held against. Each of its files is read once, however many of them name it."""

    workspace: Workspace
    agent: Callable[[str], Agent]
    skill: Callable[[str], Skill]
    page: Callable[[Path], Page]


def objections(subjects: Sequence[Subject], workspace: Workspace) -> Iterator[Problem]:
    """Yield what speaks against running each of `subjects`."""
    read = cache(lookup.catalogue)
    agent, skill = cache(partial(workspace.agent, read=read)), cache(partial(workspace.skill, read=read))
    known = Known(workspace, agent, skill, cache(places.open_page))
    for subject in subjects:
        if subject.kind == "workflow":
            yield from _workflow(subject, known)
        elif subject.kind == "agent":
            yield from _agent(subject, known)


def _agent(subject: Subject, known: Known) -> Iterator[Problem]:
    def located(message: str, severity: Severity, remedy: str, field: str) -> Problem:
        if subject.place:
            pattern = rf"(?m)^{field.replace('_', '.')}\s*:"
            return _located(subject, message, severity, remedy, known, lambda page: places.of_pattern(page, pattern))
        keys = ("agents", subject.name, field)
        return _located(subject, message, severity, remedy, known, lambda page: places.of_key(page, keys))

    try:
        if place := subject.place:
            agent = lookup.read_agent(subject.path, place.source, boundary=place.boundary)
        else:
            agent = known.agent(subject.name)
    except UsageError as error:
        if place is None:  # what is wrong with a file itself is found by lint
            yield located(f"agent '{subject.name}': {error.message}", "error", error.hint, "path")
        return
    skill = _any_skill if place else known.skill  # those that a file names, lint has looked at
    alone = replace(known, agent=lambda _: agent, skill=skill)
    for _, severity, message, remedy in _objections(plans.single(subject.name), alone):
        field = next((field for word, field in _FIELDS.items() if word in message), "model")
        yield located(message, severity, remedy, field)


_FIELDS = {"effort": "effort", "tokens": "max_tokens", "skill": "skills"}
"""By a word of an objection, the field of an agent that it is about."""


def _any_skill(name: str) -> Skill:
    return Skill(name, "", "")


def _workflow(subject: Subject, known: Known) -> Iterator[Problem]:
    def located(message: str, severity: Severity, remedy: str, step: str | None = None) -> Problem:
        if step is None and subject.place is None:
            keys = ("workflows", subject.name)
            return _located(subject, message, severity, remedy, known, lambda page: places.of_key(page, keys))
        words = [first or second for first, second in reversed(_QUOTED.findall(message))]
        return _located(subject, message, severity, remedy, known, lambda page: places.of_words(page, words, step))

    try:
        if place := subject.place:
            lookup.read_workflow(subject.path, place.source, boundary=place.boundary)
        source, wrong = known.workspace.examine(str(subject.path) if place else subject.name)
    except UsageError as error:
        yield located(error.message, "error", error.hint)
        return
    yield from (located(error.message, "error", error.hint, error.step) for error in wrong)
    found = _objections(source, known)
    for step, severity, message, remedy in islice(found, _MOST):
        yield located(f"step '{step}': {message}", severity, remedy, step)
    if next(found, None):
        yield located("there is more to mend than is told here", "note", "begin with these")


def _objections(source: Workflow, known: Known) -> Iterator[Objection]:
    """Yield what speaks against each step that cannot be planned as it stands.

    A step is planned without its files, which are known when it runs, and without the inputs that it does not use.
    """
    for step in source.steps:
        alone = replace(source, inputs=(), steps=(replace(step, files=(), dependencies=()),))
        warnings: list[str] = []
        try:
            plans.make(
                alone,
                "a task",
                dict.fromkeys(implied_inputs(alone), "a value"),
                root=known.workspace.root,
                settings=known.workspace.settings,
                find_agent=known.agent,
                find_skills=lambda agent, step: tuple(map(known.skill, (*agent.skills, *step.skills))),
                warn=warnings.append,
            )
        except ForceError as error:
            yield step.id, "error", error.message, error.hint
        yield from ((step.id, "warning", warning, "") for warning in warnings)


def _located(
    subject: Subject, message: str, severity: Severity, remedy: str, known: Known, find: Callable[[Page], int]
) -> Problem:
    """Return the problem that `message` tells of, on the line that it names, or else where `find` finds it."""
    message = message.removeprefix(f"{subject.path}:").removeprefix("config:").strip()
    if place := re.match(r"(\d+): ", message):
        return Problem(subject.path, int(place[1]), severity, message[place.end() :], remedy or "correct that line")
    page = known.page(subject.path)
    return Problem(subject.path, places.line(page, find(page)), severity, message, remedy or "correct it there")


_QUOTED = re.compile(r"'([^']+)'|(effort|tokens|claude-[\w-]+)")
"""Words of a message that its file may hold too."""
