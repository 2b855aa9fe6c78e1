import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.records import Step, Workflow
from claude_force.reports.graph import FORMATS, graph

FLOW = Workflow(
    "flow",
    (
        Step("plan", "planner"),
        Step("work", "worker", dependencies=("plan",), foreach="{{steps.plan.output}}"),
        Step("end", "worker", dependencies=("plan", "work")),
        Step("aside", "planner", foreach=("x", "y")),
    ),
)
HOSTILE = st.text() | st.text(alphabet='"\\\n\r\t<>&;[]{}#|`%-=>ab\u2028\x1b\x85', max_size=12)
FLOWS = st.builds(
    lambda name, agents: Workflow(
        name,
        tuple(Step(f"s-{n}", agent, dependencies=(f"s-{n - 1}",) if n else ()) for n, agent in enumerate(agents)),
    ),
    HOSTILE,
    st.lists(HOSTILE, min_size=1, max_size=4),
)


def on_one_line(text):
    """What of a text is to be seen in a graph: no control characters, no breaks."""
    kept = (c for c in text if c in "\n\t" or not re.match("[\0-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", c))
    return re.sub("[\n\t\u2028\u2029]", " ", "".join(kept))


def dot_tokens(source):
    """The tokens of a text in the DOT language: strings without their quotes, and the signs between them."""
    pattern = re.compile(r'"((?:[^"\\]|\\.)*)"|(digraph|label|->|[{}\[\]=;])|(\s+)', re.DOTALL)
    at, found = 0, []
    while at < len(source):
        match = pattern.match(source, at)
        assert match, f"no token at {source[at : at + 20]!r}"
        at = match.end()
        if match[3] is None:
            found.append(match[2] or ("string", match[1]))
    return found


def dot_label(text):
    """What Graphviz shows of a label: escapes first, then entities."""
    return html.unescape(re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], text, flags=re.DOTALL))


def strings(tokens):
    return [token[1] for token in tokens if isinstance(token, tuple)]


def test_text_shows_each_step_below_what_it_waits_for():
    assert graph(FLOW, "text").splitlines() == [
        "plan (planner)",
        "aside (planner)  for each of 2 items",
        "    work (worker)  after plan  for each of {{steps.plan.output}}",
        "        end (worker)  after plan, work",
    ]


def test_dot_has_every_step_and_every_dependency():
    tokens = dot_tokens(graph(FLOW, "dot"))

    assert tokens[:3] == ["digraph", ("string", "flow"), "{"]
    assert tokens[-1] == "}"
    edges = [(tokens[n - 1][1], tokens[n + 1][1]) for n, token in enumerate(tokens) if token == "->"]
    assert sorted(edges) == [("plan", "end"), ("plan", "work"), ("work", "end")]
    labels = [tokens[n + 2][1] for n, token in enumerate(tokens) if token == "label"]
    assert [dot_label(label) for label in labels] == [f"{step.id}\n{step.agent}" for step in FLOW.steps]


def test_mermaid_has_every_step_and_every_dependency():
    assert graph(FLOW, "mermaid").splitlines() == [
        "flowchart TD",
        '    s0["plan<br/>planner"]',
        '    s1["work<br/>worker"]',
        '    s2["end<br/>worker"]',
        '    s3["aside<br/>planner"]',
        "    s0 --> s1",
        "    s0 --> s2",
        "    s1 --> s2",
    ]


@given(FLOWS)
def test_no_name_breaks_out_of_its_string_in_dot(flow):
    tokens = dot_tokens(graph(flow, "dot"))

    count = len(flow.steps)
    node = ["string", "[", "label", "=", "string", "]", ";"]
    edge = ["string", "->", "string", ";"]
    kinds = ["string" if isinstance(token, tuple) else token for token in tokens]
    assert kinds == ["digraph", "string", "{", *node * count, *edge * (count - 1), "}"]
    shown = [dot_label(label) for label in strings(tokens)[2 : 1 + 2 * count : 2]]
    assert shown == [f"{step.id}\n{on_one_line(step.agent)}" for step in flow.steps]


@given(FLOWS)
def test_no_name_breaks_out_of_its_label_in_mermaid(flow):
    first, *lines = graph(flow, "mermaid").split("\n")

    nodes, edges = lines[: len(flow.steps)], lines[len(flow.steps) :]
    assert first == "flowchart TD"
    assert all(re.fullmatch(r"    s\d+ --> s\d+", edge) for edge in edges)
    for number, (line, step) in enumerate(zip(nodes, flow.steps, strict=True)):
        match = re.fullmatch(rf'    s{number}\["s-{number}<br/>([^"<>`\[\]{{}}|&%]*)"\]', line)
        assert re.sub(r"#(\d+);", lambda m: chr(int(m[1])), match[1]) == on_one_line(step.agent)


@given(FLOWS)
@pytest.mark.parametrize("form", sorted(FORMATS))
def test_no_form_holds_what_steers_a_terminal(form, flow):
    shown = graph(flow, form)

    assert not re.search("[\0-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e]", shown)


@given(FLOWS)
def test_text_has_one_line_for_each_step_whatever_its_agent_is_called(flow):
    assert len(graph(flow, "text").splitlines()) == len(flow.steps)
