"""`memory search`, `recent`, `show`, `stats`, `prune` and `export`: what they say, and what they ask first."""

import io
import json
import os
from argparse import ArgumentError, ArgumentParser

import pytest

from claude_force.commands import memory as commands
from claude_force.errors import ForceError, NotFound, UsageError
from claude_force.project.workspace import Workspace
from claude_force.stores.memory import AgentMemory
from claude_force.terminal.output import Screen

DAY = 86_400
NOON = 1_800_000_000.0
FACTS = {"id", "agent_name", "task", "task_hash", "result", "success", "timestamp", "metadata", "score"}


@pytest.fixture
def said():
    return io.StringIO()


@pytest.fixture
def clock():
    return [NOON]


@pytest.fixture
def workspace(project, said, clock):
    """A workspace whose memory has a clock that is set by hand."""
    with Workspace(screen=Screen(stdout=io.StringIO(), stderr=said)) as opened:
        path = project / ".claude" / "agent_memory.db"
        with AgentMemory(path, clock=lambda: clock[0], warn=opened.screen.warn) as memory:
            opened.stores.__dict__["memory"] = memory
            yield opened


@pytest.fixture
def filled(workspace, clock):
    for number, (agent, task) in enumerate([("writer", "Bake bread"), ("writer", "Bake\ncake"), ("poet", "Sing")]):
        clock[0] = NOON + number * DAY
        workspace.stores.memory.store(
            agent, task, f"result {number}", success=agent == "writer", metadata={"n": number}
        )
    return workspace


def command(name, workspace, *words):
    parser = ArgumentParser(exit_on_error=False)
    if add_options := getattr(commands, f"{name}_options", None):
        add_options(parser)
    return getattr(commands, name)(parser.parse_args(words), workspace)


@pytest.mark.parametrize(("name", "words"), [("search", ["bread"]), ("recent", []), ("stats", []), ("export", [])])
def test_looking_at_a_memory_that_is_not_there_yet_makes_none(workspace, project, name, words):
    result = command(name, workspace, *words)
    assert result.exit_code == (1 if name == "search" else 0)
    assert not result.data if name != "stats" else result.data["sessions"] == 0
    assert os.listdir(project / ".claude") == []


def test_search_lists_sessions_the_best_first(filled):
    result = command("search", filled, "how to bake bread")
    assert [session["task"] for session in result.data] == ["Bake bread", "Bake\ncake"]
    assert set(result.data[0]) == FACTS
    heading, first, second = result.text.splitlines()
    assert heading.split() == ["SCORE", "ID", "TIME", "AGENT", "SUCCESS", "TASK"]
    assert first.split()[1:] == ["1", "2027-01-15T08:00:00.000Z", "writer", "yes", "Bake", "bread"]
    assert second.endswith("Bake")
    assert json.loads(json.dumps(result.data)) == result.data


def test_search_that_finds_nothing_says_so_beside_stdout(filled, said):
    result = command("search", filled, "??")
    assert (result.data, result.text, result.exit_code) == ([], "", 1)
    assert said.getvalue() == "no session is like that\n"
    assert command("search", filled, "bread").exit_code == 0


@pytest.mark.parametrize("query", ["", "  "])
def test_a_search_for_nothing_is_refused(filled, query):
    with pytest.raises(ArgumentError, match="expected something, got nothing"):
        command("search", filled, query)


def test_a_session_is_shown_with_its_whole_task_and_result(filled):
    filled.stores.memory.store(
        "poet", "Sing\nof the sea", "Sea,\nsea.", metadata={"run_id": "r", "workflow": "w", "model": "m", "n": 1}
    )
    found = filled.stores.memory.recent(1)[0]
    result = command("show", filled, str(found.id))
    heading, rest = result.text.split("\n", 1)
    assert heading == f"session {found.id}: agent poet, {found.timestamp}, succeeded, model m, workflow w, run r"
    assert rest == "\n== task\nSing\nof the sea\n\n== result\nSea,\nsea."
    assert result.data == {"schema_version": 1, **vars(found)}
    assert json.loads(json.dumps(result.data)) == result.data


def test_a_failed_session_says_so_and_that_nothing_came(filled):
    filled.stores.memory.store("poet", "Sing", "", success=False)
    found = filled.stores.memory.recent(1)[0]
    text = command("show", filled, str(found.id)).text
    assert text == f"session {found.id}: agent poet, {found.timestamp}, failed\n\n== task\nSing\n\n== result\n(none)"


@pytest.mark.parametrize("number", ["99", "999999999"])
def test_a_session_that_is_not_there_is_refused_with_where_ids_come_from(filled, number):
    with pytest.raises(NotFound, match=f"no session named '{number}'") as refused:
        command("show", filled, number)
    assert refused.value.hint == "its id is the first column of: claude-force memory recent"


def test_where_nothing_is_remembered_there_is_no_session_to_show(workspace, project):
    with pytest.raises(NotFound):
        command("show", workspace, "1")
    assert os.listdir(project / ".claude") == []


@pytest.mark.parametrize("number", ["x", "", "0", "-1"])
def test_what_is_no_id_is_refused(filled, number):
    with pytest.raises(ArgumentError):
        command("show", filled, number)


def test_search_and_recent_keep_to_an_agent_and_a_limit(filled):
    assert [s["task"] for s in command("search", filled, "bake", "--agent", "poet").data] == []
    assert len(command("search", filled, "bake", "--limit", "1").data) == 1
    assert [s["task"] for s in command("recent", filled, "--agent", "writer").data] == ["Bake\ncake", "Bake bread"]
    assert [s["task"] for s in command("recent", filled, "--limit", "1").data] == ["Sing"]
    assert command("recent", filled, "--limit", "1").text.splitlines()[1].split()[-2:] == ["no", "Sing"]


def test_recent_of_nothing_says_so_beside_stdout(workspace, said):
    assert command("recent", workspace).text == ""
    assert said.getvalue() == "no session is remembered\n"


def test_stats_tell_the_success_of_each_agent_and_repeated_tasks(filled):
    filled.stores.memory.store("poet", "Sing", "")
    result = command("stats", filled)
    assert result.data["success_rate"] == 0.75
    assert result.data["schema_version"] == 1
    assert result.text.splitlines()[0] == "4 sessions, 75.0% successful"
    assert ["poet", "2", "50.0%"] in [line.split() for line in result.text.splitlines()]
    assert [line.split()[1:] for line in result.text.splitlines()][-1] == ["2", "Sing"]


def test_prune_with_yes_removes_what_is_older(filled, clock):
    clock[0] = NOON + 10 * DAY
    result = command("prune", filled, "--older-than", "8.5", "--yes")
    assert (result.data["removed"], result.text) == (2, "removed 2 sessions")
    assert [session.task for session in filled.stores.memory.export()] == ["Sing"]


def test_prune_keeps_to_the_setting_unless_told_otherwise(filled, project, clock):
    (project / ".claude" / "claude.json").write_text(json.dumps({"version": 2, "memory": {"retention_days": 30}}))
    clock[0] = NOON + 30.5 * DAY
    assert command("prune", filled, "--yes").data["removed"] == 1


@pytest.mark.parametrize("reply", ["y\n", "YES\n"])
def test_prune_asks_on_a_terminal(filled, stdin, said, clock, reply):
    clock[0] = NOON + 10 * DAY
    stdin(reply)
    assert command("prune", filled, "--older-than", "1").data["removed"] == 3
    assert said.getvalue() == "remove 3 sessions older than 1 days? [y/N]\n"


@pytest.mark.parametrize("reply", ["n\n", "\n", "\x04"])
def test_prune_removes_nothing_without_a_yes(filled, stdin, clock, reply):
    clock[0] = NOON + 10 * DAY
    stdin(reply)
    with pytest.raises(ForceError, match="nothing was removed") as caught:
        command("prune", filled, "--older-than", "0")
    assert caught.value.exit_code == 1
    assert len(filled.stores.memory.recent()) == 3


@pytest.mark.parametrize("stream", [io.StringIO("y\n"), None])
def test_prune_without_a_terminal_needs_yes(filled, monkeypatch, clock, stream):
    clock[0] = NOON + 10 * DAY
    monkeypatch.setattr("sys.stdin", stream)
    with pytest.raises(UsageError, match="stdin is no terminal, so nothing was removed") as caught:
        command("prune", filled, "--older-than", "36h")
    assert caught.value.exit_code == 2
    assert "--yes" in caught.value.hint
    assert len(filled.stores.memory.recent()) == 3


def test_prune_does_not_wait_for_a_reply_to_a_question_that_is_not_shown(filled, stdin, clock):
    clock[0] = NOON + 10 * DAY
    filled.screen.configure(json=False, quiet=True, verbose=0, color="never")
    stdin("y\n")
    with pytest.raises(UsageError, match="with -q nobody is asked"):
        command("prune", filled, "--older-than", "1")


@pytest.mark.parametrize("kept", ["workspace", "filled"])
def test_prune_does_not_ask_about_nothing(request, monkeypatch, kept):
    monkeypatch.setattr("sys.stdin", None)
    assert command("prune", request.getfixturevalue(kept)).text == "removed 0 sessions"


@pytest.mark.parametrize("days", ["-1", "soon", "nan", "inf", ""])
def test_age_must_be_a_number_of_days(workspace, days):
    with pytest.raises(ArgumentError, match="expected a number of days"):
        command("prune", workspace, f"--older-than={days}")


def test_export_is_a_line_of_json_for_each_session_the_oldest_first(filled):
    result = command("export", filled)
    lines = [json.loads(line) for line in result.text.splitlines()]
    assert [line["task"] for line in lines] == ["Bake bread", "Bake\ncake", "Sing"]
    assert lines == result.data
    assert lines[2]["metadata"] == {"n": 2}


def test_export_can_be_one_array(filled):
    result = command("export", filled, "--format", "json")
    assert json.loads(result.text) == result.data
    assert len(result.data) == 3
