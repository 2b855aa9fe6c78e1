"""How likely each of several candidates is right, or none of them, told from their scores.

A multinomial logit with an outside option: candidate i has the share exp(scale * sqrt(score_i)) of the sum over all
candidates whose score is not 0 and of exp(none), which stands for "none fits". So an answer is sure where its score is
high and the next one's is not; the root is there because a point more says less where a long task has many. Where even
the best score is below `least_score`, none fits, unless the task is so short that the score is `least_density` times
its words: "slow page" says little, but says it plainly. All are fitted to labelled tasks, see `calibration.json`.
"""

from __future__ import annotations

import json
from functools import cache
from math import exp, sqrt
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any


def shares(scores: Sequence[float], *, scale: float, none: float) -> list[float]:
    """Return the share of each score, from 0 to 1; what is missing to 1 is the share of "none"."""
    exponents = [scale * sqrt(max(score, 0.0)) for score in scores]
    top = max([*exponents, none])  # taken from all exponents, which leaves the shares as they are and never overflows
    parts = [exp(exponent - top) if exponent else 0.0 for exponent in exponents]
    total = sum(parts) + exp(none - top)
    return [part / total for part in parts]


def chosen(scores: Sequence[float], known: Mapping[str, float], top: int, *, words: int) -> list[tuple[int, float]]:
    """Return place and confidence of at most `top` candidates worth naming, best first; none if none fits.

    `known` are the constants of a method, `words` is how many different words of the task say something.
    """
    found = shares(scores, scale=known["scale"], none=known["none"])
    order = sorted(range(len(found)), key=lambda place: (-found[place], place))[:top]
    if not order or scores[order[0]] < min(known["least_score"], known["least_density"] * max(words, 1)):
        return []
    return [(place, found[place]) for place in order if scores[place] > 0 and found[place] >= known["least"]]


@cache
def calibration() -> Mapping[str, Any]:
    """Return what `calibration.json` holds: by method the fitted constants, and where they come from."""
    found: Mapping[str, Any] = json.loads(Path(__file__).with_name("calibration.json").read_bytes())
    return found


def listed(things: Iterable[str]) -> str:
    """Return `things` as English lists them: a, b and c."""
    *most, last = things
    return f"{', '.join(most)} and {last}" if most else last
