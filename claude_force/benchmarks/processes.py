"""Whole processes, as a shell or cron sees them: how long the tool takes to start, and to make one call."""

from __future__ import annotations

import json
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from ..records import payload
from ..running import plan as plans
from . import figure, interleaved, novel
from .place import tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from . import Figure
    from .place import Ended, Place

AGENT = "python-expert"
LATENCY = 0.05
"""Seconds that the far end lets a process wait for its answer; they are taken off what was measured."""
_BARE = Path(__file__).with_name("bare.py")
_SDK = """\
import anthropic, json, sys
with anthropic.Anthropic().messages.stream(**json.load(open(sys.argv[1]))) as stream:
    for text in stream.text_stream:
        print(text, end="")
print()
"""


def start(place: Place, rounds: int) -> Iterator[Figure]:
    """Measure commands that send nothing against an interpreter that does nothing."""
    ended = interleaved(
        rounds,
        {
            "python": partial(place.run, sys.executable, "-c", "pass"),
            "version": partial(place.run, *tool(), "--version"),
            "list": partial(place.run, *tool(), "list", "agents"),
        },
    )
    floor = _milliseconds(ended["python"])
    yield figure("claude-force --version / python -c pass", "ms", _milliseconds(ended["version"]), floor, 2.5)
    yield figure("claude-force list agents / python -c pass", "ms", _milliseconds(ended["list"]), floor, 4.5)


def agent(place: Place, rounds: int) -> Iterator[Figure]:
    """Measure `run agent` against scripts that make the same call by `http.client` and, if it is there, by the SDK."""
    body = place.directory / "body.json"
    bare = place.directory / "streaming.json"
    with place.workspace() as workspace:
        plan = workspace.plan(plans.single(AGENT), _task())
    content = payload(plans.request(plan, plan.jobs[AGENT], {}))
    body.write_text(json.dumps(content), encoding="utf-8")
    bare.write_text(json.dumps(content | {"stream": True}), encoding="utf-8")
    calls: dict[str, Callable[[], Ended]] = {
        "bare": partial(place.run, sys.executable, _BARE, bare),
        "ours": lambda: place.run(*tool(), "run", "agent", AGENT, _task()),
        "lean": lambda: place.run(*tool(), "--config", place.without_stores, "run", "agent", AGENT, _task()),
    }
    if find_spec("anthropic"):
        calls["sdk"] = partial(place.run, sys.executable, "-c", _SDK, body)
    ended = interleaved(rounds, calls)
    ours, floor = _milliseconds(ended["ours"], LATENCY), _milliseconds(ended["bare"], LATENCY)
    lean = _milliseconds(ended["lean"], LATENCY)
    yield figure("run agent, without stores / http.client script", "ms", lean, floor, 1.6)
    yield figure("run agent, with stores / http.client script", "ms", ours, floor, 1.6)
    held, least = ([e.memory / 2**20 for e in ended[name]] for name in ("ours", "bare"))
    yield figure("run agent / http.client script, peak memory", "MiB", held, least, 30, "ours at most")
    if "sdk" in ended:
        yield figure("run agent / script with the official SDK", "ms", ours, _milliseconds(ended["sdk"], LATENCY), 0.12)


def _task() -> str:
    return f"Explain list comprehensions, {novel()}. [[simulate: latency={LATENCY}s]]"


def _milliseconds(ended: Sequence[Ended], latency: float = 0.0) -> list[float]:
    return [(e.seconds - latency) * 1000 for e in ended]
