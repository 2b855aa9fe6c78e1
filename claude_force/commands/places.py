"""Where in a file stands what a problem is about, so that it can be told with its line.

It knows how agents, workflows and settings are written down, and not what any of it means.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from ..frozen import dataclass
from ..library.sources import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_ID = re.compile(r"""\bid["']?\s*[=:]\s*(?:"([^"\n]*)"|'([^'\n]*)')""")
_TEXT = re.compile(r'"(?>((?:[^"\\]+|\\.)*))"?(\s*:)?', re.DOTALL)
"""A text in JSON, and what makes it a key; one that does not end is taken whole, or each quote in it were tried."""


@dataclass(frozen=True)
class Page:
    """The text of a file: where its lines begin, from where to where each step reaches, and where each key stands."""

    text: str
    lines: Sequence[int]
    steps: Mapping[str, tuple[int, int]]
    keys: Mapping[str, Sequence[int]]


def open_page(path: Path) -> Page:
    """Return the page of the file at `path`, an empty one if it is unreadable, of which others tell."""
    text = read_text(path)
    return page(text if isinstance(text, str) else "")


def page(text: str) -> Page:
    """Return `text` with all that is looked for in it again and again, found in one pass each."""
    lines = [0, *(match.end() for match in re.finditer("\n", text))]
    keys: dict[str, list[int]] = {}
    for match in _TEXT.finditer(text):
        if match[2]:
            keys.setdefault(match[1], []).append(match.start())
    return Page(text, lines, _steps(text), keys)


def line(page: Page, at: int) -> int:
    """Return the number of the line that `at` lies in."""
    return bisect_right(page.lines, at)


def of_key(page: Page, path: Iterable[str]) -> int:
    """Return where in JSON the last key of `path` stands that is found, each behind the one before it."""
    at = 0
    for key in path:
        found = page.keys.get(key, ())
        place = bisect_right(found, at - 1)
        at = found[place] if place < len(found) else at
    return at


def of_words(page: Page, words: Iterable[str], step: str | None = None) -> int:
    """Return where the first of `words` stands that is found, in `step` if one is named, or else where that begins."""
    start, end = page.steps.get(step or "", (0, len(page.text)))
    patterns = (re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])") for word in words)
    found = (pattern.search(page.text, start, end) for pattern in patterns)
    return next((match.start() for match in found if match), start)


def of_pattern(page: Page, pattern: str) -> int:
    """Return where what fits `pattern` stands, 0 if nothing does."""
    found = re.search(pattern, page.text)
    return found.start() if found else 0


def _steps(text: str) -> dict[str, tuple[int, int]]:
    ids = [(match[1] or match[2], match.start()) for match in _ID.finditer(text)]
    ends = [*(start for _, start in ids), len(text)][1:]
    found: dict[str, tuple[int, int]] = {}
    for (name, start), end in zip(ids, ends, strict=True):
        found.setdefault(name, (start, end))
    return found
