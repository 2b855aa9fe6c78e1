"""Which skills of the library a task needs, so that only these are sent whole and of the others one line.

What an agent, a step, the user or a setting names is needed in any case; of the others, those whose words are enough
like those of the task, or whose name it uses. Outputs of other steps and attached files must not be among these words:
they are not the user's, and the request would change with them.
"""

from __future__ import annotations

from math import inf, sqrt

from ..frozen import dataclass
from .bm25 import Index
from .confidence import calibration
from .lexical import reason
from .profile import headings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from ..records import Skill
    from .bm25 import Match

_WEIGHTS = {"name": 3.0, "description": 2.0, "headings": 0.3}
_NAMED = 2
"""What a word counts that stands for the same concept as a skill's name."""
_LINE = 100
"""Characters that a skill's line in the catalogue has at most after its name."""


@dataclass(frozen=True)
class Need:
    """A skill that a task needs, and why, in words."""

    skill: Skill
    reason: str


def needed(task: str, skills: Sequence[Skill], *, always: Collection[str] = ()) -> list[Need]:
    """Return the skills to load for `task`: those named in `always`, in its order, and then by name those that fit."""
    by_name = {skill.name: skill for skill in skills}
    found = [Need(by_name[name], "named explicitly") for name in dict.fromkeys(always) if name in by_name]
    index, least = index_of(skills), calibration()["skills"]["least"]
    matches = [index.matches(task, place) for place in range(len(skills))]
    fitting = [
        Need(skill, reason(own))
        for skill, own, relevant in zip(skills, matches, relevances(matches), strict=True)
        if relevant >= least and skill.name not in always
    ]
    return found + sorted(fitting, key=lambda need: need.skill.name)


def relevances(matches: Sequence[Sequence[Match]]) -> list[float]:
    """Return how relevant each skill with these `matches` is, or infinity if the task uses its name.

    That is its score against the root of the best one's: where one skill says most of what a task is about, others need
    more than a word.
    """
    scores = [sum(_gain(match) for match in own) for own in matches]
    best = sqrt(max([*scores, 1]))
    named = (any(match.field == "name" and not match.concept for match in own) for own in matches)
    return [inf if uses else score / best for score, uses in zip(scores, named, strict=True)]


def index_of(skills: Sequence[Skill]) -> Index:
    """Return the index of what `skills` say of themselves."""
    said = [{"name": s.name, "description": s.description, "headings": headings(s.body)} for s in skills]
    return Index(said, _WEIGHTS)


def catalogue(skills: Sequence[Skill]) -> str:
    """Return the skills' names and what they are for, a line each, by name: the same text for every task."""
    return "\n".join(f"- {s.name}: {_line(s.description)}" for s in sorted(skills, key=lambda skill: skill.name))


def saving(skills: Sequence[Skill], loaded: Sequence[Skill], estimate: Callable[[str], int]) -> dict[str, int | float]:
    """Return the tokens of all bodies, those of the catalogue and the `loaded` ones, and the share that is saved.

    `estimate` tells how many tokens a text has.
    """
    everything = sum(estimate(skill.body) for skill in skills)
    sent = estimate(catalogue(skills)) + sum(estimate(skill.body) for skill in loaded)
    saved = round(1 - sent / everything, 4) if everything else 0.0
    return {"all_tokens": everything, "sent_tokens": sent, "saved": saved}


def _gain(match: Match) -> float:
    return match.gain * (_NAMED if match.field == "name" else 1)


def _line(description: str) -> str:
    """Return the first clause of a description, which says what the skill is, on one line."""
    text = " ".join(description.split()).split(". ")[0].split(", covering")[0]
    if len(text) <= _LINE:
        return text.rstrip(".")
    return text[:_LINE].rsplit(" ", 1)[0].rstrip(",;:") + " …"
