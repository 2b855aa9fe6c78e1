"""Spans of time as people write them: a plain number of seconds, or a number with its unit.

It does not know what a span is for, nor which are too long or too short for that.
"""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_SPAN = rf"(\d{{1,15}}(?:\.\d*)?|\.\d+)\s*({'|'.join(_SECONDS)})"


def seconds(text: str, *, unit: str = "s") -> float:
    """Return the seconds that `30`, `30s`, `250ms`, `5m`, `2h`, `1d` or `1w` mean; a number alone is of `unit`.

    Raises ValueError for anything else.
    """
    match = re.fullmatch(_SPAN, text.strip(), re.ASCII)  # compiled where it is needed: most commands are given none
    if match is None:
        raise ValueError(f"'{text}' is no span of time")
    return float(match[1]) * _SECONDS[match[2] or unit]
