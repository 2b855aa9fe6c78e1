"""Whether anybody can still write to a file that has lost its name."""

from __future__ import annotations

import os
import time

from ..files import NO_WAIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_SETTLE_SECONDS = 0.1
"""How long a process may be on its way from a file's name to its open descriptor; nothing can ask the system that."""
_ABANDONED_SECONDS = 3600.0
"""Where the system cannot tell who has a file open: how long after its last change nobody is taken to."""


def closed(paths: Iterable[Path]) -> set[Path]:
    """Return those of `paths`, which must have lost the name under which they were opened, that nobody can write to.

    Linux grants a read lease on a file only while nobody has it open for writing, in this process or another one,
    and makes whoever opens it meanwhile wait; then the lease is marked as broken. See fcntl(2), F_SETLEASE.
    """
    return {path for path in paths if _is_closed(path)}


def _is_closed(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY | NO_WAIT)
    try:
        return _keeps_lease(descriptor)
    except BlockingIOError:
        return False
    except (AttributeError, ImportError, OSError):  # not Linux, a file system without leases, another user's file
        return time.time() - os.fstat(descriptor).st_ctime > _ABANDONED_SECONDS
    finally:
        os.close(descriptor)


def _keeps_lease(descriptor: int) -> bool:
    """Whether a lease is granted and nobody breaks it for a while; raises BlockingIOError if it is refused."""
    from signal import SIG_BLOCK, SIG_SETMASK, SIGURG, pthread_sigmask, sigtimedwait  # 3 ms, which readers need not pay

    before = pthread_sigmask(SIG_BLOCK, {SIGURG})
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, SIGURG)  # in place of SIGIO, which ends a process by default
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        sigtimedwait({SIGURG}, _SETTLE_SECONDS)
        return fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK
    finally:
        pthread_sigmask(SIG_SETMASK, before)
