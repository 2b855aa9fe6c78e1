"""Which skills a call is sent with, seen in the requests that `--dry-run` shows."""

import json

import pytest

from claude_force.cli import main

SQL = "---\nname: sql\ndescription: SQL queries, joins, indexes and slow database statements\n---\nUse EXPLAIN first."
KNOTS = "---\nname: knots\ndescription: Knots for climbing and sailing, ropes and hitches\n---\nTie a bowline."


@pytest.fixture
def library(project):
    state = project / ".claude"
    for name, text in (("sql", SQL), ("knots", KNOTS)):
        (state / "skills" / name).mkdir(parents=True)
        (state / "skills" / name / "SKILL.md").write_text(text)
    (state / "agents").mkdir()
    (state / "agents" / "helper.md").write_text("---\nname: helper\ndescription: d\n---\nYou help.")
    (state / "agents" / "sailor.md").write_text("---\nname: sailor\ndescription: d\nskills: knots\n---\nYou sail.")
    return state


@pytest.fixture
def system(library, capsys):
    """Return the system blocks with which a task would be sent, and what was said on stderr."""

    def shown(agent, task, *words, settings="{}"):
        (library / "claude.json").write_text(settings)
        assert main(["run", "agent", agent, task, "--dry-run", "--json", *words]) == 0
        out, err = capsys.readouterr()
        (request,) = json.loads(out)["requests"]
        return [block["text"] for block in request["request"]["system"]], err

    return shown


TASK = "Why is this SQL query with two joins so slow on the database?"


def test_an_agent_sees_a_line_for_each_skill_and_the_body_of_the_one_that_the_task_needs(system):
    (prompt, catalogue, *bodies), _ = system("helper", TASK)
    assert prompt == "You help."
    assert "- knots: Knots for climbing" in catalogue
    assert "- sql: SQL queries" in catalogue
    assert len(bodies) == 1
    assert "Use EXPLAIN first." in bodies[0]


def test_a_task_that_needs_none_is_sent_with_the_lines_alone(system):
    blocks, _ = system("helper", "Greet the new colleague.")
    assert len(blocks) == 2
    assert "- sql:" in blocks[1]


def test_what_is_loaded_is_explained_to_those_who_ask(system):
    _, said = system("helper", TASK, "-v")
    assert "helper: skill sql: " in said
    assert "skill" not in system("helper", TASK)[1]


def test_named_skills_always_come_and_an_agent_with_its_own_gets_no_others(system):
    (_, body), _ = system("sailor", TASK)
    assert "Tie a bowline." in body
    blocks, _ = system("helper", TASK, "--skill", "knots")
    assert [text in "".join(blocks[2:]) for text in ("Tie a bowline.", "Use EXPLAIN first.")] == [True, True]


def test_choosing_can_be_switched_off_and_preloading_stays(system):
    assert system("helper", TASK, settings='{"skills": {"auto": false}}')[0] == ["You help."]
    settings = '{"skills": {"auto": false, "preload": ["knots"]}}'
    assert "Tie a bowline." in system("helper", TASK, settings=settings)[0][1]


def test_the_shipped_skills_are_offered_on_request_alone(system):
    assert "security-checklist" not in "".join(system("helper", TASK)[0])
    assert "- security-checklist:" in "".join(system("helper", TASK, settings='{"skills": {"auto": "all"}}')[0])


def test_another_value_is_refused_by_name(library, capsys):
    (library / "claude.json").write_text('{"skills": {"auto": "some"}}')
    assert main(["run", "agent", "helper", "x", "--dry-run"]) == 2
    assert 'skills.auto: expected true, false or "all"' in capsys.readouterr().err
