"""The public Python API with routing: the task has a say in which model it is given."""

from __future__ import annotations

from ..project.router import router
from ..records import Step
from .orchestrator import AgentOrchestrator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from ..routing import Route


class HybridOrchestrator(AgentOrchestrator):
    """An AgentOrchestrator that chooses the model for each task, whatever `routing.auto` says.

    A model that is asked for, by `model=` or in a workflow's step, is kept.
    """

    def __init__(
        self, config_path: str | Path | None = None, *, api_key: str | None = None, directory: str | Path | None = None
    ) -> None:
        super().__init__(config_path, api_key=api_key, directory=directory)
        self._workspace.auto_model = True

    def route(self, name: str, task: str) -> Route:
        """Return which model the agent `name` would be given for `task`, and why; nothing is sent."""
        with self._opening:
            return router(self._workspace)({"task": task}, 0, self._workspace.agent(name), Step(name, name))
