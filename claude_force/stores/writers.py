"""Whether anybody can still write to a file that has lost its name."""

from __future__ import annotations

import os
import signal
import time

from ..files import fcntl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_SETTLE_SECONDS = 0.1
"""How long a process may be on its way from a file's name to its open descriptor; nothing can ask the system that."""
_ABANDONED_SECONDS = 3600.0
"""Where the system cannot tell who has a file open: how long after its last change nobody is taken to."""


def closed(paths: Iterable[Path]) -> set[Path]:
    """Return those of `paths`, renamed just now or earlier, that nobody has open for writing, nor ever will.

    Linux grants a read lease on a file only while nobody has it open for writing, in this process or another one,
    and makes whoever opens it meanwhile wait; then the lease is marked as broken. See fcntl(2), F_SETLEASE.
    """
    paths = list(paths)
    if paths:
        time.sleep(_SETTLE_SECONDS)
    return {path for path in paths if _is_closed(path)}


def _is_closed(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # a broken lease sends SIGIO, which kills; this does not
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        return fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK
    except BlockingIOError:
        return False
    except (AttributeError, OSError):  # not Linux, or a file system without leases, or another user's file
        return time.time() - os.fstat(descriptor).st_ctime > _ABANDONED_SECONDS
    finally:
        os.close(descriptor)
