"""Sending a request to the Messages API: the seam, and the parts that fill it.

A transport is called with a request and returns the reply, whatever its stop reason: judging a refusal or
a truncated answer is the caller's business. It is called from many threads at once.

    reply = transport(request, on_text=print, deadline=time.monotonic() + 60)

`on_text` is given the text as it arrives, never an empty one; what it raises goes through to the caller.
`deadline` is a value of `time.monotonic()` that no call outlives, however slowly an answer trickles in.
A call raises a `ForceError` and nothing else: `ApiError`, `AuthenticationFailed` or `TryLater` if the API
said no, `ConnectionFailed` if there was no connection or the answer was cut or garbled, `TimedOut`, and
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

    class Transport(Protocol):
        """What sends a request; the contract is this module's docstring."""

        def __call__(
            self, request: Request, *, on_text: Callable[[str], None] | None = None, deadline: float | None = None
        ) -> Reply:
            """Send `request` once and return the reply."""

        def abort(self) -> None:
            """End every call in flight at once, and every later one, with `Interrupted`; from any thread."""

        def close(self) -> None:
            """Close the connections; no call may follow."""


def connect(name: str, far: Endpoint, *, retries: int = 2, notice: Callable[[str], None] | None = None) -> Transport:
    """Return the transport called `name`, with patience, for the endpoint `far`; nothing is sent yet.

    `retries` is how often a call is sent again, and `notice` is told of each wait. Raises MissingExtra.
    """
    from threading import Event

    from ..extras import load
    from .retry import Patient

    return Patient(load("transport", name)(far), retries=retries, stop=Event(), notice=notice)
