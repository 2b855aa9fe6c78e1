"""The lock file: what is in it, what counts as a difference, and that `--frozen` sends nothing that differs."""

import io
import json
import os
import stat
from argparse import ArgumentParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_force.cli import main
from claude_force.commands import lock as commands
from claude_force.errors import ConfigError, ForceError, NotFound, UsageError, ValidationError
from claude_force.project.workspace import Workspace
from claude_force.records import Agent, Skill, Step
from claude_force.running import lockfile
from claude_force.running import plan as plans
from claude_force.simulator import Behaviour, Simulator
from claude_force.terminal.output import Screen

REVIEW = """
description = "two steps"
[inputs]
must = {}
[[steps]]
id = "look"
agent = "reviewer"
task = "look at {{input.must}}"
files = ["src/{{input.must}}.py"]
[[steps]]
id = "sum"
agent = "writer"
model = "opus"
dependencies = ["look"]
"""


@pytest.fixture
def place(project):
    """The library of a project: an agent with a skill, one without, and a workflow of both."""
    home = project / ".claude"
    write(
        home / "agents" / "reviewer.md", "---\nname: reviewer\ndescription: d\nskills: care\nmodel: haiku\n---\nLook.\n"
    )
    write(home / "claude.json", '{"skills": {"auto": false}}')
    write(home / "agents" / "writer.md", "---\nname: writer\ndescription: d\n---\nWrite.\n")
    write(home / "skills" / "care" / "SKILL.md", "---\nname: care\ndescription: d\n---\nTake care.\n")
    write(home / "workflows" / "review.toml", REVIEW)
    write(project / "src" / "x.py", "pass\n")
    return home


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture
def said():
    return io.StringIO()


@pytest.fixture
def lock(said):
    """Call `lock` as from the command line; what it looks at is read anew each time."""

    def call(*words):
        parser = ArgumentParser()
        commands.lock_options(parser)
        with Workspace(screen=Screen(stdout=io.StringIO(), stderr=said)) as workspace:
            return commands.lock(parser.parse_args(words), workspace)

    return call


@pytest.fixture
def check(said):
    """Ask whether a workflow, or an agent, uses what is locked."""

    def call(name, *, agent=False, **settings):
        with Workspace(screen=Screen(stdout=io.StringIO(), stderr=said)) as workspace:
            source = plans.single(name, **settings) if agent else workspace.workflow(name)
            inputs = {i.name: "x" for i in source.inputs}
            commands.check(workspace.plan(source, "t", given=inputs), workspace)

    return call


def locked(place):
    return json.loads((place / "claude-force.lock").read_text())


def test_the_lock_names_all_that_the_project_uses_with_the_models_that_names_stand_for(place, lock):
    result = lock()
    found = locked(place)
    assert sorted(found) == ["agents", "also", "default_model", "price_version", "skills", "version", "workflows"]
    assert {name: entry["model"] for name, entry in found["agents"].items()} == {
        "reviewer": "claude-haiku-5-5",
        "writer": found["default_model"],
    }
    assert found["workflows"]["review"]["models"] == {"look": "claude-haiku-5-5", "sum": "claude-opus-5-5"}
    assert [found[kind]["care" if kind == "skills" else "writer"]["source"] for kind in ("skills", "agents")] == [
        "project",
        "project",
    ]
    assert result.data["agents"] == 2
    assert "locked 2 agents, 1 skill, 1 workflow" in result.text


def test_it_can_be_committed_and_compared_by_people(place, lock):
    os.umask(0o022)
    lock()
    path = place / "claude-force.lock"
    text = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"
    before = path.stat().st_ino
    lock()
    assert (path.read_text(), path.stat().st_ino) == (text, before)


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("agents/reviewer.md", "Look.", "Look well.", "agent 'reviewer' has changed"),
        ("agents/reviewer.md", "skills: care", "skills:", "agent 'reviewer' has changed"),
        ("skills/care/SKILL.md", "Take care.", "Care.", "skill 'care' has changed"),
        ("workflows/review.toml", "look at", "read", "workflow 'review' has changed"),
        ("workflows/review.toml", "must = {}", 'must = {default = "x"}', "workflow 'review' has changed"),
        (
            "workflows/review.toml",
            '"opus"',
            '"haiku"',
            "the model of step 'sum' of workflow 'review' is now claude-haiku-5-5, not claude-opus-5-5",
        ),
        ("agents/reviewer.md", "haiku", "sonnet", "the model of step 'look' of workflow 'review' is now claude-sonnet"),
    ],
)
def test_what_decides_a_request_and_has_changed_is_refused_by_name(place, lock, check, name, old, new, said):
    lock()
    check("review")
    edit(place / name, old, new)
    with pytest.raises(ValidationError) as refused:
        check("review")
    assert said in refused.value.message
    assert refused.value.message.count(";") == 0
    assert refused.value.hint == "to accept that: claude-force lock review"
    lock("review")
    check("review")


def test_what_decides_nothing_may_change(place, lock, check):
    lock()
    for name in ("agents/reviewer.md", "skills/care/SKILL.md"):
        edit(place / name, "description: d", "description: other words")
    edit(place / "agents" / "reviewer.md", "model: haiku", "model: claude-haiku-5-5")
    edit(place / "workflows" / "review.toml", "two steps", "a pair of steps")
    (place / "agents" / "deep").mkdir()
    (place / "agents" / "writer.md").rename(place / "agents" / "deep" / "moved.md")
    check("review")
    assert lock("--check").exit_code == 0


def test_several_differences_are_told_in_one_message_and_steps_that_moved_alike_together(place, lock, check):
    edit(place / "workflows" / "review.toml", 'model = "opus"\n', "")
    edit(place / "agents" / "reviewer.md", "model: haiku\n", "")
    lock()
    edit(place / "agents" / "writer.md", "Write.", "Paint.")
    write(place / "claude.json", '{"default_model": "opus", "skills": {"auto": false}}')
    with pytest.raises(ValidationError) as refused:
        check("review")
    assert refused.value.message.split(": ", 1)[1].split("; ") == [
        "agent 'writer' has changed",
        "the model of steps 'look', 'sum' of workflow 'review' is now claude-opus-5-5, not claude-sonnet-5-5",
    ]


def test_an_agent_on_its_own_is_held_to_its_model_and_skills(place, lock, check):
    write(place / "skills" / "later" / "SKILL.md", "---\nname: later\ndescription: d\n---\nLater.\n")
    lock("reviewer")
    check("reviewer", agent=True)
    check("reviewer", agent=True, skills=("care",))
    with pytest.raises(ValidationError, match="model of agent 'reviewer' is now claude-opus-5-5, not claude-haiku-5-5"):
        check("reviewer", agent=True, model="opus")
    with pytest.raises(ValidationError, match="skill 'later' is not in it") as refused:
        check("reviewer", agent=True, skills=("later",))
    assert refused.value.hint == "to accept that: claude-force lock reviewer later"
    with pytest.raises(ValidationError, match="agent 'writer' is not in it"):
        check("writer", agent=True)


def test_a_name_that_is_locked_leaves_the_rest_as_it_is_locked(place, lock):
    lock()
    edit(place / "agents" / "reviewer.md", "Look.", "Look well.")
    edit(place / "agents" / "writer.md", "Write.", "Paint.")
    assert lock("writer").data["changes"] == ["changed agent 'writer'"]
    assert lock("--check").data["drift"] == ["agent 'reviewer' has changed"]


def test_what_is_not_the_projects_own_stays_locked_once_it_was_named(place, lock, check, said):
    lock()
    assert "linter" not in locked(place)["agents"]
    lock("linter")
    lock()
    check("linter", agent=True)
    assert locked(place)["also"] == ["linter"]
    text = (place / "claude-force.lock").read_text()
    (place / "claude-force.lock").write_text(text.replace('"also": [\n    "linter"', '"also": [\n    "linten"'))
    assert "removed agent 'linter'" in lock().data["changes"]
    assert "no workflow, agent or skill named 'linten': it is no longer locked" in said.getvalue()


def test_a_check_tells_what_is_new_and_what_is_gone_and_writes_nothing(place, lock):
    lock()
    before = (place / "claude-force.lock").read_text()
    (place / "workflows" / "review.toml").unlink()
    write(place / "agents" / "new.md", "---\nname: new\ndescription: d\n---\nNew.\n")
    result = lock("--check")
    assert (result.exit_code, result.error) == (1, None)
    assert result.text.splitlines() == ["agent 'new' is not in it", "workflow 'review' is no longer used"]
    assert result.data["success"] is False
    assert (place / "claude-force.lock").read_text() == before


def test_other_prices_and_another_default_model_are_differences(place, lock, check):
    lock()
    data = locked(place)
    version, model = data["price_version"], data["default_model"]
    write(place / "claude-force.lock", json.dumps(data | {"price_version": "2001-01-01", "default_model": "old"}))
    with pytest.raises(ValidationError) as refused:
        check("review")
    assert refused.value.message.endswith(f": the prices are those of {version}, not of 2001-01-01")
    assert f"the default model is now {model}, not old" in lock("--check").text


def test_what_was_written_anew_is_told_as_what_changed(place, lock):
    assert lock().data["changes"] == []
    write(place / "agents" / "new.md", "---\nname: new\ndescription: d\n---\nNew.\n")
    edit(place / "agents" / "writer.md", "Write.", "Paint.")
    edit(place / "workflows" / "review.toml", '"opus"', '"haiku"')
    edit(place / "agents" / "reviewer.md", "skills: care", "skills:")
    (place / "skills" / "care" / "SKILL.md").unlink()
    data = locked(place)
    version, model = data["price_version"], data["default_model"]
    write(place / "claude-force.lock", json.dumps(data | {"price_version": "2001-01-01", "default_model": "old"}))
    result = lock()
    assert result.data["changes"] == [
        f"changed the prices from those of 2001-01-01 to those of {version}",
        "added agent 'new'",
        "changed agent 'reviewer'",
        "changed agent 'writer'",
        "changed the model of step 'sum' of workflow 'review' from claude-opus-5-5 to claude-haiku-5-5",
        "removed skill 'care'",
        f"changed the default model from old to {model}",
    ]
    assert result.text.splitlines()[1:] == [f"  {change}" for change in result.data["changes"]]
    assert lock().data["changes"] == []


def test_without_a_lock_nothing_is_frozen_and_nothing_can_be_checked(place, lock, check):
    for ask, names in ((lambda: lock("--check"), ""), (lambda: lock("--check", "linter"), " linter")):
        with pytest.raises(ConfigError, match="there is no lock file") as refused:
            ask()
        assert refused.value.exit_code == 2
        assert refused.value.hint == f"write it with: claude-force lock{names}"


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("review", {}),
        ("code-quality-check", {}),
        ("linter", {"agent": True}),
        ("writer", {"agent": True, "skills": ("care",)}),
    ],
)
def test_without_a_lock_a_frozen_run_names_the_command_after_which_it_is_accepted(place, lock, check, name, facts):
    write(place.parent / "x", "attached where the input of that name is")
    with pytest.raises(ConfigError, match="there is no lock file") as refused:
        check(name, **facts)
    lock(*refused.value.hint.removeprefix("write it with: claude-force lock ").split())
    check(name, **facts)


LOCK = lockfile.of([], default_model="m")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "<<<<<<< HEAD",
        *(
            json.dumps(LOCK | change)
            for change in (
                {"version": 2},
                {"agents": []},
                {"price_version": 1},
                {"also": 1},
                {"also": [1]},
                {"agents": {"x": 1}},
                {"skills": {"x": {"sha256": None}}},
                {"workflows": {"x": {"sha256": "0", "models": []}}},
                {"workflows": {"x": {"sha256": "0", "models": {"a": 1}}}},
            )
        ),
    ],
)
def test_what_is_no_lock_is_refused_and_can_be_written_anew(place, lock, check, said, text):
    write(place / "claude-force.lock", text)
    with pytest.raises(ConfigError, match="no lock file of version 1"):
        check("review")
    lock()
    assert "written anew" in said.getvalue()
    check("review")


def test_a_lock_that_cannot_be_read_or_written_is_told_with_its_place(place, lock, check):
    (place / "claude-force.lock").mkdir()
    with pytest.raises(ConfigError, match=r"cannot read .*claude-force\.lock: not a regular file"):
        check("review")
    with pytest.raises(ForceError, match=r"cannot write .*claude-force\.lock"):
        lock()


def test_names_that_nothing_has_are_refused(place, lock):
    with pytest.raises(NotFound) as refused:
        lock("reviw")
    assert refused.value.message == "no workflow, agent or skill named 'reviw'"
    assert "review" in refused.value.hint


def test_a_name_whose_workflow_is_wrong_is_not_taken_for_unknown(place, lock):
    edit(place / "workflows" / "review.toml", 'model = "opus"', 'effort = "hgih"')
    with pytest.raises(UsageError, match="'hgih'"):
        lock("review")


def test_a_workflow_that_cannot_run_cannot_be_locked(place, lock):
    edit(place / "workflows" / "review.toml", '"writer"', '"wirter"')
    with pytest.raises(UsageError) as refused:
        lock()
    assert refused.value.message == "workflow 'review': no agent named 'wirter'"


def test_a_workflow_with_inputs_that_it_does_not_declare_can_be_locked(place, lock, check):
    edit(place / "workflows" / "review.toml", "[inputs]\nmust = {}\n", "")
    assert lock("review").exit_code == 0


def test_a_workflow_that_needs_a_task_can_be_locked_without_one(place, lock, check):
    write(place / "workflows" / "needy.toml", 'task = "what for"\n[[steps]]\nid = "a"\nagent = "writer"\n')
    assert lock().data["workflows"] == 2
    check("needy")


def test_a_workflow_named_by_its_path_is_locked_and_accepted_by_it(place, lock, check, project):
    write(project / "ci.toml", '[[steps]]\nid = "a"\nagent = "writer"\ntask = "x"\n')
    with pytest.raises(ConfigError):
        check("./ci.toml")
    lock("./ci.toml")
    check("./ci.toml")
    edit(project / "ci.toml", '"x"', '"y"')
    with pytest.raises(ValidationError) as refused:
        check("./ci.toml")
    assert refused.value.hint == "to accept that: claude-force lock ci.toml"


def test_outside_any_project_the_users_own_library_is_locked(home, tmp_path, monkeypatch, lock, check):
    monkeypatch.chdir(tmp_path)
    write(home / ".claude" / "agents" / "mine.md", "---\nname: mine\ndescription: d\n---\nMine.\n")
    lock()
    assert list(locked(home / ".claude")["agents"]) == ["mine"]


def test_where_there_is_no_project_and_nothing_to_lock_nothing_is_written(home, tmp_path, monkeypatch, lock):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="there is no project here, and nothing to lock"):
        lock()
    assert not (home / ".claude" / "claude-force.lock").exists()
    lock("linter")
    assert list(locked(home / ".claude")["agents"]) == ["linter"]


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (
            "claude.json",
            '{"skills"',
            '{"default_model": "hiku", "skills"',
            "claude.json: default_model: no model named",
        ),
        (
            "workflows/review.toml",
            '"opus"',
            '"huge"',
            "review.toml: workflow 'review': step 'sum': model: no model named",
        ),
    ],
)
def test_a_model_that_there_is_none_of_is_told_with_its_place(place, lock, file, old, new, said):
    edit(place / file, old, new)
    with pytest.raises(UsageError) as refused:
        lock()
    assert said in refused.value.message
    assert refused.value.message.count("workflow 'review'") <= 1


def test_a_frozen_run_that_differs_sends_nothing_and_ends_with_2(place, capsys, monkeypatch):
    with Simulator(Behaviour()) as simulator:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", simulator.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "test-key")
        words = ("run", "workflow", "review", "--frozen", "--input", "must=x", "-q")
        assert main(words) == 2
        assert main(("lock",)) == 0
        assert main(words) == 0
        sent = len(simulator.requests)
        edit(place / "agents" / "writer.md", "Write.", "Paint.")
        capsys.readouterr()
        assert main(words) == 2
        assert main(("run", "agent", "writer", "x", "--frozen", "--dry-run")) == 2
        assert len(simulator.requests) == sent == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("agent 'writer' has changed; to accept that: claude-force lock ") == 2


names = st.text(min_size=1, max_size=8)
entries = st.dictionaries(
    names,
    st.fixed_dictionaries(
        {"source": st.just("project"), "sha256": st.text("0123456789abcdef", min_size=4, max_size=4)}
    ),
    max_size=4,
)
locks = st.fixed_dictionaries(
    {
        "version": st.just(1),
        "price_version": st.just("2026-01-01"),
        "default_model": st.just("m"),
        "also": st.lists(names, max_size=2),
        "agents": entries,
        "skills": entries,
        "workflows": entries,
    }
)


@settings(max_examples=30)
@given(locks, locks)
def test_two_locks_differ_exactly_where_an_entry_does(one, other):
    changed = [k for kind in lockfile.KINDS for k in other[kind] if one[kind].get(k) != other[kind][k]]
    gone = [k for kind in lockfile.KINDS for k in one[kind] if k not in other[kind]]
    assert len(lockfile.drift(one, other)) == len(changed)
    assert len(lockfile.differences(one, other)) == len(lockfile.changes(one, other)) == len(changed) + len(gone)
    assert lockfile.drift(lockfile.merged(one, other), other) == []


@settings(max_examples=30)
@given(locks)
def test_a_lock_is_read_as_it_was_written(tmp_path_factory, lock):
    path = tmp_path_factory.mktemp("lock") / "claude-force.lock"
    path.write_bytes(lockfile.text(lock).encode("utf-8", "surrogatepass"))
    assert lockfile.read(path) == lock


@pytest.mark.parametrize("kind", [Agent, Skill, Step])
def test_a_field_that_has_its_default_is_no_part_of_a_digest(kind):
    """A version that adds a field must not make every lock differ."""
    values = dict.fromkeys(("name", "description", "prompt", "body", "id", "agent"), "x")
    record = kind(**{name: value for name, value in values.items() if name in kind.__annotations__})
    told = lockfile._told(record, kind, kind.__annotations__)
    assert set(told) <= values.keys()


@pytest.mark.parametrize("put", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to(os.devnull)])
def test_what_is_no_file_in_the_place_of_the_lock_file_is_neither_waited_for_nor_written_to(place, lock, put):
    path = place / "claude-force.lock"
    put(path)
    with pytest.raises(ForceError, match=r"cannot write .*claude-force\.lock: not a regular file") as refused:
        lock()
    assert refused.value.hint == "move it away if it is no file"
    assert not path.is_file()


def test_a_difference_is_one_line_whatever_is_in_the_lock_file(place, lock):
    lock()
    data = locked(place)
    data["agents"]["x\n::error::forged\x1b[31m"] = data["agents"]["writer"]
    (place / "claude-force.lock").write_text(json.dumps(data))
    assert lock("--check").text == "agent 'x ::error::forged[31m' is no longer used"
    assert lock().text.splitlines()[1:] == ["  removed agent 'x ::error::forged[31m'"]
