"""`init`, `validate`, `config show` and `config migrate`, as the command line runs them."""

import json
import shutil
import stat
from pathlib import Path

import pytest

from claude_force import cli
from claude_force.simulator import Simulator

from . import processes

FILES = [
    ".claude/.gitignore",
    ".claude/agents/adviser.md",
    ".claude/claude.json",
    ".claude/skills/plain-answer/SKILL.md",
    ".claude/workflows/decide.toml",
]
AGENT = "---\nname: {0}\ndescription: Use for tests.\nmodel: haiku\n---\nYou help.\n"


@pytest.fixture
def run(capsys):
    """Run a command line; return its status, stdout and stderr."""

    def run(*words):
        status = cli.main([str(word) for word in words])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def answer(run):
    """Run a command line with --json; return its status and what it says."""

    def answer(*words):
        status, out, _ = run(*words, "--json")
        return status, json.loads(out)

    return answer


@pytest.fixture
def started(tmp_path, monkeypatch, run):
    """A project that `init` has just made, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    assert run("init")[0] == 0
    return tmp_path


@pytest.fixture
def unprivileged():
    """A directory of a user who may not do everything, as which the test runs from here on."""
    with processes.unprivileged() as place:
        yield place


def files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_init_writes_a_small_project_and_says_what_to_type_next(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    status, out, err = run("init")
    assert (status, err) == (0, "")
    assert files(tmp_path) == FILES
    assert all(f"created {name}" in out for name in FILES)
    assert "claude-force run workflow decide" in out


def test_the_example_project_is_without_fault(started, run):
    status, out, _ = run("validate", "--strict")
    assert status == 0
    assert out.endswith("0 errors, 0 warnings, 0 notes\n")


def test_the_example_workflow_and_agent_run(started, monkeypatch, answer):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "simulated")
    with Simulator() as api:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", api.url)
        status, run = answer("run", "workflow", "decide", "SQLite or Redis?")
        assert (status, run["census"]["ok"]) == (0, 3)
        assert run["execution_order"][-1] == "decision"
        status, run = answer("run", "agent", "adviser", "Argue for it.")
        assert (status, run["success"]) == (0, True)
        assert "The first sentence is the answer." in str(api.requests[-1].body)


def test_git_ignores_the_state_and_nothing_else(started):
    git = shutil.which("git")
    if not git:
        pytest.skip("git is not installed")
    import subprocess

    subprocess.run([git, "init", "-q"], check=True, cwd=started)
    state = [
        "metrics/executions.jsonl",
        "cache/x",
        "runs/1/a.json",
        "agent_memory.db",
        "state.db-wal",
        "claude.json.bak",
    ]
    for name in state:
        path = started / ".claude" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    listed = [git, "ls-files", "--others", "--exclude-standard"]
    seen = subprocess.run(listed, check=True, cwd=started, capture_output=True, text=True).stdout.splitlines()
    assert sorted(seen) == FILES


def test_init_keeps_every_file_that_is_there(started, answer):
    (started / ".claude/claude.json").write_text('{"version": 2}')
    (started / ".claude/agents/adviser.md").unlink()
    status, said = answer("init")
    assert status == 0
    assert said["created"] == [".claude/agents/adviser.md"]
    assert sorted(said["kept"]) == [name for name in FILES if name not in said["created"]]
    assert (started / ".claude/claude.json").read_text() == '{"version": 2}'


def test_init_makes_the_directory_that_it_is_given(tmp_path, monkeypatch, answer):
    monkeypatch.chdir(tmp_path)
    status, said = answer("init", "new/one")
    assert (status, said["project"]) == (0, str(tmp_path / "new/one"))
    assert files(tmp_path / "new/one") == FILES
    assert stat.S_IMODE((tmp_path / "new/one/.claude").stat().st_mode) == 0o700


def test_init_names_the_directory_to_go_to_as_a_shell_needs_it(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    assert "cd 'two words'" in run("init", "two words")[1]


def test_init_starts_a_project_below_another(started, monkeypatch, run):
    inner = started / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    status, _, err = run("init")
    place = f"{inner} lies inside the project {started}"
    assert (status, err) == (0, f"claude-force: warning: {place}, whose settings and budget do not hold here\n")
    assert files(inner) == FILES
    assert run("init") == (0, run("init")[1], "")


def test_init_refuses_the_home_directory(home, monkeypatch, run):
    monkeypatch.chdir(home)
    status, _, err = run("init")
    assert status == 2
    assert "is the home directory" in err
    assert files(home) == []


def test_init_refuses_a_place_within_dot_claude(started, run):
    status, _, err = run("init", ".claude/agents")
    assert (status, "lies within a .claude" in err) == (2, True)


@pytest.mark.parametrize("name", ["taken", "taken/.claude"])
def test_init_refuses_a_target_that_is_a_file(name, tmp_path, run):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("text")
    status, _, err = run("init", tmp_path / "taken")
    assert status == 2
    assert f"{tmp_path / name} is no directory" in err
    assert err.count("\n") == 1
    assert (tmp_path / name).read_text() == "text"


def test_init_leaves_nothing_behind_where_it_may_not_write(unprivileged, run):
    (unprivileged / ".claude/agents").mkdir(parents=True)
    (unprivileged / ".claude/workflows").mkdir(mode=0o500)
    status, _, err = run("init", unprivileged)
    assert status == 2
    assert "permission denied" in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in unprivileged.rglob("*")) == [".claude", "agents", "workflows"]


def test_init_refuses_a_read_only_directory(unprivileged, run):
    unprivileged.chmod(0o500)
    status, _, err = run("init", unprivileged)
    assert status == 2
    assert f"cannot write {unprivileged}/.claude: permission denied" in err


def test_init_does_not_write_through_a_link_that_leads_elsewhere(tmp_path, run):
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (root / ".claude").mkdir(parents=True)
    (root / ".claude/workflows").symlink_to(outside)
    status, _, err = run("init", root)
    assert (status, "leads out of the project" in err) == (2, True)
    assert files(tmp_path) == []


def test_validate_names_line_severity_and_remedy_of_each_problem(project, run):
    agents = project / ".claude/agents"
    agents.mkdir()
    (agents / "a.md").write_text(
        "---\nname: a\ndescription: d\nmodel: haikoo\nskills: cooking\ntools: Read\n---\nText.\n"
    )
    status, out, err = run("validate")
    assert (status, err) == (2, "")
    lines = out.splitlines()
    assert ".claude/agents/a.md:4: error: no model named 'haikoo'; did you mean haiku?" in lines
    assert ".claude/agents/a.md:5: error: there is no skill 'cooking'; add it" in lines
    assert any(line.startswith(".claude/agents/a.md:6: note: 'tools'") for line in lines)
    assert lines[-1].endswith("2 errors, 0 warnings, 1 note")


def test_validate_says_the_same_in_json(project, answer):
    (project / ".claude/agents").mkdir()
    (project / ".claude/agents/a.md").write_text("no fields")
    status, said = answer("validate")
    assert (status, said["success"], said["schema_version"]) == (0, True, 1)
    assert said["checked"]["agents"] >= 1
    problem = next(p for p in said["problems"] if p["severity"] == "warning")
    assert (problem["path"], problem["line"]) == (str(project / ".claude/agents/a.md"), 1)
    assert problem["remedy"]


def test_a_warning_fails_only_where_it_is_strict(project, run):
    (project / ".claude/agents").mkdir()
    (project / ".claude/agents/a.md").write_text("no fields")
    assert [run("validate")[0], run("validate", "--strict")[0]] == [0, 2]


WORKFLOWS = {
    "unknown agent": (
        '[[steps]]\nid = "a"\nagent = "lintr"\n',
        (3, "step 'a': no agent named 'lintr'", "did you mean linter?"),
    ),
    "unknown skill": (
        '[[steps]]\nid = "a"\nagent = "linter"\n\n[[steps]]\nid = "b"\nagent = "linter"\nskills = ["pyton"]\n',
        (8, "step 'b': no skill named 'pyton'", "did you mean python?"),
    ),
    "unknown model": (
        '[[steps]]\nid = "a"\nagent = "linter"\nmodel = "hiku"\n',
        (4, "no model named 'hiku'", "haiku"),
    ),
    "cycle": (
        '[[steps]]\nid = "a"\nagent = "linter"\ndependencies = ["b"]\n'
        '[[steps]]\nid = "b"\nagent = "linter"\ndependencies = ["a"]\n',
        (2, "cycle: a -> b -> a", "remove one"),
    ),
    "unknown template name": (
        '[[steps]]\nid = "a"\nagent = "linter"\ntask = "{{steps.b.output}}"\n',
        (4, "no template name named 'steps.b.output'", "known"),
    ),
    "TOML syntax": ('[[steps]]\nid = "a"\nagent = \n', (3, "TOML syntax", "correct")),
    "no steps": ('description = "d"\n', (1, "has no steps", "add a [[steps]] table")),
}


@pytest.mark.parametrize("case", WORKFLOWS)
def test_validate_finds_what_is_wrong_with_a_workflow(case, project, answer):
    text, (line, message, remedy) = WORKFLOWS[case]
    path = project / ".claude/workflows/w.toml"
    path.parent.mkdir()
    path.write_text(text)
    status, said = answer("validate")
    assert status == 2
    problem = next(p for p in said["problems"] if p["severity"] == "error")
    assert (problem["path"], problem["line"]) == (str(path), line)
    assert message in problem["message"]
    assert remedy in problem["remedy"]


def test_every_step_that_cannot_run_is_named(project, answer):
    path = project / ".claude/workflows/w.toml"
    path.parent.mkdir()
    path.write_text("".join(f'[[steps]]\nid = "{i}"\nagent = "none{i}"\n' for i in range(3)))
    assert [p["line"] for p in answer("validate")[1]["problems"]] == [3, 6, 9]


STEPS = """
[[steps]]
id = "a"
agent = "linter"
modell = "haiku"
[[steps]]
id = "b"
agent = "linter"
dependencies = ["a", "z"]
[[steps]]
id = "c"
agent = "linter"
dependencies = "b"
task = "{{steps.a.output}} {{steps.b.output}} {{steps.d.output}}"
[[steps]]
id = "d"
agent = "lintr"
dependencies = ["b"]
task = "{{steps.a.output}}"
"""


def test_steps_that_are_wrong_in_themselves_and_steps_that_cannot_be_planned_are_all_named(project, answer):
    path = project / ".claude/workflows/w.toml"
    path.parent.mkdir()
    path.write_text(STEPS)
    found = [(p["line"], p["message"].partition("step ")[2]) for p in answer("validate", "w")[1]["problems"]]
    assert found == [
        (5, "'a': no key named 'modell'"),
        (9, "'b': dependencies: no step named 'z'"),
        (14, "'c' names the output of 'd' but does not depend on it"),
        (17, "'d': no agent named 'lintr'"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "last"),
    [
        ('["a", "z"]', '["c"]', "cycle: b -> c -> b"),
        ('id = "d"', 'id = "a"', "two steps have the id 'a'"),
        ('id = "d"', 'id = "?"', "step 4: id is '?'"),
    ],
)
def test_where_more_than_a_step_is_wrong_that_is_the_last_thing_told(project, answer, old, new, last):
    path = project / ".claude/workflows/w.toml"
    path.parent.mkdir()
    path.write_text(STEPS.replace(old, new))
    messages = [p["message"] for p in answer("validate", "w")[1]["problems"]]
    assert any("'modell'" in message for message in messages)
    assert any(last in message for message in messages)
    assert not any("lintr" in message for message in messages)


def test_a_missing_schema_file_does_not_hide_the_other_steps(project, answer):
    path = project / ".claude/workflows/w.toml"
    path.parent.mkdir()
    path.write_text('[[steps]]\nid = "a"\nagent = "linter"\nschema = "no.json"\n[[steps]]\nid = "b"\nagent = "x"\n')
    messages = [p["message"] for p in answer("validate", "w")[1]["problems"]]
    assert len(messages) == 2
    assert "no.json" in messages[0] + messages[1]
    assert "no agent named 'x'" in messages[0] + messages[1]


def test_every_wrong_step_of_a_workflow_in_the_settings_is_named(project, answer):
    steps = [{"id": i, "agent": "linter", "effort": "hgih"} for i in ("a", "b")]
    (project / ".claude/claude.json").write_text(json.dumps({"version": 2, "workflows": {"w": {"steps": steps}}}))
    messages = [p["message"] for p in answer("validate")[1]["problems"]]
    assert [message.partition("step ")[2][:3] for message in messages] == ["'a'", "'b'"]


def test_a_workflow_is_valid_without_its_files_and_inputs(project, run):
    path = project / ".claude/workflows/w.toml"
    path.parent.mkdir()
    path.write_text(
        '[[steps]]\nid = "a"\nagent = "linter"\ntask = "{{input.style}} {{task}}"\nfiles = ["src/*.c"]\n'
        '[[steps]]\nid = "b"\nagent = "linter"\ndependencies = ["a"]\nwhen = "{{input.deep}}"\n'
    )
    assert run("validate", "w")[0] == 0


def test_a_deprecated_model_is_warned_of_where_it_stands(project, answer):
    (project / ".claude/agents").mkdir()
    (project / ".claude/agents/a.md").write_text(AGENT.format("a").replace("haiku", "claude-opus-4-1"))
    problem = next(p for p in answer("validate")[1]["problems"] if p["severity"] == "warning")
    assert problem["line"] == 4
    assert "claude-opus-4-1" in problem["message"]


SETTINGS = {
    "wrong type": ('{\n "cache": {\n  "ttl_hours": "long"\n }\n}', (3, "error", "cache.ttl_hours: expected a number")),
    "unknown key": ('{\n "version": 2,\n "cahce": {}\n}', (3, "warning", "cahce: unknown key")),
    "unknown default model": (
        '{"version": 2,\n "cache": {},\n "default_model": "sonet"}',
        (3, "error", "default_model: no model named 'sonet'"),
    ),
    "retired default model": (
        '{"version": 2,\n "default_model": "claude-opus-4-1"}',
        (2, "warning", "was retired on"),
    ),
    "no JSON": ('{\n "version": 2 2\n}', (2, "error", "not JSON")),
    "agent without file": ('{"version": 2,\n "agents": {"x": {"path": "none.md"}}}', (2, "error", "none.md")),
    "agent with unknown model": (
        '{"version": 2,\n "agents": {\n  "linter": {"model": "hiku"}}}',
        (3, "error", "no model named 'hiku'"),
    ),
    "workflow with unknown agent": (
        '{"version": 2,\n "workflows": {"w": {"steps": [\n  {"id": "a", "agent": "lintr"}]}}}',
        (3, "error", "no agent named 'lintr'"),
    ),
    "workflow with a cycle": (
        '{"version": 2,\n "workflows": {"w": {"steps": [{"id": "a", "agent": "linter", "dependencies": ["a"]}]}}}',
        (2, "error", "depends on itself"),
    ),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_validate_finds_what_is_wrong_with_the_settings(case, project, answer):
    text, (line, severity, message) = SETTINGS[case]
    path = project / ".claude/claude.json"
    path.write_text(text)
    status, said = answer("validate")
    assert status == (2 if severity == "error" else 0)
    problem = next(p for p in said["problems"] if p["severity"] == severity and p["path"] == str(path))
    assert problem["line"] == line
    assert message in problem["message"]


def test_broken_settings_do_not_keep_agents_from_being_checked(project, answer):
    (project / ".claude/claude.json").write_text("{")
    (project / ".claude/agents").mkdir()
    (project / ".claude/agents/a.md").write_text("---\nname: a\ndescription: d\n---\n")
    messages = [p["message"] for p in answer("validate")[1]["problems"]]
    assert any("no instructions" in message for message in messages)
    assert "models and workflows were not checked" in messages


@pytest.mark.parametrize("text", ['{"cache":\n {"ttl_hours": "long"}}', "{", '{"version": "x"}'])
def test_the_note_that_settings_hide_more_follows_the_error_that_does(project, answer, text):
    (project / ".claude/claude.json").write_text(text)
    error, note = answer("validate")[1]["problems"]
    assert (error["severity"], note["severity"]) == ("error", "note")
    assert note["line"] == error["line"]


def test_a_key_that_was_misspelled_is_told_in_one_sentence(project, run):
    (project / ".claude/claude.json").write_text('{"version": 2, "default_modle": "haiku"}')
    line = run("validate")[1].splitlines()[0]
    assert line.endswith("default_modle: unknown key, ignored; did you mean default_model?")


def test_a_variable_that_is_wrong_is_a_problem_of_the_environment(project, monkeypatch, run):
    monkeypatch.setenv("CLAUDE_FORCE_JOBS", "many")
    status, out, _ = run("validate")
    assert status == 2
    assert "environment:1: error: CLAUDE_FORCE_JOBS" in out


def test_validate_takes_names_of_any_kind(started, answer):
    status, said = answer("validate", "adviser", "plain_answer", "decide")
    assert (status, said["checked"]) == (0, {"agents": 1, "skills": 1, "workflows": 1, "settings": 1})


def test_a_name_that_nothing_has_is_refused_with_close_ones(started, run):
    status, _, err = run("validate", "advisor")
    assert status == 2
    assert "did you mean adviser?" in err


def test_validate_takes_paths_within_and_outside_the_library(started, tmp_path, answer):
    loose = tmp_path / "loose"
    (loose / "skill").mkdir(parents=True)
    (loose / "helper.md").write_text(AGENT.format("helper").replace("haiku", "hiku"))
    (loose / "skill/SKILL.md").write_text("---\nname: other\ndescription: d\n---\nText.\n")
    (loose / "w.json").write_text('{"steps": [{"id": "a", "agent": "nobody"}]}')
    status, said = answer("validate", "loose/helper.md", "loose/skill", "loose/w.json", ".claude/agents/adviser.md")
    assert status == 2
    assert said["checked"] == {"agents": 2, "skills": 1, "workflows": 1, "settings": 1}
    found = {(Path(p["path"]).name, p["line"], p["severity"]) for p in said["problems"]}
    assert found == {("helper.md", 4, "error"), ("SKILL.md", 2, "warning"), ("w.json", 1, "error")}


def test_validate_takes_the_settings_alone(started, answer):
    status, said = answer("validate", ".claude/claude.json")
    assert (status, said["checked"]) == (0, {"agents": 0, "skills": 0, "workflows": 0, "settings": 1})


def test_a_path_that_is_not_there_is_refused(started, run):
    status, _, err = run("validate", "none.md")
    assert (status, "no such file" in err) == (2, True)


def test_the_users_library_and_another_settings_file_are_checked_too(project, home, tmp_path, answer):
    (home / ".claude/agents").mkdir(parents=True)
    (home / ".claude/agents/mine.md").write_text("---\nname: mine\ndescription: d\n---\n")
    (home / ".claude/claude.json").write_text('{"version": 2, "odd": 1}')
    (tmp_path / "other.json").write_text('{"version": 2, "stange": 1}')
    said = answer("--config", tmp_path / "other.json", "validate")[1]
    names = {Path(p["path"]).name for p in said["problems"]}
    assert names == {"mine.md", "claude.json", "other.json"}
    assert said["checked"]["settings"] == 2


def test_config_show_tells_where_each_value_comes_from(project, home, monkeypatch, answer):
    (home / ".claude").mkdir()
    (home / ".claude/claude.json").write_text('{"version": 2, "cache": {"ttl_hours": 1}}')
    (project / ".claude/claude.json").write_text('{"version": 2, "budget": {"run_usd": 2.5}}')
    monkeypatch.setenv("CLAUDE_FORCE_MODEL", "opus")
    status, said = answer("config", "show")
    rows = {row["key"]: (row["value"], row["origin"]) for row in said["settings"]}
    assert status == 0
    assert rows["default_model"] == ("opus", "CLAUDE_FORCE_MODEL")
    assert rows["cache.ttl_hours"] == (1, str(home / ".claude/claude.json"))
    assert rows["budget.run_usd"] == (2.5, str(project / ".claude/claude.json"))
    assert rows["memory.recall"] == (0, "built in")


def test_config_show_writes_values_as_the_file_has_them(project, run):
    _, out, err = run("config", "show")
    rows = {line.split()[0]: line.split()[1] for line in out.splitlines()}
    assert err == ""
    assert (rows["default_model"], rows["cache.enabled"], rows["budget.run_usd"]) == ("sonnet", "true", "null")


def test_config_show_shows_no_secret(project, home, monkeypatch, run):
    (home / ".claude").mkdir()
    (home / ".claude/key").write_text("sk-ant-secret-in-file")
    settings = '{"version": 2, "api_key_file": "key", "base_url": "https://me:hidden@gate.example/v"}'
    (home / ".claude/claude.json").write_text(settings)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret-in-environment")
    for words in (["config", "show"], ["config", "show", "--json"]):
        status, out, err = run(*words)
        assert status == 0
        assert "gate.example" in out
        assert not [secret for secret in ("hidden", "sk-ant") if secret in out + err]


def test_config_migrate_rewrites_an_older_file_and_keeps_it(project, answer, run):
    path = project / ".claude/claude.json"
    path.write_text('{"workflows": {"check": ["linter", "tester"]}}')
    status, said = answer("config", "migrate")
    assert (status, said["path"], said["backup"]) == (0, str(path), f"{path}.bak")
    assert said["changes"]
    assert json.loads(path.read_text())["version"] == 2
    assert Path(said["backup"]).read_text() == '{"workflows": {"check": ["linter", "tester"]}}'
    assert "nothing to do" in run("config", "migrate")[1]


def test_config_migrate_takes_a_file_and_says_what_it_did(project, tmp_path, run):
    (tmp_path / "old.json").write_text('{"performance": {"async_enabled": true}}')
    status, out, _ = run("config", "migrate", tmp_path / "old.json")
    assert status == 0
    assert "performance.async_enabled" in out
    assert f"kept {tmp_path / 'old.json'}.bak" in out


def test_config_migrate_without_a_file_is_refused(project, run):
    status, _, err = run("config", "migrate")
    assert (status, "no such file" in err) == (2, True)
