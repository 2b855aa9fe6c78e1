"""Where measurements take place: a home of their own, the simulator in a process of its own, and what starts others.

What the user has set does not count there, and every process is of the interpreter that runs this.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import ForceError, UsageError
from ..project.workspace import Workspace
from ..terminal.output import Screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SERVE = """\
from claude_force.simulator import Behaviour, serve_forever
serve_forever(Behaviour(), "127.0.0.1", 0, lambda url: print(url, flush=True))
"""


@dataclass(frozen=True)
class Ended:
    """How a process went: seconds from its start to its end, and the most bytes of memory that it held."""

    seconds: float
    memory: int


class Place:
    """A temporary project, the far end at `url`, and a small process that starts those that are measured."""

    def __init__(self, directory: Path, url: str, launcher: subprocess.Popen[str]) -> None:
        self.directory = directory
        self.url = url
        self._launcher = launcher

    def run(self, *command: str | Path) -> Ended:
        """Run `command` in the project to its end. Raises ForceError if it fails."""
        assert self._launcher.stdin
        assert self._launcher.stdout
        self._launcher.stdin.write(json.dumps([str(word) for word in command]) + "\n")
        self._launcher.stdin.flush()
        told = json.loads(self._launcher.stdout.readline())
        if told["status"]:
            complaint = (self.directory / "stderr").read_text(errors="replace").strip().rpartition("\n")[2]
            raise ForceError(f"{' '.join(map(str, command[:4]))}: status {told['status']}: {complaint}")
        return Ended(told["seconds"], told["memory"])

    def printed(self) -> str:
        """Return what the last process wrote on stdout."""
        return (self.directory / "stdout").read_text(encoding="utf-8")

    def workspace(self, *, stores: bool = True, start: Path | None = None) -> Workspace:
        """Return a workspace of this project, or the one at `start`, whose calls go to the far end."""
        screen = Screen(stdout=sys.stderr)
        screen.quiet = True
        environment = _environment(self.directory, self.url)
        config = None if stores else self.without_stores
        return Workspace(screen=screen, start=start or self.directory, environment=environment, config=config)

    @property
    def without_stores(self) -> Path:
        """Settings that switch cache, memory and metrics off."""
        path = self.directory / "without-stores.json"
        features = dict.fromkeys(("cache_enabled", "memory_enabled", "metrics_enabled"), False)
        path.write_text(json.dumps({"features": features}), encoding="utf-8")
        return path


@contextmanager
def place() -> Iterator[Place]:
    """Open a place and close it in the end. Raises UsageError where processes cannot be measured."""
    if not hasattr(os, "posix_spawn"):
        raise UsageError("bench cannot measure processes on this system", hint="run it on Linux or macOS")
    with tempfile.TemporaryDirectory(prefix="claude-force-bench-") as name:
        directory = Path(name) / "home" / "project"
        (directory / ".claude").mkdir(parents=True)
        outside = _environment(directory, "")
        with _process([sys.executable, "-c", _SERVE], directory, outside) as far_end:
            assert far_end.stdout
            url = far_end.stdout.readline().strip()
            script = str(Path(__file__).with_name("launcher.py"))
            inside = _environment(directory, url)
            with _process([sys.executable, "-I", "-S", script], directory, inside) as launcher:
                yield Place(directory, url, launcher)


def tool() -> list[str]:
    """Return the command that starts the tool: the script that was installed, or the package as a module."""
    script = _script()
    return [str(script)] if script.is_file() else [sys.executable, "-m", "claude_force"]


def _script() -> Path:
    return Path(sys.executable).with_name("claude-force")


@contextmanager
def _process(command: list[str], directory: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    started = subprocess.Popen(  # noqa: S603 - this interpreter, on scripts of ours
        command, cwd=directory, env=environment, stdin=pipe, stdout=pipe, text=True
    )
    with started as process:
        try:
            yield process
        finally:
            process.terminate()


def _environment(directory: Path, url: str) -> dict[str, str]:
    variables = {
        "PATH": os.defpath,
        "HOME": str(directory.parent),
        "CLAUDE_FORCE_HOME": str(directory.parent / ".claude"),
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "sk-simulated",
    }
    if not _script().is_file():  # run from a checkout, which another directory's processes would not find
        variables["PYTHONPATH"] = str(Path(__file__).parents[2])
    return variables
