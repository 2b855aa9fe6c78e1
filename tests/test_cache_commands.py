"""`cache stats`, `clear`, `prune` and `verify`: what they say, and what they ask before they remove anything."""

import io
import json
import os
import sqlite3
from argparse import ArgumentParser, Namespace
from contextlib import closing

import pytest

from claude_force.commands import cache as commands
from claude_force.errors import ForceError, UsageError
from claude_force.project.workspace import Workspace
from claude_force.records import Reply
from claude_force.stores.cache import ResponseCache
from claude_force.terminal.output import Screen

ANSWER = Reply("forty-two", "m", "end_turn")


@pytest.fixture
def said():
    return io.StringIO()


@pytest.fixture
def workspace(project, said):
    with Workspace(screen=Screen(stdout=io.StringIO(), stderr=said)) as opened:
        yield opened


def command(name, workspace, *words):
    parser = ArgumentParser()
    if name == "clear":
        commands.clear_options(parser)
    return getattr(commands, name)(parser.parse_args(words), workspace)


def test_stats_tell_of_a_cache_that_is_not_there_yet(workspace, project):
    result = command("stats", workspace)
    numbers = {"hits": 0, "misses": 0, "hit_rate": 0.0, "evictions": 0, "size_mb": 0.0, "entries": 0}
    assert result.data == {"schema_version": 1, "enabled": True, **numbers}
    assert os.listdir(project / ".claude") == []


def test_stats_say_how_often_the_cache_had_the_answer(workspace):
    workspace.stores.cache.put("a", ANSWER)
    for key in "aaab":
        workspace.stores.cache.get(key)
    result = command("stats", workspace)
    assert (result.data["hits"], result.data["misses"], result.data["hit_rate"]) == (3, 1, 0.75)
    assert result.data["entries"] == 1
    assert "3 of 4 (75.0%)" in result.text


def test_commands_do_nothing_where_the_cache_is_switched_off(workspace, project):
    (project / ".claude" / "claude.json").write_text(json.dumps({"version": 2, "cache": {"enabled": False}}))
    assert command("stats", workspace).data["enabled"] is False
    assert command("clear", workspace).data["removed"] == 0
    assert command("prune", workspace).data["removed"] == 0
    assert command("verify", workspace).exit_code == 0


def test_clear_with_yes_removes_everything(workspace):
    workspace.stores.cache.put("a", ANSWER)
    result = command("clear", workspace, "--yes")
    assert (result.data["removed"], result.text) == (1, "removed 1 kept answer")
    assert workspace.stores.cache.get("a") is None


@pytest.mark.parametrize("reply", ["y\n", "YES\n"])
def test_clear_asks_on_a_terminal(workspace, stdin, said, reply):
    workspace.stores.cache.put("a", ANSWER)
    stdin(reply)
    assert command("clear", workspace).data["removed"] == 1
    assert said.getvalue() == "remove 1 kept answer? [y/N]\n"


@pytest.mark.parametrize("reply", ["n\n", "\n", "\x04"])
def test_clear_removes_nothing_without_a_yes(workspace, stdin, reply):
    workspace.stores.cache.put("a", ANSWER)
    stdin(reply)
    with pytest.raises(ForceError, match="nothing was removed") as caught:
        command("clear", workspace)
    assert caught.value.exit_code == 1
    assert workspace.stores.cache.get("a") == ANSWER


@pytest.mark.parametrize("stream", [io.StringIO("y\n"), None])
def test_clear_without_a_terminal_needs_yes(workspace, monkeypatch, stream):
    workspace.stores.cache.put("a", ANSWER)
    monkeypatch.setattr("sys.stdin", stream)
    with pytest.raises(UsageError) as caught:
        command("clear", workspace)
    assert caught.value.exit_code == 2
    assert "--yes" in caught.value.hint
    assert workspace.stores.cache.get("a") == ANSWER


def test_clear_does_not_wait_for_a_reply_to_a_question_that_is_not_shown(workspace, stdin):
    workspace.stores.cache.put("a", ANSWER)
    workspace.screen.configure(json=False, quiet=True, verbose=0, color="never")
    stdin("y\n")
    with pytest.raises(UsageError):
        command("clear", workspace)


def test_clear_does_not_ask_about_nothing(workspace, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    assert command("clear", workspace).text == "removed 0 kept answers"


def test_verify_finds_answers_of_another_user_and_prune_removes_them(workspace):
    workspace.stores.cache.put("mine", ANSWER)
    with ResponseCache(workspace.stores.cache.path, secret=b"somebody else's") as other:
        other.put("theirs", ANSWER)
    found = command("verify", workspace)
    assert (found.data["valid"], found.data["foreign"], found.data["success"], found.exit_code) == (1, 1, False, 1)
    assert found.data["error"]["hint"] == "claude-force cache prune removes what is not yours"
    assert command("prune", workspace).data == {"schema_version": 1, "success": True, "removed": 1}
    found = command("verify", workspace)
    assert (found.data["success"], found.error, found.exit_code) == (True, None, 0)
    assert found.text == "1 valid answer, 0 expired, 0 foreign"


def test_verify_fails_where_the_cache_was_damaged(workspace, said):
    workspace.stores.cache.path.parent.mkdir()
    workspace.stores.cache.path.write_bytes(b"garbage" * 1000)
    found = command("verify", workspace)
    assert (found.data["damaged"], found.exit_code) == (1, 1)
    assert "set aside" in said.getvalue()
    assert command("verify", workspace).exit_code == 0


@pytest.mark.parametrize("command", [commands.prune, commands.clear])
def test_a_cache_that_cannot_be_changed_is_no_success(workspace, command):
    workspace.stores.cache.put("a", ANSWER)
    other = sqlite3.connect(workspace.stores.cache.path, isolation_level=None)
    with closing(other):
        other.execute("BEGIN IMMEDIATE")
        with workspace.stores.cache._file.file as connection:
            connection.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(ForceError, match="could not be changed"):
            command(Namespace(yes=True), workspace)
