"""What a simulator is told to do: its settings, its latencies, and the ways in which an answer can go wrong.

Frozen data and its reading from text. It does not know how anything here is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp, log
from time import monotonic

from .. import durations
from ..errors import UsageError
from .problems import STATUS_OF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

_LATENCY_HINT = "write 2s, 250ms, uniform:1s,3s or lognormal:2.5s,7.8s (median, 99th percentile)"
_STOPS = ("end_turn", "max_tokens", "tool_use", "pause_turn", "refusal", "model_context_window_exceeded")
_Z99 = 2.3263478740408408
"""The 99th percentile of the standard normal distribution."""


@dataclass(frozen=True)
class Latency:
    """A distribution of seconds: `fixed` (low), `uniform` (low, high), `lognormal` (median low, 99th percentile)."""

    low: float = 0.0
    high: float = 0.0
    kind: str = "fixed"


def draw(latency: Latency, random: Random) -> float:
    """Return one latency in seconds."""
    if latency.kind == "uniform":
        return random.uniform(latency.low, latency.high)
    if latency.kind == "lognormal":
        sigma = log(latency.high / latency.low) / _Z99
        return exp(log(latency.low) + sigma * random.gauss(0.0, 1.0))
    return latency.low


def parse_latency(text: str) -> Latency:
    """Read `2s`, `250ms`, `uniform:1s,3s` or `lognormal:2.5s,7.8s` (median, 99th percentile); a bare number is seconds.

    Raises UsageError.
    """
    kind, colon, rest = text.strip().rpartition(":")
    try:
        numbers = [parse_seconds(part) for part in rest.split(",")]
    except UsageError:
        numbers = []
    if not colon and len(numbers) == 1:
        return Latency(numbers[0])
    if kind not in {"uniform", "lognormal"} or len(numbers) != 2:
        raise UsageError(f"latency '{text}' is not one that can be read", hint=_LATENCY_HINT)
    low, high = numbers
    if high < low or (kind == "lognormal" and low == 0):
        raise UsageError(f"latency '{text}' is not a range from low to high", hint=_LATENCY_HINT)
    return Latency(low, high, kind)


def parse_seconds(text: str) -> float:
    """Read `2s`, `250ms`, `5m` or a bare number of seconds. Raises UsageError."""
    try:
        return durations.seconds(text)
    except ValueError:
        raise UsageError(f"'{text}' is not a length of time", hint="write 2s or 250ms") from None


@dataclass(frozen=True)
class Fault:
    """How one answer differs from a normal one; fields that are not set change nothing.

    Raises UsageError where a value cannot be met.
    """

    status: int | None = None
    """Answer with this error status, 400 to 599, and the API's JSON body."""
    html: int | None = None
    """Answer with this error status and an HTML page, as a proxy in between does."""
    error: str | None = None
    """Break a stream off with an SSE `error` event of this type; without a stream, answer with its status."""
    code: str | None = None
    """`error.details.error_code` of the error body."""
    retry_after: float | None = None
    """Seconds in the `retry-after` header of an error."""
    latency: float | None = None
    """Seconds before the answer begins, in place of the behaviour's."""
    trickle: float | None = None
    """Seconds between the pieces of the answer."""
    tokens: int | None = None
    """Size of the answer's text, in tokens as this server counts them."""
    stop: str | None = None
    """The stop reason."""
    reply: str | None = None
    """The exact text of the answer."""
    empty: bool = False
    """No content at all."""
    thinking: bool = False
    """Begin with a thinking block."""
    cut: bool = False
    """Close the connection when half of the answer is sent."""
    reset: bool = False
    """Reset the connection in place of an answer."""
    garbage: bool = False
    """Answer 200 with a body that is neither JSON nor an event stream."""
    hang: bool = False
    """Never answer."""
    times: int | None = None
    """In a marker: only for so many requests with the same text."""

    def __post_init__(self) -> None:
        for status in (self.status, self.html):
            if status is not None and not 400 <= status <= 599:
                raise UsageError(f"status {status} is not an error status", hint="400 to 599")
        if self.error is not None and self.error not in STATUS_OF:
            raise UsageError(f"no error type '{self.error}'", hint=f"known: {', '.join(STATUS_OF)}")
        if self.stop is not None and self.stop not in _STOPS:
            raise UsageError(f"no stop reason '{self.stop}'", hint=f"known: {', '.join(_STOPS)}")


def overlay(base: Fault, top: Fault) -> Fault:
    """Return `base` with what `top` sets in its place."""
    changes = {name: value for name, value in vars(top).items() if value is not None and value is not False}
    return Fault(**{**vars(base), **changes}) if changes else base


def fault_named(name: str) -> Fault:
    """Return the fault that a rate names: a status such as `529`, or a kind such as `reset`. Raises UsageError."""
    if name.isascii() and name.isdigit():
        return Fault(status=int(name))
    if name not in FAULTS:
        raise UsageError(f"no fault '{name}'", hint=f"a status or one of {', '.join(FAULTS)}")
    return FAULTS[name]


FAULTS = {
    "reset": Fault(reset=True),
    "cut": Fault(cut=True),
    "garbage": Fault(garbage=True),
    "hang": Fault(hang=True),
    "empty": Fault(empty=True),
    "refusal": Fault(stop="refusal"),
    "error": Fault(error="overloaded_error"),
    "html": Fault(html=502),
    "trickle": Fault(trickle=0.05),
}
"""What a rate can name besides a status."""


@dataclass(frozen=True)
class Behaviour:
    """The settings of a simulator. Raises UsageError where one is out of range."""

    latency: Latency = Latency()
    """Time before an answer to a message begins; errors come at once."""
    chunk_delay: float = 0.0
    """Seconds between the pieces of a streamed text."""
    chunk_characters: int = 24
    """Length of a piece of a streamed text."""
    requests_per_minute: int | None = None
    input_tokens_per_minute: int | None = None
    """Counts fresh and newly cached input, not what was read from the prompt cache."""
    output_tokens_per_minute: int | None = None
    burst_seconds: float = 60.0
    """How many seconds' worth of a limit can be used at once."""
    faults: Mapping[str, float] = field(default_factory=dict)
    """Share of the requests, 0 to 1, that meet a fault; names as for `fault_named`."""
    seed: int = 0
    """Fixes which requests meet a fault, and the latencies, by order of arrival."""
    key: str | None = None
    """The only accepted key; None accepts any that is not empty."""
    thinking: bool = False
    """Begin every answer with an empty thinking block, as the 5.x models do."""
    prefix: str = ""
    """Path under which everything is served, such as `/proxy`; nothing is served outside it."""
    batch_seconds: float = 0.0
    """How long a message batch is in progress."""
    clock: Callable[[], float] = monotonic
    """Seconds, for rate limits, prompt-cache life and batches; latencies are always real."""
    remember: int | None = None
    """How many requests are kept on record; None keeps all."""

    def __post_init__(self) -> None:
        for name, rate in self.faults.items():
            fault_named(name)
            if not 0 <= rate <= 1:
                raise UsageError(f"rate {rate} of fault '{name}' is not between 0 and 1")
        if sum(self.faults.values()) > 1:
            raise UsageError("the rates of the faults add up to more than 1")
        if self.prefix and (not self.prefix.startswith("/") or self.prefix.endswith("/")):
            raise UsageError(f"prefix '{self.prefix}' does not begin with a slash, or ends with one")
        for name in ("requests_per_minute", "input_tokens_per_minute", "output_tokens_per_minute"):
            if (limit := getattr(self, name)) is not None and limit < 1:
                raise UsageError(f"{name} is {limit}", hint="at least 1, or None for no limit")
