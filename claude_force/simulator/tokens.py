"""How many tokens this server says a text has, and how a prompt falls into blocks.

The rule: a token is four characters on models up to 4.6 and 40/13 characters on later ones, whose tokenizer counts
about 30 % more; each block of a prompt is rounded up and is at least one token. A text block counts by its text, an
image 1 500 tokens, every other block and every tool by its JSON. It is an estimate, but the same text always gets the
same count.
"""

from __future__ import annotations

from dataclasses import dataclass
from json import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .catalogue import Model

IMAGE_TOKENS = 1500


@dataclass(frozen=True)
class Segment:
    """One block of a prompt; `ttl` is the life in seconds of the cached prefix that ends here, None if none does."""

    content: str
    tokens: int
    ttl: int | None = None


def count(text: str, model: Model) -> int:
    """Return the tokens of `text`."""
    return -(-len(text) * model.tokens_per_40_characters // 40)


def fit(text: str, tokens: int, model: Model) -> str:
    """Return the longest beginning of `text` that has at most so many tokens."""
    return text[: 40 * tokens // model.tokens_per_40_characters]


def segments(body: dict[str, Any], model: Model) -> list[Segment]:
    """Return the blocks of a request in the order in which the API caches them: tools, system, messages."""
    blocks = [*(body.get("tools") or []), *as_blocks(body.get("system"))]
    for message in body.get("messages", []):
        blocks += as_blocks(message["content"])
    result = [_segment(block, model) for block in blocks]
    if result and body.get("cache_control"):
        last = result[-1]
        result[-1] = Segment(last.content, last.tokens, last.ttl or _ttl(body["cache_control"]))
    return result


def as_blocks(content: Any) -> list[dict[str, Any]]:
    """Return the blocks of a `system` or `content` value, which may be a string or missing."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return content or []


def _segment(block: dict[str, Any], model: Model) -> Segment:
    mark = block.get("cache_control")
    kind = block.get("type")
    if kind == "text":
        content = block["text"]
    else:
        content = dumps({name: value for name, value in block.items() if name != "cache_control"}, sort_keys=True)
    tokens = IMAGE_TOKENS if kind == "image" else max(1, count(content, model))
    return Segment(content, tokens, _ttl(mark) if mark else None)


def _ttl(mark: dict[str, Any]) -> int:
    return 3600 if mark.get("ttl") == "1h" else 300
