"""One table of a workflow file becomes a Step, or an error that says where it is wrong and how.

Does not know which other steps there are, nor which agents.
"""

from __future__ import annotations

from itertools import islice
from json import dumps

from ..answers import schema as schemas
from ..errors import NotFound, UsageError, ValidationError
from ..frozen import fields
from ..records import EFFORTS, Step, canonical
from . import conditions
from .templates import names, origin, sole_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    ReadSchema = Callable[[str], str]

_KEYS = tuple(f.name for f in fields(Step))
_MOST_KEYS = 10
"""Unknown keys of a step that are told of: each is compared with all that there are."""


def read_step(
    step_id: str, data: Mapping[str, Any], where: str, read_schema: ReadSchema
) -> tuple[Step, list[ValidationError]]:
    """Return the step that the table `data` describes, and each key, type and value in it that is wrong.

    `read_schema` returns the text of a schema file that it names. What is wrong is left out of the step.
    """
    wrong = list(islice(_unknown_keys(data, _KEYS, where), _MOST_KEYS))

    def read(value_of: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return value_of(data, *arguments, where)
        except ValidationError as error:
            wrong.append(error)
            return None

    step = Step(
        id=step_id,
        agent=read(_agent) or "",
        task=read(_task) or "{{task}}",
        dependencies=read(_texts, "dependencies") or (),
        model=read(typed, "model", str),
        skills=read(_texts, "skills") or (),
        max_tokens=read(_whole, "max_tokens", 1),
        files=read(_texts, "files") or (),
        foreach=read(_foreach),
        when=read(_when),
        retries=read(_whole, "retries", 0) or 0,
        timeout_seconds=read(_seconds),
        schema=read(_schema, read_schema),
        cache=read(typed, "cache", bool) is not False,
        effort=read(_effort),
    )
    return step, wrong


def typed(data: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    """Return the value at `key`, which is of type `kind`, or None; raises ValidationError."""
    value = data.get(key)
    if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
        words = {str: "text", int: "a whole number", bool: "true or false"}
        raise ValidationError(f"{where}: {key}: expected {words[kind]}, got {dumps(value, default=str)[:60]}")
    return value


def refuse_unknown(data: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Raise ValidationError for a key that is not among the `known` ones."""
    if wrong := next(_unknown_keys(data, known, where), None):
        raise wrong


def _unknown_keys(data: Mapping[str, Any], known: Sequence[str], where: str) -> Iterator[ValidationError]:
    return (unknown("key", key, known, where) for key in data if key not in known)


def _agent(data: Mapping[str, Any], where: str) -> str:
    agent: str | None = typed(data, "agent", str, where)
    if not agent:
        raise ValidationError(f"{where}: agent is missing", hint="name the agent that does this step")
    return agent


def unknown(kind: str, name: str, known: Iterable[str], where: str) -> ValidationError:
    """Return the error that says, of `where`, that no `kind` has this name."""
    return _at(where, NotFound(kind, name, known))


def _task(data: Mapping[str, Any], where: str) -> str:
    task: str = typed(data, "task", str, where) or "{{task}}"
    if not task.strip() and not data.get("dependencies"):
        raise ValidationError(f"{where}: the task is empty", hint="without the key, it is the task of the run")
    return task


def _whole(data: Mapping[str, Any], key: str, least: int, where: str) -> int | None:
    value: int | None = typed(data, key, int, where)
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
    effort: str | None = typed(data, "effort", str, where)
    if effort is not None and effort not in EFFORTS:
        raise unknown("effort", effort, EFFORTS, where)
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
    condition: str | None = typed(data, "when", str, where)
    if condition is not None:
        try:
            conditions.check(condition)
        except ValidationError as error:
            raise _at(f"{where}: when", error) from None
    return condition


def _foreach(data: Mapping[str, Any], where: str) -> str | tuple[Any, ...] | None:
    value = data.get("foreach")
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
    origins = {origin(name) for name in names(foreach)}
    return "item" in origins or ("steps" in origins and sole_name(foreach) is None)


def _items(values: list[Any], where: str) -> tuple[Any, ...]:
    try:
        canonical(values)
    except TypeError:  # TOML has dates and times, JSON has not
        raise ValidationError(f"{where}: foreach: an item holds a date or a time", hint="put it in quotes") from None
    return tuple(values)


def _schema(data: Mapping[str, Any], read_schema: ReadSchema, where: str) -> str | None:
    value = data.get("schema")
    if value is None:
        return None
    if isinstance(value, str):
        return canonical(schemas.load(read_schema(value), f"{where}: schema {value}"))
    return canonical(schemas.load(dumps(value, default=str), f"{where}: schema"))


def _at(where: str, error: UsageError) -> ValidationError:
    return ValidationError(f"{where}: {error.message}", hint=error.hint)
