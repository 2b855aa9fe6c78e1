"""Patience: sending again what failed in passing, after as long a wait as the API asks for.

Which failures are passing is decided where errors are made: they carry `retryable`. Here it is decided how
often, how long to wait, and when waiting has no point. Exponential backoff with full jitter: a wait is drawn
evenly from nothing to a bound that doubles, so that workers which failed together do not come back together.
What keeps a call from being sent at all, the gate, is asked before each attempt, and its refusal is final.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from threading import Lock

from ..errors import ApiError, ForceError, Interrupted, TimedOut, TryLater
from ..frozen import replace
from .limiter import LONGEST_WAIT_SECONDS, no_room
from .shared import moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from ..records import Reply, Request
    from . import OnHead, Wire

    Gate = Callable[[str, float | None], AbstractContextManager[OnHead | None]]
    """Given a model and a deadline, what an attempt is made within; entering it waits, or raises a refusal."""

FIRST_BOUND_SECONDS = 0.5
LAST_BOUND_SECONDS = 8.0
FREE_RETRIES, RETRIES_PER_CALL = 10, 0.2


def uniform() -> float:
    """Return a random number from 0 to 1."""
    from random import random  # 5 ms that a call which succeeds at once does not pay

    return random()  # noqa: S311 - spreads waits, protects nothing


class RetryBudget:
    """How often the calls of one transport may be tried again in all: `free` times, and once more for each five calls.

    Each call on its own may try again a few times; in an outage, all of them would multiply the load.
    """

    def __init__(self, free: int = FREE_RETRIES) -> None:
        self._free = free
        self._calls = self._retries = 0
        self._lock = Lock()

    def call(self) -> None:
        """Count a call."""
        with self._lock:
            self._calls += 1

    def take(self) -> bool:
        """Take one retry, and return whether there was one."""
        with self._lock:
            if self._retries >= self._free + RETRIES_PER_CALL * self._calls:
                return False
            self._retries += 1
            return True


@contextmanager
def open_gate(_model: str, _deadline: float | None) -> Iterator[OnHead | None]:
    """Hold nothing back, and learn nothing."""
    yield None


class Patient:
    """A transport that tries again; `stop` ends a wait at once, and each wait is told through `notice`."""

    def __init__(
        self,
        transport: Wire,
        *,
        retries: int,
        stop: threading.Event,
        gate: Gate = open_gate,
        wait: bool = False,
        notice: Callable[[str], None] | None = None,
        random: Callable[[], float] = uniform,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Send through `gate` and `transport`, at most `retries` times more; sit out any wait if `wait`.

        `clock` is the one that deadlines are of.
        """
        self._transport = transport
        self._retries = retries
        self._budget = RetryBudget(max(FREE_RETRIES, retries))  # a call alone may use all of its own
        self._stop = stop
        self._gate = gate
        self._sits_out = wait
        self._notice = notice
        self._random = random
        self._clock = clock

    def __call__(
        self,
        request: Request,
        *,
        on_text: Callable[[str], None] | None = None,
        deadline: float | None = None,
        on_begin: Callable[[], None] | None = None,
        on_resend: Callable[[], None] | None = None,
    ) -> Reply:
        """Send `request` until it succeeds or trying again has no point; reply and error carry `attempts`.

        Once `on_text` was called nothing is sent again; each attempt may call `on_begin`. `on_resend` is called before
        what may have been billed is sent again, and may raise. Raises TryLater if the API asks to wait longer than two
        minutes or beyond the deadline, what the gate raises, and otherwise as the transport does.
        """
        show = _Watched(on_text) if on_text else None
        send = partial(self._transport, on_begin=on_begin) if on_begin else self._transport
        self._budget.call()
        attempt = 0
        while True:
            sent = attempt
            try:
                with self._gate(request.model, deadline) as on_head:
                    attempt += 1
                    told = partial(send, on_head=on_head) if on_head else send
                    reply = told(request, on_text=show, deadline=deadline)
            except ForceError as error:
                error.attempts = attempt
                if sent == attempt or (show and show.shown) or not self._may_retry(request, error, attempt):
                    raise
                self._wait(request, error, attempt, deadline)
                if on_resend and error.sent and (error.began or not isinstance(error, ApiError)):
                    on_resend()
            else:
                return reply if attempt == 1 else replace(reply, attempts=attempt)

    def abort(self) -> None:
        """End every wait and every call in flight, and every later one, with Interrupted; from any thread."""
        self._stop.set()
        self._transport.abort()

    def close(self) -> None:
        """Close the connections; no call may follow."""
        self._transport.close()

    def _may_retry(self, request: Request, error: ForceError, attempt: int) -> bool:
        if not error.retryable or attempt > self._retries:
            return False
        if not self._budget.take():
            self._tell(
                f"{request.model}: {_reason(error)}, not tried again: the retries that all calls share are used up"
            )
            return False
        return True

    def _tell(self, text: str) -> None:
        if self._notice:
            self._notice(text)

    def _wait(self, request: Request, error: ForceError, attempt: int, deadline: float | None) -> None:
        seconds = self._seconds(error, attempt)
        if seconds > LONGEST_WAIT_SECONDS and not self._sits_out:
            raise _later(error, seconds, attempt) from error
        if deadline is not None and self._clock() + seconds >= deadline:
            raise _out_of_time(error, seconds, attempt) from error
        when = f"in {seconds:.1f} s" if seconds <= LONGEST_WAIT_SECONDS else f"at {moment(time.time() + seconds)}"
        self._tell(f"{request.model}: {_reason(error)}, retrying {when} ({attempt} of {self._retries})")
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
    until = moment(time.time() + seconds)
    hint = f"the API asks to wait until {until}: try again then, or sit it out with --wait"
    return _gave_up(error, hint, attempt, seconds)


def _out_of_time(error: ForceError, seconds: float, attempt: int) -> ForceError:
    hint = no_room(seconds)
    if isinstance(error, TryLater):
        return _gave_up(error, hint, attempt, seconds)
    late = TimedOut(error.message, hint=hint, retryable=False)
    late.attempts = attempt
    return late


def _gave_up(error: ForceError, hint: str, attempt: int, seconds: float) -> TryLater:
    known = vars(error)
    later = TryLater(
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
