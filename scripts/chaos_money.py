"""The phases of `scripts/chaos` that are about caps and the ledger: crowds, changed clocks and full disks."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import chaos_actors as actors
from chaos_census import Row, bound, compare, dollars, row, standing, total
from chaos_setting import MANY, calls, furnish, named, price, set_cap, simulated

from claude_force.stores.ledger import Ledger

SPENDERS, EACH, WORTH = 16, 20, 40
"""Processes, the calls that each of them tries, and how many calls the cap is worth."""
AT_ONCE, SETTLED, ALONE = 64, 10, 500
"""Processes that reserve and settle at once, how often each, and how often one does alone."""
ROOM = ((4_096, 32_768), (32_768, 60_000), (32_768, 60_000), (60_000, 250_000))
"""Bytes beyond which no file grows when the disk is full: from less than SQLite needs to open a shared file."""


def budget(stage):
    """Let processes spend at once under a daily cap; then those of two projects under monthly caps and a user's."""
    with simulated(stage) as till:
        one = price(stage, till)
        rows = [under_daily_cap(stage, till, WORTH * one), under_two_caps(stage, till, WORTH * one)]
    used = [found.spent / found.cap for found in rows]
    stage.problems += [f"only {share:.1%} of a cap was used" for share in used if share < 0.9]
    crowd = f"{SPENDERS} processes x {EACH} calls under a cap worth {WORTH}"
    return f"{crowd}: {used[0]:.1%} of it used, and of a user's {used[1]:.1%}", rows


def under_daily_cap(stage, till, cap):
    """Let many processes share one cap, and return the row."""
    set_cap(stage.project, "daily", cap)
    stage.end([stage.play(actors.spend, f"day{n:02}", range(EACH)) for n in range(SPENDERS)])
    bills = named(till, "day")
    needed, _ = calls(stage, "day")
    return row("budget, daily", needed, bills, compare(stage, bills, stage.state), cap=cap)


def under_two_caps(stage, till, cap):
    """Let the processes of two projects share a user's cap, each project under a monthly one; return the row."""
    monthly = cap * 3 // 4
    projects = {name: furnish(stage.place / name) for name in ("left", "right")}
    set_cap(stage.project, "daily", cap, "--user")
    pids = []
    for name, stage.project in projects.items():
        set_cap(stage.project, "monthly", monthly)
        pids += [stage.play(actors.spend, f"{name}{n}", range(EACH)) for n in range(SPENDERS // 2)]
    stage.end(pids)
    for name, project in projects.items():
        bills = named(till, name)
        compare(stage, bills, project / ".claude")
        if total(bills) > monthly:
            stage.problems.append(f"{name} spent {dollars(total(bills))} under a monthly cap of {dollars(monthly)}")
    set_cap(stage.project, "daily", None, "--user")
    bills = named(till, *projects)
    needed, _ = calls(stage, *projects)
    return row("budget, user", needed, bills, compare(stage, bills, Path(os.environ["CLAUDE_FORCE_HOME"])), cap=cap)


def ledger(stage):
    """Time reserve and settle in one process; then let 64 do it at once, without an error."""
    with Ledger(stage.state / "state.db") as opened:
        medians = [statistics.median(timed(opened) for _ in range(ALONE // 10)) for _ in range(10)]
    milliseconds = min(medians) * 1000  # where others work on this machine, in its quietest moment
    begin = time.monotonic() + 0.5
    stage.end([stage.play(actors.reckon, f"p{n}", begin, [n + 1] * SETTLED, MANY) for n in range(AT_ONCE)])
    sums = ALONE + SETTLED * AT_ONCE * (AT_ONCE + 1) // 2
    found = standing(stage.state)
    if found != (sums, 0, 0):
        stage.problems.append(f"of {sums} nanodollars the ledger has (spent, uncertain, reserved) {found}")
    if milliseconds > 1:
        stage.problems.append(f"reserve and settle take {milliseconds:.3f} ms together, more than 1 ms")
    summary = (
        f"reserve and settle take {milliseconds:.3f} ms together; {AT_ONCE} processes at once, {SETTLED} times each"
    )
    count = ALONE + AT_ONCE * SETTLED
    return summary, [Row(stage.name, count, count, 0, 0, 0, sums, found[0])]


def timed(opened):
    """Return the seconds that it takes to reserve and to settle."""
    began = time.perf_counter()
    held = opened.reserve(2, run_id="timed", agent="worker", caps={"run": MANY, "daily": MANY, "monthly": MANY})
    opened.settle(held, 1)
    return time.perf_counter() - began


def cuts(stage):
    """Cut each answer once in its middle, under a cap: it is paid nevertheless, and asked for again."""
    with simulated(stage) as till:
        cap = set_cap(stage.project, "daily", 12 * price(stage, till))
        marker = " [[simulate: cut times=1]]"
        stage.end([stage.play(actors.spend, f"cut{n}", range(6), marker) for n in range(4)])
    bills = named(till, "cut")
    broken = {bill.call for bill in bills if not bill.whole}
    spent = bound(stage, bills, stage.state)
    needed = calls(stage, "cut")[0] | broken
    return f"{len(broken)} answers cut off", [
        row(stage.name, needed, bills, spent, at_most=len(broken), kept_at={}, cap=cap)
    ]


def clock(stage):
    """Spend under a daily cap with the clock set back a day, right again, set forward a month, back, and jumping."""
    with simulated(stage) as till:
        cap = set_cap(stage.project, "daily", 6 * price(stage, till) + 1000)
        at_times(stage, ("here1", 4, [0]), ("past", 6, [-1]), ("here2", 6, [0]), ("far", 8, [31]))
        spent = compare(stage, till.bills()[1:], stage.state)
        at_times(stage, ("after1", 6, [0]), ("after2", 6, [-1]), ("after3", 6, [0, -1]))
    back, day, far = named(till, "here1", "past"), named(till, "here1", "here2"), named(till, "far")
    rows = [
        row("clock, set back", calls(stage, "here1", "past")[0], back, total(back), cap=cap),
        row("clock, right", calls(stage, "here1", "here2")[0], day, total(day), cap=cap),
        row("clock, month on", calls(stage, "far")[0], far, spent - total(back) - total(named(till, "here2")), cap=cap),
        row("clock, after it", calls(stage, "after")[0], named(till, "after"), 0, cap=0),
    ]
    return "back a day, right, 31 days ahead; then nothing is left, at either day or jumping between them", rows


def at_times(stage, *times):
    """Let processes spend, one after the other, whose clocks are off by some days."""
    for name, count, days in times:
        stage.end([stage.play(actors.spend_shifted, name, count, days)])


def full(stage):
    """Fill the disk (ulimit -f): calls are refused before they cost anything under a cap, and without one answered."""
    runs = max(4, stage.options.kills // 5)
    with simulated(stage) as till:
        cap = 4 * price(stage, till)
        spent = sum(crowded(stage, till, f"capped{n:02}", cap) for n in range(runs))
        free = sum(crowded(stage, till, f"free{n:02}", None) for n in range(runs))
    paid, refused = calls(stage, "capped")
    rows = [
        row("full, capped", paid, named(till, "capped"), spent, cap=runs * cap),
        row("full, free", calls(stage, "free", statuses=(0,))[0], named(till, "free"), free),
    ]
    return f"under caps {len(refused)} of {len(refused | paid)} calls refused; without one all answered", rows


def crowded(stage, till, name, cap):
    """Let a process of a new project find the disk full, and then one that there is room; return what is in the ledger.

    Without a cap the ledger may miss what it could not write, since nobody relies on it.
    """
    stage.project = furnish(stage.place / name)
    if cap:
        set_cap(stage.project, "daily", cap)
    limit = stage.chance.randint(*stage.chance.choice(ROOM))
    stage.end([stage.play(actors.spend, f"{name}a", range(3), limit=limit)])
    stage.end([stage.play(actors.spend, f"{name}b", range(3))])
    bills, state = named(till, name), stage.project / ".claude"
    if cap and total(bills) > cap:
        stage.problems.append(f"{name}: paid {dollars(total(bills))} under a cap of {dollars(cap)}")
    spent, uncertain, reserved = standing(state)
    if cap and not spent - uncertain <= total(bills) <= spent + reserved:  # what was not taken stays reserved
        stage.problems.append(f"{name}: paid {dollars(total(bills))}, in the ledger {dollars(spent + reserved)}")
    return spent
