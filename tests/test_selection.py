"""Which agents fit a task by its words: terms, scores, confidence, reasons, and how often all that is right."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force import selection
from claude_force.library.lookup import bundled_shelf, list_agents, list_skills
from claude_force.records import Agent
from claude_force.selection.asked import asked
from claude_force.selection.bm25 import Index
from claude_force.selection.confidence import calibration, chosen, shares
from claude_force.selection.lexical import index_of, reason, recommend
from claude_force.selection.profile import headings, phrases, profiles
from claude_force.selection.shapes import parts, shapes
from claude_force.selection.terms import concepts, phrases_json, root_of, stem_of, table_of, terms

TASKS = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "labelled_tasks.jsonl").read_text(encoding="utf-8").splitlines()
]
SHORT = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "labelled_short_tasks.jsonl").read_text(encoding="utf-8").splitlines()
]


@pytest.fixture(scope="module")
def agents():
    return list_agents([bundled_shelf()])


def agent(name, description="", prompt="Work.", domains=()):
    return Agent(name, description, prompt, domains=tuple(domains))


def meant(text):
    return {concept for _, _, found in terms(text, concepts()) for concept in found}


# --- the labelled tasks


def test_the_labelled_tasks_name_agents_and_skills_that_exist(agents):
    names = {a.name for a in agents}
    skills = {s.name for s in list_skills([bundled_shelf()])}
    assert {name for task in TASKS for name in task["agents"]} <= names
    assert {name for task in TASKS for name in task["skills"]} <= skills
    assert names == {name for task in TASKS for name in task["agents"]}, "an agent that no task asks for"


def test_there_are_enough_tasks_and_enough_that_no_agent_fits():
    assert len(TASKS) >= 150
    assert sum(not task["agents"] for task in TASKS) >= 15
    assert len({task["task"] for task in TASKS}) == len({task["id"] for task in TASKS}) == len(TASKS)


def test_of_tasks_by_others_a_third_is_kept_aside_by_the_id_alone():
    for task in TASKS + SHORT:
        third = int(sha256(task["id"].encode()).hexdigest(), 16) % 3 == 0
        assert (task["set"] == "held") == (task["writer"] != "first" and third)
    assert len({task["writer"] for task in TASKS if task["set"] == "held"}) == 6


def test_the_short_tasks_are_short_and_name_agents_that_exist(agents):
    assert len({task["task"] for task in SHORT}) == len(SHORT) >= 60
    assert max(len(task["task"].split()) for task in SHORT) <= 4
    assert {name for task in SHORT for name in task["agents"]} == {a.name for a in agents}


def test_a_task_of_a_few_words_is_mostly_understood(agents):
    first = [next((choice.agent for choice in recommend(task["task"], agents)), None) for task in SHORT]
    right = sum(found in (t["agents"] or [None]) for found, t in zip(first, SHORT, strict=True))
    assert right / len(SHORT) >= 0.90


@pytest.mark.parametrize("which", ["tuned", "held"])
def test_the_right_agent_is_first_or_among_three_as_often_as_promised(agents, which):
    index = index_of(agents)
    tasks = [task for task in TASKS if task["set"] == which and task["agents"]]
    first = three = 0
    for task in tasks:
        scores = index.scores(task["task"])
        ranked = [agents[i].name for i in sorted(range(len(agents)), key=lambda i: -scores[i])]
        first += ranked[0] in task["agents"]
        three += not set(ranked[:3]).isdisjoint(task["agents"])
    assert first / len(tasks) >= 0.70
    assert three / len(tasks) >= 0.88


def test_sure_answers_are_right_as_often_as_they_say(agents):
    given_ = [(choice, task) for task in TASKS for choice in recommend(task["task"], agents)]
    sure = [(choice.confidence, choice.agent in task["agents"]) for choice, task in given_ if choice.confidence >= 0.8]
    said, right = (sum(column) / len(sure) for column in zip(*sure, strict=True))
    assert len(sure) >= 50
    assert abs(said - right) < 0.08


def test_an_answer_with_more_confidence_is_right_more_often(agents):
    found = [(choice.confidence, choice.agent in t["agents"]) for t in TASKS for choice in recommend(t["task"], agents)]
    bins = [(0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.1)]
    rates = []
    for low, high in bins:
        inside = [right for confidence, right in found if low <= confidence < high]
        rates.append(sum(inside) / len(inside))
    assert rates == sorted(rates)


# --- terms


@pytest.mark.parametrize(
    "forms",
    [
        ("deploy", "deploys", "deployed", "deploying", "deployment", "deployments"),
        ("test", "tests", "tested", "testing", "tester"),
        ("optimise", "optimised", "optimising"),
        ("review", "reviews", "reviewer", "reviewing"),
        ("plan", "planned", "planning", "planner"),
        ("dependency", "dependencies"),
        ("release", "released", "releases"),
        ("session", "sessions"),
        ("variable", "variables"),
        ("vulnerability", "vulnerabilities"),
        ("directive", "directives"),
        ("credential", "credentials"),
    ],
)
def test_forms_of_one_word_have_one_stem(forms):
    assert len({stem_of(form) for form in forms}) == 1


@pytest.mark.parametrize(("one", "other"), [("class", "clam"), ("bus", "but"), ("test", "text"), ("502", "503")])
def test_different_words_keep_different_stems(one, other):
    assert stem_of(one) != stem_of(other)


def test_short_words_and_words_of_other_letters_stay_as_they_are():
    assert [stem_of(word) for word in ("es", "red", "größe", "p95", "über")] == ["es", "red", "größe", "p95", "über"]


def test_words_that_say_nothing_are_left_out_unless_they_end_a_phrase():
    assert terms("please could you do it", concepts()) == []
    assert "review" in meant("Could you look over it?")
    assert "review" not in meant("over there, a look")


def test_a_phrase_means_something_that_its_words_do_not():
    assert "postmortem" in meant("a blameless post mortem")
    assert "postmortem" not in meant("post this letter")


def test_words_inside_a_phrase_stand_for_nothing_else():
    assert meant("a load test") == {"load"}
    assert meant("a test under load") >= {"test"}
    assert "outage" not in meant("write down why")


def test_an_own_phrase_of_a_text_is_found_beside_the_concepts():
    names, lengths = table_of([("bread oven", "=bread oven"), ("oven", "heat")])
    assert names == {"bread oven": "=bread oven", "oven": "heat"}
    assert terms("Bread ovens", (names, lengths))[-1] == ("ovens", "oven", {"=bread oven": "Bread ovens"})


def test_the_concepts_are_kept_as_they_are_looked_up():
    directory = Path(selection.__file__).parent
    known = json.loads((directory / "concepts.json").read_bytes())
    assert json.loads((directory / "phrases.json").read_bytes()) == phrases_json(known), "scripts/evaluate --phrases"


@pytest.mark.parametrize(
    ("one", "other"), [("logs", "logged"), ("running", "runs"), ("queries", "query"), ("release", "releasing")]
)
def test_forms_of_one_word_have_one_root(one, other):
    assert root_of(one) == root_of(other)


@pytest.mark.parametrize(("one", "other"), [("loader", "loading"), ("broker", "broke"), ("need", "needle")])
def test_a_word_made_of_another_keeps_its_own_root(one, other):
    assert root_of(one) != root_of(other)


@pytest.mark.parametrize(
    ("text", "concept"),
    [
        ("Wo liegt der Engpass?", "profile"),
        ("une requête trop lente", "slow"),
        ("¿hay vulnerabilidades?", "attack"),
        ("It's on k8s", "container"),
    ],
)
def test_other_words_and_languages_lead_to_the_same_concept(text, concept):
    assert concept in meant(text)


@given(st.text())
def test_any_text_has_terms(text):
    for written, stem, _ in terms(text, concepts()):
        assert written
        assert stem


# --- what is pasted

SHAPES = {
    "a diff": "ok?\n-    return 1\n+    return 2\n",
    "a stack trace": 'help\nTraceback (most recent call last):\n  File "a.py", line 3, in f\n    g()\n',
    "an exception": "ValueError: no such thing",
    "a type checker's output": 'a.py:3: error: Item "None" has no attribute "x"  [union-attr]',
    "a linter's output": "a.py:1:1: F401 `os` imported but unused",
    "a query plan": "Seq Scan on rentals  (cost=0.00..431.00 rows=9)",
    "SQL": "why twice: select id from cats join dogs on true",
    "table definitions": "CREATE TABLE cats (id int)",
    "a Dockerfile": "smaller?\nFROM debian\nRUN apt-get update\n",
    "a Kubernetes manifest": "kind: Deployment",
    "a CI workflow": "jobs:\n  one:\n    runs-on: ubuntu-latest\n",
    "a cloud policy": '{"Effect": "Allow", "Action": "*"}',
    "markup": '<button class="x">Go</button>',
    "style rules": ".card { color: red; }",
    "two colours": "#777 on #fff, legible?",
    "Python": "what is this\ndef f(x):\n    return x\n",
    "log lines": "look\n10:00:01 started\n10:00:02 stopped\n",
    "a list of commits": "notes please\n0a1b2c3 fix the door\n4d5e6f7 paint the wall\n",
    "a conversation": "gist?\nann: shall we?\nbob: no\nann: well then\n",
    "a shell script": "safe?\n#!/bin/sh\nrm $1\n",
    "HTTP requests": "GET /cats/3",
    "versions of packages": "django==4.2",
    "a time since when": "nothing works since 14:05",
    "so many lines": "a 1200 line class",
    "how long it takes": "it takes 14 seconds",
    "so much memory": "60 GB of RAM",
}


@pytest.mark.parametrize("name", SHAPES)
def test_what_a_pasted_text_is_shows_by_its_shape(name):
    assert name in dict(shapes(SHAPES[name]))


def test_each_shape_is_of_a_concept_and_plain_words_have_none():
    known = set(concepts()[0].values())
    assert {concept for text in SHAPES.values() for _, concept in shapes(text)} <= {
        c for n in known for c in n.split(";")
    }
    assert shapes("Please plan the summer party: food, music, and who brings a tent (in case it rains).") == []


def test_a_wish_and_what_was_pasted_after_it_are_kept_apart():
    (wish, whole), (pasted, less) = parts("what does it do?\n\nx = {k: v for k, v in y}\n    return x\nthanks a lot\n")
    assert "what does it do?" in wish
    assert "thanks" in wish
    assert "return x" in pasted
    assert whole > less


def test_what_is_nothing_but_one_text_is_the_wish():
    assert parts("a = b(c)") == [("a = b(c)", 1.0)]
    assert parts("one line\nand another") == [("one line\nand another", 1.0)]
    assert parts("```\nx = 1\n```") == [("```\nx = 1\n```", 1.0)]


def test_what_is_fenced_is_pasted_whatever_it_looks_like():
    (_, _), (pasted, _) = parts("shorten this\n```\nplain prose it is\n```\n")
    assert "plain prose" in pasted


@given(st.text())
def test_of_any_text_no_line_is_lost(text):
    found = sorted(line for part, _ in parts(text) for line in part.splitlines() if line.strip())
    assert found == sorted(line for line in text.splitlines() if line.strip())
    shapes(text)


# --- scores


def test_a_rare_word_says_more_than_a_common_one():
    index = Index([{"a": "apple pear"}, {"a": "apple plum"}, {"a": "apple quince"}], {"a": 1.0})
    assert index.scores("quince")[2] > index.scores("apple")[2] > 0
    assert index.scores("quince")[0] == 0


def test_a_word_in_a_field_of_more_weight_says_more():
    index = Index([{"name": "apple", "text": "pear"}, {"name": "pear", "text": "apple"}], {"name": 3.0, "text": 1.0})
    one, other = index.scores("apple")
    assert one > other > 0


def test_several_words_for_one_concept_count_once():
    index = Index([{"a": "latency"}, {"a": "cooking"}], {"a": 1.0})
    assert index.scores("slow")[0] == index.scores("slow and sluggish lag")[0] > 0


def test_a_phrase_says_more_than_its_words_apart():
    index = Index([{"a": ["bread oven", "knife"]}, {"a": ["cake"]}], {"a": 1.0})
    assert index.scores("a bread oven")[0] > index.scores("an oven for no bread")[0] > 0
    assert index.matches("a bread oven", 0)[0].word == "bread oven"


def test_a_phrase_in_two_forms_is_one():
    index = Index([{"a": ["bread oven", "bread ovens"]}], {"a": 1.0})
    assert [match.word for match in index.matches("my bread oven", 0)] == ["bread oven", "bread"]


def test_phrases_of_no_words_are_passed_over():
    assert Index([{"a": ["?!", "...", "apple"]}], {"a": 1.0}).scores("apple?!") > [0]


def test_a_word_of_a_phrase_says_less_than_one_that_stands_alone():
    index = Index([{"a": ["bread oven", "knife"]}, {"a": ["cake"]}], {"a": 1.0})
    assert index.scores("knife")[0] > index.scores("oven")[0] > 0


def test_what_is_wanted_says_more_than_what_it_is_about():
    index = Index([{"a": "mypy"}, {"a": "numpy"}], {"a": 1.0})
    wished, subject = index.scores("pyright for pandas")
    assert wished > subject > 0


def test_the_word_itself_says_more_than_one_of_its_concept():
    index = Index([{"a": "sluggish"}, {"a": "cooking"}], {"a": 1.0})
    assert index.scores("sluggish")[0] > index.scores("slow")[0] > 0


def test_a_query_has_each_stem_once_in_the_form_that_means_most():
    assert [(word, list(found)) for word, _, found, _ in asked("tests, the test of tested zebras")] == [
        ("tests", ["test"]),
        ("zebras", []),
    ]


def test_words_of_tasks_of_all_kinds_and_of_pasted_text_count_less():
    counts = {word: count for word, _, _, count in asked("write about zebras\n\n    lion = zoo(write)\n")}
    assert counts["zebras"] > counts["write"]
    assert counts["zebras"] > counts["lion"] > 0


def test_a_word_of_the_wish_counts_as_such_though_it_is_pasted_too():
    counts = {stem: count for _, stem, _, count in asked("zebras?\n```\nzebras\n```\n")}
    assert counts[stem_of("zebras")] == 1


def test_an_index_of_nothing_has_no_scores():
    assert Index([], {}).scores("anything") == []
    assert Index([{"a": ""}], {"a": 1.0}).scores("anything") == [0]


@given(st.lists(st.sampled_from(["apple", "pear", "plum", "slow", "lag", "test"]), max_size=8))
def test_more_words_never_make_a_match_worse(words):
    index = Index([{"a": "apple slow"}, {"a": "pear test"}], {"a": 1.0})
    before, after = index.scores(" ".join(words)), index.scores(" ".join([*words, "apple", "test"]))
    assert all(b <= a for b, a in zip(before, after, strict=True))


# --- what an agent says of itself


def test_what_an_agent_is_not_for_counts_for_the_one_that_it_names():
    linter = agent("linter", "Use for style. Not for annotations (checker) or exploits (scanner).")
    found = profiles([linter, agent("checker", "Types."), agent("scanner", "Holes.")])
    assert "annotations" not in found[0]["description"]
    assert "annotations" in found[1]["descriptions of others"]
    assert "exploits" in found[2]["descriptions of others"]
    assert "annotations" not in found[2]["descriptions of others"]


def test_an_agent_that_names_itself_keeps_its_words():
    (found,) = profiles([agent("poet", "The poet writes sonnets.")])
    assert found["description"] == "The poet writes sonnets."


def test_a_name_inside_another_word_names_nobody():
    found = profiles([agent("test-writer", "Writes a pretest-writer-thing."), agent("test", "T.")])
    assert "pretest-writer-thing" in found[0]["description"]


def test_headings_in_an_example_are_no_headings():
    assert headings("# One\ntext\n```\n# Two\n```\n## Three\n") == "One\nThree"
    assert headings("# One\n\n~~~\n# Two\n~~~\n") == "One"


def test_phrases_are_domains_and_clauses_and_never_none():
    found = phrases([agent("poet", "Writes sonnets, odes or songs.", domains=["rhyme"]), agent("mute")])
    assert found == [["rhyme", "Writes sonnets", "odes", "songs"], ["mute"]]


# --- confidence


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=30), st.floats(0.01, 20), st.floats(-5, 5))
def test_shares_follow_the_scores_and_leave_room_for_none(scores, scale, none):
    found = shares(scores, scale=scale, none=none)
    assert 0 <= sum(found) <= 1 + 1e-9
    for one, other in zip(sorted(scores), sorted(scores)[1:], strict=False):
        assert found[scores.index(one)] <= found[scores.index(other)] + 1e-12


LEXICAL = calibration()["lexical"]


def test_a_clear_lead_is_surer_than_a_narrow_one():
    clear, narrow = (shares([10, second], scale=0.5, none=1)[0] for second in (2, 9))
    assert clear > narrow


def test_what_shares_nothing_with_the_task_is_never_chosen():
    assert chosen([0.0], LEXICAL, 3, words=1) == []
    assert chosen([0.0] * 3, LEXICAL, 3, words=0) == []
    assert chosen([], LEXICAL, 3, words=0) == []


def test_what_says_nothing_of_the_task_takes_nothing_from_the_others():
    assert shares([2.0, 0.0, 0.0], scale=1, none=1)[:2] == [*shares([2.0], scale=1, none=1), 0.0]


def test_a_low_score_is_enough_for_a_short_task_and_too_little_for_a_long_one():
    low = [LEXICAL["least_score"] * 0.9]
    assert [place for place, _ in chosen(low, LEXICAL, 3, words=1)] == [0]
    assert chosen(low, LEXICAL, 3, words=100) == []


def test_the_calibration_says_where_it_comes_from():
    assert "scripts/evaluate --calibrate" in calibration()["origin"]


# --- recommending


def test_the_best_come_first_and_no_more_than_asked_for(agents):
    found = recommend("the page loads slowly, here is a flame graph; also some SQL query plans", agents, top=2)
    assert len(found) == 2
    assert found[0].confidence >= found[1].confidence
    assert found[0].agent in {"performance-engineer", "database-architect"}


@pytest.mark.parametrize("task", ["how long do I boil an egg", "qwertz", "?!", "which wine goes with salmon"])
def test_where_no_agent_fits_none_is_named(agents, task):
    assert recommend(task, agents) == []


def test_an_only_agent_is_not_named_for_whatever_is_asked():
    poet = agent("poet", "Writes verse.", domains=["sonnet"])
    assert recommend("repair my bicycle", [poet]) == []
    assert [choice.agent for choice in recommend("a sonnet please", [poet, agent("cook", "Bakes bread.")])] == ["poet"]
    assert recommend("anything", []) == []


OTHERS = {
    "lawyer": "Use to read contracts: leases, employment, terms of sale, liability, notice periods.",
    "chef": "Use to write recipes and menus: ingredients, cooking times, allergies, portions.",
    "traveller": "Use to plan journeys: flights, trains, hotels, visas, packing lists.",
    "gardener": "Use for plants: sowing, pruning, pests, soil, lawns, vegetable beds.",
    "bookkeeper": "Use for book-keeping: receipts, VAT returns, bank statements, yearly accounts.",
    "teacher": "Use to teach French and Spanish: grammar, vocabulary, exercises, homework.",
    "trainer": "Use for exercises after injuries: back pain, knees, shoulders, posture.",
    "host": "Use to organise weddings: venues, guest lists, seating plans, invitations.",
}


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("can we shorten the notice period in this lease", "lawyer"),
        ("what are the ingredients, and is it safe with allergies?", "chef"),
        ("trains and hotels for four days in Lisbon", "traveller"),
        ("when is the time for pruning roses", "gardener"),
        ("sort these receipts for the VAT return", "bookkeeper"),
        ("correct my Spanish homework", "teacher"),
        ("something against back pain at the desk", "trainer"),
        ("a seating plan for 80 guests", "host"),
        ("my pod is in CrashLoopBackOff", None),
        ("write unit tests for cart.py", None),
        ("who won the match yesterday", None),
    ],
)
def test_agents_of_other_trades_are_found_by_nothing_but_what_they_say_of_themselves(task, name):
    library = [agent(name, description) for name, description in OTHERS.items()]
    assert next((choice.agent for choice in recommend(task, library)), None) == name


def test_a_clause_of_a_description_is_named_as_such():
    others = [agent("cook", "Bakes bread."), agent("poet", "Writes verse: sonnets, odes, ballads.")]
    assert "in its description" in recommend("two odes please", others)[0].reason


def test_the_order_of_the_agents_changes_nothing(agents):
    task = "review the diff and look for vulnerabilities"
    assert recommend(task, agents) == recommend(task, agents[::-1])


def test_an_agent_of_the_user_is_found_by_its_own_domains(agents):
    mine = agent("cook", "Bakes.", domains=["sourdough", "bread oven"])
    assert recommend("my sourdough does not rise", [*agents, mine])[0].agent == "cook"


def test_a_reason_names_the_words_where_they_are_and_what_they_mean():
    index = Index(
        [{"domains": "latency, load", "name": "tuner"}, {"domains": "bread", "name": "cook"}], {"domains": 1, "name": 1}
    )
    told = reason(index.matches("Tuner for sluggish bread pages", 0))
    assert told == "'tuner' in its name; 'sluggish' (slow) in its domains"


def test_a_reason_lists_several_words_as_english_does():
    index = Index([{"name": "alpha beta gamma"}, {"name": "delta"}], {"name": 1})
    assert reason(index.matches("gamma beta alpha", 0)) == "'gamma', 'beta' and 'alpha' in its name"
