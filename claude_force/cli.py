"""The roof: call the command that the words name, and turn what comes of it into an exit status."""

from __future__ import annotations

import os
import sys

from . import __version__
from .errors import ForceError, UsageError, reason
from .parsing import function_of, parse
from .terminal.output import Screen, refuse_closed_stdout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out the command line `argv`, print what came of it, and return the exit status."""
    if sys.stdout is None:
        return refuse_closed_stdout()
    words = list(sys.argv[1:] if argv is None else argv)
    screen = Screen(json="--json" in words)
    try:
        with screen:
            return _carry_out(words, screen)
    except ForceError as error:
        return screen.fail(error)
    except KeyboardInterrupt:
        return screen.interrupted()
    except BrokenPipeError:
        return screen.broken_pipe()
    except Exception as error:  # the boundary: what nobody foresaw must end in one line too
        return screen.unforeseen(error)


def _carry_out(words: list[str], screen: Screen) -> int:
    if words == ["--version"]:  # a parser of all commands takes 8 ms and has nothing to add
        screen.write(f"claude-force {__version__}\n")
        return 0
    args = parse(words)
    screen.configure(json=args.json, quiet=args.quiet, verbose=args.verbose, color=args.color)
    if args.directory:
        _change_directory(args.directory)
    from .project.workspace import Workspace  # what `--version` and `--help` need not load

    with Workspace(screen=screen, config=args.config) as workspace:
        result = function_of(args.command)(args, workspace)
    return screen.show(result)


def _change_directory(directory: str) -> None:
    try:
        os.chdir(directory)
    except OSError as error:
        raise UsageError(f"-C {directory}: {reason(error)}") from None
