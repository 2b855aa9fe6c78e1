"""JSON Schema for answers: is a value what was asked for, and in which form does the API take the schema.

The keywords of 2020-12 that describe plain data are checked; `format` and annotations are not, and a keyword that would
have to be checked but is not known here is refused when the schema is loaded. Knows no file, agent or request.
"""

from __future__ import annotations

import json
import re
from functools import partial
from math import isfinite
from operator import ge, gt, le, lt

from ..errors import ValidationError
from ..records import finite
from ..settings.migration import shown
from .patterns import found

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Schema = dict[str, Any] | bool
    Descend = Callable[[Any, Schema, str], Iterator[str]]

_DEPTH = 150  # of schemas within schemas: each takes three frames, and Python allows a thousand
_CHECKS = 200_000  # one or two seconds; an answer of 128k tokens needs less, a few lines of `allOf` could ask for 2^30
_TYPES = {"object": dict, "array": list, "string": str, "number": float, "integer": int, "boolean": bool, "null": None}
_SIZES: dict[str, dict[str, Callable[[Any, Any], bool]]] = {
    "object": {"minProperties": lambda it, least: len(it) < least, "maxProperties": lambda it, most: len(it) > most},
    "array": {"minItems": lambda it, least: len(it) < least, "maxItems": lambda it, most: len(it) > most},
    "string": {"minLength": lambda it, least: len(it) < least, "maxLength": lambda it, most: len(it) > most},
}
_LIMITS = {"minimum": lt, "maximum": gt, "exclusiveMinimum": le, "exclusiveMaximum": ge}
_BREAKS: dict[str, dict[str, Callable[[Any, Any], bool]]] = {
    "object": _SIZES["object"],
    "array": _SIZES["array"] | {"uniqueItems": lambda it, wanted: wanted and len(set(map(_frozen, it))) < len(it)},
    "string": _SIZES["string"] | {"pattern": lambda it, pattern: not found(pattern, it)},
    "number": _LIMITS | {"multipleOf": lambda it, unit: not _is_multiple(it, unit)},
}
_NAMED = ("properties", "patternProperties", "$defs", "definitions")  # hold schemas by name
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "not", "if", "then", "else")
_UNCHECKED = ("contains", "propertyNames", "dependencies", "dependentRequired", "dependentSchemas")
_UNCHECKED_DYNAMIC = ("unevaluatedItems", "unevaluatedProperties", "$dynamicRef", "$recursiveRef")
_CARRIED = ("type", "required", "title", "description", "default", "$ref")
_TOLD = {"enum", "const", "format", "prefixItems", "not"}.union(*_BREAKS.values())
_SCHEMA: dict[str, Any] = {
    "type": ["object", "boolean"],
    "properties": {
        "type": {
            "if": {"type": "array"},
            "then": {"minItems": 1, "items": {"enum": [*_TYPES]}},
            "else": {"enum": [*_TYPES]},
        },
        **{keyword: {"type": "object", "additionalProperties": {"$ref": "#"}} for keyword in _NAMED},
        **{keyword: {"type": "array", "minItems": 1, "items": {"$ref": "#"}} for keyword in _LISTED},
        **{keyword: {"$ref": "#"} for keyword in _SINGLE},
        **{keyword: {"type": "integer", "minimum": 0} for sizes in _SIZES.values() for keyword in sizes},
        **{keyword: {"type": "number"} for keyword in _LIMITS},
        **{keyword: {"type": "string"} for keyword in ("pattern", "$ref", "description")},
        **dict.fromkeys(_UNCHECKED + _UNCHECKED_DYNAMIC, False),
        "multipleOf": {"type": "number", "exclusiveMinimum": 0},
        "required": {"type": "array", "items": {"type": "string"}},
        "enum": {"type": "array", "minItems": 1},
        "uniqueItems": {"type": "boolean"},
    },
}


def violations(value: Any, schema: Schema) -> list[str]:
    """Return one line for everything in `value` that `schema`, which `load` has accepted, does not allow.

    A line begins with the place: `$.items[2].name: 5 is not a string`. A schema so deep or entangled that checking it
    does not end in reasonable time is itself a violation.
    """
    found: list[str] = []
    try:
        found.extend(_check(value, schema, "$", root=schema, depth=0, budget=iter(range(_CHECKS))))
    except (RecursionError, TimeoutError) as error:
        found.append(str(error))
    return found


def load(text: str, where: str) -> dict[str, Any]:
    """Return the schema that `text`, read from the place named `where`, holds.

    Raises ValidationError, naming the place, for what is no JSON object, a keyword with a wrong value or one that is
    not checked here, a `$ref` that leads nowhere or out of the schema, and a `pattern` that does not compile.
    """
    try:
        schema = _parsed(text)
    except ValueError as error:
        raise ValidationError(f"{where}: not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise ValidationError(f"{where}: a schema must be a JSON object", hint='the least is {"type": "object"}')
    try:
        _refuse_unusable(schema)
    except ValidationError as error:
        raise error.within(where) from None
    return schema


def wire(schema: Schema) -> dict[str, Any]:
    """Return `schema` in the form that the API's structured outputs accept: objects closed, other constraints told.

    A constraint that the API cannot enforce moves into the description, for the model to read; `violations` checks it.
    Source: platform.claude.com, page Structured outputs. Raises ValidationError for a schema that refers to itself,
    and for an object whose keys are free, which the API would always answer with an empty one.
    """
    _refuse_unsendable(schema, schema, frozenset(), set())
    return _wired(schema)


def extract(text: str) -> Any:
    """Return the JSON value that an answer consists of, with or without a Markdown code fence around it.

    Raises ValueError for anything else, NaN and numbers beyond a float's range included.
    """
    body = text.strip().removeprefix("\ufeff")
    if body.startswith("```") and body.endswith("```"):
        body = body.partition("\n")[2][:-3]
    return _parsed(body)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=finite, parse_float=finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _check(value: Any, schema: Schema, path: str, *, root: Schema, depth: int, budget: Iterator[int]) -> Iterator[str]:
    if depth > _DEPTH or next(budget, None) is None:
        raise RecursionError(f"{path}: too deep or too entangled to be checked")
    if isinstance(schema, bool):
        if not schema:
            yield f"{path}: is not allowed here"
        return
    descend = partial(_check, root=root, depth=depth + 1, budget=budget)
    if "$ref" in schema:
        yield from descend(value, _target(root, schema["$ref"]), path)
    yield from _asserted(value, schema, path)
    if isinstance(value, dict):
        yield from _object(value, schema, path, descend)
    elif isinstance(value, list):
        yield from _array(value, schema, path, descend)
    yield from _combined(value, schema, path, descend)


def _asserted(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    names = schema.get("type", [])
    names = [names] if isinstance(names, str) else names
    if names and not any(_is(value, name) for name in names):
        yield f"{path}: {shown(value)} is not {' or '.join(_with_article(name) for name in names)}"
    if "enum" in schema and _frozen(value) not in {_frozen(allowed) for allowed in schema["enum"]}:
        yield f"{path}: {shown(value)} is none of {', '.join(shown(allowed) for allowed in schema['enum'])}"
    if "const" in schema and _frozen(value) != _frozen(schema["const"]):
        yield f"{path}: {shown(value)} is not {shown(schema['const'])}"
    rules = next((rules for type_, rules in _BREAKS.items() if _is(value, type_)), {})
    for keyword, breaks in rules.items():
        if keyword in schema and breaks(value, schema[keyword]):
            yield f"{path}: {shown(value)} does not fit {keyword} {shown(schema[keyword])}"


def _object(value: dict[str, Any], schema: dict[str, Any], path: str, descend: Descend) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}: {shown(name)} is missing"
    for name, item in value.items():
        for below in _schemas_for(name, schema):
            yield from descend(item, below, _at(path, name))


def _schemas_for(name: str, schema: dict[str, Any]) -> list[Schema]:
    named = [schema["properties"][name]] if name in schema.get("properties", {}) else []
    named += [below for pattern, below in schema.get("patternProperties", {}).items() if found(pattern, name)]
    return named or [schema.get("additionalProperties", True)]


def _array(value: list[Any], schema: dict[str, Any], path: str, descend: Descend) -> Iterator[str]:
    first = schema.get("prefixItems", [])
    rest = schema.get("items", True)
    for number, item in enumerate(value):
        yield from descend(item, first[number] if number < len(first) else rest, f"{path}[{number}]")


def _is_multiple(value: float, unit: float) -> bool:
    """Compare as the decimals that were written: 0.3 is a multiple of 0.1, which binary floats deny."""
    if isinstance(value, int) and isinstance(unit, int):
        return value % unit == 0
    from fractions import Fraction  # 3 ms that only this keyword with a float costs

    return isfinite(value) and Fraction(str(value)) % Fraction(str(unit)) == 0


def _combined(value: Any, schema: dict[str, Any], path: str, descend: Descend) -> Iterator[str]:
    for below in schema.get("allOf", ()):
        yield from descend(value, below, path)
    yield from _alternatives(value, schema, path, descend)
    if "not" in schema and not any(descend(value, schema["not"], path)):
        yield f"{path}: {shown(value)} is what `not` excludes"
    if "if" in schema:
        branch = "else" if any(descend(value, schema["if"], path)) else "then"
        yield from descend(value, schema.get(branch, True), path)


def _alternatives(value: Any, schema: dict[str, Any], path: str, descend: Descend) -> Iterator[str]:
    for keyword in ("anyOf", "oneOf"):
        wrongs = [list(descend(value, below, path)) for below in schema.get(keyword, ())]
        fitting = wrongs.count([])
        if wrongs and not fitting:
            yield f"{path}: fits none of {len(wrongs)} alternatives; nearest: {min(wrongs, key=len)[0]}"
        if keyword == "oneOf" and fitting > 1:
            yield f"{path}: fits {fitting} alternatives of oneOf at once"


def _is(value: Any, name: str) -> bool:
    """Tell by the exact type: Python takes True for an integer, and JSON takes 1.0 for one."""
    if name == "integer":
        return type(value) is int or (type(value) is float and value.is_integer())
    if name == "null":
        return value is None
    return type(value) is _TYPES[name] or (name == "number" and type(value) is int)


def _frozen(value: Any) -> Any:
    """Return what is hashable and equal for equal JSON: 1 and 1.0 are the same, 1 and true are not."""
    if isinstance(value, dict):
        return "object", frozenset((name, _frozen(item)) for name, item in value.items())
    if isinstance(value, list):
        return "array", tuple(_frozen(item) for item in value)
    return isinstance(value, bool), value


def _with_article(name: str) -> str:
    return name if name == "null" else f"{'an' if name[0] in 'aio' else 'a'} {name}"


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if name.isascii() and name.isidentifier() else f"{path}[{json.dumps(name)}]"


def _target(root: Schema, ref: str) -> Any:
    node: Any = root
    try:
        if ref != "#" and not ref.startswith("#/"):
            raise KeyError(ref)
        for part in ref.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            node = node[int(name) if isinstance(node, list) else name]
    except (LookupError, TypeError, ValueError):
        raise ValidationError(f"$ref {shown(ref)} leads nowhere in this schema") from None
    return node


def _subschemas(schema: Schema, path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield `schema` and every schema written inside it, each with its place."""
    if isinstance(schema, bool):
        return
    yield path, schema
    for keyword, argument in schema.items():
        place = _at(path, keyword)
        if keyword in _NAMED:
            for name, below in argument.items():
                yield from _subschemas(below, _at(place, name))
        elif keyword in _LISTED:
            for number, below in enumerate(argument):
                yield from _subschemas(below, f"{place}[{number}]")
        elif keyword in _SINGLE:
            yield from _subschemas(argument, place)


def _refuse_unusable(schema: dict[str, Any]) -> None:
    _refuse_malformed(schema)
    for path, below in _subschemas(schema):
        if "$ref" in below:
            _refuse_malformed(_target(schema, below["$ref"]))
        for pattern in (below.get("pattern", ""), *below.get("patternProperties", ())):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValidationError(f"{path}: pattern {shown(pattern)} does not compile: {error}") from None


def _refuse_malformed(schema: Any) -> None:
    if wrong := violations(schema, _SCHEMA):
        raise ValidationError(f"no JSON Schema that can be checked: {wrong[0]}")


def _refuse_unsendable(schema: Schema, root: Schema, open_: frozenset[str], done: set[str]) -> None:
    for path, below in _subschemas(schema):
        if not below.get("properties") and (below.get("additionalProperties") or "patternProperties" in below):
            raise ValidationError(
                f"{path}: the API's structured outputs need named properties, and the keys of this object are free",
                hint="ask for an array of objects with a property for the key and one for the value",
            )
        ref = below.get("$ref")
        if ref in open_:
            raise ValidationError(
                f"{path}: the API's structured outputs refuse recursion, which $ref {shown(ref)} leads into",
                hint="write out as many levels as the answer needs",
            )
        if ref is not None and ref not in done:
            _refuse_unsendable(_target(root, ref), root, open_ | {ref}, done)
            done.add(ref)


def _wired(schema: Schema) -> dict[str, Any]:
    if isinstance(schema, bool):
        return {}
    if "$ref" in schema:  # which the API, older drafts and Anthropic's SDK read as the whole schema
        schema = {keyword: schema[keyword] for keyword in ("$ref", "$defs", "definitions") if keyword in schema}
    sent = {keyword: schema[keyword] for keyword in schema if _is_carried(keyword, schema[keyword])}
    for keyword in ("properties", "$defs", "definitions"):
        if keyword in schema:
            sent[keyword] = {name: _wired(below) for name, below in schema[keyword].items()}
    if "items" in schema and "prefixItems" not in schema:
        sent["items"] = _wired(schema["items"])
    for keyword, form in (("allOf", "allOf"), ("oneOf", "anyOf"), ("anyOf", "anyOf")):
        if keyword in schema:
            sent[form] = [_wired(below) for below in schema[keyword]]
    if "properties" in schema or "object" in schema.get("type", ()):
        sent["additionalProperties"] = False
    told = {keyword: schema[keyword] for keyword in schema if keyword in _TOLD and keyword not in sent}
    if told:
        sent["description"] = f"{schema.get('description', '')} Must fit: {json.dumps(told)}".strip()
    return sent


def _is_carried(keyword: str, argument: Any) -> bool:
    if keyword in ("enum", "const"):
        return not any(isinstance(allowed, dict | list) for allowed in (argument if keyword == "enum" else [argument]))
    if keyword == "minItems":
        return bool(argument <= 1)
    return keyword in _CARRIED
