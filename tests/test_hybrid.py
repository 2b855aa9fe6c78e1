"""The orchestrator that chooses models, and the same on the command line, against a real server."""

import json

import pytest

from claude_force import AgentOrchestrator
from claude_force.api.hybrid import HybridOrchestrator
from claude_force.cli import main

from .journalled import write


@pytest.fixture(autouse=True)
def agents(project, simulator):
    write(project, "agents/helper.md", "---\nname: helper\ndescription: helps\nmodel: sonnet\n---\nYou help.\n")
    write(project, "claude.json", '{"version": 2, "cache": {"enabled": false}}')
    return project


@pytest.fixture
def hybrid():
    with HybridOrchestrator() as hybrid:
        yield hybrid


def executions(project):
    return [json.loads(line) for line in (project / ".claude/metrics/executions.jsonl").read_text().splitlines()]


def test_each_task_gets_its_model(hybrid):
    assert hybrid.run_agent("helper", "Explain closures").model == "claude-haiku-5-5"
    assert hybrid.run_agent("helper", "delete it from production").model == "claude-sonnet-5-5"


def test_it_is_an_orchestrator_that_routes_where_the_plain_one_does_not(hybrid):
    assert isinstance(hybrid, AgentOrchestrator)
    with AgentOrchestrator() as plain:
        assert plain.run_agent("helper", "Explain closures").model == "claude-sonnet-5-5"


def test_a_model_asked_for_is_kept(hybrid):
    assert hybrid.run_agent("helper", "Explain closures", model="opus").model == "claude-opus-5-5"


def test_a_route_can_be_asked_for_without_sending(hybrid, simulator, project):
    assert hybrid.route("helper", "Explain closures").tier == "haiku"
    assert not (project / ".claude/metrics").exists()


def test_tasks_side_by_side_are_routed_one_by_one(hybrid, project):
    hybrid.execute_multiple([("helper", "Explain {{braces}}"), ("helper", "Review this")])
    assert {e["task_kind"]: e["model"] for e in executions(project)} == {
        "explain": "claude-haiku-5-5",
        "review": "claude-sonnet-5-5",
    }


def test_steps_are_routed_by_their_own_task_unless_they_name_a_model(hybrid, project):
    write(
        project,
        "workflows/two.toml",
        '[[steps]]\nid = "a"\nagent = "helper"\ntask = "{{task}} {{input.what}}"\n'
        '[[steps]]\nid = "b"\nagent = "helper"\ntask = "Explain {{steps.a.output}}"\nmodel = "opus"\n'
        'dependencies = ["a"]\n',
    )
    results = hybrid.execute_workflow("two", "Summarize", inputs={"what": "this"})["results"]
    assert [results[step]["model"] for step in "ab"] == ["claude-haiku-5-5", "claude-opus-5-5"]
    assert [e["task_kind"] for e in executions(project)] == ["summarize", "explain"]


def test_a_kind_of_task_that_is_cut_short_on_the_small_model_moves_up(hybrid, project):
    for number in range(2):
        with pytest.raises(Exception, match="cut at max_tokens"):
            hybrid.run_agent("helper", f"Explain closures [[simulate: stop=max_tokens]] {number}")
    assert [e["model"] for e in executions(project)] == ["claude-haiku-5-5"] * 2
    assert hybrid.run_agent("helper", "Explain decorators").model == "claude-sonnet-5-5"
    assert hybrid.run_agent("helper", "Translate this").model == "claude-haiku-5-5"


@pytest.mark.parametrize(
    ("auto", "options", "model"),
    [
        (False, [], "claude-sonnet-5-5"),
        (False, ["--auto-model"], "claude-haiku-5-5"),
        (True, [], "claude-haiku-5-5"),
        (True, ["--no-auto-model"], "claude-sonnet-5-5"),
        (True, ["--model", "opus"], "claude-opus-5-5"),
    ],
)
def test_the_command_line_routes_if_it_or_the_settings_say_so(project, capsys, auto, options, model):
    write(project, "claude.json", json.dumps({"version": 2, "routing": {"auto": auto}}))
    assert main(["run", "agent", "helper", "Explain closures", "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == model


def test_without_routing_no_kind_is_written(project):
    assert main(["run", "agent", "helper", "Explain closures", "-q"]) == 0
    assert "task_kind" not in executions(project)[0]


def test_the_setting_is_followed_and_not_warned_of(project, capsys):
    write(project, "claude.json", '{"version": 2, "routing": {"auto": true}}')
    assert main(["run", "agent", "helper", "Explain closures", "--dry-run"]) == 0
    assert "no effect" not in capsys.readouterr().err
