"""The engine: workflows through the runner, in this process, against the far end in its own.

The floors are calls made bare, by `http.client` alone: those of the critical path one after the other, as many at once
as are allowed, or all of them from threads. No engine can be faster, since the far end takes its time.
"""

from __future__ import annotations

import json
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from threading import local
from time import perf_counter

from ..records import Outcome, Step, Workflow, payload
from ..running import plan as plans
from ..running.runner import run
from . import bare, figure, interleaved, novel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..project.workspace import Workspace
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


def workflows(place: Place, rounds: int, *, pace: float = 1.0) -> Iterator[Figure]:
    """Measure two workflows against the calls on their critical paths; `pace` multiplies the latencies."""
    fan, fan_path = _against_path(place, FAN, pace, "a", "report")
    chains, chains_path = _against_path(place, CHAINS, pace, "a0", "a1", "a2")
    calls = {"fan": fan, "fan path": fan_path, "chains": chains, "chains path": chains_path}
    took = {name: [1000 * s for s in samples] for name, samples in interleaved(rounds, calls).items()}
    yield figure("workflow of 3 + 1 steps / critical path", "ms", took["fan"], took["fan path"], 1.04)
    yield figure("three unbalanced chains / critical path", "ms", took["chains"], took["chains path"], 1.04)


def throughput(place: Place, rounds: int, *, calls: int = 200) -> Iterator[Figure]:
    """Measure calls that wait for nothing but their answers against so many at once without a pause."""
    at_once, latency = 20, 0.05
    source = _workflow({f"s{number}": (latency, ()) for number in range(calls)})
    one = list(_bodies(place, source).values())[:10]
    took = interleaved(
        rounds,
        {
            "with": partial(_run, place, source, at_once),
            "without": partial(_run, place, source, at_once, stores=False),
            "bare": partial(_call_all, place.url, one, 1),
        },
    )
    ideal = [at_once * len(one) / seconds for seconds in took["bare"]]
    for kind in ("without", "with"):
        ours = [calls / seconds for seconds in took[kind]]
        what = f"{calls} calls of {latency} s, {at_once} at once, {kind} stores / ideal"
        yield figure(what, "calls/s", ours, ideal, 0.9, "ratio at least")


def layers(place: Place, rounds: int, *, steps: int = 1000) -> Iterator[Figure]:
    """Measure steps whose answers take no time against the same calls from bare threads."""
    at_once = 10
    source = _workflow(_layered(steps, 10))
    bodies = list(_bodies(place, source).values())
    took = interleaved(
        rounds,
        {
            "with": partial(_run, place, source, at_once),
            "without": partial(_run, place, source, at_once, stores=False),
            "bare": partial(_call_all, place.url, bodies, at_once),
        },
    )
    floor = [1000 * seconds for seconds in took["bare"]]
    for kind in ("without", "with"):
        ours = [1000 * seconds for seconds in took[kind]]
        what = f"{steps} steps in 10 layers, {at_once} at once, {kind} stores / bare threads"
        yield figure(what, "ms", ours, floor, 1.8)


def _against_path(
    place: Place, steps: Steps, pace: float, *path: str
) -> tuple[Callable[[], float], Callable[[], float]]:
    """Return what runs a workflow, and what makes the calls of its critical path one after the other."""
    source = _workflow({step_id: (seconds * pace, before) for step_id, (seconds, before) in steps.items()})
    bodies = _bodies(place, source)
    return partial(_run, place, source), partial(_call_all, place.url, [bodies[step_id] for step_id in path], 1)


def _workflow(steps: Steps) -> Workflow:
    made = (
        Step(step_id, AGENT, f"Review part {step_id} of {{{{task}}}}. [[simulate: latency={seconds}s]]", before)
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


def _run(place: Place, source: Workflow, jobs: int | None = None, *, stores: bool = True) -> float:
    """Run a workflow on connections of its own; return its seconds, planning included."""
    with place.workspace(stores=stores) as workspace:
        began = perf_counter()
        _outcomes(workspace, source, jobs)
        return perf_counter() - began


def _outcomes(workspace: Workspace, source: Workflow, jobs: int | None) -> dict[str, Outcome]:
    """Return the outcomes of a workflow by step. Raises the ForceError of a step that failed."""
    plan = workspace.plan(source, novel())
    ended: dict[str, Outcome] = {}
    with closing(run(plan, workspace.engine.context(plan, jobs=jobs))) as going:
        for outcome in going:
            if outcome.error:
                raise outcome.error
            ended[outcome.step] = outcome
    return ended


def _bodies(place: Place, source: Workflow) -> dict[str, bytes]:
    """Return the bodies of the calls that a workflow makes, by step."""
    with place.workspace() as workspace:
        plan = workspace.plan(source, novel())
        ended = _outcomes(workspace, source, None)
        requests = {step_id: plans.request(plan, job, ended) for step_id, job in plan.jobs.items()}
    return {i: json.dumps({**payload(r), "stream": True}).encode() for i, r in requests.items()}


def _call_all(url: str, bodies: Sequence[bytes], at_once: int) -> float:
    """Make the calls from a pool of threads, each with a connection that it keeps; return their seconds."""
    mine = local()
    with ExitStack() as opened:

        def call(body: bytes) -> str:
            if not hasattr(mine, "connection"):
                mine.connection = opened.enter_context(closing(bare.connection(url)))
            return bare.call(mine.connection, body)

        began = perf_counter()
        with ThreadPoolExecutor(at_once) as pool:
            deque(pool.map(call, bodies), maxlen=0)
        return perf_counter() - began
