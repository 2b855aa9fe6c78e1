"""`status`: what the end of the metrics, journals and locks say of each workflow, and which one is overdue."""

import io
import json
import os
import shutil
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_force.cli import main
from claude_force.commands import scheduled
from claude_force.commands import status as commands
from claude_force.errors import ForceError, NotFound
from claude_force.files import locked
from claude_force.project.workspace import Workspace
from claude_force.reports import standing
from claude_force.reports.standing import standings
from claude_force.run_ids import is_id
from claude_force.stores.history import Span, gather
from claude_force.stores.rollups import Rollups
from claude_force.stores.seal import entry, sealed
from claude_force.stores.tally import Tally
from claude_force.terminal.output import Screen

from .executions import line as execution
from .journalled import own_line
from .terminal import Terminal

HOUR = 3600
DAY = 24 * HOUR


@pytest.fixture
def now():
    return time.time()


@pytest.fixture
def metrics(project):
    """Append what is given to the metrics of the project, and keep a journal for each run that has none."""

    def write(*lines, confirmed=True):
        path = project / ".claude" / "metrics" / "executions.jsonl"
        path.parent.mkdir(exist_ok=True)
        with path.open("ab") as stream:
            stream.write(b"".join(lines))
        ends = {}
        for told in filter(None, map(entry, lines)):
            known = ends.get(told.get("run_id"), ("ok", ""))[0]
            ends[told.get("run_id")] = (
                known if told["success"] else told.get("error_type", "failed"),
                told["workflow_id"],
            )
        for run_id, (end, workflow) in ends.items():
            run = project / ".claude" / "runs" / str(run_id)
            if confirmed and is_id(run.name) and not run.exists():
                write_journal(run, {"status": end}, workflow=workflow)

    return write


def run_id(began, number=1):
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(began))}000-{number:06x}"


def line(workflow, at, *, began=None, **facts):
    """Return the line of a step that ended at `at`, of a run that began a minute before."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at))
    facts = {"run_id": run_id(at - 60 if began is None else began), "step": "a", "estimated_cost": 0.25} | facts
    return execution(timestamp=stamp, workflow_id=workflow, **facts)


@pytest.fixture
def status(run_status):
    return lambda *words, **facts: run_status(*words, **facts)[0]


@pytest.fixture
def run_status():
    """Return the result of `status` and what it said on stderr."""

    def call(*words, verbose=0):
        parser = ArgumentParser(exit_on_error=False)
        commands.status_options(parser)
        screen = Screen(stdout=io.StringIO(), stderr=io.StringIO())
        screen.verbose = verbose
        with Workspace(screen=screen) as workspace:
            return commands.status(parser.parse_args(words), workspace), screen.stderr.getvalue()

    return call


def by_name(result):
    return {entry["workflow"]: entry for entry in result.data["workflows"]}


def define(project, *names):
    directory = project / ".claude" / "workflows"
    directory.mkdir(exist_ok=True)
    for name in names:
        (directory / f"{name}.toml").write_text('[[steps]]\nid = "a"\nagent = "linter"\ntask = "x"\n')


def test_each_workflow_has_its_last_success_failure_and_cost(project, metrics, status, now):
    define(project, "never")
    began = now - 3 * HOUR - 120
    metrics(
        line("good", now - 2 * DAY, success=False),
        line("good", now - 3 * HOUR - 60, began=began),
        line("bad", now - 5 * HOUR),
        line("good", now - 3 * HOUR, began=began, step="b"),
        line("bad", now - 2 * HOUR, success=False),
    )
    result = status()
    assert result.exit_code == 0
    found = by_name(result)
    assert [found[name]["state"] for name in ("bad", "good", "never")] == ["failed", "ok", "never run"]
    assert found["good"]["last_run"] == found["good"]["last_success"]
    assert found["good"]["last_success"]["estimated_cost"] == 0.5
    assert found["good"]["last_success"]["age_seconds"] == pytest.approx(3 * HOUR, abs=10)
    assert found["good"]["last_failure"]["age_seconds"] == pytest.approx(2 * DAY, abs=10)
    assert found["bad"]["last_success"]["age_seconds"] == pytest.approx(5 * HOUR, abs=10)
    assert found["never"]["last_run"] is None
    rows = [text.split() for text in result.text.splitlines()]
    assert [row[0] for row in rows] == ["WORKFLOW", "bad", "good", "never"]
    assert "3 h 0 min ago" in result.text
    assert "2 d 0 h ago" in result.text
    assert "$0.5000" in result.text


def test_a_run_of_which_one_step_failed_has_failed_wherever_its_line_stands(metrics, status, now):
    for number, order in enumerate([(False, True, True), (True, False, True), (True, True, False)]):
        at = now - 9 * HOUR + number
        metrics(*(line(f"w{number}", at + i, began=at - 5, success=success) for i, success in enumerate(order)))
    assert {entry["state"] for entry in by_name(status()).values()} == {"failed"}


def test_a_run_that_failed_and_was_resumed_is_what_became_of_it(project, metrics, status, now):
    began = now - 60
    metrics(line("w", now - 50, began=began, success=False), confirmed=False)
    write_journal(project / ".claude" / "runs" / run_id(began), {"status": "ok"}, workflow="w")
    metrics(line("w", now - 5, began=began))
    found = by_name(status())["w"]
    assert found["state"] == "ok"
    assert found["last_success"] == found["last_run"]
    assert found["last_failure"] is None
    assert status("--stale", "1h", "w").exit_code == 0


def test_a_run_whose_steps_were_all_skipped_has_failed_though_no_line_tells_of_it(project, metrics, status, now):
    metrics(line("w", now - DAY))
    run = project / ".claude" / "runs" / run_id(now - 60)
    began = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(now - 60))
    write_journal(run, {"status": "failed", "counts": {"skipped": 2, "ok": 0}}, began=began)
    found = by_name(status())["w"]
    assert found["state"] == "failed"
    assert found["last_failure"]["age_seconds"] == pytest.approx(60, abs=10)
    assert found["last_success"]["age_seconds"] > 23 * HOUR


def ended(fraction, *, success, number=1, workflow="w", began="000"):
    """Return the line of a run that began and ended within one second."""
    run = f"20201122-134206{began}-{number:06x}"
    stamp = f"2020-11-22T13:42:06{fraction}Z"
    return execution(timestamp=stamp, workflow_id=workflow, run_id=run, step="a", success=success)


@pytest.mark.parametrize("swapped", [False, True])
def test_of_two_runs_that_ended_within_one_second_the_later_one_counts(metrics, status, swapped):
    for success, state in ((False, "failed"), (True, "ok")):
        lines = [
            ended(".100", success=not success, workflow=state, number=2 * success),
            ended(".900", success=success, workflow=state, number=2 * success + 1),
        ]
        metrics(*(reversed(lines) if swapped else lines))
        assert by_name(status())[state]["state"] == state


@pytest.mark.parametrize("swapped", [False, True])
def test_of_two_runs_that_ended_at_one_moment_the_one_that_began_later_counts(metrics, status, swapped):
    lines = [ended("", success=True, number=9), ended("", success=False, began="001")]
    metrics(*(reversed(lines) if swapped else lines))
    found = by_name(status())["w"]
    assert (found["state"], found["last_run"]["finished"]) == ("failed", "2020-11-22T13:42:06Z")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "1 s"),
        (9.04, "9 s"),
        (59.6, "1 min"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (630, "10 min 30 s"),
        (3600, "1 h 0 min"),
    ],
)
def test_ages_are_whole_seconds(seconds, told):
    assert commands._age(seconds) == told


def test_an_interrupted_run_is_told_from_a_failed_one_and_is_no_success(metrics, status, now):
    metrics(line("w", now - DAY), line("w", now - HOUR, success=False, error_type="interrupted"))
    found = by_name(status())["w"]
    assert found["state"] == "interrupted"
    assert found["last_success"]["age_seconds"] > 23 * HOUR
    assert found["last_failure"]["status"] == "interrupted"


def write_journal(run, *ends, workflow="w", sealed=own_line, began="2026-11-22T00:00:00.000Z"):
    run.mkdir(parents=True, exist_ok=True)
    head = {"run": run.name, "journal": 1, "workflow": workflow, "steps": 2, "began": began}
    entries = [head, *({"end": "2026-11-22T00:01:00.000Z", **end} for end in ends)]
    (run / "journal.jsonl").write_bytes(b"".join(sealed(entry, run.name) + b"\n" for entry in entries))


@pytest.mark.parametrize(
    ("end", "state"),
    [({"status": "ok"}, "ok"), ({"status": "failed"}, "failed"), (None, "interrupted")],
)
def test_where_there_is_a_journal_it_says_how_the_run_ended(project, metrics, status, now, end, state):
    """A run that was killed between two steps has left lines of successes alone."""
    metrics(line("w", now - DAY), line("w", now - HOUR))
    run = project / ".claude" / "runs" / run_id(now - HOUR - 60)
    write_journal(run, *([end] if end else []))
    found = by_name(status())["w"]
    assert found["state"] == state
    assert (found["last_success"]["age_seconds"] > 23 * HOUR) == (state != "ok")


def forged(entry, run_id):
    return own_line(entry, run_id).replace(b'"seal": "', b'"seal": "f')


@pytest.mark.parametrize("end", [[{"status": "ok"}], [{"status": "failed"}], []])
def test_a_run_whose_journal_another_user_sealed_says_nothing_and_that_is_told_once(
    project, metrics, run_status, now, end
):
    metrics(line("w", now - DAY), line("w", now - HOUR), line("v", now - HOUR, began=now - 99))
    define(project, "v")
    runs = project / ".claude" / "runs"
    write_journal(runs / run_id(now - HOUR - 60), *end, sealed=lambda entry, _: own_line(entry, "of another run"))
    write_journal(runs / run_id(now - 99), *end, sealed=forged)
    result, warned = run_status("w", "v")
    found = by_name(result)
    assert found["w"]["state"] == "ok"
    assert found["w"]["last_run"]["age_seconds"] > 23 * HOUR
    assert found["v"]["state"] == "never run"
    assert warned.count("2 runs of another user or machine left out") == warned.count("left out") == 1


def test_a_forged_end_in_a_journal_of_ones_own_makes_no_success(project, metrics, status, now):
    metrics(line("w", now - HOUR))
    run = project / ".claude" / "runs" / run_id(now - HOUR - 60)
    write_journal(run)
    with (run / "journal.jsonl").open("ab") as stream:
        stream.write(forged({"end": "2026-11-22T00:01:00.000Z", "status": "ok"}, run.name) + b"\n")
    assert by_name(status())["w"]["state"] == "interrupted"


def test_a_secret_that_cannot_be_read_is_an_error_rather_than_a_success(project, metrics, status, now, home):
    metrics(line("w", now - HOUR))
    write_journal(project / ".claude" / "runs" / run_id(now - HOUR - 60), {"status": "ok"})
    (home / ".claude" / "cache.key").chmod(0o644)
    with pytest.raises(ForceError, match=r"cache\.key.*others can read it"):
        status()


def test_a_workflow_whose_lock_is_held_is_running(project, metrics, status, now):
    metrics(line("w", now - HOUR))
    path = scheduled.lock_file(project / ".claude", "w")
    path.parent.mkdir()
    with locked(path):
        os.utime(path, (now - 90, now - 90))
        found = by_name(status())["w"]
    assert (found["state"], found["running_since"][-1]) == ("running", "Z")
    assert (by_name(status())["w"]["state"], by_name(status())["w"]["running_since"]) == ("ok", None)


@pytest.mark.parametrize(
    ("ages", "words", "overdue"),
    [
        ({"w": 25}, ["--stale", "26h"], []),
        ({"w": 27}, ["--stale", "26h"], ["w"]),
        ({"w": 27}, ["--stale", "2d"], []),
        ({"w": 1}, ["--stale", "59m"], ["w"]),
        ({"w": 27, "x": 1, "y": 170}, ["--stale", "26h"], ["w", "y"]),
        ({"w": 27, "x": 1}, ["x", "--stale", "26h"], []),
        ({"w": 27, "y": 169}, ["--stale", "1w"], ["y"]),
        ({}, ["--stale", "1h"], []),
        ({}, ["never", "--stale", "1h"], ["never"]),
    ],
)
def test_what_has_not_succeeded_for_too_long_is_named(project, metrics, status, now, ages, words, overdue):
    define(project, "never")
    metrics(*(line(name, now - age * HOUR) for name, age in ages.items()), line("bad", now, success=False)[:-1])
    metrics(b"\n")
    result = status(*words)
    named = [name for name in ["bad", *overdue] if name == "bad" or name in overdue]
    if len(words) == 3:
        named = overdue
    assert result.exit_code == (1 if named else 0)
    assert [entry["workflow"] for entry in result.data["workflows"] if entry["stale"]] == sorted(named)
    assert result.text == ""
    for name in named:
        assert f"'{name}' (" in result.error.message


def test_a_check_that_finds_nothing_says_nothing_unless_asked(metrics, status, now, capsys):
    metrics(line("w", now - HOUR))
    assert main(["status", "--stale", "2h"]) == 0
    assert capsys.readouterr() == ("", "")
    assert "w " in status("--stale", "2h", verbose=1).text


def test_what_is_overdue_is_one_line_on_stderr(metrics, now, capsys):
    metrics(line("w", now - 50 * HOUR), line("x", now - 1, success=False))
    assert main(["status", "--stale", "26h"]) == 1
    told = "2 workflows have not succeeded for 26 h 0 min: 'w' (2 d 2 h ago), 'x' (never)"
    assert capsys.readouterr() == ("", f"claude-force: error: {told}; see: claude-force status\n")


@pytest.mark.parametrize("text", ["h", "0h", "-1h", "1y", "", "9999999999h"])
def test_what_is_no_span_of_time_is_refused(text, capsys):
    assert main(["status", f"--stale={text}"]) == 2
    assert "expected seconds above 0, or a time span such as 90s, 5m, 2h or 1d" in capsys.readouterr().err


def test_a_monitor_in_a_place_where_nothing_can_run_is_told_so(project, capsys):
    assert main(["status", "--stale", "26h"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"no workflow has run in {project}, and none is defined there" in err


@pytest.mark.parametrize("defined", ["workflows/w.toml", "claude.json"])
def test_a_project_whose_workflows_have_not_run_yet_is_quiet(project, capsys, defined):
    steps = {
        "workflows/w.toml": '[[steps]]\nid = "a"\nagent = "linter"\n',
        "claude.json": '{"version": 2, "workflows": {"w": {"steps": [{"id": "a", "agent": "linter"}]}}}',
    }
    (project / ".claude" / "workflows").mkdir()
    (project / ".claude" / defined).write_text(steps[defined])
    assert main(["status", "--stale", "26h"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("columns", "dated"), [(99, False), (100, True)])
def test_a_narrow_page_shows_ages_alone_and_the_cost_in_full(metrics, now, columns, dated):
    metrics(line("w" * 60, now - 50 * HOUR))
    with Terminal(columns=columns) as terminal, Workspace(screen=Screen(stdout=terminal.stream)) as workspace:
        args = Namespace(names=[], stale=None)
        heading, row = commands.status(args, workspace).text.splitlines()
    assert heading.endswith("LAST COST")
    assert row.split()[-1].startswith("$")
    assert ", 2 d 2 h ago  never  " in row if dated else "…" in row and "  2 d 2 h ago   never" in row


def test_only_the_workflows_that_were_named_are_shown(project, metrics, status, now):
    define(project, "a", "b")
    metrics(line("a", now - 1), line("gone", now - 1))
    assert list(by_name(status("b", "a"))) == ["b", "a"]
    assert list(by_name(status("gone"))) == ["gone"]
    with pytest.raises(NotFound, match="no workflow named 'gnoe'") as refused:
        status("gnoe")
    assert "gone" in refused.value.hint


def test_nothing_has_run_yet(project, status):
    result = status()
    assert (result.exit_code, result.text, result.data["workflows"]) == (0, "no workflow has run yet", [])
    assert os.listdir(project / ".claude") == []


def test_what_is_no_line_of_a_run_is_passed_over(metrics, status, now):
    metrics(
        b"not JSON\n",
        execution(workflow_id=None),
        line("w", now - HOUR),
        execution(workflow_id="w", timestamp="yesterday", success=False),
        execution(workflow_id="w", timestamp=5, success=False),
        b'{"workflow_id": "w"}\n{"workflow_id": 5, "timestamp": "2026-11-22T00:00:00Z"}\n',
        b'{"workflow_id": "\\ud8", "success": false\n',
        line("w", now, success=False)[:40],
    )
    assert by_name(status())["w"]["state"] == "ok"


def test_runs_with_ids_of_others_are_unconfirmed_and_cannot_lead_anywhere(project, metrics, status, now):
    for number, name in enumerate(["../../../etc", "", None, "x" * 300]):
        metrics(line(f"w{number}", now - HOUR, run_id=name), line(f"w{number}", now - 1, run_id=name, success=False))
    assert {entry["state"] for entry in by_name(status()).values()} == {"unconfirmed"}


def without_journal(run):
    (run / "journal.jsonl").unlink(missing_ok=True)


def with_nothing(run):
    (run / "journal.jsonl").write_bytes(b"")


def with_garbage(run):
    (run / "journal.jsonl").write_bytes(b"\0garbage\n" * 9)


def with_a_pipe(run):
    without_journal(run)
    os.mkfifo(run / "journal.jsonl")


def of_another_workflow(run):
    write_journal(run, {"status": "ok"}, workflow="another")


@pytest.mark.parametrize(
    "spoil", [shutil.rmtree, without_journal, with_nothing, with_garbage, with_a_pipe, of_another_workflow]
)
@pytest.mark.parametrize("success", [True, False])
def test_a_run_without_a_journal_of_ones_own_is_neither_a_success_nor_a_failure(
    project, metrics, status, now, spoil, success
):
    metrics(line("w", now - 30 * HOUR), line("v", now - 99, success=success), line("w", now - HOUR, success=success))
    for at in (now - HOUR, now - 99):
        spoil(project / ".claude" / "runs" / run_id(at - 60))
    found = by_name(status())
    assert [found[name]["state"] for name in "vw"] == ["unconfirmed", "unconfirmed"]
    assert found["w"]["last_success"]["age_seconds"] == pytest.approx(30 * HOUR, abs=10)
    assert [found["v"][which] for which in ("last_success", "last_failure")] == [None, None]
    assert (found["w"]["last_failure"], status("--stale", "2d", "w").exit_code) == (None, 0)
    message = status("--stale", "26h").error.message
    assert message.endswith("for 26 h 0 min: 'v' (unconfirmed), 'w' (30 h 0 min ago)")


def test_a_success_is_found_behind_any_number_of_unconfirmed_runs_of_which_few_are_read(metrics, status, now):
    metrics(line("w", now - 3 * HOUR))
    metrics(*(line("w", now - HOUR + n, success=n % 9 != 0) for n in range(3000)), confirmed=False)
    taken = []

    class Counted(Tally):
        def add(self, record):
            taken.append(record)
            return super().add(record)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standing, "_BLOCK_BYTES", 1 << 14)
        patch.setattr(standing, "Tally", Counted)
        found = by_name(status())["w"]
    assert len(taken) < 300
    assert found["state"] == "unconfirmed"
    assert found["last_success"]["age_seconds"] == pytest.approx(3 * HOUR, abs=10)


@pytest.mark.parametrize("year", ["2046", "9999"])
def test_a_run_ahead_of_the_clock_hides_no_other_one_and_is_told(metrics, status, run_status, now, year):
    """Somebody's clock was wrong, or somebody made the line."""
    ahead = execution(timestamp=f"{year}-01-01T00:00:00.000Z", workflow_id="w", run_id=f"{year}0101-000000000-aaaaaa")
    metrics(line("w", now - 30 * HOUR), ahead, ahead.replace(b'"w"', b'"v"').replace(b"aaaaaa", b"bbbbbb"))
    result, warned = run_status()
    found = by_name(result)
    assert (found["w"]["state"], found["v"]["state"]) == ("ok", "ahead")
    assert found["w"]["last_run"]["age_seconds"] == pytest.approx(30 * HOUR, abs=10)
    assert warned.count("2 runs dated ahead of this clock left out") == 1
    message = status("--stale", "26h").error.message
    assert message.endswith("'v' (ahead of this clock), 'w' (30 h 0 min ago)")


def test_a_clock_that_is_a_little_ahead_matters_nothing(metrics, run_status, now):
    metrics(line("w", now + 200))
    result, warned = run_status("--stale", "26h")
    assert (result.exit_code, warned) == (0, "")


def test_a_line_that_is_far_too_long_is_passed_over(metrics, status, now):
    metrics(line("w", now - 2 * HOUR))
    metrics(line("w", now - HOUR, began=now - 2 * HOUR - 60, success=False, pad="x" * (3 << 20)), confirmed=False)
    metrics(line("v", now - HOUR))
    found = by_name(status())
    assert [found[name]["state"] for name in "vw"] == ["ok", "ok"]


DAMAGED = {
    "timestamp": ["2026-02-30T13:00:00Z", "0000-00-00T99:00:00Z", "2026-02-28T24:00:00.000Z", "2026-02-28T13:60:00Z"],
    "estimated_cost": [1e308, -1, 10**400, "1"],
    "success": [None, 1, "yes"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in DAMAGED.items() for value in values])
def test_a_line_that_is_damaged_for_analytics_is_so_for_status(project, metrics, status, now, name, value):
    damaged = json.loads(line("w", now - 1)) | {name: value}
    metrics(*(json.dumps(damaged | {"workflow_id": name}).encode() + b"\n" for name in "vw"), line("w", now - HOUR))
    result = status("--stale", "2h")
    assert (result.exit_code, list(by_name(result))) == (0, ["w"])
    assert by_name(result)["w"]["last_run"]["age_seconds"] == pytest.approx(HOUR, abs=10)
    assert gather(project / ".claude" / "metrics", Span()).damaged == 2


def test_what_is_no_file_in_the_place_of_the_metrics_is_not_waited_for(project, status):
    path = project / ".claude" / "metrics" / "executions.jsonl"
    path.parent.mkdir()
    os.mkfifo(path)
    with pytest.raises(ForceError, match=r"executions\.jsonl: not a regular file") as told:
        status()
    assert told.value.hint == "see: claude-force doctor"


@pytest.mark.parametrize("put", [Path.mkdir, lambda path: path.symlink_to(path.parent), os.mkfifo])
def test_what_is_no_lock_in_the_place_of_one_ends_nothing(project, metrics, run_status, now, put):
    metrics(line("w", now - 30 * HOUR), line("v", now - HOUR))
    path = scheduled.lock_file(project / ".claude", "w")
    path.parent.mkdir()
    put(path)
    result, warned = run_status("--stale", "26h")
    assert "'w' (30 h 0 min ago)" in result.error.message
    assert path.is_fifo() or f"'w' is running: {path}: " in warned.replace("\n", "")


def test_an_unpriced_step_makes_the_cost_unknown(metrics, status, now):
    metrics(line("w", now - 5, began=now - 9, estimated_cost=None), line("w", now - 4, began=now - 9))
    assert by_name(status())["w"]["last_run"]["estimated_cost"] is None
    assert "unknown" in status().text


def test_a_roll_up_of_the_metrics_changes_nothing_for_runs_that_are_kept(project, metrics, status, now):
    metrics(line("w", now - 90 * DAY), line("w", now - HOUR))
    before = by_name(status())["w"]["last_success"]["run_id"]
    Rollups(project / ".claude" / "metrics").roll(30)
    assert by_name(status())["w"]["last_success"]["run_id"] == before


def test_what_a_slow_writer_adds_to_the_former_file_counts(project, metrics, status, now):
    metrics(line("w", now - 90 * DAY), line("w", now - HOUR))
    path = project / ".claude" / "metrics" / "executions.jsonl"
    with path.open("ab") as slow:
        Rollups(path.parent).roll(30)
        slow.write(line("w", now - 9))
    write_journal(project / ".claude" / "runs" / run_id(now - 69), {"status": "ok"})
    assert by_name(status())["w"]["last_success"]["age_seconds"] == pytest.approx(9, abs=5)


def test_metrics_that_cannot_be_read_are_told(project, status):
    (project / ".claude" / "metrics" / "executions.jsonl").mkdir(parents=True)
    with pytest.raises(ForceError, match=r"cannot read .*executions\.jsonl"):
        status()


def by_nobody(entry, run_id):
    return sealed(json.dumps(entry), run_id, b"")


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6), st.booleans()), max_size=40),
    st.sampled_from([64, 500, 1 << 18]),
)
def test_what_is_found_backwards_is_what_a_look_at_everything_finds(tmp_path_factory, steps, block):
    state = tmp_path_factory.mktemp("state")
    (state / "metrics").mkdir()
    start = 1_790_000_000
    runs, lines = {}, []
    for place, (workflow, number, success) in enumerate(steps):
        key = (workflow, number)
        began = runs.setdefault(key, [start + 10 * place - 5, True, None])[0]
        runs[key][1] &= success
        runs[key][2] = start + 10 * place
        lines.append(line(workflow, start + 10 * place, run_id=run_id(began, number), success=success))
    for (workflow, number), (began, good, _) in runs.items():
        if number % 3:
            journal = state / "runs" / run_id(began, number)
            write_journal(journal, {"status": "ok" if good else "failed"}, workflow=workflow, sealed=by_nobody)
    (state / "metrics" / "executions.jsonl").write_bytes(b"".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standing, "_BLOCK_BYTES", block)
        found = standings(state, "abc", secret=lambda: b"", now=start + 999)
    for workflow in "abc":
        assert (found[workflow].last is not None) == any(name == workflow for name, _ in runs)
        of = [(end, good) for (name, number), (_, good, end) in runs.items() if name == workflow and number % 3]
        for run, wanted in ((found[workflow].success, True), (found[workflow].failure, False)):
            ends = [end for end, good in of if good is wanted]
            expected = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(max(ends))) if ends else None
            if wanted:  # of older failures only the fact counts: a line of theirs, perhaps not the last, is found
                assert (run and run.finished[:19]) == expected
            else:
                assert (run is not None) == bool(ends)
