"""Which project it is, what counts in it, and how its parts are opened and closed."""

import json
import os

import pytest

from claude_force.errors import (
    AuthenticationFailed,
    BudgetExceeded,
    ConfigError,
    Interrupted,
    NotFound,
    UsageError,
    ValidationError,
)
from claude_force.project.workspace import Workspace
from claude_force.running.plan import request, single
from claude_force.terminal.output import Screen

from .journalled import write


def open_workspace(**settings):
    return Workspace(screen=Screen(), **settings)


def agent(directory, name, **fields):
    front = "".join(f"{key}: {value}\n" for key, value in {"name": name, "description": "d", **fields}.items())
    return write(directory, f"agents/{name}.md", f"---\n{front}---\nYou are {name} of {directory.name}.\n")


def ask(workspace, name="echo", task="x"):
    plan = workspace.plan(single(name), task)
    return workspace.engine.transport(request(plan, plan.jobs[name], {}))


def test_the_project_is_the_nearest_directory_above_with_a_claude_directory(project, monkeypatch):
    inner = project / "packages" / "one"
    (inner / "src").mkdir(parents=True)
    monkeypatch.chdir(inner / "src")
    assert open_workspace().root == project
    (inner / ".claude").mkdir()
    workspace = open_workspace()
    assert (workspace.root, workspace.state) == (inner, inner / ".claude")


def test_a_file_of_that_name_makes_no_project(project, monkeypatch):
    inner = project / "inner"
    inner.mkdir()
    (inner / ".claude").write_text("")
    monkeypatch.chdir(inner)
    assert open_workspace().root == project


def test_outside_any_project_the_home_keeps_the_state(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workspace = open_workspace()
    assert (workspace.state, workspace.home, workspace.root) == (home / ".claude", home / ".claude", tmp_path)


def test_the_home_is_no_project_of_what_lies_in_it(home, monkeypatch):
    inner = home / "deep" / "down"
    inner.mkdir(parents=True)
    (home / ".claude").mkdir()
    monkeypatch.chdir(inner)
    assert (open_workspace().state, open_workspace().root) == (home / ".claude", inner)


def test_nor_is_it_where_the_home_is_reached_by_a_link(home, tmp_path, monkeypatch):
    (home / ".claude").mkdir()
    link = tmp_path / "link"
    link.symlink_to(home)
    monkeypatch.setenv("HOME", str(link))
    monkeypatch.chdir(home)
    assert open_workspace().state == link / ".claude"


def test_another_home_can_be_named(home, tmp_path, monkeypatch):
    agent(home, "of-the-home")
    other = tmp_path / "other"
    (other / "agents").mkdir(parents=True)
    (other / "agents" / "theirs.md").write_text("---\nname: theirs\ndescription: d\n---\nTheirs.\n")
    monkeypatch.chdir(home)
    monkeypatch.setenv("CLAUDE_FORCE_HOME", str(other))
    workspace = open_workspace()
    assert workspace.state == other
    assert workspace.agent("theirs").source == "user"
    with pytest.raises(NotFound):
        workspace.agent("of-the-home")


def test_a_hint_names_the_settings_of_the_home_that_was_named(project, tmp_path, monkeypatch):
    agent(project, "echo", model="claude-sonnet-99")
    file = write(tmp_path, "other/claude.json", '{"version": 2, "budget": {"daily_usd": 1}}')
    monkeypatch.setenv("CLAUDE_FORCE_HOME", str(file.parent))
    with open_workspace() as workspace:
        plan = workspace.plan(single("echo"), "x")
        with pytest.raises(BudgetExceeded) as refused:
            workspace.stores.spending("run").reserve(request(plan, plan.jobs["echo"], {}), "echo")
    assert f" in {file}: " in refused.value.hint


def test_nothing_is_written_by_looking(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_workspace() as workspace:
        workspace.agents()
        workspace.workflows()
    assert list(home.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_the_nearest_of_a_name_wins(home, project):
    agent(home, "same")
    agent(home, "linter")
    assert open_workspace().agent("same").source == "user"
    agent(project, "same")
    workspace = open_workspace()
    assert workspace.agent("same").source == "project"
    assert workspace.agent("linter").source == "user"
    sources = {a.name: a.source for a in workspace.agents()}
    assert (sources["same"], sources["linter"]) == ("project", "user")
    assert "bundled" in sources.values()


def test_settings_change_an_agent_wherever_it_is_from(project):
    agent(project, "echo", model="sonnet")
    (project / "prompts").mkdir()
    (project / "prompts" / "x.md").write_text("---\nname: other\ndescription: d\n---\nFrom a path.\n")
    write(
        project,
        "claude.json",
        {
            "agents": {
                "echo": {"model": "haiku", "max_tokens": 99, "effort": "low", "skills": ["python"]},
                "linter": {"model": "inherit"},
                "mine": {"path": "../prompts/x.md"},
            }
        },
    )
    workspace = open_workspace()
    echo = workspace.agent("echo")
    assert (echo.model, echo.max_tokens, echo.effort, echo.skills) == ("haiku", 99, "low", ("python",))
    assert workspace.agent("linter").model is None
    mine = workspace.agent("mine")
    assert (mine.name, mine.prompt.strip(), mine.source) == ("mine", "From a path.", "config")
    assert {"echo", "linter", "mine"} <= {a.name for a in workspace.agents()}
    assert next(a for a in workspace.agents() if a.name == "echo") == echo


def test_a_workflow_is_found_by_path_by_name_and_in_the_settings(project):
    text = '[[steps]]\nid = "a"\nagent = "linter"\n'
    write(project, "workflows/named.toml", text)
    (project / "loose.toml").write_text(text)
    (project / "sub").mkdir()
    (project / "sub" / "other.json").write_text('{"steps": [{"id": "a", "agent": "linter"}]}')
    write(project, "claude.json", {"workflows": {"set": {"steps": [{"id": "a", "agent": "linter", "task": "x"}]}}})
    workspace = open_workspace()
    assert workspace.workflow("named").source == "project"
    assert workspace.workflow("loose.toml").source == "path"
    assert workspace.workflow("sub/other.json").steps[0].agent == "linter"
    assert workspace.workflow("set").source == "config"
    assert {"named", "set", "code-quality-check"} <= {w.name for w in workspace.workflows()}
    with pytest.raises(NotFound) as caught:
        workspace.workflow("nmaed")
    assert "named" in caught.value.hint


def test_a_workflow_that_cannot_run_is_left_out_with_a_warning(project, capsys):
    write(project, "workflows/bad.toml", '[[steps]]\nid = "a"\nagent = "linter"\nmodell = "x"\n')
    assert "bad" not in {w.name for w in open_workspace().workflows()}
    assert "modell" in capsys.readouterr().err


def test_a_schema_is_read_beside_its_workflow_or_in_the_project_and_nowhere_else(project, tmp_path):
    schema = '{"type": "object"}'
    (tmp_path / "outside.json").write_text(schema)
    (project / "inside.json").write_text(schema)
    write(project, "workflows/beside.json", schema)
    for name in ("inside.json", "beside.json"):
        path = write(project, "workflows/w.toml", f'[[steps]]\nid = "a"\nagent = "linter"\nschema = "{name}"\n')
        assert json.loads(open_workspace().workflow("w").steps[0].schema) == {"type": "object"}
    (project / "link.json").symlink_to(tmp_path / "outside.json")
    for name in ("../../../outside.json", str(tmp_path / "outside.json"), "../../link.json"):
        path.write_text(f'[[steps]]\nid = "a"\nagent = "linter"\nschema = "{name}"\n')
        with pytest.raises(ValidationError):
            open_workspace().workflow("w")


def test_a_schema_that_the_user_names_may_lie_anywhere(project, tmp_path):
    (tmp_path / "s.json").write_text('{ "type" : "object" }')
    assert open_workspace().read_schema(str(tmp_path / "s.json")) == '{"type":"object"}'
    (tmp_path / "s.json").write_text("[")
    with pytest.raises(ValidationError, match=r"s\.json"):
        open_workspace().read_schema(str(tmp_path / "s.json"))


def test_a_file_can_stand_in_for_the_projects_settings(home, project, tmp_path, capsys):
    write(home, "claude.json", {"default_model": "opus", "performance": {"max_retries": 7}})
    write(project, "claude.json", {"default_model": "haiku"})
    other = tmp_path / "other.json"
    other.write_text('{"default_model": "sonnet", "base_url": "http://elsewhere"}')
    settings = open_workspace(config=str(other)).settings
    assert (settings.default_model, settings.performance_max_retries) == ("sonnet", 7)
    assert settings.base_url is None
    assert "base_url" in capsys.readouterr().err
    assert open_workspace().settings.default_model == "haiku"
    with pytest.raises(UsageError, match=r"none\.json: no such file"):
        _ = open_workspace(config="none.json").settings


def test_bad_settings_are_told_with_their_file(project):
    write(project, "claude.json", {"default_model": 1})
    with pytest.raises(ConfigError, match=r"claude\.json.*default_model"):
        _ = open_workspace().settings


def test_the_environments_address_wins_over_the_users(home, project, simulator):
    agent(project, "echo")
    write(home, "claude.json", {"base_url": "http://127.0.0.1:9"})
    with open_workspace() as workspace:
        ask(workspace)
    assert len(simulator.requests) == 1


def test_the_users_address_is_used_where_the_environment_has_none(home, project, simulator, monkeypatch):
    agent(project, "echo")
    write(home, "claude.json", {"base_url": simulator.url})
    monkeypatch.delenv("ANTHROPIC_BASE_URL")
    with open_workspace() as workspace:
        ask(workspace)
    assert len(simulator.requests) == 1


@pytest.mark.parametrize(
    ("given", "variable", "sent"),
    [("of-the-code", "of-the-environment", "of-the-code"), (None, "of-the-environment", "of-the-environment")],
)
def test_keys_count_in_the_order_code_environment_file(home, project, simulator, monkeypatch, given, variable, sent):
    agent(project, "echo")
    write(home, "key", "of-the-file\n")
    write(home, "claude.json", {"api_key_file": "key"})
    monkeypatch.setenv("ANTHROPIC_API_KEY", variable)
    with open_workspace(api_key=given) as workspace:
        ask(workspace)
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with open_workspace() as workspace:
        ask(workspace)
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "a-token")
    with open_workspace() as workspace:
        ask(workspace)
    first, second, third = (r.headers for r in simulator.requests)
    assert (first["x-api-key"], second["x-api-key"]) == (sent, "of-the-file")
    assert (third.get("x-api-key"), third["authorization"]) == (None, "Bearer a-token")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xff"])
def test_a_key_file_that_cannot_be_read_is_named(home, project, simulator, monkeypatch, content):
    agent(project, "echo")
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    path = write(home, "claude.json", {"api_key_file": "key"}).with_name("key")
    if content:
        path.write_bytes(content)
    with open_workspace() as workspace, pytest.raises(AuthenticationFailed, match=f"cannot read api_key_file {path}"):
        ask(workspace)


def test_jobs_come_from_the_call_then_the_settings(project, simulator):
    steps = [{"id": i, "agent": "linter", "task": "x"} for i in "ab"]
    write(project, "claude.json", {"performance": {"max_concurrent_agents": 3}, "workflows": {"w": {"steps": steps}}})
    with open_workspace() as workspace:
        plan = workspace.plan(workspace.workflow("w"), "")
        assert workspace.engine.context(plan).jobs == 3
        assert workspace.engine.context(plan, jobs=2).jobs == 2
        assert workspace.engine.context(plan).pool is workspace.engine.context(plan).pool


def test_a_feature_that_is_off_makes_every_run_sequential(project, simulator):
    steps = [{"id": i, "agent": "linter", "task": "x"} for i in "ab"]
    off = {"features": {"parallel_workflows_enabled": False}, "workflows": {"w": {"steps": steps}}}
    write(project, "claude.json", off)
    with open_workspace() as workspace:
        assert workspace.engine.context(workspace.plan(workspace.workflow("w"), ""), jobs=5).jobs == 1


def test_after_an_abort_the_next_call_goes_through(project, simulator):
    agent(project, "echo")
    with open_workspace() as workspace:
        workspace.engine.abort()
        ask(workspace)
        aborted = workspace.engine.transport
        workspace.engine.abort()
        plan = workspace.plan(single("echo"), "x")
        with pytest.raises(Interrupted):
            aborted(request(plan, plan.jobs["echo"], {}))
        assert ask(workspace).text


def test_no_socket_is_opened_before_something_is_sent(project, monkeypatch):
    agent(project, "echo")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    with open_workspace() as workspace:
        plan = workspace.plan(single("echo"), "x")
        workspace.engine.context(plan)
        assert "transport" not in vars(workspace)


def test_an_environment_can_be_given_in_place_of_the_processs(project, tmp_path):
    workspace = open_workspace(environment={"CLAUDE_FORCE_HOME": str(tmp_path), "CLAUDE_FORCE_MODEL": "opus"})
    assert workspace.settings.default_model == "opus"
    assert workspace.home == tmp_path
    assert "CLAUDE_FORCE_MODEL" not in os.environ


STATE = ["metrics", "metrics/executions.jsonl", "cache", "runs", "state.db", "agent_memory.db"]


@pytest.mark.parametrize("name", STATE)
@pytest.mark.parametrize("place", ["outside", "project/src"])
def test_a_project_whose_links_would_have_us_write_elsewhere_is_refused(project, tmp_path, name, place):
    elsewhere = tmp_path / place
    elsewhere.mkdir()
    link = project / ".claude" / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(elsewhere / "file" if "." in name else elsewhere)
    with pytest.raises(UsageError, match="is a link"):
        Workspace(screen=Screen())
    assert list(elsewhere.iterdir()) == []


def test_the_state_of_a_project_may_as_a_whole_lie_elsewhere(project, tmp_path):
    (project / ".claude").rmdir()
    (tmp_path / "elsewhere" / "metrics").mkdir(parents=True)
    (project / ".claude").symlink_to(tmp_path / "elsewhere")
    assert Workspace(screen=Screen()).state == project / ".claude"


def test_what_lies_above_a_home_is_not_its_project(tmp_path, monkeypatch):
    (tmp_path / ".claude").mkdir()
    home = tmp_path / "me"
    (home / ".claude").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("CLAUDE_FORCE_HOME", raising=False)
    assert Workspace(screen=Screen(), start=home).state == home / ".claude"
    monkeypatch.setenv("HOME", "")
    with pytest.raises(UsageError, match="HOME is empty"):
        Workspace(screen=Screen(), start=tmp_path)


def test_a_setting_file_that_is_a_link_to_nothing_is_an_error(project):
    (project / ".claude" / "claude.json").symlink_to(project / "nowhere")
    with pytest.raises(UsageError, match="link to nothing"):
        _ = Workspace(screen=Screen()).settings
