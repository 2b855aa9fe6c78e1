"""Processes of the command line, and users who may not do everything, for tests."""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def started(*words, **settings):
    """A running command line, killed at the end if it still runs."""
    command = [sys.executable, "-m", "claude_force", *words]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **{**streams, **settings}) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def unprivileged():
    """A directory of a user who may not do everything, as which the body runs."""
    place = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        os.chown(place, 65534, 65534)
        os.seteuid(65534)
    try:
        yield place
    finally:
        if root:
            os.seteuid(0)
        place.chmod(0o700)
        shutil.rmtree(place)
