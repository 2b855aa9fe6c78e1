"""What decides an answer, by name; and a plan that goes through a journal and comes back as it was."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.errors import NotFound, ValidationError
from claude_force.frozen import replace
from claude_force.models import find
from claude_force.records import Agent, Document, Outcome, Skill, Step, Workflow, canonical, digest, key
from claude_force.running import cassette
from claude_force.running import plan as plans
from claude_force.running.parts import fingerprint, is_redacted, output_digest, parts
from claude_force.running.plan import Item, Job, Plan, files
from claude_force.stores.journal import Journal
from claude_force.stores.transcript import Transcript, read
from tests.journalled import secret

HAIKU = find("haiku")[0]
SCHEMA = canonical({"type": "object", "properties": {"n": {"type": "integer"}}})
BEFORE = {"a": Outcome("a", "echo", "ok", output="from A"), "b": Outcome("b", "echo", "ok", output="from B")}


def step(**fields):
    facts = {"id": "c", "agent": "echo", "task": "do {{task}} {{input.k}}", "dependencies": ("a", "b"), **fields}
    return Step(**facts)


def job(of=None, **fields):
    skills = (Skill("s", "d", "Be kind."), Skill("t", "d", "Be brief."))
    facts = {"step": of or step(), "agent": Agent("echo", "d", "You echo."), "skills": skills, "model": HAIKU}
    return Job(**facts | {"max_tokens": 100, "effort": None} | fields)


def plan(of=None, task="it", inputs=None, **fields):
    made = of or job()
    return Plan(
        Workflow("w", (made.step,)),
        task,
        inputs or {"k": "v", "unused": "u"},
        Path(),
        dict.fromkeys("abc", made),
        **fields,
    )


def taken(made=None, *, outcomes=None, item=None, attached=(), mark=digest):
    made = made or plan()
    return parts(made, made.jobs["c"], BEFORE if outcomes is None else outcomes, item, attached, mark)


def names_that_differ(a, b):
    return {name for name in {*a, *b} if a.get(name) != b.get(name)}


def test_parts_are_named_for_what_they_are_and_only_what_is_used_is_one():
    assert list(taken(item=Item("x"), attached=[Document("f.txt", "text")])) == [
        "agent echo",
        "skill s",
        "skill t",
        "task",
        "task of the run",
        "input k",
        "item",
        "file f.txt",
        "model",
        "max_tokens",
        "output of a",
        "output of b",
    ]
    assert "task of the run" not in taken(plan(job(step(task="{{steps.a.output}}"))))
    assert "output of b" not in taken(plan(job(step(task="{{steps.a.output}}"))))


CHANGES = {
    "agent echo": plan(job(agent=Agent("echo", "d", "You shout."))),
    "skill t": plan(job(skills=(Skill("s", "d", "Be kind."), Skill("t", "d", "Be long.")))),
    "task": plan(job(step(task="now {{task}} {{input.k}}"))),
    "task of the run": plan(task="that"),
    "input k": plan(inputs={"k": "w", "unused": "u"}),
    "model": plan(job(model=find("sonnet")[0])),
    "max_tokens": plan(job(max_tokens=200)),
    "effort": plan(job(effort="low")),
    "schema": plan(job(step(schema=SCHEMA))),
    "sample": plan(sample=2),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_shows_in_its_own_part_alone_and_in_the_fingerprint(name):
    before, now = taken(), taken(CHANGES[name])
    assert names_that_differ(before, now) == {name}
    assert fingerprint(before) != fingerprint(now)


@pytest.mark.parametrize(
    "same",
    [
        plan(inputs={"k": "v", "unused": "other"}),
        plan(job(step(retries=3, timeout_seconds=9.0, cache=False, when="{{task}}"))),
        plan(job(agent=Agent("echo", "another description", "You echo.", source="user", path=Path("x")))),
    ],
)
def test_what_does_not_reach_the_model_is_no_part(same):
    assert fingerprint(taken(same)) == fingerprint(taken())


def test_outputs_items_and_files_are_parts():
    now = taken(outcomes=BEFORE | {"a": replace(BEFORE["a"], output="else")})
    assert names_that_differ(taken(), now) == {"output of a"}
    assert names_that_differ(taken(item=Item("x")), taken(item=Item({"n": 1}))) == {"item"}
    files = [[Document("f", text)] for text in ("old", "new")]
    assert names_that_differ(*(taken(attached=one) for one in files)) == {"file f"}


def test_the_order_of_skills_counts():
    turned = plan(job(skills=(Skill("t", "d", "Be brief."), Skill("s", "d", "Be kind."))))
    assert fingerprint(taken(turned)) != fingerprint(taken())


def test_equal_parts_make_equal_requests():
    made = plan(job(step(schema=SCHEMA)))
    others = plan(job(step(schema=SCHEMA, retries=1)), inputs={"k": "v", "unused": "x"})
    assert fingerprint(taken(made)) == fingerprint(taken(others))
    assert len({key(plans.request(p, p.jobs["c"], BEFORE)) for p in (made, others)}) == 1


TEXTS = st.dictionaries(st.text("ab \n", min_size=1, max_size=3), st.text(max_size=4), max_size=4)


@given(TEXTS, TEXTS)
def test_fingerprints_are_equal_where_all_parts_are(a, b):
    marked = [{name: (text, digest(text)) for name, text in texts.items()} for texts in (a, b)]
    assert (fingerprint(marked[0]) == fingerprint(marked[1])) == (list(a.items()) == list(b.items()))


def test_an_output_that_was_redacted_is_known_by_what_it_was():
    whole = Outcome("a", "echo", "ok", output="secret")
    redacted = replace(whole, output="[redacted]", digest=digest("secret"))
    assert output_digest(redacted) == output_digest(whole)
    assert (is_redacted(redacted), is_redacted(whole)) == (True, False)
    both = [Outcome("a", "e", "ok", members=(replace(m, member=0, item="x"),)) for m in (whole, redacted)]
    assert output_digest(both[0]) == output_digest(both[1])
    assert is_redacted(both[1])


def test_a_step_of_many_items_is_known_by_its_members():
    members = [Outcome("a", "e", "ok", output=text, item=text) for text in ("x", "y")]
    marks = {output_digest(Outcome("a", "e", "ok", members=tuple(m))) for m in (members, members[::-1], members[:1])}
    assert len(marks) == 3


def through_a_journal(made, directory, **lines):
    journal = Journal(directory / "20261122-093000123-0a1b2c", secret=secret, warn=print)
    journal.open()
    facts, texts = cassette.of_plan(made)
    journal.begin(facts, texts, workflow="w", steps=len(made.jobs))
    for outcome in lines.get("kept", ()):
        journal.keep(outcome, fingerprint(outcome.parts), output_digest(outcome))
    journal.close()
    return read(journal.directory / "journal.jsonl", secret)


def made_from(project, *steps, **fields):
    settings = SimpleNamespace(default_model="haiku", prices={})
    return plans.make(
        Workflow("w", steps),
        "the task",
        fields.get("given", {}),
        root=project,
        settings=settings,
        find_agent=lambda name: Agent(name, "d", f"You are {name}.", skills=("s",)),
        find_skills=lambda agent, step: tuple(Skill(name, "d", "Be kind.") for name in agent.skills),
        warn=print,
        files=[Document("always.txt", "attached")],
        sample=1,
    )


def test_a_plan_asks_the_same_after_it_went_through_a_journal(project):
    for name in ("one.txt", "two.txt"):
        (project / name).write_text(f"content of {name}")
    made = made_from(
        project,
        Step("a", "echo", files=("one.txt",), effort="low", schema=SCHEMA, model="sonnet", max_tokens=77),
        Step("list", "echo", "{{item.n}}", foreach=({"n": 1}, {"n": 2}), when="{{task}} contains task"),
        Step("glob", "other", "read {{item}}", foreach="*.txt", dependencies=("a",)),
    )
    again = cassette.plan_of(through_a_journal(made, project / "runs"))
    outcomes = {"a": Outcome("a", "echo", "ok", output="A")}
    assert [s.id for s in again.workflow.steps] == ["a", "list", "glob"]
    assert again.workflow.steps[1].when == made.workflow.steps[1].when
    for step_id, one in made.jobs.items():
        items = plans.items(made, one.step, outcomes) or [None]
        assert list(plans.items(again, again.jobs[step_id].step, outcomes) or [None]) == list(items)
        for item in items:
            asked = [key(plans.request(p, p.jobs[step_id], outcomes, item)) for p in (made, again)]
            assert asked[0] == asked[1], step_id


def test_files_that_depend_on_the_item_come_from_the_members_that_attached_them(project):
    for name in ("one.txt", "two.txt"):
        (project / name).write_text(f"content of {name}")
    made = made_from(project, Step("glob", "echo", "read {{item}}", foreach="*.txt", files=("{{item}}",)))
    one = made.jobs["glob"]
    first = Item("one.txt")
    asked = parts(made, one, {}, first, files(made, one, first), digest)
    kept = Outcome("glob", "echo", "ok", output="x", member=0, item="one.txt", parts=asked)
    again = cassette.plan_of(through_a_journal(made, project / "runs", kept=[kept]))
    for name in ("one.txt", "two.txt"):
        (project / name).unlink()
    texts = [f.text for f in files(again, again.jobs["glob"], first)]
    assert texts[-1] == "content of one.txt"
    with pytest.raises(ValidationError, match=r"no files for two\.txt"):
        files(again, again.jobs["glob"], Item("two.txt"))


def test_a_journal_without_a_text_of_the_plan_is_not_complete(project):
    found = through_a_journal(made_from(project, Step("a", "echo")), project / "runs")
    lacking = replace(found, texts={})
    for transcript in (lacking, Transcript(run_id="r")):
        with pytest.raises(ValidationError, match="not complete"):
            cassette.plan_of(transcript)


def test_a_retired_or_unknown_model_is_still_named_as_it_was(project):
    found = through_a_journal(made_from(project, Step("a", "echo")), project / "runs")
    old = json.loads(json.dumps(found.sessions[0].plan).replace(HAIKU.id, "claude-of-old"))
    again = cassette.plan_of(replace(found, sessions=(replace(found.sessions[0], plan=old),)))
    assert (again.jobs["a"].model.id, again.jobs["a"].model.known) == ("claude-of-old", False)


def test_models_are_swapped_for_all_steps_or_for_one_within_their_limits():
    made = plan(job(max_tokens=10**9, effort="max"))
    small = replace(find("sonnet")[0], efforts=("low",))
    swapped = cassette.swapped(made, {"": small}).jobs["c"]
    assert (swapped.model, swapped.effort, swapped.max_tokens) == (small, None, small.max_output_tokens)
    assert cassette.swapped(made, {"c": small}).jobs["c"].model == small
    with pytest.raises(NotFound, match="no step named 'd'"):
        cassette.swapped(made, {"d": small})
