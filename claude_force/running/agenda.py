"""Which calls of a plan can begin, and how the steps end of which nothing is asked.

A step is opened when its last dependency has ended. It knows neither when a call that can begin does, nor what a call
costs, and it waits for nothing.
"""

from __future__ import annotations

from ..errors import ForceError
from ..frozen import replace
from ..workflow import dag
from . import calls
from . import plan as plans
from .calls import Call
from .parts import is_redacted
from .values import rendered
from .verdict import combined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..records import Outcome
    from .plan import Plan


class Agenda:
    """What of a plan has ended and what is open; used by the thread of one run alone."""

    def __init__(
        self, plan: Plan, *, now: Callable[[], float], warn: Callable[[str], object], stop_on_error: bool
    ) -> None:
        """`now` gives seconds since the run began; with `stop_on_error`, after a failure no further step is opened."""
        self.outcomes: dict[str, Outcome] = {}
        """How steps ended that the consumer has seen."""
        self.stopped = ""
        """Why nothing more is begun."""
        self.redacted: set[str] = set()
        """Steps whose outputs came from the journal, and held secrets."""
        self._plan, self._now, self._warn, self._stop_on_error = plan, now, warn, stop_on_error
        self._dependents = dag.dependents(plan.workflow)
        self._waiting = {step.id: len(step.dependencies) for step in plan.workflow.steps}
        self._members: dict[str, list[Outcome | None]] = {}
        self._missing: dict[str, int] = {}
        """How many members of a step have not ended."""
        self._barred: set[str] = set()
        """Steps that failed, or were not run because one before them did."""

    def first(self) -> Iterator[Call | Outcome]:
        """Yield what comes of the steps that depend on no other: calls that can begin, or outcomes."""
        for step in self._plan.workflow.steps:
            if not step.dependencies:
                yield from self._opened(step.id)

    def settle(self, outcome: Outcome) -> Iterator[Call | Outcome]:
        """Take note of an outcome that the consumer has seen, and yield what comes of the steps that it opens."""
        if outcome.error and self._stop_on_error and not self.stopped:
            self.stopped = f"'{outcome.step}' failed"
        if outcome.member is not None:
            yield from self._gathered(outcome)
            return
        self.outcomes[outcome.step] = outcome
        if outcome.recalled and is_redacted(outcome):
            self.redacted.add(outcome.step)
        if outcome.error:
            self._barred.add(outcome.step)
        for dependent in self._dependents[outcome.step]:
            self._waiting[dependent] -= 1
            if not self._waiting[dependent] and not self.stopped:
                yield from self._opened(dependent)

    def left_out(self) -> Outcome | None:
        """Return the outcome of the next step that was never finished because the run was stopped."""
        step_id = next((s.id for s in self._plan.workflow.steps if s.id not in self.outcomes), None)
        if step_id is None:
            return None
        note = f"not started: {self.stopped}"
        done = [m for m in self._members.get(step_id, []) if m]
        if not done:
            return calls.skipped(Call(self._plan.jobs[step_id]), note, self._now())
        outcome = combined(done)
        return outcome if outcome.error else replace(outcome, status="skipped", note=note)

    def _opened(self, step_id: str) -> Iterator[Call | Outcome]:
        """Yield the calls of a step whose dependencies have all ended, or its outcome if it makes none."""
        job = self._plan.jobs[step_id]
        before = [self.outcomes[d] for d in job.step.dependencies]
        whole = Call(job)
        if lacking := [d for d in job.step.dependencies if d in self._barred]:
            self._barred.add(step_id)
            ended = "failed" if self.outcomes[lacking[0]].error else "was not run"
            yield calls.skipped(whole, f"needs '{lacking[0]}', which {ended}", self._now())
        elif before and all(o.status == "skipped" for o in before):
            yield calls.skipped(whole, "all that it depends on was skipped", self._now())
        elif job.step.foreach is None:
            yield whole
        else:
            yield from self._opened_members(whole)

    def _opened_members(self, whole: Call) -> Iterator[Call | Outcome]:
        """Yield one call for each item of a step's `foreach`."""
        step = whole.job.step
        try:
            items = plans.items(self._plan, step, self.outcomes) or []
        except ForceError as error:
            now = self._now()
            yield calls.failed(replace(whole, started=now), error, now)
            return
        if not items:
            yield self._nothing(whole)
            return
        self._members[step.id], self._missing[step.id] = [None] * len(items), len(items)
        for member, item in enumerate(items):
            yield replace(whole, member=member, item=item)

    def _nothing(self, whole: Call) -> Outcome:
        """Return the outcome of a step without items: a list may well be empty, a glob is rather misspelt."""
        step, now = whole.job.step, self._now()
        if not plans.lacks_files(whole.job):
            return calls.outcome(replace(whole, started=now), "ok", now, note="0 items, nothing to do")
        pattern = rendered(self._plan, str(step.foreach))
        note = f"no file fits {pattern}"
        from .. import attachments  # which few steps need

        meant = attachments.meant_from_here(self._plan.root, pattern)
        hint = f"; paths are relative to the project: write {meant}" if meant else ""
        self._warn(f"step '{step.id}' is skipped: {note}{hint}")
        return calls.skipped(whole, note, now)

    def _gathered(self, outcome: Outcome) -> Iterator[Outcome]:
        """Keep a member's outcome; yield the step's own once it is the last."""
        members = self._members[outcome.step]
        members[outcome.member or 0] = outcome
        self._missing[outcome.step] -= 1
        if not self._missing[outcome.step]:
            yield combined([m for m in members if m])
