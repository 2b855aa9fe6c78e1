"""A finished message in the two forms in which the API sends it: one JSON object, or a stream of server-sent events."""

from __future__ import annotations

from itertools import islice
from json import dumps

from .jsonbytes import json_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .answer import Completion
    from .promptcache import Prefill


def message(completion: Completion, model: str, message_id: str, usage: dict[str, Any]) -> dict[str, Any]:
    """Return the message as one object; `model` is an id, never an alias."""
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": list(completion.content),
        "stop_reason": completion.stop_reason,
        "stop_sequence": completion.stop_sequence,
        "stop_details": completion.stop_details,
        "container": None,
        "diagnostics": None,
        "usage": usage,
    }


def usage_of(completion: Completion, prefill: Prefill, tier: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the usage object; `tier` is `standard` or `batch`."""
    return {
        "input_tokens": prefill.fresh,
        "cache_creation_input_tokens": prefill.written,
        "cache_read_input_tokens": prefill.read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": prefill.written_5m,
            "ephemeral_1h_input_tokens": prefill.written_1h,
        },
        "output_tokens": completion.output_tokens,
        "output_tokens_details": {"thinking_tokens": completion.thinking_tokens},
        "server_tool_use": None,
        "service_tier": tier,
        "speed": body.get("speed") or "standard",
        "inference_geo": body.get("inference_geo") or "global",
    }


def event(data: dict[str, Any]) -> bytes:
    """Return one server-sent event, named for its type."""
    return b"event: %b\ndata: %b\n\n" % (data["type"].encode(), json_bytes(data))


def stream(whole: dict[str, Any], piece: int, error: str | None = None) -> Iterator[bytes]:
    """Yield the events of a message, its text in pieces of so many characters.

    With `error`, an error type, the stream breaks off with an error event in the middle of the first text.
    """
    usage = whole["usage"]
    start = {**whole, "content": [], "stop_reason": None, "stop_sequence": None, "stop_details": None}
    begun = {**usage, "output_tokens": min(1, usage["output_tokens"]), "output_tokens_details": None}
    yield event({"type": "message_start", "message": {**start, "usage": begun}})
    blocks = [each for i, block in enumerate(whole["content"]) for each in _block(i, block, piece)]
    ping = event({"type": "ping"})
    if error:
        yield ping
        yield from islice(blocks, max(1, len(blocks) // 2))
        yield event({"type": "error", "error": {"type": error, "message": f"[simulated] {error}"}})
        return
    yield from blocks[:1]
    yield ping
    yield from blocks[1:]
    delta = {key: whole[key] for key in ("stop_reason", "stop_sequence", "stop_details", "container")}
    yield event({"type": "message_delta", "delta": delta, "usage": _final(usage)})
    yield event({"type": "message_stop"})


def _final(usage: dict[str, Any]) -> dict[str, Any]:
    """Return the cumulative counts that end a stream."""
    return {key: value for key, value in usage.items() if "tokens" in key or key == "server_tool_use"}


def _block(index: int, block: dict[str, Any], piece: int) -> Iterator[bytes]:
    """Yield the start, the deltas and the stop of one content block."""
    yield event({"type": "content_block_start", "index": index, "content_block": _emptied(block)})
    for delta in _deltas(block, piece):
        yield event({"type": "content_block_delta", "index": index, "delta": delta})
    yield event({"type": "content_block_stop", "index": index})


def _emptied(block: dict[str, Any]) -> dict[str, Any]:
    match block["type"]:
        case "text":
            return {"type": "text", "text": ""}
        case "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case _:
            return {**block, "input": {}}


def _deltas(block: dict[str, Any], piece: int) -> Iterator[dict[str, Any]]:
    match block["type"]:
        case "text":
            yield from ({"type": "text_delta", "text": part} for part in _pieces(block["text"], piece))
        case "thinking":
            yield {"type": "signature_delta", "signature": block["signature"]}
        case _:
            parts = _pieces(dumps(block["input"]), piece)
            yield from ({"type": "input_json_delta", "partial_json": part} for part in parts)


def _pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]
