"""Patience: sending again what failed in passing, after as long a wait as the API asks for.

Which failures are passing is decided where errors are made: they carry `retryable`. Here it is decided how
often, how long to wait, and when waiting has no point. Exponential backoff with full jitter: a wait is drawn
evenly from nothing to a bound that doubles, so that workers which failed together do not come back together.
"""

from __future__ import annotations

import time

from ..errors import ApiError, ForceError, Interrupted, TimedOut, TryLater
from ..frozen import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from ..records import Reply, Request
    from . import Transport

FIRST_BOUND_SECONDS = 0.5
LAST_BOUND_SECONDS = 8.0
LONGEST_WAIT_SECONDS = 120.0


def uniform() -> float:
    """Return a random number from 0 to 1."""
    from random import random  # 5 ms that a call which succeeds at once does not pay

    return random()  # noqa: S311 - spreads waits, protects nothing


class Patient:
    """A transport that tries again; `stop` ends a wait at once, and each wait is told through `notice`."""

    def __init__(
        self,
        transport: Transport,
        *,
        retries: int,
        stop: threading.Event,
        notice: Callable[[str], None] | None = None,
        random: Callable[[], float] = uniform,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Send through `transport`, at most `retries` times more; `clock` is the one that deadlines are of."""
        self._transport = transport
        self._retries = retries
        self._stop = stop
        self._notice = notice
        self._random = random
        self._clock = clock

    def __call__(
        self, request: Request, *, on_text: Callable[[str], None] | None = None, deadline: float | None = None
    ) -> Reply:
        """Send `request` until it succeeds or trying again has no point; reply and error carry `attempts`.

        Once `on_text` was called nothing is sent again. Raises TryLater if the API asks to wait longer than two
        minutes or beyond the deadline, and otherwise as the transport does.
        """
        show = _Watched(on_text) if on_text else None
        attempt = 1
        while True:
            try:
                reply = self._transport(request, on_text=show, deadline=deadline)
            except ForceError as error:
                error.attempts = attempt
                if not error.retryable or attempt > self._retries or (show and show.shown):
                    raise
                self._wait(request, error, attempt, deadline)
            else:
                return reply if attempt == 1 else replace(reply, attempts=attempt)
            attempt += 1

    def abort(self) -> None:
        """End every wait and every call in flight, and every later one, with Interrupted; from any thread."""
        self._stop.set()
        self._transport.abort()

    def close(self) -> None:
        """Close the connections; no call may follow."""
        self._transport.close()

    def _wait(self, request: Request, error: ForceError, attempt: int, deadline: float | None) -> None:
        seconds = self._seconds(error, attempt)
        if seconds > LONGEST_WAIT_SECONDS:
            raise _later(error, seconds, attempt) from error
        if deadline is not None and self._clock() + seconds >= deadline:
            raise _out_of_time(error, seconds, attempt) from error
        if self._notice:
            left = f"({attempt} of {self._retries})"
            self._notice(f"{request.model}: {_reason(error)}, retrying in {seconds:.1f} s {left}")
        if self._stop.wait(seconds):
            raise Interrupted("interrupted") from error

    def _seconds(self, error: ForceError, attempt: int) -> float:
        if isinstance(error, ApiError) and error.retry_after is not None:
            return error.retry_after
        bound: float = min(FIRST_BOUND_SECONDS * 2 ** (attempt - 1), LAST_BOUND_SECONDS)
        return self._random() * bound


class _Watched:
    """The caller's `on_text`, and whether it was called."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self.shown = False
        self._on_text = on_text

    def __call__(self, text: str) -> None:
        self.shown = self.shown or bool(text)
        self._on_text(text)


def _later(error: ForceError, seconds: float, attempt: int) -> ForceError:
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() + seconds))
    return _gave_up(TryLater, error, f"the API asks to wait until {until}", attempt, seconds)


def _out_of_time(error: ForceError, seconds: float, attempt: int) -> ForceError:
    hint = f"the time limit leaves no room for a wait of {seconds:.1f} s"
    if isinstance(error, TryLater):
        return _gave_up(TryLater, error, hint, attempt, seconds)
    late = TimedOut(error.message, hint=hint, retryable=False)
    late.attempts = attempt
    return late


def _gave_up(kind: type[ApiError], error: ForceError, hint: str, attempt: int, seconds: float) -> ApiError:
    known = vars(error)
    later = kind(
        error.message,
        status=known.get("status"),
        kind=known.get("kind", ""),
        request_id=known.get("request_id"),
        retry_after=seconds,
        hint=hint,
    )
    later.attempts = attempt
    return later


def _reason(error: ForceError) -> str:
    if not isinstance(error, ApiError):
        return error.message
    words = error.kind.removesuffix("_error").replace("_", " ") or "the API failed"
    return f"{words} ({error.status})"
