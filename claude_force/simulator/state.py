"""What the server keeps from one request to the next, each part safe for any number of threads."""

from __future__ import annotations

from collections import Counter, deque
from itertools import count
from os import urandom
from threading import Lock

from .behaviour import Fault, draw, fault_named
from .limits import Limits
from .promptcache import PromptCache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .behaviour import Behaviour


class State:
    """The script, the dice, the prompt cache, the limits and the batches of one server."""

    def __init__(self, behaviour: Behaviour) -> None:
        from random import Random  # hashlib behind it: a start that serves nothing need not pay

        self.behaviour = behaviour
        self.cache = PromptCache()
        self.limits = Limits(behaviour)
        self._lock = Lock()
        self._script: deque[Fault] = deque()
        self._met: Counter[str] = Counter()
        self._numbers = count(1)
        self._server = urandom(4).hex()
        # Two dice, so that the distribution of latencies does not decide which requests fail.
        self._fault_dice = Random(f"faults {behaviour.seed}")  # noqa: S311
        self._latency_dice = Random(f"latency {behaviour.seed}")  # noqa: S311
        self._faults = [(rate, fault_named(name)) for name, rate in behaviour.faults.items()]

    def new_id(self, prefix: str) -> str:
        """Return an identifier that no other call and no other server returns."""
        return f"{prefix}_sim_{self._server}{next(self._numbers):08d}"

    def script(self, faults: Iterable[Fault]) -> None:
        """Queue what the next requests meet, one each."""
        with self._lock:
            self._script.extend(faults)

    def next_faults(self) -> tuple[Fault, Fault]:
        """Return what the dice and what the script have for the request that has just arrived."""
        with self._lock:
            rolled = self._roll(self._fault_dice.random()) if self._faults else Fault()
            return rolled, self._script.popleft() if self._script else Fault()

    def times_met(self, marker: str) -> int:
        """Return how often this was called for `marker`, this call included."""
        with self._lock:
            self._met[marker] += 1
            return self._met[marker]

    def latency(self) -> float:
        """Return the seconds that the next normal answer takes to begin."""
        with self._lock:
            return draw(self.behaviour.latency, self._latency_dice)

    def _roll(self, number: float) -> Fault:
        for rate, fault in self._faults:
            if number < rate:
                return fault
            number -= rate
        return Fault()
