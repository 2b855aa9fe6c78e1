"""Settings: the user's and the project's `claude.json` and the environment as one record.

This module knows who may set what. It does not know the command line, whose flags count for more and are the commands'
business, nor what the steps of a workflow or an alert mean: it hands those on as they were written, to the modules
that do.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..errors import ConfigError
from ..files import locked, private_directory, write_atomic
from ..frozen import dataclass, field, fields
from . import migration
from .migration import shown
from .rules import KEYS, dotted, names
from .trust import without_lower_prices, without_user_only

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from .rules import Rule

    KeyPath = tuple[str, ...]
    Layer = dict[KeyPath, Any]

ENVIRONMENT = {
    "CLAUDE_FORCE_MODEL": "default_model",
    "CLAUDE_FORCE_CLIENT": "client",
    "CLAUDE_FORCE_JOBS": "performance.max_concurrent_agents",
    "CLAUDE_FORCE_TIMEOUT": "performance.request_timeout_seconds",
    "CLAUDE_FORCE_RETRIES": "performance.max_retries",
}


@dataclass(frozen=True)
class Settings:
    """Every setting; the field `cache_ttl_hours` is the key path `cache.ttl_hours`.

    One flat record: each further dataclass would cost every start 0.7 ms.
    """

    default_model: str = "sonnet"
    """An alias or an id."""
    agents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By name, any of `path` (an absolute Path), `model`, `skills` (a tuple), `max_tokens` and `effort`."""
    workflows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By name, `description`, `steps` (a list of objects) and perhaps `inputs`, as in a workflow's own file."""
    cache_enabled: bool = True
    """False also where `features.cache_enabled` is."""
    cache_ttl_hours: float = 24
    cache_max_size_mb: float = 100
    cache_exclude_agents: tuple[str, ...] = ()
    performance_max_concurrent_agents: int = 10
    performance_max_retries: int = 2
    """Further attempts after the first."""
    performance_request_timeout_seconds: float = 600
    budget_run_usd: float | None = None
    """None: no limit, here and in the next two. Of several files the tightest is shown here, and all hold."""
    budget_daily_usd: float | None = None
    budget_monthly_usd: float | None = None
    budget_agents: Mapping[str, float | None] = field(default_factory=dict)
    """By name, the limit of a day."""
    memory_recall: int = 0
    """How many earlier sessions are put into a prompt."""
    memory_retention_days: float = 365
    metrics_retention_days: float = 30
    """Older executions are rolled up into daily sums."""
    routing_auto: bool = False
    skills_preload: tuple[str, ...] = ()
    skills_auto: bool | str = True
    """Whether agents that name no skills see the project's and the user's, and get what the task needs; or `all`."""
    alerts: Mapping[str, Any] = field(default_factory=dict)
    prices: Mapping[str, Any] = field(default_factory=dict)
    circuit_breaker_failure_threshold: int = 5
    """Failures in a row that open the circuit."""
    circuit_breaker_timeout_seconds: float = 60
    """How long the circuit stays open before a request may try again."""
    features_cache_enabled: bool = True
    features_parallel_workflows_enabled: bool = True
    features_memory_enabled: bool = True
    features_metrics_enabled: bool = True
    base_url: str | None = None
    """The address of the API."""
    client: str = "http"
    """`http` or `anthropic`."""
    api_key_file: Path | None = None
    """The absolute path of a file that holds the key."""
    embedding_model: str | None = None
    """A directory or a name, for `recommend --method semantic`."""
    user_caps: Mapping[str, float] = field(default_factory=dict)
    """USD by scope (`run`, `daily`, `monthly`, `agent:NAME`) that all projects together may spend."""
    project_caps: Mapping[str, float] = field(default_factory=dict)
    """The same for this project, from its own file."""
    user_prices: Mapping[str, Any] = field(default_factory=dict)
    """Those of `prices` that do not come from the project."""
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)
    """By key path: `built in`, the path of a file, or the name of a variable."""


def load(*, user: Path | None, project: Path | None, environment: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """Return the settings of all layers, the nearest winning, and warnings of one line each.

    A file that is not there counts as empty. Raises ConfigError.
    """
    warnings: list[str] = []
    layers: list[tuple[str, Layer]] = []
    if user and project and os.path.realpath(user) == os.path.realpath(project):
        project = None
    if user:
        layers.append((str(user), _located(_flat(migration.read(user, warnings), str(user), warnings), user)))
    if project:
        if not Path(os.path.realpath(project)).is_relative_to(_root(project)):
            raise ConfigError(f"{project}: leads out of the project", hint="put a copy in the place of the link")
        place = str(user or "~/.claude/claude.json")
        document = without_user_only(migration.read(project, warnings), project, place, warnings)
        layer = _located(_flat(document, str(project), warnings), project, _root(project))
        layers.append((str(project), without_lower_prices(layer, _priced(layers), project, place, warnings)))
    layers += _from_environment(environment)
    return _settings(layers, str(project)), warnings


def show(settings: Settings) -> list[tuple[str, object, str]]:
    """Return a row (key path, value, origin) for every setting, in the order of the file; a Path is given as text."""
    rows = []
    for path, value in _leaves(settings):
        name = dotted(path)
        rows.append((name, str(value) if isinstance(value, Path) else value, settings.origins.get(name, "built in")))
    return rows


def migrate(path: Path) -> tuple[Path | None, list[str]]:
    """Rewrite an older file at `path` to version 2; return where the old one is kept, and what changed in words.

    A file that is current stays as it is: (None, []). Raises ConfigError, with the file untouched.
    """
    _flat(migration.read(path, []), str(path), [])  # what is wrong now would be wrong afterwards
    return migration.rewrite(path)


def change(path: Path, keys: KeyPath, value: object) -> None:
    """Write `value` at the key path `keys` of the file at `path`, made if absent; all else in it stays as it is.

    Raises ConfigError, with the file untouched.
    """
    if path.is_symlink():  # a project is untrusted: its link must not choose which file is written
        raise ConfigError(f"{path}: is a symbolic link", hint=f"change the file itself: {os.path.realpath(path)}")
    try:
        private_directory(path.parent)
        with locked(path.with_name(f"{path.name}.lock")):  # of two that change it at once, one would lose its change
            _change(path, keys, value)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def _change(path: Path, keys: KeyPath, value: object) -> None:
    _flat(migration.read(path, []), str(path), [])  # what is wrong now would be wrong afterwards
    exists = path.exists()
    document = json.loads(path.read_bytes().decode("utf-8-sig")) if exists else {"version": migration.VERSION}
    inner = document
    for name in keys[:-1]:
        inner = inner.setdefault(name, {})
    inner[keys[-1]] = value
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    write_atomic(path, text.encode(), mode=path.stat().st_mode & 0o777 if exists else 0o600)


def _priced(layers: Iterable[tuple[str, Layer]]) -> dict[str, Any]:
    return {path[1]: value for _, layer in layers for path, value in layer.items() if path[0] == "prices"}


def _caps(layers: Iterable[tuple[str, Layer]]) -> dict[str, float]:
    """Return the limits by scope, the last layer winning."""
    found = {_scope(path): value for _, layer in layers for path, value in layer.items() if path[0] == "budget"}
    return {scope: value for scope, value in found.items() if value is not None}


def _scope(path: KeyPath) -> str:
    return f"agent:{path[2]}" if path[1] == "agents" else path[1].removesuffix("_usd")


def _root(project: Path) -> Path:
    directory = Path(os.path.abspath(project)).parent
    return Path(os.path.realpath(directory.parent if directory.name == ".claude" else directory))


def _located(layer: Layer, file: Path, root: Path | None = None) -> Layer:
    """Return `layer` with its paths made absolute, from the directory of `file`, and none outside `root` if given."""
    for keys, value in layer.items():
        is_path = keys == ("api_key_file",) or (keys[0] == "agents" and keys[-1] == "path")
        if is_path and value is not None:
            plain = Path(os.path.abspath(file.parent / os.path.expanduser(value)))
            layer[keys] = _within(root, file, keys, value) if root else plain
    return layer


def _within(root: Path, file: Path, keys: KeyPath, text: str) -> Path:
    real = Path(os.path.realpath(file.parent / text))  # returned as checked, so that no link is left in it
    if not real.is_relative_to(root):
        hint = f"keep the file below {root}"
        raise ConfigError(f"{file}: {dotted(keys)}: {shown(text)} leads out of the project", hint=hint)
    return real


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, Layer]]:
    for variable, path in ENVIRONMENT.items():
        if text := environment.get(variable, "").strip():
            value = _number_in(text) if path.startswith("performance.") else text
            section, _, key = path.partition(".")
            yield variable, _flat({section: {key: value} if key else value}, variable, [])


def _number_in(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _flat(document: dict[str, Any], where: str, warnings: list[str]) -> Layer:
    """Return the checked settings in `document` by key path; keys that are unknown join `warnings`."""
    return dict(_checked(document, KEYS, (), where, warnings))


def _checked(value: Any, rule: Rule, path: KeyPath, where: str, warnings: list[str]) -> Iterator[tuple[KeyPath, Any]]:
    if not isinstance(rule, dict):
        if expected := rule(value):
            raise ConfigError(f"{where}: {dotted(path)}: expected {expected}, got {shown(value)}")
        yield path, tuple(value) if rule is names else value
        return
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: {dotted(path)}: expected an object, got {shown(value)}")
    for name, child in value.items():
        if inner := rule.get("*") or rule.get(name):
            yield from _checked(child, inner, (*path, name), where, warnings)
        else:
            warnings.append(f"{where}: {dotted((*path, name))}: unknown key, ignored{_suggestion(name, rule)}")


def _suggestion(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # 4 ms, needed only for a warning

    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _settings(layers: Sequence[tuple[str, Layer]], project: str) -> Settings:
    own = [(origin, layer) for origin, layer in layers if origin != project]
    values: dict[str, Any] = {
        "user_caps": _caps(own),
        "project_caps": _caps(layer for layer in layers if layer[0] == project),
        "user_prices": _priced(own),
    }
    limits: Layer = {}
    origins = {dotted(path): "built in" for path, _ in _leaves(Settings())}
    for origin, layer in layers:
        for path, value in layer.items():
            if path[0] == "budget":
                if path in limits and not _is_tighter(value, limits[path]):
                    continue
                limits[path] = value
            _place(values, path, value)
            origins[dotted(path)] = origin
    if values.get("features_cache_enabled") is False:
        values["cache_enabled"] = False
        origins["cache.enabled"] = origins["features.cache_enabled"]
    if workflows := values.get("workflows"):
        values["workflows"] = {name: {"description": "", "steps": [], **given} for name, given in workflows.items()}
    return Settings(**values, origins=origins)


def _is_tighter(limit: float | None, than: float | None) -> bool:
    return limit is not None and (than is None or limit < than)


def _place(values: dict[str, Any], path: KeyPath, value: Any) -> None:
    *outer, last = path if path[0] in _FIELDS else ("_".join(path[:2]), *path[2:])
    for name in outer:
        values = values.setdefault(name, {})
    values[last] = value


def _leaves(settings: Settings) -> Iterator[tuple[KeyPath, Any]]:
    for section, rule in KEYS.items():
        if isinstance(rule, dict) and section not in _FIELDS:
            for key, inner in rule.items():
                yield from _inner((section, key), inner, getattr(settings, f"{section}_{key}"))
        else:
            yield from _inner((section,), rule, getattr(settings, section))


def _inner(path: KeyPath, rule: Rule, value: Any) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(rule, dict):
        for name, child in value.items():
            yield from _inner((*path, name), rule.get("*") or rule[name], child)
    else:
        yield path, value


_FIELDS = {f.name for f in fields(Settings)}
