"""What is measured and how: calls that take turns, medians, and ratios to a floor that was measured beside them.

A machine's speed changes from second to second, so no figure is an absolute time: what is measured and its floor take
turns within one loop, and the first round, which warms caches and writes byte code, is not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median, quantiles
from time import time_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Literal, TypeVar

    Sample = TypeVar("Sample")
    Wanted = Literal["ratio at most", "ratio at least", "ours at most"]


@dataclass(frozen=True)
class Figure:
    """Medians of what was measured and of its floor, in `unit`, and what is asked of them."""

    what: str
    unit: str
    ours: float
    floor: float
    spread: tuple[float, float]
    """Between these, as multiples of the floor's median, lies the middle half of our own samples."""
    target: float
    wanted: Wanted = "ratio at most"

    @property
    def ratio(self) -> float:
        """Our median as a multiple of the floor's."""
        return self.ours / self.floor

    @property
    def ok(self) -> bool:
        """Whether the target is kept."""
        if self.wanted == "ratio at least":
            return self.ratio >= self.target
        return (self.ours if self.wanted == "ours at most" else self.ratio) <= self.target


def interleaved(rounds: int, calls: Mapping[str, Callable[[], Sample]]) -> dict[str, list[Sample]]:
    """Make each of `calls` in turn, `rounds` times over after one round that does not count; return their samples."""
    samples: dict[str, list[Sample]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            sample = call()
            if number:
                samples[name].append(sample)
    return samples


def figure(
    what: str,
    unit: str,
    ours: Sequence[float],
    floor: Sequence[float],
    target: float,
    wanted: Wanted = "ratio at most",
) -> Figure:
    """Return the figure that samples of one loop make."""
    middle = median(floor)
    ratios = [sample / middle for sample in ours]
    low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return Figure(what, unit, median(ours), middle, (low, high), target, wanted)


def novel() -> str:
    """Return words that were in no task before: an answer from the cache would measure nothing."""
    return f"edition {time_ns()}"
