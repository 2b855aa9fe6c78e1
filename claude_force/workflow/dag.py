"""The graph of a workflow: what waits for what, in which order, and how long a path lies ahead of a step."""

from __future__ import annotations

from ..errors import NotFound, ValidationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..records import Workflow


def ancestors(workflow: Workflow, step_id: str) -> set[str]:
    """Return all that must end before the step `step_id` starts; in a cycle that is also the step itself."""
    dependencies = {step.id: step.dependencies for step in workflow.steps}
    found: set[str] = set()
    waiting = [step_id]
    while waiting:
        new = set(dependencies[waiting.pop()]) - found
        found |= new
        waiting.extend(new)
    return found


def dependents(workflow: Workflow) -> dict[str, list[str]]:
    """Return, for each step, the steps that wait for it directly, in the order of the file."""
    waiting: dict[str, list[str]] = {step.id: [] for step in workflow.steps}
    for step in workflow.steps:
        for dependency in step.dependencies:
            waiting[dependency].append(step.id)
    return waiting


def since(workflow: Workflow, step_id: str) -> frozenset[str]:
    """Return the step `step_id` and all that depends on it; raises NotFound if there is no such step."""
    waiting = dependents(workflow)
    if step_id not in waiting:
        raise NotFound("step", step_id, waiting)
    found = {step_id}
    ahead = [step_id]
    while ahead:
        new = set(waiting[ahead.pop()]) - found
        found |= new
        ahead.extend(new)
    return frozenset(found)


def order(workflow: Workflow) -> list[str]:
    """Return the ids so that each comes after its dependencies; raises ValidationError naming a cycle's ids."""
    waiting = dependents(workflow)
    missing = {step.id: len(step.dependencies) for step in workflow.steps}
    ready = [i for i, count in missing.items() if not count]
    for step_id in ready:  # grows while it is read
        for dependent in waiting[step_id]:
            missing[dependent] -= 1
            if not missing[dependent]:
                ready.append(dependent)
    if len(ready) < len(missing):
        cycle = _cycle(workflow, set(ready))
        hint = "remove one of these dependencies"
        raise ValidationError(f"the dependencies form a cycle: {' -> '.join(cycle)}", hint=hint, step=cycle[0])
    return ready


def remaining(workflow: Workflow) -> dict[str, int]:
    """Return, for each step, the number of steps on the longest path from it to an end, itself included."""
    waiting = dependents(workflow)
    ahead: dict[str, int] = {}
    for step_id in reversed(order(workflow)):
        ahead[step_id] = 1 + max((ahead[d] for d in waiting[step_id]), default=0)
    return ahead


def final_steps(workflow: Workflow) -> list[str]:
    """Return the steps on which nothing depends: their outputs are the workflow's answer."""
    return [step_id for step_id, waiting in dependents(workflow).items() if not waiting]


def _cycle(workflow: Workflow, acyclic: set[str]) -> list[str]:
    """Return the ids of one cycle, each before those that wait for it, the first once more at the end."""
    # a step that could not be ordered waits for another such step, so going from one to the next ends in a circle
    left = [step for step in workflow.steps if step.id not in acyclic]
    blocker = {step.id: next(d for d in step.dependencies if d not in acyclic) for step in left}
    path: dict[str, None] = {}  # ordered, and a look-up takes no search
    at = next(iter(blocker))
    while at not in path:
        path[at] = None
        at = blocker[at]
    steps = list(path)
    return [*steps[steps.index(at) :], at][::-1]
