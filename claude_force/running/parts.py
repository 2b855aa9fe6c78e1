"""What decides the answer of a step, taken apart and named: what a journal compares, and what `why` shows.

Equal parts make equal requests, whatever version of this program builds them.
"""

from __future__ import annotations

from ..records import digest
from ..workflow.templates import names
from .values import sources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..records import Document, Outcome
    from .plan import Item, Job, Plan

    Parts = Mapping[str, tuple[str, str]]
    """By name the text and its digest."""


def parts(
    plan: Plan,
    job: Job,
    outcomes: Mapping[str, Outcome],
    item: Item | None,
    attached: Sequence[Document],
    mark: Callable[[str], str],
) -> Parts:
    """Return what decides the answer of one call, in a fixed order; `mark` returns the digest of a text."""
    found = {name: (text, mark(text)) for name, text in _own(plan, job, item, attached)}
    for step_id in sources(job.step):
        if step_id in outcomes:
            found[f"output of {step_id}"] = outcomes[step_id].output, output_digest(outcomes[step_id])
    return found


def output_digest(outcome: Outcome) -> str:
    """Return the digest of what a step put out, as it was when it came; that of a `foreach` is of its members'."""
    if outcome.members:
        return digest("\n".join(f"{m.item}\0{output_digest(m)}" for m in outcome.members))
    return outcome.digest or digest(outcome.output)


def is_redacted(outcome: Outcome) -> bool:
    """Say whether an output came from a journal without its secrets."""
    return bool(outcome.digest) or any(m.digest for m in outcome.members)


def fingerprint(parts: Parts) -> str:
    """Return one digest of all parts, their names and their order."""
    return digest("\n".join(f"{name}\0{mark}" for name, (_, mark) in parts.items()))


def _own(plan: Plan, job: Job, item: Item | None, attached: Sequence[Document]) -> Iterator[tuple[str, str]]:
    """Yield the parts that are known before any step has ended."""
    yield f"agent {job.agent.name}", job.agent.prompt
    for skill in job.skills:
        yield f"skill {skill.name}", skill.body
    yield "task", job.step.task
    for name in names(job.step.task):
        if name == "task":
            yield "task of the run", plan.task
        elif name.startswith("input."):
            yield f"input {name.removeprefix('input.')}", plan.inputs[name.removeprefix("input.")]
    if item is not None:
        yield "item", item.label
    for document in attached:
        yield f"file {document.name}", document.text
    yield "model", job.model.id
    yield "max_tokens", str(job.max_tokens)
    for name, value in (("effort", job.effort), ("schema", job.step.schema), ("sample", plan.sample)):
        if value:
            yield name, str(value)
