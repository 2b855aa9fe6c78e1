"""Regular expressions from files that are not trusted: searched for in bounded time.

`re` can take longer than the age of the universe for `(a+)+$` and can be neither timed nor stopped. A pattern that
repeats at most once is searched for at once; any other one in a process of its own, which can be ended.
"""

from __future__ import annotations

import re

LONGEST_SECONDS = 2.0
"""How long a search may take: what fits at all is found in milliseconds."""

_REPEATS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|([*+{])", re.DOTALL)
_CHILD = "import json, re, sys; p, t = json.load(sys.stdin); sys.exit(re.search(p, t) is None)"


def found(pattern: str, text: str) -> bool:
    """Say whether `pattern` is found in `text`; one that cannot be found in `LONGEST_SECONDS` is not."""
    if sum(bool(match[1]) for match in _REPEATS.finditer(pattern)) <= 1:
        return re.search(pattern, text) is not None
    return _found_in_time(pattern, text)


def _found_in_time(pattern: str, text: str) -> bool:
    import sys
    from json import dumps
    from subprocess import TimeoutExpired, run  # 10 ms, for the few patterns that need it

    try:
        child = run(  # noqa: S603  # our own interpreter and program
            [sys.executable, "-I", "-S", "-c", _CHILD],
            input=dumps([pattern, text]).encode(),
            timeout=LONGEST_SECONDS,
            check=False,
        )
    except TimeoutExpired:
        return False
    return child.returncode == 0
