"""What the processes of `scripts/chaos` do, and the agent and the workflows that they do it with."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from stage import called, limit_files

import claude_force.client.http
import claude_force.commands.resume
import claude_force.commands.run
import claude_force.secret
import claude_force.stores.cache
import claude_force.stores.memory
import claude_force.stores.metrics  # noqa: F401  # with the others, before any fork
from claude_force import cli
from claude_force.__main__ import main
from claude_force.stores.ledger import Hold, Ledger

MODEL = "claude-haiku-5-5"
AGENT = f"---\nname: worker\ndescription: works\nmodel: {MODEL}\nskills: []\nmax_tokens: 1000\n---\nYou work.\n"
MEMBERS = 4
BEFORE = {
    "begin": [],
    "north": ["begin"],
    "east": ["begin"],
    "south": ["begin"],
    "many": ["north"],
    "join": ["east", "south"],
    "sum": ["many"],
    "both": ["many", "join"],
    "alone": ["join"],
    "late": ["sum", "both"],
    "later": ["alone"],
    "last": ["late", "later"],
}
"""The steps of the workflow and what each depends on; `many` makes a call for each member of a list."""
CALLS = len(BEFORE) - 1 + MEMBERS
SIGNALS = (signal.SIGINT, signal.SIGTERM)
JOBS = 4
"""Calls that a run makes at a time."""


def workflow():
    """Return the workflow of `BEFORE`: each call is named after the task of the run and its step."""
    steps = [
        _step(name, f"call {{{{task}}}}/{name} [[simulate: tokens=60]]", before) for name, before in BEFORE.items()
    ]
    many = next(step for step in steps if step["id"] == "many")
    many["task"] = "call {{task}}/many.{{item}} [[simulate: tokens=60]]"
    many["foreach"] = [str(number) for number in range(MEMBERS)]
    return {"steps": steps}


def faulty(faults):
    """Return a workflow of one call for each of `faults`, which are markers that the simulator obeys."""
    step = _step("many", "call {{task}}/many.{{item}}", [])
    return {"steps": [step | {"foreach": [f"{n} [[simulate: tokens=60]] {fault}" for n, fault in enumerate(faults)]}]}


def name_of(task, step, member):
    """Return the name of the call that a run with this `task` makes for a step, or for a member of `many`."""
    return f"{task}/{step}" if member is None else f"{task}/{step}.{member}"


def command(project, *words):
    """Carry out a command line in this process, which ends with its status."""
    return cli.main(["-q", "--json", "-C", str(project), *words])


def process(project, *words):
    """Carry out a command line as a process of its own does, which listens to `SIGNALS`; they are blocked until now."""
    for number in SIGNALS:
        signal.signal(number, lambda *_: os._exit(130))  # until the process listens by itself
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    sys.argv[1:] = ["-q", "--json", "-C", str(project), *words]
    try:
        main()
    except SystemExit as ended:
        return ended.code


def spend(project, name, numbers, marker="", limit=None):
    """Run the agent again and again; acknowledge how each call ended, and whether there was an answer."""
    limit_files(limit)
    for number in numbers:
        call = f"{name}.{number:03}"
        status, out, said = called(project, "run", "agent", "worker", f"call {call} [[simulate: tokens=980]]{marker}")
        result = json.loads(out or "{}")
        line = {"call": call, "status": status, "answered": bool(result.get("output")), "said": said[:300]}
        os.write(1, json.dumps(line).encode() + b"\n")


def spend_shifted(project, name, count, days):
    """Do as `spend` does where the clock is off by one of `days` each time that somebody looks at it, in turns."""
    words = [os.path.dirname(os.path.abspath(__file__)), str(project), name, str(count), *map(str, days)]
    os.execv(sys.executable, [sys.executable, "-c", SHIFTED, *words])


SHIFTED = """\
import itertools, sys, time
scripts, project, name, count, *days = sys.argv[1:]
shifts = itertools.cycle([float(day) * 86400 for day in days])
now, broken, local, text = time.time, time.gmtime, time.localtime, time.strftime
time.time = lambda: now() + next(shifts)
time.gmtime = lambda seconds=None: broken(time.time() if seconds is None else seconds)
time.localtime = lambda seconds=None: local(time.time() if seconds is None else seconds)
time.strftime = lambda form, moment=None: text(form, time.localtime() if moment is None else moment)
sys.path.insert(0, scripts)
from chaos_actors import spend
spend(project, name, range(int(count)))
"""


def reckon(project, name, moment, amounts, cap):
    """From `moment` on reserve and settle under a cap, as calls of `amounts` nanodollars would."""
    with Ledger(project / ".claude" / "state.db", warn=_raise) as ledger:
        time.sleep(max(0.0, moment - time.monotonic()))
        for amount in amounts:
            held = ledger.reserve(2 * amount, run_id=name, agent="worker", caps={"daily": cap})
            assert isinstance(held, Hold), held
            ledger.settle(held, amount)


def _raise(text):
    raise AssertionError(text)


def _step(name, task, before):
    return {"id": name, "agent": "worker", "task": task, "dependencies": before}
