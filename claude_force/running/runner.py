"""The data path: a plan goes in, an Outcome comes out for each step the moment it ends.

The thread that iterates decides, checks and records. The pool's threads send: they show an answer as it comes, renew
what is set aside for a call that is sent again, and tell of a call's end. What depends on a step begins when the
consumer comes back.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from functools import partial
from heapq import heappop, heappush
from itertools import count
from queue import Empty, SimpleQueue
from time import monotonic

from ..errors import BudgetExceeded, EmptyAnswer, ForceError, Interrupted, SchemaMismatch
from ..frozen import replace
from ..workflow import dag
from . import calls
from .agenda import Agenda
from .calls import Call
from .prefixes import PrefixScheduler, marked, shared
from .spending import Reservations, dollars, is_unbilled
from .values import sources, value_of
from .verdict import remedy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from typing import Any

    from ..client import Transport
    from ..records import Outcome, Reply, Step
    from .context import RunContext
    from .plan import Plan


def run(plan: Plan, context: RunContext) -> Generator[Outcome]:
    """Carry out `plan`, yielding an Outcome for each step as it ends, and for each member of a `foreach` before it.

    A step starts when its last dependency has ended; among ready steps the one with the longest path ahead goes
    first. A failure stops what depends on it, and with `stop_on_error` all that has not begun. Ctrl-C yields what
    was in flight as failed and raises Interrupted.
    """
    course = _Course(plan, context)
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
        if context.tape:
            context.tape.end(complete=complete)


class _Course:
    """The state of one run; touched by the consumer's thread alone, save for `arrived` and `reservations`."""

    def __init__(self, plan: Plan, context: RunContext) -> None:
        prefixes = shared(plan)
        self.plan = plan = marked(plan, prefixes)
        self.context = context
        self.began = monotonic()
        self.ahead = dag.remaining(plan.workflow)
        self.prefixes = PrefixScheduler(prefixes if context.jobs > 1 else (), self.ahead, context.prices or {})
        self.agenda = Agenda(plan, now=self.now, warn=context.on_warning, stop_on_error=context.stop_on_error)
        self.ready: list[tuple[int, int, int, Call]] = []
        self.numbers = count()
        self.decided: deque[Outcome] = deque()
        self.arrived: SimpleQueue[tuple[Call, Any, bool]] = SimpleQueue()
        """Calls whose answers have begun, without a future, or come to an end."""
        self.in_flight: dict[tuple[str, int | None], Call] = {}
        self.reservations = Reservations(context.spending)
        self.held: list[Call] = []
        """Calls that may cost more than is left, until what is set aside for those under way is known."""
        self.behind: list[Call] = []
        """Calls that wait for another one to write what they can read from the API's prompt cache."""
        self.take(self.agenda.first())

    def travel(self) -> Iterator[Outcome]:
        """Yield outcomes to the end; what an outcome leads to happens when the consumer comes back."""
        while (outcome := self.next()) is not None:
            self.keep(outcome)
            yield outcome
            self.take(self.agenda.settle(outcome))

    def take(self, opened: Iterable[Call | Outcome]) -> None:
        """Take in what came of steps that were opened."""
        for one in opened:
            if isinstance(one, Call):
                self.push(one)
            else:
                self.decided.append(one)

    def next(self) -> Outcome | None:
        """Return the next outcome, waiting for it if need be, or None when all is done."""
        while True:
            self.fill()
            if self.decided:
                return self.decided.popleft()
            if not self.in_flight:
                return self.agenda.left_out()
            with suppress(Empty):  # a wait without end would not hear of a Ctrl-C that another thread, or Windows, took
                outcome = self.receive(*self.arrived.get(timeout=0.2))
                if outcome is not None:
                    return outcome

    def fill(self) -> None:
        """Hand ready calls to the pool while there is room."""
        behind, self.behind = self.behind, []
        for call in behind:
            if self.prefixes.waits(call.job.step.id):
                self.behind.append(call)
            else:
                self.push(call)
        while self.ready and len(self.in_flight) < self.context.jobs and not self.agenda.stopped:
            if self.decided and self.decided[-1].error:
                return  # the consumer hears of it first: it may end the run, of which there may be thousands of calls
            self.start(heappop(self.ready)[-1])

    def start(self, call: Call) -> None:
        """Build a call's request and hand it to the pool, or decide at once what becomes of it."""
        call = replace(call, started=self.now())
        try:
            if not self.wanted(call):
                self.decided.append(calls.skipped(call, "its condition does not hold", self.now()))
                return
            if call.member is not None and self.prefixes.waits(call.job.step.id):
                self.behind.append(call)  # unasked: there may be thousands, and their step ends no earlier
                return
            call = calls.asking(call, self.plan, self.agenda.outcomes, self.context.tape)
            if known := self.known(call):
                self.decided.append(known)
            elif self.prefixes.waits(call.job.step.id) and all(c.key != call.key for c in self.in_flight.values()):
                self.behind.append(replace(call, looked_up=True))
            else:
                self.send(call, self.context.connect())
        except BudgetExceeded as error:
            if error.retryable and self.in_flight:
                self.held.append(call)
            else:
                self.decided.append(self.failed(call, error))
        except ForceError as error:
            self.decided.append(self.failed(call, error))

    def known(self, call: Call) -> Outcome | None:
        """Return the outcome that the journal or the cache has for a call, if they may be asked and were not yet."""
        tape = self.context.tape
        if call.looked_up or call.job.step.id in self.context.anew:
            return None
        return (calls.recalled(call, tape, self.now()) if tape else None) or self.cached(call)

    def send(self, call: Call, transport: Transport) -> None:
        """Hand a call to the pool, unless one like it is under way; what comes of it will arrive."""
        request, redacted = call.request, self.agenda.redacted
        assert request
        for step_id in redacted.intersection(sources(call.job.step) if redacted else ()):
            self.context.on_warning(f"{call.name} is given the output of '{step_id}' without the secrets that it held")
        self.reservations.reserve(call.id, request, call.job.agent.name, call.job.step.id)
        wishes: dict[str, Any] = {"on_text": self.context.on_text, "deadline": self.deadline(call.job.step)}
        wishes["on_resend"] = partial(self.reservations.renew, call.id)
        self.in_flight[call.id] = call
        self.context.on_start(call.job.step.id, call.item.label if call.item else None, request.model)
        if self.prefixes.depart(call.id):
            wishes["on_begin"] = lambda: self.arrived.put((call, None, False))
        self.context.flights.do(
            call.key if self.may_share(call) else None,
            lambda: self.context.pool.submit(transport, request, **wishes),
            lambda future, shared: self.arrived.put((call, future, shared)),
        )
        self.context.on_sent()

    def receive(self, call: Call, future: Any, shared: bool) -> Outcome | None:
        """Return what became of a call, or None if it goes on or is made again; `shared` if one like it was sent."""
        if future is None:
            self.prefixes.begin(call.id)
            return None
        if call.id not in self.in_flight:
            return None  # it was interrupted, and has been told so
        try:
            reply: Reply = future.result()
        except ForceError as error:
            self.prefixes.arrive(call.id, answered=False)
            outcome = self.failed(call, error)
            self.charge(call, 0, certain=shared or is_unbilled(error))
        else:
            self.prefixes.arrive(call.id, answered=True)
            outcome = self.answered(call, reply, cached=shared)
            self.store(call, outcome, reply)  # first: who is killed between the two has paid, and need not pay again
            self.charge(call, outcome.cost)
        del self.in_flight[call.id]  # last: what an interrupt finds there is charged and told of
        if outcome.error and self.may_retry(call, outcome.error):
            self.context.on_notice(f"{call.name}: {outcome.error.message}; trying again")
            self.behind.append(replace(call, attempt=call.attempt + 1))  # after those that waited for it
            return None
        return outcome

    def charge(self, call: Call, cost: int | None, *, certain: bool = True) -> None:
        """Put what a call cost in the place of what was set aside for it, and try again what was held for that."""
        if doubtful := self.reservations.settle(call.id, cost, certain=certain):
            told = f"{call.name}: perhaps billed, so {dollars(doubtful)} is charged; see claude-force budget show"
            self.context.on_notice(told)
        while self.held:
            self.push(self.held.pop())

    def abandon(self) -> None:
        """End what is in flight; nobody will know what it cost."""
        if self.in_flight:
            self.context.abort()
        for call in self.in_flight.values():
            self.charge(call, None)
        self.in_flight.clear()

    def keep(self, outcome: Outcome) -> None:
        """Write down how a step ended, before anything that depends on it starts."""
        if self.context.tape:
            self.context.tape.keep(outcome)
        if outcome.key and not outcome.recalled:
            self.context.record(outcome)

    def store(self, call: Call, outcome: Outcome, reply: Reply) -> None:
        """Put a new answer into the cache."""
        cache = self.context.cache
        if cache is not None and outcome.status == "ok" and call.key and self.may_share(call):
            cache.put(call.key, reply, agent=call.job.agent.name)

    def may_share(self, call: Call) -> bool:
        """Say whether this call's answer may come from, and serve, other calls like it."""
        agent = call.job.agent.name
        return self.context.cache is not None and call.job.step.cache and agent not in self.context.uncached_agents

    def cached(self, call: Call) -> Outcome | None:
        """Return the outcome that the cache has for a call, unless that is not wanted."""
        cache = self.context.cache
        anew = self.context.refresh or call.attempt > 1
        if cache is None or not call.key or anew or not self.may_share(call):
            return None
        reply = cache.get(call.key)
        if reply is None:
            return None
        outcome = self.answered(call, reply, cached=True)
        return None if outcome.error else outcome

    def interrupt(self) -> None:
        """Begin nothing more, end what is in flight, and count it as failed."""
        self.agenda.stopped = "interrupted"
        error = Interrupted("interrupted")
        error.attempts = 1  # as far as is known: nobody waits for what is in flight
        self.decided.extend(self.failed(call, error) for call in self.in_flight.values())
        self.abandon()

    def push(self, call: Call) -> None:
        step_id = call.job.step.id
        heappush(self.ready, (-self.ahead[step_id], -self.prefixes.shared_tokens(step_id), next(self.numbers), call))

    def now(self) -> float:
        return monotonic() - self.began

    def deadline(self, step: Step) -> float | None:
        limits = [self.context.deadline, step.timeout_seconds and monotonic() + step.timeout_seconds]
        return min((limit for limit in limits if limit), default=None)

    def wanted(self, call: Call) -> bool:
        if (condition := call.job.step.when) is None:
            return True
        from ..workflow.conditions import holds  # which few steps need

        return holds(condition, lambda name: value_of(self.plan, name, self.agenda.outcomes, call.item))

    def may_retry(self, call: Call, error: ForceError) -> bool:
        again = error.retryable or isinstance(error, EmptyAnswer | SchemaMismatch)
        in_time = self.context.deadline is None or monotonic() < self.context.deadline
        return again and in_time and call.attempt <= call.job.step.retries and not self.agenda.stopped

    def answered(self, call: Call, reply: Reply, *, cached: bool) -> Outcome:
        return calls.answered(call, reply, self.now(), prices=self.context.prices or {}, cached=cached)

    def failed(self, call: Call, error: ForceError) -> Outcome:
        if not error.hint:
            of_run = self.context.deadline is not None and monotonic() >= self.context.deadline
            error.hint = remedy(error, of_run=of_run)
            error.add_note(error.hint)
        return calls.failed(call, error, self.now())
