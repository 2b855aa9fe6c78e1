"""The process: starts the command line, and ends at once when told to."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Run the command line in `sys.argv` and end the process with its status."""
    if sys.version_info < (3, 11):  # noqa: UP036  # a clone can be run without pip, which would have said so
        version = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"claude-force: error: needs Python 3.11 or later, this is {version}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from .cli import main as run  # here, so that Ctrl-C during the import ends as it does later

        status = run()
    except KeyboardInterrupt:
        status = 130
    if status == 130:
        _end_interrupted()
    sys.exit(status)


def _end_interrupted() -> None:
    """End without waiting for threads that hang in a call.

    Before a person, end by the signal itself: a shell's loop goes on after a mere status 130.
    """
    if sys.stdin and sys.stdin.isatty() and hasattr(os, "kill"):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(130)


if __name__ == "__main__":
    main()
