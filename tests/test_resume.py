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
