"""Settings: the user's and the project's `claude.json`, the environment and the command line as one record.

This module knows which keys there are, what they may hold and who may set them. It does not know what the steps of
a workflow or an alert mean: it hands those on as they were written, to the modules that do.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from . import migration
from .errors import ConfigError
from .frozen import dataclass, field, fields
from .migration import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    KeyPath = tuple[str, ...]
    Layer = dict[KeyPath, Any]
    Rule = Callable[[Any], str] | dict[str, "Rule"]

ENVIRONMENT = {
    "CLAUDE_FORCE_MODEL": "default_model",
    "CLAUDE_FORCE_CLIENT": "client",
    "CLAUDE_FORCE_JOBS": "performance.max_concurrent_agents",
    "CLAUDE_FORCE_TIMEOUT": "performance.request_timeout_seconds",
    "CLAUDE_FORCE_RETRIES": "performance.max_retries",
}
_USER_ONLY = ("base_url", "client", "api_key_file")


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
    """None: no limit, here and in the next two."""
    budget_daily_usd: float | None = None
    budget_monthly_usd: float | None = None
    memory_recall: int = 0
    """How many earlier sessions are put into a prompt."""
    memory_retention_days: float = 365
    metrics_retention_days: float = 30
    """Older executions are rolled up into daily sums."""
    routing_auto: bool = False
    skills_preload: tuple[str, ...] = ()
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
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)
    """By key path: `built in`, the path of a file, the name of a variable, or `command line`."""


def load(
    *, user: Path | None, project: Path | None, environment: Mapping[str, str], flags: Mapping[str, object]
) -> tuple[Settings, list[str]]:
    """Return the settings of all layers, the nearest winning, and warnings of one line each.

    A file that is not there counts as empty. `flags` is keyed by key path; None means not given. Raises ConfigError.
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
        document = _without_user_only(migration.read(project, warnings), project, place, warnings)
        layers.append((str(project), _located(_flat(document, str(project), warnings), project, _root(project))))
    layers += _from_environment(environment)
    layers += [("command line", _given(path, value)) for path, value in flags.items() if value is not None]
    return _settings(layers), warnings


def show(settings: Settings) -> list[tuple[str, object, str]]:
    """Return a row (key path, value, origin) for every setting, in the order of the file; a Path is given as text."""
    rows = []
    for path, value in _leaves(settings):
        name = _dotted(path)
        rows.append((name, str(value) if isinstance(value, Path) else value, settings.origins.get(name, "built in")))
    return rows


def migrate(path: Path) -> tuple[Path | None, list[str]]:
    """Rewrite an older file at `path` to version 2; return where the old one is kept, and what changed in words.

    A file that is current stays as it is: (None, []). Raises ConfigError, with the file untouched.
    """
    _flat(migration.read(path, []), str(path), [])  # what is wrong now would be wrong afterwards
    return migration.rewrite(path)


def _without_user_only(document: dict[str, Any], file: Path, place: str, warnings: list[str]) -> dict[str, Any]:
    ignored = [name for name in _USER_ONLY if name in document]
    warnings += [f"{file}: {name}: ignored, a project cannot set it; it belongs in {place}" for name in ignored]
    return {name: value for name, value in document.items() if name not in ignored}


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
        raise ConfigError(f"{file}: {_dotted(keys)}: {shown(text)} leads out of the project", hint=hint)
    return real


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, Layer]]:
    for variable, path in ENVIRONMENT.items():
        if text := environment.get(variable, "").strip():
            value = _number_in(text) if path.startswith("performance.") else text
            yield variable, _given(path, value, variable)


def _number_in(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _given(path: str, value: object, where: str = "command line") -> Layer:
    section, _, key = path.partition(".")
    unknown: list[str] = []
    layer = _flat({section: {key: value} if key else value}, where, unknown)
    if unknown:
        raise ConfigError(unknown[0])
    return _located(layer, Path("claude.json"))


def _flat(document: dict[str, Any], where: str, warnings: list[str]) -> Layer:
    """Return the checked settings in `document` by key path; keys that are unknown join `warnings`."""
    return dict(_checked(document, _KEYS, (), where, warnings))


def _checked(value: Any, rule: Rule, path: KeyPath, where: str, warnings: list[str]) -> Iterator[tuple[KeyPath, Any]]:
    if not isinstance(rule, dict):
        if expected := rule(value):
            raise ConfigError(f"{where}: {_dotted(path)}: expected {expected}, got {shown(value)}")
        yield path, tuple(value) if rule is _names else value
        return
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: {_dotted(path)}: expected an object, got {shown(value)}")
    for name, child in value.items():
        if inner := rule.get("*") or rule.get(name):
            yield from _checked(child, inner, (*path, name), where, warnings)
        else:
            warnings.append(f"{where}: {_dotted((*path, name))}: unknown key, ignored{_suggestion(name, rule)}")


def _suggestion(name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # 4 ms, needed only for a warning

    close = get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _settings(layers: Iterable[tuple[str, Layer]]) -> Settings:
    values: dict[str, Any] = {}
    origins = {_dotted(path): "built in" for path, _ in _leaves(Settings())}
    for origin, layer in layers:
        for path, value in layer.items():
            _place(values, path, value)
            origins[_dotted(path)] = origin
    if values.get("features_cache_enabled") is False:
        values["cache_enabled"] = False
        origins["cache.enabled"] = origins["features.cache_enabled"]
    if workflows := values.get("workflows"):
        values["workflows"] = {name: {"description": "", "steps": [], **given} for name, given in workflows.items()}
    return Settings(**values, origins=origins)


def _place(values: dict[str, Any], path: KeyPath, value: Any) -> None:
    *outer, last = path if path[0] in _FIELDS else ["_".join(path)]
    for name in outer:
        values = values.setdefault(name, {})
    values[last] = value


def _leaves(settings: Settings) -> Iterator[tuple[KeyPath, Any]]:
    for section, rule in _KEYS.items():
        if isinstance(rule, dict) and section not in _FIELDS:
            yield from (((section, key), getattr(settings, f"{section}_{key}")) for key in rule)
        else:
            yield from _inner((section,), rule, getattr(settings, section))


def _inner(path: KeyPath, rule: Rule, value: Any) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(rule, dict):
        for name, child in value.items():
            yield from _inner((*path, name), rule.get("*") or rule[name], child)
    else:
        yield path, value


def _dotted(path: KeyPath) -> str:
    return ".".join(name if name.replace("-", "_").isidentifier() and len(name) <= 60 else shown(name) for name in path)


def _anything(_: Any) -> str:
    return ""


def _text(value: Any) -> str:
    return "" if isinstance(value, str) and value.strip() and value.isprintable() else "a text of one line"


def _names(value: Any) -> str:
    return "" if isinstance(value, list | tuple) and not any(map(_text, value)) else "a list of names"


def _objects(value: Any) -> str:
    return "" if isinstance(value, list) and all(isinstance(v, dict) for v in value) else "a list of objects"


def _address(value: Any) -> str:
    good = not _text(value) and value.startswith(("http://", "https://"))
    return "" if good else "an address that begins with http:// or https://"


def _is(kind: type, words: str) -> Rule:
    return lambda value: "" if isinstance(value, kind) else words


def _one_of(*names: str) -> Rule:
    return lambda value: "" if value in names else " or ".join(names)


def _or_null(rule: Callable[[Any], str]) -> Rule:
    return lambda value: "" if value is None else (expected := rule(value)) and f"{expected} or null"


def _number(low: float, high: float, kind: str = "a number") -> Callable[[Any], str]:
    def expected(value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, int if kind == _WHOLE else int | float):
            return kind
        return "" if low <= value <= high else f"{kind} from {low} to {high}"

    return expected


def _price(value: Any) -> str:
    known = isinstance(value, dict) and {"input", "output"} <= value.keys() <= {*_PRICES}
    return "" if known and not any(map(_usd, value.values())) else f"{', '.join(_PRICES)} in USD per million tokens"


_WHOLE = "a whole number"
_CENTURY = 36_500
"""In days: no date in a reader's arithmetic overflows."""
_PRICES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
_whether = _is(bool, "true or false")
_usd = _number(0, 1_000_000_000)
_limit = _or_null(_usd)

_FIELDS = {f.name for f in fields(Settings)}
_KEYS: dict[str, Rule] = {
    "default_model": _text,
    "agents": {
        "*": {
            "path": _text,
            "model": _text,
            "skills": _names,
            "max_tokens": _number(1, 10_000_000, _WHOLE),
            "effort": _one_of("low", "medium", "high", "xhigh", "max"),
        }
    },
    "workflows": {"*": {"description": _is(str, "a text"), "steps": _objects, "inputs": _anything}},
    "cache": {
        "enabled": _whether,
        "ttl_hours": _number(0, _CENTURY * 24),
        "max_size_mb": _number(0, 1_000_000),
        "exclude_agents": _names,
    },
    "performance": {
        "max_concurrent_agents": _number(1, 1000, _WHOLE),
        "max_retries": _number(0, 100, _WHOLE),
        "request_timeout_seconds": _number(0.001, 86_400),
    },
    "budget": {"run_usd": _limit, "daily_usd": _limit, "monthly_usd": _limit},
    "memory": {"recall": _number(0, 100, _WHOLE), "retention_days": _number(0, _CENTURY)},
    "metrics": {"retention_days": _number(0, _CENTURY)},
    "routing": {"auto": _whether},
    "skills": {"preload": _names},
    "alerts": {"*": _anything},
    "prices": {"*": _price},
    "circuit_breaker": {"failure_threshold": _number(1, 1_000_000, _WHOLE), "timeout_seconds": _number(0, 86_400)},
    "features": {
        "cache_enabled": _whether,
        "parallel_workflows_enabled": _whether,
        "memory_enabled": _whether,
        "metrics_enabled": _whether,
    },
    "base_url": _or_null(_address),
    "client": _one_of("http", "anthropic"),
    "api_key_file": _or_null(_text),
}
