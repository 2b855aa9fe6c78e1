"""Which keys `claude.json` has, and what each may hold.

It does not know whose file it is, nor what a value means.
"""

from __future__ import annotations

from ..records import EFFORTS, PRICES
from .migration import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Rule = Callable[[Any], str] | dict[str, "Rule"]
    """What was expected in the place of a value, '' if it is right; or the rules of an object's keys, * for any."""


def dotted(path: tuple[str, ...]) -> str:
    """Return a key path as a message tells it: `cache.ttl_hours`."""
    return ".".join(name if name.replace("-", "_").isidentifier() and len(name) <= 60 else shown(name) for name in path)


def names(value: Any) -> str:
    """Expect a list of names."""
    return "" if isinstance(value, list | tuple) and not any(map(_text, value)) else "a list of names"


def _anything(_: Any) -> str:
    return ""


def _text(value: Any) -> str:
    return "" if isinstance(value, str) and value.strip() and value.isprintable() else "a text of one line"


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
    known = isinstance(value, dict) and {"input", "output"} <= value.keys() <= {*PRICES}
    return "" if known and not any(map(_usd, value.values())) else f"{', '.join(PRICES)} in USD per million tokens"


_WHOLE = "a whole number"
_CENTURY = 36_500
"""In days: no date in a reader's arithmetic overflows."""
_whether = _is(bool, "true or false")
_whose = lambda value: "" if value in (True, False, "all") else 'true, false or "all"'  # noqa: E731 - like the others
_usd = _number(0, 1_000_000_000)
_limit = _or_null(_usd)

KEYS: dict[str, Rule] = {
    "default_model": _text,
    "agents": {
        "*": {
            "path": _text,
            "model": _text,
            "skills": names,
            "max_tokens": _number(1, 10_000_000, _WHOLE),
            "effort": _one_of(*EFFORTS),
        }
    },
    "workflows": {"*": {"description": _is(str, "a text"), "steps": _objects, "inputs": _anything}},
    "cache": {
        "enabled": _whether,
        "ttl_hours": _number(0, _CENTURY * 24),
        "max_size_mb": _number(0, 1_000_000),
        "exclude_agents": names,
    },
    "performance": {
        "max_concurrent_agents": _number(1, 1000, _WHOLE),
        "max_retries": _number(0, 100, _WHOLE),
        "request_timeout_seconds": _number(0.001, 86_400),
    },
    "budget": {"run_usd": _limit, "daily_usd": _limit, "monthly_usd": _limit, "agents": {"*": _limit}},
    "memory": {"recall": _number(0, 100, _WHOLE), "retention_days": _number(0, _CENTURY)},
    "metrics": {"retention_days": _number(0, _CENTURY)},
    "routing": {"auto": _whether},
    "skills": {"preload": names, "auto": _whose},
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
    "embedding_model": _or_null(_text),
}
