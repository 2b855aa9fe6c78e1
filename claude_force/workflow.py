"""A workflow file's content becomes a Workflow that can run, or one error that says what to mend.

Does not know where files lie, what agents exist, or how a step is carried out.
"""

from __future__ import annotations

import re
from json import dumps

from . import conditions
from . import schema as schemas
from .dag import ancestors, order
from .errors import NotFound, UsageError, ValidationError
from .frozen import fields
from .records import EFFORTS, Input, Step, Workflow, canonical
from .templates import names, sole_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    ReadSchema = Callable[[str], str]

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_WORKFLOW_KEYS = ("name", "description", "version", "task", "inputs", "steps")
_STEP_KEYS = tuple(f.name for f in fields(Step))


def parse(
    name: str, data: Mapping[str, Any], *, source: str, path: Path | None = None, read_schema: ReadSchema
) -> Workflow:
    """Return the workflow that `data`, the content of a TOML or JSON file, describes.

    `read_schema` returns the text of a schema file that a step names. Raises ValidationError naming the file, the
    step and the key: for a wrong type or key, an unknown or duplicate id, an unknown template name, a cycle.
    """
    where = f"{path or source}: workflow '{name}'"
    _refuse_unknown(data, _WORKFLOW_KEYS, where)
    steps = _steps(data.get("steps"), where, read_schema)
    workflow = Workflow(
        name=name,
        steps=steps,
        description=_typed(data, "description", str, where) or "",
        inputs=_inputs(data.get("inputs", {}), where),
        source=source,
        path=path,
        task=_typed(data, "task", str, where) or "",
    )
    _check_graph(workflow, where)
    _check_names(workflow, where)
    return workflow


def used_names(step: Step) -> tuple[str, ...]:
    """Return the template names in a step's task, files, condition and `foreach`, each once."""
    foreach = step.foreach if isinstance(step.foreach, str) else ""
    texts = [step.task, *step.files, step.when or "", foreach]
    return tuple(dict.fromkeys(n for text in texts for n in names(text)))


def implied_inputs(workflow: Workflow) -> tuple[str, ...]:
    """Return the inputs that a workflow which declares none uses all the same: they must be given."""
    used = (n.removeprefix("input.") for s in workflow.steps for n in used_names(s) if n.startswith("input."))
    return () if workflow.inputs else tuple(dict.fromkeys(used))


def _steps(data: Any, where: str, read_schema: ReadSchema) -> tuple[Step, ...]:
    if not isinstance(data, list) or not data:
        raise ValidationError(f"{where} has no steps", hint="add a [[steps]] table with an id, an agent and a task")
    steps: dict[str, Step] = {}
    for number, entry in enumerate(data, 1):
        step_id = _id(entry, f"{where}: step {number}")
        if step_id in steps:
            raise ValidationError(f"{where}: two steps have the id '{step_id}'", hint="give each step its own id")
        steps[step_id] = _step(step_id, entry, f"{where}: step '{step_id}'", read_schema)
    return tuple(steps.values())


def _id(data: Any, where: str) -> str:
    if not isinstance(data, dict):
        raise ValidationError(f"{where} is no table", hint="write it as a [[steps]] table")
    step_id: str | None = _typed(data, "id", str, where)
    if not step_id or not _ID.fullmatch(step_id):
        raise ValidationError(
            f"{where}: id is {repr(step_id) if step_id else 'missing'}",
            hint="an id has up to 64 letters, digits, '-', '_' and '.', and begins with a letter, a digit or '_'",
        )
    return step_id


def _step(step_id: str, data: Mapping[str, Any], where: str, read_schema: ReadSchema) -> Step:
    _refuse_unknown(data, _STEP_KEYS, where)
    if not (agent := _typed(data, "agent", str, where)):
        raise ValidationError(f"{where}: agent is missing", hint="name the agent that does this step")
    return Step(
        id=step_id,
        agent=agent,
        task=_typed(data, "task", str, where) or "{{task}}",
        dependencies=_texts(data, "dependencies", where),
        model=_typed(data, "model", str, where),
        skills=_texts(data, "skills", where),
        max_tokens=_whole(data, "max_tokens", 1, where),
        files=_texts(data, "files", where),
        foreach=_foreach(data.get("foreach"), where),
        when=_when(data, where),
        retries=_whole(data, "retries", 0, where) or 0,
        timeout_seconds=_seconds(data, where),
        schema=_schema(data.get("schema"), where, read_schema),
        cache=_typed(data, "cache", bool, where) is not False,
        effort=_effort(data, where),
    )


def _typed(data: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    value = data.get(key)
    if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
        words = {str: "text", int: "a whole number", bool: "true or false"}
        raise ValidationError(f"{where}: {key}: expected {words[kind]}, got {dumps(value, default=str)[:60]}")
    return value


def _whole(data: Mapping[str, Any], key: str, least: int, where: str) -> int | None:
    value: int | None = _typed(data, key, int, where)
    if value is not None and value < least:
        raise ValidationError(f"{where}: {key}: must be {least} or more, got {value}")
    return value


def _seconds(data: Mapping[str, Any], where: str) -> float | None:
    value = data.get("timeout_seconds")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValidationError(f"{where}: timeout_seconds: expected a number above 0, got {value!r}")
    return float(value)


def _effort(data: Mapping[str, Any], where: str) -> str | None:
    effort: str | None = _typed(data, "effort", str, where)
    if effort is not None and effort not in EFFORTS:
        raise _unknown("effort", effort, EFFORTS, where)
    return effort


def _texts(data: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = data.get(key)
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValidationError(f"{where}: {key}: expected a list of texts, got {dumps(value, default=str)[:60]}")
    return tuple(dict.fromkeys(value))


def _when(data: Mapping[str, Any], where: str) -> str | None:
    condition: str | None = _typed(data, "when", str, where)
    if condition is not None:
        try:
            conditions.check(condition)
        except ValidationError as error:
            raise _at(f"{where}: when", error) from None
    return condition


def _foreach(value: Any, where: str) -> str | tuple[Any, ...] | None:
    if value is None:
        return None
    if isinstance(value, list):
        return _items(value, where)
    if isinstance(value, str) and value.strip() and not _mixes(value):
        return value
    raise ValidationError(
        f"{where}: foreach: expected a glob, a list or the output of one step",
        hint='for example foreach = "src/*.py" or foreach = "{{steps.plan.output}}"',
    )


def _mixes(foreach: str) -> bool:
    """Say whether `foreach` names an item, which is not there yet, or an output in the midst of a glob."""
    origins = {name.split(".")[0] for name in names(foreach)}
    return "item" in origins or ("steps" in origins and sole_name(foreach) is None)


def _items(values: list[Any], where: str) -> tuple[Any, ...]:
    try:
        canonical(values)
    except TypeError:  # TOML has dates and times, JSON has not
        raise ValidationError(f"{where}: foreach: an item holds a date or a time", hint="put it in quotes") from None
    return tuple(values)


def _schema(value: Any, where: str, read_schema: ReadSchema) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return canonical(schemas.load(read_schema(value), f"{where}: schema {value}"))
    return canonical(schemas.load(dumps(value, default=str), f"{where}: schema"))


def _inputs(data: Any, where: str) -> tuple[Input, ...]:
    if not isinstance(data, dict):
        raise ValidationError(f"{where}: inputs: expected a table of names and defaults")
    return tuple(_input(name, value, f"{where}: inputs.{name}") for name, value in data.items())


def _input(name: str, value: Any, where: str) -> Input:
    if isinstance(value, dict):
        _refuse_unknown(value, ("default", "description"), where)
        default = value.get("default")
        description = _typed(value, "description", str, where) or ""
        return Input(name, None if default is None else _plain(default, where), description)
    return Input(name, _plain(value, where))


def _plain(value: Any, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValidationError(f"{where}: expected text, a number or true/false, got {dumps(value, default=str)[:60]}")


def _refuse_unknown(data: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in data:
        if key not in known:
            raise _unknown("key", key, known, where)


def _unknown(kind: str, name: str, known: Iterable[str], where: str) -> ValidationError:
    return _at(where, NotFound(kind, name, known))


def _at(where: str, error: UsageError) -> ValidationError:
    return ValidationError(f"{where}: {error.message}", hint=error.hint)


def _check_graph(workflow: Workflow, where: str) -> None:
    ids = {step.id for step in workflow.steps}
    for step in workflow.steps:
        for dependency in step.dependencies:
            if dependency == step.id:
                raise ValidationError(f"{where}: step '{step.id}' depends on itself")
            if dependency not in ids:
                raise _unknown("step", dependency, ids, f"{where}: step '{step.id}': dependencies")
    try:
        order(workflow)
    except ValidationError as error:
        raise ValidationError(f"{where}: {error.message}", hint="remove one of these dependencies") from None


def _check_names(workflow: Workflow, where: str) -> None:
    for step in workflow.steps:
        at = f"{where}: step '{step.id}'"
        if _answer_names_files(step):
            raise ValidationError(f"{at}: files: an answer cannot say which files are read", hint="use an input")
        for name in used_names(step):
            if name.split(".")[0] == "item":
                if step.foreach is None:
                    raise ValidationError(f"{at}: {{{{{name}}}}} has a value only in a step with foreach")
            elif not _has_value(name, step, workflow):
                raise _unknown_name(name, step, workflow, at)


def _answer_names_files(step: Step) -> bool:
    used = {name.split(".")[0] for pattern in step.files for name in names(pattern)}
    items = isinstance(step.foreach, str) and any(name.startswith("steps.") for name in names(step.foreach))
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
    other = name.removeprefix("steps.").removesuffix(".output")
    if name == f"steps.{other}.output" and any(s.id == other for s in workflow.steps) and other != step.id:
        return ValidationError(
            f"{at} names the output of '{other}' but does not depend on it", hint=f"add '{other}' to its dependencies"
        )
    known = ["task", *_input_names(workflow), *_output_names(workflow, step)]
    return _unknown("template name", name, known, at)
