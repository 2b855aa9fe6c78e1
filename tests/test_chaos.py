"""The chaos script: a short run of it passes, and a product that pays twice, or miscounts, is found out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"
COLUMNS = ("needed", "paid", "lost", "at most", "doubled", "spent", "ledger", "cap", "verdict")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the script forks")


@pytest.fixture
def chaos(tmp_path):
    """Run phases of the script; return its status, its table by phase, and all it printed."""

    def chaos(*words, faults=""):
        (tmp_path / "sitecustomize.py").write_text(faults)
        path = os.pathsep.join([str(tmp_path), str(SCRIPTS.parent)])
        ended = subprocess.run(
            [sys.executable, SCRIPTS / "chaos", "--kills", "3", "--seed", "7", "--only", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": path},
        )
        cells = [line.rsplit(maxsplit=9) for line in ended.stdout.splitlines() if line.endswith((" ok", " WRONG"))]
        counts = {phase: dict(zip(COLUMNS, row, strict=True)) for phase, *row in cells}
        return ended.returncode, counts, ended.stdout + ended.stderr

    return chaos


def test_a_short_run_pays_for_what_is_needed_and_leaves_nothing_behind(chaos, tmp_path):
    status, counts, printed = chaos("calm", "kills", "interrupts")

    assert status == 0, printed
    assert "seed 7" in printed
    assert set(counts) == {"calm", "kills", "kills, cached", "interrupts"}
    assert (counts["calm"]["needed"], counts["calm"]["paid"], counts["calm"]["lost"]) == ("15", "15", "0")
    assert counts["calm"]["spent"] == counts["calm"]["ledger"] != "$0.000000000"
    for row in counts.values():
        assert int(row["needed"]) + int(row["lost"]) == int(row["paid"])
        assert (row["doubled"], row["verdict"]) == ("0", "ok")
    assert "3 breaks of " in printed
    assert not list(tmp_path.glob("claude-force-chaos-*"))


FORGETFUL = """\
from claude_force.running.tape import Tape

Tape.recall = lambda self, step_id, parts: None
"""


def test_a_run_that_pays_again_for_what_it_kept_is_found_out(chaos, tmp_path):
    status, counts, printed = chaos("calm", faults=FORGETFUL)

    assert status == 1
    assert (counts["calm"]["paid"], counts["calm"]["doubled"], counts["calm"]["verdict"]) == ("30", "15", "WRONG")
    (left,) = tmp_path.glob("claude-force-chaos-*")
    assert str(left) in printed


def test_a_kept_answer_that_is_paid_again_after_a_kill_is_found_out(chaos):
    status, counts, _ = chaos("kills", "--kills", "8", faults=FORGETFUL)

    assert status == 1
    assert int(counts["kills"]["doubled"]) > 0
    assert counts["kills"]["verdict"] == "WRONG"


MISCOUNTING = """\
from claude_force.stores.ledger import Ledger

def note(self, spent, *, note=Ledger.note, **facts):
    note(self, spent - 1, **facts)

Ledger.note = note
"""


def test_a_ledger_that_is_wrong_by_a_nanodollar_a_call_is_found_out(chaos):
    status, counts, printed = chaos("calm", faults=MISCOUNTING)

    assert status == 1
    spent, ledger = (counts["calm"][name] for name in ("spent", "ledger"))
    assert nanodollars(spent) - nanodollars(ledger) == 15
    assert f"calm: paid {spent}, in the ledger of project {ledger}" in printed


def nanodollars(text):
    return int(text.removeprefix("$").replace(".", ""))


def test_words_that_nobody_expected_make_it_fail(chaos):
    warn = "from claude_force.terminal.output import Screen\n"
    warn += "Screen.__enter__ = lambda self: self.warn('of old age') or self\n"
    status, _, printed = chaos("calm", faults=warn)

    assert status == 1
    assert "of old age" in printed


@pytest.mark.parametrize(
    ("paid", "kept_at", "at_most", "cap", "lost", "doubled", "ok"),
    [
        ("ab", None, 0, None, 0, 0, True),
        ("ab", None, 0, 20, 0, 0, True),
        ("ab", None, 0, 19, 0, 0, False),
        ("a", None, 0, None, -1, 0, False),
        ("abb", None, 1, None, 0, 1, False),
        ("abx", None, 1, None, 0, 1, False),
        ("abb", {"a": 1.5, "b": 3.5}, 1, None, 1, 0, True),
        ("abb", {"a": 1.5, "b": 3.5}, 0, None, 1, 0, False),
        ("abb", {"a": 1.5, "b": 2.5}, 1, None, 0, 1, False),
    ],
)
def test_bills_are_held_against_what_was_needed_and_kept(paid, kept_at, at_most, cap, lost, doubled, ok, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from chaos_census import row
    from chaos_till import Bill

    bills = [Bill(call, asked=number, at=number, cost=10, whole=True) for number, call in enumerate(paid, 1)]
    found = row("kills", {"a", "b"}, bills, 0, kept_at=kept_at, at_most=at_most, cap=cap)
    assert (found.lost, found.doubled, found.ok) == (lost, doubled, ok)
    assert found.spent == 10 * len(paid)
