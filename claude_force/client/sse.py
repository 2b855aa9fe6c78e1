r"""Server-sent events: bytes in, events out, in any division into chunks.

Pure. It knows the framing and nothing of what the events say. Lines end with `\n`, `\r\n` or `\r` and with
nothing else, so a line separator of Unicode within an event's JSON does not split it.
Source: WHATWG HTML, "Server-sent events", section "Interpreting an event stream".
"""

from __future__ import annotations

from ..errors import ConnectionFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_EVENT_BYTES = 64 * 1024 * 1024


class Decoder:
    """Turns the chunks of one stream into events; a last event that no blank line ends is dropped."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        """Refuse events larger than `max_event_bytes`, so that no server can fill the memory."""
        self._limit = max_event_bytes
        self._pending: list[bytes] = []  # a list, because joining at every chunk of a large event is quadratic
        self._size = 0
        self._ends_line = False
        self._after_return = False

    def feed(self, chunk: bytes) -> Iterator[tuple[str, str]]:
        """Return the events that end in `chunk`, as pairs of name, which may be empty, and data.

        Raises ConnectionFailed for an event that is too large or not UTF-8.
        """
        if self._after_return or b"\r" in chunk:
            chunk = self._normalised(chunk)
        if not chunk:
            return iter(())
        self._pending.append(chunk)
        self._size += len(chunk)
        may_exceed = self._size > self._limit
        ends_event = b"\n\n" in chunk or (self._ends_line and chunk.startswith(b"\n"))
        blocks = self._split() if ends_event else []
        self._ends_line = self._size > 0 and chunk.endswith(b"\n")
        if may_exceed and max([self._size, *map(len, blocks)]) > self._limit:
            raise ConnectionFailed("the answer holds an event that is too large", retryable=False)
        return filter(None, map(_event, blocks))

    def _normalised(self, chunk: bytes) -> bytes:
        if self._after_return and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_return = False
        if b"\r" in chunk:
            self._after_return = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return chunk

    def _split(self) -> list[bytes]:
        *blocks, rest = b"".join(self._pending).split(b"\n\n")
        self._pending = [rest] if rest else []
        self._size = len(rest)
        return blocks


def _event(block: bytes) -> tuple[str, str] | None:
    name = b""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    if not data:
        return None
    try:
        return name.decode(), b"\n".join(data).decode()
    except UnicodeDecodeError:
        raise ConnectionFailed("the answer is garbled: it is not UTF-8") from None
