"""Which skills of the library a task needs, so that only these are sent whole and of the others one line.

What an agent, a step, the user or a setting names is needed in any case; of the others, those whose words are enough
like those of the task, or whose name it uses. Outputs of other steps and attached files must not be among these words:
they are not the user's, and the request would change with them.
"""

from __future__ import annotations

from math import inf

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
    others = [skill for skill in skills if skill.name not in always]
    index = index_of(skills)
    places = {name: place for place, name in enumerate(by_name)}
    matches = {skill.name: index.matches(task, places[skill.name]) for skill in others}
    least = calibration()["skills"]["least"]
    fitting = sorted((skill for skill in others if relevance(matches[skill.name]) >= least), key=lambda s: s.name)
    return found + [Need(skill, reason(matches[skill.name])) for skill in fitting]


def relevance(matches: Sequence[Match]) -> float:
    """Return how relevant a skill with these `matches` is: their score, or infinity if its name is among them."""
    return inf if any(match.field == "name" for match in matches) else sum(match.gain for match in matches)


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


def _line(description: str) -> str:
    """Return the first clause of a description, which says what the skill is, on one line."""
    text = " ".join(description.split()).split(". ")[0].split(", covering")[0]
    if len(text) <= _LINE:
        return text.rstrip(".")
    return text[:_LINE].rsplit(" ", 1)[0].rstrip(",;:") + " …"
