"""Which model a task needs: kinds, scope, risk and past, one at a time and on the labelled tasks."""

import importlib.util
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force import models
from claude_force.errors import NotFound
from claude_force.library import lookup
from claude_force.records import Agent
from claude_force.routing import TIERS, route
from claude_force.routing.reading import kinds, read

ROOT = Path(__file__).parent.parent
HAIKU, SONNET, OPUS = (models.find(tier)[0].id for tier in TIERS)


def agent(model=None, name="helper"):
    return Agent(name, "helps", "You help.", model=model)


def tier(task, model="sonnet", **options):
    return route(agent(model), task, default=model, **options).tier


def failing(model, *failures):
    return lambda _: [(model, failure) for failure in failures]


@pytest.fixture(scope="module")
def evaluation():
    spec = importlib.util.spec_from_file_location("evaluate_routing", ROOT / "scripts" / "evaluate_routing.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("model", TIERS)
@pytest.mark.parametrize(
    "task", ["Explain closures", "please summarize this thread", "tl;dr", "Übersetze das", "a regex?"]
)
def test_light_work_goes_to_the_small_model_whatever_the_agent_names(task, model):
    assert tier(task, model) == "haiku"


@pytest.mark.parametrize(("model", "expected"), [("haiku", "haiku"), ("sonnet", "sonnet"), ("opus", "sonnet")])
def test_ordinary_work_needs_the_middle_model_at_most(model, expected):
    assert tier("Review this diff", model) == expected


@pytest.mark.parametrize(("model", "expected"), [("haiku", "sonnet"), ("sonnet", "sonnet"), ("opus", "opus")])
def test_hard_work_is_never_for_the_small_model(model, expected):
    assert tier("Design the order service", model) == expected


@pytest.mark.parametrize("model", TIERS)
def test_what_is_not_understood_stays_with_the_agents_own_model(model):
    found = route(agent(model), "Frobnicate the quux for me", default=model)
    assert (found.tier, found.kind) == (model, "")
    assert "not recognised" in found.reasons[1]


def test_what_is_not_understood_and_yet_moved_up_is_not_said_to_stay():
    found = route(agent("haiku"), "Frobnicate the production database", default="haiku")
    assert (found.tier, found.kind) == ("sonnet", "")
    assert found.reasons[1] == "What the task asks for is not recognised, which moves no model by itself."
    assert "can do harm: sonnet at least." in found.reasons[2]


def test_a_short_question_is_small_but_a_request_with_a_question_mark_is_not():
    assert tier("varchar or text?", "opus") == "haiku"
    assert tier("could you frobnicate the quux?", "opus") == "opus"


def test_words_for_a_large_scope_move_up_and_for_a_small_one_down():
    assert tier("Design the distributed order service") == "opus"
    assert tier("Write a small parser") == "haiku"
    assert tier("Write a small parser for the whole language") == "sonnet"
    assert tier("Frobnicate the entire codebase") == "opus"


def test_to_explain_something_large_is_not_large():
    assert tier("Explain distributed tracing") == "haiku"


def test_what_the_task_begins_with_counts_before_what_it_mentions():
    assert read("a", "Explain this flaky test").kind == "explain"
    assert read("a", "The build sometimes fails. Explain").kind == "diagnose"


def test_a_thing_counts_only_where_it_is_asked_for():
    assert read("a", "Write a commit message for this").kind == "describe"
    assert read("a", "Our image is far too big and builds take an hour, Dockerfile attached").kind != "snippet"


def test_piped_material_in_the_middle_of_a_task_does_not_tell_its_kind():
    noise = "nothing of note here. " * 200
    assert read("a", f"{noise} design a cathedral. {noise}").kind == ""
    assert read("a", f"{noise} design a cathedral").kind == "design"


@pytest.mark.parametrize("model", TIERS)
@pytest.mark.parametrize(
    "task", ["Summarize what this delete job does", "list the passwords in here", "explain the outage"]
)
def test_critical_work_goes_neither_to_the_small_model_nor_below_the_agents_own(task, model):
    found = route(agent(model), task, default=model)
    assert TIERS.index(found.tier) >= max(TIERS.index(model), 1)
    assert found.risk


def test_hard_critical_work_goes_to_the_large_model():
    assert tier("Design the backup of the ledger", "haiku") == "opus"
    assert tier("Plan moving production with little downtime", "haiku") == "opus"


def test_an_agents_name_can_make_its_work_critical():
    assert route(agent("haiku", "security-scanner"), "list the files", default="haiku").tier == "sonnet"


def test_a_reason_quotes_the_words_that_stand_there():
    assert any("'deletes'" in reason for reason in route(agent(), "it deletes files", default="sonnet").reasons)


@given(task=st.text(max_size=200), word=st.sampled_from(["production", "Passwords", "DELETE", "löschen"]))
def test_no_text_around_a_risk_word_gets_it_to_the_small_model(task, word):
    assert tier(f"{task} {word} {task}", "haiku") != "haiku"


@given(st.text(max_size=300), st.sampled_from(TIERS))
def test_any_task_has_a_route_with_reasons_and_always_the_same(task, model):
    found = route(agent(model), task, default=model)
    assert found == route(agent(model), task, default=model)
    assert found.tier in TIERS
    assert 0 < found.confidence <= 1
    assert found.expected_tokens > 0
    assert all(reason.endswith(".") and "\n" not in reason for reason in found.reasons)


def test_a_model_that_was_asked_for_is_kept_and_the_past_not_even_read():
    found = route(agent("opus"), "delete production", default="opus", asked="haiku", past=lambda _: 1 / 0)
    assert (found.model, found.tier, found.reasons) == ("haiku", "haiku", ("haiku was asked for.",))
    assert found.risk


def test_a_model_outside_the_tiers_is_kept():
    found = route(agent("fable"), "Explain closures", default="fable")
    assert (found.model, found.tier) == ("fable", "")
    assert (
        route(agent(), "Explain closures", default="mine", prices={"mine": {"input": 1, "output": 2}}).model == "mine"
    )


def test_a_model_that_there_is_not_is_an_error():
    with pytest.raises(NotFound):
        route(agent(), "Explain closures", default="none-such")


def test_the_agents_own_spelling_stays_where_the_tier_does():
    assert route(agent("claude-sonnet-4-6"), "Review this", default="claude-sonnet-4-6").model == "claude-sonnet-4-6"
    assert route(agent("claude-sonnet-4-6"), "Explain this", default="claude-sonnet-4-6").model == "haiku"


def test_a_long_task_or_much_to_read_is_not_for_the_small_model_unless_it_is_to_be_shortened():
    assert tier(f"convert this: {'word ' * 201}") == "sonnet"
    assert tier("convert this", attached=150_001) == "sonnet"
    assert tier("summarize this", attached=10_000_000) == "haiku"


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        ([True, True], "sonnet"),
        ([True], "haiku"),
        ([True, True] + [False] * 7, "haiku"),
        ([True, True] + [False] * 6, "sonnet"),
    ],
)
def test_work_that_fails_often_on_the_small_model_moves_up(failures, expected):
    assert tier("Explain closures", past=failing(HAIKU, *failures)) == expected


def test_only_the_latest_runs_count():
    assert tier("Explain closures", past=failing(HAIKU, *[False] * 20, *[True] * 50)) == "haiku"


def test_work_that_fails_on_every_model_does_not_move():
    def past(kind):
        assert kind == "explain"
        return [(model, True) for model in (HAIKU, SONNET, OPUS) for _ in range(3)]

    found = route(agent("sonnet"), "Explain closures", default="sonnet", past=past)
    assert found.tier == "haiku"
    assert "no less" in found.reasons[-1]


def test_work_that_fails_on_two_models_moves_to_the_third():
    found = route(
        agent("sonnet"), "Explain it", default="sonnet", past=lambda _: [(m, True) for m in (HAIKU, SONNET) * 2]
    )
    assert found.tier == "opus"
    assert found.reasons[-1] == "2 of the last 2 such runs on haiku failed or were cut."


def test_another_model_of_the_same_line_has_another_record():
    assert tier("Explain closures", past=failing("claude-haiku-4-5-20251001", True, True, True)) == "haiku"


def test_every_word_of_the_lists_is_written_as_it_is_looked_for():
    lists = json.loads((ROOT / "claude_force" / "routing" / "words.json").read_text("utf-8"))
    cues = [cue for name in ("polite", "narrow", "wide", "risk") for cue in lists[name]]
    cues += [
        cue for rule in lists["kinds"].values() for name in ("asks", "things", "signs") for cue in rule.get(name, ())
    ]
    assert [cue for cue in cues if cue != cue.casefold() or not cue.strip("* ")] == []
    asks = Counter(cue for rule in lists["kinds"].values() for cue in rule["asks"])
    assert [cue for cue, count in asks.items() if count > 1] == []
    assert all(rule["level"] in {0, 1, 2} and rule["tokens"] > 0 and rule["does"] for rule in kinds().values())


def test_no_labelled_critical_task_goes_to_the_small_model_or_below_the_agents_own(evaluation):
    counts = evaluation.figures(evaluation.labelled())["counts"]
    assert counts["critical"] > 30
    assert counts["critical on the small model"] == counts["critical below the agent's own"] == 0


def test_on_the_tasks_held_aside_few_are_sent_too_low_and_routing_saves(evaluation):
    rows = [row for row in evaluation.labelled() if evaluation.held_aside(row["id"])]
    found = evaluation.figures(rows)
    assert len(rows) > 40
    assert found["counts"]["too small"] / len(rows) < 0.05
    assert found["costs"]["routed"] < found["costs"]["the agent's own model"]


def test_labels_name_agents_that_there_are(evaluation):
    known = {a.name for a in lookup.list_agents((lookup.bundled_shelf(),), warn=print)}
    assert {row["agent"] for row in evaluation.labelled()} <= known
    assert all(row["tier"] != "haiku" for row in evaluation.labelled() if row["critical"])
