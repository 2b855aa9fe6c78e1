"""Agents, skills and workflow files: found by name on shelves, the nearest first, and read.

A shelf is a set of directories that may not exist. A file that cannot be used never stops a search for another one:
it goes to `warn`, a function that takes one line of text and by default issues a Python warning. A file of a shelf
with a boundary is not read if it leads out of it. What a workflow's steps mean is not known here, nor what a setting
changes about an agent.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import NotFound, ValidationError
from ..frozen import dataclass
from ..records import EFFORTS, Agent, Skill
from .markdown import UNCLOSED, Document, as_int, as_list
from .sources import Problem, agent_files, error, read_data, read_document, skill_files, workflow_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, Literal

    Kind = Literal["agent", "skill"]
    Warn = Callable[[str], None]
    Entry = tuple[Path, "Shelf", Document | Problem]
    Read = Callable[[Kind, "Shelf", Warn], dict[str, Entry]]

AGENT_FIELDS = ("name", "description", "model", "effort", "skills", "domains", "max_tokens", "max-tokens")
"""The fields of an agent's file that have an effect here."""


@dataclass(frozen=True)
class Shelf:
    """Directories of one source; no file is read whose resolved path lies outside `boundary`, if that is given."""

    source: str
    agents: Path
    skills: Path
    workflows: Path
    boundary: Path | None = None


@dataclass(frozen=True)
class WorkflowFile:
    """A workflow as its file has it, not yet understood."""

    name: str
    data: dict[str, Any]
    source: str
    path: Path


def _warn(text: str) -> None:
    from warnings import warn

    warn(text, stacklevel=3)


def shelf(source: str, root: Path, *, boundary: Path | None = None) -> Shelf:
    """Return the shelf of the directories `agents`, `skills` and `workflows` in `root`."""
    return Shelf(source, root / "agents", root / "skills", root / "workflows", boundary)


def bundled_shelf() -> Shelf:
    """Return the shelf that ships with the package; in a checkout its agents and skills lie beside the package."""
    data = Path(__file__).resolve().parent.parent / "data"
    root = data if (data / "agents").is_dir() else data.parent.parent
    return Shelf("bundled", root / "agents", root / "skills", data / "workflows")


def catalogue(kind: Kind, place: Shelf, warn: Warn) -> dict[str, Entry]:
    """Read one shelf. Of two with one name the file that is called so comes first, and then the first path."""
    found: dict[str, Entry] = {}
    for name, path, document in scan(kind, place):
        if isinstance(document, Problem):
            warn(str(document))
        if name not in found:
            found[name] = path, place, document
            continue
        kept, other = found[name][0], path
        if path == _place(kind, place, name):
            kept, other = other, kept
            found[name] = path, place, document
        warn(_shadowed(other, kept, name))
    return found


def find_agent(shelves: Sequence[Shelf], name: str, *, warn: Warn = _warn, read: Read = catalogue) -> Agent:
    """Return the agent called `name`, or what the name means without regard to case, spaces and underscores.

    Who looks up many gives a `read` that reads each shelf once, as `cache(catalogue)` does. Raises NotFound, and
    ValidationError if its file cannot be used.
    """
    path, place, document = _find("agent", shelves, name, warn, read)
    return _agent(path, place.source, _sound(document))


def find_skill(shelves: Sequence[Shelf], name: str, *, warn: Warn = _warn, read: Read = catalogue) -> Skill:
    """Return the skill called `name`, as `find_agent` does."""
    path, place, document = _find("skill", shelves, name, warn, read)
    return _skill(path, place.source, _sound(document))


def find_workflow(shelves: Sequence[Shelf], name: str, *, warn: Warn = _warn) -> WorkflowFile:
    """Return the workflow file called `name`, as `find_agent` does; its name is that of the file."""
    files = _workflow_files(shelves, warn)
    path, place = files[_match("workflow", name, files)]
    return read_workflow(path, place.source, boundary=place.boundary)


def list_agents(shelves: Sequence[Shelf], *, warn: Warn = _warn) -> tuple[Agent, ...]:
    """Return all agents by name, the nearest of each name; files that cannot be used go to `warn`."""
    return tuple(_agent(*found) for found in _usable("agent", shelves, warn))


def list_skills(shelves: Sequence[Shelf], *, warn: Warn = _warn) -> tuple[Skill, ...]:
    """Return all skills by name, as `list_agents` does."""
    return tuple(_skill(*found) for found in _usable("skill", shelves, warn))


def list_workflows(shelves: Sequence[Shelf], *, warn: Warn = _warn) -> tuple[WorkflowFile, ...]:
    """Return all workflow files by name, as `list_agents` does."""
    found = []
    for _, (path, place) in sorted(_workflow_files(shelves, warn).items()):
        try:
            found.append(read_workflow(path, place.source, boundary=place.boundary))
        except ValidationError as refused:
            warn(f"{refused.message}; {refused.hint}")
    return tuple(found)


def read_agent(path: Path, source: str, *, name: str | None = None, boundary: Path | None = None) -> Agent:
    """Return the agent in the file at `path`, called `name` whatever the file says; raises ValidationError."""
    return _agent(path, source, _sound(read_document(path, boundary)), name)


def read_workflow(path: Path, source: str, *, boundary: Path | None = None) -> WorkflowFile:
    """Return the content of the TOML or JSON file at `path`; raises ValidationError with the parser's words."""
    data = read_data(path, boundary)
    if isinstance(data, Problem):
        raise _invalid(data)
    return WorkflowFile(path.stem, data, source, path)


def scan(kind: Kind, place: Shelf) -> Iterator[tuple[str, Path, Document | Problem]]:
    """Read each agent's or skill's file on one shelf once: its name, path, and text or what is wrong with it."""
    found = agent_files(place.agents, place.boundary) if kind == "agent" else skill_files(place.skills)
    for path in sorted(found):
        document = read_document(path, place.boundary)
        if name := _name(kind, path, document):
            yield name, path, document


def fold(name: str) -> str:
    """Return what is the same for two spellings of one name: case, spaces and underscores do not count."""
    return "-".join(name.replace("_", " ").split()).casefold()


def setting(document: Document, *names: str) -> str:
    """Return in one line the first of the fields `names` that has a value, or nothing."""
    for name in names:
        value = document.fields.get(name, "")
        if text := " ".join((value if isinstance(value, str) else ", ".join(value)).split()):
            return text
    return ""


def faults(kind: Kind, path: Path, document: Document) -> Iterator[Problem]:
    """Yield the errors for which a file that could be read is refused."""
    if not document.body.strip():
        unclosed = [line for line, message in document.problems if message == UNCLOSED]
        if unclosed:
            yield error(path, unclosed[0], UNCLOSED, "add that line below the last field")
        else:
            yield error(path, document.body_line, f"the {kind} has no instructions", "write them below the fields")
    if kind == "agent":
        yield from _bad_effort(path, document)
        yield from _bad_limit(path, document)


def _bad_effort(path: Path, document: Document) -> Iterator[Problem]:
    effort = setting(document, "effort")
    if effort and effort.lower() not in EFFORTS:
        yield error(path, document.lines["effort"], f"no effort is called '{effort}'", f"use {', '.join(EFFORTS)}")


def _bad_limit(path: Path, document: Document) -> Iterator[Problem]:
    limit = setting(document, "max_tokens", "max-tokens")
    try:
        positive = not limit or as_int(limit) > 0
    except ValueError:
        positive = False
    if not positive:
        line = document.lines.get("max_tokens") or document.lines["max-tokens"]
        yield error(path, line, f"max_tokens is '{limit}'", "give a whole number above 0, or remove the field")


def _agent(path: Path, source: str, document: Document, name: str | None = None) -> Agent:
    if fault := next(faults("agent", path, document), None):
        raise _invalid(fault)
    model, limit = setting(document, "model"), setting(document, "max_tokens", "max-tokens")
    return Agent(
        name=name or _name("agent", path, document) or path.stem,
        description=_description(document),
        prompt=document.body.strip(),
        model=None if model in {"", "inherit"} else model,
        effort=setting(document, "effort").lower() or None,
        max_tokens=as_int(limit) if limit else None,
        skills=tuple(as_list(document.fields.get("skills", ""))),
        domains=tuple(as_list(document.fields.get("domains", ""))),
        source=source,
        path=path,
        ignored=tuple(field for field in document.fields if field not in AGENT_FIELDS),
    )


def _skill(path: Path, source: str, document: Document) -> Skill:
    if fault := next(faults("skill", path, document), None):
        raise _invalid(fault)
    return Skill(_name("skill", path, document), _description(document), document.body.strip(), source, path)


def _name(kind: Kind, path: Path, document: Document | Problem) -> str:
    """Return what a file's agent or skill is called; nothing for a README, which is none unless it has a name."""
    named = "" if isinstance(document, Problem) else setting(document, "name")
    if kind == "skill":
        return named or path.parent.name
    return named or ("" if path.stem.lower() == "readme" else path.stem)


def _description(document: Document) -> str:
    """Return the field, or else the body's first paragraph, or else its first heading."""
    text = document.fields.get("description", "")
    return (text if isinstance(text, str) else ", ".join(text)).strip() or _summary(document.body)


def _summary(body: str) -> str:
    heading = ""
    paragraph: list[str] = []
    for line in map(str.strip, body.split("\n")):
        if paragraph and (not line or line.startswith("#")):
            break
        if line.startswith("#"):
            heading = heading or line.strip("# \t")
        elif line.strip("-*_= \t") and not line.startswith(("```", "~~~", "<!--")):
            paragraph.append(line)
    return " ".join(paragraph) or heading


def _find(kind: Kind, shelves: Sequence[Shelf], name: str, warn: Warn, read: Read) -> Entry:
    known: dict[str, Entry] = {}
    for place in shelves:
        if not os.path.lexists(place.agents if kind == "agent" else place.skills):
            continue  # as most have none of their own: a look at it costs a tenth of finding nothing in it
        if direct := _direct(kind, place, name):
            return direct
        for other, entry in read(kind, place, warn).items():
            known.setdefault(other, entry)
        if name in known:
            break
    return known[_match(kind, name, known)]


def _direct(kind: Kind, place: Shelf, name: str) -> Entry | None:
    """Return what lies where its name says, so that the rest of the shelf need not be read."""
    if name in {"", ".", ".."} or os.path.basename(name) != name or not os.path.lexists(_spelled(kind, place, name)):
        return None
    path = _place(kind, place, name)
    document = read_document(path, place.boundary)
    named = kind == "skill" or _name(kind, path, document) == name  # a skill's name is that of its directory
    return (path, place, document) if named else None


def _place(kind: Kind, place: Shelf, name: str) -> Path:
    return Path(_spelled(kind, place, name))


def _spelled(kind: Kind, place: Shelf, name: str) -> str:
    return f"{place.agents}{os.sep}{name}.md" if kind == "agent" else os.path.join(place.skills, name, "SKILL.md")


def _match(kind: str, name: str, known: Iterable[str]) -> str:
    """Return which of the `known` names, the nearest first, is meant by `name`; raises NotFound."""
    names = list(known)
    if name in names:
        return name
    for other in names:
        if fold(other) == fold(name):
            return other
    raise NotFound(kind, name, names)


def _usable(kind: Kind, shelves: Sequence[Shelf], warn: Warn) -> Iterator[tuple[Path, str, Document]]:
    """Yield path, source and text of every agent or skill that is not shadowed, by name."""
    known: dict[str, Entry] = {}
    for place in shelves:
        known = catalogue(kind, place, warn) | known
    for _, (path, place, document) in sorted(known.items()):
        if isinstance(document, Document):
            if wrong := next(faults(kind, path, document), None):
                warn(str(wrong))
            else:
                yield path, place.source, document


def _workflow_files(shelves: Sequence[Shelf], warn: Warn) -> dict[str, tuple[Path, Shelf]]:
    """Return where the workflow of each name is."""
    found: dict[str, tuple[Path, Shelf]] = {}
    for place in shelves:
        for path in workflow_files(place.workflows):
            first, owner = found.setdefault(path.stem, (path, place))
            if owner is place and first != path:
                warn(_shadowed(path, first, path.stem))
    return found


def _shadowed(path: Path, first: Path, name: str) -> str:
    return f"{path}: not used, for {first} is called '{name}' too; rename one of them"


def _sound(document: Document | Problem) -> Document:
    if isinstance(document, Problem):
        raise _invalid(document)
    return document


def _invalid(problem: Problem) -> ValidationError:
    return ValidationError(f"{problem.path}:{problem.line}: {problem.message}", hint=problem.remedy)
