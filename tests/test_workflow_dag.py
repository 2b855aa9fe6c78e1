"""The graph of a workflow for Python programs."""

import pytest

from claude_force import WorkflowDAG
from claude_force.errors import NotFound, UsageError, ValidationError

STEPS = [
    {"id": "lint", "agent": "linter"},
    {"id": "types", "agent": "type-checker"},
    {"id": "review", "agent": "code-reviewer", "dependencies": ["lint", "types"]},
    {"id": "report", "agent": "document-writer", "dependencies": ["review", "lint"]},
]


@pytest.fixture
def graph():
    return WorkflowDAG(STEPS, name="check")


def test_levels_can_run_side_by_side(graph):
    assert graph.levels() == [["lint", "types"], ["review"], ["report"]]
    assert graph.order() == ["lint", "types", "review", "report"]


def test_step_is_ready_when_all_before_it_is_done(graph):
    assert graph.ready() == ["lint", "types"]
    assert graph.ready(["lint"]) == ["types"]
    assert graph.ready(["lint", "types"]) == ["review"]


def test_what_lies_before_and_after_a_step(graph):
    assert graph.ancestors("report") == {"lint", "types", "review"}
    assert graph.dependents("lint") == ["review", "report"]


def test_graph_is_drawn_as_on_the_command_line(graph):
    assert graph.draw().splitlines()[2] == "    review (code-reviewer)  after lint, types"
    assert graph.draw("mermaid").startswith("flowchart TD")
    with pytest.raises(UsageError, match="'svg' is no form") as caught:
        graph.draw("svg")
    assert caught.value.hint == "one of text, mermaid, dot"


@pytest.mark.parametrize(
    "ask", [lambda g: g.ancestors("lit"), lambda g: g.dependents("lit"), lambda g: g.ready(["lit"])]
)
def test_unknown_step_is_refused_with_close_names(graph, ask):
    with pytest.raises(NotFound, match="no step named 'lit'") as caught:
        ask(graph)
    assert caught.value.hint == "did you mean lint?"


def test_cycle_and_schema_file_are_refused():
    with pytest.raises(ValidationError, match="depends on itself"):
        WorkflowDAG([{"id": "a", "agent": "x", "dependencies": ["a"]}])
    with pytest.raises(ValidationError, match="a graph reads no files"):
        WorkflowDAG([{"id": "a", "agent": "x", "schema": "answer.json"}])
