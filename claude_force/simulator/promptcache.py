"""The API's prompt cache: which part of a prompt is read from it, which part is written to it, and for how long.

A prefix ends at a block marked `cache_control`. It can be read once the answer to the request that wrote it has begun,
until its time to live, counted from the start of the last request that wrote or read it, has passed. A prefix shorter
than the model's minimum is silently not cached.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from threading import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .catalogue import Model
    from .tokens import Segment

_LOOK_BACK = 20
_SHORT, _LONG = 300, 3600


@dataclass(frozen=True)
class Prefill:
    """How a prompt's tokens were met, and `entries`: name, expiry and life of the prefixes the request keeps alive."""

    fresh: int
    read: int
    written_5m: int
    written_1h: int
    entries: tuple[tuple[int, float, int], ...] = ()

    @property
    def written(self) -> int:
        """The tokens written to the cache, whatever their life."""
        return self.written_5m + self.written_1h


class PromptCache:
    """The prefixes that can be read, each with its expiry, for any number of threads. Nothing survives the process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: dict[int, tuple[float, int]] = {}

    def look_up(self, prompt: Sequence[Segment], model: Model, now: float) -> Prefill:
        """Return how `prompt` is met at `now`, in seconds; nothing is readable by others before `keep`."""
        sums = list(accumulate(segment.tokens for segment in prompt))
        marks = {i: s.ttl for i, s in enumerate(prompt) if s.ttl and sums[i] >= model.minimum_cacheable}
        if not marks:
            return Prefill(sums[-1] if sums else 0, 0, 0, 0)
        names = _names(prompt, model)
        hit, life = self._longest_hit(names, list(marks), now)
        read = done = sums[hit] if hit >= 0 else 0
        written = {_SHORT: 0, _LONG: 0}
        for i, ttl in marks.items():
            written[ttl] += max(0, sums[i] - done)
            done = max(done, sums[i])
        lives = {hit: life, **marks} if hit >= 0 else marks
        entries = tuple((names[i], now + ttl, ttl) for i, ttl in lives.items())
        return Prefill(sums[-1] - done, read, written[_SHORT], written[_LONG], entries)

    def keep(self, prefill: Prefill) -> None:
        """Make what the request wrote readable, and renew what it read: its answer has begun."""
        with self._lock:
            for name, expiry, life in prefill.entries:
                self._entries[name] = max((expiry, life), self._entries.get(name, (0.0, 0)))

    def _longest_hit(self, names: Sequence[int], marks: Sequence[int], now: float) -> tuple[int, int]:
        """Return the last block of the longest readable prefix, looking back from each mark, and its life; or -1, 0."""
        with self._lock:
            for mark in reversed(marks):
                for i in range(mark, max(-1, mark - _LOOK_BACK), -1):
                    expiry, life = self._entries.get(names[i], (now, 0))
                    if expiry > now:
                        return i, life
        return -1, 0


def _names(prompt: Sequence[Segment], model: Model) -> list[int]:
    """Return for each block a number that stands for the model and all the blocks up to it."""
    return list(accumulate((s.content for s in prompt), lambda name, text: hash((name, text)), initial=hash(model.id)))[
        1:
    ]
