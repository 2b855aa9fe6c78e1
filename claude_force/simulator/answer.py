"""What the simulated model says, and the message that carries it.

The text is made from the request alone: the same request gets the same text. It begins with `[simulated]` and shows
what was understood: whose system prompt it is, the first line of the task, the documents that came with it, and sizes.
It knows no HTTP.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from json import dumps
from zlib import crc32

from .markers import without_markers
from .schema import SIMULATED, minimal
from .tokens import as_blocks, count, fit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .behaviour import Fault
    from .catalogue import Model

_DOCUMENT = re.compile(r'^[ \t]*<([A-Za-z][\w-]*)\b([^<>\n]*\bname="([^"\n]*)"[^<>\n]*)>', re.MULTILINE)
_FENCE = re.compile(r'\bfence="[^"]*"')
_THINKING_TOKENS = 16
_EMPTY_TOKENS = 2
_LINE = 100
_FILLER = "\nThis text is here for its length. No model was called."


@dataclass(frozen=True)
class Completion:
    """An answer before it is counted and wrapped: content blocks and how it stopped."""

    content: tuple[dict[str, Any], ...]
    stop_reason: str
    output_tokens: int
    thinking_tokens: int = 0
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None


def last_user_text(body: dict[str, Any]) -> list[str]:
    """Return the text blocks of the last user message."""
    users = [message for message in body["messages"] if message["role"] == "user"]
    return [block["text"] for block in as_blocks(users[-1]["content"]) if block["type"] == "text"] if users else []


def steering_text(body: dict[str, Any]) -> str:
    """Return the last user message without its documents: the text in which markers count."""
    return "\n".join(_split(text)[1] for text in last_user_text(body))


def complete(body: dict[str, Any], model: Model, fault: Fault, *, thinking: bool) -> Completion:
    """Answer a valid request; `thinking` asks for an empty thinking block at the beginning."""
    limit = body["max_tokens"]
    if limit == 0:
        return Completion((), "max_tokens", 0)
    if _wants_tool(body, fault):
        return _tool_call(body, model)
    thought = min(_THINKING_TOKENS, limit - 1) if thinking else 0
    text, stop, sequence = _cut(_text(body, model, fault), body, limit - thought, model)
    content = [{"type": "thinking", "thinking": "", "signature": "c2ltdWxhdGVk"}] if thinking else []
    content += [{"type": "text", "text": text}] if text else []
    stop = fault.stop or stop
    refused = stop == "refusal"
    return Completion(
        content=() if refused and not text else tuple(content),
        stop_reason=stop,
        output_tokens=thought + (count(text, model) if text else 0 if refused else min(_EMPTY_TOKENS, limit)),
        thinking_tokens=thought,
        stop_sequence=sequence if stop == "stop_sequence" else None,
        stop_details=_refusal() if refused else None,
    )


def _refusal() -> dict[str, Any]:
    return {"type": "refusal", "category": "general_harms", "explanation": f"{SIMULATED} The request was declined."}


def _text(body: dict[str, Any], model: Model, fault: Fault) -> str:
    if fault.reply is not None:
        return fault.reply
    if fault.empty or (fault.stop == "refusal" and fault.tokens is None):
        return ""
    output_format = (body.get("output_config") or {}).get("format") or body.get("output_format")
    if output_format:
        return dumps(minimal(output_format["schema"]))
    text = describe(body, model)
    if fault.tokens is None:
        return text
    enough = text + _FILLER * (fault.tokens * 4 // len(_FILLER) + 1)
    return fit(enough, fault.tokens, model)


def _cut(text: str, body: dict[str, Any], limit: int, model: Model) -> tuple[str, str, str | None]:
    """Return the text up to the first stop sequence or the limit in tokens, why it stopped, and the sequence met."""
    hits = [(at, s) for s in body.get("stop_sequences") or () if (at := text.find(s)) >= 0]
    stop, sequence = "end_turn", None
    if hits:
        at, sequence = min(hits)
        text, stop = text[:at], "stop_sequence"
    if count(text, model) > limit:
        return fit(text, limit, model), "max_tokens", None
    return text, stop, sequence


def _wants_tool(body: dict[str, Any], fault: Fault) -> bool:
    forced = (body.get("tool_choice") or {}).get("type") in {"any", "tool"} and fault.reply is None
    return bool(body.get("tools")) and (forced or fault.stop == "tool_use")


def _tool_call(body: dict[str, Any], model: Model) -> Completion:
    wanted = (body.get("tool_choice") or {}).get("name")
    tool = next((tool for tool in body["tools"] if tool.get("name") == wanted), body["tools"][0])
    arguments = minimal(tool.get("input_schema") or {"type": "object"})
    block = {
        "type": "tool_use",
        "id": f"toolu_sim_{len(body['messages']):02d}",
        "name": tool.get("name", ""),
        "input": arguments,
    }
    return Completion((block,), "tool_use", count(dumps(arguments), model))


def describe(body: dict[str, Any], model: Model) -> str:
    """Return the text of an answer that nothing steers."""
    system = "\n".join(block["text"] for block in as_blocks(body.get("system")))
    user = last_user_text(body)
    documents = [document for text in (system, *user) for document in _split(text)[0]]
    prompt = dumps([body.get("system"), body["messages"], body.get("tools")], sort_keys=True)
    return "\n".join(
        [
            f"{SIMULATED} No model was called; {model.id} would answer here.",
            "",
            f"- Who: {_first_line(_split(system)[1]) or 'no system prompt'}",
            f"- Task: {_task(user) or 'no text'}",
            f"- Documents: {', '.join(documents) or 'none'}",
            f"- Size: {len(system):,} characters of system prompt, {sum(map(len, user)):,} of user message, "
            f"{len(body['messages'])} message(s); fingerprint {crc32(prompt.encode()):08x}",
        ]
    )


def _task(texts: list[str]) -> str:
    """Return the first line outside any document, of the last block that has one: documents come before the task."""
    lines = (_first_line(without_markers(_split(text)[1])) for text in reversed(texts))
    return next((line for line in lines if line), "")


def _first_line(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= _LINE else line[: _LINE - 1] + "…"


def _split(text: str) -> tuple[list[str], str]:
    """Return the documents of a text, as `name (size)`, and what is left of it without them."""
    documents, rest, at = [], [], 0
    while opening := _DOCUMENT.search(text, at):
        tag, attributes, name = opening.groups()
        fence = _FENCE.search(attributes)
        closing = f"</{tag} {fence[0]}>" if fence else f"</{tag}>"
        end = text.find(closing, opening.end())
        end = len(text) if end < 0 else end
        documents.append(f"{name} ({len(text[opening.end() : end].strip()):,} characters)")
        rest.append(text[at : opening.start()])
        at = end + len(closing)
    return documents, "".join([*rest, text[at:]])
