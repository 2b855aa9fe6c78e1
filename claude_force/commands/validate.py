"""`validate`: all that is wrong with agents, skills, workflows and settings, found without sending anything."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

from .. import config, library, lint, models, sources
from .. import plan as plans
from ..errors import ConfigError, ForceError, NotFound, UsageError
from ..frozen import dataclass, replace
from ..output import Screen
from ..records import Result, Skill
from ..reports.table import plural
from ..sources import Problem
from ..workflow import implied_inputs
from ..workspace import Workspace
from .wrong_steps import STEP, wrong_steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from ..library import Shelf
    from ..records import Agent, Workflow
    from ..sources import Severity

_KINDS = ("agent", "skill", "workflow")


@dataclass(frozen=True)
class Subject:
    """Something to check; one without a place stands in `claude.json`."""

    kind: str
    name: str
    path: Path
    place: Shelf | None = None


def validate_options(parser: ArgumentParser) -> None:
    """Add the options of `validate`."""
    parser.add_argument("names", metavar="NAME_OR_PATH", nargs="*", help="what to check (the whole library)")
    strict = "warnings fail too, and skills must keep to the Agent Skills specification"
    parser.add_argument("--strict", action="store_true", help=strict)


def validate(args: Namespace, workspace: Workspace) -> Result:
    """Check the library and the settings; exit 2 if something is wrong."""
    # All that this second workspace would warn of is found here as a problem, so nobody sees its screen.
    silent = Screen(stderr=io.StringIO())
    environment = workspace.environment
    with Workspace(screen=silent, config=args.config, start=workspace.root, environment=environment) as quiet:
        found = list(_settings(quiet, args.config))
        usable = not any(problem.severity == "error" for problem in found)
        subjects = _chosen(args.names, _everything(quiet, configured=usable))
        found += _linted(subjects, quiet, strict=args.strict)
        if usable:
            found += _default_model(quiet, args.config)
            found += [problem for subject in subjects for problem in _planned(subject, quiet)]
        checked = {f"{kind}s": sum(subject.kind == kind for subject in subjects) for kind in _KINDS}
        checked["settings"] = len(_settings_files(quiet, args.config))
    return _report(found, checked, strict=args.strict)


def _report(found: Sequence[Problem], checked: dict[str, int], *, strict: bool) -> Result:
    found = sorted(set(found), key=lambda p: (str(p.path), p.line, p.message))
    counts = {s: sum(problem.severity == s for problem in found) for s in ("error", "warning", "note")}
    failed = bool(counts["error"] or (strict and counts["warning"]))
    problems = [{**vars(problem), "path": str(problem.path)} for problem in found]
    data = {"schema_version": 1, "success": not failed, "problems": problems, "checked": checked}
    lines = [f"{_shown(p.path)}:{p.line}: {p.severity}: {p.message}; {p.remedy}" for p in found]
    things = ", ".join(
        plural(count, thing.removesuffix("s")) for thing, count in checked.items() if thing != "settings"
    )
    lines.append(f"checked {things}: {', '.join(plural(count, severity) for severity, count in counts.items())}")
    return Result(data, "\n".join(lines), exit_code=2 if failed else 0)


def _shown(path: Path) -> str:
    """Return the path as one would type it here."""
    here = os.getcwd()
    return os.path.relpath(path, here) if path.is_relative_to(here) else str(path)


def _everything(workspace: Workspace, *, configured: bool) -> list[Subject]:
    """Return all of the library; what stands in `claude.json` too, if that can be read."""
    found = [
        Subject(kind, name, path, place)
        for place in workspace.shelves
        for kind in ("agent", "skill")
        for name, path, _ in library.scan(kind, place)
    ]
    for place in workspace.shelves:
        found += [Subject("workflow", p.stem, p, place) for p in sources.workflow_files(place.workflows)]
    if configured:
        settings = workspace.settings
        found += [Subject("agent", name, _origin(workspace, f"agents.{name}.")) for name in settings.agents]
        found += [Subject("workflow", name, _origin(workspace, f"workflows.{name}.")) for name in settings.workflows]
    return found


def _origin(workspace: Workspace, prefix: str) -> Path:
    """Return the file that holds a key which begins so."""
    origins = workspace.settings.origins
    return Path(next((origin for key, origin in origins.items() if key.startswith(prefix)), "claude.json"))


def _chosen(names: Sequence[str], known: Sequence[Subject]) -> list[Subject]:
    """Return the subjects that `names` mean, all of them if there are no names; raises UsageError."""
    if not names:
        return list(known)
    chosen: list[Subject] = []
    for name in names:
        if os.sep in name or name.endswith((".md", ".toml", ".json")):
            chosen += _at(Path(name), known)
            continue
        meant = [subject for subject in known if library.fold(subject.name) == library.fold(name)]
        if not meant:
            raise NotFound("agent, skill or workflow", name, {subject.name for subject in known})
        chosen += meant
    return chosen


def _at(path: Path, known: Sequence[Subject]) -> list[Subject]:
    path = Path(os.path.abspath(path / "SKILL.md" if path.is_dir() else path))
    if not path.is_file():
        raise UsageError(f"{path}: no such file", hint="name a file, or the directory of a skill")
    if path.name == "claude.json":
        return []  # settings are always checked
    if listed := [subject for subject in known if subject.place and subject.path == path]:
        return listed
    nowhere = path.parent / ".none"
    if path.suffix in {".toml", ".json"}:
        return [Subject("workflow", path.stem, path, library.Shelf("path", nowhere, nowhere, path.parent))]
    if path.name == "SKILL.md":
        shelf = library.Shelf("path", nowhere, path.parent.parent, nowhere)
        return [Subject("skill", path.parent.name, path, shelf)]
    return [Subject("agent", path.stem, path, library.Shelf("path", path.parent, nowhere, nowhere))]


def _settings_files(workspace: Workspace, chosen: str | None) -> list[Path]:
    files = [workspace.home / "claude.json", Path(chosen) if chosen else workspace.state / "claude.json"]
    return [path for path in dict.fromkeys(files) if path.is_file()]


def _settings(workspace: Workspace, chosen: str | None) -> Iterator[Problem]:
    """Yield what is wrong with `claude.json` and the environment's settings."""
    files = _settings_files(workspace, chosen)
    user = workspace.home / "claude.json"
    project = next((path for path in files if path != user), None)
    try:
        _, warnings = config.load(user=user, project=project, environment=workspace.environment, flags={})
    except ConfigError as error:
        yield _setting(error.message, files, "error", error.hint or "correct that value")
        yield Problem(
            user if not files else files[-1], 1, "note", "models and workflows were not checked", "mend it first"
        )
    else:
        yield from (_setting(warning, files, "warning", "correct or remove the key") for warning in warnings)


def _default_model(workspace: Workspace, chosen: str | None) -> Iterator[Problem]:
    """Yield what is wrong with the model that holds where nothing names another."""
    settings, files = workspace.settings, _settings_files(workspace, chosen)
    where = f"{settings.origins['default_model']}: default_model"
    try:
        _, warning = models.find(settings.default_model, prices=settings.prices)
    except NotFound as error:
        yield _setting(f"{where}: {error.message}", files, "error", error.hint)
    else:
        if warning:
            yield _setting(f"{where}: {warning}", files, "warning", "see: claude-force list models")


def _setting(message: str, files: Sequence[Path], severity: Severity, remedy: str) -> Problem:
    path = next((path for path in files if message.startswith(f"{path}:")), Path("environment"))
    rest = message.removeprefix(f"{path}:").strip()
    if place := re.match(r"(\d+):\d+: ", rest):
        return Problem(path, int(place[1]), severity, rest[place.end() :], remedy)
    at = 0
    text = _text(path)
    for key in rest.partition(": ")[0].split("."):
        found = re.compile(rf'"{re.escape(key.strip(chr(34)))}"\s*:').search(text, at)
        at = found.start() if found else at
    return Problem(path, _line(text, at), severity, rest, remedy)


def _linted(subjects: Sequence[Subject], workspace: Workspace, *, strict: bool) -> list[Problem]:
    """Return what is wrong with the files of agents and skills, each by itself; notes only on the user's own."""
    shelves = list(dict.fromkeys([*workspace.shelves, *(s.place for s in subjects if s.place)]))
    paths = {kind: {s.path for s in subjects if s.kind == kind and s.place} for kind in _KINDS}
    agents = [problem for problem in lint.check_agents(shelves) if problem.path in paths["agent"]]
    skills = [problem for problem in lint.check_skills(shelves, strict=strict) if problem.path in paths["skill"]]
    bundled = {s.path for s in subjects if s.place and s.place.source == "bundled"}
    return [p for p in agents + skills if p.severity != "note" or p.path not in bundled]


def _planned(subject: Subject, workspace: Workspace) -> Iterator[Problem]:
    """Yield what would stop a run, or be warned of in it, before anything is sent."""
    if subject.kind == "workflow":
        yield from _workflow(subject, workspace)
    elif subject.kind == "agent":
        yield from _agent(subject, workspace)


def _agent(subject: Subject, workspace: Workspace) -> Iterator[Problem]:
    place = subject.place
    try:
        if place is None:
            agent = workspace.agent(subject.name)
        else:
            agent = library.read_agent(subject.path, place.source, boundary=place.boundary)
    except UsageError as error:
        if place is None:
            yield _located(subject.path, f"agent '{subject.name}': {error.message}", "error", error.hint)
        return  # what is wrong with the file itself is found by lint
    find_skill = workspace.skill if place is None else _any_skill
    source = plans.single(subject.name)
    for severity, message, remedy in _objections(source, workspace, lambda _: agent, find_skill):
        words = message.partition(": ")[2]  # an agent alone is a workflow of one step, whose name says nothing here
        field = next((field for field in ("effort", "max.tokens") if field[-6:] in words), "model")
        yield _located(subject.path, words, severity, remedy, mark=rf"(?m)^{field}\s*:" if place else "")


def _any_skill(name: str) -> Skill:
    """Stand for a skill whose existence lint has looked at."""
    return Skill(name, "", "")


def _workflow(subject: Subject, workspace: Workspace) -> Iterator[Problem]:
    data: Mapping[str, Any] = {}
    try:
        if place := subject.place:
            data = library.read_workflow(subject.path, place.source, boundary=place.boundary).data
        else:
            data = workspace.settings.workflows[subject.name]
        source = workspace.workflow(str(subject.path) if place else subject.name)
    except UsageError as error:
        yield _located(subject.path, error.message, "error", error.hint)
        if not data:
            return
        wrong, rest = wrong_steps(subject.name, data, subject.path if place else None)
        yield from (_located(subject.path, other.message, "error", other.hint) for other in wrong)
        if rest is None:
            return
        source = rest
    for severity, message, remedy in _objections(source, workspace, workspace.agent, workspace.skill):
        yield _located(subject.path, message, severity, remedy)


def _objections(
    source: Workflow, workspace: Workspace, find_agent: Callable[[str], Agent], find_skill: Callable[[str], Skill]
) -> Iterator[tuple[Severity, str, str]]:
    """Yield severity, message and remedy for each step that cannot be planned as it stands.

    A step is planned without its files: which there are is known when it runs.
    """
    for step in source.steps:
        alone = replace(source, steps=(replace(step, files=(), dependencies=()),))
        names = [i.name for i in source.inputs] or implied_inputs(alone)
        warnings: list[str] = []
        try:
            plans.make(
                alone,
                "a task",
                dict.fromkeys(names, "a value"),
                root=workspace.root,
                settings=workspace.settings,
                find_agent=find_agent,
                find_skills=lambda agent, step: tuple(map(find_skill, (*agent.skills, *step.skills))),
                warn=warnings.append,
            )
        except ForceError as error:
            yield "error", f"step '{step.id}': {error.message}", error.hint
        yield from (("warning", f"step '{step.id}': {warning}", "") for warning in warnings)


def _located(path: Path, message: str, severity: Severity, remedy: str, *, mark: str = "") -> Problem:
    """Return the problem that `message` tells of, on the line that it names, that `mark` fits, or that it means."""
    message = message.removeprefix(f"{path}:").removeprefix("config:").strip()
    if place := re.match(r"(\d+): ", message):
        return Problem(path, int(place[1]), severity, message[place.end() :], remedy or "correct that line")
    text = _text(path)
    at = _start_of_step(text, message)
    words = [first or second for first, second in re.findall(r"'([^']+)'|(effort|tokens|claude-[\w-]+)", message)]
    marks = [mark] if mark else [rf"(?<![\w-]){re.escape(word)}(?![\w-])" for word in reversed(words)]
    found = next((found for mark in marks if (found := re.compile(mark).search(text, at))), None)
    return Problem(path, _line(text, found.start() if found else at), severity, message, remedy or "correct it there")


def _start_of_step(text: str, message: str) -> int:
    named = STEP.search(message) or re.search(r"cycle: (\S+)", message)
    if not named:
        return 0
    found = re.search(rf"""\bid["']?\s*[=:]\s*["']{re.escape(named[1])}["']""", text)
    return found.start() if found else 0


def _text(path: Path) -> str:
    text = sources.read_text(path)
    return text if isinstance(text, str) else ""


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
