"""`validate`: all that is wrong with agents, skills, workflows and settings, found without sending anything."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

from .. import models
from ..errors import ConfigError, NotFound, UsageError
from ..frozen import replace
from ..library import lint, lookup, sources
from ..library.sources import Problem
from ..project.workspace import Workspace
from ..records import Result
from ..reports.table import one_line, plural
from ..settings import config
from ..settings.rules import dotted
from ..terminal.output import Screen
from . import places
from .objections import Subject, objections

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator, Mapping, Sequence

    from ..library.sources import Severity
    from .places import Page

_KINDS = ("agent", "skill", "workflow")
_SEVERITIES = ("error", "warning", "note")


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
        pages = {path: places.open_page(path) for path in _settings_files(quiet, args.config)}
        found = list(_settings(quiet, pages))
        usable = not any(problem.severity == "error" for problem in found)
        subjects = _chosen(args.names, _everything(quiet, configured=usable))
        found += _linted(subjects, quiet, strict=args.strict)
        if usable:
            found += _default_model(quiet, pages)
            found += objections(subjects, quiet)
        checked = {f"{kind}s": sum(subject.kind == kind for subject in subjects) for kind in _KINDS}
        checked["settings"] = len(pages)
    return _report(found, checked, strict=args.strict)


def _report(found: Sequence[Problem], checked: dict[str, int], *, strict: bool) -> Result:
    found = sorted(set(found), key=lambda p: (str(p.path), p.line, _SEVERITIES.index(p.severity), p.message))
    counts = {s: sum(problem.severity == s for problem in found) for s in _SEVERITIES}
    failed = bool(counts["error"] or (strict and counts["warning"]))
    problems = [{**vars(problem), "path": str(problem.path)} for problem in found]
    data = {"schema_version": 1, "success": not failed, "problems": problems, "checked": checked}
    lines = [one_line(f"{_shown(p.path)}:{p.line}: {p.severity}: {p.message}; {p.remedy}") for p in found]
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
        for name, path, _ in lookup.scan(kind, place)
    ]
    for place in workspace.shelves:
        found += [Subject("workflow", p.stem, p, place) for p in sources.workflow_files(place.workflows)]
    if configured:
        settings = workspace.settings
        for name, entry in settings.agents.items():
            found.append(Subject("agent", name, _origin(workspace, "agents", name, entry)))
        for name, entry in settings.workflows.items():
            found.append(Subject("workflow", name, _origin(workspace, "workflows", name, entry)))
    return found


def _origin(workspace: Workspace, section: str, name: str, entry: Mapping[str, object]) -> Path:
    """Return the file that the settings have `entry` from."""
    keys = (dotted((section, name, key)) for key in entry)
    origins = workspace.settings.origins
    return Path(next((origins[key] for key in keys if key in origins), "claude.json"))


def _chosen(names: Sequence[str], known: Sequence[Subject]) -> list[Subject]:
    """Return the subjects that `names` mean, all of them if there are no names; raises UsageError."""
    if not names:
        return list(known)
    by_name: dict[str, list[Subject]] = {}
    by_path: dict[Path, list[Subject]] = {}
    for subject in known:
        by_name.setdefault(lookup.fold(subject.name), []).append(subject)
        if subject.place:
            by_path.setdefault(subject.path, []).append(subject)
    chosen: list[Subject] = []
    for name in names:
        if os.sep in name or name.endswith((".md", ".toml", ".json")):
            chosen += _at(Path(name), by_path)
        elif meant := by_name.get(lookup.fold(name)):
            chosen += meant
        else:
            raise NotFound("agent, skill or workflow", name, {subject.name for subject in known})
    return chosen


def _at(path: Path, known: Mapping[Path, Sequence[Subject]]) -> Sequence[Subject]:
    path = Path(os.path.abspath(path / "SKILL.md" if path.is_dir() else path))
    if not path.is_file():
        raise UsageError(f"{path}: no such file", hint="name a file, or the directory of a skill")
    if path.name == "claude.json":
        return []  # settings are always checked
    if path in known:
        return known[path]
    nowhere = path.parent / ".none"
    if path.suffix in {".toml", ".json"}:
        return [Subject("workflow", path.stem, path, lookup.Shelf("path", nowhere, nowhere, path.parent))]
    if path.name == "SKILL.md":
        shelf = lookup.Shelf("path", nowhere, path.parent.parent, nowhere)
        return [Subject("skill", path.parent.name, path, shelf)]
    return [Subject("agent", path.stem, path, lookup.Shelf("path", path.parent, nowhere, nowhere))]


def _settings_files(workspace: Workspace, chosen: str | None) -> list[Path]:
    files = [workspace.home / "claude.json", Path(chosen) if chosen else workspace.state / "claude.json"]
    return [path for path in dict.fromkeys(files) if os.path.lexists(path)]


def _settings(workspace: Workspace, pages: Mapping[Path, Page]) -> Iterator[Problem]:
    """Yield what is wrong with `claude.json` and the environment's settings."""
    user = workspace.home / "claude.json"
    project = next((path for path in pages if path != user), None)
    try:
        _, warnings = config.load(user=user, project=project, environment=workspace.environment)
    except ConfigError as error:
        wrong = _setting(error.message, pages, "error", error.hint or "correct that value")
        told = "models and workflows were not checked"
        yield from (wrong, replace(wrong, severity="note", message=told, remedy="mend it first"))
    else:
        for warning in warnings:
            told, _, guess = warning.partition("; did you mean ")
            remedy = f"did you mean {guess}" if guess else "correct or remove the key"
            yield _setting(told, pages, "warning", remedy)


def _default_model(workspace: Workspace, pages: Mapping[Path, Page]) -> Iterator[Problem]:
    """Yield what is wrong with the model that holds where nothing names another."""
    settings = workspace.settings
    where = f"{settings.origins['default_model']}: default_model"
    try:
        _, warning = models.find(settings.default_model, prices=settings.prices)
    except NotFound as error:
        yield _setting(f"{where}: {error.message}", pages, "error", error.hint)
    else:
        if warning:
            yield _setting(f"{where}: {warning}", pages, "warning", "see: claude-force list models")


def _setting(message: str, pages: Mapping[Path, Page], severity: Severity, remedy: str) -> Problem:
    path = next((path for path in pages if message.startswith(f"{path}:")), None)
    if path is None:
        return Problem(Path("environment"), 1, severity, message, remedy)
    rest = message.removeprefix(f"{path}:").strip()
    if place := re.match(r"(\d+):\d+: ", rest):
        return Problem(path, int(place[1]), severity, rest[place.end() :], remedy)
    keys = (key.strip('"') for key in rest.partition(": ")[0].split("."))
    return Problem(path, places.line(pages[path], places.of_key(pages[path], keys)), severity, rest, remedy)


def _linted(subjects: Sequence[Subject], workspace: Workspace, *, strict: bool) -> list[Problem]:
    """Return what is wrong with the files of agents and skills, each by itself; notes only on the user's own."""
    shelves = list(dict.fromkeys([*workspace.shelves, *(s.place for s in subjects if s.place)]))
    paths = {kind: {s.path for s in subjects if s.kind == kind and s.place} for kind in _KINDS}
    agents = [problem for problem in lint.check_agents(shelves) if problem.path in paths["agent"]]
    skills = [problem for problem in lint.check_skills(shelves, strict=strict) if problem.path in paths["skill"]]
    bundled = {s.path for s in subjects if s.place and s.place.source == "bundled"}
    return [p for p in agents + skills if p.severity != "note" or p.path not in bundled]
