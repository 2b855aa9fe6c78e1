"""Where a user's own things and a project's lie, found from the environment and the working directory."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def working_directory() -> Path:
    """Return the working directory; raises UsageError if it was deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("the working directory is gone", hint="change to one that is there, or give -C") from None


def home(environment: Mapping[str, str]) -> Path:
    """Return the directory of the user's own settings, library and state."""
    if named := environment.get("CLAUDE_FORCE_HOME"):
        return Path(named).absolute()
    if environment.get("HOME") == "":  # everybody's state would lie at the root
        raise UsageError("HOME is empty", hint="set it to your home directory, or leave it unset")
    return Path(os.path.expanduser("~")).absolute() / ".claude"


def project(start: Path) -> Path | None:
    """Return the `.claude` directory nearest above `start`; the one in the home directory makes no project.

    Raises UsageError for one with links in it by which we would write elsewhere; it may be a link itself.
    """
    users = os.path.realpath(Path(os.path.expanduser("~")) / ".claude")
    for directory in (start, *start.parents):
        found = directory / ".claude"
        if os.path.isdir(found):  # `Path.is_dir` raises where it may not look
            if os.path.realpath(found) == users:
                return None  # and what lies above a home may be anybody's
            _refuse_links(found)
            return found
    return None


_STATE = (
    *("metrics", "metrics/executions.jsonl", "metrics/index.db", "metrics/rollups", "metrics/segments"),
    *("cache", "cache/responses.db", "cache/embeddings.db", "runs", "locks", "holders", "agent_memory.db", "state.db"),
)
"""What is written in place below `.claude`: all else is renamed into its place, or not opened where it is a link."""


def _refuse_links(state: Path) -> None:
    """Raise UsageError if something that we write to is a link: also within a project it could lead to the sources."""
    for name in _STATE:
        path = os.path.join(state, name)
        if os.path.islink(path):
            raise UsageError(
                f"{path} is a link, by which state would be kept elsewhere", hint=f"look at it, and remove it: {path}"
            )
