"""`validate` on much, on hostile and on broken files: what it takes, and which lines it names."""

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from claude_force import cli
from claude_force.commands import places
from claude_force.library.sources import DEEPEST

AGENT = "---\nname: {0}\ndescription: Use for tests.\nmodel: haiku\n---\nYou help.\n"


@pytest.fixture
def problems(capsys):
    """Run `validate`; return its problems."""

    def problems(*words):
        cli.main(["validate", *words, "--json"])
        return json.loads(capsys.readouterr().out)["problems"]

    return problems


@pytest.fixture
def workflow(project):
    """The path of a workflow that is not there yet."""
    path = project / ".claude/workflows/w.toml"
    path.parent.mkdir()
    return path


def calls(function, name=None):
    """Call `function`; return how often each file is read, or, where no `name` is given, how many calls that takes."""
    counted = Counter()

    def count(frame, event, argument):
        if event == "call" and name is None:
            counted["calls"] += 1
        elif event == "call" and frame.f_code.co_name == name:
            counted[Path(frame.f_locals["path"]).name] += 1

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return counted


def settings(project, **keys):
    path = project / ".claude/claude.json"
    path.write_text(json.dumps({"version": 2, **keys}, indent=1))
    return path


def test_an_agents_file_is_not_read_again_for_each_step_of_each_workflow(project, problems):
    directory = project / ".claude/agents"
    directory.mkdir()
    for number in range(20):
        (directory / f"a{number}.md").write_text(AGENT.format(f"agent-{number}"))
    read = calls(problems, "read_regular")
    assert 1 <= read["a7.md"] <= 4


def test_settings_are_not_read_again_for_each_key_that_is_unknown(project, problems):
    settings(project, **{f"odd{number}": 1 for number in range(5)})
    few = calls(problems, "read_regular")["claude.json"]
    settings(project, **{f"odd{number}": 1 for number in range(50)})
    assert calls(problems, "read_regular")["claude.json"] == few


def test_twice_as_many_wrong_steps_take_twice_the_work(workflow, problems):
    def work(count):
        workflow.write_text("".join(f'[[steps]]\nid = "s{n}"\nagent = "linter"\nretries = "x"\n' for n in range(count)))
        assert len(problems("w")) == count
        return calls(lambda: problems("w"))["calls"]

    nothing = work(1)
    assert work(90) - nothing < 2.2 * (work(45) - nothing)  # were it quadratic, four times


def test_steps_beyond_a_hundred_that_are_wrong_are_told_in_one_line(workflow, problems):
    workflow.write_text("".join(f'[[steps]]\nid = "s{n}"\nagent = "linter"\nretries = "x"\n' for n in range(120)))
    found = problems("w")
    assert len(found) == 101
    assert sum("more than 100 steps are wrong" in problem["message"] for problem in found) == 1


def test_steps_beyond_a_hundred_that_cannot_be_planned_are_told_in_one_line(workflow, problems):
    workflow.write_text("".join(f'[[steps]]\nid = "s{n}"\nagent = "none{n}"\n' for n in range(120)))
    found = problems("w")
    assert Counter(problem["severity"] for problem in found) == {"error": 100, "note": 1}
    assert "more to mend" in next(problem for problem in found if problem["severity"] == "note")["message"]


@pytest.mark.parametrize(
    "key",
    [
        ".".join("a" * (DEEPEST + 1)),
        ".".join(['"="'] * (DEEPEST + 1)),
        " . ".join(["'a.b'"] * (DEEPEST + 1)),
        ".".join(['"\\""'] * (DEEPEST + 1)),
        ".".join(['"\u2028"'] * (DEEPEST + 1)),
        "x." + ".".join(["a"] * 50_000),
    ],
)
def test_a_key_of_very_many_parts_is_refused_before_it_is_read(workflow, problems, key):
    for text in (f"{key} = 1\n", f"[{key}]\n"):
        workflow.write_text(text)
        (problem,) = problems("w")
        assert problem["severity"] == "error"
        assert "nested too deeply" in problem["message"]


def test_a_key_may_be_as_deep_as_a_person_would_have_it(workflow, problems):
    workflow.write_text(f"{'.'.join('a' * DEEPEST)} = 1\n")
    (problem,) = problems("w")
    assert "no key named 'a'" in problem["message"]


def test_many_dots_that_make_no_key_are_read(workflow, problems):
    task = f"1.2 {'.' * 200} 3; {' . ' * 200}; {'e.g. this; ' * 100}"
    workflow.write_text(f'[[steps]]\nid = "a"\nagent = "linter"\ntask = "{task}"\n')
    assert problems("w") == []


@pytest.mark.parametrize("name", ["plain", "with blank", "with.dot"])
def test_an_agent_in_the_settings_is_found_there_whatever_it_is_called(project, problems, name):
    (project / ".claude/a.md").write_text("You help.\n")
    path = settings(project, agents={"linter": {"model": "haiku"}, name: {"path": "a.md", "model": "hiku"}})
    (problem,) = problems()
    assert (problem["path"], problem["line"]) == (str(path), 9)
    assert "hiku" in problem["message"]


def test_an_agent_whose_file_is_missing_is_told_at_its_path(project, problems):
    settings(project, agents={"x": {"model": "haiku", "path": "none.md"}})
    (problem,) = problems()
    assert (problem["line"], "none.md" in problem["message"]) == (6, True)


def test_a_skill_that_an_agent_in_the_settings_names_in_vain_is_told_there(project, problems):
    settings(project, agents={"linter": {"model": "haiku", "skills": ["pyton"]}})
    (problem,) = problems("linter")[-1:]
    assert (problem["line"], problem["remedy"]) == (6, "did you mean python?")


def test_a_workflow_in_the_settings_that_has_no_steps_is_told_at_its_name(project, problems):
    settings(project, workflows={"first": {"steps": [{"id": "a", "agent": "linter"}]}, "second": {"steps": []}})
    (problem,) = problems()
    assert (problem["line"], "has no steps" in problem["message"]) == (12, True)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("nowhere")])
def test_settings_that_are_no_file_are_a_problem(project, problems, make):
    path = project / ".claude/claude.json"
    make(path)
    (problem, _) = sorted(problems(), key=lambda problem: problem["severity"])
    assert (problem["path"], problem["severity"]) == (str(path), "error")
    assert problem["remedy"] in {"move it away", "mend it, or remove it"}


def test_the_word_that_is_wrong_is_not_looked_for_in_another_step(workflow, problems):
    workflow.write_text(
        '[[steps]]\nid = "a"\nagent = "linter"\ndependencies = ["b"]\n'
        '[[steps]]\nid = "b"\nagent = "linter"\ndependencies = ["a"]\n'
        '[[steps]]\nid = "c"\nagent = "nobody"\n[[steps]]\nid = "nobody"\nagent = "linter"\n'
    )
    (problem,) = problems("w")
    assert (problem["line"], "cycle: a -> b -> a" in problem["message"]) == (2, True)
    workflow.write_text(workflow.read_text().replace('["b"]', "[]"))
    (problem,) = problems("w")
    assert (problem["line"], "nobody" in problem["message"]) == (11, True)


def test_a_key_is_found_behind_the_one_that_holds_it():
    page = places.page('{"a": {"x": 1},\n "b": {"y": "x",\n "x": 2}, "c": "x: not a key", "d\\": e": 3}')
    assert [places.line(page, places.of_key(page, path)) for path in (["x"], ["a", "x"], ["b", "x"], ["b", "no"])] == [
        1,
        1,
        3,
        2,
    ]


def test_a_text_that_never_ends_is_looked_at_once():
    page = places.page('{"a": "' + '\\"' * 100_000)
    assert page.keys == {"a": [1]}


def test_lines_are_counted_from_one():
    page = places.page("one\ntwo\nthree")
    assert [places.line(page, at) for at in (0, 3, 4, 7, 8, 12)] == [1, 1, 2, 2, 3, 3]


def test_each_problem_is_one_line_whatever_a_file_is_called(project, capsys):
    directory = project / ".claude" / "agents"
    directory.mkdir()
    (directory / "x\n::error::forged\x1b[31m\r.md").write_text("no front matter\x1b[31m\n")
    cli.main(["validate"])
    lines = capsys.readouterr().out.splitlines()
    assert not any(line.startswith("::") for line in lines)
    assert "\x1b" not in "".join(lines)
    assert ".claude/agents/x ::error::forged[31m.md:1: " in lines[0]
