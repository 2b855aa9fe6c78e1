"""`budget show` and `budget set`: what they tell, what they write, and where."""

import io
import json
import os
import subprocess
import sys

import pytest

from claude_force.errors import BudgetExceeded, ConfigError, NotFound, UsageError
from claude_force.output import Screen
from claude_force.parsing import function_of, parse
from claude_force.stores.ledger import Ledger
from claude_force.workspace import Workspace

NAMES = {"scope", "of", "limit", "spent", "reserved", "uncertain", "left", "resets_at"}


@pytest.fixture
def said():
    return io.StringIO()


@pytest.fixture
def ask(said):
    """Carry out a command in a workspace of its own."""

    def carry_out(*words):
        args = parse(["budget", *words])
        with Workspace(screen=Screen(stdout=io.StringIO(), stderr=said), config=args.config) as workspace:
            return function_of(args.command)(args, workspace)

    return carry_out


@pytest.fixture
def file(project):
    return project / ".claude" / "claude.json"


@pytest.fixture
def users(home):
    return home / ".claude" / "claude.json"


def by_scope(result):
    assert all(set(cap) == NAMES for cap in result.data["caps"])
    json.dumps(result.data)
    return {(cap["of"], cap["scope"]): cap for cap in result.data["caps"]}


def spend(directory, amount, **facts):
    with Ledger(directory / "state.db") as ledger:
        ledger.note(amount, run_id="r", agent="writer", **facts)


def test_without_caps_it_shows_what_was_spent(ask, file):
    spend(file.parent, 1_500_000_000)
    spend(file.parent, 31_200_000, certain=False)
    result = ask("show")
    found = by_scope(result)
    assert list(found) == [("project", "daily"), ("project", "monthly")]
    day = found["project", "daily"]
    assert (day["limit"], day["spent"], day["uncertain"], day["left"]) == (None, 1.5312, 0.0312, None)
    assert day["resets_at"].endswith("T00:00:00Z")
    heading, today, *_ = result.text.splitlines()
    assert heading.split() == ["SCOPE", "LIMIT", "SPENT", "RESERVED", "UNCERTAIN", "LEFT", "RESETS"]
    assert today.split()[:8] == ["daily", "none", "$1.5312", "$0.00", "$0.0312", "-", "00:00", "UTC,"]


def test_where_nothing_was_spent_looking_makes_no_file(ask, file):
    assert by_scope(ask("show"))["project", "daily"]["spent"] == 0
    assert os.listdir(file.parent) == []


def test_it_shows_the_caps_of_both_files_and_what_is_reserved(ask, file, users):
    ask("set", "run", "0.5")
    ask("set", "daily", "2")
    ask("set", "agent:writer", "1", "--user")
    spend(file.parent, 500_000_000)
    with Ledger(users.parent / "state.db") as ledger:
        ledger.reserve(250_000_000, run_id="r", agent="writer", caps={"agent:writer": 10**9})
        result = ask("show")
    found = by_scope(result)
    keys = [("project", "run"), ("project", "daily"), ("project", "monthly"), ("user", "agent:writer")]
    assert list(found) == keys
    assert [found[key]["left"] for key in keys] == [None, 1.5, None, 0.75]
    assert found["user", "agent:writer"]["reserved"] == 0.25
    assert (found["project", "run"]["limit"], found["project", "run"]["spent"]) == (0.5, None)
    assert result.text.splitlines()[1].split()[:3] == ["run", "$0.50", "-"]
    assert result.text.splitlines()[4].startswith("agent:writer, all projects  $1.00  $0.00     $0.25")


def uncertain(directory, amount, **facts):
    """Charge a call that nobody knows the cost of."""
    with Ledger(directory / "state.db") as ledger:
        ledger.note(amount, **{"run_id": "r", "agent": "writer", "certain": False, **facts})


def sums(ask, whose="project"):
    caps = by_scope(ask("show"))
    return [(caps[whose, scope]["spent"], caps[whose, scope]["uncertain"]) for scope in ("daily", "monthly")]


def test_it_lists_the_calls_whose_cost_nobody_knows(ask, file):
    spend(file.parent, 1)
    uncertain(file.parent, 240_000_000, step="review", ref="0a1b2c3d", run_id="20261122-090000000-aaaaaa")
    result = ask("show")
    (call,) = result.data["uncertain_calls"]
    assert {**call, "day": ""} == {
        "call": "0a1b2c3d",
        "day": "",
        "run_id": "20261122-090000000-aaaaaa",
        "step": "review",
        "agent": "writer",
        "charged": 0.24,
        "settled": None,
        "settled_at": None,
    }
    told, _, heading, row = result.text.splitlines()[-4:]
    assert told.startswith("1 call of unknown cost")
    assert heading.split() == ["CALL", "DAY", "RUN", "STEP", "AGENT", "CHARGED"]
    assert row.split() == ["0a1b2c3d", call["day"], "20261122-090000000-aaaaaa", "review", "writer", "$0.24"]


def test_a_person_puts_in_what_a_call_did_cost_and_that_is_kept(ask, file):
    spend(file.parent, 10_000_000)
    uncertain(file.parent, 240_000_000, ref="0a1b2c3d")
    result = ask("settle", "0a1b2c3d", "--at", "0.05")
    assert (result.data["calls"], result.data["charged"], result.data["settled"]) == (["0a1b2c3d"], 0.24, 0.05)
    assert result.text == "1 call settled: $0.05 in the place of $0.24"
    assert sums(ask) == [(0.06, 0), (0.06, 0)]
    shown = ask("show")
    assert "0a1b2c3d" not in shown.text
    (call,) = shown.data["uncertain_calls"]
    assert (call["charged"], call["settled"], call["settled_at"][-1]) == (0.24, 0.05, "Z")


def test_what_was_settled_is_not_settled_again(ask, file):
    uncertain(file.parent, 240_000_000, ref="0a1b2c3d")
    ask("settle", "0a1b2c3d", "--at", "0.05")
    with pytest.raises(NotFound, match="0a1b2c3d"):
        ask("settle", "0a1b2c3d", "--at", "0")
    assert ask("settle", "--all", "--at", "0").data["calls"] == []
    assert sums(ask)[0] == (0.05, 0)


def test_the_calls_of_a_run_or_all_are_settled_at_nothing_together(ask, file):
    for number, run_id in enumerate(("20261122-1", "20261122-1", "20261122-2", "20261123-3")):
        uncertain(file.parent, 10_000_000, run_id=run_id, ref=f"0000000{number}")
    with pytest.raises(UsageError, match="the beginning of 2 runs"):
        ask("settle", "20261122", "--at", "0")
    with pytest.raises(UsageError, match="cannot share one figure"):
        ask("settle", "20261122-1", "--at", "0.01")
    assert sums(ask)[0] == (0.04, 0.04)
    assert ask("settle", "20261122-1", "--at", "0").data["calls"] == ["00000000", "00000001"]
    assert sums(ask)[0] == (0.02, 0.02)
    assert ask("settle", "last", "--at", "0").data["calls"] == ["00000003"]
    assert ask("settle", "--all", "--at", "0").data["calls"] == ["00000002"]
    assert sums(ask)[0] == (0, 0)


def test_the_users_ledger_is_corrected_with_the_projects_and_no_other_call_in_it(ask, file, users):
    ask("set", "daily", "5", "--user")
    for directory in (file.parent, users.parent):
        uncertain(directory, 240_000_000, ref="0a1b2c3d")
    uncertain(users.parent, 30_000_000, ref="ffffffff", run_id="of another project")
    ask("settle", "--all", "--at", "0.1")
    assert sums(ask)[0] == (0.1, 0)
    assert by_scope(ask("show"))["user", "daily"]["spent"] == 0.13
    assert by_scope(ask("show"))["user", "daily"]["uncertain"] == 0.03


@pytest.mark.parametrize(
    "words",
    [("--at", "0"), ("r", "--all", "--at", "0"), ("--all",), ("--all", "--at", "off"), ("--all", "--at", "-1")],
)
def test_what_names_no_call_or_no_figure_is_refused(ask, file, words):
    uncertain(file.parent, 240_000_000)
    with pytest.raises(UsageError):
        ask("settle", *words)
    assert sums(ask)[0] == (0.24, 0.24)


def test_where_nothing_was_spent_there_is_nothing_to_settle_and_no_file_is_made(ask, file):
    assert ask("settle", "--all", "--at", "0").text == "there is no call to settle"
    assert os.listdir(file.parent) == []


def test_a_damaged_ledger_is_told(ask, file):
    (file.parent / "state.db").write_bytes(b"no database" * 1000)
    with pytest.raises(BudgetExceeded, match="is damaged"):
        ask("show")


@pytest.mark.parametrize(
    ("scope", "text", "budget"),
    [
        ("daily", "5", {"daily_usd": 5}),
        ("monthly", "$50.5", {"monthly_usd": 50.5}),
        ("run", "0", {"run_usd": 0}),
        ("agent:a b", "2", {"agents": {"a b": 2}}),
        ("daily", "off", {"daily_usd": None}),
    ],
)
def test_a_cap_is_written_to_the_projects_file(ask, file, users, scope, text, budget):
    result = ask("set", scope, text)
    assert json.loads(file.read_text()) == {"version": 2, "budget": budget}
    assert not users.exists()
    assert str(file) in result.text
    assert (result.data["path"], result.data["scope"], result.exit_code) == (str(file), scope, 0)


def test_a_cap_over_all_projects_is_written_to_the_users_file(ask, file, users):
    assert "all projects together" in ask("set", "daily", "5", "--user").text
    assert json.loads(users.read_text()) == {"version": 2, "budget": {"daily_usd": 5}}
    assert not file.exists()


def test_outside_a_project_a_cap_is_the_users(ask, users, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "all projects together" in ask("set", "daily", "5").text
    assert json.loads(users.read_text())["budget"] == {"daily_usd": 5}
    assert list(by_scope(ask("show"))) == [("user", "daily"), ("user", "monthly")]


def test_a_file_that_is_named_is_the_one_that_is_written(ask, file, project):
    other = project / "other.json"
    other.write_text('{"version": 2, "default_model": "opus"}')
    ask("set", "daily", "5", "--config", str(other))
    assert json.loads(other.read_text()) == {"version": 2, "default_model": "opus", "budget": {"daily_usd": 5}}
    assert not file.exists()


def test_a_cap_for_an_agent_that_is_not_there_is_warned_of(ask, said):
    ask("set", "agent:nobody", "5")
    ask("set", "agent:code-reviewer", "5")
    assert said.getvalue().count("no agent is called") == 1
    assert "no agent is called nobody here" in said.getvalue()


@pytest.mark.parametrize(
    "words",
    [
        ("daily", "-1"),
        ("daily", "much"),
        ("daily", "nan"),
        ("daily", "inf"),
        ("daily", "1e12"),
        ("weekly", "5"),
        ("agent:", "5"),
        ("agent:a\nb", "5"),
        ("daily",),
    ],
)
def test_what_is_no_cap_is_refused_in_one_line(ask, file, words):
    with pytest.raises(UsageError) as caught:
        ask("set", *words)
    assert "\n" not in caught.value.message.replace("a\nb", "")
    assert not file.exists()


def test_a_wrong_file_is_not_overwritten(ask, file):
    file.write_text("{")
    with pytest.raises(ConfigError):
        ask("set", "daily", "5")
    assert file.read_text() == "{"


def test_the_whole_command_sets_and_shows(project):
    def command(*words):
        line = [sys.executable, "-m", "claude_force", *words]
        return subprocess.run(line, cwd=project, capture_output=True, text=True, check=True, timeout=60).stdout

    command("budget", "set", "daily", "5")
    (day, _) = json.loads(command("budget", "show", "--json"))["caps"]
    assert (day["scope"], day["limit"], day["left"]) == ("daily", 5, 5)


def test_caps_that_are_set_at_once_are_all_there(project):
    command = [sys.executable, "-m", "claude_force", "budget", "set"]
    setting = [subprocess.Popen([*command, f"agent:a{n}", str(n)], stderr=subprocess.DEVNULL) for n in range(8)]
    assert [process.wait(timeout=60) for process in setting] == [0] * 8
    written = json.loads((project / ".claude" / "claude.json").read_text())
    assert written["budget"]["agents"] == {f"a{n}": n for n in range(8)}
