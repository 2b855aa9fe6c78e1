"""The phases of `scripts/chaos` that are about workflows: calm, killed, interrupted, and on a bad network."""

from __future__ import annotations

import json
import os
import signal
import time

import chaos_actors as actors
from chaos_census import bound, compare, dollars, row, standing, total
from chaos_setting import MANY, furnish, set_cap, simulated
from chaos_trials import Trials

from claude_force.simulator import Latency

LATENCY = Latency(0.02, 0.04, "uniform")
FAULTS = (
    "status=429 retry-after=0.1 times=1",
    "status=529 times=1",
    "status=500 times=1",
    "html=502 times=1",
    "cut times=1",
    "reset times=1",
    "error=overloaded_error times=1",
    "latency=0.5s",
    "trickle=0.02s",
)
"""What calls meet, as markers that the simulator obeys."""


def calm(stage):
    """Run the workflow without trouble; again, from the cache; and resume it, with the cache and without."""
    with simulated(stage) as till:
        for words in (("chaos", "calm"), ("chaos", "calm"), ("--resume", "last"), ("--resume", "last", "--no-cache")):
            stage.end([stage.play(actors.command, "run", "workflow", *words)])
    bills = till.bills()
    summary = f"{len(actors.BEFORE)} steps with {actors.CALLS} calls; run again and resumed twice"
    return summary, [row(stage.name, expected("calm"), bills, compare(stage, bills, stage.state))]


def kills(stage):
    """Kill runs with -9 at random instants and resume them until they are done; without the cache, then with it."""
    plain, first = broken_off(stage, "kills", actors.command, killed, stage.options.kills, "--no-cache")
    stage.project = furnish(stage.place / "cached")
    stage.state = stage.project / ".claude"
    set_cap(stage.project, "daily", MANY)
    cached, second = broken_off(stage, "kills, cached", actors.command, killed, stage.options.kills)
    return f"{told(plain)}; with the cache {told(cached)}", [first, second]


def interrupts(stage):
    """Interrupt runs by Ctrl-C and SIGTERM at random instants, under a cap, and resume them until they are done."""
    set_cap(stage.project, "daily", MANY)
    signal.pthread_sigmask(signal.SIG_BLOCK, actors.SIGNALS)  # until a process listens
    try:
        count = -(-stage.options.kills // 2)
        trials, found = broken_off(stage, stage.name, actors.process, interrupted, count, "--no-cache")
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, actors.SIGNALS)
    return told(trials), [found]


def broken_off(stage, name, role, strike, count, *options):
    """Break runs off `count` times; return the trials and their row."""
    with simulated(stage, latency=LATENCY) as till:
        trials = Trials(stage, till, role, strike, *options)
        trials.until(count, time.monotonic() + stage.options.seconds)
        bills = till.bills()
    spent, uncertain, reserved = standing(stage.state)
    least, most = spent - uncertain, spent + total(trials.in_flight)
    if reserved or not least <= total(bills) <= most:
        stage.problems.append(
            f"{name}: paid {dollars(total(bills))}, but in the ledger {dollars(least)} to {dollars(most)}"
        )
    needed = expected(*trials.tasks)
    stage.problems += [f"{name}: no run kept {call}" for call in sorted(needed - trials.kept_at.keys())]
    lost = len(trials.in_flight)
    return trials, row(name, needed, bills, spent, kept_at=trials.kept_at, at_most=lost)


def killed(stage, pid):
    """Kill a process with -9, and return how it ended."""
    os.kill(pid, signal.SIGKILL)
    return stage.expect(pid, -signal.SIGKILL, 0)


def interrupted(stage, pid):
    """Send a process Ctrl-C or SIGTERM, and return how it ended."""
    os.kill(pid, stage.chance.choice(actors.SIGNALS))
    return stage.expect(pid, 130, 0)


def told(trials):
    """Return what was seen of trials, for people."""
    runs = f"{trials.breaks} breaks of {len(trials.tasks)} runs, {trials.torn} of them in the midst of a line"
    return f"{runs}, {len(trials.in_flight)} answers in flight, begun up to {trials.oldest * 1000:.0f} ms before"


def expected(*tasks):
    """Return the names of all calls that runs with these tasks need."""
    steps = [(step, None) for step in actors.BEFORE if step != "many"]
    steps += [("many", member) for member in range(actors.MEMBERS)]
    return {actors.name_of(task, *step) for task in tasks for step in steps}


def faults(stage):
    """Run calls into rate limits, overload, errors, cut and reset connections and slow answers, until all are done."""
    markers = [marker for fault in FAULTS for marker in (f"[[simulate: {fault}]]", "")]
    stage.chance.shuffle(markers)
    (stage.state / "workflows" / "faulty.json").write_text(json.dumps(actors.faulty(markers)), encoding="utf-8")
    words, status, runs = ("faulty", "faults"), 1, 0
    with simulated(stage) as till:
        while status and runs < 5:
            pid = stage.play(actors.command, "run", "workflow", *words, "--on-error", "continue", "--jobs", "4")
            status, words, runs = stage.expect(pid, 0, 1, 75), ("--resume", "last"), runs + 1
    if status:
        stage.problems.append(f"after {runs} runs not all calls were answered")
    bills, statuses = till.bills(), till.statuses()
    broken = [bill for bill in bills if not bill.whole]
    spent = bound(stage, bills, stage.state)
    needed = {f"faults/many.{n}" for n in range(len(markers))}
    met = ", ".join(f"{statuses.count(status)} x {status}" for status in sorted(set(statuses) - {200}))
    summary = f"{met}, {len(broken)} answers cut off; all done with {runs - 1} resumes"
    return summary, [row(stage.name, needed, bills, spent, kept_at={}, at_most=len(broken))]
