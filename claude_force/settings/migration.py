"""The file `claude.json` itself: from bytes to an object in the present format, also from the format of older releases.

It knows JSON and what older releases called things. It does not know which values a key may have, nor whose file it is.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from ..errors import ConfigError
from ..files import read_regular, write_atomic
from ..records import finite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = 2
MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 100


def read(path: Path, warnings: list[str]) -> dict[str, Any]:
    """Return what the file at `path` says, in the present format and without `version`; nothing if it is not there.

    What is odd about the file joins `warnings`, a line each. Raises ConfigError, with line and column for bad syntax.
    """
    try:
        data = read_regular(path, MAX_BYTES + 1)
    except FileNotFoundError:
        if path.is_symlink():  # its limits would be lost without a word
            raise ConfigError(f"{path}: is a link to nothing", hint="mend it, or remove it") from None
        return {}
    except OSError as error:
        hint = f"chmod u+r '{path}'" if isinstance(error, PermissionError) else "move it away"
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", hint=hint) from error
    document = _parse(data, path, warnings)
    if _is_older(document, path):
        document, _, gone = _modern(document)
        if gone:
            names = ", ".join(gone)
            warnings.append(f"{path}: no longer means anything: {names}; `claude-force config migrate` removes it")
    document.pop("version", None)
    return document


def rewrite(path: Path) -> tuple[Path | None, list[str]]:
    """Bring the file at `path` to the present format; return where the old one is kept, and what changed in words.

    A file that is current stays as it is: (None, []). An earlier backup is never overwritten. Raises ConfigError.
    """
    if path.is_symlink():  # a project is untrusted: its link must not choose which file is rewritten
        raise ConfigError(f"{path}: is a symbolic link", hint=f"migrate the file itself: {os.path.realpath(path)}")
    changes: list[str] = []
    try:
        before = read_regular(path, MAX_BYTES + 1)
        document = _parse(before, path, changes)
        if not _is_older(document, path):
            return None, []
        document, renamed, gone = _modern(document)
        text = json.dumps({**document, "version": VERSION}, indent=2, ensure_ascii=False) + "\n"
        backup = _keep(path, before)
        write_atomic(path, text.encode(), mode=path.stat().st_mode & 0o777)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be migrated: {error.strerror}") from error
    removed = [f"{name}: removed, it no longer means anything" for name in gone]
    return backup, [*changes, f"version: {VERSION}", *renamed, *removed]


def shown(value: object) -> str:
    """Return `value` as a message quotes it: JSON on one line, without control characters, cut to 60 characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _keep(path: Path, data: bytes) -> Path:
    number = 1
    while True:
        backup = path.with_name(f"{path.name}.bak{number if number > 1 else ''}")
        try:
            descriptor = os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, path.stat().st_mode & 0o777)
        except FileExistsError:
            number += 1
        else:
            with open(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())  # before the original is replaced
            return backup


def _parse(data: bytes, path: Path, warnings: list[str]) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES // 1024**2} MiB", hint="is this really a claude.json?")
    try:
        document, repeated = _decode(data)
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise ConfigError(f"{where}: not JSON: {error.msg}", hint="JSON has no comments, no trailing commas") from error
    except UnicodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: holds a number that is not finite or has thousands of digits") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested more than {MAX_DEPTH} levels deep") from error
    if _is_deep(document):
        raise ConfigError(f"{path}: nested more than {MAX_DEPTH} levels deep")
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: expected an object, got {shown(document)}")
    warnings += [f"{path}: {shown(name)} is given more than once in one object; the last counts" for name in repeated]
    return document


def _decode(data: bytes) -> tuple[Any, dict[str, None]]:
    """Return the JSON value, and the names that some object in it holds more than once."""
    repeated: dict[str, None] = {}

    def last_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                repeated[name] = None
            found[name] = value
        return found

    text = data.decode("utf-8-sig")
    document = json.loads(text, object_pairs_hook=last_wins, parse_float=finite, parse_constant=finite)
    if "\\ud" in text.lower():  # half a surrogate pair is no character: it can be neither printed nor sent
        json.dumps(document, ensure_ascii=False).encode()
    return document, repeated


def _is_deep(document: Any) -> bool:
    level, depth = [document], 0
    while level and depth <= MAX_DEPTH:
        inner = [node.values() if isinstance(node, dict) else node for node in level if isinstance(node, dict | list)]
        level, depth = [child for children in inner for child in children], depth + 1
    return bool(level)


def _is_older(document: dict[str, Any], path: Path) -> bool:
    version = document.get("version", 1)
    if isinstance(version, str) and version.replace(".", "").isdecimal():
        return True  # the first releases wrote texts such as "1.0.0" and never read them
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ConfigError(f"{path}: version: expected {VERSION}, got {shown(version)}")
    if version > VERSION:
        hint = f"this release reads up to {VERSION}: upgrade claude-force"
        raise ConfigError(f"{path}: version: {shown(version)} is of a newer release", hint=hint)
    return version < VERSION


def _modern(document: dict[str, Any]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Return `document` in the present format, what has another name now, in words, and what means nothing any more.

    Values of a wrong type are left as they are, for whoever checks the values.
    """
    modern = {name: dict(value) if isinstance(value, dict) else value for name, value in document.items()}
    renamed = _rename(modern)
    gone = _drop(modern)
    agents, workflows = modern.get("agents"), modern.get("workflows")
    if isinstance(agents, dict):
        if any("file" in entry for entry in agents.values() if isinstance(entry, dict)):
            renamed.append("agents.*.file: is agents.*.path now")
        found = {name for entry in agents.values() if isinstance(entry, dict) for name in entry}
        gone += [f"agents.*.{name}" for name in _GONE_FROM_AGENTS if name in found]
        modern["agents"] = {name: _agent(entry) for name, entry in agents.items()}
    if isinstance(workflows, dict):
        if any(_is_chain(value) for value in workflows.values()):
            renamed.append("workflows.*: a list of agents is a list of steps now")
        modern["workflows"] = {n: {"steps": _chain(v)} if _is_chain(v) else v for n, v in workflows.items()}
    return modern, renamed, gone


def _rename(document: dict[str, Any]) -> list[str]:
    renamed = []
    for (section, key), name in _RENAMED.items():
        features = document.get("features", {})
        if isinstance(old := document.get(section), dict) and key in old and isinstance(features, dict):
            document["features"] = {name: old.pop(key), **features}
            renamed.append(f"{section}.{key}: is features.{name} now")
    return renamed


def _drop(document: dict[str, Any]) -> list[str]:
    gone = [name for name in _GONE if document.pop(name, None) is not None]
    for section, key in _GONE_FROM_SECTIONS:
        if isinstance(inner := document.get(section), dict) and inner.pop(key, None) is not None:
            gone.append(f"{section}.{key}")
    return gone


def _agent(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    kept = {name: value for name, value in entry.items() if name not in _GONE_FROM_AGENTS}
    if "file" in kept:
        path = kept.pop("file")
        kept = {"path": path, **kept}
    return kept


def _is_chain(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(agent, str) for agent in value)


def _chain(agents: list[str]) -> list[dict[str, Any]]:
    """Return steps that run one after the other, each with an id of its own after its agent's name."""
    steps: list[dict[str, Any]] = []
    taken: set[str] = set()
    for agent in agents:
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", agent).strip("-")[:50] or "step"
        number, step = 1, stem
        while step in taken:
            number += 1
            step = f"{stem}-{number}"
        dependencies = [steps[-1]["id"]] if steps else []
        steps.append({"id": step, "agent": agent, "task": "{{task}}", "dependencies": dependencies})
        taken.add(step)
    return steps


_RENAMED = {
    ("performance", "parallel_workflows"): "parallel_workflows_enabled",
    ("performance", "parallel_workflows_enabled"): "parallel_workflows_enabled",
    ("memory", "enabled"): "memory_enabled",
}
_GONE = (
    *("name", "description", "template", "created_at", "governance", "rules", "paths"),
    *("skills_integration", "orchestration", "security"),
)
_GONE_FROM_SECTIONS = (
    *(("performance", key) for key in ("async_enabled", "timeout_seconds", "tracking_enabled", "metrics_file")),
    *(("performance", key) for key in ("cost_tracking", "detailed_logging", "enable_caching", "cache_dir")),
    *(("performance", key) for key in ("progressive_skills", "response_cache", "cache_ttl")),
    ("cache", "use_integrity_check"),
    ("memory", "db_path"),
    ("features", "async_enabled"),
)
_GONE_FROM_AGENTS = ("contract", "domains", "priority")
