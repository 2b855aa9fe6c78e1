"""A workflow file's content becomes a Workflow that can run, or one error that says what to mend.

Does not know where files lie, what agents exist, or how a step is carried out.
"""

from __future__ import annotations

import re
from itertools import chain
from json import dumps

from ..errors import ValidationError
from ..frozen import replace
from ..records import Input, Step, Workflow
from .dag import ancestors, order
from .steps import read_step, refuse_unknown, typed, unknown
from .templates import names, origin, step_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from .steps import ReadSchema

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_KEYS = ("name", "description", "version", "task", "inputs", "steps")
_MOST = 100
"""Wrong steps that are told of at once: nobody reads more, and each may be compared with all names there are."""


def parse(
    name: str, data: Mapping[str, Any], *, source: str, path: Path | None = None, read_schema: ReadSchema
) -> Workflow:
    """Return the workflow that `data`, the content of a TOML or JSON file, describes.

    `read_schema` returns the text of a schema file that a step names. Raises ValidationError naming the file, the
    step and the key: for a wrong type or key, an unknown or duplicate id, an unknown template name, a cycle.
    """
    workflow, wrong = examine(name, data, source=source, path=path, read_schema=read_schema)
    if wrong:
        raise wrong[0]
    return workflow


def examine(
    name: str, data: Mapping[str, Any], *, source: str, path: Path | None = None, read_schema: ReadSchema
) -> tuple[Workflow, list[ValidationError]]:
    """Return the workflow that `parse` does, but without the steps that are wrong, and all that is wrong.

    A step that is wrong counts as there for those that depend on it. What is wrong with no step in particular comes
    last, and leaves a workflow without steps.
    """
    where = f"{path or source}: workflow '{name}'"
    wrong: dict[str, list[ValidationError]] = {}
    try:
        refuse_unknown(data, _KEYS, where)
        workflow = Workflow(
            name=name,
            steps=_joined(_steps(data.get("steps"), where, read_schema, wrong), where, wrong),
            description=typed(data, "description", str, where) or "",
            inputs=_inputs(data.get("inputs", {}), where),
            source=source,
            path=path,
            task=typed(data, "task", str, where) or "",
        )
        _check_order(workflow, where)
        _check_names(workflow, where, wrong)
    except ValidationError as error:
        return Workflow(name, (), source=source, path=path), [*chain(*wrong.values()), error]
    sound = tuple(step for step in workflow.steps if step.id not in wrong)
    return replace(workflow, steps=sound) if wrong else workflow, list(chain(*wrong.values()))


def used_names(step: Step) -> tuple[str, ...]:
    """Return the template names in a step's task, files, condition and `foreach`, each once."""
    foreach = step.foreach if isinstance(step.foreach, str) else ""
    texts = [step.task, *step.files, step.when or "", foreach]
    return tuple(dict.fromkeys(n for text in texts for n in names(text)))


def implied_inputs(workflow: Workflow) -> tuple[str, ...]:
    """Return the inputs that a workflow which declares none uses all the same: they must be given."""
    used = (n.removeprefix("input.") for s in workflow.steps for n in used_names(s) if n.startswith("input."))
    return () if workflow.inputs else tuple(dict.fromkeys(used))


def _steps(data: Any, where: str, read_schema: ReadSchema, wrong: dict[str, list[ValidationError]]) -> list[Step]:
    """Return the steps, one that is wrong with nothing but its id and its dependencies."""
    if not isinstance(data, list) or not data:
        raise ValidationError(f"{where} has no steps", hint="add a [[steps]] table with an id, an agent and a task")
    steps: dict[str, Step] = {}
    for number, entry in enumerate(data, 1):
        step_id = _id(entry, f"{where}: step {number}")
        if step_id in steps:
            raise ValidationError(f"{where}: two steps have the id '{step_id}'", hint="give each step its own id")
        steps[step_id], faults = read_step(step_id, entry, f"{where}: step '{step_id}'", read_schema)
        for fault in faults:
            _keep(fault, step_id, where, wrong)
            steps[step_id] = Step(step_id, "", dependencies=_legible(entry.get("dependencies")))
    return list(steps.values())


def _keep(error: ValidationError, step_id: str, where: str, wrong: dict[str, list[ValidationError]]) -> None:
    if len(wrong) == _MOST and step_id not in wrong:
        raise ValidationError(f"{where}: more than {_MOST} steps are wrong", hint="mend these first")
    error.step = step_id
    wrong.setdefault(step_id, []).append(error)


def _legible(dependencies: Any) -> tuple[str, ...]:
    listed = dependencies if isinstance(dependencies, list) else [dependencies]
    return tuple(dict.fromkeys(name for name in listed if isinstance(name, str)))


def _id(data: Any, where: str) -> str:
    if not isinstance(data, dict):
        raise ValidationError(f"{where} is no table", hint="write it as a [[steps]] table")
    step_id: str | None = typed(data, "id", str, where)
    if not step_id or not _ID.fullmatch(step_id):
        raise ValidationError(
            f"{where}: id is {repr(step_id) if step_id else 'missing'}",
            hint="an id has up to 64 letters, digits, '-', '_' and '.', and begins with a letter, a digit or '_'",
        )
    return step_id


def _inputs(data: Any, where: str) -> tuple[Input, ...]:
    if not isinstance(data, dict):
        raise ValidationError(f"{where}: inputs: expected a table of names and defaults")
    return tuple(_input(name, value, f"{where}: inputs.{name}") for name, value in data.items())


def _input(name: str, value: Any, where: str) -> Input:
    if isinstance(value, dict):
        refuse_unknown(value, ("default", "description"), where)
        default = value.get("default")
        description = typed(value, "description", str, where) or ""
        return Input(name, None if default is None else _plain(default, where), description)
    return Input(name, _plain(value, where))


def _plain(value: Any, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValidationError(f"{where}: expected text, a number or true/false, got {dumps(value, default=str)[:60]}")


def _joined(steps: Sequence[Step], where: str, wrong: dict[str, list[ValidationError]]) -> tuple[Step, ...]:
    """Return the steps without the dependencies that there cannot be."""
    ids = {step.id for step in steps}
    joined = []
    for step in steps:
        possible = tuple(other for other in step.dependencies if other in ids and other != step.id)
        if len(possible) < len(step.dependencies) and step.id not in wrong:
            impossible = next(other for other in step.dependencies if other not in possible)
            _keep(_cannot_wait(step.id, impossible, ids, where), step.id, where, wrong)
        joined.append(step if possible == step.dependencies else replace(step, dependencies=possible))
    return tuple(joined)


def _cannot_wait(step_id: str, dependency: str, ids: Iterable[str], where: str) -> ValidationError:
    if dependency == step_id:
        return ValidationError(f"{where}: step '{step_id}' depends on itself")
    return unknown("step", dependency, ids, f"{where}: step '{step_id}': dependencies")


def _check_order(workflow: Workflow, where: str) -> None:
    try:
        order(workflow)
    except ValidationError as error:
        raise error.within(where) from None


def _check_names(workflow: Workflow, where: str, wrong: dict[str, list[ValidationError]]) -> None:
    for step in workflow.steps:
        at = f"{where}: step '{step.id}'"
        if step.id not in wrong and (error := _misnamed(step, workflow, at)):
            _keep(error, step.id, where, wrong)


def _misnamed(step: Step, workflow: Workflow, at: str) -> ValidationError | None:
    if _answer_names_files(step):
        return ValidationError(f"{at}: files: an answer cannot say which files are read", hint="use an input")
    for name in used_names(step):
        if origin(name) == "item":
            if step.foreach is None:
                return ValidationError(f"{at}: {{{{{name}}}}} has a value only in a step with foreach")
        elif not _has_value(name, step, workflow):
            return _unknown_name(name, step, workflow, at)
    return None


def _answer_names_files(step: Step) -> bool:
    used = {origin(name) for pattern in step.files for name in names(pattern)}
    items = isinstance(step.foreach, str) and "steps" in map(origin, names(step.foreach))
    return "steps" in used or ("item" in used and items)


def _has_value(name: str, step: Step, workflow: Workflow) -> bool:
    if name.startswith("input."):
        return not workflow.inputs or name in _input_names(workflow)
    direct = (f"steps.{dependency}.output" for dependency in step.dependencies)
    # most names are found without a search of the whole graph before the step
    return name == "task" or name in direct or name in _output_names(workflow, step)


def _input_names(workflow: Workflow) -> list[str]:
    return [f"input.{declared.name}" for declared in workflow.inputs]


def _output_names(workflow: Workflow, step: Step) -> list[str]:
    return [f"steps.{before}.output" for before in ancestors(workflow, step.id)]


def _unknown_name(name: str, step: Step, workflow: Workflow, at: str) -> ValidationError:
    other = step_of(name)
    if other != step.id and any(s.id == other for s in workflow.steps):
        return ValidationError(
            f"{at} names the output of '{other}' but does not depend on it", hint=f"add '{other}' to its dependencies"
        )
    known = ["task", *_input_names(workflow), *_output_names(workflow, step)]
    return unknown("template name", name, known, at)
