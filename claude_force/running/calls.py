"""One request to make, and what becomes of it: the outcome of a call that was answered, recalled, failed or skipped."""

from __future__ import annotations

from .. import models
from ..errors import Refused
from ..frozen import dataclass, field, replace
from ..prompt import asked
from ..records import Outcome, Usage, key
from . import plan as plans
from .parts import parts
from .verdict import judge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..errors import ForceError
    from ..models import Prices
    from ..records import Reply, Request, Status
    from .parts import Parts
    from .plan import Item, Job, Plan
    from .tape import Tape


@dataclass(frozen=True)
class Call:
    """A step, or one member of its `foreach`; what it asks is known once it has started."""

    job: Job
    member: int | None = None
    item: Item | None = None
    attempt: int = 1
    started: float = 0.0
    request: Request | None = None
    key: str | None = None
    looked_up: bool = False
    """Whether journal and cache were asked, before it had to wait."""
    parts: Parts = field(default_factory=dict)
    """What decides its answer, where a journal is kept."""

    @property
    def id(self) -> tuple[str, int | None]:
        """The step and the number of the member, None if it is the only one."""
        return self.job.step.id, self.member

    @property
    def name(self) -> str:
        """The step, with its item if it is one of many, for people."""
        return self.job.step.id if self.item is None else f"{self.job.step.id}[{self.item.label[:60]}]"


def asking(call: Call, plan: Plan, outcomes: Mapping[str, Outcome], tape: Tape | None) -> Call:
    """Return `call` with its request and, where a journal is kept, with what decides its answer.

    Raises ForceError as `plan.request` does.
    """
    attached = plans.files(plan, call.job, call.item)
    request = plans.request(plan, call.job, outcomes, call.item, attached)
    decisive = parts(plan, call.job, outcomes, call.item, attached, tape.mark) if tape else {}
    return replace(call, request=request, key=key(request), parts=decisive)


def recalled(call: Call, tape: Tape, finished: float) -> Outcome | None:
    """Return the outcome that the journal has for a call that was asked the same way before."""
    then = tape.recall(call.job.step.id, call.parts)
    if then is None:
        return None
    return outcome(
        call,
        "cached",
        finished,
        output=then.output,
        digest=then.digest,
        model=then.model,
        stop_reason=then.stop_reason,
        saved=then.saved if then.status == "cached" else then.cost,
        recalled=True,
        note="from the journal",
    )


def answered(call: Call, reply: Reply, finished: float, *, prices: Prices, cached: bool) -> Outcome:
    """Return the outcome of a call that `reply` answers; `cached` if it was paid for by another call."""
    error = judge(reply, call.job.max_tokens, call.job.step.schema)
    unbilled = isinstance(error, Refused) and not reply.text
    price = 0 if unbilled else _price(reply, call.job.model.id, prices)
    return outcome(
        call,
        "failed" if error else "cached" if cached else "ok",
        finished,
        output=reply.text,
        model=reply.model,
        stop_reason=reply.stop_reason,
        usage=Usage() if cached else reply.usage,
        cost=0 if cached else price,
        saved=price if cached else 0,
        attempts=0 if cached else reply.attempts,
        error=error,
    )


def failed(call: Call, error: ForceError, finished: float) -> Outcome:
    """Return the outcome of a call that `error` ended."""
    # an error raised instead of a retry has no attempts; the failure in its `__context__` does
    attempts = error.attempts or getattr(error.__context__, "attempts", 0)
    model = call.request.model if call.request else None
    return outcome(call, "failed", finished, error=error, model=model, attempts=attempts)


def skipped(call: Call, note: str, now: float) -> Outcome:
    """Return the outcome of a call that is not made, and why."""
    return outcome(replace(call, started=now), "skipped", now, note=note)


def outcome(call: Call, status: Status, finished: float, **facts: Any) -> Outcome:
    """Return how a call ended, with the further `facts` of an Outcome."""
    return Outcome(
        step=call.job.step.id,
        agent=call.job.agent.name,
        status=status,
        started=call.started,
        finished=finished,
        member=call.member,
        item=call.item.label if call.item else None,
        key=call.key,
        task=asked(call.request) if call.request else "",
        parts=call.parts,
        task_kind=call.job.route.kind if call.job.route else "",
        **facts,
    )


def _price(reply: Reply, asked: str, prices: Prices) -> int | None:
    if not reply.usage.prompt_tokens or (reply.text and not reply.usage.output_tokens):
        return None  # a gateway that leaves the counts out: they are unknown rather than nothing
    cost = models.cost(reply.usage, reply.model, prices=prices)
    return models.cost(reply.usage, asked, prices=prices) if cost is None else cost
