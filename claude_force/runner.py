"""The data path: a plan goes in, an Outcome comes out for each step the moment it ends.

The thread that iterates decides, checks and records; the pool's threads do nothing but `send(request) -> Reply`.
`run` is a generator: what depends on a step is not started before the consumer comes back for the next outcome.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from heapq import heappop, heappush
from itertools import count
from queue import Empty, SimpleQueue
from time import monotonic

from . import calls, conditions, dag
from . import plan as plans
from .calls import Call
from .errors import BudgetExceeded, EmptyAnswer, ForceError, Interrupted, SchemaMismatch
from .frozen import replace
from .parts import is_redacted, sources
from .spending import is_unbilled
from .verdict import combined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any

    from .client import Transport
    from .line import Line
    from .plan import Plan
    from .records import Outcome, Reply, Step


def run(plan: Plan, line: Line) -> Generator[Outcome]:
    """Carry out `plan`, yielding an Outcome for each step as it ends, and for each member of a `foreach` before it.

    A step starts when its last dependency has ended; among ready steps the one with the longest path ahead goes
    first. A failure stops what depends on it, and with `stop_on_error` all that has not begun. Ctrl-C yields what
    was in flight as failed and raises Interrupted.
    """
    course = _Course(plan, line)
    complete = False
    try:
        yield from course.travel()
        complete = True
    except KeyboardInterrupt:
        course.interrupt()
        yield from course.travel()
        raise Interrupted("interrupted") from None
    except GeneratorExit:  # the consumer was interrupted, or wants no more
        course.interrupt()
        deque(course.travel(), maxlen=0)  # recorded, and told to nobody
        raise
    finally:
        course.abandon()
        if line.tape:
            line.tape.end(complete=complete)


class _Course:
    """The state of one run; touched by the consumer's thread alone, save for the queue of arrived futures."""

    def __init__(self, plan: Plan, line: Line) -> None:
        self.plan = plan
        self.line = line
        self.began = monotonic()
        self.ahead = dag.remaining(plan.workflow)
        self.dependents = dag.dependents(plan.workflow)
        self.waiting = {step.id: len(step.dependencies) for step in plan.workflow.steps}
        self.outcomes: dict[str, Outcome] = {}
        self.members: dict[str, list[Outcome | None]] = {}
        self.ready: list[tuple[int, int, Call]] = []
        self.numbers = count()
        self.decided: deque[Outcome] = deque()
        self.arrived: SimpleQueue[tuple[Call, Any, bool]] = SimpleQueue()
        self.in_flight: dict[tuple[str, int | None], Call] = {}
        self.held: list[Call] = []
        """Calls that may cost more than is left, until what is set aside for those under way is known."""
        self.barred: set[str] = set()
        """Steps that failed, or were not run because one before them did."""
        self.redacted: set[str] = set()
        """Steps whose outputs came from the journal, and held secrets."""
        self.stopped = ""
        """Why nothing more is begun."""
        for step in plan.workflow.steps:
            if not step.dependencies:
                self.open(step.id)

    def travel(self) -> Iterator[Outcome]:
        """Yield outcomes to the end; what an outcome leads to happens when the consumer comes back."""
        while (outcome := self.next()) is not None:
            self.keep(outcome)
            yield outcome
            self.settle(outcome)

    def next(self) -> Outcome | None:
        """Return the next outcome, waiting for it if need be, or None when all is done."""
        while True:
            self.fill()
            if self.decided:
                return self.decided.popleft()
            if not self.in_flight:
                return self.left_out()
            with suppress(Empty):  # a wait without end would not hear of a Ctrl-C that another thread, or Windows, took
                outcome = self.receive(*self.arrived.get(timeout=0.2))
                if outcome is not None:
                    return outcome

    def fill(self) -> None:
        """Hand ready calls to the pool while there is room."""
        while self.ready and len(self.in_flight) < self.line.jobs and not self.stopped:
            self.start(heappop(self.ready)[2])

    def start(self, call: Call) -> None:
        """Build a call's request and hand it to the pool, or decide at once what becomes of it."""
        call = replace(call, started=self.now())
        try:
            if not self.wanted(call):
                self.decided.append(self.skipped(call, "its condition does not hold"))
                return
            call = calls.asking(call, self.plan, self.outcomes, self.line.tape)
            if known := self.recalled(call) or self.cached(call):
                self.decided.append(known)
            else:
                self.send(call, self.line.connect())
        except BudgetExceeded as error:
            if error.retryable and self.in_flight:
                self.held.append(call)
            else:
                self.decided.append(self.failed(call, error))
        except ForceError as error:
            self.decided.append(self.failed(call, error))

    def recalled(self, call: Call) -> Outcome | None:
        """Return the outcome that the journal has for a call, if it may be asked."""
        tape = self.line.tape
        if tape is None or call.job.step.id in self.line.anew:
            return None
        return calls.recalled(call, tape, self.now())

    def send(self, call: Call, transport: Transport) -> None:
        """Hand a call to the pool, unless one like it is under way; what comes of it will arrive."""
        request = call.request
        assert request
        for step_id in self.redacted.intersection(sources(call.job.step) if self.redacted else ()):
            self.line.on_warning(f"{call.name} is given the output of '{step_id}' without the secrets that it held")
        if self.line.spending:
            call = replace(call, reservation=self.line.spending.reserve(request, call.job.agent.name))
        self.in_flight[call.id] = call
        self.line.on_start(call.job.step.id, call.item.label if call.item else None, request.model)
        deadline = self.deadline(call.job.step)
        self.line.flights.board(
            call.key if self.may_share(call) else None,
            lambda: self.line.pool.submit(transport, request, on_text=self.line.on_text, deadline=deadline),
            lambda future, shared: self.arrived.put((call, future, shared)),
        )
        self.line.on_sent()

    def receive(self, call: Call, future: Any, shared: bool) -> Outcome | None:
        """Return what became of a call, or None if it is made again; `shared` if another one like it was sent."""
        if self.in_flight.pop(call.id, None) is None:
            return None  # it was interrupted, and has been told so
        try:
            reply: Reply = future.result()
        except ForceError as error:
            outcome = self.failed(call, error)
            self.charge(call, 0, certain=shared or is_unbilled(error))
        else:
            outcome = self.answered(call, reply, cached=shared)
            self.charge(call, outcome.cost)
            self.store(call, outcome, reply)
        if outcome.error and self.may_retry(call, outcome.error):
            self.line.on_notice(f"{call.name}: {outcome.error.message}; trying again")
            self.push(replace(call, attempt=call.attempt + 1))
            return None
        return outcome

    def charge(self, call: Call, cost: int | None, *, certain: bool = True) -> None:
        """Put what a call cost in the place of what was set aside for it, and try again what was held for that."""
        if self.line.spending and call.reservation:
            self.line.spending.settle(call.reservation, cost, certain=certain)
        while self.held:
            self.push(self.held.pop())

    def abandon(self) -> None:
        """End what is in flight; nobody will know what it cost."""
        if self.in_flight:
            self.line.abort()
        for call in self.in_flight.values():
            self.charge(call, None)
        self.in_flight.clear()

    def keep(self, outcome: Outcome) -> None:
        """Write down how a step ended, before anything that depends on it starts."""
        if self.line.tape:
            self.line.tape.keep(outcome)
        if outcome.key and not outcome.recalled:
            self.line.record(outcome)

    def store(self, call: Call, outcome: Outcome, reply: Reply) -> None:
        """Put a new answer into the cache."""
        cache = self.line.cache
        if cache is not None and outcome.status == "ok" and call.key and self.may_share(call):
            cache.put(call.key, reply, agent=call.job.agent.name)

    def may_share(self, call: Call) -> bool:
        """Say whether this call's answer may come from, and serve, other calls like it."""
        agent = call.job.agent.name
        return self.line.cache is not None and call.job.step.cache and agent not in self.line.uncached_agents

    def cached(self, call: Call) -> Outcome | None:
        """Return the outcome that the cache has for a call, if it may be asked."""
        cache = self.line.cache
        anew = self.line.refresh or call.attempt > 1 or call.job.step.id in self.line.anew
        if cache is None or not call.key or anew or not self.may_share(call):
            return None
        reply = cache.get(call.key)
        outcome = reply and self.answered(call, reply, cached=True)
        return outcome if outcome and not outcome.error else None

    def settle(self, outcome: Outcome) -> None:
        """Take note of an outcome that the consumer has seen, and open what waited for it."""
        if outcome.error and self.line.stop_on_error and not self.stopped:
            self.stopped = f"'{outcome.step}' failed"
        if outcome.member is not None:
            self.gather(outcome)
            return
        self.outcomes[outcome.step] = outcome
        if outcome.recalled and is_redacted(outcome):
            self.redacted.add(outcome.step)
        if outcome.error:
            self.barred.add(outcome.step)
        for dependent in self.dependents[outcome.step]:
            self.waiting[dependent] -= 1
            if not self.waiting[dependent] and not self.stopped:
                self.open(dependent)

    def open(self, step_id: str) -> None:
        """Make the calls of a step ready whose dependencies have all ended, or decide that it makes none."""
        job = self.plan.jobs[step_id]
        before = [self.outcomes[d] for d in job.step.dependencies]
        whole = Call(job)
        if lacking := [d for d in job.step.dependencies if d in self.barred]:
            self.barred.add(step_id)
            ended = "failed" if self.outcomes[lacking[0]].error else "was not run"
            self.decided.append(self.skipped(whole, f"needs '{lacking[0]}', which {ended}"))
        elif before and all(o.status == "skipped" for o in before):
            self.decided.append(self.skipped(whole, "all that it depends on was skipped"))
        elif job.step.foreach is None:
            self.push(whole)
        else:
            self.open_members(whole)

    def open_members(self, whole: Call) -> None:
        """Make one call ready for each item of a step's `foreach`."""
        step = whole.job.step
        try:
            items = plans.items(self.plan, step, self.outcomes) or []
        except ForceError as error:
            self.decided.append(self.failed(replace(whole, started=self.now()), error))
            return
        if not items:
            now = self.now()
            nothing = calls.outcome(replace(whole, started=now), "ok", now, note="nothing to do: foreach has no items")
            self.decided.append(nothing)
            return
        self.members[step.id] = [None] * len(items)
        for member, item in enumerate(items):
            self.push(replace(whole, member=member, item=item))

    def gather(self, outcome: Outcome) -> None:
        """Keep a member's outcome; decide the step's own once it is the last."""
        members = self.members[outcome.step]
        members[outcome.member or 0] = outcome
        if all(members):
            self.decided.append(combined([m for m in members if m]))

    def left_out(self) -> Outcome | None:
        """Return the outcome of the next step that was never finished because the run was stopped."""
        step_id = next((s.id for s in self.plan.workflow.steps if s.id not in self.outcomes), None)
        if step_id is None:
            return None
        note = f"not started: {self.stopped}"
        done = [m for m in self.members.get(step_id, []) if m]
        if not done:
            return self.skipped(Call(self.plan.jobs[step_id]), note)
        outcome = combined(done)
        return outcome if outcome.error else replace(outcome, status="skipped", note=note)

    def interrupt(self) -> None:
        """Begin nothing more, end what is in flight, and count it as failed."""
        self.stopped = "interrupted"
        self.decided.extend(self.failed(call, Interrupted("interrupted")) for call in self.in_flight.values())
        self.abandon()

    def push(self, call: Call) -> None:
        heappush(self.ready, (-self.ahead[call.job.step.id], next(self.numbers), call))

    def now(self) -> float:
        return monotonic() - self.began

    def deadline(self, step: Step) -> float | None:
        limits = [self.line.deadline, step.timeout_seconds and monotonic() + step.timeout_seconds]
        return min((limit for limit in limits if limit), default=None)

    def wanted(self, call: Call) -> bool:
        condition = call.job.step.when
        return condition is None or conditions.holds(
            condition, lambda name: plans.value_of(self.plan, name, self.outcomes, call.item)
        )

    def may_retry(self, call: Call, error: ForceError) -> bool:
        again = error.retryable or isinstance(error, EmptyAnswer | SchemaMismatch)
        in_time = self.line.deadline is None or monotonic() < self.line.deadline
        return again and in_time and call.attempt <= call.job.step.retries and not self.stopped

    def answered(self, call: Call, reply: Reply, *, cached: bool) -> Outcome:
        return calls.answered(call, reply, self.now(), prices=self.line.prices or {}, cached=cached)

    def failed(self, call: Call, error: ForceError) -> Outcome:
        return calls.failed(call, error, self.now())

    def skipped(self, call: Call, note: str) -> Outcome:
        now = self.now()
        return calls.outcome(replace(call, started=now), "skipped", now, note=note)
