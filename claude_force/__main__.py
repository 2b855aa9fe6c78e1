"""The process: starts the command line, and ends at once when told to."""

from __future__ import annotations

import gc
import os
import signal
import sys
from _thread import start_new_thread
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_PATIENCE_SECONDS = 0.9
"""How long what was in flight may take to be recorded: a lock that another process holds is not waited for."""


def main() -> NoReturn:
    """Run the command line in `sys.argv` and end the process with its status.

    All that was opened is closed by then, and what is left, the system takes back faster than the interpreter, which
    would take everything apart first: a tenth of the time of an answer from the cache.
    """
    if sys.version_info < (3, 11):  # noqa: UP036  # a clone can be run without pip, which would have said so
        version = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"claude-force: error: needs Python 3.11 or later, this is {version}")
    # what a start makes is there to stay: to look through it for garbage again and again takes 4 ms
    gc.set_threshold(50_000, 20, 20)
    try:
        _listen()
        _wait_for_readers()
        from .cli import main as run  # here, so that Ctrl-C during the import ends as it does later

        status = run()
    except KeyboardInterrupt:
        status = 130
    except SystemExit as end:  # argparse, when it has shown its help
        status = end.code if isinstance(end.code, int) else 0
    if status == 130:
        _end_interrupted()
    unwritten = _flushed()
    os._exit(status or unwritten)


def _wait_for_readers() -> None:
    """Have a write wait for a slow reader: some parents leave their pipes so that what does not fit is lost."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream and os.name == "posix":
                os.set_blocking(stream.fileno(), True)
        except (OSError, ValueError):  # it is closed, which is found out when it is written to
            continue


def _flushed() -> int:
    """Write what is still unwritten, and return the status of that: a reader that went away costs none."""
    for stream in (sys.stderr, sys.stdout):  # each on its own: what one cannot write must not keep the other back
        try:
            if stream:
                stream.flush()
        except BrokenPipeError:
            continue
        except OSError as error:
            from .terminal.output import tell_unwritten  # loaded by then, and not before it is needed

            if stream is sys.stdout:
                return tell_unwritten(error)
    return 0


def _listen() -> None:
    """Have Ctrl-C, SIGTERM and a terminal that goes away interrupt the command.

    A signal that is ignored stays so: a shell does that to what runs in the background, and `nohup` to SIGHUP.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    if os.name == "posix":
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        start_new_thread(_end_in_time, (reader,))  # `threading` would be another import before anything is done


def _interrupt(*_: object) -> NoReturn:
    """Interrupt the command, once; the next Ctrl-C ends the process at once.

    A closing terminal sends SIGHUP twice, and a supervisor may follow SIGTERM by another: neither is in a hurry.
    """
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise KeyboardInterrupt


def _end_in_time(signals: int) -> None:
    """End the process when its patience is over after the first signal, or at once after a second Ctrl-C.

    In a thread of its own: while the main one waits in C, as SQLite does for another process's lock, nothing that is
    written in Python hears of a signal there.
    """
    from select import select

    os.read(signals, 1)
    end = monotonic() + _PATIENCE_SECONDS
    while (left := end - monotonic()) > 0:
        if select([signals], [], [], left)[0] and os.read(signals, 1)[0] == signal.SIGINT:
            break
    _end_interrupted()


def _end_interrupted() -> NoReturn:
    """End without waiting for threads that hang in a call.

    Before a person, end by the signal itself: a shell's loop goes on after a mere status 130.
    """
    if sys.stdin and sys.stdin.isatty() and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(130)


if __name__ == "__main__":
    main()
