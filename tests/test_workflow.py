import tomllib
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.errors import NotFound, UsageError, ValidationError
from claude_force.frozen import fields
from claude_force.records import Input, Step
from claude_force.workflow.definition import examine, implied_inputs, parse, used_names


def no_schema(name):
    raise AssertionError(f"{name} was read")


def parsed(text, *, path=None, read_schema=no_schema):
    return parse("w", tomllib.loads(text), source="project", path=path, read_schema=read_schema)


def refusal(text, **options):
    with pytest.raises(ValidationError) as refused:
        parsed(text, **options)
    return refused.value


def step(**fields):
    """The text of one step, of an agent `a` unless another is named."""
    lines = [f"{key} = {value}" for key, value in ({"agent": "'a'"} | fields).items()]
    return "\n".join(["[[steps]]", *lines, ""])


ONE = "[[steps]]\nid = 'one'\nagent = 'a'\n"


def test_a_workflow_has_all_that_its_file_says():
    workflow = parsed(
        """
        name = "given by the file's name"
        version = 1
        description = "what it does"
        [inputs]
        target = "staging"
        fast = true
        [inputs.count]
        default = 3
        description = "how many"
        [inputs.needed]
        [[steps]]
        id = "plan"
        agent = "planner"
        task = "Plan {{task}} for {{input.target}}"
        model = "haiku"
        skills = ["s1", "s2", "s1"]
        max_tokens = 100
        files = "src/*.py"
        retries = 2
        timeout_seconds = 30
        cache = false
        effort = "low"
        [[steps]]
        id = "work"
        agent = "worker"
        dependencies = ["plan"]
        foreach = "{{steps.plan.output}}"
        when = "{{item.name}} != skip"
        task = "Do {{item}}"
        [steps.schema]
        type = "object"
        """,
        path=Path("w.toml"),
    )

    assert (workflow.name, workflow.description, workflow.source) == ("w", "what it does", "project")
    assert workflow.inputs == (
        Input("target", "staging"),
        Input("fast", "true"),
        Input("count", "3", "how many"),
        Input("needed"),
    )
    assert workflow.steps == (
        Step(
            "plan",
            "planner",
            "Plan {{task}} for {{input.target}}",
            model="haiku",
            skills=("s1", "s2"),
            max_tokens=100,
            files=("src/*.py",),
            retries=2,
            timeout_seconds=30.0,
            cache=False,
            effort="low",
        ),
        Step(
            "work",
            "worker",
            "Do {{item}}",
            dependencies=("plan",),
            foreach="{{steps.plan.output}}",
            when="{{item.name}} != skip",
            schema='{"type":"object"}',
        ),
    )


def test_a_step_without_a_task_is_given_the_users():
    assert parsed(ONE).steps == (Step("one", "a", "{{task}}"),)


def test_a_key_that_is_null_in_json_counts_as_not_given():
    data = {"steps": [dict.fromkeys(f.name for f in fields(Step)) | {"id": "one", "agent": "a"}]}

    assert parse("w", data, source="project", read_schema=no_schema).steps == (Step("one", "a"),)


@pytest.mark.parametrize("text", ["", "steps = []", "steps = 'one'", "steps = {}"])
def test_a_workflow_without_steps_is_refused(text):
    refused = refusal(text)

    assert refused.message == "project: workflow 'w' has no steps"
    assert refused.hint == "add a [[steps]] table with an id, an agent and a task"


def test_the_message_begins_with_the_file():
    assert refusal("", path=Path("flows/w.toml")).message.startswith("flows/w.toml: workflow 'w' ")


def test_two_steps_with_one_id_are_refused():
    assert refusal(ONE + step(id="'two'") + ONE).message.endswith(": two steps have the id 'one'")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("steps = ['one']", "step 1 is no table"),
        (step(), "step 1: id is missing"),
        (ONE + step(id="''"), "step 2: id is missing"),
        (step(id="'has space'"), "step 1: id is 'has space'"),
        (step(id="'../up'"), "step 1: id is '../up'"),
        (step(id='"line\\n"'), "step 1: id is 'line\\n'"),
        (step(id="'-dash'"), "step 1: id is '-dash'"),
        (step(id=f"'{'x' * 65}'"), f"step 1: id is '{'x' * 65}'"),
        (step(id="3"), "step 1: id: expected text, got 3"),
        ("[[steps]]\nid = 'one'", "step 'one': agent is missing"),
        (step(id="'one'", task="1"), "step 'one': task: expected text, got 1"),
        (step(id="'one'", task="' '"), "step 'one': the task is empty"),
        (step(id="'one'", max_tokens="'many'"), "step 'one': max_tokens: expected a whole number, got \"many\""),
        (step(id="'one'", max_tokens="true"), "step 'one': max_tokens: expected a whole number, got true"),
        (step(id="'one'", max_tokens="0"), "step 'one': max_tokens: must be 1 or more, got 0"),
        (step(id="'one'", retries="-1"), "step 'one': retries: must be 0 or more, got -1"),
        (step(id="'one'", cache="'no'"), "step 'one': cache: expected true or false, got \"no\""),
        (step(id="'one'", cache="0"), "step 'one': cache: expected true or false, got 0"),
        (step(id="'one'", timeout_seconds="0"), "step 'one': timeout_seconds: expected a number above 0, got 0"),
        (step(id="'one'", timeout_seconds="inf"), "step 'one': timeout_seconds: expected a number above 0, got inf"),
        (step(id="'one'", timeout_seconds="nan"), "step 'one': timeout_seconds: expected a number above 0, got nan"),
        (step(id="'one'", timeout_seconds="true"), "step 'one': timeout_seconds: expected a number above 0, got True"),
        (step(id="'one'", files="[1]"), "step 'one': files: expected a list of texts, got [1]"),
        (step(id="'one'", dependencies="{}"), "step 'one': dependencies: expected a list of texts, got {}"),
        (step(id="'one'", foreach="3"), "step 'one': foreach: expected a glob, a list or the output of one step"),
        (step(id="'one'", foreach="' '"), "step 'one': foreach: expected a glob, a list or the output of one step"),
        (step(id="'one'", foreach="'{{item}}'"), "step 'one': foreach: expected a glob, a list or the output of one"),
        (step(id="'one'", foreach="[2024-02-28]"), "step 'one': foreach: an item holds a date or a time"),
        (step(id="'one'", when="'{{task}} = x'"), "step 'one': when: cannot read the condition '{{task}} = x'"),
        (step(id="'one'", when="''"), "step 'one': when: cannot read the condition ''"),
        (step(id="'one'", schema="3"), "step 'one': schema: a schema must be a JSON object"),
        ("inputs = 3\n" + ONE, "inputs: expected a table of names and defaults"),
        ("inputs.x = []\n" + ONE, "inputs.x: expected text, a number or true/false, got []"),
        ("inputs.x.default = []\n" + ONE, "inputs.x: expected text, a number or true/false, got []"),
        ("description = 3\n" + ONE, "description: expected text, got 3"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(text, problem):
    assert problem in refusal(text).message


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("stepps = []", "no key named 'stepps'", "did you mean steps?"),
        (step(id="'one'", depends_on="[]"), "step 'one': no key named 'depends_on'", "did you mean dependencies?"),
        ("inputs.x.defualt = 1\n" + ONE, "inputs.x: no key named 'defualt'", "did you mean default?"),
        (step(id="'one'", effort="'hihg'"), "step 'one': no effort named 'hihg'", "did you mean high"),
        (
            step(id="'build'") + step(id="'two'", dependencies="['biuld']"),
            "step 'two': dependencies: no step named 'biuld'",
            "did you mean build?",
        ),
        (step(id="'one'", task="'{{taks}}'"), "step 'one': no template name named 'taks'", "did you mean task?"),
        (
            "inputs.target = 't'\n" + step(id="'one'", task="'{{input.tagret}}'"),
            "no template name named 'input.tagret'",
            "did you mean input.target?",
        ),
        (
            step(id="'build'") + step(id="'two'", dependencies="['build']", task="'{{steps.biuld.output}}'"),
            "no template name named 'steps.biuld.output'",
            "did you mean steps.build.output?",
        ),
        (
            step(id="'build'") + step(id="'two'", task="'{{steps.build.output}}'"),
            "step 'two' names the output of 'build' but does not depend on it",
            "add 'build' to its dependencies",
        ),
        (step(id="'one'", task="'{{steps.one.output}}'"), "no template name named 'steps.one.output'", "known: task"),
    ],
)
def test_an_unknown_name_is_refused_and_a_close_one_suggested(text, problem, hint):
    refused = refusal(text)

    assert problem in refused.message
    assert hint in refused.hint


@pytest.mark.parametrize("key", ["task", "files", "when", "foreach"])
def test_a_template_name_is_checked_wherever_it_stands(key):
    assert "no template name named 'nope'" in refusal(step(id="'one'", **{key: "'{{nope}}'"})).message


def test_an_item_has_a_value_only_in_a_step_with_foreach():
    assert "{{item.x}} has a value only in a step with foreach" in refusal(step(id="'a'", task="'{{item.x}}'")).message
    assert parsed(step(id="'a'", task="'{{item.x}}'", foreach="[{x = 1}]")).steps[0].foreach == ({"x": 1},)


def test_an_output_in_the_midst_of_a_glob_is_refused_since_it_would_fit_nothing():
    text = step(id="'a'") + step(id="'b'", dependencies="['a']", foreach="'src/{{steps.a.output}}/*.py'")

    assert "foreach: expected a glob, a list or the output of one step" in refusal(text).message


def test_the_output_of_an_ancestor_may_be_named_though_it_is_no_direct_dependency():
    text = step(id="'a'") + step(id="'b'", dependencies="['a']")
    text += step(id="'c'", dependencies="['b']", task="'{{steps.a.output}} {{steps.b.output}}'")

    assert used_names(parsed(text).steps[2]) == ("steps.a.output", "steps.b.output")


def test_a_step_that_depends_on_itself_is_refused():
    assert refusal(step(id="'one'", dependencies="['one']")).message.endswith("step 'one' depends on itself")


def test_a_cycle_is_refused_with_all_its_ids():
    refused = refusal(
        step(id="'start'")
        + step(id="'a'", dependencies="['c', 'start']")
        + step(id="'b'", dependencies="['a']")
        + step(id="'c'", dependencies="['b']")
    )

    assert refused.message.endswith("the dependencies form a cycle: a -> b -> c -> a")
    assert refused.hint == "remove one of these dependencies"


def test_a_workflow_that_declares_no_inputs_takes_those_it_names():
    workflow = parsed(step(id="'one'", task="'{{input.a}} {{input.b}} {{input.a}}'", files="['{{input.c}}']"))

    assert implied_inputs(workflow) == ("a", "b", "c")


def test_a_workflow_that_declares_inputs_implies_none():
    assert implied_inputs(parsed("inputs.a = 1\n" + step(id="'one'", task="'{{input.a}}'"))) == ()


def test_a_schema_file_is_read_by_the_name_that_the_step_gives():
    files = {"answer.json": '{ "type": "object", "required": [] }'}

    workflow = parsed(step(id="'one'", schema="'answer.json'"), read_schema=files.__getitem__)

    assert workflow.steps[0].schema == '{"required":[],"type":"object"}'


def test_a_schema_file_with_a_fault_is_named():
    refused = refusal(step(id="'one'", schema="'answer.json'"), read_schema=lambda _: "{")

    assert "step 'one': schema answer.json: not JSON" in refused.message


def test_a_date_in_a_list_of_items_may_be_given_in_quotes():
    assert parsed(step(id="'one'", foreach="['2024-02-28']")).steps[0].foreach == ("2024-02-28",)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(date(2000, 1, 1)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from([*(f.name for f in fields(Step)), "other"]), VALUES),
    st.dictionaries(st.sampled_from(["description", "inputs", "name"]), VALUES),
)
def test_any_content_is_a_workflow_or_refused_as_a_fault_of_the_user(fields, rest):
    data = rest | {"steps": [{"id": "a", "agent": "b"}, {"id": "c", "agent": "d"} | fields]}
    try:
        workflow = parse("w", data, source="project", read_schema=lambda _: "{}")
    except UsageError as refused:
        found = refused.message
    else:
        found = f"workflow '{workflow.name}' with {len(workflow.steps)} steps"
    assert "workflow 'w'" in found


def test_the_closest_name_is_suggested_whatever_its_case():
    assert NotFound("agent", "Code-Reviewr", ["code-reviewer", "linter"]).hint == "did you mean code-reviewer?"
    assert NotFound("agent", "linter", []).hint == ""


def test_all_that_is_wrong_is_found_at_once_with_the_step_that_it_is_about():
    data = {
        "steps": [
            {"id": "a", "agent": "x", "retries": "many", "dependencies": ["b", "none", 5]},
            {"id": "b", "agent": "x", "dependencies": ["b"]},
            {"id": "c", "agent": "x", "task": "{{steps.d.output}}"},
            {"id": "d", "agent": "x", "dependencies": ["a", "b"]},
        ]
    }
    found, wrong = examine("w", data, source="project", read_schema=no_schema)
    assert [error.step for error in wrong] == ["a", "a", "b", "c"]
    assert found.steps == (Step("d", "x", dependencies=("a", "b")),)


def test_every_fault_of_a_step_is_told_but_of_many_unknown_keys_the_first_ten():
    step = {"id": "a", "agnet": "x", "retries": -1, "effort": "hgih", "when": 5, "schema": 1}
    told = [error.message for error in examine("w", {"steps": [step]}, source="project", read_schema=no_schema)[1]]
    words = ("no key named 'agnet'", "agent is missing", "when", "retries", "schema", "no effort named 'hgih'")
    assert [word in message for word, message in zip(words, told, strict=True)] == [True] * len(words)
    many = {"id": "a", "agent": "x"} | {f"key{n}": 1 for n in range(5_000)}
    assert len(examine("w", {"steps": [many]}, source="project", read_schema=no_schema)[1]) == 10


def test_a_cycle_is_about_its_first_step_and_leaves_no_workflow():
    data = {"steps": [{"id": i, "agent": "x", "dependencies": [d]} for i, d in ("ab", "ba")]}
    found, (error,) = examine("w", data, source="project", read_schema=no_schema)
    assert (found.steps, error.step, error.hint) == ((), "a", "remove one of these dependencies")
