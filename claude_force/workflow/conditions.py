"""The `when` of a step: a value that must be there, or two values compared. Nothing in it is ever executed.

    when = "{{steps.triage.output}} contains BUG"
    when = "not {{input.fast}}"
    when = "{{input.target}} == 'the production site'"

Comparisons: `==`, `!=`, `contains`, `not contains`. A value is one word, which may hold `{{names}}`, or text in
quotes. A value alone holds unless it is empty, `false`, `no`, `off` or `0`.
"""

from __future__ import annotations

import re

from ..errors import ValidationError
from .templates import render

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_VALUE = r"""(?:"[^"]*"|'[^']*'|(?>(?:\{\{[^{}]*\}\}|(?![=!]=)[^\s"'])+))"""
# a string: `re` compiles it, in 0.5 ms, for those who have a condition
_CONDITION = (
    rf"(?P<negated>not\s+)?(?P<alone>{_VALUE})"
    rf"|(?P<left>{_VALUE})(?:\s*(?P<equality>[=!]=)\s*|\s+(?P<containment>(?:not\s+)?contains)\s+)(?P<right>{_VALUE})"
)
_FALSE = {"", "false", "no", "off", "0"}


def check(condition: str) -> None:
    """Raise ValidationError if `condition` has none of the forms above, so that it would always hold, or never."""
    _parsed(condition)


def holds(condition: str, value: Callable[[str], str]) -> bool:
    """Say whether `condition` holds, with `value` giving what each template name stands for.

    It is taken apart before values go in, so that no value can bring a comparison of its own. White space around a
    value does not count. Raises ValidationError as `check` does.
    """
    parts = _parsed(condition)
    if parts["alone"]:
        return (_operand(parts["alone"], value).lower() in _FALSE) is (parts["negated"] is not None)
    left, right = _operand(parts["left"], value), _operand(parts["right"], value)
    if parts["equality"]:
        return (left == right) is (parts["equality"] == "==")
    return (right in left) is (parts["containment"] == "contains")


def _parsed(condition: str) -> re.Match[str]:
    if match := re.fullmatch(_CONDITION, condition.strip()):
        return match
    raise ValidationError(
        f"cannot read the condition '{condition}'",
        hint="give one value, or two compared by ==, !=, contains or not contains, with quotes around several words",
    )


def _operand(text: str, value: Callable[[str], str]) -> str:
    return render(text[1:-1] if text[0] in "'\"" else text, value).strip()
