"""File names that fit a pattern, below one directory and never outside it.

`*` and `?` stay within a name, `**` spans directories, `[ab]` is one of a set. Hidden names and what tools make
(`node_modules`, `__pycache__`, virtual environments) are passed over unless the pattern spells them out.
"""

from __future__ import annotations

import os
import re
from fnmatch import translate
from itertools import pairwise
from pathlib import PurePath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    _Seen = set[tuple[str, int]]
    """Directories that were gone through, each with the number of parts of the pattern that it was for."""

_MADE = {"node_modules", "__pycache__", "site-packages"}


def is_pattern(text: str) -> bool:
    """Say whether `text` has a wildcard, so that it may fit no file at all."""
    return any(c in text for c in "*?[")


def expand(root: Path, pattern: str) -> list[str]:
    """Return the files below `root` that fit `pattern`, sorted, as paths relative to it with `/` between names.

    A name without a wildcard is returned if that file exists, and so is one whose only wildcards are the brackets of
    a name that exists, as in `[id].ts`. Links are followed only to what lies below `root`; a pattern that is absolute
    or has `..` fits nothing.
    """
    path = PurePath(pattern)
    if not path.parts or path.is_absolute() or ".." in path.parts:
        return []
    parts = [part for before, part in pairwise(("", *path.parts)) if not before == part == "**"]
    return sorted(set(_walk(os.path.realpath(root), parts, "", set())))


def _walk(root: str, parts: Sequence[str], at: str, seen: _Seen) -> Iterator[str]:
    """Yield what fits `parts` below `at`; without `seen`, all ways for several `**` to share a path would be tried."""
    first, rest = parts[0], parts[1:]
    if first == "**":
        for directory in _directories(root, at, len(parts), seen):
            yield from _walk(root, rest or ["*"], directory, seen)
    elif _is_literal(first, os.path.join(root, at)):
        yield from _descend(root, first, rest, at, seen)
    else:
        fits = re.compile(translate(first)).match
        for name, _ in _entries(root, at):
            visible = not name.startswith(".") or first.startswith(".")
            if fits(name) and visible and not (rest and _is_made(root, at + name)):
                yield from _descend(root, name, rest, at, seen)


def _is_literal(part: str, directory: str) -> bool:
    brackets_only = "*" not in part and "?" not in part
    return not is_pattern(part) or (brackets_only and os.path.lexists(os.path.join(directory, part)))


def _descend(root: str, name: str, rest: Sequence[str], at: str, seen: _Seen) -> Iterator[str]:
    path = os.path.join(root, at + name)
    if _leads_out(root, path):
        return
    if rest and os.path.isdir(path):
        yield from _walk(root, rest, f"{at}{name}/", seen)
    elif not rest and os.path.isfile(path):
        yield at + name


def _directories(root: str, at: str, left: int, seen: _Seen) -> Iterator[str]:
    """Yield `at` and every directory below it that is worth entering; a link is not, it could lead in a circle.

    One that was yielded before, with as much of the pattern `left`, is not yielded again.
    """
    waiting = [at]
    while waiting:
        at = waiting.pop()
        if (at, left) in seen:
            continue
        seen.add((at, left))
        yield at
        for name, is_directory in _entries(root, at):
            if is_directory and not name.startswith(".") and not _is_made(root, at + name):
                waiting.append(f"{at}{name}/")


def _entries(root: str, at: str) -> list[tuple[str, bool]]:
    """Return the names in a directory, each with whether it is a directory and no link to one."""
    try:
        with os.scandir(os.path.join(root, at)) as entries:
            return [(e.name, e.is_dir(follow_symlinks=False)) for e in entries]
    except OSError:  # unreadable, or gone meanwhile: nothing in it fits
        return []


def _is_made(root: str, relative: str) -> bool:
    return os.path.basename(relative) in _MADE or os.path.exists(os.path.join(root, relative, "pyvenv.cfg"))


def _leads_out(root: str, path: str) -> bool:
    return os.path.islink(path) and not os.path.realpath(path).startswith(root.rstrip(os.sep) + os.sep)
