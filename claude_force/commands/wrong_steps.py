"""All steps of one workflow that are wrong, where reading it for a run ends at the first.

It knows what a workflow file holds, and neither where it lies nor which agents there are.
"""

from __future__ import annotations

import re

from .. import workflow
from ..errors import ValidationError
from ..frozen import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from ..records import Workflow

STEP = re.compile(r"step '([^']+)'")
"""How a message names the step that it is about."""


def wrong_steps(
    name: str, data: Mapping[str, Any], path: Path | None
) -> tuple[Sequence[ValidationError], Workflow | None]:
    """Return what is wrong with the steps of the workflow that `data` describes, and the workflow without them.

    It is read again and again, with something harmless in the place of each step that was found to be wrong; None is
    returned if it cannot be read even so. Schemas that lie in files are taken to be right.
    """
    steps: Any = data.get("steps")
    wrong: dict[str, ValidationError] = {}
    while True:
        whole = {**data, "steps": steps}
        try:
            read = workflow.parse(name, whole, source="config", path=path, read_schema=lambda _: "{}")
        except ValidationError as error:
            named = STEP.search(error.message)
            if not named or named[1] in wrong:
                return [*wrong.values(), error], None
            wrong[named[1]] = error
            steps = [_harmless(step, steps) if _id(step) == named[1] else step for step in steps]
        else:
            return [*wrong.values()], replace(read, steps=tuple(step for step in read.steps if step.id not in wrong))


def _harmless(step: Mapping[str, Any], steps: Sequence[Any]) -> dict[str, Any]:
    """Return a step with nothing but the id and the dependencies of `step`, as far as there are such steps."""
    named = step.get("dependencies")
    listed = named if isinstance(named, list) else [named]
    known = [_id(other) for other in steps if other is not step]
    return {"id": step["id"], "agent": "any", "dependencies": [name for name in listed if name and name in known]}


def _id(step: Any) -> Any:
    return step.get("id") if isinstance(step, dict) else None
