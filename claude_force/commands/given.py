"""What the user gives a run: the task, attached files, inputs and options, from arguments, files or stdin."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentTypeError
from pathlib import Path

from ..errors import UsageError, ValidationError
from ..project import locations
from ..records import Document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ..project.workspace import Workspace
    from ..records import Workflow


def task_options(parser: ArgumentParser) -> None:
    """Add the ways of giving a task."""
    parser.add_argument("task", metavar="TASK", nargs="?", help="what to do; - reads stdin")
    parser.add_argument("--task", dest="task_text", metavar="TEXT", help="the task, where TASK could be mistaken")
    parser.add_argument("--task-file", metavar="FILE", help="read the task from FILE; - is stdin")


def run_options(parser: ArgumentParser) -> None:
    """Add the options of a run: its limits, how models are chosen, and what the cache is for."""
    parser.add_argument("--timeout", type=seconds, metavar="T", help=_TIMEOUT)
    routing = parser.add_mutually_exclusive_group()
    routing.add_argument("--auto-model", action="store_true", default=None, help="choose models by the task")
    routing.add_argument("--no-auto-model", dest="auto_model", action="store_false", help="whatever claude.json says")
    caching = parser.add_mutually_exclusive_group()
    caching.add_argument("--no-cache", action="store_true", help="neither look into the cache nor keep the answer")
    caching.add_argument("--refresh", action="store_true", help="ask anew, and keep the new answer in the cache")
    parser.add_argument("--wait", action="store_true", help="sit it out if the API asks to wait for minutes or more")
    parser.add_argument("--max-cost", type=dollars, metavar="USD", help="send no call that could take the run above it")
    parser.add_argument("--dry-run", action="store_true", help="show the exact requests and their cost, send nothing")


_TIMEOUT = "give up after so long, in seconds or as in 90s, 5m or 2h, with status 124"


def context_options(args: Namespace) -> dict[str, Any]:
    """Return those of the options of `run_options` that `Engine.context` takes, as it takes them."""
    return {
        "timeout": args.timeout,
        "max_cost": args.max_cost,
        "use_cache": not args.no_cache,
        "refresh": args.refresh,
    }


def task(args: Namespace) -> str | None:
    """Return the task that the arguments give, or None; raises UsageError if it is given twice or unreadable."""
    given = [t for t in (args.task, args.task_text, args.task_file) if t is not None]
    if len(given) > 1:
        raise UsageError("the task is given more than once", hint="use one of TASK, --task and --task-file")
    if "-" in {args.task, args.task_file}:
        if "-" in getattr(args, "file", ()):
            raise UsageError("stdin cannot be the task and -f - at once", hint="give the task in quotes")
        return trimmed(_stdin())
    if args.task_file is not None:
        return trimmed(_file(args.task_file).text)
    return trimmed(args.task if args.task_text is None else str(args.task_text))


def trimmed(text: str | None) -> str | None:
    """Return a task without the blank lines before it and the white space behind it.

    The same words are the same task then, piped in or not; what indents the first line may be code's.
    """
    if text is None:
        return None
    kept = text.rstrip()
    first = len(kept) - len(kept.lstrip())
    return kept[kept.rfind("\n", 0, first) + 1 :]


def workflow_task(args: Namespace, workspace: Workspace) -> str | None:
    """Return the task of a workflow, or None; tells of a pipe that nothing reads. Raises UsageError."""
    text = task(args)
    if text is not None and not text.strip():
        raise UsageError("the task is empty", hint="leave it out if the workflow needs none; nothing was sent")
    if not args.resume:
        _tell_unread(args, workspace)
    return text


def required_task(args: Namespace, workspace: Workspace) -> str:
    """Return the task, from a pipe if no argument gives it; raises UsageError if there is none or it is empty.

    Tells of a pipe that nothing reads.
    """
    text = task(args)
    if text is not None:
        _tell_unread(args, workspace)
    elif "-" not in args.file:
        text = piped()
    if not text and len(args.name.split()) > 1:
        hint = f'the agent comes before the task, as in: claude-force {args.command} AGENT "{args.name}"'
        raise UsageError("AGENT is missing", hint=hint)
    return present(text, f'{args.command} {args.name} "Explain …"')


def present(text: str | None, example: str) -> str:
    """Return the task; raises UsageError, showing a command line as `example`, if there is none or it is empty."""
    if text is None or not text.strip():
        what = "no task" if text is None else "the task is empty"
        raise UsageError(what, hint=f"give it in quotes, as in: claude-force {example}")
    return text


def piped() -> str | None:
    """Return what is piped in, None if stdin is closed or a terminal."""
    return None if sys.stdin is None or sys.stdin.isatty() else trimmed(_stdin())


def _tell_unread(args: Namespace, workspace: Workspace) -> None:
    """Tell of a pipe that nothing reads, if it holds something now, or else once more at the end.

    It is not read: that would take from a shell's loop what it is to go through, or wait for a pipe that stays open.
    """
    if "-" in {args.task, args.task_file, *args.file}:
        return
    given = any(text is not None for text in (args.task, args.task_text, args.task_file))
    what = "-f - attaches it" if given else "give - to make it the task, or -f - to attach it"

    def tell() -> bool:
        if fed := _is_fed():
            workspace.screen.note(f"what is piped in is not read: {what}")
        return fed

    if not tell():
        workspace.on_close(tell)


def _is_fed() -> bool:
    """Whether a pipe on stdin holds something, or a file there is still at its beginning, as no loop leaves it."""
    import stat

    try:
        descriptor = sys.stdin.fileno()
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            return status.st_size > os.lseek(descriptor, 0, os.SEEK_CUR) == 0
        return (stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode)) and _holds_data(descriptor)
    except (AttributeError, ImportError, OSError, ValueError):  # closed, or none of the system's
        return False


def _holds_data(descriptor: int) -> bool:
    from select import POLLIN, poll  # what Windows has not, and few need

    waiting = poll()
    waiting.register(descriptor, POLLIN)
    return any(event & POLLIN for _, event in waiting.poll(0))  # and not only its end, as `select` would have it


def _stdin() -> str:
    if sys.stdin is None:
        raise UsageError("stdin is closed", hint="give the task as an argument")
    if sys.stdin.isatty():
        raise UsageError("stdin is a terminal", hint="pipe the text in, or give it as an argument")
    from .. import attachments  # with `globs` a fifth of a millisecond, which tasks given as words need not pay

    data = sys.stdin.buffer.read(attachments.LARGEST_REQUEST + 1)
    return attachments.text_of(data, "stdin")


def attached(name: str) -> Document:
    """Return the file `name`, or stdin for -, as data to attach."""
    if name == "-":
        if not (text := _stdin()).strip():
            raise UsageError("-f -: stdin is empty", hint="there is nothing to look at, and nothing was sent")
        return Document("stdin", text)
    return _file(name, "; a task goes before -f, or after --")


def _file(name: str, otherwise: str = "") -> Document:
    """Return the file `name`, relative to the working directory; raises ValidationError, telling where it does lie."""
    if not os.path.lexists(name) and not os.path.isabs(name):
        here = locations.working_directory()
        state = locations.project(here)
        hint = f"it was looked for in {here}"
        if state and (state.parent / name).is_file():
            hint = f"{hint}: for that of the project, write {os.path.relpath(state.parent / name, here)}"
        elif set("*?[") & set(name):
            hint = "without quotes, the shell finds the files of a glob"
        elif len(name.split()) > 1 or not os.path.splitext(name)[1]:
            hint += otherwise
        raise ValidationError(f"cannot read {name}: no such file or directory", hint=hint)
    from .. import attachments  # as above

    return attachments.read(Path(name), name)


def inputs(pairs: Sequence[str]) -> dict[str, str]:
    """Return the inputs given as K=V; raises UsageError for one without `=`."""
    for pair in pairs:
        if "=" not in pair:
            hint = "as in --input target=staging; a glob stands in quotes: --input files='src/*.py'"
            raise UsageError(f"--input {pair}: expected K=V", hint=hint)
    names = [pair.split("=", 1)[0] for pair in pairs]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"--input {twice} is given more than once", hint="several files are named by one glob")
    return dict(pair.split("=", 1) for pair in pairs)


def refuse_empty(values: Mapping[str, str], source: Workflow) -> None:
    """Raise UsageError if an input of `source` has no value that says by itself which files a step is about."""
    from ..workflow.templates import sole_name  # as planning needs in any case

    patterns = (text for step in source.steps for text in (*step.files, step.foreach) if isinstance(text, str))
    alone = set(map(sole_name, patterns))
    for name, value in values.items():
        if not value.strip() and f"input.{name}" in alone:
            raise UsageError(f"the input '{name}' is empty", hint="name files by it, or leave it out for its default")


def word(text: str) -> str:
    """Return what an option was given, which must not be empty, as a variable may be that a script forgot to set."""
    if not text.strip():
        raise ArgumentTypeError("expected something, got nothing")
    return text


def count(text: str) -> int:
    """Return the whole number from 0 that an option was given."""
    return 0 if text == "0" else positive(text)


def positive(text: str) -> int:
    """Return the whole number above 0 that an option was given."""
    number = int(text) if text.isdecimal() and len(text) <= _DIGITS else 0
    if not number:
        raise ArgumentTypeError(f"expected a whole number above 0, of {_DIGITS} digits at most, got '{text[:60]}'")
    return number


_DIGITS = 9
"""Of a count that a database can bear; nobody means more."""
_MOST_DOLLARS = 1_000_000_000
_LONGEST = 9e9
"""Seconds that the system can be asked to wait."""


def dollars(text: str) -> float:
    """Return the amount from 0 that was given, `0.5` or `$0.5`."""
    try:
        amount = float(text.removeprefix("$"))
    except ValueError:
        amount = -1
    if not 0 <= amount <= _MOST_DOLLARS:
        raise ArgumentTypeError(f"expected an amount in dollars from 0 to {_MOST_DOLLARS:,}, got '{text[:60]}'")
    return amount


def days(text: str) -> float:
    """Return in days the age from 0 that an option was given, `30` or `30d`."""
    age = _span(text, unit="d") / 86_400
    if not 0 <= age < 1_000_000:
        raise ArgumentTypeError(f"expected a number of days, or a time span such as 36h or 2w, got '{text[:60]}'")
    return age


def seconds(text: str) -> float:
    """Return in seconds the time span above 0 that an option was given, `30` or `5m`."""
    span = _span(text)
    if not 0 < span < _LONGEST:
        raise ArgumentTypeError(
            f"expected seconds above 0, or a time span such as 90s, 5m, 2h or 1d, got '{text[:60]}'"
        )
    return span


def _span(text: str, unit: str = "s") -> float:
    """Return in seconds what `durations.seconds` does, -1 for what is no span of time."""
    from .. import durations  # which few runs need

    try:
        return durations.seconds(text, unit=unit)
    except ValueError:
        return -1
