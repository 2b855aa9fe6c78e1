"""What is wrong, doubtful or without effect in the files of agents and skills.

Errors are what this package refuses; warnings are what other readers of the format refuse or lose; notes are fields
that have no effect here. It knows neither settings nor workflows.

Sources: the subagent format of Claude Code and the Agent Skills specification (agentskills.io), both of 2026-08.
"""

from __future__ import annotations

from difflib import get_close_matches

from .lookup import AGENT_FIELDS, faults, fold, scan, setting
from .markdown import UNCLOSED, as_list
from .sources import Problem, error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence
    from pathlib import Path

    from .lookup import Kind, Shelf
    from .markdown import Document
    from .sources import Severity

_CLAUDE_CODE = """
tools disallowedTools disallowed-tools permissionMode maxTurns mcpServers hooks memory background isolation color
initialPrompt when_to_use argument-hint arguments disable-model-invocation user-invocable model effort context agent
paths shell
"""
_SPECIFIED = ("name", "description", "license", "compatibility", "metadata", "allowed-tools")
_LENGTHS = {"name": 64, "description": 1024, "compatibility": 500}
_BODY_LINES = 500
_BODY_CHARACTERS = 20_000
"""About the 5,000 tokens that the specification recommends as the limit of a skill's instructions."""


def check_agents(shelves: Sequence[Shelf]) -> list[Problem]:
    """Return all that is wrong, doubtful or ignored in the agents' files, by shelf, file and line."""
    skills = {fold(name) for place in shelves for name, _, _ in scan("skill", place)}
    return [problem for place in shelves for problem in _check("agent", place, skills=skills)]


def check_skills(shelves: Sequence[Shelf], *, strict: bool = False) -> list[Problem]:
    """Return the same of skills; `strict` makes errors of what breaks the Agent Skills specification."""
    return [problem for place in shelves for problem in _check("skill", place, strict=strict)]


def _check(kind: Kind, place: Shelf, *, strict: bool = False, skills: Container[str] = ()) -> Iterator[Problem]:
    paths: dict[str, Path] = {}
    for name, path, document in scan(kind, place):
        if isinstance(document, Problem):
            yield document
            continue
        found = [*faults(kind, path, document), *_remarks(kind, path, document, strict=strict)]
        if kind == "agent":
            wanted = as_list(document.fields.get("skills", ""))
            line = document.lines.get("skills", 1)
            found += [error(path, line, f"there is no skill '{s}'", "add it") for s in wanted if fold(s) not in skills]
        if name in paths:
            found.append(Problem(path, 1, "warning", f"{paths[name]} is called '{name}' too", "rename one of them"))
        paths.setdefault(name, path)
        yield from sorted(found, key=lambda problem: problem.line)


def _remarks(kind: Kind, path: Path, document: Document, *, strict: bool = False) -> Iterator[Problem]:
    """Yield warnings and notes about a file; `strict` makes errors of what breaks the Agent Skills specification."""
    for line, message in document.problems:
        if message != UNCLOSED:
            yield Problem(path, line, "warning", message, "correct this, or other tools reject or shorten the file")
    broken: Severity = "error" if strict else "warning"
    if kind == "agent":
        yield from _agent_remarks(path, document)
        return
    for line, message, remedy in _breaches(path.parent.name, document):
        yield Problem(path, line, broken, message, remedy)
    yield from _skill_remarks(path, document, strict=strict)


def _agent_remarks(path: Path, document: Document) -> Iterator[Problem]:
    name = setting(document, "name")
    if name.startswith("-") or ":" in name:
        message = f"Claude Code skips an agent called '{name}'"
        yield Problem(path, document.lines["name"], "warning", message, "use lower-case letters and hyphens")
    missing = [field for field in ("name", "description") if not setting(document, field)]
    if missing:
        message = f"there is no {' and no '.join(missing)}, so Claude Code skips the file"
        yield Problem(path, 1, "warning", message, f"add {' and '.join(missing)} between two lines '---' at the top")
    for field, line in document.lines.items():
        if field not in AGENT_FIELDS:
            yield _ignored(path, line, field)


def _breaches(directory: str, document: Document) -> Iterator[tuple[int, str, str]]:
    """Yield line, message and remedy for each rule of the Agent Skills specification that a skill breaks."""
    for field in ("name", "description"):
        if not setting(document, field):
            yield 1, f"the skill has no {field}", "add it between two lines '---' at the top"
    for field, limit in _LENGTHS.items():
        length = len(setting(document, field))
        if length > limit:
            yield document.lines[field], f"{field} has {length} characters, over {limit}", "shorten it"
    name = setting(document, "name")
    if name and name != directory:
        yield document.lines["name"], f"the name '{name}' is not that of the directory", f"call both '{directory}'"
    if name and not _is_skill_name(name):
        yield document.lines["name"], f"'{name}' is no skill name", "use lower-case letters, digits and single hyphens"


def _is_skill_name(name: str) -> bool:
    words = name.split("-")
    return all(word.isalnum() for word in words) and name == name.lower()


def _skill_remarks(path: Path, document: Document, *, strict: bool) -> Iterator[Problem]:
    length, lines = len(document.body), document.body.strip().count("\n") + 1
    if lines > _BODY_LINES or length > _BODY_CHARACTERS:
        message = f"{lines} lines of {length} characters are over {_BODY_LINES} lines or {_BODY_CHARACTERS} characters"
        yield Problem(path, document.body_line, "warning", message, "move details into files beside it")
    for field, line in document.lines.items():
        if field not in _SPECIFIED and strict:
            yield error(path, line, f"'{field}' is no field of the Agent Skills specification", "move it into metadata")
        elif field not in ("name", "description"):
            yield _ignored(path, line, field)


def _ignored(path: Path, line: int, field: str) -> Problem:
    if field in _CLAUDE_CODE.split():
        why = "only means something to Claude Code"
    elif close := get_close_matches(field, AGENT_FIELDS, n=1, cutoff=0.75):
        return Problem(path, line, "warning", f"'{field}' has no meaning and is ignored", f"did you mean {close[0]}?")
    else:
        why = "has no meaning"
    return Problem(path, line, "note", f"'{field}' {why} and is ignored here", "nothing needs to be done")
