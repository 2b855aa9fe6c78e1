"""What agents did before: what is kept of it, how it is found again, and what the file survives."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from hashlib import md5
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claude_force.stores import memory as memories
from claude_force.stores.memory import LARGEST_METADATA, LONGEST, AgentMemory

from .test_sqlite import together

NOON = 1_800_000_000.0
DAY = 86_400
COLUMNS = ["id", "agent_name", "task", "task_hash", "result", "success", "timestamp", "metadata"]


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "agent_memory.db"


@pytest.fixture(params=["full text", "plain"])
def memory(path, clock, warnings, request):
    with AgentMemory(path, full_text=request.param == "full text", clock=clock, warn=warnings.append) as opened:
        yield opened


def tasks(sessions):
    return [session.task for session in sessions]


def ask(path, query, *values):
    connection = sqlite3.connect(path)
    with connection:
        rows = connection.execute(query, values).fetchall()
    connection.close()
    return rows


def index_holds(path, word):
    return [i for (i,) in ask(path, "SELECT rowid FROM session_index WHERE session_index MATCH ?", word)]


def test_session_is_kept_whole_also_for_a_later_process(memory, path):
    memory.store("writer", "Write a poem.\n", "Roses", success=False, metadata={"model": "haiku", "cost": 0.5})
    memory.close()
    with AgentMemory(path) as later:
        (session,) = later.recent()
    assert vars(session) == {
        "id": 1,
        "agent_name": "writer",
        "task": "Write a poem.\n",
        "task_hash": md5(b"Write a poem.\n").hexdigest()[:8],
        "result": "Roses",
        "success": False,
        "timestamp": "2027-01-15T08:00:00.000Z",
        "metadata": {"model": "haiku", "cost": 0.5},
        "score": 0.0,
    }


def test_table_and_indexes_are_those_that_others_rely_on(memory, path):
    memory.store("writer", "task", "result")
    assert [row[1] for row in ask(path, "PRAGMA table_info(sessions)")] == COLUMNS
    indexes = [row[1] for row in ask(path, "PRAGMA index_list(sessions)")]
    columns = {tuple(row[2] for row in ask(path, f"PRAGMA index_info({name})")) for name in indexes}
    assert columns == {("agent_name",), ("task_hash",), ("timestamp",), ("success",)}
    assert ask(path, "SELECT typeof(success), json_valid(metadata) FROM sessions") == [("integer", 1)]


def test_file_is_private_and_looking_makes_none(memory, path):
    assert memory.search("anything") == memory.recent() == list(memory.export()) == []
    assert memory.stats()["sessions"] == memory.prune(0) == 0
    assert not path.parent.exists()
    memory.store("writer", "task", "result")
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(agent=st.text(), task=st.text(), result=st.text(alphabet=st.characters()))
def test_any_text_can_be_kept(tmp_path_factory, agent, task, result):
    with AgentMemory(tmp_path_factory.mktemp("m") / "m.db", warn=pytest.fail) as memory:
        memory.store(agent, task, result, metadata={"note": task})
        (session,) = memory.recent()
        assert list(memory.export()) == memory.recent(agent=agent) == [session]
        memory.search(task, agent=agent)
    assert session.task == task.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("limit", [None, 1.5, "3"])
def test_a_limit_that_is_no_whole_number_is_the_callers_fault_and_not_the_files(path, limit):
    with AgentMemory(path, warn=pytest.fail) as memory:
        memory.store("baker", "bake bread", "done")
        for look in (memory.recent, lambda most: memory.search("bread", limit=most)):
            with pytest.raises(TypeError):
                look(limit)
        assert tasks(memory.recent(1)) == tasks(memory.search("bread", limit=1)) == ["bake bread"]
        assert not memory.failed


@pytest.mark.parametrize(("limit", "count"), [(-1, 0), (0, 0), (2, 2), (2**63, 3), (10**400, 3)])
def test_any_whole_number_is_a_limit(path, limit, count):
    with AgentMemory(path, warn=pytest.fail) as memory:
        for _ in range(3):
            memory.store("baker", "bake bread", "done")
        assert len(memory.recent(limit)) == len(memory.search("bread", limit=limit)) == count


def test_secrets_in_the_keys_of_metadata_are_redacted(path):
    key = "sk-ant-api03-abcdefghijklmnopqrstuvwx"
    with AgentMemory(path, known=["the-local-key"]) as memory:
        memory.store("a", "t", "r", metadata={key: 1, "deep": [{f"by {key}": {"the-local-key": 2}}], "plain": 3})
        assert memory.recent()[0].metadata == {
            "[redacted:anthropic-key]": 1,
            "deep": [{"by [redacted:anthropic-key]": {"[redacted:known-secret]": 2}}],
            "plain": 3,
        }


def test_secrets_are_on_the_disk_nowhere(path):
    key = "sk-ant-api03-" + "Ab1" * 12
    with AgentMemory(path, known=["the-local-key"]) as memory:
        memory.store(
            "a", f"use {key}", "password=hunter2", metadata={"args": ["the-local-key", {"x": f"--token {key}"}]}
        )
        (session,) = memory.recent()
        assert session.task == "use [redacted:anthropic-key]"
        assert session.result == "password=[redacted:password]"
        assert session.metadata["args"][0] == "[redacted:known-secret]"
        written = b"".join(file.read_bytes() for file in path.parent.iterdir())
    for secret in (key, key[13:], "hunter2", "the-local-key"):
        assert secret.encode() not in written
        assert secret.lower().encode() not in written


def test_size_of_a_row_is_bounded(memory, warnings):
    memory.store("writer", "t" * 10**6, "password=" + "r" * 10**6, metadata={"log": "x" * LARGEST_METADATA})
    memory.store("writer", "t" * LONGEST, "", metadata={"log": "x" * 1_000})
    longer, exact = memory.export()
    assert len(longer.task) == LONGEST
    assert longer.task.endswith("t…")
    assert longer.result == "password=[redacted:password]"
    assert longer.metadata == {}
    assert "metadata" in warnings.pop()
    assert exact.task == "t" * LONGEST
    assert exact.metadata == {"log": "x" * 1_000}
    assert warnings == []


def test_search_puts_what_is_most_alike_first(memory):
    for task in ("Bake bread with rye", "Paint the garden fence green", "Bake a cake", "Mend the fence"):
        memory.store("helper", task, "done")
    assert tasks(memory.search("the garden fence")) == ["Paint the garden fence green", "Mend the fence"]
    assert tasks(memory.search("how to BAKE bread?")) == ["Bake bread with rye", "Bake a cake"]
    assert tasks(memory.search("bak")) == []
    scores = [session.score for session in memory.search("fence garden")]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0


@pytest.mark.parametrize("full_text", [True, False])
@pytest.mark.parametrize(
    ("query", "task"),
    [
        ("booking api", "Design a REST API for bookings"),
        ("duplicate orders", "The nightly run writes duplicates into orders"),
        ("import fails", "Why does the import of our package fail with an error?"),
        ("where to store sessions", "Should we keep sessions in SQLite or in Redis?"),
        ("css", "Mend the css of the page"),
        ("slow query caching", "Cache the slowest queries of the shop"),
        ("hanging", "Why does the upload hang?"),
        ("retry", "It retries and retried, retrying for ever"),
        ("classes", "Split this class"),
        ("string", "Parse a string"),
    ],
)
def test_a_word_is_found_in_its_other_forms_and_those_that_only_ask_do_not_count(path, query, task, full_text):
    tasks_of_others = (
        "Version our public API",
        "Check types in orders.py",
        "Lint the import",
        "Avoid the cast in WHERE: where the index is unused",
        "Write a README for the shop package",
    )
    with AgentMemory(path, full_text=full_text) as memory:
        for other in (task, *tasks_of_others):
            memory.store("helper", other, "done")
        assert tasks(memory.search(query))[0] == task


def test_a_query_of_nothing_but_common_words_is_one_all_the_same(memory):
    memory.store("helper", "What is this?", "a test")
    assert tasks(memory.search("what is this")) == ["What is this?"]


def test_result_is_searched_too(memory):
    memory.store("helper", "Which city?", "It is Reykjavík.")
    assert tasks(memory.search("reykjavík")) == ["Which city?"]
    assert tasks(memory.search("reykjav")) == []


def test_search_can_be_kept_to_an_agent_and_a_number(memory):
    for number in range(60):
        memory.store("common", f"compile the kernel {number}", "ok")
    memory.store("rare", "compile the kernel once", "ok")
    memory.store("rare", "something else", "ok")
    assert tasks(memory.search("compile the kernel", agent="rare")) == ["compile the kernel once"]
    assert {s.agent_name for s in memory.search("compile the kernel", agent="common", limit=50)} == {"common"}
    assert len(memory.search("compile the kernel", limit=50)) == 50
    assert len(memory.search("compile the kernel", agent="common", limit=2**63)) > 50
    assert memory.search("compile the kernel", agent="nobody") == []


def test_rare_words_find_an_old_session_among_many_that_share_the_common_ones(path):
    with AgentMemory(path) as memory:
        memory.store("a", "review the module for injection of queries", "found two")
        connection = sqlite3.connect(path)
        rows = [("a", f"review the module number {n} for style", "fine") for n in range(3_000)]
        connection.executemany("INSERT INTO sessions (agent_name, task, result) VALUES (?, ?, ?)", rows)
        connection.execute("INSERT INTO sessions (agent_name, task, result) VALUES ('b', 'review the queries', NULL)")
        connection.commit()
        connection.close()
        found = memory.search("please review the module for query injection: queries", limit=2)
        assert tasks(found) == ["review the module for injection of queries", "review the queries"]
        assert tasks(memory.search("review the module number 17", limit=1)) == ["review the module number 17 for style"]
        assert len(memory.search("review the module for style", agent="a", limit=3)) == 3


QUERIES = st.text() | st.text(alphabet="\"'*^():-+{}.;,\0 ANDORNETab") | st.sampled_from(
    ['"', "a-b", "what's", "AND", "c++", "NEAR(a b)", "words:x", "a*", "x\0y", "\ud800", "𞤀𞤁x𞤂", "Ა", "İstanbul", "ẞ"]
)  # fmt: skip


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    with AgentMemory(tmp_path_factory.mktemp("filled") / "m.db", warn=pytest.fail) as memory:
        for task in ("a-b c++ what's AND", "x𞤀𞤁x𞤂y", "plain words", "İstanbul STRAẞE"):
            memory.store("writer", task, task)
        yield memory


@settings(max_examples=300)
@given(QUERIES, st.none() | st.just("writer") | QUERIES, st.integers(1, 50))
def test_any_text_is_a_query(filled, query, agent, limit):
    found = filled.search(query, agent=agent, limit=limit)
    assert len(found) <= limit
    assert all(session.score > 0 for session in found)


# FTS5 knows no lower case of the Turkish capital
LATIN = st.characters(max_codepoint=0x24F, categories=["L", "N", "P", "Z"], exclude_characters="İ")


@settings(max_examples=60)
@given(st.text(LATIN, max_size=60))
def test_a_task_finds_itself(tmp_path_factory, task):
    with AgentMemory(tmp_path_factory.mktemp("self") / "m.db", warn=pytest.fail) as memory:
        memory.store("writer", task, "")
        found = memory.search(task)
        has_words = any(character.isalnum() for character in task)
        assert tasks(found) == ([task] if has_words and "[redacted" not in memory.recent()[0].task else [])


def test_recent_sessions_come_newest_first(memory, clock):
    for number in range(12):
        clock.now += 1
        memory.store("even" if number % 2 == 0 else "odd", str(number), "")
    assert tasks(memory.recent()) == [str(n) for n in range(11, 1, -1)]
    assert tasks(memory.recent(2, agent="even")) == ["10", "8"]


def test_export_yields_everything_the_oldest_first_while_others_store(memory, path, monkeypatch):
    monkeypatch.setattr(memories, "_BATCH", 3)
    for number in range(7):
        memory.store("writer", str(number), "")
    exported = memory.export()
    first = next(exported)
    with AgentMemory(path, full_text=memory._full_text) as other:
        other.store("writer", "7", "")
    assert tasks([first, *exported]) == [str(n) for n in range(8)]


def test_a_session_is_got_by_its_id(memory):
    for number in range(3):
        memory.store("a", f"task {number}", "")
    wanted = memory.recent()[1]
    assert memory.get(wanted.id) == wanted
    assert memory.get(10**9) is None
    assert memory.get(2**70) is None


def test_the_session_of_a_run_is_found_among_others(memory):
    assert memory.of_run("r1") is None
    for run_id in ("r1", "r2", "r1", None):
        memory.store("a", f"task of {run_id}", "", metadata={"run_id": run_id, "workflow": None})
    memory.store("a", 'the text "run_id": "r2"', "", metadata={"other": {"run_id": "r2"}})
    assert (memory.of_run("r1").id, memory.of_run("r2").id) == (3, 2)
    assert memory.of_run("r%") is None


def test_stats_count_by_agent_and_name_repeated_tasks(memory):
    for success in (True, True, False):
        memory.store("careful", "again and again", "", success=success)
    memory.store("careful", "once", "")
    memory.store("hasty", "twice", "", success=False)
    memory.store("hasty", "twice", "", success=False)
    found = memory.stats()
    assert (found["sessions"], found["successes"], found["success_rate"]) == (6, 3, 0.5)
    assert found["agents"] == [
        {"agent_name": "careful", "sessions": 4, "successes": 3, "success_rate": 0.75},
        {"agent_name": "hasty", "sessions": 2, "successes": 0, "success_rate": 0.0},
    ]
    assert [(t["task"], t["sessions"]) for t in found["repeated_tasks"]] == [("again and again", 3), ("twice", 2)]


def test_prune_removes_what_is_older_also_from_the_index(memory, path, clock, monkeypatch):
    monkeypatch.setattr(memories, "_BATCH", 4)
    for number in range(10):
        memory.store("writer", f"ancient wisdom {number}", "x" * 5_000)
    clock.now += 40 * DAY
    memory.store("writer", "modern times", "")
    size = path.stat().st_size + path.with_name(path.name + "-wal").stat().st_size
    assert memory.prune(41) == 0
    assert memory.prune(30) == 10
    assert tasks(memory.export()) == ["modern times"]
    assert memory.search("ancient wisdom") == []
    assert tasks(memory.search("modern")) == ["modern times"]
    memory.close()
    assert path.stat().st_size < size / 2
    assert b"ancient" not in path.read_bytes()
    assert memory.prune(10**9) == 0
    assert memory.prune(0) == 0
    clock.now += 1
    assert memory.prune(0) == 1


def test_repeated_look_up_is_not_searched_again_until_somebody_writes(memory, path):
    memory.store("writer", "first bread", "")
    statements = []
    assert tasks(memory.search("bread")) == ["first bread"]
    with memory._file as connection:
        connection.set_trace_callback(statements.append)
    assert tasks(memory.search("bread")) == ["first bread"]
    assert statements == ["PRAGMA data_version"]
    with AgentMemory(path, full_text=memory._full_text) as other:
        other.store("writer", "second bread", "")
    assert sorted(tasks(memory.search("bread"))) == ["first bread", "second bread"]
    memory.store("writer", "third bread", "")
    assert len(memory.search("bread")) == 3
    assert len(memory.search("bread", limit=1)) == 1


def test_look_ups_of_long_ago_are_forgotten(memory):
    memory.store("writer", "bread", "")
    for number in range(300):
        memory.search(f"bread {number}")
    assert len(memory._found) == memories._REMEMBERED


def test_caller_cannot_change_what_is_remembered(memory):
    memory.store("writer", "bread", "")
    memory.search("bread").clear()
    assert tasks(memory.search("bread")) == ["bread"]


def test_sessions_of_other_programs_are_indexed(path):
    """An older program's file has no index; later its table is written, changed and emptied by others."""
    path.parent.mkdir()
    ask(path, f"CREATE TABLE sessions ({', '.join(['id INTEGER PRIMARY KEY', *COLUMNS[1:]])})")
    insert = "INSERT INTO sessions (agent_name, task, result, success, metadata) VALUES ('a', ?, ?, 1, ?)"
    ask(path, insert, "old bread", "r", "no JSON")
    ask(path, insert, "old stone", None, "[1]")
    with AgentMemory(path, warn=pytest.fail) as memory:
        (found,) = memory.search("bread")
        assert (found.task, found.metadata, found.success) == ("old bread", {}, True)
        ask(path, insert, "new bread", "r", "{}")
        assert sorted(tasks(memory.search("bread"))) == ["new bread", "old bread"]
        ask(path, "UPDATE sessions SET task = 'cheese' WHERE id = 1")
        assert tasks(memory.search("bread")) == ["new bread"]
        assert tasks(memory.search("cheese")) == ["cheese"]
        ask(path, "DELETE FROM sessions WHERE id = 3")
        assert memory.search("bread") == []
        assert index_holds(path, "bread") == []


OLDER = {
    "bare": ["CREATE TABLE sessions (id INTEGER PRIMARY KEY, agent_name, task, {rest})"],
    "with an index": [
        'CREATE TABLE "sessions" (id INTEGER PRIMARY KEY AUTOINCREMENT, agent_name TEXT, task VARCHAR(90), {rest})',
        'CREATE INDEX "by task" ON "sessions" ("task", agent_name)',
        "ANALYZE",
    ],
    "with defaults": [
        "CREATE TABLE sessions (id INTEGER PRIMARY KEY, agent_name TEXT DEFAULT 'a', task, note, {rest})"
    ],
}
FOREIGN = {
    "a check": "CREATE TABLE sessions (id INTEGER PRIMARY KEY, agent_name, task CHECK (length(task) > 0), {rest})",
    "a computed default": "CREATE TABLE sessions (id INTEGER PRIMARY KEY, agent_name, task DEFAULT (random()), {rest})",
    "a hidden default": "CREATE TABLE sessions (id INTEGER PRIMARY KEY, agent_name, task DEFAULT/**/(abs(1)), {rest})",
    "a computed column": "CREATE TABLE sessions (id INTEGER PRIMARY KEY, agent_name, task, b AS (abs(id)), {rest})",
    "an id of any type": "CREATE TABLE sessions (id TEXT, agent_name, task, {rest})",
    "another table": "CREATE TABLE theirs (id INTEGER PRIMARY KEY, agent_name, task, {rest})",
}
REST = "task_hash, result, success, timestamp, metadata JSON"


@pytest.mark.parametrize("statements", OLDER.values(), ids=OLDER)
def test_the_table_of_an_older_program_is_taken_over(path, statements):
    path.parent.mkdir()
    for statement in statements:
        ask(path, statement.replace("{rest}", REST))
    for _ in range(2):
        with AgentMemory(path, warn=pytest.fail) as memory:
            memory.store("writer", "bread", "")
            assert "bread" in tasks(memory.search("bread"))


@pytest.mark.parametrize("statement", FOREIGN.values(), ids=FOREIGN)
def test_a_table_in_which_something_could_run_is_not_taken_over(path, warnings, statement):
    path.parent.mkdir()
    ask(path, statement.replace("{rest}", REST))
    with AgentMemory(path, warn=warnings.append) as memory:
        assert memory.recent() == []
    assert ["its tables are not ours" in warning for warning in warnings] == [True]


@pytest.mark.parametrize("value", ["NULL", "x'ff00'", "CAST(x'62ff' AS TEXT)", "5", "9e999"])
@pytest.mark.parametrize("column", [*COLUMNS[1:]])
def test_a_row_that_holds_something_else_is_shown_with_what_can_be_read(memory, path, column, value):
    memory.store("writer", "other bread", "r")
    memory.store("writer", "bread", "r", metadata={"n": 1})
    ask(path, f"UPDATE sessions SET {column} = {value} WHERE id = 1")
    found = memory.recent()
    assert [session.id for session in found] == [2, 1]
    assert memory.search("bread")[0].task == "bread"
    texts = [getattr(found[1], name) for name in ("agent_name", "task", "task_hash", "result", "timestamp")]
    assert [type(text) for text in texts] == [str] * 5
    assert json.loads(json.dumps([vars(session) for session in memory.export()], allow_nan=False))
    assert memory.stats()["sessions"] == 2
    memory.store("writer", "more bread", "")


@pytest.mark.parametrize("metadata", ["[" * 200_000, '{"a": ' * 500 + "1" + "}" * 500, '{"a": 1e999}', '{"a": NaN}'])
def test_metadata_that_could_not_be_written_as_json_again_is_left_out(memory, path, metadata):
    memory.store("writer", "bread", "r")
    ask(path, "UPDATE sessions SET metadata = ?", metadata)
    (session,) = memory.recent()
    assert session.metadata == {}
    assert memory.of_run("r") is None


@pytest.mark.parametrize("last", ["x'ff'", "'~'", "NULL", "-1", "9e999"])
def test_an_extent_of_the_index_that_is_no_number_stops_nothing(path, warnings, last):
    with AgentMemory(path, warn=warnings.append) as memory:
        memory.store("writer", "bread", "")
        memory.search("bread")
    ask(path, "PRAGMA ignore_check_constraints = ON")
    try:
        ask(path, f"UPDATE session_index_extent SET last = {last}")
    except sqlite3.IntegrityError:
        ask(path, "DELETE FROM session_index_extent")
    with AgentMemory(path, warn=warnings.append) as memory:
        for number in range(70):
            memory.store("writer", f"bread {number}", "")
        assert len(memory.recent(100)) == 71
        memory.search("bread")
    assert warnings == []


def test_sessions_that_the_index_lacks_are_found_changed_and_removed_like_any_other(path):
    with AgentMemory(path, warn=pytest.fail) as memory:
        for number in range(70):
            memory.store("writer", f"bread {number}", "")
    assert len(index_holds(path, "bread")) == 64
    ask(path, "UPDATE sessions SET task = 'cheese 66' WHERE id = 66")
    ask(path, "DELETE FROM sessions WHERE id = 70")
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        with AgentMemory(path, warn=pytest.fail) as memory:
            with memory._file as connection:
                connection.execute("PRAGMA busy_timeout = 0")
            assert tasks(memory.search("cheese", agent="writer")) == ["cheese 66"]
            assert len(memory.search("bread", limit=100)) == 68
            assert index_holds(path, "cheese") == []
    finally:
        blocker.close()
    with AgentMemory(path, warn=pytest.fail) as memory:
        assert tasks(memory.search("cheese")) == ["cheese 66"]
    assert index_holds(path, "cheese") == [66]


def test_index_is_made_anew_where_it_could_not_be_kept(path):
    with AgentMemory(path) as memory:
        memory.store("writer", "first bread", "")
        assert tasks(memory.search("bread")) == ["first bread"]
    with AgentMemory(path, full_text=False) as plain:
        plain.store("writer", "second bread", "")
    assert index_holds(path, "bread") == [1]
    with AgentMemory(path) as again:
        assert len(again.search("bread")) == 2
    assert index_holds(path, "bread") == [1, 2]


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path):
    path.write_bytes(b"no database at all" * 500)


def directory(path):
    path.unlink()
    path.mkdir()
    (path / "file").touch()


def link(path):
    path.rename(path.with_name("elsewhere.db"))
    path.symlink_to(path.with_name("elsewhere.db"))


def missing_table(path):
    ask(path, "DROP TABLE sessions")


@pytest.mark.parametrize("harm", [truncated, garbage, directory, link, missing_table])
@pytest.mark.parametrize("open_before", [False, True])
def test_damaged_file_is_set_aside_with_one_warning(memory, path, warnings, harm, open_before):
    for number in range(200):
        memory.store("writer", f"bread {number}", "r" * 500)
    if not open_before or harm in {truncated, garbage, link, directory}:
        memory.close()
    harm(path)
    assert list(memory.export()) == []
    assert memory.search("bread") == []
    memory.store("writer", "new bread", "")
    assert tasks(memory.search("bread")) == ["new bread"]
    (aside,) = path.parent.glob("agent_memory.db.damaged-????????-??????-??????")
    assert len(warnings) == 1
    assert aside.name in warnings[0]
    assert path.is_file()
    assert not path.is_symlink()


def test_file_that_another_process_has_set_aside_already_stays(path, warnings):
    with AgentMemory(path, warn=warnings.append) as one, AgentMemory(path, warn=warnings.append) as other:
        one.store("writer", "bread", "")
        other.recent()
        missing_table(path)
        one.store("writer", "new bread", "")
        other.store("writer", "newer bread", "")
        assert tasks(one.recent()) == tasks(other.recent()) == ["newer bread", "new bread"]
    assert len(warnings) == 1


def test_newer_file_is_left_alone(memory, path, warnings):
    memory.store("writer", "bread", "")
    memory.close()
    ask(path, "PRAGMA user_version = 99")
    assert memory.recent() == []
    memory.store("writer", "more", "")
    assert len(warnings) == 1
    assert "newer version" in warnings[0]
    assert ask(path, "SELECT count(*) FROM sessions") == [(1,)]


def test_file_in_place_of_the_directory_costs_one_warning(path, warnings):
    path.parent.touch()
    with AgentMemory(path, warn=warnings.append) as memory:
        memory.store("writer", "bread", "")
        memory.store("writer", "bread", "")
        assert memory.recent() == []
    assert len(warnings) == 1
    assert str(path) in warnings[0]


def test_held_lock_costs_one_warning_and_is_not_waited_for_again(path, warnings, monkeypatch):
    monkeypatch.setattr("claude_force.stores.sqlite.BUSY_SECONDS", 0.01)
    with AgentMemory(path, warn=warnings.append) as memory:
        memory.store("writer", "bread", "")
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        memory.store("writer", "lost", "")
        memory.store("writer", "lost too", "")
        holder.rollback()
        holder.close()
        memory.store("writer", "lost as well", "")
        assert tasks(memory.recent()) == ["bread"]
    assert len(warnings) == 1
    assert "new sessions are not kept" in warnings[0]


def test_a_session_is_stored_in_the_new_file_though_another_process_set_the_old_one_aside(path, warnings):
    with AgentMemory(path, warn=warnings.append) as memory:
        memory.store("writer", "before", "")
        for file in path.parent.glob("agent_memory.db*"):
            file.rename(file.with_name(file.name.replace("memory.db", "memory.db.damaged")))
        memory.store("writer", "after", "")
        assert tasks(memory.recent()) == ["after"]
    assert ask(path, "SELECT task FROM sessions") == [("after",)]
    assert warnings == []


STORMS = """
import os, sys
from claude_force.stores.memory import AgentMemory
children = []
for number in range(int(sys.argv[2])):
    if (child := os.fork()) == 0:
        with AgentMemory(sys.argv[1], warn=lambda text: os.write(1, text.encode())) as memory:
            for task in range(20):
                memory.store(f"agent-{number}", f"task {number} {task}", "result " * 50)
                if task % 10 == 9:
                    memory.search(f"task {task}")
        os._exit(0)
    children.append(child)
print({os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children})
"""


def storm(path, count, **changes):
    command = [sys.executable, "-c", STORMS, str(path), str(count)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")} | changes
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
    return run.stdout, run.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_sixty_four_processes_store_at_once_and_nothing_is_lost(path):
    assert storm(path, 64) == ("{0}\n", "")
    with AgentMemory(path, warn=pytest.fail) as memory:
        found = list(memory.export())
    assert {session.task for session in found} == {f"task {n} {t}" for n in range(64) for t in range(20)}
    assert len(found) == len(index_holds(path, "result")) == 1280
    assert ask(path, "PRAGMA integrity_check") == [("ok",)]


MEETS = """
import sys
from claude_force.stores.memory import AgentMemory
print("ready", flush=True)
sys.stdin.readline()
with AgentMemory(sys.argv[1], warn=print) as memory:
    for number in range(20):
        memory.store("writer", f"task {number}", "")
"""


def test_many_processes_meet_a_damaged_file(path):
    path.parent.mkdir()
    garbage(path)
    output = together(MEETS, path, 4)
    assert [errors for _, errors in output] == [""] * 4
    assert ["set aside" in line for lines, _ in output for line in lines.splitlines()] == [True]
    assert ask(path, "SELECT count(*) FROM sessions") == [(80,)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_child_opens_the_file_for_itself(memory, path):
    memory.store("parent", "before", "")
    if (child := os.fork()) == 0:
        memory.store("child", "meanwhile", "")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    memory.store("parent", "after", "")
    assert tasks(memory.export()) == ["before", "meanwhile", "after"]


ENDLESS = """
import sys
from itertools import count
from claude_force.stores.memory import AgentMemory
with AgentMemory(sys.argv[1], warn=print) as memory:
    for number in count():
        memory.store("writer", f"task {number}", "result " * 100)
        print(number, flush=True)
"""


@pytest.mark.parametrize("stored", [1, 60])
def test_killed_process_loses_nothing_that_was_stored(path, stored):
    command = [sys.executable, "-c", ENDLESS, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for expected in range(stored):
            assert process.stdout.readline() == f"{expected}\n"
        process.send_signal(signal.SIGKILL)
    with AgentMemory(path, warn=pytest.fail) as memory:
        found = tasks(memory.export())
        assert found[:stored] == [f"task {n}" for n in range(stored)]
        assert len(memory.search("result", limit=5)) == min(5, len(found))
    assert len(index_holds(path, "result")) == len(found)


FULL = """
import resource, sys
from claude_force.stores.memory import AgentMemory
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
with AgentMemory(sys.argv[1], warn=print) as memory:
    for number in range(60):
        memory.store("writer", f"task {number}", "result " * 500)
    print(memory.prune(0))
"""


@pytest.mark.parametrize("room", [1_000, 40_000, 100_000])
def test_full_disk_costs_one_warning(path, room):
    pytest.importorskip("resource")
    command = [sys.executable, "-c", FULL, str(path), str(room)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")
    warning, removed = run.stdout.splitlines()
    assert "new sessions are not kept" in warning
    assert removed == "0"
    with AgentMemory(path, warn=pytest.fail) as later:
        later.store("writer", "last", "")
        assert tasks(later.recent(1)) == ["last"]


READ_ONLY = """
import hashlib, json, os, sys
import urllib.parse  # what `as_uri` imports late, from where another user may not read
from claude_force.stores.memory import AgentMemory
if os.geteuid() == 0:
    os.setuid(65534)  # to root nothing is read-only
said = []
with AgentMemory(sys.argv[1], warn=said.append) as memory:
    found = [s.task for s in memory.search("bread")]
    memory.store("writer", "more bread", "")
    memory.store("writer", "more bread", "")
    print(json.dumps([found, len(memory.recent()), memory.prune(0), said]))
"""


@pytest.mark.parametrize("indexed", [True, False])
def test_read_only_file_can_be_searched(indexed):
    top = Path(tempfile.mkdtemp())  # tmp_path lies in a directory that only its owner enters
    path = top / "state" / "agent_memory.db"
    with AgentMemory(path, full_text=indexed) as memory:
        memory.store("writer", "old bread", "")
    path.chmod(0o444)
    path.parent.chmod(0o555)
    top.chmod(0o555)
    command = [sys.executable, "-c", READ_ONLY, str(path)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    top.chmod(0o755)
    path.parent.chmod(0o755)
    shutil.rmtree(top)
    assert run.stderr == ""
    found, recent, removed, said = json.loads(run.stdout)
    assert (found, recent, removed) == (["old bread"], 1, 0)
    assert len(said) == 1
    assert "new sessions are not kept" in said[0]


def test_what_somebody_else_kept_is_read_no_further_than_what_we_keep(tmp_path):
    with AgentMemory(tmp_path / "m.db") as memory:
        memory.store("a", "zebra", "short")
    with closing(sqlite3.connect(tmp_path / "m.db")) as connection, connection:
        connection.execute("UPDATE sessions SET result = hex(zeroblob(2000000))")
    with AgentMemory(tmp_path / "m.db") as memory:
        (found,) = memory.search("zebra")
    assert len(found.result) <= 4 * LONGEST


@pytest.mark.parametrize(
    "index", ["create index mine on sessions (timestamp desc)", "CREATE INDEX i ON sessions (task)"]
)
def test_a_memory_with_indexes_of_its_owner_stays(tmp_path, index):
    with AgentMemory(tmp_path / "m.db") as memory:
        memory.store("a", "zebra", "short")
    with closing(sqlite3.connect(tmp_path / "m.db")) as connection, connection:
        connection.execute(index)
    with AgentMemory(tmp_path / "m.db", warn=pytest.fail) as memory:
        assert len(memory.recent()) == 1
