"""The models this server knows, what each accepts, and the `/v1/models` pages.

A list of its own, so that a mistake in the package's table is found and not repeated. The minimum cacheable prompt of
the 5.1, 5.2 and 5.5 models is not published; the figure of their line's last model stands in for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .problems import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

EFFORTS = ("low", "medium", "high", "xhigh", "max")
THINKING = ("adaptive", "between_tools", "disabled", "enabled")


@dataclass(frozen=True)
class Model:
    """A model of the API; `version` is (5, 5) for 5.5."""

    id: str
    line: str
    version: tuple[int, int]
    created: str
    minimum_cacheable: int = 0
    """Tokens below which a prefix is not cached."""
    efforts: tuple[str, ...] = EFFORTS
    thinking: tuple[str, ...] = ("adaptive", "disabled")
    context: int = 1_000_000
    max_tokens: int = 128_000
    deprecated: str | None = None
    retires: str | None = None
    lifecycle: str = "active"

    @property
    def group(self) -> str:
        """The models that share rate limits."""
        return f"{self.line}-{self.version[0]}"

    @property
    def tokens_per_40_characters(self) -> int:
        """How densely this server counts: 30 % more tokens from 4.7 on."""
        return 13 if self.version >= (4, 7) else 10

    @property
    def display_name(self) -> str:
        """The name as people write it, such as `Claude Opus 5.5`."""
        major, minor = self.version
        return f"Claude {self.line.title()} {major}.{minor}" if minor else f"Claude {self.line.title()} {major}"

    @property
    def forces_tools(self) -> bool:
        """Whether `tool_choice` may demand a tool."""
        return self.line == "haiku" or self.version < ((5, 1) if self.line in {"fable", "mythos"} else (5, 5))


_ALWAYS = ("adaptive",)
_OLD_EFFORTS = ("low", "medium", "high")
_BEFORE_XHIGH = (*_OLD_EFFORTS, "max")
_BUDGET = ("disabled", "enabled")

MODELS = (
    Model("claude-fable-5-2", "fable", (5, 2), "2026-11-09", 512, thinking=_ALWAYS),
    Model("claude-mythos-5-2", "mythos", (5, 2), "2026-11-09", 512, thinking=_ALWAYS),
    Model("claude-haiku-5-5", "haiku", (5, 5), "2026-10-07", 4096, thinking=("adaptive", "between_tools", "disabled")),
    Model("claude-sonnet-5-5", "sonnet", (5, 5), "2026-09-28", 1024, thinking=("adaptive", "between_tools")),
    Model("claude-opus-5-5", "opus", (5, 5), "2026-09-22", 512, thinking=_ALWAYS),
    Model("claude-fable-5-1", "fable", (5, 1), "2026-09-01", 512, thinking=_ALWAYS),
    Model("claude-mythos-5-1", "mythos", (5, 1), "2026-09-01", 512, thinking=_ALWAYS),
    Model("claude-opus-5", "opus", (5, 0), "2026-07-24", 512),
    Model("claude-sonnet-5", "sonnet", (5, 0), "2026-06-30", 1024),
    Model("claude-fable-5", "fable", (5, 0), "2026-06-09", 512, thinking=_ALWAYS),
    Model("claude-mythos-5", "mythos", (5, 0), "2026-06-09", 512, thinking=_ALWAYS),
    Model("claude-opus-4-8", "opus", (4, 8), "2026-05-28", 1024),
    Model("claude-opus-4-7", "opus", (4, 7), "2026-04-16", 2048),
    Model("claude-sonnet-4-6", "sonnet", (4, 6), "2026-02-17", 1024, _BEFORE_XHIGH, ("adaptive", *_BUDGET)),
    Model("claude-opus-4-6", "opus", (4, 6), "2026-02-05", 4096, _BEFORE_XHIGH, ("adaptive", *_BUDGET)),
    Model("claude-opus-4-5-20251101", "opus", (4, 5), "2025-11-24", 4096, _OLD_EFFORTS, _BUDGET, 200_000, 64_000),
    Model("claude-haiku-4-5-20251001", "haiku", (4, 5), "2025-10-15", 4096, (), _BUDGET, 200_000, 64_000),
    Model(
        "claude-sonnet-4-5-20250929", "sonnet", (4, 5), "2025-09-29", 1024, (), _BUDGET, 200_000, 64_000,
        deprecated="2026-08-30", retires="2026-11-30", lifecycle="deprecated",
    ),
)  # fmt: skip

RETIRED = tuple(
    Model(
        name, line, version, created, 0, (), ("disabled",), 200_000, 8_192,
        deprecated=retired, retires=retired, lifecycle="retired",
    )
    for name, line, version, created, retired in (
        ("claude-opus-4-1-20250805", "opus", (4, 1), "2025-08-05", "2026-08-05"),
        ("claude-opus-4-20250514", "opus", (4, 0), "2025-05-22", "2026-06-15"),
        ("claude-sonnet-4-20250514", "sonnet", (4, 0), "2025-05-22", "2026-06-15"),
        ("claude-3-7-sonnet-20250219", "sonnet", (3, 7), "2025-02-24", "2026-02-19"),
        ("claude-3-5-haiku-20241022", "haiku", (3, 5), "2024-10-22", "2026-02-19"),
        ("claude-3-5-sonnet-20241022", "sonnet", (3, 5), "2024-10-22", "2025-10-28"),
        ("claude-3-haiku-20240307", "haiku", (3, 0), "2024-03-07", "2026-04-20"),
        ("claude-3-opus-20240229", "opus", (3, 0), "2024-02-29", "2026-01-05"),
    )
)  # fmt: skip

_BY_NAME = {model.id: model for model in MODELS} | {
    # Up to 4.5 a name without its date is an alias; later names have no date at all.
    re.sub(r"-\d{8}$", "", model.id): model
    for model in MODELS
}


def find_model(name: str) -> Model:
    """Return the model with this id or alias. Raises Problem, 404, also for a retired one."""
    if (model := _BY_NAME.get(name)) is None:
        raise Problem(f"model: {name}", status=404)
    return model


def model_info(model: Model) -> dict[str, Any]:
    """Return a model as `/v1/models/{id}` describes it."""
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.display_name,
        "created_at": _instant(model.created),
        "line": model.line,
        "lifecycle": model.lifecycle,
        "deprecated_at": _instant(model.deprecated),
        "retires_at": _instant(model.retires),
        "max_input_tokens": model.context,
        "max_tokens": model.max_tokens,
        "capabilities": _capabilities(model),
    }


def models_page(query: dict[str, list[str]]) -> dict[str, Any]:
    """Return the page of models that the query asks for; retired ones only if it names their lifecycle."""
    wanted = query.get("lifecycle[]") or query.get("lifecycle") or ["active", "deprecated"]
    if unknown := set(wanted) - {"active", "deprecated", "retired"}:
        raise Problem(f"lifecycle: unknown value '{min(unknown)}'")
    return page([model_info(model) for model in (*MODELS, *RETIRED) if model.lifecycle in wanted], query)


def page(items: Sequence[dict[str, Any]], query: dict[str, list[str]]) -> dict[str, Any]:
    """Return the part of `items` that `limit`, `after_id` and `before_id` select. Raises Problem."""
    limit = query.get("limit", ["20"])[0]
    if not limit.isdecimal() or not 1 <= int(limit) <= 1000:
        raise Problem("limit: Input should be an integer from 1 to 1000")
    ids = [item["id"] for item in items]
    if "before_id" in query:
        end = _position(ids, query["before_id"][0])
        start = max(0, end - int(limit))
        more = start > 0
    else:
        start = _position(ids, query["after_id"][0]) + 1 if "after_id" in query else 0
        end = start + int(limit)
        more = end < len(ids)
    data = list(items[start:end])
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"data": data, "has_more": more, "first_id": first, "last_id": last}


def _position(ids: Sequence[str], name: str) -> int:
    if name not in ids:
        raise Problem(f"no item has the id '{name}'")
    return ids.index(name)


def _instant(date: str | None) -> str | None:
    return f"{date}T00:00:00Z" if date else None


def _capabilities(model: Model) -> dict[str, Any]:
    yes = {"supported": True}
    simple = ("batch", "citations", "code_execution", "image_input", "pdf_input", "structured_outputs")
    return {
        **dict.fromkeys(simple, yes),
        "context_management": yes,
        "effort": {
            "supported": bool(model.efforts),
            **{effort: {"supported": effort in model.efforts} for effort in EFFORTS},
        },
        "server_tools": {
            "supported": False,
            "code_execution": {"supported": False},
            "web_search": {"supported": False},
        },
        "thinking": {
            "supported": model.thinking != ("disabled",),
            "types": {kind: {"supported": kind in model.thinking} for kind in THINKING},
        },
    }
