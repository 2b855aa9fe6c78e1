"""The circuit breaker: after failures in a row nothing is sent for a while, then one call finds out how things stand.

A circuit is closed (calls pass), open (they are refused at once) or half-open (one call, the trial, passes). What is
known of it is a record, what becomes of it are functions from record to record, so that it makes no difference whether
the threads of one process change it or all processes of a project.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from functools import partial

from ..errors import ApiError, Busy, ForceError, Interrupted, TimedOut, UsageError
from ..frozen import dataclass, replace
from .faults import excerpt
from .shared import SKEW_SECONDS, Known, moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Literal, TypeVar

    from ..records import Record
    from .shared import Shared

    T = TypeVar("T")

    State = Literal["closed", "open", "half-open"]

FRESH_SECONDS = 15.0
"""How long an answer proves that the far end answers."""
TRIAL_SECONDS = 30.0
"""After which a trial that was not heard of, whose process may have died, is replaced."""
VERDICT_SECONDS = 15.0
"""How long a call waits for what trials find out."""
MEMORY_SECONDS = 600.0
"""After which failures that opened nothing are forgotten."""
POLL_SECONDS = 0.05
GLANCE_SECONDS = 0.005
"""How long one call takes what it read for true: no answer of the API begins sooner."""


@dataclass(frozen=True)
class Circuit:
    """What is known of a far end. Times are seconds since the epoch."""

    failures: int = 0
    """In a row: no call succeeded in between."""
    failed: float = 0.0
    """When the last of them did."""
    answered: float = 0.0
    """When an answer last began."""
    reason: str = ""
    """What the last failure was."""
    trials: tuple[tuple[str, float], ...] = ()
    """The calls that find out whether the far end answers: an id, and when it began."""


@dataclass(frozen=True)
class Rules:
    """When a circuit opens and for how long; `in_flight` is how many calls may find out how things stand.

    Without `in_flight` all calls pass a closed circuit. With it, as long as no answer was seen of late, only so many
    are under way at once, and after a failure only as many as could still open the circuit.
    """

    failure_threshold: int = 5
    timeout_seconds: float = 60.0
    in_flight: int | None = None


_LAST = 253_402_300_799
"""The end of the year 9999: no later time can be shown."""


def state(circuit: Circuit, rules: Rules, now: float) -> State:
    """Return the state of `circuit` at the time `now`."""
    if circuit.failures < rules.failure_threshold:
        return "closed"
    return "open" if -SKEW_SECONDS <= now - circuit.failed < rules.timeout_seconds else "half-open"


def reopens(circuit: Circuit, rules: Rules, now: float) -> float:
    """Return when an open circuit lets a trial pass, in seconds since the epoch."""
    return min(circuit.failed, now) + rules.timeout_seconds


def read_circuit(record: Record | None) -> Circuit:
    """Return the circuit that `record` describes, one of which nothing is known if it describes none."""
    if record is None:
        return Circuit()
    try:
        return Circuit(
            failures=int(record["failures"]),
            failed=_moment(record["failed"]),
            answered=_moment(record["answered"]),
            reason=str(record["reason"]),
            trials=tuple((str(token), _moment(began)) for token, began in record["trials"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return Circuit()


def _moment(seconds: float) -> float:
    """Return a time of the epoch as it was written down; raises ValueError for one that no clock shows."""
    if not 0 <= seconds <= _LAST:
        raise ValueError(f"no time: {seconds}")
    return float(seconds)


def mendable(error: BaseException) -> bool:
    """Whether `error` is of the kind that a retry could mend and that tells of the far end's health.

    Failures of the server, of the connection, and its silence; a rate limit is none, it shows that the server works.
    Outside the package's own errors, every exception is.
    """
    if isinstance(error, ApiError):
        return error.retryable and (error.status or 0) >= 500
    if isinstance(error, ForceError):
        return error.retryable and not isinstance(error, Busy)
    return isinstance(error, Exception)


class CircuitBreaker:
    """Refuses calls to what has failed often enough, until it may have recovered.

        breaker = CircuitBreaker(failure_threshold=5, timeout_seconds=60, name="search")
        with breaker.guard():
            ask_the_search_server()

    Breakers of one `name` over the same `records`, such as those in a `state.db`, are one. Threads may share it.
    """

    def __init__(
        self,
        failure_threshold: int = 5,
        timeout_seconds: float = 60.0,
        *,
        name: str = "default",
        rules: Rules | None = None,
        records: Shared | None = None,
        counts: Callable[[BaseException], bool] = mendable,
        stop: threading.Event | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open after `failure_threshold` failures in a row, for `timeout_seconds`, or as `rules` say.

        `records` are this process's own if there are none given, or if they fail. `counts` says which exceptions are
        failures, `stop` ends a wait, `clock` gives seconds since the epoch.
        Raises UsageError for a threshold below 1 or a time below 0.
        """
        self.name = name
        self.rules = rules or Rules(failure_threshold, timeout_seconds)
        if self.rules.failure_threshold < 1 or not self.rules.timeout_seconds >= 0:
            raise UsageError("a circuit breaker opens after 1 failure or more, for 0 seconds or more")
        self._records = records if isinstance(records, Known) else Known(records)
        self._counts = counts
        self._stop = stop or threading.Event()
        self._clock = clock

    @property
    def state(self) -> State:
        """The state now: "closed", "open" or "half-open"."""
        return state(self._circuit(), self.rules, self._clock())

    def glance(self) -> Callable[[], Circuit]:
        """Return what reads the circuit for one call, anew if it did not within GLANCE_SECONDS."""
        return _Glance(self._circuit)

    def check(self, glance: Callable[[], Circuit] | None = None) -> bool:
        """Raise Busy if calls are refused; return whether an answer was seen of late, and no failure after it."""
        circuit, now = (glance or self._circuit)(), self._clock()
        if state(circuit, self.rules, now) == "open":
            raise self._refusal(circuit)
        return _answers(circuit, now)

    @contextmanager
    def guard(
        self, *, deadline: float | None = None, glance: Callable[[], Circuit] | None = None
    ) -> Iterator[Callable[[], None]]:
        """Let the body call the far end and note how it went; it may call what it is given once the answer begins.

        Raises Busy without running the body if calls are refused or others find out how things stand: at once, or with
        `Rules.in_flight` if they have not found out within fifteen seconds. Until then TimedOut at `deadline`,
        a `time.monotonic()` value, and Interrupted when `stop` is set.
        """
        look = glance or self._circuit
        token = self._admitted(deadline, look)
        try:
            yield partial(self._answer_began, token, look)
        except BaseException as error:
            if self._counts(error):
                self._change(_failed, token, _words(error))
            elif token:
                self._change(_released, token)
            raise
        circuit = self._circuit() if token else look()
        if circuit.failures or any(token == trial for trial, _ in circuit.trials):
            self._change(_succeeded, token)

    def call(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        """Return what `function` returns, called under `guard`."""
        with self.guard():
            return function(*args, **kwargs)

    def reset(self) -> None:
        """Close the circuit and forget what was known."""
        self._records.change("circuits", self.name, lambda _: (vars(Circuit()), None))

    def _answer_began(self, token: str, look: Callable[[], Circuit]) -> None:
        circuit = look()
        stale = self.rules.in_flight is not None and not _answers(circuit, self._clock())
        if token or circuit.failures or stale:
            self._change(_answered, token)

    def _circuit(self) -> Circuit:
        return read_circuit(self._records.read("circuits", self.name))

    def _admitted(self, deadline: float | None, look: Callable[[], Circuit]) -> str:
        """Wait until the call may be made; return the id of the trial that it is, '' if it is none."""
        patience = VERDICT_SECONDS if self.rules.in_flight else 0.0
        began = time.monotonic()
        while (token := self._asked(look())) is None:
            look = self._circuit
            circuit, waited = self._circuit(), time.monotonic() - began
            if waited >= patience:
                if not circuit.failures:  # those before us are slow, which is no trouble
                    return ""
                raise self._refusal(circuit)
            if deadline is not None and began + waited >= deadline:
                hint = f"{self.name} has not answered other calls yet"
                raise TimedOut("the time limit passed before the call could be made", hint=hint, retryable=False)
            if self._stop.wait(POLL_SECONDS):
                raise Interrupted("interrupted")
        return token

    def _asked(self, circuit: Circuit) -> str | None:
        """Return the id of a trial, '' if any call may be made, None if others are finding out; raises Busy."""
        now = self._clock()
        if state(circuit, self.rules, now) == "open":
            raise self._refusal(circuit)
        limit = _room(circuit, self.rules, now)
        if limit is None:
            return ""
        if len(_living(circuit, now)) >= limit:  # looked at before it is written: hundreds may wait
            return None
        token = f"{os.getpid()}-{os.urandom(4).hex()}"
        return self._records.change("circuits", self.name, partial(_joined, self.rules, token, now))

    def _change(self, transition: Callable[..., Circuit], *facts: str) -> None:
        now = self._clock()

        def step(record: Record | None) -> tuple[Record, None]:
            return vars(transition(read_circuit(record), self.rules, now, *facts)), None

        self._records.change("circuits", self.name, step)

    def _refusal(self, circuit: Circuit) -> Busy:
        if circuit.failures < self.rules.failure_threshold or state(circuit, self.rules, self._clock()) == "half-open":
            hint = "try again in a minute"
            return Busy(f"{self.name} is failing, and other calls are finding out whether it still does", hint=hint)
        until = moment(reopens(circuit, self.rules, self._clock()))
        times = f"{circuit.failures} failures in a row" if circuit.failures > 1 else "a failure"
        hint = f"try again after {until}; claude-force doctor shows how it stands"
        return Busy(
            f"circuit open: nothing is sent to {self.name} until {until}, after {times}: {circuit.reason}", hint=hint
        )


class _Glance:
    """What reads a circuit, and returns the same for GLANCE_SECONDS."""

    def __init__(self, read: Callable[[], Circuit]) -> None:
        self._read = read
        self._until = 0.0

    def __call__(self) -> Circuit:
        if (now := time.monotonic()) >= self._until:
            self._circuit, self._until = self._read(), now + GLANCE_SECONDS
        return self._circuit


def _answers(circuit: Circuit, now: float) -> bool:
    return circuit.answered >= circuit.failed and -SKEW_SECONDS <= now - circuit.answered < FRESH_SECONDS


def _room(circuit: Circuit, rules: Rules, now: float) -> int | None:
    """Return how many trials there may be at once, None if calls are no trials."""
    if state(circuit, rules, now) != "closed":
        return 1
    if rules.in_flight is None or _answers(circuit, now):
        return None
    if circuit.failures and -SKEW_SECONDS <= now - circuit.failed < MEMORY_SECONDS:
        return rules.failure_threshold - circuit.failures
    return rules.in_flight


def _living(circuit: Circuit, now: float) -> tuple[tuple[str, float], ...]:
    return tuple(t for t in circuit.trials if -SKEW_SECONDS <= now - t[1] < TRIAL_SECONDS)


def _joined(rules: Rules, token: str, now: float, record: Record | None) -> tuple[Record | None, str | None]:
    """Make `token` a trial if there is room."""
    circuit = read_circuit(record)
    if state(circuit, rules, now) == "open":
        return None, None  # since it was looked at
    limit, living = _room(circuit, rules, now), _living(circuit, now)
    if limit is None:
        return None, ""
    if len(living) >= limit:
        return None, None
    return vars(replace(circuit, trials=(*living, (token, now)))), token


def _answered(circuit: Circuit, rules: Rules, now: float, token: str) -> Circuit:
    """Close the circuit, since an answer began, though one more failure would open it again."""
    failures = min(circuit.failures, rules.failure_threshold - 1)
    return replace(_released(circuit, rules, now, token), failures=failures, answered=now)


def _succeeded(circuit: Circuit, rules: Rules, now: float, token: str) -> Circuit:
    return Circuit(answered=now, trials=_released(circuit, rules, now, token).trials)


def _failed(circuit: Circuit, rules: Rules, now: float, token: str, reason: str) -> Circuit:
    known = _released(circuit, rules, now, token)
    forgotten = state(circuit, rules, now) == "closed" and not -SKEW_SECONDS <= now - known.failed < MEMORY_SECONDS
    return replace(known, failures=1 if forgotten else known.failures + 1, failed=now, reason=reason)


def _released(circuit: Circuit, _: Rules, now: float, token: str) -> Circuit:
    return replace(circuit, trials=tuple(t for t in _living(circuit, now) if t[0] != token))


def _words(error: BaseException) -> str:
    text = error.message if isinstance(error, ForceError) else str(error)
    return excerpt(text, length=200) or type(error).__name__
