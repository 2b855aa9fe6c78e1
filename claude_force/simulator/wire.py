"""HTTP/1.1 on one accepted socket: requests in, answers out, and the ways in which a connection can fail.

Not `http.server`: its header parser costs more than all the rest of a request. Knows no paths and no JSON.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from time import gmtime, monotonic, strftime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Payload Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    529: "Overloaded",
}
_MAX_HEAD = 64 * 1024
_PIECE = 256 * 1024


class Malformed(Exception):
    """The bytes that arrived are not an HTTP/1.x request."""


@dataclass(frozen=True)
class HttpRequest:
    """A request: names of headers in lower case; `too_large` says that the body was over the limit and is not here."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool
    chunks: bool
    """Whether the client reads a chunked answer, as HTTP/1.1 does and 1.0 does not."""
    too_large: bool = False


class Connection:
    """One accepted socket, used by one thread; only `abort` may be called from another."""

    def __init__(self, sock: socket.socket, body_limit: Callable[[str], int]) -> None:
        """Read from `sock` bodies of at most `body_limit(target)` bytes."""
        self._socket = sock
        self._body_limit = body_limit
        self._buffer = bytearray()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def handshake(self) -> None:
        """Shake hands if this is a TLS socket. Raises OSError."""
        if handshake := getattr(self._socket, "do_handshake", None):
            handshake()

    def read(self) -> HttpRequest | None:
        """Return the next request, or None where the client has closed. Raises Malformed, OSError."""
        head = self._head()
        if head is None:
            return None
        lines = head.decode("latin-1").split("\r\n")
        try:
            method, target, version = lines[0].split(" ")
        except ValueError:
            raise Malformed(f"request line {lines[0]!r}") from None
        if not version.startswith("HTTP/1."):
            raise Malformed(f"version {version!r}")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        body = self._body(headers, self._body_limit(target))
        modern = version != "HTTP/1.0"
        wish = headers.get("connection", "").lower()
        keep_alive = "close" not in wish if modern else "keep-alive" in wish
        return HttpRequest(method, target, headers, body or b"", keep_alive, modern, too_large=body is None)

    def send(self, data: bytes) -> None:
        """Send all of `data`. Raises OSError where the client has gone."""
        self._socket.sendall(data)

    def wait(self, seconds: float | None) -> None:
        """Wait so many seconds, or for ever if None. Raises ConnectionAbortedError as soon as the client closes."""
        end = None if seconds is None else monotonic() + seconds
        while (left := None if end is None else end - monotonic()) is None or left > 0:
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(_PIECE)
            except TimeoutError:
                continue
            finally:
                self._socket.settimeout(None)
            if not data:
                raise ConnectionAbortedError("the client closed the connection")
            self._buffer += data

    def abort(self) -> None:
        """Make every read, wait and send of this connection fail, from any thread."""
        try:
            # The plain socket's, since that of a TLS socket would take the TLS layer from under the thread that reads.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        except OSError:
            pass  # it is closed already

    def reset(self) -> None:
        """Close so that the client meets a reset, and not an orderly end."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Close in order: what was sent still arrives."""
        self.abort()
        self._socket.close()

    def _head(self) -> bytes | None:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _MAX_HEAD:
                raise Malformed("the head of the request is too long")
            if not self._more():
                return None
        head = bytes(self._buffer[:end]).lstrip(b"\r\n")
        del self._buffer[: end + 4]
        return head

    def _body(self, headers: dict[str, str], limit: int) -> bytes | None:
        if headers.get("expect", "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self._chunked_body(limit)
        if not (text := headers.get("content-length", "0")).isdecimal():
            raise Malformed(f"content-length {text!r}")
        length = int(text)
        if length <= limit:
            return self._take(length)
        self._drain(length)
        return None

    def _chunked_body(self, limit: int) -> bytes | None:
        body = bytearray()
        while True:
            try:
                size = int(self._line().partition(b";")[0], 16)
            except ValueError:
                raise Malformed("the size of a chunk is not a number") from None
            if size == 0:
                break
            body += self._take(size)
            self._line()
            del body[limit + 1 :]
        while self._line():
            pass  # trailers
        return bytes(body) if len(body) <= limit else None

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            self._need_more()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _take(self, length: int) -> bytes:
        while len(self._buffer) < length:
            self._need_more()
        data = bytes(self._buffer[:length])
        del self._buffer[:length]
        return data

    def _drain(self, length: int) -> None:
        """Read a body that nobody wants: closing on it would reset the connection before the answer is read."""
        left = length - len(self._buffer)
        self._buffer.clear()
        while left > 0:
            self._need_more()
            left -= len(self._buffer)
            self._buffer.clear()

    def _more(self) -> bool:
        data = self._socket.recv(_PIECE)
        self._buffer += data
        return bool(data)

    def _need_more(self) -> None:
        if not self._more():
            raise ConnectionAbortedError("the client closed the connection in the middle of a request")


def head_bytes(status: int, headers: list[tuple[str, str]]) -> bytes:
    """Return the status line and headers of an answer, with the date, ending in the empty line."""
    date = strftime("%a, %d %b %Y %H:%M:%S GMT", gmtime())
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}", f"date: {date}", *(f"{n}: {v}" for n, v in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
