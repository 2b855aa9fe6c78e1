"""The stress script: a short run of it passes, and a store that loses or doubles an execution is found out."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")


@pytest.fixture
def stress(tmp_path):
    """Run the script with few and short phases; return its status, its table by phase and store, and all it printed."""

    def stress(*words, **environment):
        command = [sys.executable, SCRIPTS / "stress", "--writers", "4", "--runs", "2", "--seconds", "0.5", *words]
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, "TMPDIR": str(tmp_path), **environment},
        )
        cells = [line.split() for line in ended.stdout.splitlines() if line.endswith((" ok", " WRONG"))]
        counts = {(row[0], " ".join(row[1:3])): dict(zip(COLUMNS, row[3:], strict=True)) for row in cells}
        return ended.returncode, counts, ended.stdout + ended.stderr

    return stress


COLUMNS = ("written", "found", "lost", "doubled", "besides", "at most", "verdict")
STORES = ("metrics lines", "metrics sums", "memory rows", "cache entries")


def test_a_short_run_finds_everything_once_and_leaves_nothing_behind(stress, tmp_path):
    status, counts, printed = stress("--seed", "7")

    assert status == 0, printed
    assert "seed 7" in printed
    assert "4 processes x 2 runs at once" in printed
    assert "0 errors, 0 lock messages" in printed
    assert {phase for phase, _ in counts} == {"storm", "kills", "rollups", "full", "damage"}
    for phase in ("storm", "kills", "full", "damage"):
        assert {store for name, store in counts if name == phase} == set(STORES)
    for store in STORES:
        assert (counts["storm", store]["written"], counts["storm", store]["found"]) == ("8", "8")
    assert all(int(row["found"].replace(",", "")) > 0 for row in counts.values())
    assert {(row["lost"], row["doubled"], row["verdict"]) for row in counts.values()} == {("0", "0", "ok")}
    assert not list(tmp_path.glob("claude-force-stress-*"))


FAULTS = """\
from claude_force.stores.memory import AgentMemory
from claude_force.stores.metrics import Metrics

def forgetful(self, agent, task, *args, store=AgentMemory.store, **facts):
    task.endswith("run0") or store(self, agent, task, *args, **facts)

def twofold(self, line, append=Metrics.append):
    append(self, line)
    append(self, line)

AgentMemory.store, Metrics.append = forgetful, twofold
"""


def test_a_store_that_loses_and_one_that_doubles_are_found_out(stress, tmp_path):
    (tmp_path / "faulty").mkdir()
    (tmp_path / "faulty" / "sitecustomize.py").write_text(FAULTS)
    path = os.pathsep.join([str(tmp_path / "faulty"), str(SCRIPTS.parent)])
    status, counts, printed = stress("--only", "storm", PYTHONPATH=path)

    assert status == 1
    assert (counts["storm", "memory rows"]["lost"], counts["storm", "memory rows"]["verdict"]) == ("4", "WRONG")
    assert (counts["storm", "metrics lines"]["doubled"], counts["storm", "metrics lines"]["verdict"]) == ("8", "WRONG")
    assert counts["storm", "cache entries"]["verdict"] == "ok"
    (left,) = tmp_path.glob("claude-force-stress-*")
    assert str(left) in printed


def test_words_that_nobody_expected_are_printed_and_make_it_fail(stress, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "from claude_force.terminal.output import Screen\n"
        "Screen.__enter__ = lambda self: self.warn('database is locked') or self\n"
    )
    status, _, printed = stress("--only", "storm", PYTHONPATH=os.pathsep.join([str(tmp_path), str(SCRIPTS.parent)]))

    assert status == 1
    assert "storm: claude-force: warning: database is locked" in printed
    assert "0 errors, 0 lock messages" not in printed


@pytest.mark.parametrize(
    ("found", "undecided", "lost", "doubled", "besides", "ok"),
    [
        ("abc", 0, 0, 0, 0, True),
        ("ab", 0, 1, 0, 0, False),
        ("abcc", 0, 0, 1, 0, False),
        ("abccc", 9, 0, 2, 0, False),
        ("abcx", 0, 0, 0, 1, False),
        ("abcx", 1, 0, 0, 1, True),
        ("abx", 1, 1, 0, 1, False),
    ],
)
def test_what_is_found_is_compared_id_by_id(found, undecided, lost, doubled, besides, ok, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from stress_census import compare

    row = compare("kills", "memory rows", "abc", Counter(found), undecided)
    assert (row.lost, row.doubled, row.besides, row.ok) == (lost, doubled, besides, ok)
