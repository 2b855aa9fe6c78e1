r"""`{{name}}` in the text of a workflow: which names a text uses, and the text with their values.

Values go in once and are not read again: a value that holds `{{…}}` stays as it is. A literal `{{` is written `\{{`.
Does not know which names exist nor where values come from.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = re.compile(r"\\\{\{|\{\{([^{}]*)\}\}")


def names(text: str) -> tuple[str, ...]:
    """Return the names that `text` uses, in order of appearance, each once."""
    return tuple(dict.fromkeys(m[1].strip() for m in _NAME.finditer(text) if m[1] is not None))


def render(text: str, value: Callable[[str], str]) -> str:
    """Return `text` with every name replaced by what `value` says of it; errors of `value` pass through."""
    return _NAME.sub(lambda m: "{{" if m[1] is None else value(m[1].strip()), text)


def escape(text: str) -> str:
    """Return `text` written so that rendering it gives `text` itself."""
    return text.replace("{{", "\\{{")


def sole_name(text: str) -> str | None:
    """Return the name if `text` is one `{{name}}` and nothing else."""
    match = _NAME.fullmatch(text.strip())
    return match[1].strip() if match and match[1] is not None else None


def origin(name: str) -> str:
    """Return the first part of a name, which says where its value comes from: `steps` of `steps.ID.output`."""
    return name.partition(".")[0]


def step_of(name: str) -> str | None:
    """Return the id in `steps.ID.output`, None if `name` is none of these."""
    step_id = name.removeprefix("steps.").removesuffix(".output")
    return step_id if step_id and name == f"steps.{step_id}.output" else None
