"""From the events of a stream, or from a whole message, to a reply.

Lenient where the API may add things (events, blocks, deltas and fields that are not known are ignored) and
strict where an answer would be wrong without notice (cut, garbled, too large). It knows no transport.
"""

from __future__ import annotations

from json import JSONDecoder

from ..errors import ConnectionFailed
from ..records import Reply, Usage
from .faults import event_error, excerpt, mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

MAX_TEXT_CHARACTERS = 64 * 1024 * 1024

_decode = JSONDecoder().decode


class Answer:
    """One answer while it arrives."""

    def __init__(
        self,
        on_text: Callable[[str], None] | None = None,
        *,
        on_begin: Callable[[], None] | None = None,
        request_id: str | None = None,
        secrets: Sequence[str] = (),
    ) -> None:
        """Call `on_begin` with the first block, whatever is in it, and give each piece of text to `on_text`.

        No error shows one of the `secrets`.
        """
        self.complete = False
        self.heard = 0
        """How many events there were that bring the answer forward."""
        self._on_text = on_text
        self._on_begin = on_begin
        self._request_id = request_id
        self._secrets = secrets
        self._pieces: list[str] = []
        self._length = 0
        self._message: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}

    def feed(self, events: Iterable[tuple[str, str]]) -> None:
        """Take in `events`, pairs of name and JSON, up to the one that completes the answer.

        Raises ConnectionFailed for what is not a message's event, and the ApiError that an `error` event tells.
        """
        for name, data in events:
            event = self._parsed(data)
            event.setdefault("type", name)
            self.take(event)
            if self.complete:
                return

    def take(self, event: dict[str, Any]) -> None:
        """Take in one event that is already parsed. Raises as `feed` does."""
        kind = event.get("type")
        self.heard += kind != "ping"
        if kind == "content_block_delta":
            self._delta(mapping(event.get("delta")))
        elif kind == "content_block_start":
            self._block(event.get("content_block"))
        elif kind == "message_start":
            self._head(mapping(event.get("message")))
        elif kind == "message_delta":
            self._head({**mapping(event.get("delta")), "usage": event.get("usage")})
        elif kind == "message_stop":
            self.complete = True
        elif kind == "error":
            raise event_error(event, self._request_id, self._secrets)

    def whole(self, body: bytes) -> None:
        """Take in a whole message as JSON, which a gateway may send although a stream was asked for.

        Raises ConnectionFailed if it is not one, and ApiError if it is an error.
        """
        try:
            message = self._parsed(body.decode())
        except UnicodeDecodeError:
            raise ConnectionFailed("the answer is garbled: it is not UTF-8") from None
        if message.get("type") == "error":
            raise event_error(message, self._request_id, self._secrets)
        if message.get("type") != "message" or not isinstance(message.get("content"), list):
            raise ConnectionFailed("the answer is garbled: it is not a message", hint=_HINT)
        self._head(message)
        for block in message["content"]:
            self._block(block)
        self.complete = True

    def reply(self) -> Reply:
        """Return the reply. Raises ConnectionFailed if the answer ended before it was complete."""
        if not self._message and not self.complete:
            raise ConnectionFailed("the answer is garbled: it is not a message", hint=_HINT)
        if not self.complete:
            raise ConnectionFailed("the answer was cut off before its end", hint="try again")
        return Reply(
            text="".join(self._pieces),
            model=self._label(self._message.get("model")) or "",
            stop_reason=self._label(self._message.get("stop_reason")),
            usage=_counted(self._usage),
            message_id=self._label(self._message.get("id")),
            request_id=self._request_id,
            refusal=self._label(mapping(self._message.get("stop_details")).get("category")),
        )

    def _label(self, value: object) -> str | None:
        """Return a short name that the API gave: whatever it holds, it is one line, and no secret."""
        return excerpt(value, self._secrets, length=100) or None

    def _parsed(self, data: str) -> dict[str, Any]:
        try:
            event = _decode(data)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            raise ConnectionFailed("the answer is garbled: an event is not a JSON object")
        return event

    def _head(self, fields: dict[str, Any]) -> None:
        _merge(self._usage, mapping(fields.get("usage")))
        _merge(self._message, {name: fields.get(name) for name in ("id", "model", "stop_reason", "stop_details")})

    def _block(self, block: object) -> None:
        if self._on_begin:
            begin, self._on_begin = self._on_begin, None
            begin()
        fields = mapping(block)
        if fields.get("type") == "text":
            self._text(fields.get("text") or "")

    def _delta(self, delta: dict[str, Any]) -> None:
        if delta.get("type") == "text_delta":
            self._text(delta.get("text"))

    def _text(self, text: object) -> None:
        if not isinstance(text, str):
            raise ConnectionFailed("the answer is garbled: a text is not a string")
        if not text:
            return
        if not text.isascii():
            text = _encodable(text)
        self._length += len(text)
        if self._length > MAX_TEXT_CHARACTERS:
            raise ConnectionFailed("the answer is too large", retryable=False)
        self._pieces.append(text)
        if self._on_text:
            self._on_text(text)


_HINT = "check that ANTHROPIC_BASE_URL is an address of the Messages API"


def _encodable(text: str) -> str:
    # JSON may escape half of a surrogate pair; no file and no terminal could take such a string.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _merge(known: dict[str, Any], news: dict[str, Any]) -> None:
    """Overwrite what is `known` by the `news`: counts are cumulative, and null says nothing."""
    for name, value in news.items():
        if isinstance(value, dict) and isinstance(known.get(name), dict):
            _merge(known[name], value)
        elif value is not None:
            known[name] = value


def _counted(usage: dict[str, Any]) -> Usage:
    return Usage(
        input_tokens=_count(usage.get("input_tokens")),
        output_tokens=_count(usage.get("output_tokens")),
        cache_creation_input_tokens=_count(usage.get("cache_creation_input_tokens")),
        cache_read_input_tokens=_count(usage.get("cache_read_input_tokens")),
        cache_creation_1h_input_tokens=_count(mapping(usage.get("cache_creation")).get("ephemeral_1h_input_tokens")),
        thinking_tokens=_count(mapping(usage.get("output_tokens_details")).get("thinking_tokens")),
        web_searches=_count(mapping(usage.get("server_tool_use")).get("web_search_requests")),
        service_tier=_string(usage.get("service_tier")),
        inference_geo=_string(usage.get("inference_geo")),
        speed=_string(usage.get("speed")),
    )


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int:
    """Return a number of tokens; more than a quadrillion, which no price could be made of, counts as that."""
    return min(value, 10**15) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
