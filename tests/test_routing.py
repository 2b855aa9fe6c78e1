"""Which model a task needs: kinds, scope, risk and past, one at a time and on the labelled tasks."""

import importlib.util
import json
import sys
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
from claude_force.routing.reading import known, normal, read
from claude_force.routing.weighing import SHAPES, dangers, points, weigh

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
    return script("evaluate_routing")


@pytest.fixture(scope="module")
def fitting(evaluation):
    return script("fit_routing")


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("model", TIERS)
@pytest.mark.parametrize(
    "task", ["Explain closures", "please summarize this thread", "tl;dr", "Übersetze das", "a regex?"]
)
def test_light_work_goes_to_the_small_model_whatever_the_agent_names(task, model):
    assert tier(task, model) == "haiku"


@pytest.mark.parametrize("model", TIERS)
def test_ordinary_work_needs_the_middle_model_whatever_the_agent_names(model):
    assert tier("Review this diff", model) == "sonnet"


@pytest.mark.parametrize("model", TIERS)
def test_open_design_and_hidden_causes_are_for_the_large_model(model):
    assert tier("Design how our microservices stay consistent when one crashes halfway", model) == "opus"
    assert tier("Sometimes two threads deadlock under load, no idea why. Where do I look?", model) == "opus"


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


def test_a_word_that_weighs_little_does_not_make_a_task_understood():
    assert tier("Frobnicate the quux quickly", "opus") == "opus"


@pytest.mark.parametrize(
    ("name", "task", "expected"),
    [
        ("backend-architect", "what is a saga?", "haiku"),
        ("backend-architect", "one table or two for addresses?", "haiku"),
        ("backend-architect", "do we split orders from billing, and who owns the customers then", "sonnet"),
        ("tester", "slugify() pls", "haiku"),
        ("linter", "src/util.py", "haiku"),
        ("code-reviewer", "my last commit", "sonnet"),
        ("my-own-reviewer", "my last commit", "sonnet"),
    ],
)
def test_what_the_agent_is_for_tells_how_hard_its_tasks_are(name, task, expected):
    assert route(agent("opus", name), task, default="opus").tier == expected


def test_the_kind_of_task_tells_it_where_the_agents_name_does_not():
    assert read("helper", "Review this").trade == read("code-reviewer", "frobnicate").trade == "review"
    assert read("helper", "frobnicate").trade == ""


def test_words_for_a_large_scope_move_up_and_for_a_small_one_down():
    weights = [
        weigh(read("helper", task)).middle
        for task in ("Rename this in the readme", "Rename it", "Rename it across the codebase and all our services")
    ]
    assert weights == sorted(set(weights))


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("12 services in one queue", ["many parts"]),
        ("2 services", []),
        ("a table of 80M rows", ["much data"]),
        ("a 1,400 line method, 1,400 lines", ["long code"]),
        ("a method of 40 lines", []),
        ("3.5 million rows in 40 tables", ["much data", "many parts"]),
    ],
)
def test_numbers_tell_how_much_there_is(task, expected):
    assert list(read("a", task).shapes) == expected


PASTED = """can you look at this please

def drop_production(passwords):
    delete(passwords)
"""


def test_what_is_pasted_is_seen_but_its_words_are_not_the_wish():
    found = read("a", PASTED)
    assert found.shapes == ("pasted",)
    assert not found.signs
    assert read("a", PASTED.replace("\n", " ")).signs


def test_a_task_with_hardly_a_word_of_its_own_is_what_it_pastes():
    assert "deletion" in read("a", "sql\n  delete from users;").signs


@pytest.mark.parametrize(("apart", "together"), [("what's this", "whats this"), ("I don\u2019t know", "i dont know")])
def test_an_apostrophe_left_out_changes_nothing(apart, together):
    assert normal(apart) == normal(together)


def test_to_explain_something_large_is_not_large():
    assert tier("Explain distributed tracing") == "haiku"


def test_what_the_task_begins_with_counts_before_what_it_mentions():
    assert read("a", "Explain this flaky test").kind == "explain"
    assert read("a", "The build is broken. Explain").kind == "fix"


def test_a_thing_counts_only_where_it_is_asked_for():
    assert read("a", "Write a commit message for this").kind == "describe"
    assert read("a", "Our image is far too big and builds take an hour, Dockerfile attached").kind != "snippet"


def test_piped_material_in_the_middle_of_a_task_does_not_tell_its_kind():
    noise = "nothing of note here. " * 200
    assert read("a", f"{noise} design a cathedral. {noise}").kind == ""
    assert read("a", f"{noise} design a cathedral").kind == "design"


@pytest.mark.parametrize("model", TIERS)
@pytest.mark.parametrize(
    "task",
    [
        "production is down",
        "list the passwords in here",
        "delete the old customers of the shop",
        "give the auditors access to the payments",
        "migrate the ledger without losing a transaction",
        "doses in the discharge letter of a patient",
        "may we ship this under the GPL",
        "kann jemand unsere Kundendaten löschen",
    ],
)
def test_critical_work_goes_neither_to_the_small_model_nor_below_the_agents_own(task, model):
    found = route(agent(model), task, default=model)
    assert TIERS.index(found.tier) >= max(TIERS.index(model), 1)
    assert found.risk


@pytest.mark.parametrize(
    "task",
    [
        "what is a refund?",
        "changelog entry: the delete button is red now",
        "css of the login",
    ],
)
def test_a_risk_word_in_a_task_that_only_explains_or_words_is_no_danger(task):
    assert not route(agent(), task, default="sonnet").risk


def test_a_doubtful_word_keeps_a_task_from_the_small_model_without_making_it_critical():
    found = route(agent("opus"), "what is a refund?", default="opus")
    assert (found.tier, found.risk) == ("sonnet", ())
    assert found.reasons[-1] == "'refund' might do harm: not for the small model."


def test_hard_critical_work_goes_to_the_large_model():
    task = "How should payments stay consistent between three services when the ledger goes down and events get lost?"
    assert tier(task, "haiku") == "opus"


def test_an_agents_name_can_make_its_work_critical():
    assert route(agent("haiku", "security-scanner"), "list the files", default="haiku").tier == "sonnet"


@pytest.mark.parametrize(
    ("name", "task", "expected"),
    [
        ("helper", "the deploy must not stop, delete nothing", "delete"),
        ("helper", "it must not stop and must never fail", "must not"),
        ("security-scanner", "list the files", "security"),
        ("helper", "frobnicate this please\n  quux(1)", "pasted"),
    ],
)
def test_what_speaks_for_harm_is_named_though_it_is_no_word_of_danger(name, task, expected):
    assert expected in dangers(read(name, task))


def test_a_reason_quotes_the_words_that_stand_there():
    assert any("'deletes'" in reason for reason in route(agent(), "it deletes files", default="sonnet").reasons)


@given(
    task=st.text(st.characters(exclude_characters="\n?"), max_size=200),
    word=st.sampled_from(["production", "Passwords", "DELETE", "löschen"]),
)
def test_no_text_without_a_question_around_a_risk_word_gets_it_to_the_small_model(task, word):
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
    kinds, signs, trades = (lists[name].values() for name in ("kinds", "signs", "trades"))
    cues = [*lists["polite"], *(cue for rule in trades for cue in rule["names"])]
    cues += [cue for sign in signs for cue in sign["words"]]
    cues += [cue for rule in kinds for name in ("asks", "things", "signs") for cue in rule.get(name, ())]
    assert [cue for cue in cues if normal(cue.removesuffix("*")) != f" {cue.removesuffix('*')} "] == []
    asks = Counter(cue for rule in kinds for cue in rule["asks"])
    assert [cue for cue, count in asks.items() if count > 1] == []


def test_no_sign_counts_a_word_twice():
    for name, sign in known("signs").items():
        needles = list(sign["words"])
        assert [(a, b) for a in needles for b in needles if a != b and a in b] == [], name


def test_everything_that_counts_has_points_and_nothing_else():
    counted = {f"trade {name}" for name in known("trades")} | {f"sign {name}" for name in known("signs")}
    assert set(points()) == counted | {f"shape {name}" for name in SHAPES} | {"base"}
    assert {sign["for"] for sign in known("signs").values()} == {"hard", "easy", "harm"}
    assert {rule["trade"] for rule in known("kinds").values() if "trade" in rule} <= set(known("trades"))


def test_points_are_those_that_the_labels_ask_for(fitting):
    rows = [
        {"agent": "helper", "task": "Explain it", "tier": "haiku", "critical": False},
        {"agent": "helper", "task": "Redesign the monolith", "tier": "opus", "critical": False},
        {"agent": "helper", "task": "truncate the ledger", "tier": "sonnet", "critical": True},
    ] * 10
    found = fitting.fit(rows)
    assert found["sign explaining"][0] < 0 < found["sign architecture"][0]
    assert found["sign payment"][1] > 0 > found["sign explaining"][1]
    assert set(found) == set(points())


def test_labelled_critical_tasks_are_recognised_and_hardly_ever_go_to_the_small_model(evaluation):
    counts = evaluation.figures(evaluation.labelled())["counts"]
    assert counts["critical"] > 30
    assert counts["critical recognised"] >= 0.85 * counts["critical"]
    assert counts["critical on the small model"] <= 0.02 * counts["critical"]


def test_on_the_tasks_held_aside_few_are_sent_too_low_and_routing_saves(evaluation):
    rows = [row for row in evaluation.labelled() if row["set"] == "held"]
    found = evaluation.figures(rows)
    assert len(rows) > 200
    assert found["counts"]["critical on the small model"] == 0
    assert found["counts"]["too small"] / len(rows) < 0.12
    assert found["counts"]["false alarms"] / len(rows) < 0.15
    assert found["costs"]["routed"] < 0.4 * found["costs"]["always opus"]


def test_the_matrix_counts_every_task_once(evaluation):
    rows = evaluation.labelled()[:30]
    *_, haiku, sonnet, opus = [line.split() for line in evaluation.told("some", evaluation.figures(rows))[:-3]]
    assert [row[0] for row in (haiku, sonnet, opus)] == list(TIERS)
    assert sum(int(count) for row in (haiku, sonnet, opus) for count in row[1:]) == len(rows)


def test_rows_of_the_judge_are_not_fitted_to(fitting, tmp_path):
    rows = [
        {"id": f"a{n}", "task": "t", "tier": "haiku", "agents": names, **more}
        for n, (names, more) in enumerate(
            [(["tester"], {}), (["linter", "tester"], {"set": "tuned"}), (["linter"], {"set": "held"}), ([], {})]
        )
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [row["agent"] for row in fitting.labelled([str(path)])] == ["tester", "linter"]


def test_labels_name_agents_that_there_are(evaluation):
    known = {a.name for a in lookup.list_agents((lookup.bundled_shelf(),), warn=print)}
    assert {row["agent"] for row in evaluation.labelled()} <= known
    assert all(row["tier"] != "haiku" for row in evaluation.labelled() if row["critical"])
