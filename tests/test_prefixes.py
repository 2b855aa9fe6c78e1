"""Prefixes that calls share: which are marked, who goes first, and what the far end's cache makes of it."""

import json
import signal
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.cli import main
from claude_force.commands.dry_run import preview
from claude_force.errors import Interrupted
from claude_force.frozen import replace
from claude_force.models import Model, estimate_tokens, find
from claude_force.project.workspace import Workspace
from claude_force.records import Agent, Document, Skill, Step, Workflow
from claude_force.running import plan as plans
from claude_force.running.plan import Item, Job, Plan
from claude_force.running.prefixes import Prefix, PrefixScheduler, marked, saving, shared
from claude_force.running.runner import run
from claude_force.terminal.output import Screen
from claude_force.workflow.definition import parse

MODEL = Model("claude-sonnet-5-5", min_cacheable_tokens=100)
SONNET = find("sonnet")[0].id
AGENT = Agent("reader", "reads", "You read. " * 50)
SKILLS = (Skill("tables", "d", "Align. " * 50), Skill("tone", "d", "Be kind. " * 50))
BOOK = (Document("book.txt", "It was a dark night. " * 100),)
TEXT = "def f():\n    return 1\n" * 1_000


def job(step_id, **facts):
    known = {"agent": AGENT, "skills": (), "model": MODEL, "max_tokens": 10, "effort": None, "files": ()}
    step = facts.pop("step", Step(step_id, "reader"))
    return Job(**known | facts, step=step)


def plan(*jobs, source="project", **facts):
    workflow = Workflow("w", tuple(j.step for j in jobs), source=source)
    return Plan(workflow, "t", {}, Path(), {j.step.id: j for j in jobs}, **facts)


def told(prefixes):
    return [(p.steps, p.calls, p.blocks) for p in prefixes]


def marks(made):
    return {i: j.marks for i, j in marked(made, shared(made)).jobs.items()}


def test_calls_of_one_agent_with_the_same_files_share_all_that_comes_before_the_task():
    made = plan(job("a", files=BOOK), job("b", files=BOOK))
    (prefix,) = shared(made)

    assert told([prefix]) == [(("a", "b"), 2, 2)]
    assert prefix.tokens == sum(estimate_tokens(text, MODEL.id) for text in (AGENT.prompt, BOOK[0].text))
    assert marks(made) == {"a": (1,), "b": (1,)}


def test_a_call_that_has_other_files_shares_the_agent_alone():
    made = plan(job("a", files=BOOK), job("b", files=BOOK), job("c", files=(Document("other", "x"),)))

    assert told(shared(made)) == [(("a", "b", "c"), 3, 1), (("a", "b"), 2, 2)]
    assert marks(made) == {"a": (0, 1), "b": (0, 1), "c": (0,)}


def test_steps_with_different_skills_share_the_agent_and_the_skills_up_to_there():
    made = plan(job("a", skills=SKILLS), job("b", skills=SKILLS[:1]), job("c", skills=SKILLS[1:]))

    assert marks(made) == {"a": (0, 1), "b": (0, 1), "c": (0,)}


@pytest.mark.parametrize(
    "others",
    [
        {"agent": replace(AGENT, prompt="You write. " * 50)},
        {"model": replace(MODEL, id="claude-opus-5-5")},
        {"effort": "low"},
        {"schema": '{"type":"object"}'},
    ],
)
def test_nothing_is_shared_where_the_agent_or_what_the_cache_depends_on_differs(others):
    made = plan(job("a", files=BOOK), job("b", files=BOOK, **others))

    assert shared(made) == ()
    assert marks(made) == {"a": (), "b": ()}


def test_a_prefix_that_is_too_short_for_the_model_is_not_marked():
    tokens = estimate_tokens(AGENT.prompt, MODEL.id)

    for least, expected in ((tokens, {"a": (0,), "b": (0,)}), (tokens + 1, {"a": (), "b": ()})):
        model = replace(MODEL, min_cacheable_tokens=least)
        assert marks(plan(job("a", model=model), job("b", model=model))) == expected


def each(items, **facts):
    step = Step("each", "reader", foreach="*.py")
    return job("each", step=step, items=items, **facts)


def test_the_members_of_a_foreach_count_each_and_those_that_an_answer_will_list_as_two():
    many = tuple(Item(str(n)) for n in range(7))

    assert told(shared(plan(each(many, files=BOOK)))) == [(("each",), 7, 2)]
    assert told(shared(plan(each(None, files=BOOK)))) == [(("each",), 2, 2)]
    assert shared(plan(each(many[:1], files=BOOK))) == shared(plan(each((), files=BOOK))) == ()


def test_files_that_depend_on_the_item_are_not_shared_and_those_of_the_whole_run_are():
    many = (Item("x"), Item("y"))

    assert told(shared(plan(each(many, files=None)))) == [(("each",), 2, 1)]
    assert told(shared(plan(job("a"), job("b"), files=BOOK))) == [(("a", "b"), 2, 2)]


def test_a_single_agent_is_left_to_what_a_call_without_known_company_does():
    alone = plan(job("a", files=BOOK), source="agent")

    assert shared(alone) == ()
    assert marked(alone, ()) is alone
    request = plans.request(alone, alone.jobs["a"], {})
    assert [block.cache for block in (*request.system, *request.user)] == [True, False, False]


def test_at_most_four_marks_are_set_and_they_are_those_of_the_longest_prefixes():
    skills = tuple(Skill(f"s{n}", "d", f"{n} " * 300) for n in range(6))
    made = plan(*(job(f"j{n}", skills=skills[:n]) for n in range(1, 7)))

    assert marks(made)["j6"] == (2, 3, 4, 5)
    assert marks(made)["j1"] == (1,)


texts = st.sampled_from([AGENT, replace(AGENT, prompt="Other. " * 60)])
cases = st.lists(
    st.tuples(texts, st.sampled_from([(), SKILLS[:1], SKILLS]), st.sampled_from([(), BOOK, (*BOOK, *BOOK)])), max_size=6
)


@given(cases)
def test_a_block_is_marked_only_where_another_call_has_all_the_blocks_up_to_it(drawn):
    made = plan(*(job(f"s{n}", agent=a, skills=s, files=f) for n, (a, s, f) in enumerate(drawn)))
    requests = [request for _, _, request in preview(made, shared(made))]
    prefixes = [
        tuple(block.text for block in (*r.system, *r.user))[: i + 1]
        for r in requests
        for i, block in enumerate((*r.system, *r.user))
    ]

    for r in requests:
        blocks = (*r.system, *r.user)
        for i, block in enumerate(blocks):
            if block.cache:
                assert prefixes.count(tuple(b.text for b in blocks[: i + 1])) >= 2


def test_what_is_saved_is_what_the_reads_would_have_cost_less_the_reads_and_the_dearer_write():
    prefix = Prefix("claude-sonnet-5-5", ("a",), calls=4, blocks=2, tokens=1_000)

    assert saving(prefix, {}) == 4 * 1_000 * 2_000 - 1_000 * 2_500 - 3 * 1_000 * 100
    assert saving(replace(prefix, inner=250), {}) == saving(prefix, {}) * 3 // 4
    assert saving(replace(prefix, model="claude-sonnet-9"), {}) is None
    own = {"claude-sonnet-5-5": {"input": 1, "output": 1, "cache_write_5m": 1, "cache_read": 1}}
    assert saving(prefix, own) == 0


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


SYSTEM = Prefix("claude-sonnet-5-5", ("a", "b", "c"), calls=3, blocks=1, tokens=1_000)
WITH_FILES = Prefix("claude-sonnet-5-5", ("a", "b"), calls=2, blocks=2, tokens=10_000, inner=1_000)


def scheduler(*prefixes, prices=None, clock=None, **ahead):
    return PrefixScheduler(prefixes, {"a": 1, "b": 1, "c": 1, "x": 1} | ahead, prices or {}, clock=clock or Clock())


def test_others_wait_until_the_answer_of_the_first_begins():
    made = scheduler(SYSTEM)
    assert not made.waits("a")
    assert made.depart(("a", None))
    assert made.waits("b")
    assert not made.waits("x")
    made.begin(("a", None))
    assert not made.waits("b")
    assert not made.depart(("b", None))


def test_a_prefix_that_nobody_wrote_is_written_by_the_next_after_a_failure():
    made = scheduler(SYSTEM)
    made.depart(("a", None))
    made.arrive(("a", None), answered=False)
    assert not made.waits("b")
    assert made.depart(("b", None))
    made.arrive(("b", None), answered=True)
    assert not made.depart(("c", None))


def test_what_has_only_the_beginning_in_common_waits_for_that_and_then_writes_the_rest():
    made = scheduler(SYSTEM, WITH_FILES)
    made.depart(("c", None))
    assert made.waits("a")
    made.begin(("c", None))
    assert not made.waits("a")
    assert made.depart(("a", None))
    assert made.waits("b")


def test_a_call_with_the_longest_path_ahead_does_not_wait_for_one_with_a_shorter_path():
    made = scheduler(SYSTEM, b=3, c=2, x=3)
    made.depart(("a", None))
    assert not made.waits("b")
    assert not made.waits("c")
    made.depart(("x", None))
    assert not made.waits("b")
    assert made.waits("c")


def test_nothing_waits_longer_than_twice_what_an_answer_takes_to_begin():
    clock = Clock()
    made = scheduler(WITH_FILES, clock=clock)
    made.depart(("a", None))
    clock.now += 3.9
    assert made.waits("b")
    clock.now += 0.2
    assert not made.waits("b")


def test_what_was_written_is_forgotten_five_minutes_after_it_was_last_used():
    clock = Clock()
    made = scheduler(SYSTEM, clock=clock)
    made.depart(("a", None))
    made.begin(("a", None))
    clock.now += 299
    assert not made.depart(("b", None))
    clock.now += 299
    assert not made.depart(("c", None))
    clock.now += 301
    assert made.depart(("a", 1))


@pytest.mark.parametrize(
    "prefix",
    [replace(SYSTEM, model="claude-sonnet-9"), replace(SYSTEM, model="mine")],
)
def test_nothing_waits_where_reading_is_not_known_to_be_cheaper(prefix):
    prices = {"mine": {"input": 1, "output": 1, "cache_write_5m": 1, "cache_read": 1}}
    made = scheduler(prefix, prices=prices)
    assert not made.depart(("a", None))
    assert not made.waits("b")
    assert made.shared_tokens("a") == 0


@pytest.fixture
def workspace(project, simulator):
    agents = project / ".claude" / "agents"
    agents.mkdir()
    for name in ("reader", "other"):
        body = f"You are the {name}. " + "Read with care. " * 300
        (agents / f"{name}.md").write_text(f"---\nname: {name}\ndescription: reads\nmodel: sonnet\n---\n{body}\n")
    (project / "code.py").write_text(TEXT)
    (project / "more.py").write_text("x = 1\n" * 1_000)
    screen = Screen()
    screen.quiet = True
    with Workspace(screen=screen) as workspace:
        yield workspace


def workflow(*steps):
    data = {"steps": [{"agent": "reader", "files": ["code.py"], **step} for step in steps]}
    return parse("w", data, source="test", read_schema=lambda name: "{}")


EACH = {"id": "each", "foreach": [1, 2, 3, 4, 5], "task": "part {{item}} [[simulate: latency=0.1s]]"}
WAITING = {"id": "waiting", "task": "wait"}


def outcomes(workspace, source, **wishes):
    made = workspace.plan(source, "")
    with closing(run(made, workspace.engine.context(made, use_cache=False, **wishes))) as going:
        return list(going)


def calls(found):
    return [m for o in found if o.member is None for m in (o.members or (o,))]


def written(found):
    return [c.usage.cache_creation_input_tokens for c in found if c.usage.cache_creation_input_tokens]


def read(found):
    return [c.usage.cache_read_input_tokens for c in found if c.usage.cache_read_input_tokens]


def step_of(received):
    task = received.body["messages"][0]["content"][-1]["text"]
    return task.split()[0]


@pytest.mark.parametrize("jobs", [1, 2, 10])
def test_of_many_calls_over_the_same_files_one_writes_and_the_others_read(workspace, jobs):
    found = calls(outcomes(workspace, workflow(EACH), jobs=jobs))

    assert len(written(found)) == 1
    assert read(found) == written(found) * 4


def test_calls_that_share_only_the_agent_read_that_and_no_file(workspace):
    steps = workflow({"id": "a", "task": "[[simulate: latency=0.1s]]"}, {"id": "b", "files": ["more.py"], "task": "x"})
    found = calls(outcomes(workspace, steps))

    prompt = (workspace.agent("reader").prompt,)
    (system,) = written(found)
    assert read(found) == [system]
    assert system < len(prompt[0])
    assert sum(c.usage.input_tokens for c in found) > system * 2


def test_calls_with_nothing_in_common_pay_for_no_mark(workspace):
    found = calls(outcomes(workspace, workflow({"id": "a"}, {"id": "b", "agent": "other"})))

    assert written(found) == read(found) == []


def test_the_critical_path_goes_at_once_and_what_has_time_waits(workspace, simulator):
    steps = workflow(
        {"id": "gate", "agent": "other", "files": [], "task": "gate"},
        {"id": "side", "task": "side [[simulate: hang]]", "timeout_seconds": 2},
        {"id": "long", "task": "long", "dependencies": ["gate"]},
        {
            "id": "end",
            "agent": "other",
            "files": [],
            "task": "end [[simulate: latency=0.1s]]",
            "dependencies": ["long"],
        },
        {"id": "short", "task": "short", "dependencies": ["gate"]},
    )
    found = outcomes(workspace, steps, stop_on_error=False)

    order = [step_of(received) for received in simulator.requests]
    assert order.index("long") < order.index("short")
    ended = [o.step for o in found]
    assert ended.index("long") < ended.index("short") < ended.index("side")
    assert {c.step: bool(c.usage.cache_read_input_tokens) for c in found if c.agent == "reader"} == {
        "long": False,
        "short": True,
        "side": False,
    }


def test_the_longest_path_goes_first_of_those_that_share(workspace, simulator):
    steps = workflow(
        {"id": "short", "task": "short"},
        {"id": "long", "task": "long [[simulate: latency=0.1s]]"},
        {"id": "end", "agent": "other", "files": [], "task": "end", "dependencies": ["long"]},
    )
    found = outcomes(workspace, steps)

    assert step_of(simulator.requests[0]) == "long"
    assert [c.step for c in found if c.usage.cache_read_input_tokens] == ["short"]


@pytest.mark.parametrize("fault", ["status=400", "reset", "hang"])
def test_a_first_call_that_fails_lets_another_one_write(workspace, fault):
    steps = workflow(
        {"id": "bad", "task": f"bad [[simulate: {fault}]]", "timeout_seconds": 0.5},
        *({"id": f"s{n}", "task": f"s{n} [[simulate: latency=0.1s]]"} for n in range(3)),
    )
    found = calls(outcomes(workspace, steps, stop_on_error=False))

    assert sorted(c.status for c in found) == ["failed", "ok", "ok", "ok"]
    assert len(written(found)) == 1
    assert len(read(found)) == 2


def test_a_call_that_is_tried_again_lets_the_others_go_meanwhile(workspace, simulator):
    steps = workflow(
        {"id": "first", "task": "first [[simulate: status=529 times=1]]", "retries": 1},
        {"id": "second", "task": "second [[simulate: latency=0.1s]]"},
    )
    found = calls(outcomes(workspace, steps))

    assert [c.status for c in found] == ["ok", "ok"]
    assert [step_of(r) for r in simulator.requests] == ["first", "second", "first"]
    assert len(written(found)) == len(read(found)) == 1


def test_an_interruption_ends_a_run_in_which_calls_wait(workspace, simulator):
    made = workspace.plan(workflow({"id": "a", "task": "[[simulate: hang]]"}, WAITING, EACH), "")

    def interrupt():
        simulator.wait_for(1, timeout=10)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    found = []
    threading.Thread(target=interrupt).start()
    with pytest.raises(Interrupted):
        found.extend(run(made, workspace.engine.context(made, use_cache=False)))
    assert {o.step: o.status for o in found} == {"a": "failed", "waiting": "skipped", "each": "skipped"}
    assert len(simulator.requests) == 1


def test_a_failure_that_stops_the_run_leaves_out_what_waits(workspace, simulator):
    steps = workflow({"id": "a", "task": "[[simulate: status=400]]"}, WAITING, EACH)
    found = outcomes(workspace, steps)

    assert {o.step: o.status for o in found} == {"a": "failed", "waiting": "skipped", "each": "skipped"}
    assert len(simulator.requests) == 1


def test_keys_are_the_same_in_each_run_and_at_each_pace(workspace):
    steps = workflow(EACH, {"id": "last", "task": "x", "dependencies": ["each"]})
    found = [{(c.step, c.member): c.key for c in calls(outcomes(workspace, steps, jobs=n))} for n in (1, 10, 10)]

    assert len(found[0]) == 6
    assert found[0] == found[1] == found[2]


def test_what_the_cache_has_waits_for_nobody(workspace, simulator):
    new = workflow({"id": "b", "task": "new [[simulate: latency=0.2s]]"}, {"id": "a", "task": "old"})
    made = [workspace.plan(source, "") for source in (workflow({"id": "a", "task": "old"}, WAITING), new)]
    list(run(made[0], workspace.engine.context(made[0])))
    found = list(run(made[1], workspace.engine.context(made[1])))

    assert [(o.step, o.status) for o in found] == [("a", "cached"), ("b", "ok")]
    assert workspace.stores.cache.stats()["misses"] == 3


def test_a_call_that_had_to_wait_is_looked_up_once(workspace):
    made = workspace.plan(workflow(WAITING, {"id": "b", "task": "x [[simulate: latency=0.1s]]"}, EACH), "")
    found = calls(list(run(made, workspace.engine.context(made))))

    assert len(found) == workspace.stores.cache.stats()["misses"] == 7


def test_an_answer_that_breaks_off_after_it_began_is_asked_for_again(workspace, monkeypatch):
    monkeypatch.setenv("CLAUDE_FORCE_RETRIES", "1")
    steps = workflow({"id": "a", "task": "a [[simulate: cut times=1]]"}, {"id": "b", "task": "b"})
    with Workspace(screen=workspace.screen) as patient:
        found = outcomes(patient, steps)

    assert {o.step: (o.status, o.attempts) for o in found} == {"a": ("ok", 2), "b": ("ok", 1)}


def test_equal_calls_are_still_sent_once(workspace, simulator):
    steps = workflow(*({"id": f"s{n}", "task": "same [[simulate: latency=0.2s]]"} for n in range(3)))
    made = workspace.plan(steps, "")
    found = list(run(made, workspace.engine.context(made)))

    assert sorted(o.status for o in found) == ["cached", "cached", "ok"]
    assert len(simulator.requests) == 1


@pytest.fixture
def file(project):
    steps = "".join(
        f'[[steps]]\nid = "{name}"\nagent = "reader"\nfiles = ["code.py"]\ntask = "{name} [[simulate: latency=0.1s]]"\n'
        for name in ("one", "two", "three")
    )
    path = project / "w.toml"
    path.write_text(steps)
    return str(path)


def test_the_end_of_a_run_tells_what_was_read_and_saved(workspace, file, capsys):
    assert main(["run", "workflow", file, "--json", "--no-cache"]) == 0
    out, err = capsys.readouterr()

    data = json.loads(out)
    usages = [result["usage"] for result in data["results"].values()]
    tokens = sum(usage["cache_read_input_tokens"] for usage in usages)
    wrote = sum(usage["cache_creation_input_tokens"] for usage in usages)
    assert tokens == 2 * wrote > 0
    assert data["prompt_cache_saved"] == pytest.approx((tokens * 1_900 - wrote * 500) / 1e9, abs=1e-12)
    assert f"{tokens:,} tokens read from the API's prompt cache, saved $0.0" in err.splitlines()[-1]


def test_a_dry_run_tells_what_is_shared_and_what_that_should_save(workspace, file, capsys):
    assert main(["run", "workflow", file, "--dry-run", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    (prefix,) = data["shared_prefixes"]
    assert (prefix["steps"], prefix["calls"], prefix["model"]) == (["one", "two", "three"], 3, SONNET)
    assert data["estimated_prompt_cache_saving"] == prefix["estimated_saving"] > 0

    assert main(["run", "workflow", file, "--dry-run"]) == 0
    shown = capsys.readouterr().out.splitlines()[-3]
    assert shown.startswith(
        f"# one, two, three: 3 calls share a prefix of about {prefix['estimated_tokens']:,} tokens;"
    )


def test_a_dry_run_shows_the_requests_with_the_marks_that_they_are_sent_with(workspace, file, simulator, capsys):
    assert main(["run", "workflow", file, "--dry-run", "--json"]) == 0
    shown = [entry["request"] for entry in json.loads(capsys.readouterr().out)["requests"]]
    assert main(["run", "workflow", file, "--no-cache", "--sequential"]) == 0

    assert [{k: v for k, v in r.body.items() if k != "stream"} for r in simulator.requests] == shown
    assert all("cache_control" in request["messages"][0]["content"][0] for request in shown)


def test_repeated_runs_of_an_agent_read_its_prompt_and_say_what_that_saved(workspace, capsys):
    told = []
    for task in ("one", "two"):
        assert main(["run", "agent", "reader", task, "--json", "--no-cache"]) == 0
        told.append(json.loads(capsys.readouterr().out))
    first, second = (each["usage"] for each in told)

    assert second["cache_read_input_tokens"] == first["cache_creation_input_tokens"] > 0
    assert told[0]["prompt_cache_saved"] < 0 < told[1]["prompt_cache_saved"]
