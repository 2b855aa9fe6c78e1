"""Asking before something is removed for good."""

from __future__ import annotations

import sys

from ..errors import ForceError, UsageError
from . import given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser

    from ..project.workspace import Workspace


def options(parser: ArgumentParser) -> None:
    """Add what answers the question beforehand."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def prune_options(parser: ArgumentParser) -> None:
    """Add the options of a command that removes what is older than `memory.retention_days`, or than is said."""
    parser.add_argument("--older-than", type=given.days, metavar="DAYS", help="age in days (memory.retention_days)")
    options(parser)


def ask(what: str, workspace: Workspace) -> None:
    """Return if the user agrees on the terminal to remove `what`.

    Raises UsageError where there is nobody to ask, ForceError for any reply but yes.
    """
    if sys.stdin is None or not sys.stdin.isatty() or workspace.screen.quiet:
        why = "with -q nobody is asked" if workspace.screen.quiet else "stdin is no terminal"
        raise UsageError(f"{why}, so nothing was removed: {what}", hint="say so with --yes")
    workspace.screen.note(f"remove {what}? [y/N]")
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise ForceError(f"nothing was removed, since the reply was not yes: {what}")
