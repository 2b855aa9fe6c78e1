"""What each phase of `scripts/chaos` is played in: a project, prices, caps, a simulator; and what its spenders told."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager

import chaos_actors as actors
from chaos_till import PRICES, Till
from stage import acknowledged, called, isolate

MANY = 10**15
"""A cap that nothing here comes near: a million dollars."""


def settle_in(home):
    """Let all that follows reckon with the prices of the till, which its user gave."""
    isolate(home)
    (home / ".claude").mkdir(parents=True)
    settings = {"version": 2, "prices": {actors.MODEL: PRICES}}
    (home / ".claude" / "claude.json").write_text(json.dumps(settings), encoding="utf-8")


def furnish(project):
    """Make a project with the agent and the workflow, and return it."""
    for name, text in {"agents/worker.md": actors.AGENT, "workflows/chaos.json": json.dumps(actors.workflow())}.items():
        path = project / ".claude" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return project


@contextmanager
def simulated(stage, **behaviour):
    """Let all that follows speak to a simulator of this behaviour, and return what it bills."""
    till = Till(stage.place / f"till{len(list(stage.place.glob('till*')))}", **behaviour)
    os.environ["ANTHROPIC_BASE_URL"] = till.url
    try:
        yield till
    finally:
        till.close()


def set_cap(project, scope, amount, *words):
    """Set a cap in nanodollars, or take it away if that is None; return it."""
    status, _, said = called(
        project, "budget", "set", scope, "off" if amount is None else f"{amount / 1e9:.9f}", *words
    )
    if status or said:
        raise AssertionError(f"budget set: status {status}: {said}")
    return amount


def price(stage, till):
    """Return what a call of `spend` costs, in nanodollars: one is made in a project of its own."""
    there, stage.project = stage.project, furnish(stage.place / "price")
    stage.end([stage.play(actors.spend, "price", range(1))])
    stage.project = there
    return till.bills()[-1].cost


def named(till, *starts):
    """Return the bills for the calls whose names begin so."""
    return [bill for bill in till.bills() if bill.call.startswith(starts)]


def calls(stage, *starts, statuses=(0, 4)):
    """Return the names of the calls that begin so and were answered, and of those that were refused.

    A call that ended with another status, or well without an answer, is a problem.
    """
    told = [line for line in acknowledged(stage.told, "*spend*")[0] if line["call"].startswith(starts)]
    for line in told:
        if line["status"] not in statuses or line["answered"] != (line["status"] == 0):
            stage.problems.append(f"{line['call']}: status {line['status']}: {line['said']}")
    done = {line["call"] for line in told if line["answered"]}
    return done, {line["call"] for line in told} - done
