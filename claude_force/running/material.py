"""What the steps of a plan attach: found below its root, and read once where it is known before the run.

Does not know what is asked about it.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache

from .. import attachments, globs
from ..errors import ForceError, ValidationError
from ..workflow.templates import names, origin, sole_name
from . import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..attachments import Expand
    from ..records import Document, Step
    from .plan import Item, Job, Plan


def of_steps(plan: Plan, warn: Callable[[str], object]) -> dict[str, tuple[Document, ...] | None]:
    """Return what each step attaches, None if that depends on the item; a file is read once for all of them.

    `warn` is told of patterns that fit no file. Raises ValidationError, naming the step, for a file that is missing,
    binary or unreadable, and for more than a request may hold.
    """
    known: dict[str, Document] = {}
    expand = cache(globs.expand)  # many steps have one glob, for which all directories are walked
    found = {}
    for step in plan.workflow.steps:
        with about(step):
            attached = None if any(map(_is_by_item, step.files)) else _attached(plan, step, None, known, expand)
        attachments.check_size((*plan.files, *(attached or ())), plan.task)
        found[step.id] = attached
    for warning in _unfit(plan, expand):
        warn(warning)
    return found


def of_item(plan: Plan, job: Job, item: Item | None) -> tuple[Document, ...]:
    """Return what a step attaches for one item; raises ValidationError for a file that is missing or unreadable."""
    if job.member_files is None:
        return _attached(plan, job.step, item, {}, globs.expand)
    label = item.label if item else ""
    if label not in job.member_files:
        raise ValidationError(f"the journal has no files for {label[:80]}")
    return tuple(job.member_files[label])


def own_inputs(plan: Plan) -> list[str]:
    """Return the inputs whose values are not the workflow's defaults."""
    defaults = {declared.name: declared.default for declared in plan.workflow.inputs}
    return [name for name, value in plan.inputs.items() if value != defaults.get(name)]


@contextmanager
def about(step: Step) -> Iterator[None]:
    """Say in an error of what is done here that it is about `step`."""
    try:
        yield
    except ForceError as error:
        raise error.within(f"step '{step.id}'") from None


def _attached(
    plan: Plan, step: Step, item: Item | None, known: dict[str, Document], expand: Expand
) -> tuple[Document, ...]:
    patterns = [values.rendered(plan, pattern, item) for pattern in step.files]
    for name in (found := attachments.find(plan.root, patterns, expand=expand)):
        if name not in known:
            known[name] = attachments.read(plan.root / name, name)
    return tuple(known[name] for name in found)


def _unfit(plan: Plan, expand: Expand) -> Iterator[str]:
    """Yield a warning for each pattern that fits no file though one is meant by it.

    That holds for the first pattern of a step, which says what the step is about, and for what the user gave as an
    input. The others say what goes with it, if it is there.
    """
    own = {f"input.{name}" for name in own_inputs(plan)}
    told: set[str] = set()
    for step in plan.workflow.steps:
        meant = [text for number, text in enumerate(step.files) if not number or own.intersection(names(text))]
        for text in (text for text in meant if not _is_by_item(text)):
            pattern = values.rendered(plan, text)
            if pattern not in told and not expand(plan.root, pattern):
                told.add(pattern)
                yield f"step '{step.id}': no file fits {pattern}{_remedy(plan, pattern, text)}"


def _is_by_item(pattern: str) -> bool:
    return "item" in map(origin, names(pattern))


def _remedy(plan: Plan, pattern: str, text: str) -> str:
    if meant := attachments.meant_from_here(plan.root, pattern):
        return f"; paths are relative to the project: write {meant}"
    kind, _, name = (sole_name(text) or "").partition(".")
    return f"; name others by --input {name}=GLOB" if kind == "input" else ""
