"""What is kept of a run: its journal, and of each execution a line of metrics and a session that can be recalled."""

from __future__ import annotations

from functools import cache

from .. import models
from ..errors import AuthenticationFailed, BudgetExceeded, UsageError, reason
from ..records import task_hash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..errors import ForceError
    from ..records import Outcome, Workflow
    from ..running.plan import Plan
    from ..running.tape import Tape
    from ..stores.journal import Journal
    from ..stores.seal import Secret
    from .workspace import Workspace


def recorder(workspace: Workspace, workflow: Workflow, run_id: str | None) -> Callable[[Outcome], None]:
    """Return what keeps an outcome of a run of `workflow`; what cannot be kept is warned of and ends nothing.

    A call that a budget refused counts as a failed execution, but there is nothing to recall of it. One that could not
    be sent as things are set up, for want of a key, is none; in a workflow it counts all the same, since `status` has
    to raise the alarm for a job that cannot run.
    """
    name = None if workflow.source == "agent" else workflow.name

    def record(outcome: Outcome) -> None:
        unsent = _is_of_the_setup(outcome.error)
        if workspace.settings.features_metrics_enabled and not (unsent and name is None):
            _measure(workspace, outcome, name, run_id)
        refused = unsent or isinstance(outcome.error, BudgetExceeded)
        if workspace.settings.features_memory_enabled and not refused:
            facts = {"model": outcome.model, "workflow": name, "run_id": run_id, "status": outcome.status}
            success = outcome.error is None
            workspace.stores.memory.store(outcome.agent, outcome.task, outcome.output, success=success, metadata=facts)

    return record


def _is_of_the_setup(error: ForceError | None) -> bool:
    """Say whether nothing was sent since a key, an address or a package is missing or cannot be one."""
    return isinstance(error, UsageError) or (isinstance(error, AuthenticationFailed) and error.status is None)


def journal(workspace: Workspace, run_id: str) -> Journal:
    """Return the journal of the run `run_id`, unopened."""
    from ..stores.journal import Journal  # 1 ms that runs of single agents need not pay

    directory, warn = workspace.state / "runs" / run_id, workspace.screen.warn
    return Journal(directory, secret=secret(workspace), known=workspace.keys, warn=warn)


def secret(workspace: Workspace) -> Secret:
    """Return what gives the user's secret, by which journals are sealed, and reads it when it is first called."""
    from ..secret import user_secret  # reading commands without a journal need no secret

    return cache(lambda: user_secret(workspace.home))


def is_resumable(workspace: Workspace, run_id: str) -> bool:
    """Say whether the journal of the run `run_id` tells enough for --resume."""
    from ..stores.transcript import read  # 1 ms that runs of single agents need not pay

    try:
        return bool(read(workspace.state / "runs" / run_id / "journal.jsonl", secret(workspace)).sessions)
    except OSError:  # it was warned of when it could not be written
        return False


def new_tape(workspace: Workspace, plan: Plan, run_id: str) -> Tape:
    """Return what keeps the journal of a run of `plan` that begins."""
    from ..running.tape import Tape
    from ..stores.transcript import Transcript  # 1 ms that runs of single agents need not pay

    return Tape(Transcript(), journal=journal(workspace, run_id), plan=plan)


def _measure(workspace: Workspace, outcome: Outcome, workflow: str | None, run_id: str | None) -> None:
    from ..stores.metrics import Metrics, line  # 1 ms that runs without metrics need not pay

    told = line(
        outcome,
        workflow=workflow,
        run_id=run_id,
        task_hash=task_hash(outcome.task),
        price_version=models.price_version(),
    )
    try:
        Metrics(workspace.state / "metrics").append(told)
    except OSError as error:
        workspace.screen.warn(f"this execution is not in the metrics: {reason(error)}")
