"""A script that starts processes and tells how each went: a command in, its time and memory out, as lines of JSON.

A process of its own, and a small one. The kernel counts a child's peak memory from before it has become another
program, so whatever starts it must be smaller than what is measured; and a large process forks slowly.
"""

import json
import os
import sys
from time import perf_counter

WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
STREAMS = [(os.POSIX_SPAWN_OPEN, 1, "stdout", WRITE, 0o600), (os.POSIX_SPAWN_OPEN, 2, "stderr", WRITE, 0o600)]
"""Where a process writes to, in the working directory."""
BYTES = 1 if sys.platform == "darwin" else 1024
"""The unit of `ru_maxrss`."""


def launched(command: list[str]) -> dict[str, float]:
    """Run `command` to its end; return its status, its seconds and the most bytes of memory that it held."""
    began = perf_counter()
    process = os.posix_spawn(command[0], command, os.environ, file_actions=STREAMS)
    _, status, used = os.wait4(process, 0)
    seconds = perf_counter() - began
    return {"status": os.waitstatus_to_exitcode(status), "seconds": seconds, "memory": used.ru_maxrss * BYTES}


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(launched(json.loads(line))) + "\n")
        sys.stdout.flush()
