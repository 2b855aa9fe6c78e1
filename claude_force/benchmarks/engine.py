"""The engine: workflows through the runner, in this process, against the far end in its own.

What bounds a workflow is its critical path or the number of calls at once; what bounds calls that take no time is what
they take when they are made bare.
"""

from __future__ import annotations

import json
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from threading import local
from time import perf_counter

from .. import plan as plans
from ..records import Outcome, Step, Workflow, payload
from ..reports.timeline import critical_path
from ..runner import run
from . import bare, figure, interleaved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..workspace import Workspace
    from . import Figure
    from .place import Place

    Steps = Mapping[str, tuple[float, tuple[str, ...]]]
    """By id: the seconds that the far end takes to answer, and the steps that come before."""

AGENT = "python-expert"
FAN: Steps = {"a": (0.2, ()), "b": (0.2, ()), "c": (0.2, ()), "report": (0.2, ("a", "b", "c"))}
CHAINS: Steps = {
    f"{chain}{link}": (seconds, (f"{chain}{link - 1}",) if link else ())
    for chain, latencies in (("a", (1.0, 0.1, 0.1)), ("b", (0.1, 1.0, 0.1)), ("c", (0.1, 0.1, 1.0)))
    for link, seconds in enumerate(latencies)
}


def workflows(place: Place, rounds: int) -> Iterator[Figure]:
    """Measure two workflows against the latencies on their critical paths."""
    shapes = {"workflow of 3 + 1 steps / critical path": FAN, "three unbalanced chains / critical path": CHAINS}
    sources = {what: _workflow(steps) for what, steps in shapes.items()}
    took = interleaved(rounds, {what: partial(_run, place, source) for what, source in sources.items()})
    for what, steps in shapes.items():
        bound = critical_path(sources[what], {i: Outcome(i, AGENT, "ok", finished=s) for i, (s, _) in steps.items()})
        yield figure(what, "ms", [1000 * seconds for seconds in took[what]], [1000 * bound] * rounds, 1.04)


def throughput(place: Place, rounds: int, *, calls: int = 200) -> Iterator[Figure]:
    """Measure calls that wait for nothing but their answers against what so many at once could be at best."""
    at_once, latency = 20, 0.05
    source = _workflow({f"s{number}": (latency, ()) for number in range(calls)})
    took = interleaved(rounds, {"ours": partial(_run, place, source, at_once)})["ours"]
    what = f"{calls} calls of {latency} s, {at_once} at once / ideal"
    yield figure(
        what, "calls/s", [calls / seconds for seconds in took], [at_once / latency] * rounds, 0.9, "ratio at least"
    )


def layers(place: Place, rounds: int, *, steps: int = 1000) -> Iterator[Figure]:
    """Measure steps whose answers take no time against the same calls from bare threads."""
    at_once = 10
    source = _workflow(_layered(steps, 10))
    bodies = _bodies(place, source)
    took = interleaved(
        rounds,
        {"ours": partial(_run, place, source, at_once), "bare": partial(_call_all, place.url, bodies, at_once)},
    )
    ours, floor = ([1000 * seconds for seconds in took[name]] for name in ("ours", "bare"))
    yield figure(f"{steps} steps in 10 layers, {at_once} at once / bare threads", "ms", ours, floor, 1.8)


def _workflow(steps: Steps) -> Workflow:
    made = (
        Step(step_id, AGENT, f"Review part {step_id}. [[simulate: latency={seconds}s]]", before)
        for step_id, (seconds, before) in steps.items()
    )
    return Workflow("bench", tuple(made))


def _layered(count: int, layers: int) -> Steps:
    """Return `count` steps in `layers`, each after three of the layer above."""
    width = count // layers
    return {
        f"s{layer}-{n}": (0.0, tuple(f"s{layer - 1}-{(n + i) % width}" for i in range(min(3, width))) if layer else ())
        for layer in range(layers)
        for n in range(width)
    }


def _run(place: Place, source: Workflow, jobs: int | None = None) -> float:
    """Run a workflow on connections of its own; return its seconds, planning included."""
    with place.workspace() as workspace:
        began = perf_counter()
        _outcomes(workspace, source, jobs)
        return perf_counter() - began


def _outcomes(workspace: Workspace, source: Workflow, jobs: int | None) -> dict[str, Outcome]:
    """Return the outcomes of a workflow by step. Raises the ForceError of a step that failed."""
    plan = workspace.plan(source, "")
    ended: dict[str, Outcome] = {}
    with closing(run(plan, workspace.line(plan, jobs=jobs))) as going:
        for outcome in going:
            if outcome.error:
                raise outcome.error
            ended[outcome.step] = outcome
    return ended


def _bodies(place: Place, source: Workflow) -> list[bytes]:
    """Return the bodies of all calls that a workflow makes."""
    with place.workspace() as workspace:
        plan = workspace.plan(source, "")
        ended = _outcomes(workspace, source, None)
        requests = [plans.request(plan, job, ended) for job in plan.jobs.values()]
    return [json.dumps({**payload(request), "stream": True}).encode() for request in requests]


def _call_all(url: str, bodies: Sequence[bytes], at_once: int) -> float:
    """Make the calls from a pool of threads, each with a connection that it keeps; return their seconds."""
    mine = local()

    def call(body: bytes) -> str:
        if not hasattr(mine, "connection"):
            mine.connection = bare.connection(url)
        return bare.call(mine.connection, body)

    began = perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        deque(pool.map(call, bodies), maxlen=0)
    return perf_counter() - began
