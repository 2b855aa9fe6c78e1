"""Long histories: what analytics, rollups, runs and searches cost beside very many executions and sessions.

The floor of whatever reads all lines is a loop that parses them and does nothing else, in a Python of its own.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from functools import partial
from itertools import islice
from statistics import median, quantiles
from time import perf_counter

from ..stores.memory import AgentMemory
from ..stores.relevance import catch_up
from ..stores.sqlite import transaction
from . import Figure, figure, interleaved, novel, synthetic
from .place import tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from .place import Ended, Place
    from .synthetic import Row

AGENT = "python-expert"
_LOOP = """\
import json, sys
with open(sys.argv[1], encoding="utf-8") as lines:
    for line in lines:
        json.loads(line)
"""
_KEEP_NOTHING = '{"version": 2, "metrics": {"retention_days": 0}}'
_STORE = (
    "INSERT INTO sessions (agent_name, task, task_hash, result, success, timestamp, metadata) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_AT_ONCE = 64
"""Sessions that enter the full-text index together, as they do when they are stored one by one."""


def history(place: Place, rounds: int, *, lines: int, sessions: int) -> Iterator[Figure]:
    """Measure the tool beside so many executions, and searches among so many sessions.

    A million of both take 2 GB of temporary room. What a process and those that it starts hold is not added up: their
    peak memory is that of the largest.
    """
    project = _project(place.directory / "long")
    file = project / ".claude" / "metrics" / "executions.jsonl"
    with file.open("wb") as stream:
        stream.writelines(synthetic.executions(lines, until=time.time()))
    yield from _whole(place, rounds, project, file, lines)
    yield from _beside(place, rounds, project, lines)
    yield from searches(place.directory / "agent_memory.db", rounds, sessions)


def searches(path: Path, rounds: int, sessions: int) -> Iterator[Figure]:
    """Measure searches, each for another text, in this process; their floor is to read the last five sessions.

    Each search takes its median over the rounds, of which the figure is the 95th percentile: on a machine that does
    other things too, one in twenty waits for its turn.
    """
    with AgentMemory(path) as memory:
        memory.warm()
        remember(path, synthetic.sessions(sessions, until=time.time()))
        asked = synthetic.queries(400)
        took = interleaved(
            rounds,
            {
                "search": lambda: [_milliseconds(partial(memory.search, text)) for text in asked],
                "recent": lambda: [_milliseconds(partial(memory.recent, 5)) for _ in asked],
            },
        )
    search, recent = ([median(times) for times in zip(*samples, strict=True)] for samples in took.values())
    floor = median(recent)
    lower, _, upper = quantiles(search, n=4)
    what = f"memory search among {sessions:,} sessions, p95 / the last five"
    target = 5 if sessions <= 100_000 else 20
    yield Figure(what, "ms", _p95(search), floor, (lower / floor, upper / floor), target, "ours at most")


def remember(path: Path, rows: Iterable[Row]) -> None:
    """Put sessions into the memory at `path`; several times as fast as it would itself, which looks for secrets."""
    waiting = iter(rows)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")  # for speed; it is not kept in the file
        while some := list(islice(waiting, _AT_ONCE)):
            with transaction(connection):
                connection.executemany(_STORE, some)
            catch_up(connection)


def _whole(place: Place, rounds: int, project: Path, file: Path, lines: int) -> Iterator[Figure]:
    """Measure what reads all lines: a summary without an index and with one, and a rollup."""
    rolled = _project(place.directory / "rolled", _KEEP_NOTHING)
    summary = partial(place.run, *tool(), "-C", project, "analytics", "summary")

    def first() -> Ended:
        for index in file.parent.glob("index.db*"):
            index.unlink()
        return summary()

    def rollup() -> Ended:
        _anew(rolled / ".claude" / "metrics", file)
        return place.run(*tool(), "-C", rolled, "metrics", "rollup")

    calls: dict[str, Callable[[], Ended]] = {
        "python": partial(place.run, sys.executable, "-c", "pass"),
        "loop": partial(place.run, sys.executable, "-c", _LOOP, file),
        "first": first,
        "again": summary,
        "rollup": rollup,
    }
    ended = interleaved(rounds, calls)
    took = {name: [1000 * e.seconds for e in samples] for name, samples in ended.items()}
    held = {name: [e.memory / 2**20 for e in samples] for name, samples in ended.items()}
    yield figure(f"analytics summary of {lines:,} lines / a bare loop", "ms", took["first"], took["loop"], 1.5)
    yield figure("... peak memory", "MiB", held["first"], held["loop"], 40, "ours at most")
    yield figure("... again / python -c pass", "ms", took["again"], took["python"], 250, "ours at most")
    yield figure("... again, peak memory", "MiB", held["again"], held["python"], 40, "ours at most")
    yield figure(f"metrics rollup of {lines:,} lines / a bare loop", "ms", took["rollup"], took["loop"], 3)
    yield figure("... peak memory", "MiB", held["rollup"], held["loop"], 60, "ours at most")
    left = [_size(rolled / ".claude" / "metrics") / 1024]
    yield figure("... what is left / the lines", "KiB", left, [file.stat().st_size / 1024], 0.01)


def _beside(place: Place, rounds: int, project: Path, lines: int) -> Iterator[Figure]:
    """Measure one call in a project with many lines and in one with none."""

    def ask(where: Path) -> Ended:
        task = f"Explain list comprehensions, {novel()}. [[simulate: latency=0s]]"
        return place.run(*tool(), "-C", where, "run", "agent", AGENT, task, "--no-cache")

    none = _project(place.directory / "none")
    ended = interleaved(4 * rounds, {"beside": partial(ask, project), "none": partial(ask, none)})
    took = {name: [1000 * e.seconds for e in samples] for name, samples in ended.items()}
    yield figure(f"run agent beside {lines:,} lines / beside none", "ms", took["beside"], took["none"], 1.05)


def _project(directory: Path, settings: str = "{}") -> Path:
    (directory / ".claude" / "metrics").mkdir(parents=True)
    (directory / ".claude" / "claude.json").write_text(settings, encoding="utf-8")
    return directory


def _anew(metrics: Path, file: Path) -> None:
    """Let a project have the lines of `file`, and nothing that was made of them."""
    shutil.rmtree(metrics)
    metrics.mkdir()
    os.link(file, metrics / file.name)


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _milliseconds(call: Callable[[], object]) -> float:
    began = perf_counter()
    call()
    return (perf_counter() - began) * 1000


def _p95(samples: Sequence[float]) -> float:
    return quantiles(samples, n=20, method="inclusive")[-1]
