import json
import os
import subprocess
import sys
from argparse import ArgumentParser
from io import StringIO

import pytest

from claude_force.commands import analytics, metrics
from claude_force.errors import Busy, ForceError, UsageError
from claude_force.files import locked
from claude_force.project.workspace import Workspace
from claude_force.terminal.output import Screen

from .executions import NOW, line, powers
from .terminal import Terminal


@pytest.fixture
def ask(project, monkeypatch):
    """Carry out a command and return its exit status, what it printed and what it said beside."""
    monkeypatch.setattr("time.time", lambda: NOW)

    def carry_out(module, name, *words, json=False, verbose=0):
        screen = Screen(json=json, stdout=StringIO(), stderr=StringIO())
        screen.configure(json=json, quiet=False, verbose=verbose, color="never")
        parser = ArgumentParser()
        if add_options := getattr(module, f"{name}_options", None):
            add_options(parser)
        with Workspace(screen=screen) as workspace:
            status = screen.show(getattr(module, name)(parser.parse_args(words), workspace))
        return status, screen.stdout.getvalue(), screen.stderr.getvalue()

    return carry_out


@pytest.fixture
def put(project):
    directory = project / ".claude" / "metrics"
    directory.mkdir()

    def write(*lines):
        with (directory / "executions.jsonl").open("ab") as stream:
            stream.writelines(lines)
        return directory

    return write


COMMANDS = ["summary", "by_agent", "costs", "trends", "export"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_analytics_gives_json_to_programs(ask, put, name):
    put(*powers(3, age=40), *powers(3, age=1))
    ask(metrics, "rollup")
    status, out, _ = ask(analytics, name, json=True)

    assert status == 0
    assert json.loads(out)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_project_that_never_ran_anything_is_no_error(ask, project, name):
    status, out, said = ask(analytics, name)

    assert (status, said) == (0, "")
    assert out == "no executions\n" or out.startswith("timestamp,")
    assert list((project / ".claude").iterdir()) == []


def test_the_summary_for_people_names_money_times_the_cache_and_the_default_model(ask, put):
    put(line(nanodollars=2 * 10**9, input_tokens=10**6), line(success=False, error_type="try_later"))
    put(line(cached=True, saved_cost=1.5, estimated_cost=0))
    _, out, _ = ask(analytics, "summary")

    assert "3, 66.7% successful" in out
    assert "mean 100 ms, p50 100 ms" in out
    assert "$2.00; the same on the default model, claude-sonnet-5-5, would have cost about $2.00" in out
    assert "33.3% hits, $1.50 saved" in out
    assert "try_later 1" in out
    assert "reviewer" in out
    assert "prompt cache" not in out


def test_the_summary_counts_what_the_prompt_cache_of_the_api_took_and_gave(ask, put):
    put(line(cache_creation_input_tokens=5000), line(cache_read_input_tokens=4000, age=40), line(cached=True))
    ask(metrics, "rollup")

    assert "4,000 read from the API's prompt cache, 5,000 written to it" in ask(analytics, "summary")[1]
    told = json.loads(ask(analytics, "summary", json=True)[1])
    assert (told["cache_read_input_tokens"], told["cache_creation_input_tokens"]) == (4000, 5000)


def test_unknown_prices_are_told(ask, put):
    put(line(estimated_cost=None), line())

    assert "1 execution of unknown price" in ask(analytics, "summary")[1]


def test_formats_other_than_tables_are_there_for_all(ask, put):
    put(*powers(3), line(agent_name="b"))

    assert json.loads(ask(analytics, "by_agent", "--format", "json")[1])["agents"][0]["executions"] == 3
    assert ask(analytics, "summary", "--format", "csv")[1].startswith("schema_version,executions,")
    costs = ask(analytics, "costs", "--by-model", "--format", "csv")[1].splitlines()
    assert (costs[0].split(",")[0], costs[1].split(",")[:2]) == ("model", ["claude-haiku-5-5", "4"])
    trends = ask(analytics, "trends", "--interval", "hourly", "--format", "csv")[1].splitlines()
    assert trends[1].startswith("2026-11-22T04:00+00:00,4,")


SPANS = [
    ([], 5),
    (["--days", "7"], 3),
    (["--days", "365"], 5),
    (["--days", "800000"], 5),
    (["--days", "9" * 9], 5),
    (["--since", "2026-11-20"], 2),
    (["--until", "2026-11-20"], 4),
    (["--since", "2026-11-15", "--until", "2026-11-15"], 1),
    (["--since", "2026-11-20T04:00"], 2),
    (["--since", "2026-11-20T04:01"], 1),
    (["--since", "2026-11-20T05:00", "--tz", "Europe/Berlin"], 2),
    (["--since", "2026-11-20T05:01", "--tz", "Europe/Berlin"], 1),
    (["--since", "2026-11-20T04:01+00:00", "--tz", "Asia/Tokyo"], 1),
]


@pytest.mark.parametrize(("words", "expected"), SPANS)
def test_a_span_is_given_in_days_or_by_its_ends(ask, put, words, expected):
    put(*(line(age=age) for age in (0, 2, 7, 8, 40)))

    assert json.loads(ask(analytics, "summary", *words, json=True)[1])["executions"] == expected


WRONG = [
    (["--days", "7", "--since", "2026-11-01"], "--days stands alone"),
    (["--since", "yesterday"], "--since yesterday: no day or time"),
    (["--until", "2026-13-01"], "no day or time"),
    (["--until", "9999-12-31"], "no day or time"),
    (["--since", "2026-11-02", "--until", "2026-11-01"], "is not before"),
    (["--tz", "Mars/Olympus", "--since", "2026-11-02"], "no such time zone"),
    (["--tz", "../etc", "--since", "2026-11-02"], "no such time zone"),
]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_a_span_that_makes_no_sense_is_refused(ask, words, message):
    with pytest.raises(UsageError, match=message):
        ask(analytics, "summary", *words)


def test_damaged_lines_are_told_of_and_named_by_verify(ask, put):
    os.utime(put(line(), b"garbage\n", line(), b'{"cut') / "executions.jsonl", (0, 0))  # nobody is writing it any more
    _, out, said = ask(analytics, "summary")

    assert out.startswith("executions  2,")
    assert "executions.jsonl: 2 damaged lines skipped" in said
    assert "damaged lines of executions.jsonl: 2, 4" in ask(metrics, "verify")[1]


def test_a_day_that_is_cut_but_rolled_up_is_told_of(ask, put):
    put(*powers(3, age=40))
    ask(metrics, "rollup")
    _, out, said = ask(analytics, "summary", "--days", "40")

    assert "2026-10-13 (UTC) is rolled up and counts as a whole" in said
    assert out.startswith("executions  3,")


def test_an_export_streams_its_rows(ask, put):
    put(*powers(3, age=40), *powers(3), *(line(nanodollars=n) for n in range(1200)))
    ask(metrics, "rollup")
    _, text, _ = ask(analytics, "export")
    _, lines, _ = ask(analytics, "export", "--format", "jsonl", "--days", "1")

    assert len(text.splitlines()) == 1 + 1 + 1203
    assert len(lines.splitlines()) == 1203


def test_a_damaged_rollup_ends_an_export_with_an_error(ask, put):
    directory = put(*powers(3, age=40))
    ask(metrics, "rollup")
    (file,) = (directory / "rollups").glob("20*.gz")
    file.write_bytes(b"garbage")
    with pytest.raises(ForceError, match="not as it was written"):
        ask(analytics, "export")
    with pytest.raises(ForceError, match="not as it was written"):
        ask(analytics, "summary")
    put(*powers(1, age=40))
    with pytest.raises(ForceError, match="not as it was written"):
        ask(metrics, "rollup")
    file.unlink()
    with pytest.raises(Busy, match="meanwhile"):
        ask(analytics, "export")


@pytest.mark.parametrize("command", ["by-agent", "costs", "trends"])
def test_on_a_narrow_terminal_the_bars_go_and_every_figure_stays(put, project, command):
    put(*(line(age=n, nanodollars=10 ** (5 + n), agent_name="agent-of-a-long-name" * (n % 2 + 1)) for n in range(5)))
    words = [sys.executable, "-m", "claude_force", "analytics", command]
    whole = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True, timeout=30).stdout
    figures = [figure for figure in whole.split() if figure.startswith("$")]
    with Terminal(columns=64) as terminal:
        subprocess.run(words, stdout=terminal.stream, check=True, timeout=30)
        narrow = terminal.wait(lambda lines: " ".join(lines).count("$") == len(figures))
    assert [figure for figure in " ".join(narrow).split() if figure.startswith("$")] == figures
    assert len({len(figure.rpartition(".")[2]) for figure in figures if figure != "$0.00"}) == 1
    assert "█" not in narrow[-1]


def test_a_rollup_is_silent_and_leaves_every_figure_as_it_was(ask, put):
    put(*(line(age=n, nanodollars=n, agent_name=f"a{n % 3}", execution_time_ms=n * 37) for n in range(60)))
    before = [ask(analytics, name, json=True) for name in COMMANDS[:4]]

    assert ask(metrics, "rollup") == (0, "", "")
    assert [ask(analytics, name, json=True) for name in COMMANDS[:4]] == before
    assert ask(metrics, "verify")[0] == 0


def test_a_rollup_tells_what_it_did_if_asked(ask, put):
    put(*powers(3, age=40))
    status, out, _ = ask(metrics, "rollup", "--keep-raw", json=True)

    assert (status, json.loads(out)["rolled_executions"], json.loads(out)["days"]) == (0, 3, 1)
    assert "nothing to roll up: all is of the last 30 days" in ask(metrics, "rollup", verbose=1)[2]
    put(*powers(2, age=40))
    assert "rolled up 2 executions" in ask(metrics, "rollup", verbose=1)[2]


@pytest.mark.parametrize(("old", "told"), [(0, "nothing to roll up"), (3, "rolled up 3 executions")])
def test_a_rollup_on_a_terminal_tells_a_person_what_it_did(put, project, old, told):
    put(line(), *powers(old, age=40))
    words = [sys.executable, "-m", "claude_force", "metrics", "rollup"]
    with Terminal() as terminal:
        ended = subprocess.run(
            words, stdout=terminal.stream, stderr=subprocess.PIPE, text=True, timeout=30, check=False
        )
    assert (ended.returncode, told in ended.stderr) == (0, True)


def test_the_retention_is_that_of_the_settings(ask, put, project):
    (project / ".claude" / "claude.json").write_text('{"version": 2, "metrics": {"retention_days": 2}}')
    put(line(age=1.9), line(age=2.1))

    assert json.loads(ask(metrics, "rollup", json=True)[1])["rolled_executions"] == 1


def test_a_second_rollup_ends_with_the_status_for_later(ask, put):
    with locked(put(line()) / "rollup.lock"), pytest.raises(Busy) as caught:
        ask(metrics, "rollup")
    assert caught.value.exit_code == 75


def test_verify_shows_accounts_and_fails_if_they_disagree(ask, put):
    directory = put(*powers(3, age=40), *powers(2, age=1))
    ask(metrics, "rollup")
    status, out, _ = ask(metrics, "verify")
    assert status == 0
    assert out.splitlines()[-1] == "all accounts agree"
    assert json.loads(ask(metrics, "verify", json=True)[1])["executions"] == 5

    next((directory / "rollups").glob("20*.gz")).write_bytes(b"garbage")
    status, out, said = ask(metrics, "verify", json=True)
    assert (status, json.loads(out)["success"]) == (1, False)
    assert "2 problems" in said


def test_what_the_system_refuses_is_told_in_one_line(ask, project):
    (project / ".claude" / "metrics").write_text("a file is in the way")

    for module, name in ((metrics, "rollup"), (metrics, "verify"), (analytics, "summary"), (analytics, "export")):
        with pytest.raises(ForceError, match=r"metrics"):
            ask(module, name)
