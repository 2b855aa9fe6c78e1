"""The user's own key: with it a store tells what this user wrote from what came with a cloned repository."""

from __future__ import annotations

import os
from errno import EACCES

from .files import locked, private_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

NAME = "cache.key"
SIZE = 32
"""Bytes of a key, as many as SHA-256 gives."""


def user_secret(home: Path) -> bytes:
    """Return the 32 random bytes in `cache.key` in the directory `home`, made on first need, 0600.

    Processes that make it at once end with the same key; one cut short by a crash is made anew. Raises OSError where
    it cannot be read or made, and PermissionError where others can read it: they could sign what they like.
    """
    path = home / NAME
    return _read(path) or _make(path)


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_mode & 0o077 and os.name == "posix":
                raise PermissionError(EACCES, "others can read it: delete it and a new one is made", str(path))
            key = stream.read(SIZE + 1)
    except FileNotFoundError:
        return None
    return key if len(key) == SIZE else None


def _make(path: Path) -> bytes:
    """Write a new key in place: the file is never replaced, so that its own lock keeps other makers out."""
    private_directory(path.parent)
    with locked(path):
        if key := _read(path):
            return key
        key = os.urandom(SIZE)
        with path.open("wb") as stream:
            stream.write(key)
            stream.flush()
            os.fsync(stream.fileno())
        return key
