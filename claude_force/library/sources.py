"""Files of the library: which there are in a directory, and the text of one, read within limits.

A file that cannot be used is no exception here: what would be its content is a `Problem`. What a file means is not
known here.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from time import time_ns

from ..files import read_regular
from ..frozen import dataclass
from .markdown import Document, decode, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Literal

    Severity = Literal["error", "warning", "note"]

SIZE_LIMIT = 1 << 20
"""In bytes: thirty times the largest agent in public use."""
_SETTLED_NS = 3_000_000_000
"""A file that was changed less long ago may change again without its times telling: FAT counts them by two seconds."""
DEEPEST = 50
"""Parts that a key of a TOML file may have."""


@dataclass(frozen=True)
class Problem:
    """Something that the author of a file should know: where, how bad, what, and what to do."""

    path: Path
    line: int
    severity: Severity
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}; {self.remedy}"


def error(path: Path, line: int, message: str, remedy: str) -> Problem:
    """Return a problem for which a file is refused."""
    return Problem(path, line, "error", message, remedy)


def read_text(path: Path, boundary: Path | None = None) -> str | Problem:
    """Return the text of a regular file of at most `SIZE_LIMIT` bytes whose resolved path lies inside `boundary`."""
    if not _is_inside(path, boundary):
        return error(path, 1, f"this leads out of {boundary} and is not read", "put a copy in place of the link")
    try:
        data = _content(path)
    except OSError as failure:
        return error(path, 1, f"this cannot be read: {failure.strerror}", "check the path and its permissions")
    if len(data) > SIZE_LIMIT:
        return error(path, 1, f"the file is larger than {SIZE_LIMIT} bytes", "shorten it")
    try:
        return decode(data)
    except UnicodeDecodeError as failure:
        line = data.count(b"\n", 0, failure.start) + 1
        return error(path, line, f"byte {failure.start} is not {failure.encoding.upper()}", "save the file as UTF-8")


def read_document(path: Path, boundary: Path | None = None) -> Document | Problem:
    """Return the file at `path` taken apart as Markdown with front matter."""
    text = read_text(path, boundary)
    return text if isinstance(text, Problem) else _parsed(text)


_parsed = lru_cache(64)(parse)
"""A process that runs an agent again finds its text unchanged, as a rule."""


def _content(path: Path) -> bytes:
    """Return what `read_regular` does, or what it did: a process that runs an agent again finds its file unchanged."""
    state = os.stat(path)
    changed = max(state.st_mtime_ns, state.st_ctime_ns)
    if time_ns() - changed < _SETTLED_NS:
        return read_regular(path, SIZE_LIMIT + 1)
    return _unchanged(path, (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns))


@lru_cache(64)
def _unchanged(path: Path, _: tuple[int, ...]) -> bytes:
    return read_regular(path, SIZE_LIMIT + 1)


def read_data(path: Path, boundary: Path | None = None) -> dict[str, Any] | Problem:
    """Return the object in a JSON file, or in a TOML file, as which every other one is read."""
    text = read_text(path, boundary)
    if isinstance(text, Problem):
        return text
    syntax = "JSON" if path.suffix.lower() == ".json" else "TOML"
    try:
        data = _parse_json(text) if syntax == "JSON" else _parse_toml(text)
    except RecursionError:
        return error(path, 1, "its values are nested too deeply", "nest them less")
    except ValueError as failure:
        return error(path, _error_line(failure, text), f"{syntax} syntax: {failure}", "correct that line")
    return data if isinstance(data, dict) else error(path, 1, "this is no object with keys", "put its keys into { }")


def agent_files(directory: Path, boundary: Path | None = None) -> Iterator[Path]:
    """Yield the Markdown files below `directory`, and a path that cannot be read for each place that cannot be entered.

    Reading that path tells why. Links are followed, each place is entered once, hidden names are passed over.
    """
    seen: set[str] = set()
    failed: list[OSError] = []
    for place, inner, files in os.walk(directory, followlinks=True, onerror=failed.append):
        real = os.path.realpath(place)
        if real in seen:
            inner.clear()
        elif not _is_inside(place, boundary):
            inner.clear()
            yield Path(place)
        else:
            yield from (Path(place, name) for name in files if name.lower().endswith(".md") and name[0] != ".")
        inner[:] = [name for name in inner if name[0] != "."]
        seen.add(real)
    yield from (Path(failure.filename, "*.md") for failure in failed if not isinstance(failure, FileNotFoundError))


def skill_files(directory: Path) -> Iterator[Path]:
    """Yield the file `SKILL.md` of each directory in `directory` that has one."""
    for place in _contents(directory):
        if place.name == "*" or os.path.isfile(place / "SKILL.md"):
            yield place / "SKILL.md"


def workflow_files(directory: Path) -> Iterator[Path]:
    """Yield the TOML and JSON files in `directory`."""
    return (path for path in _contents(directory) if path.name == "*" or path.suffix.lower() in {".toml", ".json"})


def _contents(directory: Path) -> list[Path]:
    """List a directory without hidden names; for one that cannot be listed, a path: reading that says why."""
    try:
        return sorted(path for path in directory.iterdir() if path.name[0] != ".")
    except FileNotFoundError:
        return []
    except OSError:
        return [directory / "*"]


def _is_inside(path: Path | str, boundary: Path | None) -> bool:
    return boundary is None or Path(os.path.realpath(path)).is_relative_to(os.path.realpath(boundary))


def _parse_json(text: str) -> object:
    from json import loads

    return loads(text)


def _parse_toml(text: str) -> object:
    from tomllib import loads  # 4 ms, needed by workflows alone

    if _has_deep_key(text):  # for which the parser needs time and memory that grow with the square of its parts
        raise RecursionError
    return loads(text)


def _has_deep_key(text: str) -> bool:
    """Whether a key has more than `DEEPEST` parts, as `a.b.c` has three; what looks like one within a text counts too.

    Takes linear time: a part is taken whole or not at all, and no search begins within one.
    """
    if not any(line.count(".") >= DEEPEST for line in text.split("\n")):
        return False
    import re

    part = r"""(?>[\w-]+|"(?>(?:[^"\\\n]+|\\.)*)"|'[^'\n]*')[ \t]*\.[ \t]*"""
    return bool(re.search(rf"(?<![\w\\-])(?:{part}){{{DEEPEST}}}", text))


def _error_line(failure: ValueError, text: str) -> int:
    """Return the line of a syntax error; the TOML parser names it in its words only."""
    line = getattr(failure, "lineno", None) or str(failure).rpartition("(at line ")[2].partition(",")[0]
    return int(line) if str(line).isdecimal() else text.count("\n") + 1
