"""The `when` of a step: a value that must be there, or two values compared. Nothing in it is ever executed.

    when = "{{steps.triage.output}} contains BUG"
    when = "not {{input.fast}}"
    when = "{{input.target}} == production"

Comparisons: `==`, `!=`, `contains`, `not contains`. A value alone holds unless it is empty, `false`,
`no`, `off` or `0`.
"""

from __future__ import annotations

import re

from .templates import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_COMPARISON = re.compile(r"(.+?)\s+(==|!=|contains|not\s+contains)\s+(.+)", re.DOTALL)
_FALSE = {"", "false", "no", "off", "0"}


def holds(condition: str, value: Callable[[str], str]) -> bool:
    """Say whether `condition` holds, with `value` giving what each template name stands for.

    It is taken apart before values go in, so that no value can bring a comparison of its own.
    """
    match = _COMPARISON.fullmatch(condition.strip())
    if not match:
        bare = condition.strip().removeprefix("not ")
        return (_operand(bare, value).lower() not in _FALSE) is (bare == condition.strip())
    left, right = _operand(match[1], value), _operand(match[3], value)
    comparison = match[2].split()
    if comparison[-1] == "contains":
        return (right in left) is (len(comparison) == 1)
    return (left == right) is (comparison[0] == "==")


def _operand(text: str, value: Callable[[str], str]) -> str:
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    return render(text, value).strip()
