"""A run of routed models that goes on: what it finished keeps its model, and is not paid for again."""

import pytest

from tests.executions import line
from tests.journalled import place, reply

HAIKU, SONNET = "claude-haiku-5-5", "claude-sonnet-5-5"
TASK = "Explain closures"


@pytest.fixture
def far(project, capsys, monkeypatch):
    with place(project, capsys, monkeypatch) as opened:
        opened.agent("helper", "You help.", model="sonnet")
        yield opened


@pytest.fixture
def broken_off(far):
    """A run whose first step went to the small model and whose second one failed, and a record that now speaks
    against that model."""
    steps = {"id": "a", "agent": "helper", "task": TASK}, {"id": "b", "task": "[[simulate: status=400]]"}
    far.workflow(*steps)
    assert far.run("w", "--auto-model", "--on-error", "continue", "--sequential") == {"a": "ok", "b": "failed"}
    assert models(far) == [HAIKU, HAIKU]
    speak_against(far, HAIKU)
    return far


def speak_against(far, model):
    told = line(agent_name="helper", success=False, error_type="truncated", task_kind="explain", model=model)
    with (far.project / ".claude" / "metrics" / "executions.jsonl").open("ab") as stream:
        stream.write(told * 30)


def models(far):
    """Return the models that were asked since this was asked last."""
    found = [request.body["model"] for request in far.simulator.requests]
    before, far.seen = getattr(far, "seen", 0), len(found)
    return found[before:]


def mend(far, **changes):
    far.workflow({"id": "a", "agent": "helper", "task": TASK} | changes, {"id": "b", "task": reply("mended")})


def test_the_record_that_has_grown_would_move_the_task(broken_off):
    assert broken_off.data("route", "helper", TASK)["model"] == SONNET


@pytest.mark.parametrize("words", [("--auto-model",), ()])
def test_a_step_that_ended_keeps_its_model_and_is_not_paid_for_again(broken_off, words):
    mend(broken_off)
    assert broken_off.resume(*words) == {"a": "cached", "b": "ok"}
    assert models(broken_off) == [HAIKU]


def test_that_holds_however_often_the_run_is_resumed(broken_off):
    assert broken_off.resume("--auto-model", "--on-error", "continue") == {"a": "cached", "b": "failed"}
    mend(broken_off)
    models(broken_off)
    assert broken_off.resume("--auto-model") == {"a": "cached", "b": "ok"}
    assert models(broken_off) == [HAIKU]


def test_a_step_whose_agent_or_task_changed_is_routed_anew(broken_off):
    mend(broken_off, task=f"{TASK} once more")
    assert broken_off.resume("--auto-model")["a"] == "ok"
    assert sorted(models(broken_off)) == [HAIKU, SONNET]
    broken_off.agent("helper", "You help otherwise.", model="opus")
    assert broken_off.resume("--no-auto-model")["a"] == "ok"
    assert models(broken_off) == ["claude-opus-5-5"]


def test_a_model_that_the_step_names_by_now_is_the_one_that_is_asked(broken_off):
    mend(broken_off, model="opus")
    assert broken_off.resume("--auto-model")["a"] == "ok"
    assert "claude-opus-5-5" in models(broken_off)


def test_without_routing_by_the_users_word_the_agents_own_model_is_asked(broken_off):
    mend(broken_off)
    assert broken_off.resume("--no-auto-model") == {"a": "ok", "b": "ok"}
    assert SONNET in models(broken_off)


def test_a_run_that_was_not_routed_follows_todays_models(far):
    far.workflow({"id": "a", "agent": "helper", "task": TASK})
    far.run("w")
    far.agent("helper", "You help.", model="haiku")
    models(far)
    assert far.resume() == {"a": "ok"}
    assert models(far) == [HAIKU]


def test_a_task_of_the_run_and_its_inputs_that_change_are_routed_anew(far):
    far.workflow({"id": "a", "agent": "helper", "task": "Explain {{input.what}} in {{task}}"})
    far.run("w", "Python", "--input", "what=closures", "--auto-model")
    speak_against(far, HAIKU)
    models(far)
    assert far.resume("--auto-model") == {"a": "cached"}
    assert far.resume("--auto-model", "--input", "what=slots") == {"a": "ok"}
    assert far.resume("w", "Ruby", "--auto-model") == {"a": "ok"}
    assert models(far) == [SONNET, SONNET]


FAILING = "[[simulate: status=500 times=1]]"


def stopped(far, *words):
    """A run whose second step failed, after an earlier run had put the answers of both into the cache."""
    far.workflow({"id": "a", "task": "x"}, {"id": "b", "task": "y", "dependencies": ["a"]})
    far.data("run", "workflow", "w")
    far.workflow({"id": "a", "task": "x"}, {"id": "b", "task": FAILING, "dependencies": ["a"]})
    far.call("run", "workflow", "w", *words)
    far.workflow({"id": "a", "task": "x"}, {"id": "b", "task": "y", "dependencies": ["a"]})
    far.asked()


def told(err):
    return [line for line in err.splitlines() if line.startswith("as it was begun")]


@pytest.mark.parametrize("option", ["--refresh", "--no-cache"])
def test_a_run_that_asks_anew_does_so_when_it_goes_on(far, option):
    stopped(far, option)
    status, _, err = far.call("run", "workflow", "--resume", "last")
    assert (status, far.asked()) == (0, 1)
    assert told(err) == [f"as it was begun: {option}"]


def test_that_holds_however_often_it_goes_on(far):
    stopped(far, "--refresh")
    far.workflow({"id": "a", "task": "x"}, {"id": "b", "task": FAILING + "2", "dependencies": ["a"]})
    far.call("run", "workflow", "--resume", "last")
    far.workflow({"id": "a", "task": "x"}, {"id": "b", "task": "y", "dependencies": ["a"]})
    assert told(far.call("run", "workflow", "--resume", "last")[2]) == ["as it was begun: --refresh"]
    assert far.asked() == 2


def test_a_run_begun_as_usual_is_told_of_nothing_and_may_use_the_cache(far):
    stopped(far)
    status, _, err = far.call("run", "workflow", "--resume", "last")
    assert (status, far.asked(), told(err)) == (0, 0, [])


def test_what_is_given_when_a_run_goes_on_wins(far):
    stopped(far, "--refresh", "--max-cost", "5", "--on-error", "continue")
    _, _, err = far.call("run", "workflow", "--resume", "last", "--no-cache", "--max-cost", "0.000001")
    assert told(err) == ["as it was begun: --on-error continue"]
    far.asked()
    status, _, err = far.call("run", "workflow", "--resume", "last", "--refresh", "--max-cost", "0")
    assert (status, far.asked(), told(err)) == (3, 0, ["as it was begun: --on-error continue"])
    assert "run cap of $0.00" in err
    assert told(far.call("run", "workflow", "--resume", "last", "--refresh")[2]) == [
        "as it was begun: --max-cost 0.0, --on-error continue"
    ]
    words = ("--refresh", "--max-cost", "5", "--on-error", "stop")
    assert told(far.call("run", "workflow", "--resume", "last", *words)[2]) == []


def test_a_cap_is_over_the_whole_run_however_often_it_goes_on(far):
    a, b = {"id": "a", "task": "x", "max_tokens": 100}, {"id": "b", "task": "y", "max_tokens": 100}
    far.workflow(a, b)
    worst = max(r["estimated_cost_at_most"] for r in far.data("run", "workflow", "w", "--dry-run")["requests"])
    spent = far.data("run", "workflow", "w", "--sequential", "--no-cache")["results"]["a"]["estimated_cost"]
    cap = f"{worst + spent / 2:.9f}"
    assert far.call("run", "workflow", "w", "--sequential", "--no-cache", "--max-cost", cap)[0] == 4
    far.asked()
    status, _, err = far.call("run", "workflow", "--resume", "last")
    assert (status, far.asked()) == (4, 0)
    assert told(err) == [f"as it was begun: --no-cache, --max-cost {float(cap)}"]
    assert far.call("run", "workflow", "--resume", "last", "--max-cost", "1")[0] == 0
    assert far.asked() == 1
