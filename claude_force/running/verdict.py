"""What a reply is worth: whether it is the answer, and what the answers of a step's members come to."""

from __future__ import annotations

from ..errors import AnswerError, ConnectionFailed, EmptyAnswer, Refused, SchemaMismatch, TimedOut, Truncated
from ..models import total
from ..records import Outcome, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..errors import ForceError
    from ..records import Reply


def judge(reply: Reply, max_tokens: int, wanted: str | None = None) -> AnswerError | None:
    """Return why `reply`, given `max_tokens`, is no answer that fits the schema `wanted`, or None if it is one."""
    if reply.stop_reason == "refusal":
        told = f"the model declined to answer{f' ({reply.refusal})' if reply.refusal else ''}"
        return Refused(told, hint="word the task differently, attach less, or ask another model")
    if reply.stop_reason == "max_tokens":
        hint = "give more with --max-tokens, or max_tokens in the step or agent"
        return Truncated(f"the answer was cut at max_tokens ({max_tokens:,})", hint=hint)
    if reply.stop_reason == "model_context_window_exceeded":
        return Truncated("the answer was cut at the model's context window", hint="attach less")
    if reply.stop_reason not in {"end_turn", "stop_sequence"}:
        hint = "try again, or word the task differently"
        return AnswerError(f"the model stopped without an answer: {reply.stop_reason}", hint=hint)
    if not reply.text.strip():
        return EmptyAnswer("the answer is empty", hint="try again, or word the task differently")
    return _mismatch(reply.text, wanted) if wanted else None


def _mismatch(text: str, wanted: str) -> SchemaMismatch | None:
    from json import loads

    from ..answers import schema  # 1 ms that answers without one need not pay

    try:
        found: Sequence[str] = schema.violations(schema.extract(text), loads(wanted))
    except ValueError as error:
        found = [f"no JSON: {error}"]
    if not found:
        return None
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    hint = "try again, say in the task what is wanted, or set retries in the step"
    return SchemaMismatch(f"the output does not fit its schema: {found[0]}{more}", hint=hint)


def remedy(error: ForceError, *, of_run: bool) -> str:
    """Return what to do about a failure on the way; `of_run` says that the time limit that passed is the run's."""
    if isinstance(error, TimedOut):
        return "allow the run more by --timeout or --deadline" if of_run else "raise timeout_seconds of the step"
    if isinstance(error, ConnectionFailed):
        return "try again; claude-force doctor looks at the connection"
    return ""


def combined(members: Sequence[Outcome]) -> Outcome:
    """Return the outcome of a `foreach` step made of its members' outcomes."""
    wrong = [m for m in members if m.error]
    statuses = {m.status for m in members}
    first = members[0]
    return Outcome(
        step=first.step,
        agent=first.agent,
        status="failed" if wrong else "ok" if "ok" in statuses else first.status,
        output=Outcome.listing(members),
        model=first.model,
        usage=sum((m.usage for m in members), start=Usage()),
        cost=total(m.cost for m in members),
        saved=sum(m.saved or 0 for m in members),
        started=min(m.started for m in members),
        finished=max(m.finished for m in members),
        attempts=sum(m.attempts for m in members),
        error=wrong[0].error if wrong else None,
        members=tuple(members),
        recalled=all(m.recalled for m in members),
    )
