"""What a task asks for: its terms, each with what it counts, and the concepts that its pasted parts look like."""

from __future__ import annotations

from .shapes import parts, shapes
from .terms import concepts, terms
from .words import WEAK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .terms import Phrases

    Asked = tuple[str, str, Mapping[str, str], float]
    """A word as written, its stem, by what it stands for the words that do, and what it counts, 1 as a rule."""

_WEAK = 0.5
"""What a word counts that tasks of all kinds have."""
_SHAPE = 1.3
"""What the shape of a pasted part counts."""


def asked(task: str, phrases: Phrases | None = None) -> tuple[Asked, ...]:
    """Return the terms of `task`, each stem once, where it stands for most.

    `phrases` are those to look for, the concepts' if None.
    """
    found: dict[str, Asked] = {}
    for text, share in parts(task):
        for word, stem, meant in terms(text, phrases or concepts()):
            weight = share * _WEAK if not meant and word.lower() in WEAK else share
            before = found.get(stem)
            if before is None or len(meant) > len(before[2]):
                found[stem] = (word, stem, meant, max(weight, before[3]) if before else weight)
    for shape, concept in shapes(task):
        found[shape] = (shape, shape, {concept: shape}, _SHAPE)
    return tuple(found.values())
