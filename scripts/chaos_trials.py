"""Runs of the workflow that are broken off at random instants and resumed until they are done.

What a run kept is read from its journal, by plain JSON, after each break; what it paid is on the simulator's bills.
"""

from __future__ import annotations

import os
import time
from itertools import pairwise

from chaos_actors import BEFORE, CALLS, JOBS
from chaos_census import begun, kept

_LOOK = 0.0002
_AFTER = 0.004
"""Seconds after the beginning of an answer, in which it is received, charged and written down."""


class Trials:
    """One run after the other, and what was seen of them; `strike` breaks a process off and returns how that ended."""

    def __init__(self, stage, till, role, strike, *options):
        self._stage, self._till, self._role, self._strike, self._options = stage, till, role, strike, options
        self._runs = stage.state / "runs"
        self._length = 0.0
        self.tasks = []
        self.breaks = 0
        self.torn = 0
        self.kept_at = {}
        """By name of a call when it was first seen in a journal, on the monotonic clock."""
        self.in_flight = []
        """Bills of answers that were not in the journal when their run was broken off."""
        self.oldest = 0.0
        """The longest time, in seconds, between the beginning of such an answer and the break."""

    def until(self, count, moment):
        """Let a run go undisturbed, then break runs off `count` times, or until `moment`; each is done in the end."""
        self._finish(0, moment)
        while self.breaks < count and time.monotonic() < moment:
            self._finish(count, moment)

    def _finish(self, count, moment):
        task = f"run{len(self.tasks)}"
        self.tasks.append(task)
        journal, done = None, False
        while not done:
            before, start = self._newest(), time.monotonic()
            words = ("--resume", journal.parent.name) if journal else ("chaos", task)
            pid = self._stage.play(self._role, "run", "workflow", *words, "--jobs", str(JOBS), *self._options)
            done = self._attempt(pid, self.breaks < count and start < moment)
            newest = self._newest()
            if newest != before and begun(newest):
                journal = newest
            self._look(journal, task, start, done)

    def _attempt(self, pid, breaking):
        """Wait for the process or break it off; return whether it came to its end."""
        if not breaking:
            began = time.monotonic()
            self._stage.expect(pid, 0)
            self._length = self._length or time.monotonic() - began
            return True
        torn = self._await(pid)
        if _ended(pid):
            self._stage.expect(pid, 0)
            return True
        done = self._strike(self._stage, pid) == 0
        self.breaks += not done
        if torn and not done:
            self._tear(*torn)
        return done

    def _await(self, pid):
        """Wait for a random instant: any, or just after an answer, or just after the journal has grown.

        For the last, and now and then, return the journal and its sizes before and after, to be torn between them.
        """
        chance = self._stage.chance
        match chance.randrange(3):
            case 0:
                _pause(pid, chance.uniform(0.0, self._length))
            case 1:
                _grown(pid, lambda: self._till.size, chance.randint(1, CALLS))
                _pause(pid, chance.uniform(0.0, _AFTER))
            case 2:
                before, after = _grown(pid, self._size, chance.randint(1, CALLS // 2))
                if chance.random() < 0.5 and after - before > 1:
                    return self._newest(), before, after
        return None

    def _tear(self, journal, before, after):
        """Cut the last line of a journal off in its middle, as a kill in the midst of a large write does."""
        if journal.stat().st_size == after:
            os.truncate(journal, self._stage.chance.randrange(before + 1, after))
            self.torn += 1

    def _look(self, journal, task, start, done):
        """Note what is kept by now, and hold against it what was paid since `start`."""
        now = time.monotonic()
        for call in kept(journal, task) if journal else ():
            self.kept_at.setdefault(call, now)
        paid = [bill for bill in self._till.bills() if bill.asked >= start]
        flying = [bill for bill in paid if bill.call not in self.kept_at]
        self.in_flight += flying
        self.oldest = max([self.oldest, *(now - bill.at for bill in flying)])
        self._stage.problems += _wrong(task, paid, flying, done)

    def _newest(self):
        """Return the journal of the last run that was begun."""
        names = os.listdir(self._runs) if self._runs.is_dir() else []
        return self._runs / max(names) / "journal.jsonl" if names else None

    def _size(self):
        journal = self._newest()
        return journal.stat().st_size if journal and journal.exists() else 0


def _wrong(task, paid, flying, done):
    """Yield what a kill cannot excuse, of what one process paid and did not keep."""
    names = [bill.call for bill in paid]
    if len(set(names)) < len(names):
        yield f"{task}: one process paid twice for a call: {sorted(names)}"
    if done and flying:
        yield f"{task} ended well, and did not keep {[bill.call for bill in flying]}"
    if len(flying) > JOBS:
        yield f"{task}: {len(flying)} answers were lost at once, of {JOBS} at a time"
    asked = {_step(name) for name in names}
    for step in {_step(bill.call) for bill in flying}:
        if used := [name for name in asked if step in BEFORE[name]]:
            yield f"{task}: the answer of {step} was lost, though {used} came after it"


def _step(call):
    return call.partition("/")[2].partition(".")[0]


def _grown(pid, size, times):
    """Wait until something has grown so often, or the process has ended; return its last two sizes."""
    sizes = [size()]
    while len(sizes) <= times and not _ended(pid):
        if (now := size()) != sizes[-1]:
            sizes.append(now)
        time.sleep(_LOOK)
    return [*pairwise(sizes)][-1] if len(sizes) > 1 else (sizes[0], sizes[0])


def _pause(pid, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end and not _ended(pid):
        time.sleep(_LOOK)


def _ended(pid):
    """Say whether a process has ended, and leave it to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
