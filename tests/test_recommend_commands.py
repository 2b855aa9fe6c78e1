"""`recommend`: what it prints, what it tells scripts, and what it refuses."""

import io
import json
import sys

import pytest

from claude_force.cli import main


@pytest.fixture
def run(project, capsys):
    """Carries out a command line in an empty project; returns status, stdout and stderr."""

    def carry_out(*words):
        status = main(words)
        told = capsys.readouterr()
        return status, told.out, told.err

    return carry_out


def write_agent(project, name, description, domains=""):
    directory = project / ".claude" / "agents"
    directory.mkdir(exist_ok=True)
    fields = f"name: {name}\ndescription: {description}\ndomains: {domains}\n"
    (directory / f"{name}.md").write_text(f"---\n{fields}---\nWork.\n", encoding="utf-8")


def test_agents_are_listed_with_confidence_and_reason(run):
    status, out, err = run("recommend", "mypy complains that Optional[str] has no attribute upper")
    assert (status, err) == (0, "")
    heading, best, *_ = out.splitlines()
    assert heading.split() == ["AGENT", "CONFIDENCE", "REASON"]
    assert best.startswith("type-checker")
    assert "'mypy'" in best


def test_json_is_an_array_of_agent_confidence_and_reason_best_first(run):
    status, out, _ = run("recommend", "--json", "the login page is slow and the SQL behind it too")
    found = json.loads(out)
    assert status == 0
    assert all(set(choice) == {"agent", "confidence", "reason"} for choice in found)
    confidences = [choice["confidence"] for choice in found]
    assert confidences == sorted(confidences, reverse=True)
    assert all(0 <= confidence <= 1 for confidence in confidences)


def test_top_limits_how_many_are_named(run):
    task = "review my pull request for security holes, type errors, slow SQL and missing tests"
    _, one, _ = run("recommend", "--json", "--top", "1", task)
    _, many, _ = run("recommend", "--json", "--top", "5", task)
    assert len(json.loads(one)) == 1
    assert json.loads(many)[0] == json.loads(one)[0]


def test_where_none_fits_scripts_get_status_1_and_an_empty_array(run):
    status, out, err = run("recommend", "--json", "how do I boil an egg")
    assert (status, json.loads(out)) == (1, [])
    assert "no agent fits" in err
    assert run("recommend", "-q", "how do I boil an egg") == (1, "", "")


def test_an_agent_of_the_project_is_recommended_like_any_other(run, project):
    write_agent(project, "baker", "Use to bake bread.", "sourdough, yeast, oven")
    _, out, _ = run("recommend", "--json", "my sourdough will not rise in the oven")
    assert json.loads(out)[0]["agent"] == "baker"


def test_the_task_can_come_from_a_pipe_or_a_file(run, project, monkeypatch):
    (project / "task.txt").write_text("find unused imports and dead code", encoding="utf-8")
    _, of_file, _ = run("recommend", "--json", "--task-file", "task.txt")
    for words in (["recommend", "--json"], ["recommend", "--json", "-"]):
        piped = io.TextIOWrapper(io.BytesIO(b"find unused imports and dead code"), encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", piped)
        _, of_pipe, _ = run(*words)
        assert json.loads(of_pipe) == json.loads(of_file)
    assert json.loads(of_file)[0]["agent"] == "linter"


@pytest.mark.parametrize(
    ("words", "told"), [(["recommend", "  "], "empty"), (["recommend", "--top", "0", "x"], "above 0")]
)
def test_what_makes_no_sense_is_a_usage_error(run, words, told):
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert told in err


def test_without_a_task_the_command_says_how_to_give_one(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    status, _, err = run("recommend")
    assert status == 2
    assert 'claude-force recommend "' in err


def test_a_model_belongs_to_the_semantic_method(run):
    status, _, err = run("recommend", "--model", "m", "a task")
    assert status == 2
    assert "--method semantic" in err


def test_the_semantic_method_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)  # what Python itself takes for "not installed"
    monkeypatch.delitem(sys.modules, "claude_force.extras.sentence_transformers", raising=False)
    status, _, err = run("recommend", "--method", "semantic", "a task")
    assert status == 2
    assert "pip install 'claude-force[semantic]'" in err
