"""An answer that is a list: JSON values one a line, or one JSON array. It does not know what the values are for."""

from __future__ import annotations

import json

from ..errors import ValidationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def values(text: str, *, where: str, name: str) -> list[Any]:
    """Return the values that `text` lists; raises ValidationError, telling `where` the output `name` is no list."""
    lines = [line.strip() for line in text.splitlines()]
    found: list[Any] = []
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("```"):
            continue
        try:
            found.append(json.loads(line))
        except ValueError:
            return _array(text, f"{where}: line {number} of {name} is no JSON")
    return found[0] if len(found) == 1 and isinstance(found[0], list) else found


def _array(text: str, complaint: str) -> list[Any]:
    from .schema import extract

    try:
        value = extract(text)
    except ValueError:
        value = None
    if not isinstance(value, list):
        raise ValidationError(
            complaint, hint="have that step answer with one JSON value a line, or with one JSON array"
        )
    return value
