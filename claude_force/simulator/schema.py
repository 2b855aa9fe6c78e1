"""JSON schemas of structured outputs: which of them the API takes, and the smallest instance that fits one."""

from __future__ import annotations

from .problems import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

SIMULATED = "[simulated]"
_UNSUPPORTED = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    "minLength", "maxLength", "maxItems", "minProperties", "maxProperties",
)  # fmt: skip
_TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
_OPTIONAL_LIMIT = 24
_MOST_ITEMS = 10
_NAMES = {dict: "dictionary", list: "list", str: "string", int: "integer"}
_SHAPES = {
    "properties": dict, "required": list, "enum": list, "anyOf": list, "oneOf": list, "allOf": list,
    "$ref": str, "format": str, "minItems": int,
}  # fmt: skip
_FORMATS = {
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "date-time": "2026-01-01T00:00:00Z",
    "duration": "PT1S",
    "email": "simulated@example.com",
    "hostname": "simulated.example.com",
    "uri": "https://simulated.example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def check_schema(schema: Any, where: str) -> None:
    """Raise Problem, 400, where the API would not take `schema`, which stands at the key path `where`."""
    optional = 0
    for path, node in _nodes(schema, where, schema, (), circles=False):
        _check_shape(path, node)
        _check_rules(path, node)
        optional += len(node.get("properties", {}).keys() - set(node.get("required", ())))
    if optional > _OPTIONAL_LIMIT:
        raise Problem(f"{where}: Schemas contain too many optional parameters ({optional}; limit {_OPTIONAL_LIMIT})")


def check_tool_schema(schema: Any, where: str) -> None:
    """Raise Problem, 400, where `schema` is none; a tool's need not keep to the rules of structured outputs."""
    for path, node in _nodes(schema, where, schema, (), circles=True):
        _check_shape(path, node)


def minimal(schema: dict[str, Any]) -> Any:
    """Return a small instance of a checked schema; strings say that they are simulated, and their property's name."""
    return _instance(schema, schema, "", ())


def _instance(schema: dict[str, Any], root: Any, name: str, refs: tuple[str, ...]) -> Any:
    if fixed := [schema["const"]] if "const" in schema else schema.get("enum"):
        return fixed[0]
    if ref := schema.get("$ref"):
        return None if ref in refs else _instance(_resolve(ref, root, "schema"), root, name, (*refs, ref))
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return _instance(choices[0], root, name, refs)
    if parts := schema.get("allOf"):
        rest = {keyword: value for keyword, value in schema.items() if keyword != "allOf"}
        return _merged([_instance(part, root, name, refs) for part in (*parts, rest)])
    return _of_type(schema, root, name, refs)


def _of_type(schema: dict[str, Any], root: Any, name: str, refs: tuple[str, ...]) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "null")
    match kind[0] if isinstance(kind, list) and kind else kind:
        case "object":
            return {key: _instance(value, root, key, refs) for key, value in schema.get("properties", {}).items()}
        case "array":
            return [_instance(schema.get("items", {}), root, name, refs)] * min(schema.get("minItems", 0), _MOST_ITEMS)
        case "string":
            return _FORMATS.get(schema.get("format", ""), f"{SIMULATED} {name}".rstrip())
        case "integer" | "number":
            return 0
        case "boolean":
            return False
        case _:
            return None


def _merged(parts: list[Any]) -> Any:
    """Return one instance for `allOf`: the objects joined, or the first part that is something."""
    if all(isinstance(part, dict) for part in parts if part is not None):
        return {key: value for part in parts if part for key, value in part.items()}
    return next(part for part in parts if part is not None)


def _nodes(
    node: Any, path: str, root: Any, refs: tuple[str, ...], *, circles: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema in `node` with its path, references followed; `circles` says whether they may recur."""
    if not isinstance(node, dict):
        raise Problem(f"{path}: Input should be a valid dictionary")
    yield path, node
    if (ref := node.get("$ref")) and ref in refs:
        if not circles:
            raise Problem(f"{path}: Circular reference detected in schema definitions: {ref}")
    elif ref:
        yield from _nodes(_resolve(ref, root, path), f"{path}.{ref}", root, (*refs, ref), circles=circles)
    for key, child in _children(node):
        yield from _nodes(child, f"{path}.{key}", root, refs, circles=circles)


def _children(node: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, child in node.get("properties", {}).items():
        yield f"properties.{name}", child
    if "items" in node:
        yield "items", node["items"]
    for keyword in ("anyOf", "oneOf", "allOf"):
        for i, child in enumerate(node.get(keyword, ())):
            yield f"{keyword}.{i}", child


def _check_shape(path: str, node: dict[str, Any]) -> None:
    for keyword, shape in _SHAPES.items():
        if keyword in node and not isinstance(node[keyword], shape):
            raise Problem(f"{path}.{keyword}: Input should be a valid {_NAMES[shape]}")
    if not all(isinstance(name, str) for name in node.get("required", ())):
        raise Problem(f"{path}.required: Input should be a list of strings")


def _check_rules(path: str, node: dict[str, Any]) -> None:
    kinds = node.get("type", [])
    kinds = kinds if isinstance(kinds, list) else [kinds]
    for kind in kinds:
        if kind not in _TYPES:
            raise Problem(f"{path}: Schema type '{kind}' is not supported")
    if ("object" in kinds or "properties" in node) and node.get("additionalProperties") is not False:
        raise Problem(f"{path}: For 'object' type, 'additionalProperties' must be explicitly set to false")
    for keyword in _UNSUPPORTED:
        if keyword in node:
            raise Problem(f"{path}: property '{keyword}' is not supported")
    if node.get("minItems", 0) not in (0, 1):
        raise Problem(f"{path}: For 'array' type, 'minItems' values other than 0 or 1 are not supported")


def _resolve(ref: str, root: Any, path: str) -> Any:
    if not ref.startswith("#"):
        raise Problem(f"{path}: External schema references are not supported: {ref}")
    node = root
    for part in ref.removeprefix("#").split("/")[1:]:
        if not isinstance(node, dict) or part not in node:
            raise Problem(f"{path}: Reference {ref} does not exist")
        node = node[part]
    return node
