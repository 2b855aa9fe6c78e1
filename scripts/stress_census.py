"""What was acknowledged, and what of it the stores hold: read by plain SQL, JSON and gzip, and then by the product."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass

from stage import called, whole
from stress_actors import EXECUTIONS

from claude_force.stores.audit import verify
from claude_force.stores.history import Span, gather
from claude_force.stores.tally import COUNTERS, counters

COST = COUNTERS.index("cost")
SEARCHED = 5
HEADINGS = ("PHASE", "STORE", "WRITTEN", "FOUND", "LOST", "DOUBLED", "BESIDES", "AT MOST")


@dataclass(frozen=True)
class Row:
    """What became of the executions that one store acknowledged, in one phase.

    `besides` counts what was found though it was not acknowledged, of which there may be `undecided`: runs that were
    cut off by a kill, or that a store refused on a full disk.
    """

    phase: str
    store: str
    written: int
    found: int
    lost: int
    doubled: int
    besides: int = 0
    undecided: int = 0

    @property
    def ok(self):
        """Whether nothing is lost, nothing doubled, and nothing there that nobody wrote."""
        return not self.lost and not self.doubled and self.besides <= self.undecided

    @property
    def cells(self):
        """The columns of `HEADINGS`."""
        counts = (self.written, self.found, self.lost, self.doubled, self.besides, self.undecided)
        return self.phase, self.store, *(f"{count:,}" for count in counts)


def census(phase, state, told, undecided):
    """Yield the rows of all stores below `state`, where rollups kept the lines that they summed up."""
    lines = Counter(line["run_id"] for line in history(state / "metrics"))
    yield compare(phase, "metrics lines", kept(told, "metrics", "run"), lines, undecided)
    sums = sum(executions(state / "metrics").values())
    yield Row(phase, "metrics sums", len(lines), sums, max(len(lines) - sums, 0), max(sums - len(lines), 0))
    yield from databases(phase, state, told, undecided)


def census_of_sums(phase, state, told, undecided):
    """Yield the rows of all stores below `state`, where rollups kept sums alone: they are compared agent by agent."""
    expected, found = Counter(line["agent"] for line in told), executions(state / "metrics")
    lost, doubled = (expected - found).total(), (found - expected).total()
    yield Row(phase, "metrics sums", expected.total(), found.total(), lost, doubled)
    yield from databases(phase, state, told, undecided)


def databases(phase, state, told, undecided):
    """Yield the rows of memory and cache."""
    rows, entries = sessions(state / "agent_memory.db"), answers(state / "cache" / "responses.db")
    yield compare(phase, "memory rows", kept(told, "memory", "run"), rows, undecided)
    yield compare(phase, "cache entries", kept(told, "cache", "text"), entries, undecided)


def compare(phase, store, expected, found, undecided):
    """Return the row for the ids that are `expected` and those that were `found`, a Counter."""
    expected = set(expected)
    lost, besides = len(expected - found.keys()), len(found.keys() - expected)
    doubled = sum(times - 1 for times in found.values())
    return Row(phase, store, len(expected), len(found), lost, doubled, besides, undecided)


def kept(told, store, key):
    """Return the `key` of all that `store` took."""
    return [line[key] for line in told if store in line["kept"] and line[key] is not None]


def history(metrics):
    """Return the whole lines of executions.jsonl, and those that rollups took and kept as they were."""
    live = metrics / "executions.jsonl"
    data = [gzip.decompress(path.read_bytes()) for path in sorted((metrics / "rollups").glob("raw.*.gz"))]
    data += [live.read_bytes()] if live.exists() else []
    return [line for lines in data for text in lines.splitlines() if (line := whole(text))]


def executions(metrics):
    """Return by agent how many executions rollups and lines hold together."""
    return _sums(metrics, EXECUTIONS)


def sessions(path):
    """Return the run ids in the memory."""
    return Counter(json.loads(text)["run_id"] for text in _column(path, "sessions", "metadata"))


def answers(path):
    """Return the texts of the answers in the cache."""
    return Counter(json.loads(value)["value"]["reply"]["text"] for value in _column(path, "bodies", "value"))


def _column(path, table, column):
    """Return a column of a table, which a killed process may not have come to make."""
    with closing(sqlite3.connect(path)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
            return []
        return [value for (value,) in connection.execute(f"SELECT {column} FROM {table}")]


def faults(project, told, chance, *, damaged):
    """Yield what is wrong within the stores of `project`; of `damaged` lines of metrics there may be so many."""
    audit = verify(project / ".claude" / "metrics")
    yield from audit.problems
    if len(audit.damaged) > damaged:
        yield f"{len(audit.damaged)} damaged lines"
    yield from wrong_costs(project / ".claude" / "metrics", told)
    yield from unsound(project / ".claude")
    yield from unsearchable(project, told, chance)
    status, _, said = called(project, "cache", "verify")
    if status or said:
        yield f"cache verify: status {status}: {said}"


def wrong_costs(metrics, told):
    """Yield the agents that cost something else than was acknowledged, of those whose cost is known and count right."""
    priced = [line for line in told if line["cost"] is not None]
    counts, expected = Counter(line["agent"] for line in priced), Counter()
    for line in priced:
        expected[line["agent"]] += line["cost"]
    found, found_counts = _sums(metrics, COST), executions(metrics)
    for agent, cost in expected.items():
        if found_counts[agent] == counts[agent] and found[agent] != cost:
            yield f"{agent}: {cost} nanodollars were written, {found[agent]} are found"


def unsound(state):
    """Yield the databases that SQLite finds damaged."""
    for name in ("agent_memory.db", "cache/responses.db"):
        with closing(sqlite3.connect(state / name)) as connection:
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            yield f"{name}: {found}"


def unsearchable(project, told, chance):
    """Yield those of a few tasks that the memory took and a search does not find."""
    tasks = kept(told, "memory", "task")
    for task in chance.sample(tasks, min(len(tasks), SEARCHED)):
        _, out, _ = called(project, "memory", "search", task, "--limit", "1")
        if [session["task"] for session in json.loads(out)] != [task]:
            yield f"memory search does not find {task}"


def _sums(metrics, counter):
    sums = Counter()
    for (agent, _, _), row in gather(metrics, Span()).cells.items():
        sums[agent] += counters(row)[counter]
    return sums
