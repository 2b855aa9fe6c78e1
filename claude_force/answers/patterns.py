"""Regular expressions from files that are not trusted: searched for in bounded time.

`re` can take longer than the age of the universe for `(a+)+$` and can be neither timed nor stopped. A pattern that
repeats one character at most once is searched for at once in a short text, where it takes the square of the length;
anything else in a process of its own, which can be ended.
"""

from __future__ import annotations

import re

LONGEST_SECONDS = 2.0
"""How long a search may take: what fits at all is found in milliseconds."""

_SHORT = 10_000
"""Characters of a text that is searched at once."""
_REPEATS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?|(\)?[*+?{])", re.DOTALL)
_CHILD = "import json, re, sys; p, t = json.load(sys.stdin); sys.exit(re.search(p, t) is None)"


def found(pattern: str, text: str) -> bool:
    """Say whether `pattern` is found in `text`; raises TimeoutError if that takes more than `LONGEST_SECONDS`."""
    repeats = [match[1] for match in _REPEATS.finditer(pattern) if match[1]]
    if len(repeats) <= 1 and ")" not in "".join(repeats) and len(text) <= _SHORT:
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
        raise TimeoutError(f"to search for {pattern[:80]!r} takes more than {LONGEST_SECONDS:g} s") from None
    return child.returncode == 0
