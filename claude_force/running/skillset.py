"""Which skills a step is sent with: those that are bound to it, and those that its task needs.

An agent that names no skills has those of the project and of the user: it sees a line for each, and the bodies of
those whose words are like the task's. The task is the author's and the user's; what other steps put out has no say.
"""

from __future__ import annotations

from ..records import Skill

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..records import Agent, Step
    from ..settings.config import Settings

CATALOGUE = "(catalogue)"
"""What the lines go by; no skill can be called so."""
_HEAD = (
    "What there is to be known of some subjects, a line each. What the task needs of it follows in full. "
    "If something else of it is needed, name it in the answer; it can be given then.\n\n"
)


def skills_of(
    agent: Agent,
    step: Step,
    task: str,
    *,
    settings: Settings,
    find: Callable[[str], Skill],
    offered: Callable[[], Sequence[Skill]],
    explain: Callable[[str], object],
) -> tuple[Skill, ...]:
    """Return the skills of one step, the catalogue before those that its task needs.

    `find` returns the skill of a name or raises NotFound, `offered` returns all there are, and `explain` is told why
    one was chosen.
    """
    names = dict.fromkeys((*settings.skills_preload, *agent.skills, *step.skills))
    bound = tuple(find(name) for name in names)
    if agent.skills or not settings.skills_auto or not (known := offered()):
        return bound
    from ..selection import skills as needs  # 5 ms that agents with skills of their own need not pay

    words = step.task.replace("{{task}}", task)
    chosen = [need for need in needs.needed(words, known, always=tuple(names)) if need.skill.name not in names]
    for need in chosen:
        explain(f"{step.id}: skill {need.skill.name}: {need.reason}")
    lines = Skill(CATALOGUE, "", _HEAD + needs.catalogue(known), "built in")
    return (lines, *bound, *(need.skill for need in chosen))
