"""File names that fit a pattern, below one directory and never outside it.

`*` and `?` stay within a name, `**` spans directories, `[ab]` is one of a set. Hidden names and what tools make
(`node_modules`, `__pycache__`, virtual environments) are passed over unless the pattern spells them out.
"""

from __future__ import annotations

import os
import re
from fnmatch import translate
from pathlib import PurePath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MADE = {"node_modules", "__pycache__", "site-packages"}


def is_pattern(text: str) -> bool:
    """Say whether `text` has a wildcard, so that it may fit no file at all."""
    return any(c in text for c in "*?[")


def expand(root: Path, pattern: str) -> list[str]:
    """Return the files below `root` that fit `pattern`, sorted, as paths relative to it with `/` between names.

    A name without a wildcard is returned if that file exists. Links are followed only to files below `root`;
    a pattern that is absolute or has `..` fits nothing.
    """
    parts = PurePath(pattern).parts
    if not parts or PurePath(pattern).is_absolute() or ".." in parts:
        return []
    boundary = os.path.realpath(root)
    found = _walk(str(root), parts, "")
    return sorted({name for name in found if _inside(boundary, os.path.join(root, name))})


def _inside(boundary: str, path: str) -> bool:
    return os.path.realpath(path).startswith(boundary.rstrip(os.sep) + os.sep)


def _walk(root: str, parts: tuple[str, ...], at: str) -> Iterator[str]:
    first, rest = parts[0], parts[1:]
    if first == "**":
        yield from _walk(root, rest or ("*",), at)
        for name, is_directory in _entries(root, at):
            if is_directory and _worth_entering(root, at + name):
                yield from _walk(root, parts, f"{at}{name}/")
    elif not is_pattern(first):
        yield from _descend(root, first, rest, at)
    else:
        fits = re.compile(translate(first)).match
        for name, _ in _entries(root, at):
            if fits(name) and (not name.startswith(".") or first.startswith(".")):
                yield from _descend(root, name, rest, at)


def _descend(root: str, name: str, rest: tuple[str, ...], at: str) -> Iterator[str]:
    path = os.path.join(root, at + name)
    if not rest and os.path.isfile(path):
        yield at + name
    elif rest and os.path.isdir(path):
        yield from _walk(root, rest, f"{at}{name}/")


def _entries(root: str, at: str) -> list[tuple[str, bool]]:
    try:
        with os.scandir(os.path.join(root, at)) as entries:
            return [(e.name, e.is_dir(follow_symlinks=False)) for e in entries]
    except OSError:  # unreadable, or gone meanwhile: nothing in it fits
        return []


def _worth_entering(root: str, relative: str) -> bool:
    name = os.path.basename(relative)
    venv = os.path.exists(os.path.join(root, relative, "pyvenv.cfg"))
    return not name.startswith(".") and name not in _MADE and not venv
