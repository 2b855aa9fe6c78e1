"""What `doctor` and `status` say of the API's health: circuits that are open, and limits that are kept."""

from __future__ import annotations

from ..client.breaker import Rules
from ..client.standing import standings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..client.standing import Standing
    from ..project.workspace import Workspace


def troubles(workspace: Workspace) -> list[Standing]:
    """Return what keeps the project's calls back or may soon do so; nothing where all is well.

    Looking makes no file. Raises OSError where what is known of it cannot be read.
    """
    settings, known = workspace.settings, workspace.stores.health
    rules = Rules(settings.circuit_breaker_failure_threshold, settings.circuit_breaker_timeout_seconds)
    return standings(known.all("circuits"), known.all("paces"), rules)
