"""What the processes of `scripts/stress` do, each until its numbers are used up or it is killed.

What a process has done it acknowledges on its stdout, by a line of JSON, after the product returned from it.
"""

from __future__ import annotations

import io
import json
import os
import time
from contextlib import redirect_stderr

from stage import called, limit_files

import claude_force.client.http
import claude_force.commands.metrics
import claude_force.commands.run
import claude_force.secret
import claude_force.stores.cache
import claude_force.stores.memory
import claude_force.stores.metrics
import claude_force.stores.rollups  # noqa: F401  # with the others, before any fork
from claude_force import AgentOrchestrator, ForceError
from claude_force.stores.history import Span, gather
from claude_force.stores.tally import COUNTERS, counters

AGENT = "python-expert"
STORES = ("metrics", "memory", "cache")
EXECUTIONS = COUNTERS.index("executions")
_REFUSALS = {
    "metrics": ("not in the metrics",),
    "memory": ("sessions are not kept", "nothing is remembered"),
    "cache": ("answers are not kept", "counts as empty"),
}
"""How a warning says that a store did not take an execution."""


def until(moment):
    """Yield numbers from 0 until the monotonic clock shows `moment`; each fork counts its own copy."""
    number = 0
    while time.monotonic() < moment:
        yield number
        number += 1


def from_moment(moment, numbers):
    """Yield `numbers` from the moment on at which the monotonic clock shows `moment`."""
    time.sleep(max(0.0, moment - time.monotonic()))
    yield from numbers


def command(project, name, numbers, limit=None):
    """Run an agent by the command line: all stores are opened and closed again for each run."""
    limit_files(limit)
    for number in numbers:
        task = f"{name}run{number}"
        status, out, said = called(project, "run", "agent", AGENT, task)
        result = json.loads(out or "{}")
        _acknowledge(task, result.get("run_id"), result.get("output"), status=status, said=said, without=refused(said))


def library(project, name, numbers, limit=None):
    """Run an agent by the Python API: the stores stay open. A store that refused an execution is told of only once."""
    limit_files(limit)
    everything = ""
    with redirect_stderr(io.StringIO()) as heard, AgentOrchestrator(directory=project) as force:
        for number in numbers:
            task, run, text, status = f"{name}run{number}", None, None, 0
            try:
                result = force.run_agent(AGENT, task)
                run, text = result.run_id, result.text
            except ForceError as error:
                status = error.exit_code
                heard.write(str(error))
            said = heard.getvalue()[len(everything) :]
            everything += said
            _acknowledge(task, run, text, status=status, said=said, without=refused(everything))


def append(project, name, numbers):
    """Append lines as any program may that knows no more than the file's name; each costs the square of its number."""
    path = project / ".claude" / "metrics" / "executions.jsonl"
    for number in numbers:
        run = f"{name}run{number}"
        line = {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
            "agent_name": name,
            "success": True,
            "run_id": run,
            "estimated_cost": number**2 / 1e9,
        }
        with path.open("ab") as stream:
            time.sleep(0.001 if number % 50 else 0.2)  # many a rollup passes while it is open
            stream.write(json.dumps(line).encode() + b"\n")
        _acknowledge(run, run, None, without={"memory", "cache"}, agent=name, cost=number**2)


def roll(project, numbers, *options, limit=None):
    """Roll up again and again; 75 says that another process was at it, and on a full disk it fails with a word."""
    limit_files(limit)
    for _ in numbers:
        status, _, said = called(project, "metrics", "rollup", *options)
        full = limit and status == 1 and "nothing has been lost" in said
        if not (full or status == 75 or (status == 0 and not said)):
            raise AssertionError(f"metrics rollup ended with {status}: {said}")


def read(project, numbers):
    """Count all executions again and again: they never become fewer."""
    before = 0
    for _ in numbers:
        sums = gather(project / ".claude" / "metrics", Span())
        now = counters(sum(sums.cells.values()))[EXECUTIONS]
        if now < before:
            raise AssertionError(f"a reader saw {before} executions, and then {now}")
        before = now


def refused(said):
    """Return the stores that did not take an execution, by the warnings in `said`."""
    return {store for store, words in _REFUSALS.items() if any(word in said for word in words)}


def _acknowledge(task, run, text, *, status=0, said="", without=(), agent=AGENT, cost=None):
    kept = [store for store in STORES if store not in without]
    line = {"task": task, "run": run, "text": text, "status": status, "said": said, "kept": kept}
    line |= {"agent": agent, "cost": cost}
    os.write(1, json.dumps(line).encode() + b"\n")
