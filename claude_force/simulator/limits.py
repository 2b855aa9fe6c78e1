"""Rate limits that limit: token buckets for requests, input tokens and output tokens, per group of models.

A bucket holds `burst_seconds` worth of its limit and refills evenly. Output is not known before the answer is made, so
it is taken afterwards and may leave a debt; requests are refused until that is paid back.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import ceil
from threading import Lock

from .problems import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .behaviour import Behaviour
    from .catalogue import Model

_UNITS = {"requests": "requests", "input-tokens": "input tokens", "output-tokens": "output tokens"}


@dataclass
class _Bucket:
    limit: int
    """Per minute."""
    capacity: float
    level: float
    filled: float
    """When `level` was right, in seconds of the clock."""

    def refill(self, now: float) -> None:
        self.level = min(self.capacity, self.level + (now - self.filled) * self.limit / 60)
        self.filled = now

    def seconds_to(self, level: float) -> float:
        return max(0.0, (level - self.level) * 60 / self.limit)


class Limits:
    """The buckets of all groups of models, for any number of threads."""

    def __init__(self, behaviour: Behaviour) -> None:
        limits = (
            behaviour.requests_per_minute,
            behaviour.input_tokens_per_minute,
            behaviour.output_tokens_per_minute,
        )
        self._limits = {name: limit for name, limit in zip(_UNITS, limits, strict=True) if limit is not None}
        self._burst = behaviour.burst_seconds
        self._clock = behaviour.clock
        self._lock = Lock()
        self._groups: dict[str, dict[str, _Bucket]] = {}

    def admit(self, model: Model, input_tokens: int) -> None:
        """Take one request and its input from the buckets of `model`. Raises Problem, 429, and takes nothing."""
        if not self._limits:
            return
        needs = {"requests": 1.0, "input-tokens": float(input_tokens), "output-tokens": 1.0}
        with self._lock:
            buckets = self._buckets(model)
            for name, bucket in buckets.items():
                # More than a full bucket could never be met: such a request waits for a full one, and empties it.
                if (wait := bucket.seconds_to(min(needs[name], bucket.capacity))) > 0:
                    raise self._refusal(name, bucket.limit, wait, buckets)
            for name in buckets.keys() & {"requests", "input-tokens"}:
                buckets[name].level -= needs[name]

    def spend_output(self, model: Model, tokens: int) -> tuple[tuple[str, str], ...]:
        """Take the output of an answer from its bucket, and return the headers that tell the state of all limits."""
        if not self._limits:
            return ()
        with self._lock:
            buckets = self._buckets(model)
            if "output-tokens" in buckets:
                buckets["output-tokens"].level -= tokens
            return _headers(buckets)

    def _buckets(self, model: Model) -> dict[str, _Bucket]:
        now = self._clock()
        if (buckets := self._groups.get(model.group)) is None:
            buckets = {name: self._full(limit, now) for name, limit in self._limits.items()}
            self._groups[model.group] = buckets
        for bucket in buckets.values():
            bucket.refill(now)
        return buckets

    def _full(self, limit: int, now: float) -> _Bucket:
        capacity = max(1.0, limit * self._burst / 60)
        return _Bucket(limit, capacity, capacity, now)

    def _refusal(self, name: str, limit: int, wait: float, buckets: dict[str, _Bucket]) -> Problem:
        rate = f"{limit:,} {_UNITS[name]} per minute"
        return Problem(
            f"[simulated] This request would exceed your organization's rate limit of {rate}.",
            status=429,
            headers=(("retry-after", str(max(1, ceil(wait)))), *_headers(buckets)),
        )


def _headers(buckets: dict[str, _Bucket]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (f"anthropic-ratelimit-{name}-{what}", value)
        for name, bucket in buckets.items()
        for what, value in _state(name, bucket)
    )


def _state(name: str, bucket: _Bucket) -> list[tuple[str, str]]:
    remaining = max(0, int(bucket.level))
    if name != "requests":
        remaining = round(remaining, -3)
    full = time.time() + bucket.seconds_to(bucket.capacity)
    return [
        ("limit", str(bucket.limit)),
        ("remaining", str(remaining)),
        ("reset", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(full))),
    ]
