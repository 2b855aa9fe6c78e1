"""Files to attach: found below the project's directory, read once, refused if they are no text or too much of it."""

from __future__ import annotations

import os

from .errors import ValidationError, reason
from .globs import expand, is_pattern
from .library.markdown import decode
from .records import Document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    Expand = Callable[[Path, str], list[str]]
    """Returns the names of the files below a directory that fit a pattern."""

LARGEST_REQUEST = 32 * 2**20
"""Bytes that the API takes in one request."""


def find(root: Path, patterns: Iterable[str], *, expand: Expand = expand) -> list[str]:
    """Return the names below `root` that fit the patterns, each once, in the order of the patterns.

    Raises ValidationError for a plain name that is not there, and if no pattern fits anything. `expand` is that of
    `globs`, or one that remembers what it found.
    """
    found = {p: expand(root, p) for p in patterns}
    for pattern, fitting in found.items():
        if not fitting and not (is_pattern(pattern) and any(found.values())):
            hint = "paths are relative to the project and cannot leave it; hidden files must be spelled out"
            if spelled := meant_from_here(root, pattern):
                hint = f"paths are relative to the project: write {spelled}"
            raise ValidationError(f"no file below {root} fits '{pattern}'", hint=hint)
    return list(dict.fromkeys(name for fitting in found.values() for name in fitting))


def meant_from_here(root: Path, pattern: str) -> str:
    """Return `pattern`, seen from the working directory, as it is spelled from `root`; '' if no file fits that."""
    spelled = os.path.relpath(os.path.join(os.getcwd(), pattern), os.path.realpath(root))
    return spelled if expand(root, spelled) else ""


def read(path: Path, name: str) -> Document:
    """Return the text file at `path`; raises ValidationError if it is unreadable, binary or above 32 MiB."""
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST_REQUEST + 1)
    except OSError as error:
        raise ValidationError(f"cannot read {name}: {reason(error)}") from None
    return Document(name, text_of(data, name))


def text_of(data: bytes, name: str) -> str:
    """Return `data`, read from `name`, as text; raises ValidationError if it is none or above 32 MiB."""
    if len(data) > LARGEST_REQUEST:
        raise ValidationError(f"{name} has more than 32 MiB, the API takes no more in a request")
    if b"\0" in data[:8192] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValidationError(f"{name} is binary", hint="attach text only")
    try:
        return decode(data)
    except ValueError as error:
        raise ValidationError(f"{name}: {error}", hint="give UTF-8 text; iconv can convert it") from None


def check_size(files: Sequence[Document], task: str) -> None:
    """Raise ValidationError, naming the largest file, if `files` and `task` pass what one request may hold."""
    sizes = [(_bytes(f.text), f.name) for f in files]
    total = _bytes(task) + sum(size for size, _ in sizes)
    if total > LARGEST_REQUEST:
        size, name = max(sizes, default=(0, ""))
        about = f"; the largest file is {name} with {size / 2**20:.1f} MiB" if name else ""
        raise ValidationError(
            f"the request has {total / 2**20:.1f} MiB, the API takes 32{about}", hint="attach less, or split the work"
        )


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
