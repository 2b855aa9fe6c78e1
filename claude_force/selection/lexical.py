"""Which agents fit a task by its words. It knows what an agent says of itself, and nothing of what the words mean."""

from __future__ import annotations

from . import Choice
from .asked import asked
from .bm25 import Index
from .confidence import calibration, chosen, listed
from .profile import WEIGHTS, profiles
from .shapes import SHAPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..records import Agent
    from .bm25 import Match

_PLACES = {"clauses": "its description", "descriptions of others": "what others say it is for"}
_MOST_WORDS = 5
"""Words of a task that a reason names."""


def recommend(task: str, agents: Sequence[Agent], *, top: int = 3) -> list[Choice]:
    """Return at most `top` agents that fit `task`, best first; an empty list if none does."""
    index = index_of(agents)
    return [
        Choice(agents[place].name, round(confidence, 3), reason(index.matches(task, place)))
        for place, confidence in chosen(index.scores(task), calibration()["lexical"], top, words=len(asked(task)))
    ]


def index_of(agents: Sequence[Agent]) -> Index:
    """Return the index of what `agents` say of themselves."""
    return Index(profiles(agents), WEIGHTS)


def reason(matches: Sequence[Match]) -> str:
    """Return in words which words of a task, or what it looks like, are found where.

    A concept in brackets says what is meant by them.
    """
    found: dict[str, list[str]] = {}
    for match in matches[:_MOST_WORDS]:
        word = match.word.lower()
        differs = match.concept and match.concept != word
        quoted = word if word in SHAPES else f"'{word}'"
        found.setdefault(match.field, []).append(f"{quoted} ({match.concept})" if differs else quoted)
    return "; ".join(f"{listed(words)} in {_PLACES.get(field, f'its {field}')}" for field, words in found.items())
