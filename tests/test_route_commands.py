"""`route`: what it says of the model, the reasons and the costs, on a real project."""

import io
import json

import pytest

from claude_force import models
from claude_force.commands import route as commands
from claude_force.errors import NotFound, UsageError
from claude_force.parsing import parse
from claude_force.project.workspace import Workspace
from claude_force.records import Usage
from claude_force.terminal.output import Screen
from tests.executions import line


@pytest.fixture
def said():
    return io.StringIO()


@pytest.fixture
def workspace(project, said):
    agent = project / ".claude" / "agents" / "helper.md"
    agent.parent.mkdir()
    agent.write_text("---\nname: helper\ndescription: helps\nmodel: sonnet\n---\nYou help.\n")
    with Workspace(screen=Screen(stdout=io.StringIO(), stderr=said)) as opened:
        yield opened


def command(workspace, *words):
    return commands.route(parse(["route", *words]), workspace)


def rows(data, **wanted):
    return [row for row in data["costs"] if all(row[key] == value for key, value in wanted.items())]


def fail(project, count, **facts):
    path = project / ".claude" / "metrics" / "executions.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(line(agent_name="helper", success=False, error_type="truncated", **facts) * count)


def test_the_chosen_model_comes_with_reasons_and_the_cost_on_each_tier(workspace):
    data = command(workspace, "helper", "Explain closures").data
    assert (data["model"], data["tier"], data["kind"], data["critical"]) == (
        "claude-haiku-5-5",
        "haiku",
        "explain",
        False,
    )
    assert data["reasons"][0] == "The agent names sonnet."
    assert [row["tier"] for row in data["costs"]] == ["haiku", "sonnet", "opus"]
    assert [row["model"] for row in rows(data, chosen=True)] == [data["model"]]
    assert [row["tier"] for row in rows(data, default=True)] == ["sonnet"]
    json.dumps(data)


def test_costs_are_those_of_the_whole_request_and_an_answer_of_usual_length(workspace):
    row = rows(command(workspace, "helper", "Explain closures").data, tier="opus")[0]
    system = models.estimate_tokens("You help.", row["model"])
    assert row["estimated_input_tokens"] == system + models.estimate_tokens("Explain closures", row["model"])
    usage = Usage(input_tokens=row["estimated_input_tokens"], output_tokens=row["expected_output_tokens"])
    assert row["estimated_cost"] == models.usd(models.cost(usage, row["model"]))
    assert row["expected_output_tokens"] == 500


def test_attached_files_count(workspace, project):
    (project / "long.txt").write_text("word " * 40_000)
    alone = command(workspace, "helper", "convert this").data
    attached = command(workspace, "helper", "convert this", "-f", "long.txt").data
    assert (alone["tier"], attached["tier"]) == ("haiku", "sonnet")
    assert attached["costs"][0]["estimated_input_tokens"] > alone["costs"][0]["estimated_input_tokens"] + 100_000


def test_the_text_tells_model_reasons_and_a_table(workspace):
    text = command(workspace, "helper", "Summarize the production passwords").text
    assert text.splitlines()[0].startswith("claude-sonnet-5-5 (confidence ")
    assert "'production', 'passwords' can do harm: sonnet at least." in text
    assert [word for word in text.splitlines()[-2].split() if word in {"1x", "chosen,", "default"}] == [
        "1x",
        "chosen,",
        "default",
    ]


def test_it_says_that_runs_are_not_routed_unless_they_are(workspace, project, said):
    command(workspace, "helper", "Explain closures")
    assert "routing.auto is off: a run takes sonnet unless it is given --auto-model" in said.getvalue()


def test_it_does_not_say_so_where_they_are(workspace, project, said):
    (project / ".claude" / "claude.json").write_text('{"version": 2, "routing": {"auto": true}}')
    command(workspace, "helper", "Explain closures")
    assert "routing.auto is off" not in said.getvalue()


def test_a_model_asked_for_is_kept_and_compared(workspace, said):
    data = command(workspace, "helper", "Explain closures", "--model", "fable").data
    assert (data["model"], data["tier"], data["reasons"]) == ("claude-fable-5-2", None, ["fable was asked for."])
    assert len(data["costs"]) == 4
    assert "routing.auto" not in said.getvalue()


def test_a_model_without_a_price_has_no_cost(workspace):
    result = command(workspace, "helper", "Explain closures", "--model", "claude-opus-9-9")
    assert result.data["estimated_cost"] is None
    assert "unknown" in result.text


@pytest.mark.parametrize("facts", [{"task_kind": "explain"}, {"task_hash": "d31acca7"}])
def test_failures_of_the_project_move_the_kind_of_task_up(workspace, project, facts):
    fail(project, 3, **facts)
    data = command(workspace, "helper", "Explain closures").data
    assert data["tier"] == "sonnet"
    assert data["reasons"][-1] == "3 of the last 3 such runs on haiku failed or were cut."


def test_failures_at_other_tasks_move_nothing(workspace, project):
    fail(project, 3, task_kind="review")
    assert command(workspace, "helper", "Explain closures").data["tier"] == "haiku"


def test_a_record_that_cannot_be_read_is_warned_of(workspace, project, said):
    (project / ".claude" / "metrics" / "executions.jsonl").mkdir(parents=True)
    assert command(workspace, "helper", "Explain closures").data["tier"] == "haiku"
    assert "routed without the record of past executions" in said.getvalue()


def test_an_agent_without_a_model_starts_from_the_default_one(workspace, project):
    (project / ".claude" / "agents" / "plain.md").write_text("---\nname: plain\ndescription: is\n---\nYou are.\n")
    data = command(workspace, "plain", "Frobnicate the quux").data
    assert (data["tier"], data["kind"], data["reasons"][0]) == ("sonnet", None, "The default is sonnet.")


def test_what_is_missing_is_an_error(workspace):
    with pytest.raises(NotFound, match="no agent named 'helpr'"):
        command(workspace, "helpr", "Explain closures")
    with pytest.raises(UsageError, match="the task is empty") as refused:
        command(workspace, "helper", " ")
    assert 'claude-force route helper "' in refused.value.hint
