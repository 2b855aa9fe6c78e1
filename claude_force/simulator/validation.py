"""What the API refuses before a model sees it: headers, keys, and bodies of the message endpoints.

Messages are worded as `key.path: what was expected`. Unknown blocks and inner keys pass: the API adds to them at any
time.
"""

from __future__ import annotations

from json import JSONDecodeError, loads

from .catalogue import EFFORTS, Model, find_model
from .problems import Problem
from .schema import check_schema, check_tool_schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSIONS = ("2023-06-01", "2026-10-21")
_SAMPLING = ("temperature", "top_p", "top_k")
_BREAKPOINTS = 4
_NAMES: dict[type | tuple[type, ...], str] = {
    str: "string",
    int: "integer",
    (int, float): "number",
    bool: "boolean",
    list: "list",
    dict: "dictionary",
    (str, list): "string or list",
}
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "model": str,
    "max_tokens": int,
    "messages": list,
    "system": (str, list),
    "stop_sequences": list,
    "stream": bool,
    "metadata": dict,
    "thinking": dict,
    "output_config": dict,
    "output_format": dict,
    "tools": list,
    "tool_choice": dict,
    "cache_control": dict,
    "service_tier": str,
    "speed": str,
    "inference_geo": str,
    "temperature": (int, float),
    "top_p": (int, float),
    "top_k": int,
    "context_management": dict,
    "mcp_servers": list,
    "diagnostics": dict,
}
_OPAQUE = frozenset(
    ("container", "compaction", "billing_policy", "fallbacks", "fallback_credit_token", "thread", "user_profile_id")
)
_CHOICES = {"service_tier": ("auto", "standard_only"), "speed": ("standard", "fast")}


def check_headers(headers: dict[str, str], key: str | None) -> str:
    """Return the API version of a request. Raises Problem: 401 for its key, 400 for its version."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    given = [headers.get("x-api-key", ""), token.strip() if scheme.lower() == "bearer" else ""]
    if not any(given):
        raise Problem("x-api-key or authorization: Bearer header is required", status=401)
    if key is not None and key not in given:
        raise Problem("invalid x-api-key", status=401)
    version = headers.get("anthropic-version")
    if not version:
        raise Problem("anthropic-version: header is required")
    if version not in VERSIONS:
        raise Problem(f"anthropic-version: {version} is not a valid version")
    return version


def parse_json(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`. Raises Problem, 400."""
    try:
        value = loads(body)
    except (JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(f"The request body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise Problem("The request body is not a JSON object")
    return value


def check_message(body: dict[str, Any], version: str) -> Model:
    """Return the model that a valid message request names. Raises Problem, 400 or 404."""
    model = check_prompt(body, version)
    limit = _required(body, "max_tokens")
    if limit < 0:
        raise Problem("max_tokens: Input should be greater than or equal to 0")
    if limit > model.max_tokens:
        most = f"{model.max_tokens}, which is the maximum allowed number of output tokens for {model.id}"
        raise Problem(f"max_tokens: {limit} > {most}")
    budget = (body.get("thinking") or {}).get("budget_tokens")
    if budget is not None and budget >= limit:
        raise Problem("max_tokens: must be greater than thinking.budget_tokens")
    return model


def check_prompt(body: dict[str, Any], version: str) -> Model:
    """Return the model of a body that need not have `max_tokens`, as for counting. Raises Problem, 400 or 404."""
    for name, value in body.items():
        if name not in _FIELDS and name not in _OPAQUE:
            raise Problem(f"{name}: Extra inputs are not permitted")
        if name in _FIELDS and value is not None:
            _typed(value, _FIELDS[name], name)
    for name, choices in _CHOICES.items():
        _one_of(body.get(name), choices, name)
    _required(body, "messages")
    model = find_model(_required(body, "model"))
    _check_conversation(body, version, model)
    _check_sampling(body, version, model)
    for i, sequence in enumerate(body.get("stop_sequences") or ()):
        _typed(sequence, str, f"stop_sequences.{i}")
        if not sequence.strip():
            raise Problem(f"stop_sequences.{i}: each stop sequence must contain non-whitespace")
    _check_thinking(body.get("thinking"), model)
    _check_output(body, model)
    _check_tools(body, model)
    return model


def _required(body: dict[str, Any], name: str) -> Any:
    if body.get(name) is None:
        raise Problem(f"{name}: Field required")
    return body[name]


def _typed(value: Any, kind: type | tuple[type, ...], where: str) -> None:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Problem(f"{where}: Input should be a valid {_NAMES[kind]}")


def _one_of(value: Any, choices: tuple[str, ...], where: str) -> None:
    if value is not None and value not in choices:
        raise Problem(f"{where}: Input should be {', '.join(map(repr, choices))}")


def _check_conversation(body: dict[str, Any], version: str, model: Model) -> None:
    messages = body["messages"]
    if not messages:
        raise Problem("messages: at least one message is required")
    if len(messages) > 100_000:
        raise Problem("messages: at most 100000 messages are allowed")
    marks = _check_blocks(body.get("system") or [], "system", texts_only=True)
    for i, message in enumerate(messages):
        marks += _check_turn(message, f"messages.{i}", version)
    marks += sum(bool(tool.get("cache_control")) for tool in body.get("tools") or [] if isinstance(tool, dict))
    marks += bool(body.get("cache_control"))
    if marks > _BREAKPOINTS:
        raise Problem(f"A maximum of {_BREAKPOINTS} blocks with cache_control may be provided. Found {marks}.")
    if messages[-1]["role"] == "assistant" and model.version >= (4, 6):
        raise Problem(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )


def _check_turn(message: Any, where: str, version: str) -> int:
    _typed(message, dict, where)
    role = _required_at(message, "role", where)
    _one_of(role, ("user", "assistant", "system"), f"{where}.role")
    content = _required_at(message, "content", where)
    _typed(content, (str, list), f"{where}.content")
    if content == "":
        raise Problem(f"{where}: text content blocks must be non-empty")
    marks = _check_blocks(content, f"{where}.content", texts_only=role == "system")
    if version >= "2026-10-21" and isinstance(content, list):
        for i, block in enumerate(content):
            _check_new_rules(block, role, f"{where}.content.{i}")
    return marks


def _required_at(value: dict[str, Any], name: str, where: str) -> Any:
    if value.get(name) is None:
        raise Problem(f"{where}.{name}: Field required")
    return value[name]


def _check_blocks(blocks: Any, where: str, *, texts_only: bool) -> int:
    """Check content blocks and return how many of them carry `cache_control`."""
    if isinstance(blocks, str):
        return 0
    for i, block in enumerate(blocks):
        path = f"{where}.{i}"
        _typed(block, dict, path)
        kind = _required_at(block, "type", path)
        if texts_only and kind != "text":
            raise Problem(f"{path}.type: Input should be 'text'")
        if kind == "text":
            _typed(block.get("text"), str, f"{path}.text")
            if not block["text"]:
                raise Problem(f"{path}.text: text content blocks must be non-empty")
        _check_mark(block.get("cache_control"), f"{path}.cache_control")
    return sum(bool(block.get("cache_control")) for block in blocks)


def _check_mark(mark: Any, where: str) -> None:
    if mark is not None:
        _typed(mark, dict, where)
        _one_of(_required_at(mark, "type", where), ("ephemeral",), f"{where}.type")
        _one_of(mark.get("ttl"), ("5m", "1h"), f"{where}.ttl")


def _check_new_rules(block: dict[str, Any], role: str, where: str) -> None:
    if role == "assistant" and block["type"] == "document":
        raise Problem(f"{where}: document blocks are not permitted in assistant messages")
    if role == "user" and block["type"] == "text" and block.get("citations"):
        raise Problem(f"{where}.citations: citations are not permitted on text blocks of user messages")


def _check_sampling(body: dict[str, Any], version: str, model: Model) -> None:
    for name in _SAMPLING:
        value = body.get(name)
        if value is None:
            continue
        if version >= "2026-10-21":
            raise Problem(f"{name}: Extra inputs are not permitted with anthropic-version {version}")
        if model.version >= (4, 7) and not (name in {"temperature", "top_p"} and value == 1):
            raise Problem(f"{name}: only the default value is supported for {model.id}")
        if name != "top_k" and not 0 <= value <= 1:
            raise Problem(f"{name}: range: 0..1")


def _check_thinking(thinking: Any, model: Model) -> None:
    if thinking is None:
        return
    kind = _required_at(thinking, "type", "thinking")
    if kind not in model.thinking:
        raise Problem(f"thinking.type: '{kind}' is not supported for {model.id}; use {' or '.join(model.thinking)}")
    _one_of(thinking.get("display"), ("summarized", "omitted"), "thinking.display")
    if kind == "enabled":
        budget = _required_at(thinking, "budget_tokens", "thinking")
        _typed(budget, int, "thinking.budget_tokens")
        if budget < 1024:
            raise Problem("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")


def _check_output(body: dict[str, Any], model: Model) -> None:
    config = body.get("output_config") or {}
    effort, thinking = config.get("effort"), (body.get("thinking") or {}).get("type")
    _one_of(effort, EFFORTS, "output_config.effort")
    if effort is not None and effort not in model.efforts:
        raise Problem(f"output_config.effort: '{effort}' is not supported for {model.id}")
    if model.id == "claude-opus-5" and thinking == "disabled" and effort in {"xhigh", "max"}:
        raise Problem(f"thinking.type: 'disabled' is not supported with effort '{effort}' for {model.id}")
    _check_format(config.get("format"), "output_config.format")
    _check_format(body.get("output_format"), "output_format")


def _check_format(output_format: Any, where: str) -> None:
    if output_format is not None:
        _typed(output_format, dict, where)
        _one_of(_required_at(output_format, "type", where), ("json_schema",), f"{where}.type")
        check_schema(_required_at(output_format, "schema", where), f"{where}.schema")


def _check_tools(body: dict[str, Any], model: Model) -> None:
    tools = body.get("tools") or []
    for i, tool in enumerate(tools):
        _typed(tool, dict, f"tools.{i}")
        if tool.get("input_schema") is not None:
            check_tool_schema(tool["input_schema"], f"tools.{i}.input_schema")
        _check_mark(tool.get("cache_control"), f"tools.{i}.cache_control")
    choice = body.get("tool_choice")
    if choice is None:
        return
    kind = _required_at(choice, "type", "tool_choice")
    _one_of(kind, ("auto", "any", "tool", "none"), "tool_choice.type")
    if kind in {"any", "tool"} and not model.forces_tools:
        raise Problem(f"tool_choice: '{kind}' is not supported for {model.id}; use 'auto'")
    if kind == "tool" and choice.get("name") not in [tool.get("name") for tool in tools]:
        raise Problem(f"tool_choice.name: no tool is named '{choice.get('name')}'")
