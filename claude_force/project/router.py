"""Wiring of the routing: a project's default model, its prices and the record of its executions for `routing.route`."""

from __future__ import annotations

from ..errors import reason
from ..records import task_hash
from ..routing import route
from ..workflow.templates import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..records import Agent, Step
    from ..routing import Past, Route, Router
    from .workspace import Workspace


def router(workspace: Workspace) -> Router:
    """Return what routes steps in the project of `workspace`; a record that cannot be read is warned of.

    A step is routed by its task as it stands before anything has run: what other steps will put out moves no model.
    """

    def chosen(known: Mapping[str, str], attached: int, agent: Agent, step: Step) -> Route:
        settings = workspace.settings
        task = render(step.task, lambda name: known.get(name, ""))
        return route(
            agent,
            task,
            default=agent.model or settings.default_model,
            asked=step.model,
            attached=attached,
            past=_past(workspace, agent.name, task),
            prices=settings.prices,
        )

    return chosen


def _past(workspace: Workspace, agent: str, task: str) -> Past:
    def past(kind: str) -> Iterator[tuple[str, bool]]:
        from ..stores.metrics import FILE
        from ..stores.track_record import runs

        try:
            yield from runs(workspace.state / "metrics" / FILE, agent, kind=kind, task_hash=task_hash(task))
        except OSError as error:
            workspace.screen.warn(f"routed without the record of past executions: {reason(error)}")

    return past
