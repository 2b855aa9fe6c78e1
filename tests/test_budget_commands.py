"""`budget show` and `budget set`: what they tell, what they write, and where."""

import io
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from claude_force.errors import BudgetExceeded, ConfigError, NotFound, UsageError
from claude_force.parsing import function_of, parse
from claude_force.project.workspace import Workspace
from claude_force.stores.ledger import Ledger
from claude_force.terminal.output import Screen

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


def test_amounts_stand_point_below_point_and_headings_where_their_columns_do(ask, file):
    ask("set", "daily", "2.5")
    spend(file.parent, 31_200_000)
    for number, run_id in enumerate(["20261122-0900000000-123456", "20261122-0900000000-abcdef"]):
        uncertain(file.parent, 10_000_000 + number * 1_234_000, run_id=run_id, ref=f"0000000{number}")
    text = ask("show").text
    daily, monthly = (line for line in text.splitlines() if line.startswith(("daily", "monthly")))
    assert "$0.052434" in daily
    assert [place for place, letter in enumerate(daily) if letter == "."][1:4] == [
        place for place, letter in enumerate(monthly) if letter == "."
    ][:3]
    heading, *rows = text.splitlines()[-3:]
    assert all(heading.index("RUN") == row.index("20261122-09") for row in rows)
    assert [row[-9:] for row in rows] == ["$0.010000", "$0.011234"]


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
        "of": "project",
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


def settle_in_a_process(cost):
    command = [sys.executable, "-m", "claude_force", "budget", "settle", "--json", "0a1b2c3d", "--at", cost]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_of_those_who_settle_a_call_at_once_one_does_and_its_figure_holds_in_both_ledgers(ask, file, users):
    ask("set", "daily", "5", "--user")
    for directory in (file.parent, users.parent):
        uncertain(directory, 240_000_000, ref="0a1b2c3d")
    settling = {f"0.0{number}": settle_in_a_process(f"0.0{number}") for number in range(1, 7)}
    said = {cost: process.communicate(timeout=60)[0] for cost, process in settling.items()}
    (winner,) = [cost for cost, text in said.items() if json.loads(text).get("calls") == ["0a1b2c3d"]]
    assert sums(ask)[0] == (float(winner), 0)
    assert by_scope(ask("show"))["user", "daily"]["spent"] == float(winner)


@pytest.mark.parametrize("first", ["project", "user"])
def test_the_figure_that_one_ledger_has_already_is_told_and_put_into_the_other(ask, file, users, first):
    """A settlement that a crash cut short is done again; nobody settles in the project's own ledger first."""
    ask("set", "daily", "5", "--user")
    for directory in (file.parent, users.parent):
        uncertain(directory, 240_000_000, ref="0a1b2c3d")
    with Ledger((users if first == "user" else file).parent / "state.db") as ledger:
        ledger.correct("0a1b2c3d", 50_000_000)
    if first == "user":
        result = ask("settle", "0a1b2c3d", "--at", "0.2")
        assert result.text == "1 call settled before: the figure that was put in first holds"
        assert (result.data["calls"], sums(ask)[0]) == ([], (0.05, 0))
        assert ask("settle", "--all", "--at", "0").text == "there is no call to settle"
    assert [call["of"] for call in ask("show").data["uncertain_calls"]] == ["project"]


def test_the_calls_of_other_projects_under_the_users_caps_are_listed_and_settled_by_name(ask, file, users):
    uncertain(users.parent, 30_000_000, ref="ffffffff", run_id="of another project")
    assert "ffffffff" not in ask("show").text
    with pytest.raises(NotFound):
        ask("settle", "ffffffff", "--at", "0")
    ask("set", "daily", "5", "--user")
    result = ask("show")
    assert "1 call of unknown cost in other projects, under the caps over all of them" in result.text
    assert [(call["call"], call["of"]) for call in result.data["uncertain_calls"]] == [("ffffffff", "user")]
    told = ask("settle", "--all", "--at", "0").text
    assert told == "there is no call of this project to settle; 1 call of other projects: name each"
    uncertain(file.parent, 10_000_000, ref="0a1b2c3d")
    assert ask("settle", "last", "--at", "0").data["calls"] == ["0a1b2c3d"]
    assert ask("settle", "ffffffff", "--at", "0.01").data["calls"] == ["ffffffff"]
    assert by_scope(ask("show"))["user", "daily"]["spent"] == 0.01


def test_what_was_uncertain_before_calls_were_listed_is_said_to_be_so(ask, file, users):
    ask("set", "daily", "5", "--user")
    for directory in (file.parent, users.parent):
        uncertain(directory, 30_000_000, ref="older")
        with closing(sqlite3.connect(directory / "state.db")) as connection, connection:
            connection.execute("DELETE FROM uncertain_calls")
    uncertain(file.parent, 10_000_000, ref="0a1b2c3d")
    told = [f"$0.03 uncertain{where} is from before calls were listed: it cannot be settled" for where in PLACES]
    assert ask("show").text.splitlines()[-3:] == [told[0], "", told[1]]
    assert "before calls were listed" not in ask("settle", "0a1b2c3d", "--at", "0").text
    assert ask("settle", "--all", "--at", "0").text.splitlines() == ["there is no call to settle", *told]


PLACES = ("", " over all projects")


@pytest.mark.parametrize("words", [("run", "agent", "a", "t", "--max-cost"), ("budget", "settle", "--all", "--at")])
@pytest.mark.parametrize("amount", ["-1", "1e300", "1000000001", "nan", "off"])
def test_what_is_no_amount_is_refused_with_the_bounds_that_hold(words, amount):
    with pytest.raises(UsageError, match="expected an amount in dollars from 0 to 1,000,000,000, got") as refused:
        parse([*words, amount])
    assert "or off" not in refused.value.message


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


def test_what_was_spent_before_the_first_cap_over_all_projects_is_said_not_to_count(ask, file):
    told = "; what was spent before is not counted"
    assert told not in ask("set", "run", "1", "--user").text
    ask("set", "run", "off", "--user")
    assert ask("set", "monthly", "100", "--user").text.endswith(told)
    assert told not in ask("set", "daily", "5", "--user").text
    assert told not in ask("set", "daily", "5").text
    assert told not in ask("set", "daily", "off", "--user").text


def test_outside_a_project_what_was_spent_there_counts(ask, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "not counted" not in ask("set", "daily", "5").text


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
