"""`PerformanceTracker`: the record of executions for Python programs, the same that `analytics` reads."""

from __future__ import annotations

import time
from pathlib import Path

from .. import models
from ..errors import ForceError, UsageError
from ..records import Outcome, Usage, task_hash
from ..reports import analytics
from ..stores.history import Span, gather
from ..stores.metrics import Metrics, line
from ..stores.tally import Tally

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..stores.history import Sums


class PerformanceTracker:
    """Executions in the metrics at `directory`, as a rule a project's `.claude/metrics`; usable from many threads."""

    def __init__(self, directory: str | Path = ".claude/metrics", *, clock: Callable[[], float] = time.time) -> None:
        """Open nothing yet; `clock` gives the seconds since the epoch."""
        self.directory = Path(directory)
        self._clock = clock

    def record(
        self,
        agent_name: str,
        task: str,
        *,
        success: bool,
        execution_time_ms: float,
        model: str | None = None,
        input_tokens: int = 0,
        output_tokens: int = 0,
        error_type: str = "",
        workflow_id: str | None = None,
    ) -> None:
        """Append an execution that ends now, at today's price of `model`; of the task only a hash is kept.

        Raises OSError, and ValueError for what is no execution, such as one of negative length.
        """
        usage = Usage(input_tokens, output_tokens)
        ended = Outcome(
            agent_name,
            agent_name,
            "ok" if success else "failed",
            model=model,
            usage=usage,
            cost=models.cost(usage, model) if model else None,
            finished=execution_time_ms / 1000,
            error=None if success else _Failed(error_type),
        )
        told = line(
            ended,
            workflow=workflow_id,
            run_id=None,
            task_hash=task_hash(task),
            price_version=models.price_version(),
            timestamp=self._clock(),
        )
        if execution_time_ms < 0 or not Tally().add(told):
            raise ValueError(f"no execution that could be read back: {told}")
        Metrics(self.directory).append(told)

    def summary(self, days: float | None = None, *, default_model: str = "sonnet") -> dict[str, Any]:
        """Return what `analytics summary` does over the last `days`, or over all there are.

        Raises OSError, ForceError for damaged rollups, Busy while another process builds the index.
        """
        return analytics.summary(self._gathered(days), default_model, {})

    def by_agent(self, days: float | None = None) -> list[dict[str, Any]]:
        """Return what `analytics by-agent` does: a row for each agent. Raises as `summary` does."""
        return analytics.by_agent(self._gathered(days))

    def costs(self, by: str = "agent", days: float | None = None) -> dict[str, Any]:
        """Return what `analytics costs` does, `by` agent, model or workflow.

        Raises as `summary` does, and UsageError for anything else.
        """
        if by not in analytics.BY:
            raise UsageError(f"costs by '{by}': no such grouping", hint=f"use one of {', '.join(analytics.BY)}")
        return analytics.costs(self._gathered(days), by)

    def _gathered(self, days: float | None) -> Sums:
        return gather(self.directory, Span() if days is None else Span.of_last(days, self._clock()))


class _Failed(ForceError):
    """A failure that another program names."""

    def __init__(self, name: str) -> None:
        super().__init__(name)

    @property
    def type(self) -> str:
        return self.message or "unknown"
