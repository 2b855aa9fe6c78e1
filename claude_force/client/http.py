"""The built-in transport: the Messages API over `http.client`, streaming, on connections that are kept alive.

Importing it costs 25 ms, so it is imported when something is sent and not before. It sends each request once:
patience is `retry`'s. Redirects are errors, because a key must not travel to where a redirect points.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from json import loads
from time import monotonic

from ..errors import AuthenticationFailed, ConnectionFailed, TimedOut, UsageError
from ..records import payload, written
from .connection import Connection, Pool
from .endpoint import Endpoint, request_headers
from .faults import status_error
from .message import Answer
from .sse import Decoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.client import HTTPResponse
    from typing import Any

    from ..records import Reply, Request
    from . import OnHead

MAX_ERROR_BYTES = 64 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024


class HttpTransport:
    """A transport as `client` describes it, which also reads what other endpoints of the API tell."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Open nothing yet."""
        self._endpoint = endpoint
        self._pool = Pool(endpoint)
        self._secrets = endpoint.secrets
        self._head = _head(endpoint)

    def __call__(
        self,
        request: Request,
        *,
        on_text: Callable[[str], None] | None = None,
        deadline: float | None = None,
        on_begin: Callable[[], None] | None = None,
        on_head: OnHead | None = None,
    ) -> Reply:
        """Send `request` once and return the reply. Raises as `client` says."""
        body = written({**payload(request), "stream": True}).encode()
        with self._exchange("POST", "/v1/messages", body, deadline, on_head) as (connection, response):
            request_id = response.headers.get("request-id")
            answer = Answer(on_text, on_begin=on_begin, request_id=request_id, secrets=self._secrets)
            if "json" in response.headers.get("content-type", "").lower():
                answer.whole(_read(connection, MAX_BODY_BYTES))
            else:
                _stream(connection, answer, self._endpoint.idle_timeout)
            return answer.reply()

    def get_json(self, path: str, *, deadline: float | None = None) -> dict[str, Any]:
        """Return the JSON object at `path`, which begins with `/v1/`. Raises as a call does."""
        with self._exchange("GET", path, b"", deadline) as (connection, _):
            return _object(_read(connection, MAX_BODY_BYTES))

    def abort(self) -> None:
        """End every call in flight at once, and every later one, with Interrupted; from any thread."""
        self._pool.abort()

    def close(self) -> None:
        """Close the connections; no call may follow."""
        self._pool.close()

    @contextmanager
    def _exchange(
        self, method: str, path: str, body: bytes, deadline: float | None, on_head: OnHead | None = None
    ) -> Iterator[tuple[Connection, HTTPResponse]]:
        head = self._request_head(method, path, len(body))
        connection = self._pool.take(deadline)
        try:
            response = connection.exchange(head, body)
            if on_head:
                on_head(response.status, response.headers.get)
            if not 200 <= response.status < 300:
                page = _read(connection, MAX_ERROR_BYTES, cut=True)
                raise status_error(response.status, page, response.headers.get, self._secrets)
            yield connection, response
        finally:
            self._pool.give_back(connection)

    def _request_head(self, method: str, path: str, length: int) -> bytes:
        if not self._endpoint.authenticated:
            hint = "set ANTHROPIC_API_KEY, or try things without one: claude-force demo"
            raise AuthenticationFailed("there is no API key", hint=hint)
        if not re.fullmatch(r"/[\x21-\x7e]*", path):
            raise UsageError(f"not a path of the API: {path!r}")
        # Through a proxy a plain request names the whole address; in a tunnel the proxy sees no request.
        absolute = self._endpoint.proxy is not None and self._endpoint.scheme == "http"
        target = (self._endpoint.url if absolute else self._endpoint.prefix) + path
        size = f"content-length: {length}\r\n" if length or method == "POST" else ""
        return f"{method} {target} HTTP/1.1\r\n{self._head}{size}\r\n".encode("ascii")


def _head(endpoint: Endpoint) -> str:
    # Bodies are read as they are, so no server may compress them.
    headers = {"host": endpoint.authority, "accept-encoding": "identity", **request_headers(endpoint)}
    if endpoint.proxy and endpoint.proxy.authorization and endpoint.scheme == "http":
        headers["proxy-authorization"] = endpoint.proxy.authorization
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def _stream(connection: Connection, answer: Answer, patience: float) -> None:
    """Feed the events to `answer`; raises TimedOut after `patience` seconds of nothing but signs of life."""
    decoder = Decoder()
    heard, last = 0, monotonic()
    while not answer.complete and (chunk := connection.read()):
        answer.feed(decoder.feed(chunk))
        if answer.heard > heard:
            heard, last = answer.heard, monotonic()
        elif monotonic() - last > patience:
            hint = "raise performance.request_timeout_seconds"
            raise TimedOut(f"the answer did not go on for {patience:g} s", hint=hint)
    if answer.complete:
        connection.finish()


def _read(connection: Connection, limit: int, *, cut: bool = False) -> bytes:
    """Return the rest of the answer; beyond `limit` bytes `cut` it there or raise ConnectionFailed."""
    chunks = []
    size = 0
    while chunk := connection.read():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit and not cut:
            raise ConnectionFailed(f"the answer is larger than {limit} bytes", retryable=False)
        if size > limit:
            break
    return b"".join(chunks)[:limit]


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ConnectionFailed("the answer is garbled: it is not a JSON object")
    return value
