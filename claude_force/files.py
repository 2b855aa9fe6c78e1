"""Files that other processes write too: atomic replacement, advisory locks.

Directories are made 0700 and files 0600: prompts and answers are private.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


NO_LINK = getattr(os, "O_NOFOLLOW", 0)
"""A link in a repository must not choose which file is written; Windows has none."""
NO_WAIT = getattr(os, "O_NONBLOCK", 0)
"""Opening a pipe waits for nobody then; it means nothing for a file."""


def private_directory(path: Path) -> Path:
    """Make `path` and its missing parents, readable by their owner only, and return it.

    Raises OSError, also where a file is in the way.
    """
    missing = [p for p in (path, *path.parents) if not p.is_dir()]
    for part in reversed(missing):
        try:
            part.mkdir(mode=0o700)
        except FileExistsError:
            if not part.is_dir():  # not another process that was faster
                raise
    return path


def read_regular(path: Path, limit: int) -> bytes:
    """Return at most `limit` bytes of the file at `path`; raises OSError.

    Only of a regular file: a pipe or a terminal, which a repository's link may name, would be waited for.
    """
    require_regular(path)
    with open(path, "rb") as stream:
        return stream.read(limit)


def open_regular(path: Path) -> BinaryIO:
    """Open the file at `path` for reading, without a buffer; raises OSError as `read_regular` does."""
    require_regular(path)
    return open(path, "rb", buffering=0)


def require_regular(path: Path) -> None:
    """Raise OSError unless a regular file, or a link to one, lies at `path`."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(None, "not a regular file", str(path))


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace the file at `path` by `data`: a reader sees the old bytes or the new, also after a crash.

    The directory must exist. What is no file, such as `/dev/null` or a pipe, is written to and stays. Raises OSError
    (read-only, full disk); the old file is then untouched.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the advisory lock on the file at `path`; yield False at once if it is taken and `wait` is off.

    The lock is on a file of its own, never on data that gets replaced, and dies with its holder.
    `flock` rather than `lockf`: a POSIX record lock is lost when any descriptor of the file is closed.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | NO_LINK, 0o600)
    try:
        yield _lock(descriptor, wait)
    finally:
        os.close(descriptor)


if fcntl is None:
    import msvcrt

    def _lock(descriptor: int, wait: bool) -> bool:
        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            except OSError:  # LK_LOCK gives up after ten seconds
                if not wait:
                    return False
            else:
                return True

else:

    def _lock(descriptor: int, wait: bool) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True
