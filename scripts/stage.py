"""What `scripts/stress` and `scripts/chaos` share: a project for each phase, processes that play in it, a census.

A process is a fork with all modules loaded: a kill hits it at work, not at its imports. It knows nothing of what the
processes do, nor of what is counted.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
WIDTH = 160

from claude_force import cli  # noqa: E402  # beside the scripts
from claude_force.reports.table import table  # noqa: E402


class Stage:
    """One phase: a project of its own, the processes that play in it, where they tell of it, and what went wrong."""

    def __init__(self, place, name, options):
        self.place = place / name
        self.name = name
        self.options = options
        self.chance = random.Random(f"{options.seed} {name}")
        self.project, self.told = self.place / "project", self.place / "told"
        self.state = self.project / ".claude"
        for directory in (self.state, self.told):
            directory.mkdir(parents=True)
        self.problems = []
        self.killed = []
        """The roles of the processes that were killed."""
        self._roles = {}

    def play(self, role, *args, **options):
        """Start a process in `role`, which is given the project, and return its pid."""
        pid = fork(self.told / self.sign(role), role, self.project, *args, **options)
        self._roles[pid] = role
        return pid

    def sign(self, role):
        """Return a name for the next process, as no other has it."""
        return f"{self.name}{role.__name__}{len(self._roles) + 1}"

    def end(self, pids):
        """Wait for processes; each must end by itself, and well."""
        for pid in pids:
            self.expect(pid, 0)

    def kill(self, pid):
        """Kill a process; what it was doing may be done or not."""
        os.kill(pid, signal.SIGKILL)
        self.killed.append(self._roles[pid])
        self.expect(pid, -signal.SIGKILL)

    def expect(self, pid, *statuses):
        """Wait for a process and return how it ended; any other of the `statuses` is a problem."""
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if ended not in statuses:
            wanted = " or ".join(map(str, statuses))
            self.problems.append(f"a process that was to {self._roles[pid].__name__} ended with {ended}, not {wanted}")
        return ended


def fork(told, play, *args, **options):
    """Start a process that plays `play`, its stdout and stderr in files named after `told`; return its pid.

    It ends with the status that `play` returns, None being 0.
    """
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for descriptor, suffix in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(f"{told}{suffix}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), descriptor)
        status = play(*args, **options)
        sys.stdout.flush()
        os._exit(status or 0)
    except BaseException:  # a fork must not go on in the code of its parent
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(1)


def called(project, *words):
    """Return status, stdout and stderr of a command in `project`, carried out in this process."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        status = cli.main(["-q", "--json", "-C", str(project), *words])
    return status, out.getvalue(), err.getvalue()


def acknowledged(directory, names="*"):
    """Return what processes acknowledged by lines of JSON in files of such `names`, and what any process said."""
    files = sorted(directory.glob(f"{names}.out"))
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    said = [path.read_text(encoding="utf-8").strip() for path in sorted(directory.glob("*.err"))]
    return [json.loads(line) for line in lines], [text for text in said if text]


def whole(text):
    """Return the object of a line, None for a line that is damaged."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def limit_files(limit):
    """Let no file grow beyond `limit` bytes, as on a full disk: what is written then fails."""
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def isolate(home):
    """Let all that follows have its `.claude` in `home`, and a key for nobody; what the user has set does not count."""
    for name in list(os.environ):
        if name.startswith(("ANTHROPIC_", "CLAUDE_FORCE_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ.update(HOME=str(home), CLAUDE_FORCE_HOME=str(home / ".claude"), PYTHONPATH=str(ROOT))
    os.environ["ANTHROPIC_API_KEY"] = "key-for-nobody"


def perform(phases, place, options, prepare):
    """Go through the phases that `options` name, each on a stage that `prepare` made ready.

    Return the rows of the census, summaries, and all problems.
    """
    rows, summaries, problems = [], [], []
    for name in options.only:
        note(f"{name}: {phases[name].__doc__.splitlines()[0]}")
        stage = Stage(place, name, options)
        prepare(stage)
        began = time.monotonic()
        summary, counted = phases[name](stage)
        summaries.append(f"{name}, {time.monotonic() - began:.1f} s: {summary}")
        rows += counted
        problems += [f"{name}: {text}" for text in stage.problems]
    return rows, summaries, problems


def conclude(place, headings, found, praise):
    """Print the census that `perform` found, and `praise` if all is well; return 0 if it is, or 1.

    Then `place` is removed; otherwise it stays.
    """
    rows, summaries, problems = found
    cells = [(*row.cells, "ok" if row.ok else "WRONG") for row in rows]
    print(table((*headings, ""), cells, width=WIDTH), *summaries, *problems, sep="\n")
    if problems or not all(row.ok for row in rows):
        note(f"all is left as it was in {place}")
        return 1
    shutil.rmtree(place)
    print(praise)
    return 0


def temporary(name):
    """Return a new directory below TMPDIR."""
    return Path(tempfile.mkdtemp(prefix=f"claude-force-{name}-"))


def note(text):
    """Say something that is not the result."""
    print(text, file=sys.stderr, flush=True)
