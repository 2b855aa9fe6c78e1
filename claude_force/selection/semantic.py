"""Which agents fit a task by its meaning: vectors of its text and of what agents say they are for, and its words too.

The words decide between agents whose meanings lie close together: neither way alone is as often right as both. How a
text becomes a vector is not known here.
"""

from __future__ import annotations

from math import sqrt
from operator import mul

from ..frozen import dataclass
from . import Choice
from .asked import asked
from .confidence import calibration, chosen, listed
from .lexical import index_of, reason
from .profile import phrases

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..records import Agent
    from .bm25 import Index

    Vector = Sequence[float]
    Embed = Callable[[Sequence[str]], Sequence[Vector]]

_NEAREST = 5
"""How many of an agent's phrases count: those nearest to the task."""
_WORDS = 0.4
"""What the root of the lexical score counts, against a cosine. On the labelled tasks that both were chosen by, their
neighbours are as good."""
_ALIKE = 0.4
"""A mean cosine that is enough for an agent to fit though no word is shared; tasks that none is for stay below."""
_TOLD = 3
"""Phrases that a reason names."""


@dataclass(frozen=True)
class Profiles:
    """What a task is compared with: of each agent its phrases and their vectors, and the index of their words."""

    agents: Sequence[Agent]
    said: Sequence[Sequence[str]]
    vectors: Sequence[Sequence[Vector]]
    index: Index


def profiles(agents: Sequence[Agent], embed: Embed) -> Profiles:
    """Return what `agents` say of themselves; `embed` turns texts into vectors of length 1."""
    said = phrases(agents)
    vectors = iter(embed([phrase for own in said for phrase in own]))
    return Profiles(agents, said, [[next(vectors) for _ in own] for own in said], index_of(agents))


def recommend(task: str, known: Profiles, embed: Embed, *, top: int = 3) -> list[Choice]:
    """Return at most `top` agents that fit `task`, best first; an empty list if none does."""
    nearest = _nearest(task, known, embed)
    mixed = _mixed(nearest, known.index.scores(task))
    found = []
    constants = calibration()["semantic"]
    if any(_mean(near) >= _ALIKE for near in nearest):
        constants = {**constants, "least_score": 0.0}
    for place, confidence in chosen(mixed, constants, top, words=len(asked(task))):
        meant = listed(f"'{known.said[place][at]}' ({cosine:.2f})" for cosine, at in nearest[place][:_TOLD])
        words = reason(known.index.matches(task, place))
        told = f"means much the same as {meant}" + (f"; {words}" if words else "")
        found.append(Choice(known.agents[place].name, round(confidence, 3), told))
    return found


def scores(task: str, known: Profiles, embed: Embed) -> list[float]:
    """Return the score of each agent, from which confidence is made."""
    return _mixed(_nearest(task, known, embed), known.index.scores(task))


def _mixed(nearest: Sequence[Sequence[tuple[float, int]]], lexical: Sequence[float]) -> list[float]:
    return [_mean(near) + _WORDS * sqrt(words) for near, words in zip(nearest, lexical, strict=True)]


def _mean(near: Sequence[tuple[float, int]]) -> float:
    return sum(cosine for cosine, _ in near) / len(near)


def _nearest(task: str, known: Profiles, embed: Embed) -> list[list[tuple[float, int]]]:
    """Return for each agent cosine and place of the phrases nearest to `task`, the nearest first."""
    (wanted,) = embed([task])
    cosines = ([_dot(wanted, vector) for vector in own] for own in known.vectors)
    return [sorted(zip(own, range(len(own)), strict=True), reverse=True)[:_NEAREST] for own in cosines]


def _dot(one: Vector, other: Vector) -> float:
    product: float = sum(map(mul, one, other))
    return product
