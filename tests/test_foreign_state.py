"""State that came with a cloned repository: whatever lies in a `.claude`, no command does what that says."""

import os
import resource
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing

import pytest

from claude_force.records import Reply
from claude_force.secret import user_secret
from claude_force.stores import memory, shelf, state
from claude_force.stores.cache import ResponseCache
from claude_force.stores.circuits import SharedRecords
from claude_force.stores.embeddings import Embeddings
from claude_force.stores.history import Span, gather
from claude_force.stores.ledger import Ledger
from claude_force.stores.memory import AgentMemory

from .executions import powers

ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0"
COMMANDS = {
    "state.db": ["budget show", "status", "doctor --offline", "run agent linter hello --max-cost 1"],
    "agent_memory.db": ["memory recent", "memory search task", "memory stats", "doctor --offline"],
    "cache/responses.db": ["cache stats", "cache verify", "doctor --offline"],
    "metrics/index.db": ["analytics summary", "doctor --offline"],
}
"""Some of what reads each database."""
CASES = [(file, command) for file, commands in COMMANDS.items() for command in commands]


@pytest.fixture
def kept(project, home):
    """A project in which every database holds something."""
    directory = project / ".claude"
    with ResponseCache(directory / "cache/responses.db", secret=user_secret(home / ".claude")) as cache:
        cache.put("key", Reply("text", "model", "end_turn"))
    with AgentMemory(directory / "agent_memory.db") as sessions:
        sessions.store("agent", "task", "result")
    with Ledger(directory / "state.db") as ledger:
        ledger.note(5, run_id="r", agent="linter")
    (directory / "metrics").mkdir(mode=0o700)
    (directory / "metrics/executions.jsonl").write_bytes(b"".join(powers(3, age=1)))
    gather(directory / "metrics", Span())
    return directory


def hot_journal(database, victim):
    """Put beside `database` the journal of a transaction over several files, the list of which is `victim`."""
    mark = bytes.fromhex("d9d505f920a163d7")
    pages = database.stat().st_size // 4096
    head = (mark + struct.pack(">5I", 0, 0, pages, 512, 4096)).ljust(512, b"\0")
    name = os.fsencode(victim)
    tail = struct.pack(">I", (1 << 30) // 4096 + 1) + name + struct.pack(">2I", len(name), sum(name)) + mark
    database.with_name(f"{database.name}-journal").write_bytes(head + tail)


def said(command, **options):
    """Run claude-force with the words of `command`, for a minute and in a gigabyte at most."""
    words = [sys.executable, "-m", "claude_force", *command.split()]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    run = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env=environment | {"ANTHROPIC_API_KEY": "test-key", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)),
        **options,
    )
    assert "defect" not in run.stderr
    return run


def altered(path, *statements):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_the_journal_of_these_tests_is_one_that_sqlite_carries_out(kept, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("a key")
    hot_journal(kept / "state.db", victim)
    altered(kept / "state.db", "SELECT * FROM sqlite_master")
    assert not victim.exists()


@pytest.mark.parametrize(("file", "command"), CASES)
def test_a_journal_beside_a_database_removes_no_file(kept, tmp_path, file, command):
    victim = tmp_path / "victim"
    victim.write_text("a key")
    hot_journal(kept / file, victim)
    run = said(command)
    assert victim.read_text() == "a key"
    if "doctor" in command:
        assert f"{kept / file} cannot be used: a rollback journal lies beside it" in run.stdout
        (remedy,) = [line for line in run.stdout.splitlines() if f"rm -r '{kept / file}" in line]
        subprocess.run(["sh", "-c", remedy.partition("→ ")[2].partition(": ")[0]], check=True)
        assert not os.path.lexists(kept / f"{file}-journal")
    if "budget" in command or "run" in command:
        assert (run.returncode, "a rollback journal lies beside it" in run.stderr) == (4, True)
        assert f"remove {kept / file}-journal" in run.stderr


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
@pytest.mark.parametrize("file", COMMANDS)
def test_what_is_no_file_in_the_place_of_a_journal_is_not_waited_for(kept, make, file):
    make(kept / f"{file}-journal")
    for command in COMMANDS[file]:
        said(command)


def test_the_users_own_ledger_and_the_vectors_are_opened_by_the_same_rule(kept, home, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("a key")
    Ledger(home / ".claude/state.db").warm()
    with Embeddings(kept / "cache/embeddings.db", lambda texts: [[1.0] for _ in texts], model="m", secret=b"s") as some:
        some(["text"])
    with SharedRecords(home / ".claude/state.db") as records:
        records.change("circuits", "a", lambda _: ({}, None))
    for path in (home / ".claude/state.db", kept / "cache/embeddings.db"):
        hot_journal(path, victim)
    with pytest.raises(OSError, match="rollback journal"):
        SharedRecords(home / ".claude/state.db").read("circuits", "a")
    warnings = []
    with Embeddings(
        kept / "cache/embeddings.db", lambda texts: [[1.0] for _ in texts], model="m", secret=b"s", warn=warnings.append
    ) as some:
        assert some(["text"]) == [[1.0]]
    assert ["set aside" in warning for warning in warnings] == [True]
    assert victim.exists()


def test_a_database_that_is_set_aside_leaves_its_journal_where_sqlite3_does_not_find_it(kept, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("a key")
    hot_journal(kept / "agent_memory.db", victim)
    said("memory recent")
    (aside,) = kept.glob("agent_memory.db.damaged-*[0-9a-f]")
    altered(aside, "SELECT * FROM sqlite_master")
    assert victim.exists()
    assert not (kept / "agent_memory.db-journal").exists()


TRAPS = {
    "view": [f"CREATE VIEW trap AS {ENDLESS}"],
    "view that takes the place of a pragma": [f"CREATE VIEW pragma_user_version AS {ENDLESS}"],
    "view that is a bomb": ["CREATE VIEW trap AS SELECT printf('%.*c', 900000000, 'x') AS user_version"],
    "trigger": ["CREATE TABLE t (a)", "CREATE TRIGGER trap AFTER INSERT ON t BEGIN DELETE FROM t; END"],
    "check": [
        "CREATE TABLE trap (a CHECK (length(printf('%.*c', 9000000, 'x')) > 0))",
        "INSERT INTO trap VALUES (1)",
    ],
    "table of another": ["CREATE TABLE theirs (a)"],
    "virtual table": ["CREATE VIRTUAL TABLE trap USING fts5 (a)"],
    "table that says it is of another type": [
        "CREATE TABLE theirs (a)",
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET type = 'index' WHERE name = 'theirs'",
    ],
}


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("file", COMMANDS)
def test_what_is_not_ours_in_a_database_is_never_carried_out(kept, file, trap):
    altered(kept / file, *TRAPS[trap])
    run = said(COMMANDS[file][0])
    if file == "state.db":
        assert (run.returncode, "state.db is damaged (" in run.stderr) == (4, True)
    elif file != "metrics/index.db":
        assert "is damaged (" in run.stderr
        assert "; set aside" in run.stderr


@pytest.mark.parametrize("file", ["state.db", "agent_memory.db", "cache/responses.db"])
def test_doctor_looks_into_no_database_whose_tables_are_not_ours(kept, file):
    altered(kept / file, *TRAPS["check"])
    run = said("doctor --offline")
    assert f"{kept / file} is damaged: its tables are not ours" in run.stdout


@pytest.mark.parametrize("file", ["state.db", "agent_memory.db", "cache/responses.db"])
def test_the_database_of_another_program_keeps_what_it_holds_and_gets_no_tables_of_ours(kept, file):
    path = kept / file
    path.unlink()
    altered(path, "CREATE TABLE theirs (a)", "INSERT INTO theirs VALUES ('kept')")
    run = said(COMMANDS[file][0])
    assert "its tables are not ours" in run.stderr
    (found,) = path.parent.glob(f"{path.name}.damaged-*[0-9a-f]") if file != "state.db" else [path]
    with closing(sqlite3.connect(found)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
        assert connection.execute("SELECT a FROM theirs").fetchall() == [("kept",)]


@pytest.mark.parametrize(
    "trap",
    [
        "CREATE TRIGGER free AFTER INSERT ON SPENT BEGIN UPDATE spent SET amount = 0; END",
        "CREATE TRIGGER free AFTER INSERT ON Paces BEGIN DELETE FROM spent; END",
        "CREATE TRIGGER free AFTER UPDATE ON circuits BEGIN DELETE FROM holds; END",
        "CREATE UNIQUE INDEX one ON holds (run) WHERE amount < 0",
    ],
)
def test_whatever_could_undo_a_charge_closes_the_ledger(kept, trap):
    altered(kept / "state.db", trap)
    run = said("run agent linter hello --max-cost 1")
    assert (run.returncode, "is damaged (its tables are not ours)" in run.stderr) == (4, True)
    assert "its tables are not ours" in said("doctor --offline").stdout


@pytest.mark.parametrize("store", ["agent_memory.db", "state.db", "cache/responses.db"])
def test_a_damaged_schema_that_sqlite_quotes_is_damage(kept, store):
    """The name of a table, which an error message of SQLite's quotes, is no UTF-8."""
    path = kept / store
    altered(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    place = data.index(b"CREATE TABLE ")
    data[place + 13 : place + 15] = b"\xff ,"[:2]
    path.write_bytes(data)
    run = said(COMMANDS[store][0])
    assert "damaged" in run.stderr
    assert f"{path} is damaged" in said("doctor --offline").stdout or store != "state.db"


def test_an_answer_that_was_paid_for_is_shown_though_the_memory_is_damaged(kept, simulator):
    path = kept / "agent_memory.db"
    data = bytearray(path.read_bytes())
    place = data.index(b"CREATE TABLE sessions")
    data[place + 13 : place + 15] = b"\xff "
    path.write_bytes(data)
    words = [sys.executable, "-m", "claude_force", "run", "agent", "linter", "[[simulate: reply=<<paid for>>]]"]
    run = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    assert (run.returncode, run.stdout) == (0, "paid for\n"), run.stderr
    assert "set aside" in run.stderr


@pytest.mark.parametrize(
    "schema", [memory.SCHEMA, shelf.SCHEMA, state.SCHEMA], ids=["memory", "cache and vectors", "state"]
)
def test_what_sqlite_itself_adds_to_our_tables_is_let_pass(tmp_path, schema):
    from claude_force.stores.sqlite import connect, look

    path = tmp_path / "a.db"
    connect(path, schema).close()
    altered(path, "ANALYZE", "VACUUM")
    connect(path, schema).close()
    look(path, schema).close()
