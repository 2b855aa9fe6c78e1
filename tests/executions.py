"""Lines of metrics for tests, and what they add up to."""

import json
import time

from claude_force.stores.history import Span, gather
from claude_force.stores.tally import COUNTERS, counters

DAY = 86_400
NOW = 1_795_320_000.0
"""2026-11-22T04:00:00 UTC."""


def stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def line(*, age=0.0, nanodollars=1, **changes):
    """Return a line whose execution ended `age` days before NOW."""
    facts = {
        "timestamp": stamp(NOW - age * DAY),
        "agent_name": "reviewer",
        "task_hash": "0123abcd",
        "success": True,
        "execution_time_ms": 100,
        "model": "claude-haiku-5-5",
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 15,
        "estimated_cost": nanodollars / 1e9,
    }
    return json.dumps(facts | changes).encode() + b"\n"


def powers(count, *, start=0, **changes):
    """Return lines whose costs are powers of two: their sum says which of them were counted, and how often."""
    return [line(nanodollars=2**n, **changes) for n in range(start, start + count)]


def of(row):
    return dict(zip(COUNTERS, counters(row), strict=True))


def total(directory, span=Span()):  # noqa: B008
    """Return the sums of the whole history, or of `span`, by name."""
    return of(sum(gather(directory, span).cells.values()))
