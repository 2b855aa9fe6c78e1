#!/usr/bin/env python3
"""Fit the points of routing to labelled tasks, and tell how routes go for the tasks of a writer who was left out.

usage: python scripts/fit_routing.py [--write] [FILE.jsonl ...]

Tasks belong to one writer whose ids begin with the same letters. Rows whose "set" is "held" are left out. The points
are the weights of two logistic regressions with a ridge: one tells whether a task is critical, the other how hard it
is. The second sees each task twice, once to tell whether the small model suffices, once whether the middle one does;
whether the small one would have done for a critical task is in no label, so there such a task is seen once.
"""

from __future__ import annotations

import json
import sys
from math import exp
from pathlib import Path
from unittest.mock import patch

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

import evaluate_routing  # noqa: E402

from claude_force.routing import TIERS, weighing  # noqa: E402
from claude_force.routing.reading import known, read  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Case = tuple[Mapping[str, float], bool]
    """What counts in a task and how often, and whether what is to be told is so."""

POINTS = Path(weighing.__file__).with_name("points.json")
_RIDGE = 5.0
"""How strongly weights are drawn to what is believed; 3 did as well for writers left out, 8 saved less."""
_BELIEVED = {"hard": 0.3, "easy": -0.3, "harm": 0.6}
"""Weights, by what a sign speaks for, to which those of rare words are drawn."""
_SWEEPS = 60
_BARS = ("bar middle", "bar large")


def logistic(cases: Sequence[Case], prior: Mapping[str, float], *, free: Iterable[str]) -> dict[str, float]:
    """Return the weights under which `cases` are most probable, by Newton's method for one weight after another.

    Each is drawn to its prior, 0 if it has none; those named in `free` are not drawn at all.
    """
    free = set(free)
    weights: dict[str, float] = {name: 0.0 for counts, _ in cases for name in counts}
    rows: dict[str, list[tuple[int, float]]] = {name: [] for name in weights}
    for at, (counts, _) in enumerate(cases):
        for name, count in counts.items():
            rows[name].append((at, count))
    sums = [0.0] * len(cases)
    for _ in range(_SWEEPS):
        for name, held in rows.items():
            ridge = 0.0 if name in free else _RIDGE
            slope, curve = ridge * (prior.get(name, 0.0) - weights[name]), ridge + 1e-9
            for at, count in held:
                chance = 1 / (1 + exp(-sums[at]))
                slope += count * (cases[at][1] - chance)
                curve += count * count * chance * (1 - chance)
            step = max(-1.0, min(1.0, slope / curve))
            weights[name] += step
            for at, count in held:
                sums[at] += step * count
    return weights


def fit(rows: Sequence[Mapping]) -> dict:
    """Return the points for `rows`, as `points.json` holds them."""
    counted = [(row, weighing.features(read(row["agent"], row["task"]))) for row in rows]
    harm = logistic(
        [({**counts, "base": 1}, row["critical"]) for row, counts in counted], _prior("harm"), free=["base"]
    )
    hard = logistic(
        [case for row, counts in counted for case in _cases(row, counts)], _prior("hard", "easy"), free=_BARS
    )
    fitted = ((hard, _prior("hard", "easy")), (harm, _prior("harm")))
    names = [f"{sort} {name}" for sort in ("trade", "sign") for name in known(f"{sort}s")]
    names += [f"shape {name}" for name in weighing.SHAPES]
    points = {name: [round(10 * weights.get(name, prior.get(name, 0))) for weights, prior in fitted] for name in names}
    base = {"middle": hard["bar middle"], "large": hard["bar large"], "harm": harm["base"]}
    return {"base": {name: round(10 * weight) for name, weight in base.items()}, **points}


def _prior(*ways: str) -> dict[str, float]:
    """Return what is believed of signs that speak for one of `ways` before any label is seen."""
    signs = {f"sign {name}": _BELIEVED[way] for name, sign in known("signs").items() if (way := sign["for"]) in ways}
    return signs | ({"shape short question": -_BELIEVED["harm"]} if "harm" in ways else {})


def _cases(row: Mapping, counts: Mapping[str, float]) -> list[Case]:
    tier = TIERS.index(row["tier"])
    bars = list(enumerate(_BARS, start=1))[row["critical"] :]
    return [({**counts, bar: 1}, tier >= least) for least, bar in bars]


def written(points: Mapping) -> str:
    """Return `points` as the text of `points.json`, a name a line."""
    return "{\n" + ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in points.items()) + "\n}\n"


def labelled(paths: Iterable[str]) -> list[dict]:
    """Return the rows of the files, by default of all there are, that may be seen."""
    return [row for row in evaluate_routing.labelled(*map(Path, paths)) if row.get("set") != "held"]


def left_out(rows: Sequence[Mapping]) -> Iterator[str]:
    """Yield lines of how the tasks of each writer are routed by points fitted to the others'; last, all together."""
    everything: dict = {}
    for writer in sorted({_writer(row) for row in rows}):
        points = fit([row for row in rows if _writer(row) != writer])
        with patch.object(weighing, "points", lambda points=points: points):
            found = evaluate_routing.figures([row for row in rows if _writer(row) == writer])
        yield from evaluate_routing.told(f"written by {writer}, fitted to the others", found)
        everything = {key: everything.get(key, type(value)()) + value for key, value in found.items()}
    yield from evaluate_routing.told("every writer, fitted to the others", everything)


def _writer(row: Mapping) -> str:
    return row["id"].rstrip("0123456789-")


def main(words: Sequence[str]) -> None:
    rows = labelled([word for word in words if word != "--write"])
    if "--write" in words:
        POINTS.write_text(written(fit(rows)), "utf-8")
    else:
        print("\n".join(left_out(rows)))


if __name__ == "__main__":
    main(sys.argv[1:])
