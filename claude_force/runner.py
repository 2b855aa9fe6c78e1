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

from . import conditions, dag, models
from . import plan as plans
from .errors import EmptyAnswer, ForceError, Interrupted, Refused, SchemaMismatch
from .frozen import dataclass, replace
from .records import Outcome, Usage, key
from .verdict import combined, judge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Any

    from .client import Transport
    from .line import Line
    from .plan import Item, Job, Plan
    from .records import Reply, Request, Status, Step


def run(plan: Plan, line: Line) -> Generator[Outcome]:
    """Carry out `plan`, yielding an Outcome for each step as it ends, and for each member of a `foreach` before it.

    A step starts when its last dependency has ended; among ready steps the one with the longest path ahead goes
    first. A failure stops what depends on it, and with `stop_on_error` all that has not begun. Ctrl-C yields what
    was in flight as failed and raises Interrupted.
    """
    course = _Course(plan, line)
    try:
        yield from course.travel()
    except KeyboardInterrupt:
        course.interrupt()
        yield from course.travel()
        raise Interrupted("interrupted") from None
    finally:
        if course.in_flight:
            line.abort()


@dataclass(frozen=True)
class _Call:
    """One request to make: a step, or one member of its `foreach`; what it asks is known once it has started."""

    job: Job
    member: int | None = None
    item: Item | None = None
    attempt: int = 1
    started: float = 0.0
    request: Request | None = None
    key: str | None = None

    @property
    def id(self) -> tuple[str, int | None]:
        return self.job.step.id, self.member

    @property
    def name(self) -> str:
        return self.job.step.id if self.item is None else f"{self.job.step.id}[{self.item.label[:60]}]"


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
        self.ready: list[tuple[int, int, _Call]] = []
        self.numbers = count()
        self.decided: deque[Outcome] = deque()
        self.arrived: SimpleQueue[tuple[_Call, Any, bool]] = SimpleQueue()
        self.in_flight: dict[tuple[str, int | None], _Call] = {}
        self.barred: set[str] = set()
        """Steps that failed, or were not run because one before them did."""
        self.stopped = ""
        """Why nothing more is begun."""
        for step in plan.workflow.steps:
            if not step.dependencies:
                self.open(step.id)

    def travel(self) -> Iterator[Outcome]:
        """Yield outcomes to the end; what an outcome leads to happens when the consumer comes back."""
        while (outcome := self.next()) is not None:
            if outcome.key:
                self.line.record(outcome)
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

    def start(self, call: _Call) -> None:
        """Build a call's request and hand it to the pool, or decide at once what becomes of it."""
        call = replace(call, started=self.now())
        try:
            if not self.wanted(call):
                self.decided.append(self.skipped(call, "its condition does not hold"))
                return
            request = plans.request(self.plan, call.job, self.outcomes, call.item)
            call = replace(call, request=request, key=key(request))
            if known := self.cached(call):
                self.decided.append(known)
                return
            self.send(call, request, self.line.connect())
        except ForceError as error:
            self.decided.append(self.failed(call, error))

    def send(self, call: _Call, request: Request, transport: Transport) -> None:
        """Hand a call to the pool, unless one like it is under way; what comes of it will arrive."""
        self.in_flight[call.id] = call
        self.line.on_start(call.job.step.id, call.item.label if call.item else None, request.model)
        deadline = self.deadline(call.job.step)
        self.line.flights.board(
            call.key if self.may_share(call) else None,
            lambda: self.line.pool.submit(transport, request, on_text=self.line.on_text, deadline=deadline),
            lambda future, shared: self.arrived.put((call, future, shared)),
        )
        self.line.on_sent()

    def receive(self, call: _Call, future: Any, shared: bool) -> Outcome | None:
        """Return what became of a call, or None if it is made again; `shared` if another one like it was sent."""
        if self.in_flight.pop(call.id, None) is None:
            return None  # it was interrupted, and has been told so
        try:
            reply: Reply = future.result()
        except ForceError as error:
            outcome = self.failed(call, error)
        else:
            outcome = self.answered(call, reply, cached=shared)
            self.keep(call, outcome, reply)
        if outcome.error and self.may_retry(call, outcome.error):
            self.line.on_notice(f"{call.name}: {outcome.error.message}; trying again")
            self.push(replace(call, attempt=call.attempt + 1))
            return None
        return outcome

    def keep(self, call: _Call, outcome: Outcome, reply: Reply) -> None:
        """Put a new answer into the cache."""
        cache = self.line.cache
        if cache is not None and outcome.status == "ok" and call.key and self.may_share(call):
            cache.put(call.key, reply, agent=call.job.agent.name)

    def may_share(self, call: _Call) -> bool:
        """Say whether this call's answer may come from, and serve, other calls like it."""
        agent = call.job.agent.name
        return self.line.cache is not None and call.job.step.cache and agent not in self.line.uncached_agents

    def cached(self, call: _Call) -> Outcome | None:
        """Return the outcome that the cache has for a call, if it may be asked."""
        cache = self.line.cache
        if cache is None or not call.key or self.line.refresh or call.attempt > 1 or not self.may_share(call):
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
        whole = _Call(job)
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

    def open_members(self, whole: _Call) -> None:
        """Make one call ready for each item of a step's `foreach`."""
        step = whole.job.step
        try:
            items = plans.items(self.plan, step, self.outcomes) or []
        except ForceError as error:
            self.decided.append(self.failed(replace(whole, started=self.now()), error))
            return
        if not items:
            nothing = replace(whole, started=self.now())
            self.decided.append(self.outcome(nothing, "ok", note="nothing to do: foreach has no items"))
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
            return self.skipped(_Call(self.plan.jobs[step_id]), note)
        outcome = combined(done)
        return outcome if outcome.error else replace(outcome, status="skipped", note=note)

    def interrupt(self) -> None:
        """Begin nothing more, end what is in flight, and count it as failed."""
        if self.in_flight:
            self.line.abort()
        self.stopped = "interrupted"
        self.decided.extend(self.failed(call, Interrupted("interrupted")) for call in self.in_flight.values())
        self.in_flight.clear()

    def push(self, call: _Call) -> None:
        heappush(self.ready, (-self.ahead[call.job.step.id], next(self.numbers), call))

    def now(self) -> float:
        return monotonic() - self.began

    def deadline(self, step: Step) -> float | None:
        limits = [self.line.deadline, step.timeout_seconds and monotonic() + step.timeout_seconds]
        return min((limit for limit in limits if limit), default=None)

    def wanted(self, call: _Call) -> bool:
        condition = call.job.step.when
        return condition is None or conditions.holds(
            condition, lambda name: plans.value_of(self.plan, name, self.outcomes, call.item)
        )

    def may_retry(self, call: _Call, error: ForceError) -> bool:
        again = error.retryable or isinstance(error, EmptyAnswer | SchemaMismatch)
        in_time = self.line.deadline is None or monotonic() < self.line.deadline
        return again and in_time and call.attempt <= call.job.step.retries and not self.stopped

    def answered(self, call: _Call, reply: Reply, *, cached: bool) -> Outcome:
        error = judge(reply, call.job.max_tokens, call.job.step.schema)
        unbilled = isinstance(error, Refused) and not reply.text
        price = 0 if unbilled else self.price(reply, call.job.model.id)
        return self.outcome(
            call,
            "failed" if error else "cached" if cached else "ok",
            output=reply.text,
            model=reply.model,
            stop_reason=reply.stop_reason,
            usage=Usage() if cached else reply.usage,
            cost=0 if cached else price,
            saved=price if cached else 0,
            attempts=0 if cached else reply.attempts,
            error=error,
        )

    def price(self, reply: Reply, asked: str) -> int | None:
        prices = self.line.prices or {}
        cost = models.cost(reply.usage, reply.model, prices=prices)
        return models.cost(reply.usage, asked, prices=prices) if cost is None else cost

    def failed(self, call: _Call, error: ForceError) -> Outcome:
        model, attempts = (call.request.model, error.attempts) if call.request else (None, 0)
        return self.outcome(call, "failed", error=error, model=model, attempts=attempts)

    def skipped(self, call: _Call, note: str) -> Outcome:
        return self.outcome(replace(call, started=self.now()), "skipped", note=note)

    def outcome(self, call: _Call, status: Status, **facts: Any) -> Outcome:
        return Outcome(
            step=call.job.step.id,
            agent=call.job.agent.name,
            status=status,
            started=call.started,
            finished=self.now(),
            member=call.member,
            item=call.item.label if call.item else None,
            key=call.key,
            task=call.request.user[-1].text if call.request else "",
            **facts,
        )
