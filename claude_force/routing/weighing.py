"""How probable it is that a task needs a larger model and that a wrong answer to it does harm.

Each trade, sign and shape of a `Reading` adds its points, from `points.json`, to a sum of which the logistic function
is the probability. The points are fitted to labelled tasks by `scripts/fit_routing.py`.
"""

from __future__ import annotations

import json
from functools import cache
from math import exp
from pathlib import Path

from ..frozen import dataclass
from .reading import known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .reading import Reading

MOST = 3
"""Words of one sign that count; further ones say the same again."""
_TENTHS = 10
"""The points are tenths of a logit."""
SHAPES = {
    "pasted": "What is pasted narrows it down",
    "short question": "A short question makes it easier",
    "much data": "The amounts in it make it harder",
    "long code": "The length of the code makes it harder",
    "many parts": "The number of parts makes it harder",
}
_WORTH_TELLING = 3
"""Points below which a reason says nothing."""


@dataclass(frozen=True)
class Weight:
    """What a reading amounts to: three probabilities, from 0 to 1."""

    middle: float
    """That the small model does not suffice, harm aside."""
    large: float
    """That the middle model does not suffice."""
    harm: float
    """That a wrong answer can do harm."""


def weigh(reading: Reading) -> Weight:
    """Return the probabilities for `reading`."""
    table = points()
    hard, harm = (sum(table[name][side] * count for name, count in features(reading).items()) for side in (0, 1))
    base = table["base"]
    return Weight(*(_logistic(total) for total in (hard + base["middle"], hard + base["large"], harm + base["harm"])))


def features(reading: Reading) -> dict[str, int]:
    """Return what counts in `reading`, and how often: the keys of `points.json`."""
    counted = {f"sign {name}": min(len(cues), MOST) for name, cues in reading.signs.items()}
    trade = [f"trade {reading.trade}"] if reading.trade else []
    return counted | dict.fromkeys([*trade, *(f"shape {name}" for name in reading.shapes)], 1)


def told(reading: Reading, most: int = 3) -> list[str]:
    """Return sentences on what moved the hardness of `reading`, the heaviest first."""
    table = points()
    worth = {name: table[name][0] * count for name, count in features(reading).items()}
    heaviest = sorted(worth, key=lambda name: -abs(worth[name]))[:most]
    return [_sentence(name, worth[name], reading) for name in heaviest if abs(worth[name]) >= _WORTH_TELLING]


def dangers(reading: Reading) -> tuple[str, ...]:
    """Return the words that speak for harm, the heaviest sign's first; the trade or a shape where there are none."""
    table, signs = points(), known("signs")
    heaviest = sorted(reading.signs, key=lambda name: -table[f"sign {name}"][1])
    grave = [name for name in heaviest if signs[name]["for"] == "harm"]
    doubtful = [name for name in heaviest if table[f"sign {name}"][1] > 0]
    cues = dict.fromkeys(cue for name in grave or doubtful for cue in reading.signs[name])
    if cues:
        return tuple(cues)
    return (reading.trade,) if reading.trade else reading.shapes[:1]


def _sentence(name: str, moved: int, reading: Reading) -> str:
    sort, _, key = name.partition(" ")
    more = "harder" if moved > 0 else "easier"
    if sort == "trade":
        return f"Tasks of {known('trades')[key]['work']} are mostly {more} than others."
    if sort == "shape":
        return f"{SHAPES[key]}."
    quoted = ", ".join(f"'{cue}'" for cue in reading.signs[key][:MOST])
    sign = known("signs")[key]
    about = "it is about " if sign["for"] == "harm" else ""
    return f"{quoted}: {about}{sign['says']}, which makes it {more}."


def _logistic(total: int) -> float:
    return 1 / (1 + exp(-total / _TENTHS))


@cache
def points() -> Mapping[str, Any]:
    """Return the points by feature, those for hard work and those for harm, and under `base` where the sums begin."""
    found: Mapping[str, Any] = json.loads(Path(__file__).with_name("points.json").read_text("utf-8"))
    return found
