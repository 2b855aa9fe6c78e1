"""`runs prune`: which runs it removes, what it asks first, and what it never touches."""

import json
import os
import time
from contextlib import ExitStack

import pytest

from claude_force.cli import main
from claude_force.stores.journal import Journal

from .journalled import place, start
from .processes import unprivileged

OLD, YOUNG = "20250101-000000000-aaaaaa", "20260101-000000000-bbbbbb"
DAY = 86_400


@pytest.fixture
def far(project, capsys, monkeypatch):
    with place(project, capsys, monkeypatch) as opened:
        yield opened


@pytest.fixture
def runs(project):
    return project / ".claude" / "runs"


def made(runs, run_id, *, days, size=0):
    """Make a run whose files were written to `days` ago, its journal of `size` bytes more."""
    with ExitStack() as held:
        journal = Journal(runs / run_id, secret=lambda: bytes(32), warn=pytest.fail)
        held.callback(journal.close)
        journal.open()
        journal.begin({"workflow": {}, "task": "", "inputs": {}, "given": [], "steps": []}, {}, workflow="w", steps=0)
    with (runs / run_id / "journal.jsonl").open("ab") as stream:
        stream.write(b"\n" * size)
    age(runs / run_id, days)
    return runs / run_id


def age(run, days):
    then = time.time() - days * DAY
    for path in (*run.iterdir(), run):
        os.utime(path, (then, then), follow_symlinks=False)


def test_what_was_last_written_to_long_ago_is_removed(far, runs):
    made(runs, OLD, days=91, size=3 << 20)
    made(runs, YOUNG, days=89)
    status, out, err = far.call("runs", "prune", "--older-than", "90", "--yes")
    assert (status, out, err) == (0, "removed 1 run, 3.0 MiB\n", "")
    assert far.ids == [YOUNG]


def test_the_setting_for_sessions_holds_for_runs_too_unless_an_age_is_given(far, runs):
    far.write("claude.json", '{"version": 2, "memory": {"retention_days": 10}}')
    made(runs, OLD, days=11)
    made(runs, YOUNG, days=9)
    found = far.data("runs", "prune", "--yes")
    assert (found["removed"], found["bytes"] > 0, far.ids) == (1, True, [YOUNG])


def test_a_run_that_was_resumed_lately_is_as_young_as_that(far, runs):
    run = made(runs, OLD, days=400)
    os.utime(run / "journal.jsonl")
    assert far.data("runs", "prune", "--yes")["removed"] == 0


def test_a_run_that_goes_on_stays(far, runs):
    run = made(runs, OLD, days=400)
    going = Journal(run, secret=lambda: bytes(32), warn=pytest.fail)
    going.open()
    assert far.data("runs", "prune", "--older-than", "0", "--yes")["removed"] == 0
    going.close()
    assert far.data("runs", "prune", "--older-than", "0", "--yes")["removed"] == 1
    assert far.ids == []


def test_a_run_that_was_killed_before_its_first_line_is_removed_too(far, runs):
    (runs / OLD).mkdir(parents=True)
    age(runs / OLD, 400)
    assert far.call("runs", "prune", "--yes")[1] == "removed 1 run, 0.0 MiB\n"


@pytest.mark.parametrize(("reply", "status", "left"), [("y\n", 0, []), ("n\n", 1, [OLD])])
def test_on_a_terminal_it_asks_first(far, runs, stdin, reply, status, left):
    made(runs, OLD, days=400)
    stdin(reply)
    found = far.call("runs", "prune", "--older-than", "90")
    assert (found[0], far.ids) == (status, left)
    assert found[2].startswith("remove 1 run older than 90 days? [y/N]\n")


def test_where_nobody_can_be_asked_nothing_is_removed(far, runs, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    made(runs, OLD, days=400)
    status, _, err = far.call("runs", "prune")
    assert (status, "--yes" in err, far.ids) == (2, True, [OLD])
    assert far.call("runs", "prune", "--older-than", "500")[:2] == (0, "removed 0 runs, 0.0 MiB\n")


def test_where_there_is_no_run_nothing_is_asked(far, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    assert far.call("runs", "prune") == (0, "removed 0 runs, 0.0 MiB\n", "")


def test_what_is_no_run_stays(far, runs, tmp_path):
    """A directory of another name, a file, a link to a run, and runs that hold what no run wrote."""
    outside = made(tmp_path / "elsewhere", OLD, days=400)
    (runs / "notes").mkdir(parents=True)
    (runs / "20250101-000000000-cccccc").write_text("a file")
    (runs / "20250101-000000000-dddddd").symlink_to(outside)
    made(runs, OLD, days=400).joinpath("notes.txt").write_text("mine")
    made(runs, YOUNG, days=400).joinpath("journal.jsonl").unlink()
    (runs / YOUNG / "journal.jsonl").symlink_to(outside / "journal.jsonl")
    for run in (runs / OLD, runs / YOUNG):
        age(run, 400)
    before = {path: path.lstat().st_size for path in tmp_path.rglob("*")}
    status, out, err = far.call("runs", "prune", "--older-than", "0", "--yes")
    assert (status, out) == (0, "removed 0 runs, 0.0 MiB\n")
    assert f"run {OLD} stays: {runs / OLD / 'notes.txt'} is no file of a run; remove it yourself" in err
    assert f"{runs / YOUNG / 'journal.jsonl'} is no file of a run" in err
    assert {path: path.lstat().st_size for path in tmp_path.rglob("*")} == before


def test_a_linked_directory_of_runs_is_not_followed(far, runs, project):
    outside = made(project / "elsewhere", OLD, days=400)
    runs.symlink_to(outside.parent)
    status, _, err = far.call("runs", "prune", "--yes")
    assert (status, f"{runs} is a link" in err) == (2, True)
    assert (outside / "journal.jsonl").is_file()


def test_one_that_cannot_be_removed_is_told_and_does_not_keep_the_others(far, runs):
    stuck = made(runs, YOUNG, days=400)
    (stuck / "lock").unlink()
    (stuck / "lock").mkdir()
    age(stuck, 400)
    made(runs, OLD, days=400)
    status, out, err = far.call("runs", "prune", "--yes")
    assert (status, out.startswith("removed 1 run,")) == (0, True)
    assert f"run {YOUNG} stays" in err


def test_processes_that_prune_at_once_remove_each_run_once(far, runs):
    count = 40
    for number in range(count):
        made(runs, f"20250101-000000{number:03}-aaaaaa", days=400)
    others = [start("--json", "-q", "runs", "prune", "--yes") for _ in range(3)]
    said = [process.communicate(timeout=60) for process in others]
    assert [err for _, err in said] == [""] * 3
    assert sum(json.loads(out)["removed"] for out, _ in said) == count
    assert far.ids == []


@pytest.mark.parametrize("days", ["-1", "soon", "nan", "inf", ""])
def test_an_age_is_a_number_of_days(far, days):
    status, _, err = far.call("runs", "prune", f"--older-than={days}")
    assert (status, "expected a number of days" in err) == (2, True)


def test_a_run_that_may_not_be_written_to_stays_with_a_warning(monkeypatch, capsys):
    with unprivileged() as directory:
        run = made(directory / ".claude" / "runs", OLD, days=400)
        run.chmod(0o500)
        monkeypatch.chdir(directory)
        monkeypatch.setenv("CLAUDE_FORCE_HOME", str(directory / "home"))
        status = main(["runs", "prune", "--yes"])
        left = (run / "journal.jsonl").is_file()
        run.chmod(0o700)
        monkeypatch.undo()
    said = capsys.readouterr()
    assert (status, said.out, left) == (0, "removed 0 runs, 0.0 MiB\n", True)
    assert f"run {OLD} stays: permission denied" in said.err
