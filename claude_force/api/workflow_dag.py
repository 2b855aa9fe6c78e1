"""`WorkflowDAG`: which step of a workflow waits for which, for Python programs."""

from __future__ import annotations

from ..errors import NotFound, UsageError, ValidationError
from ..reports import graph
from ..workflow import dag, definition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn


class WorkflowDAG:
    """The steps of a workflow as a graph without cycles."""

    def __init__(self, steps: Sequence[Mapping[str, Any]], *, name: str = "workflow") -> None:
        """Check `steps`, each as in a workflow file: `id`, `agent`, `dependencies` and so on.

        Raises ValidationError for unknown or duplicate ids, cycles, and whatever else no workflow may have.
        """
        data = {"steps": [dict(step) for step in steps]}
        self._workflow = definition.parse(name, data, source="python", read_schema=_no_file)

    def order(self) -> list[str]:
        """Return the ids so that each comes after its dependencies."""
        return dag.order(self._workflow)

    def levels(self) -> list[list[str]]:
        """Return the ids in groups: those of one can run side by side once the groups before it have ended."""
        level = graph.levels(self._workflow)
        return [[step for step in level if level[step] == number] for number in range(max(level.values()) + 1)]

    def ready(self, done: Sequence[str] = ()) -> list[str]:
        """Return the ids of the steps that are not `done` and whose dependencies all are; raises NotFound."""
        for step in done:
            self._check(step)
        ended = set(done)
        return [s.id for s in self._workflow.steps if s.id not in ended and ended.issuperset(s.dependencies)]

    def ancestors(self, step: str) -> set[str]:
        """Return the ids of all that must end before `step` starts; raises NotFound."""
        self._check(step)
        return dag.ancestors(self._workflow, step)

    def dependents(self, step: str) -> list[str]:
        """Return the ids of the steps that wait for `step` directly; raises NotFound."""
        self._check(step)
        return dag.dependents(self._workflow)[step]

    def draw(self, form: str = "text") -> str:
        """Return the graph as text, mermaid or dot; raises UsageError for any other form."""
        if form not in graph.FORMATS:
            raise UsageError(f"'{form}' is no form of a graph", hint=f"one of {', '.join(graph.FORMATS)}")
        return graph.graph(self._workflow, form)

    def _check(self, step: str) -> None:
        known = [s.id for s in self._workflow.steps]
        if step not in known:
            raise NotFound("step", step, known)


def _no_file(name: str) -> NoReturn:
    raise ValidationError(f"schema {name}: a graph reads no files", hint="leave the schema out")
