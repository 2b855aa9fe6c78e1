"""The only module that prints, save that argparse shows help and version itself.

stdout carries the result, stderr everything else.
"""

from __future__ import annotations

import json as jsons
import os
import sys
from contextlib import nullcontext, suppress

from ..errors import ForceError, Interrupted, reason
from ..reports.table import WIDEST, clean, cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self, TextIO

    from ..records import Result
    from ..running.plan import Plan
    from .board import Board


class Screen:
    """Where a command's result, progress and errors go, and how much of them is wanted."""

    def __init__(self, *, json: bool = False, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # 2>&-
        self.json = json
        self.quiet = False
        self.verbose = 0
        self.color = False
        self._at_line_start = True
        self._board: Board | None = None
        self._warned: set[str] = set()
        for stream in (self.stdout, self.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")

    def configure(self, *, json: bool, quiet: bool, verbose: int, color: str) -> None:
        """Take over what the command line says."""
        self.json, self.quiet, self.verbose = json, quiet, verbose
        self.color = _wants_color(color, self.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_board()

    def close_board(self, *, stand: bool = True) -> None:
        """Draw the steps' last state and let it stand, or take it away."""
        if self._board:
            self._board.close(stand=stand)
            self._board = None

    @property
    def live(self) -> bool:
        """Whether stderr can be drawn upon."""
        return self.stderr.isatty() and not self.quiet and os.environ.get("TERM") != "dumb"

    @property
    def streams(self) -> bool:
        """Whether an answer is shown while it comes: to a person, not to a program."""
        return self.stdout.isatty() and not self.json

    @property
    def draws_blocks(self) -> bool:
        """Whether stderr can show block characters."""
        return (self.stderr.encoding or "").lower().replace("-", "") == "utf8"

    @property
    def width(self) -> int:
        """Columns of the terminal behind stderr, 100 where there is none."""
        return _terminal(self.stderr)[0] or 100

    @property
    def height(self) -> int:
        """Lines of the terminal behind stderr, 24 where there is none."""
        return _terminal(self.stderr)[1] or 24

    @property
    def page(self) -> int:
        """Columns that a table on stdout may take: those of the terminal, or as many as it likes."""
        return _terminal(self.stdout)[0] or WIDEST

    def warn(self, text: str) -> None:
        """Say, once, that something is not as it should be, though the command goes on."""
        if text in self._warned:
            return
        self._warned.add(text)
        self._say(_one_line(text), f"claude-force: {self._paint('warning', '33')}: ")

    def note(self, text: str) -> None:
        """Tell of progress, unless asked to be quiet."""
        if not self.quiet:
            self._say(text)

    def write(self, text: str) -> None:
        """Show a piece of an answer as it comes, in the place of what showed that it was awaited."""
        self.close_board(stand=False)
        if text:
            self._put(clean(text))
            self._at_line_start = text.endswith("\n")

    def draw(self, text: str) -> None:
        """Write `text`, escape sequences and all, to stderr."""
        with suppress(OSError, ValueError):  # nobody listens to stderr; the result matters more
            self.stderr.write(text)
            self.stderr.flush()

    def board(self, plan: Plan) -> Board:
        """Return the display that follows the steps of `plan`; it is closed with the screen at the latest."""
        from .board import Board

        self._board = Board(plan, self)
        return self._board

    def show(self, result: Result) -> int:
        """Print a command's result and return its exit status."""
        self.close_board()
        if self.json and result.data is not None:
            self._print(jsons.dumps(result.data, indent=2 if self.stdout.isatty() else None, default=str))
        elif result.streamed:
            self._end_line()
        elif result.text:
            self._print(result.text)
        if result.error:
            self._complain(result.error)
        return result.exit_code

    def fail(self, error: ForceError) -> int:
        """Print an error that left no result and return its exit status."""
        if self.json:
            with suppress(BrokenPipeError, ForceError):  # what went wrong is told on stderr in any case
                self._print(jsons.dumps({"schema_version": 1, "success": False, "error": error.facts()}))
        self._complain(error)
        return error.exit_code

    def interrupted(self) -> int:
        """Print that Ctrl-C ended the command and return its exit status."""
        return self.fail(Interrupted("interrupted"))

    def broken_pipe(self) -> int:
        """End quietly: who read our output has seen enough. Returns the status of a death by SIGPIPE."""
        self._let_stdout_go()
        return 141

    def unforeseen(self, error: Exception) -> int:
        """Print an error that nobody foresaw, the system's or a defect of ours, and return the exit status."""
        if isinstance(error, OSError):
            told = ForceError(f"{error.filename or 'input or output'}: {reason(error)}")
        else:
            hint = "this is a defect of claude-force; -v -v shows where"
            told = ForceError(f"{type(error).__name__}: {cut(str(error), 500)}", hint=hint)
        told.__context__ = error
        return self.fail(told)

    def _complain(self, error: ForceError) -> None:
        hint = f"; {error.hint}" if error.hint else ""
        self._say(_one_line(error.message + hint), f"claude-force: {self._paint('error', '31')}: ")
        if self.verbose > 1 or os.environ.get("CLAUDE_FORCE_DEBUG", "0") not in {"", "0"}:
            import traceback

            self._say("".join(traceback.format_exception(error.__context__ or error)).rstrip())

    def _say(self, text: str, prefix: str = "") -> None:
        with self._board.hidden() if self._board else nullcontext():
            if self.stdout.isatty():
                self._end_line()
            self.draw(f"{prefix}{clean(text)}\n")

    def _end_line(self) -> None:
        if not self._at_line_start:
            self._print("")

    def _print(self, text: str) -> None:
        if self.stdout.isatty() and not self.json:
            text = clean(text)
        self._put(text if text.endswith("\n") else f"{text}\n")
        self._at_line_start = True

    def _put(self, text: str) -> None:
        try:
            self.stdout.write(text)
            self.stdout.flush()
        except OSError as error:
            self._let_stdout_go()
            if isinstance(error, BrokenPipeError):
                raise
            raise ForceError(f"cannot write to stdout: {reason(error)}") from None

    def _let_stdout_go(self) -> None:
        """Let what is still unwritten go nowhere: the interpreter flushes stdout once more at its end."""
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self.stdout.fileno())
        os.close(nothing)

    def _paint(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.color else text


def refuse_closed_stdout() -> int:
    """Say that stdout is closed, before an answer is paid for that nobody could get; return the exit status."""
    if sys.stderr:
        sys.stderr.write("claude-force: error: stdout is closed; let it go to a file or to /dev/null\n")
    return 1


def tell_unwritten(error: OSError) -> int:
    """Say that what was to be printed could not be written in the end; return the exit status."""
    if sys.stderr:
        sys.stderr.write(f"claude-force: error: cannot write to stdout: {reason(error)}\n")
    return 1


def _terminal(stream: TextIO) -> tuple[int, int]:
    try:
        return os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 0, 0


def _one_line(text: str) -> str:
    return cut(" ".join(text.split()), 2000)


def _wants_color(choice: str, stream: TextIO) -> bool:
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"
