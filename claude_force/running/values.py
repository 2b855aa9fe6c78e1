"""What the names in a plan's texts stand for, and the task of a step with its values in it.

What others wrote goes in fenced. Does not know agents' prompts, files or requests.
"""

from __future__ import annotations

from ..errors import ValidationError
from ..prompt import fence
from ..records import Document, canonical
from ..workflow.templates import names, origin, render, step_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..records import Outcome, Step
    from .plan import Item, Plan


def value_of(plan: Plan, name: str, outcomes: Mapping[str, Outcome], item: Item | None) -> str:
    """Return what the template `name` stands for, unfenced; raises ValidationError if the item lacks it."""
    if name == "task":
        return plan.task
    if name.startswith("input."):
        return plan.inputs[name.removeprefix("input.")]
    if origin(name) == "steps":
        outcome = outcomes.get(step_of(name) or "")
        return outcome.output if outcome else ""
    return _item_value(name, item)


def rendered(plan: Plan, text: str, item: Item | None = None) -> str:
    """Return `text`, which names no output, with its values; raises ValidationError as `value_of` does."""
    return render(text, lambda name: value_of(plan, name, {}, item))


def named_outputs(step: Step) -> list[str]:
    """Return the ids of the steps whose outputs the task of `step` names.

    A step whose task names none is sent the outputs of all its dependencies.
    """
    return [named for name in names(step.task) if (named := step_of(name))]


def sources(step: Step) -> tuple[str, ...]:
    """Return the ids of the steps whose outputs `step` is given."""
    return tuple(named_outputs(step)) or step.dependencies


def task(plan: Plan, step: Step, outcomes: Mapping[str, Outcome], item: Item | None) -> tuple[str, bool]:
    """Return the task of a call with its values, and whether it holds fenced documents.

    Raises ValidationError as `value_of` does.
    """
    quoted = False

    def value(name: str) -> str:
        nonlocal quoted
        text = value_of(plan, name, outcomes, item)
        untrusted = origin(name) == "steps" or (item is not None and item.quoted and origin(name) == "item")
        if not untrusted or not text:
            return text
        quoted = True
        return fence(Document(_document_name(name), text))

    parts = [render(step.task, value)]
    if not named_outputs(step):
        for dependency in step.dependencies:
            if output := outcomes[dependency].output if dependency in outcomes else "":
                quoted = True
                heading = f"## Output of step '{dependency}' ({plan.jobs[dependency].agent.name})"
                parts.append(f"{heading}\n\n{fence(Document(f'output of {dependency}', output))}")
    return "\n\n".join(parts), quoted


def _document_name(name: str) -> str:
    step_id = step_of(name)
    return f"output of {step_id}" if step_id else name


def _item_value(name: str, item: Item | None) -> str:
    if item is None:
        return ""
    value = item.value
    for part in name.split(".")[1:]:
        if not isinstance(value, dict) or part not in value:
            raise ValidationError(f"{{{{{name}}}}}: the item has no '{part}': {item.label[:80]}")
        value = value[part]
    return value if isinstance(value, str) else canonical(value)
