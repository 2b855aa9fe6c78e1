"""Sending a request to the Messages API: the seam, and the parts that fill it.

A transport is called with a request and returns the reply, whatever its stop reason: judging a refusal or
a truncated answer is the caller's business. It is called from many threads at once.

    reply = transport(request, on_text=print, deadline=time.monotonic() + 60)

`on_text` is given the text as it arrives, never an empty one.
`on_begin` is called when an answer's first block begins, thinking too: the API's prompt cache holds what was marked.
`on_resend` is called before a request is sent again that may have been billed.
`deadline` is a value of `time.monotonic()` that no call outlives, however slowly an answer trickles in.
What sends once is also given `on_head`, which is told the status of the answer and a function that looks a header up,
before anything else of it is read.
What these functions raise ends the call and goes through to the caller. Besides, a call raises a `ForceError` and
nothing else: `ApiError`, `AuthenticationFailed` or `TryLater` if the API said no, `ConnectionFailed` if there was no
connection or the answer was cut or garbled, `Busy` if nothing is sent because calls failed, `TimedOut`, and
`Interrupted` after `abort`. Its `retryable` tells whether the same call could succeed later.

This package does not know agents, money or files.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from ..records import Reply, Request
    from .endpoint import Endpoint
    from .faults import Header
    from .shared import Shared

    OnHead = Callable[[int, Header], None]

    class Transport(Protocol):
        """What sends a request; the contract is this module's docstring."""

        def __call__(
            self,
            request: Request,
            *,
            on_text: Callable[[str], None] | None = None,
            deadline: float | None = None,
            on_begin: Callable[[], None] | None = None,
            on_resend: Callable[[], None] | None = None,
        ) -> Reply:
            """Send `request` and return the reply."""

        def abort(self) -> None:
            """End every call in flight at once, and every later one, with `Interrupted`; from any thread."""

        def close(self) -> None:
            """Close the connections; no call may follow."""

    class Wire(Protocol):
        """What sends a request once, ends as a transport does, and tells of the answer's head."""

        def __call__(
            self,
            request: Request,
            *,
            on_text: Callable[[str], None] | None = None,
            deadline: float | None = None,
            on_begin: Callable[[], None] | None = None,
            on_head: OnHead | None = None,
        ) -> Reply:
            """Send `request` once and return the reply."""

        def abort(self) -> None:
            """End every call in flight at once, and every later one, with `Interrupted`; from any thread."""

        def close(self) -> None:
            """Close the connections; no call may follow."""


def connect(
    name: str,
    far: Endpoint,
    *,
    retries: int = 2,
    wait: bool = False,
    failure_threshold: int = 5,
    timeout_seconds: float = 60.0,
    shared: Shared | None = None,
    notice: Callable[[str], None] | None = None,
    warn: Callable[[str], object] | None = None,
) -> Transport:
    """Return the transport called `name`, with patience, for the endpoint `far`; nothing is sent yet.

    `retries` is how often a call is sent again, `wait` sits out what the API asks to wait however long it is, the
    circuit breaker opens after `failure_threshold` failures in a row for `timeout_seconds`. All who have the same
    `shared` hold back together. `notice` is told of each wait, and `warn`, in place of Python's warnings, if what is
    shared fails. Raises MissingExtra.
    """
    from threading import Event

    from ..extras import load
    from .breaker import Rules
    from .gate import Gate
    from .retry import Patient
    from .shared import Known

    stop = Event()
    known = Known(shared, warn)
    rules = Rules(failure_threshold, timeout_seconds, in_flight=2 * failure_threshold)
    gate = Gate(far.url, known, rules, stop=stop, wait=wait, notice=notice)
    return Patient(load("transport", name)(far), retries=retries, stop=stop, gate=gate, wait=wait, notice=notice)
