"""Options for runs that nobody watches: one at a time, not all at once, done in time, and an alarm if they fail.

`unattended` makes a command of `run` obey them. What `--frozen` compares is `lock`'s business.
"""

from __future__ import annotations

import os
import re
import time
from argparse import ArgumentTypeError, Namespace
from contextlib import ExitStack, contextmanager
from functools import wraps
from itertools import count

from ..errors import Busy, ForceError, Interrupted, TimedOut, UsageError, reason
from ..files import locked, private_directory
from ..records import Result
from ..reports.table import duration, one_line
from . import given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ..project.workspace import Workspace
    from ..running.plan import Plan

    Command = Callable[[Namespace, Workspace], Result]

TOO_LATE_SECONDS = 6 * 3600
"""A deadline that the clock showed so long ago is missed; one longer ago is meant for the next day."""
_LOOK_SECONDS = 0.1
_LONGEST_VALUE = 4096
"""In characters: a system refuses to start a program whose environment is too large."""


def options(parser: ArgumentParser) -> None:
    """Add the options of a run that nobody watches."""
    parser.add_argument("--frozen", action="store_true", help="refuse what differs from claude-force.lock, see 'lock'")
    parser.add_argument("--deadline", type=_clock, metavar="HH:MM", help=_DEADLINE)
    parser.add_argument("--jitter", type=given.seconds, metavar="T", help="begin after a random time from 0 to T")
    parser.add_argument("--on-fail", metavar="CMD", help=_ON_FAIL)


_DEADLINE = (
    "end like --timeout when the local clock shows HH:MM next; if it did within the last 6 hours, it is too late"
)
_ON_FAIL = (
    "shell command for when the run fails, not when it is interrupted or skipped; it is told CLAUDE_FORCE_WORKFLOW, "
    "_AGENT, _RUN_ID, _EXIT_CODE and _ERROR"
)


def lock_option(parser: ArgumentParser) -> None:
    """Add the option that lets a workflow run once at a time."""
    parser.add_argument("--lock", choices=("skip", "wait"), help="if it is running already: end with 75, or wait")


def check_frozen(plan: Plan, args: Namespace, workspace: Workspace) -> None:
    """With `--frozen`, raise ValidationError if `plan` would use anything but what is locked, and ConfigError."""
    if args.frozen:
        from .lock import check  # hashlib: 5 ms that other runs need not pay

        check(plan, workspace)


def unattended(command: Command) -> Command:
    """Return `command`, which takes what `options` adds, as one that waits, ends and raises the alarm accordingly.

    The time limit that the command sees is what is left of it after waiting: jitter is not counted, waiting for the
    lock is. A dry run waits for nothing and alarms nobody.
    """

    @wraps(command)
    def run(args: Namespace, workspace: Workspace) -> Result:
        if args.dry_run:
            return command(args, workspace)
        try:
            result = _in_turn(command, args, workspace)
        except Interrupted:
            raise
        except ForceError as error:
            _alarm(args, workspace, error.exit_code, error.message)
            raise
        except Exception as error:
            _alarm(args, workspace, 1, f"{type(error).__name__}: {error}")
            raise
        if result.error and result.exit_code != Interrupted.exit_code:
            _alarm(args, workspace, result.exit_code, result.error.message, str(result.data.get("run_id") or ""))
        return result

    return run


def is_running(state: Path, workflow: str) -> float | None:
    """Return since when somebody runs `workflow` under its lock, in seconds since the epoch; None if nobody does.

    Raises OSError where that cannot be told: something else than a file lies in the place of the lock.
    """
    path = lock_file(state, workflow)
    try:
        since = path.stat().st_mtime
        with locked(path, wait=False) as mine:
            return None if mine else since
    except FileNotFoundError:
        return None


def lock_file(state: Path, workflow: str) -> Path:
    """Return the path of the lock of `workflow`, whatever characters its name has."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", workflow):
        return state / "locks" / f"{workflow}.lock"
    from hashlib import sha256  # 5 ms, for a name that is no file name

    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", workflow)[:60]
    return state / "locks" / f"{plain}-{sha256(workflow.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}.lock"


def seconds_until(clock: str, now: float) -> float:
    """Return the seconds from `now`, since the epoch, until the local clock shows HH:MM; not above 0 if it is too late.

    It is too late while the clock has shown it within the last `TOO_LATE_SECONDS`.
    """
    hour, minute = map(int, clock.split(":"))
    today = time.localtime(now)

    def at(day: int) -> float:  # `mktime` knows how long a month is, and when clocks are changed
        return time.mktime((today.tm_year, today.tm_mon, today.tm_mday + day, hour, minute, 0, 0, 0, -1))

    if now - max(moment for moment in (at(-1), at(0), at(1)) if moment <= now) <= TOO_LATE_SECONDS:
        return 0.0
    return min(moment for moment in (at(0), at(1)) if moment > now) - now


def _in_turn(command: Command, args: Namespace, workspace: Workspace) -> Result:
    """Carry `command` out when its turn has come."""
    end = _end(args.deadline)
    _hold_off(args.jitter, end, workspace)
    end = min((t for t in (end, args.timeout and time.monotonic() + args.timeout) if t), default=None)
    if not getattr(args, "lock", None):
        return command(_limited(args, end), workspace)
    if args.name is None:
        raise UsageError("--lock needs the name of the workflow", hint="give it beside --resume")
    name = workspace.workflow(args.name).name
    with _alone(name, workspace, end, wait=args.lock == "wait") as since:
        return command(_limited(args, end), workspace) if since is None else _skipped(name, since, workspace)


def _end(deadline: str | None) -> float | None:
    """Return the `time.monotonic()` of the deadline; raises TimedOut if it is over."""
    if deadline is None:
        return None
    if not (left := seconds_until(deadline, time.time())):
        hint = f"it counts as missed for {TOO_LATE_SECONDS // 3600} hours, and nothing was sent"
        raise TimedOut(f"it is past the deadline, {deadline}", hint=hint, retryable=False)
    return time.monotonic() + left


def _hold_off(jitter: float | None, end: float | None, workspace: Workspace) -> None:
    """Wait for a random part of `jitter` seconds; raises TimedOut if `end` comes first."""
    if not jitter:
        return
    from ..client.retry import uniform

    seconds = uniform() * jitter
    if end is not None and time.monotonic() + seconds >= end:
        raise _late("before the run began")
    if workspace.screen.verbose:
        workspace.screen.note(f"starting in {duration(seconds)}")
    _pause(seconds)


def _pause(seconds: float) -> None:
    """Sleep, and end early only by a signal: the lock of another process tells nobody that it is free."""
    time.sleep(seconds)


def _limited(args: Namespace, end: float | None) -> Namespace:
    """Return `args` with the time limit that is left; raises TimedOut if none is."""
    if end is None:
        return args
    if (left := end - time.monotonic()) <= 0:
        raise _late("before the run began")
    return Namespace(**{**vars(args), "timeout": left})


def _late(when: str) -> TimedOut:
    return TimedOut(f"the time limit passed {when}", hint="nothing was sent", retryable=False)


@contextmanager
def _alone(workflow: str, workspace: Workspace, end: float | None, *, wait: bool) -> Iterator[float | None]:
    """Hold the workflow's lock and yield None; if it is taken, `wait` for it until `end`, or yield since when it is.

    A holder that dies, however it dies, lets go of it. Raises TimedOut, and ForceError where no lock can be had.
    """
    path = lock_file(workspace.state, workflow)
    for look in count():
        with _locked(path) as mine:
            if mine:
                os.utime(path)  # tells others since when
                yield None
                return
            since = path.stat().st_mtime
        if look and not wait:  # not at the first look: `status` may have been looking too
            yield since
            return
        if wait and not look:
            workspace.screen.note(f"{_running(workflow, since)}; waiting for it to end")
        if end is not None and time.monotonic() >= end:
            raise _late(f"while another process was running '{workflow}'")
        _pause(_LOOK_SECONDS if end is None else min(_LOOK_SECONDS, max(end - time.monotonic(), 0)))


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    with ExitStack() as held:
        try:
            private_directory(path.parent)
            mine = held.enter_context(locked(path, wait=False))
        except OSError as error:
            hint = "nothing was sent; remove it if it is no file, see that it can be written, or leave out --lock"
            raise ForceError(f"cannot lock {path}: {reason(error)}", hint=hint) from None
        yield mine


def _skipped(workflow: str, since: float, workspace: Workspace) -> Result:
    """Return the result of not running; it is no error, so `-q` keeps quiet about it and cron sends no mail."""
    busy = Busy(_running(workflow, since), hint="try again later")
    workspace.screen.note(f"{busy.message}: skipped")
    data = {"schema_version": 1, "workflow": workflow, "success": False, "skipped": True, "error": busy.facts()}
    return Result(data, exit_code=busy.exit_code)


def _running(workflow: str, since: float) -> str:
    return (
        f"workflow '{workflow}' is running already, since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(since))}"
    )


def _alarm(args: Namespace, workspace: Workspace, status: int, message: str, run_id: str = "") -> None:
    """Have the user's shell carry out what `--on-fail` says; facts go by the environment, never into its text."""
    if not args.on_fail:
        return
    import subprocess  # 10 ms, for a run that failed

    kind, other = ("AGENT", "WORKFLOW") if args.command == "run agent" else ("WORKFLOW", "AGENT")
    facts = {kind: args.name or "", other: "", "RUN_ID": run_id, "EXIT_CODE": str(status), "ERROR": message}
    told = {f"CLAUDE_FORCE_{name}": _value(text) for name, text in facts.items()}
    screen = workspace.screen
    screen.close_board()
    try:
        ended = subprocess.run(  # noqa: S602 - a command line of the user's own, for their own shell
            args.on_fail,
            shell=True,
            check=False,
            env={**os.environ, **told},
            stdin=subprocess.DEVNULL,
            stdout=screen.stderr,
            stderr=screen.stderr,
        )
    except OSError as error:
        screen.warn(f"--on-fail could not be carried out: {reason(error)}")
        return
    if ended.returncode:
        screen.warn(f"--on-fail ended with status {ended.returncode}")


def _value(text: str) -> str:
    """Return `text` as an environment can hold it."""
    return one_line(text)[:_LONGEST_VALUE].encode("utf-8", "backslashreplace").decode()


def _clock(text: str) -> str:
    if not re.fullmatch(r"([01]?[0-9]|2[0-3]):[0-5][0-9]", text):
        raise ArgumentTypeError(f"expected a time of day from 00:00 to 23:59, got '{text}'")
    return text
