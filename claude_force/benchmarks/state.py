"""What survives a process: an answer from the cache, what an execution costs to record, and a look into the cache."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from functools import partial
from time import perf_counter

from ..records import Reply, payload
from ..running import plan as plans
from ..running.runner import run
from . import bare, figure, interleaved, novel
from .place import tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ..project.workspace import Workspace
    from ..running.plan import Plan
    from ..stores.cache import ResponseCache
    from . import Figure
    from .place import Place

AGENT = "python-expert"
ANSWER = "The loop builds a list that nobody reads. " * 100
"""About 4 KB."""
_CALLS = 20


def cached(place: Place, rounds: int, *, entries: int = 10_000) -> Iterator[Figure]:
    """Measure whole processes that answer from the cache, among few entries and among many."""
    few, many = _projects(place, entries)
    ask = (*tool(), "run", "agent", AGENT, "Explain list comprehensions.")
    ended = interleaved(
        rounds,
        {
            "python": partial(place.run, sys.executable, "-c", "pass"),
            "few": partial(place.run, *ask, "-C", few),
            "many": partial(place.run, *ask, "-C", many),
        },
    )
    took = {name: [1000 * e.seconds for e in samples] for name, samples in ended.items()}
    held = {name: [e.memory / 2**20 for e in samples] for name, samples in ended.items()}
    yield figure("an answer from the cache / python -c pass", "ms", took["few"], took["python"], 5)
    yield figure("an answer from the cache, peak memory", "MiB", held["few"], held["python"], 25, "ours at most")
    yield figure(f"... among {entries:,} entries / among few", "ms", took["many"], took["few"], 1.1)


def executions(place: Place, rounds: int) -> Iterator[Figure]:
    """Measure what one execution costs in this process beyond its call, with all stores, and their parts."""
    with place.workspace() as workspace, closing(bare.connection(place.url)) as connection:
        plan = _plan(workspace)
        body = json.dumps({**payload(plans.request(plan, plan.jobs[AGENT], {})), "stream": True}).encode()
        took = interleaved(
            rounds,
            {
                "ours": partial(_timed, lambda: _execute(workspace)),
                "bare": partial(_timed, lambda: bare.call(connection, body)),
            },
        )
        own = [ours - floor for ours, floor in zip(took["ours"], took["bare"], strict=True)]
        yield figure("an execution, all stores, beyond the bare call", "ms", own, took["bare"], 1.0, "ours at most")
        cache = workspace.stores.cache
        assert cache
        yield from _look_ups(cache, rounds, took["bare"])


def _look_ups(cache: ResponseCache, rounds: int, call: list[float]) -> Iterator[Figure]:
    reply = Reply(ANSWER, "claude", "end_turn")
    known = novel()
    cache.put(known, reply)
    took = interleaved(
        rounds,
        {"get": partial(_timed, lambda: cache.get(known)), "put": partial(_timed, lambda: cache.put(novel(), reply))},
    )
    yield figure("a look into the cache / the bare call", "ms", took["get"], call, 0.1, "ours at most")
    yield figure("an answer of 4 KB into the cache / the bare call", "ms", took["put"], call, 0.5, "ours at most")


def _timed(call: Callable[[], object]) -> float:
    """Return the milliseconds that a call takes when it is made again and again."""
    began = perf_counter()
    for _ in range(_CALLS):
        call()
    return (perf_counter() - began) * 1000 / _CALLS


def _plan(workspace: Workspace) -> Plan:
    return workspace.plan(plans.single(AGENT), f"Explain {novel()}. [[simulate: latency=0s]]")


def _execute(workspace: Workspace) -> None:
    plan = _plan(workspace)
    with closing(run(plan, workspace.engine.context(plan, run_id="bench"))) as going:
        (outcome,) = going
    if outcome.error:
        raise outcome.error


def _projects(place: Place, entries: int) -> tuple[Path, Path]:
    """Make two projects, the cache of the second one with `entries` in it."""
    made = []
    for name, count in (("few", 0), ("many", entries)):
        directory = place.directory / name
        (directory / ".claude").mkdir(parents=True, exist_ok=True)
        with place.workspace(start=directory) as workspace:
            cache = workspace.stores.cache
            assert cache
            for _ in range(count):
                cache.put(novel(), Reply(ANSWER, "claude", "end_turn"))
        made.append(directory)
    return made[0], made[1]
