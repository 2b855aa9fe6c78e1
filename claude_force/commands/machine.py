"""What `doctor` can say of this machine: Python, the terminal, directories, the disk and the clock.

Nothing here knows the settings or the network.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .. import __version__
from ..frozen import dataclass
from ..reports.table import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from ..project.workspace import Workspace

    Status = Literal["ok", "warning", "problem"]

CLOCK_SECONDS = 300
LITTLE_SPACE, NO_SPACE = 500 * 2**20, 20 * 2**20
"""In bytes free on the disk that keeps the state."""


@dataclass(frozen=True)
class Check:
    """What was looked at, how it is, what was found, and what to do if that is not well."""

    name: str
    status: Status
    found: str
    remedy: str = ""


def machine(workspace: Workspace) -> Iterator[Check]:
    """Yield the checks that need neither settings nor network."""
    yield Check("python", "ok", f"{sys.version.split()[0]}, {sys.executable}; claude-force {__version__}")
    yield encoding(workspace.screen.stdout.encoding)
    yield _home(workspace.home)
    yield from _state(workspace.state, is_project=workspace.state != workspace.home)
    place = _existing(workspace.state)
    yield space(_free_bytes(place), place)


def encoding(name: str | None) -> Check:
    """Say whether stdout can show every character, given the name of its encoding."""
    if (name or "").lower().replace("-", "").replace("_", "") == "utf8":
        return Check("encoding", "ok", "UTF-8")
    return Check("encoding", "warning", f"stdout is {name}: other characters show as \\x…", "set PYTHONUTF8=1")


def space(free: int, place: Path) -> Check:
    """Say whether `free` bytes are enough for the state on the disk of `place`."""
    found = f"{free / 2**30:.1f} GiB free at {place}"
    if free < NO_SPACE:
        return Check("disk", "problem", found, "make room: results cannot be recorded")
    status: Status = "warning" if free < LITTLE_SPACE else "ok"
    return Check("disk", status, found, "make room, or: claude-force cache prune" if free < LITTLE_SPACE else "")


def clock(date: str | None, now: float) -> Check | None:
    """Compare a server's Date header with `now`, in seconds since the epoch; None if there is nothing to compare."""
    from email.utils import parsedate_to_datetime  # 10 ms that only this command pays

    try:
        ahead = now - parsedate_to_datetime(date or "").timestamp()
    except (ValueError, OverflowError):
        return None
    if abs(ahead) <= CLOCK_SECONDS:
        return Check("clock", "ok", "agrees with the server's")
    side = "ahead of" if ahead > 0 else "behind"
    found = f"{abs(ahead) / 60:.0f} min {side} the server's"
    return Check("clock", "warning", found, "set the clock: certificates, dates of prices and budgets hang on it")


def without_key(name: str, client: str, file: Path | None) -> Check | None:
    """Say of a call that has no key what its client or its key file says of it already; None if neither does."""
    if client == "anthropic":
        return Check(name, "ok", "none: the official SDK uses its own sign-in")
    return Check(name, "problem", f"there is none in {file}", f"write it into {quoted(file)}") if file else None


def _existing(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.exists())


def _free_bytes(place: Path) -> int:
    from shutil import disk_usage  # 8 ms that only this command pays

    return disk_usage(place).free


def writable(place: Path) -> str:
    """Return the command that lets us write to a directory, '' if we can already."""
    if os.access(place, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        return ""
    ours = os.name != "posix" or place.stat().st_uid == os.geteuid()
    return f"chmod u+rwx {quoted(place)}" if ours else f'sudo chown -R "$(id -un)" {quoted(place)}'


def _home(home: Path) -> Check:
    if writable(_existing(home)):
        return Check("home", "problem", f"{home} cannot be written", "name another place in CLAUDE_FORCE_HOME")
    return Check("home", "ok", str(home) if home.is_dir() else f"{home}, made when it is needed")


def _state(state: Path, *, is_project: bool) -> Iterator[Check]:
    place = _existing(state)
    if not state.is_dir() and state.exists():
        yield Check("project", "problem", f"{state} is no directory", "move that file away")
    elif remedy := writable(place):
        yield Check("project", "problem", f"{place} cannot be written, so no state is kept", remedy)
    elif state.is_dir() and state.stat().st_mode & 0o022:
        remedy = f"chmod go-w {quoted(state)}: who can write there decides what your agents do"
        yield Check("project", "warning", f"{state} can be written by others", remedy)
    else:
        yield Check("project", "ok", str(state) if is_project else f"none here: what is run is kept in {state}")
    exposed = [p for name in _STATE if (p := state / name).exists() and p.stat().st_mode & 0o077]
    if exposed:
        names = ", ".join(p.name for p in exposed)
        remedy = f"chmod -R go= {' '.join(map(quoted, exposed))}"
        yield Check("privacy", "warning", f"others may read {names} in {state}, with prompts and answers", remedy)


_STATE = ("metrics", "cache", "runs", "agent_memory.db", "state.db")
