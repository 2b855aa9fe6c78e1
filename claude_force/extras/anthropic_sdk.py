"""The transport over the official SDK: for its sign-ins (profiles, federation) where there is no key.

The SDK authenticates, connects and splits the stream; what the events mean, which error is which, and whether
to try again is decided by the same code as for the built-in transport.
"""

from __future__ import annotations

import socket
import threading
import weakref
from contextlib import contextmanager, suppress
from time import monotonic

import anthropic
import httpx2  # the SDK's own HTTP library: errors of a stream that breaks come from it as they are

from ..client.endpoint import DEFAULT_URL, request_headers
from ..client.faults import event_error, excerpt, status_error
from ..client.message import Answer
from ..errors import AuthenticationFailed, ConnectionFailed, ForceError, Interrupted, TimedOut, UsageError
from ..records import payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ..client import OnHead
    from ..client.endpoint import Endpoint
    from ..records import Reply, Request


class SdkTransport:
    """A transport as `client` describes it. Without a key the SDK looks for credentials in its own places."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Make the SDK's client. Raises AuthenticationFailed if what it finds cannot be used."""
        self._endpoint = endpoint
        self._aborted = threading.Event()
        self._lock = threading.Lock()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        try:
            self._client = self._made(endpoint)
        except (anthropic.AnthropicError, ValueError) as error:
            raise AuthenticationFailed(f"the SDK has no usable credentials: {excerpt(str(error))}") from error

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
        if self._aborted.is_set():
            raise Interrupted("interrupted")
        if not self._authenticated():
            hint = "set ANTHROPIC_API_KEY, or sign in with a profile of the SDK"
            raise AuthenticationFailed("there is no API key", hint=hint)
        stream = self._sent(request, deadline, on_head)
        request_id, secrets = stream.response.headers.get("request-id"), self._endpoint.secrets
        answer = Answer(on_text, on_begin=on_begin, request_id=request_id, secrets=secrets)
        with stream, _cut_at(deadline, stream.response):
            if "json" in stream.response.headers.get("content-type", "").lower():
                answer.whole(self._body(stream, deadline))
            else:
                self._take_all(stream, answer, deadline)
        return answer.reply()

    def abort(self) -> None:
        """End every call in flight at once, and every later one, with Interrupted; from any thread."""
        self._aborted.set()
        with self._lock:
            for opened in self._sockets:
                _cut(opened)

    def close(self) -> None:
        """Close the connections; no call may follow."""
        self._client.close()

    def _made(self, endpoint: Endpoint) -> anthropic.Anthropic:
        headers = dict(endpoint.headers)
        if beta := request_headers(endpoint).get("anthropic-beta"):
            headers["anthropic-beta"] = beta
        return anthropic.Anthropic(
            api_key=endpoint.api_key,
            auth_token=endpoint.auth_token,
            # An address that nobody chose is left out: a profile of the SDK may name its own.
            base_url=endpoint.url if endpoint.url != DEFAULT_URL else None,
            default_headers=headers,
            max_retries=0,
            http_client=anthropic.DefaultHttpxClient(
                follow_redirects=False, event_hooks={"request": [self._observe_connection]}
            ),
        )

    def _authenticated(self) -> bool:
        client = self._client
        return bool(client.api_key or client.auth_token or client.credentials or self._endpoint.authenticated)

    def _sent(self, request: Request, deadline: float | None, on_head: OnHead | None) -> anthropic.Stream[Any]:
        with self._translated(deadline):
            try:
                stream: anthropic.Stream[Any] = self._client.messages.create(
                    **payload(request), stream=True, timeout=self._patience(deadline)
                )
            except anthropic.APIStatusError as error:
                _tell(on_head, error.response)
                raise
        _tell(on_head, stream.response)
        return stream

    def _take_all(self, stream: anthropic.Stream[Any], answer: Answer, deadline: float | None) -> None:
        events = iter(stream)
        while (event := self._next(events, deadline, answer)) is not None:
            answer.take(event.to_dict())

    def _next(self, events: Iterator[Any], deadline: float | None, answer: Answer) -> Any:
        try:
            with self._translated(deadline):
                event = next(events, None)
                if event is None and not answer.complete:
                    self._check(deadline)
                return event
        except ForceError:
            if answer.complete:  # the connection broke after the last event, which harms nobody
                return None
            raise

    def _body(self, stream: anthropic.Stream[Any], deadline: float | None) -> bytes:
        with self._translated(deadline):
            return stream.response.read()

    def _patience(self, deadline: float | None) -> anthropic.Timeout:
        self._check(deadline)
        idle = self._endpoint.idle_timeout
        wait = idle if deadline is None else min(idle, deadline - monotonic())
        return anthropic.Timeout(wait, connect=min(self._endpoint.connect_timeout, wait))

    def _check(self, deadline: float | None) -> None:
        if self._aborted.is_set():
            raise Interrupted("interrupted")
        if deadline is not None and monotonic() >= deadline:
            raise TimedOut("the time limit passed before the answer was complete", retryable=False)

    @contextmanager
    def _translated(self, deadline: float | None) -> Iterator[None]:
        """Turn what the SDK raises into our errors; its own texts may quote the server, so they are dropped."""
        try:
            yield
        except (anthropic.AnthropicError, httpx2.HTTPError, ValueError) as error:
            self._check(deadline)
            raise self._fault(error) from None

    def _fault(self, error: Exception) -> ForceError:
        if isinstance(error, anthropic.APIStatusError):
            return self._refusal(error)
        cause = error.__cause__ if isinstance(error, anthropic.APIConnectionError) else error
        if isinstance(cause, httpx2.HTTPError):
            return self._broken(cause)
        if isinstance(error, UnicodeEncodeError):
            return UsageError("the request holds text that is not Unicode", hint="check the encoding of its files")
        if isinstance(error, ValueError):
            return ConnectionFailed("the answer is garbled: an event is not a JSON object")
        return AuthenticationFailed(f"the SDK cannot sign in: {excerpt(str(error), self._endpoint.secrets)}")

    def _refusal(self, error: anthropic.APIStatusError) -> ForceError:
        response = error.response
        if response.is_success:  # the stream had begun: an error event
            return event_error(error.body, response.headers.get("request-id"), self._endpoint.secrets)
        return status_error(response.status_code, response.content, response.headers.get, self._endpoint.secrets)

    def _broken(self, cause: httpx2.HTTPError) -> ForceError:
        where = self._endpoint.authority
        if isinstance(cause, httpx2.TimeoutException) and not isinstance(cause, httpx2.ConnectTimeout):
            hint = "raise performance.request_timeout_seconds"
            return TimedOut(f"{where} was silent for {self._endpoint.idle_timeout:g} s", hint=hint)
        reason = excerpt(str(cause), self._endpoint.secrets) or type(cause).__name__
        return ConnectionFailed(f"no connection to {where}, or it was lost: {reason}")

    def _observe_connection(self, request: httpx2.Request) -> None:
        request.extensions["trace"] = self._remember_socket

    def _remember_socket(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            opened = info["return_value"].get_extra_info("socket")
            with self._lock:
                self._sockets.add(opened)
                if self._aborted.is_set():
                    _cut(opened)


@contextmanager
def _cut_at(deadline: float | None, response: httpx2.Response) -> Iterator[None]:
    """End the reading of `response` at `deadline`: the SDK's own limits are for each wait, not for the whole."""
    if deadline is None:
        yield
        return
    opened = response.extensions["network_stream"].get_extra_info("socket")
    alarm = threading.Timer(max(0.0, deadline - monotonic()), _cut, [opened])
    alarm.daemon = True
    alarm.start()
    try:
        yield
    finally:
        alarm.cancel()


def _tell(on_head: OnHead | None, response: httpx2.Response) -> None:
    if on_head:
        on_head(response.status_code, response.headers.get)


def _cut(opened: socket.socket) -> None:
    with suppress(OSError):
        socket.socket.shutdown(opened, socket.SHUT_RDWR)
