"""An answer on its way to the client: what is sent, in which pieces, how slowly, and where it breaks off.

It does not know what the pieces mean.
"""

from __future__ import annotations

from dataclasses import dataclass

from .jsonbytes import json_bytes
from .wire import head_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .wire import Connection, HttpRequest

JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"
_ORGANIZATION = "00000000-0000-4000-8000-000000000000"


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Delivery:
    """An answer whose body is `pieces`; `stream` sends each as a chunk, otherwise their length is announced."""

    pieces: tuple[bytes, ...]
    status: int = 200
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    stream: bool = False
    latency: float = 0.0
    """Seconds before the answer begins."""
    pause: float = 0.0
    """Seconds between the pieces."""
    ending: str = "whole"
    """`whole`, `cut` (closed after half of it), `reset` (in place of it) or `hang` (never begins)."""
    begun: Callable[[], None] = _nothing
    """Called when the answer begins."""


def json_delivery(value: Any, status: int = 200) -> Delivery:
    """Return the delivery of `value` as JSON."""
    return Delivery((json_bytes(value),), status)


def deliver(
    delivery: Delivery,
    connection: Connection,
    request: HttpRequest,
    request_id: str,
    finish: Callable[[int | None], None],
) -> bool:
    """Send the answer, call `finish` with its status before its last byte, and say whether the connection lives on.

    Raises OSError where the client has gone.
    """
    if delivery.ending == "hang":
        connection.wait(None)
    if delivery.latency > 0:
        connection.wait(delivery.latency)
    if delivery.ending == "reset":
        finish(None)
        connection.reset()
        return False
    delivery.begun()
    keep_alive = request.keep_alive and delivery.ending == "whole" and (request.chunks or not delivery.stream)
    head = _head(delivery, request_id, keep_alive, request.chunks)
    _send(connection, [head, *_body(delivery, request)], delivery, finish)
    return keep_alive


def _head(delivery: Delivery, request_id: str, keep_alive: bool, chunks: bool) -> bytes:
    headers = [
        ("content-type", delivery.content_type),
        ("request-id", request_id),
        ("anthropic-organization-id", _ORGANIZATION),
        ("x-simulated", "true"),
        *delivery.headers,
    ]
    if not delivery.stream:
        headers.append(("content-length", str(sum(map(len, delivery.pieces)))))
    elif chunks:
        headers += [("cache-control", "no-cache"), ("transfer-encoding", "chunked")]
    if not keep_alive:
        headers.append(("connection", "close"))
    return head_bytes(delivery.status, headers)


def _body(delivery: Delivery, request: HttpRequest) -> list[bytes]:
    if request.method == "HEAD":
        return []
    pieces = list(delivery.pieces)
    if not delivery.stream and len(pieces) == 1 and (delivery.pause > 0 or delivery.ending == "cut"):
        pieces = _split(pieces[0])
    if delivery.ending == "cut":
        pieces = pieces[: (len(pieces) + 1) // 2]
    if not delivery.stream or not request.chunks:
        return pieces
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    if delivery.ending == "whole":
        chunks[-1] += b"0\r\n\r\n"  # not a part of its own: the last event is the last that a client waits for
    return chunks


def _split(body: bytes, parts: int = 8) -> list[bytes]:
    size = max(1, -(-len(body) // parts))
    return [body[start : start + size] for start in range(0, len(body), size)]


def _send(connection: Connection, parts: list[bytes], delivery: Delivery, finish: Callable[[int | None], None]) -> None:
    """Send the head and the body's parts; all in one write where nothing is to pass between them."""
    if delivery.pause <= 0:
        finish(delivery.status)
        connection.send(b"".join(parts))
        return
    *first, last = [b"".join(parts[:2]), *parts[2:]]
    for part in first:
        connection.send(part)
        connection.wait(delivery.pause)
    finish(delivery.status)
    connection.send(last)
