"""Opening SQLite files: made private, brought up to date once by many processes, read where they cannot be written."""

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest

from claude_force.files import locked
from claude_force.stores.sqlite import Schema, connect, is_busy, is_damage, is_moved, is_read_only, transaction
from claude_force.stores.sqlitefile import Attempts, SqliteFile

FIRST = [
    "CREATE TABLE accounts (name TEXT PRIMARY KEY, money INTEGER NOT NULL)",
    "INSERT INTO accounts VALUES ('a', 0)",
]
SECOND = ["CREATE TABLE IF NOT EXISTS notes (note TEXT NOT NULL)", "INSERT INTO notes VALUES ('none')"]
OURS = 0x1234


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "state.db"


def opened(path, *migrations):
    return connect(path, Schema(migrations or (FIRST,), OURS))


def tables(connection):
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def money(path):
    connection = opened(path)
    found = connection.execute("SELECT money FROM accounts").fetchone()[0]
    connection.close()
    return found


def together(script, path, count):
    """Run `script` in `count` processes that begin at one word, and return what each wrote to stdout and stderr."""
    command = [sys.executable, "-c", script, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(count)]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate(timeout=60) for process in processes]


def test_file_and_directory_are_readable_by_their_owner_only(path):
    connection = opened(path)
    with transaction(connection):
        connection.execute("UPDATE accounts SET money = 1")
    files = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    connection.close()
    assert files == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_writers_do_not_wait_for_the_disk(path):
    connection = opened(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (1,)
    connection.close()


def test_tables_are_brought_up_to_date_and_keep_what_they_hold(path):
    connection = opened(path, FIRST)
    connection.execute("UPDATE accounts SET money = 7")
    connection.close()
    connection = opened(path, FIRST, SECOND)
    assert connection.execute("SELECT money, note FROM accounts, notes").fetchall() == [(7, "none")]
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()


def test_migration_that_fails_changes_nothing(path):
    opened(path, FIRST).close()
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        opened(path, FIRST, [*SECOND, "INSERT INTO nowhere VALUES (1)"])
    connection = opened(path, FIRST)
    assert tables(connection) == {"accounts"}
    connection.close()


DEPOSIT = """
import sys
from pathlib import Path
from claude_force.stores.sqlite import transaction
print("ready", flush=True)
sys.stdin.readline()
from tests.test_sqlite import shared
file = shared(Path(sys.argv[1]))
for _ in range(25):
    with file as connection, transaction(connection):
        (money,) = connection.execute("SELECT money FROM accounts").fetchone()
        connection.execute("UPDATE accounts SET money = ?", (money + 1,))
file.close()
"""


def test_many_processes_make_the_file_at_once_and_lose_no_write(path):
    assert together(DEPOSIT, path, 8) == [("", "")] * 8
    assert money(path) == 200


class Interrupted(sqlite3.Connection):
    """A connection at which Ctrl-C comes just when a transaction has begun."""

    def execute(self, statement, *values):
        found = super().execute(statement, *values)
        if statement.startswith("BEGIN"):
            raise KeyboardInterrupt
        return found


def test_an_interrupt_as_a_transaction_begins_leaves_none_behind(path):
    opened(path).close()
    connection = sqlite3.connect(path, isolation_level=None, factory=Interrupted)
    with pytest.raises(KeyboardInterrupt), transaction(connection):
        pass
    assert not connection.in_transaction
    connection.close()


def test_a_transaction_that_nobody_ended_does_not_stop_the_next_one(path):
    connection = opened(path)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE accounts SET money = 7")
    with transaction(connection):
        connection.execute("UPDATE accounts SET money = money + 1")
    connection.close()
    assert money(path) == 1


def test_transaction_that_raises_leaves_no_trace(path):
    connection = opened(path)

    def fail():
        with transaction(connection):
            connection.execute("UPDATE accounts SET money = 5")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not connection.in_transaction
    connection.close()
    assert money(path) == 0


def test_newer_file_is_refused_and_is_not_damage(path):
    opened(path, FIRST, SECOND).close()
    with pytest.raises(sqlite3.NotSupportedError, match="newer version") as caught:
        opened(path, FIRST)
    assert not is_damage(caught.value)


@pytest.mark.parametrize("application_id", [0, OURS])
@pytest.mark.parametrize(("mark", "told"), [(0, "its tables are not ours"), (99, "another program")])
def test_database_of_another_program_is_refused_and_stays_as_it_was(tmp_path, mark, told, application_id):
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (a)")
        other.execute(f"PRAGMA application_id = {mark}")
    before = path.read_bytes()
    with pytest.raises(sqlite3.DatabaseError, match=told) as caught:
        connect(path, Schema((FIRST,), application_id))
    assert is_damage(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4080])
def test_garbage_is_damage(tmp_path, content):
    path = tmp_path / "state.db"
    path.write_bytes(content)
    with pytest.raises(sqlite3.DatabaseError) as caught:
        opened(path)
    assert is_damage(caught.value)


def test_missing_table_is_damage_and_a_held_lock_is_not(path, monkeypatch):
    monkeypatch.setattr("claude_force.stores.sqlite.BUSY_SECONDS", 0.01)
    first, second = opened(path), opened(path)
    with pytest.raises(sqlite3.OperationalError) as missing:
        first.execute("SELECT 1 FROM nowhere")
    first.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked") as locked:
        second.execute("BEGIN IMMEDIATE")
    first.close()
    second.close()
    assert is_damage(missing.value)
    assert not is_busy(missing.value)
    assert not is_damage(locked.value)
    assert is_busy(locked.value)


def test_a_file_that_was_moved_while_it_was_open_is_neither_damaged_nor_read_only(tmp_path):
    connection = sqlite3.connect(tmp_path / "plain.db", isolation_level=None)
    connection.execute("CREATE TABLE kept (a)")
    (tmp_path / "plain.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute("INSERT INTO kept VALUES (1)")
    connection.close()
    assert is_moved(caught.value)
    assert not is_damage(caught.value)
    assert not is_read_only(caught.value)


def test_directory_in_place_of_the_file_is_out_of_reach(path):
    path.mkdir(parents=True)
    with pytest.raises(sqlite3.OperationalError, match="unable to open") as caught:
        opened(path)
    assert not is_damage(caught.value)


def test_file_in_place_of_the_directory_is_an_os_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"directory|exists"):
        opened(tmp_path / "file" / "state.db")


READ_ONLY = """
import os, sqlite3, sys, urllib.parse
from pathlib import Path
from tests.test_sqlite import FIRST, SECOND, opened, tables
if os.geteuid() == 0:
    os.setuid(65534)  # to root nothing is read-only
connection = opened(Path(sys.argv[1]), *[FIRST, SECOND][:int(sys.argv[2])])
print(*connection.execute("SELECT name FROM accounts").fetchone(), *tables(connection) - {"accounts"})
try:
    connection.execute("UPDATE accounts SET money = 1")
except sqlite3.OperationalError as error:
    print(error)
"""


@pytest.mark.parametrize(("version", "found"), [(1, "a"), (2, "a notes")])
def test_what_cannot_be_written_can_be_read_also_if_its_tables_are_older(version, found):
    with tempfile.TemporaryDirectory() as directory:  # tmp_path lies in a directory that only its owner enters
        path = Path(directory) / "state.db"
        opened(path).close()
        path.chmod(0o444)
        os.chmod(directory, 0o555)
        run = subprocess.run(
            [sys.executable, "-c", READ_ONLY, str(path), str(version)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        os.chmod(directory, 0o755)
    assert run.stdout.splitlines() == [found, "attempt to write a readonly database"], run.stderr


def shared(path, **settings):
    return SqliteFile(path, lambda: opened(path), **settings)


def deposit(file):
    with file as connection:
        connection.execute("UPDATE accounts SET money = money + 1")


@pytest.mark.parametrize(("follow", "found"), [(True, 1), (False, 0)])
def test_who_follows_writes_to_the_file_that_took_the_place_of_its_own(path, follow, found):
    file, other = shared(path, follow=follow), shared(path)
    deposit(file)
    deposit(other)
    aside = other.set_aside()
    other.close()
    deposit(file)
    file.close()
    assert money(path) == found
    assert money(aside) == 3 - found


def test_only_the_very_file_that_was_opened_is_set_aside_or_removed(path):
    file, other = shared(path), shared(path)
    for away in (file.set_aside, file.remove):
        deposit(file)
        deposit(other)
        other.remove()
        deposit(other)
        assert not away()
        other.close()
        assert money(path) == 1
        file.close()
        path.unlink()


def test_a_removed_file_leaves_nothing_but_its_lock(path):
    file = shared(path)
    deposit(file)
    file.remove()
    assert [p.name for p in path.parent.iterdir()] == ["state.db.lock"]


def test_a_file_that_could_not_be_opened_can_be_set_aside(path):
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 100)
    file = shared(path)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"), file:
        pass
    assert file.set_aside().read_bytes().startswith(b"no database")
    deposit(file)
    file.close()
    assert money(path) == 1


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("other.db"), lambda path: path.mkdir()])
def test_what_is_no_file_is_not_opened(path, make):
    path.parent.mkdir()
    make(path)
    with pytest.raises(sqlite3.DatabaseError, match="it is no file") as caught, shared(path):
        pass
    assert is_damage(caught.value)
    assert [p.name for p in path.parent.iterdir() if p.name.startswith("other")] == []


@pytest.mark.parametrize("held_for", ["opening", "closing"])
def test_a_file_is_neither_opened_nor_closed_while_another_process_sets_it_aside(path, held_for):
    file = shared(path)
    deposit(file)
    if held_for == "opening":
        file.close()
    thread = Thread(target=deposit if held_for == "opening" else SqliteFile.close, args=(file,))
    with locked(path.with_name("state.db.lock")):
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
    thread.join(60)
    file.close()
    assert not thread.is_alive()
    assert money(path) == (2 if held_for == "opening" else 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_forgets_what_is_for_its_parent_to_write_and_opens_the_file_anew(path):
    unwritten = ["of the parent"]
    file = shared(path, forget=unwritten.clear)
    deposit(file)
    if (child := os.fork()) == 0:
        was_open = file.is_open
        deposit(file)
        file.close()
        os._exit(1 if was_open or unwritten else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert unwritten
    deposit(file)
    file.close()
    assert money(path) == 3


KILLED = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
connection.execute("PRAGMA user_version = 5")  # as SQLite begins a file, before it is in WAL mode
os._exit(9)
"""


@pytest.mark.parametrize("size", [0, 4096])
def test_what_a_process_left_that_was_killed_as_it_made_the_file_stops_nobody(path, size):
    path.parent.mkdir()
    command = [sys.executable, "-c", KILLED, str(path)]
    assert subprocess.run(command, check=False, timeout=60).returncode == 9
    os.truncate(path, size)
    assert path.with_name("state.db-journal").exists()
    deposit(file := shared(path))
    file.close()
    assert money(path) == 1
    assert not path.with_name("state.db-journal").exists()


@pytest.mark.parametrize("held", [False, True])
def test_a_journal_beside_what_holds_something_is_refused_and_nothing_is_touched(path, held):
    file = shared(path)
    deposit(file)
    if not held:
        file.close()
    path.with_name("state.db-journal").write_bytes(b"of somebody")
    before = {p.name: p.read_bytes() for p in path.parent.iterdir() if not p.name.endswith("-shm")}
    with pytest.raises(sqlite3.DatabaseError, match="rollback journal") as caught, shared(path):
        pass
    assert is_damage(caught.value)
    assert {p.name: p.read_bytes() for p in path.parent.iterdir() if not p.name.endswith("-shm")} == before
    path.with_name("state.db-journal").unlink()
    file.close()
    assert money(path) == 1


def test_the_lock_is_held_also_while_the_very_first_file_of_a_directory_is_made(path):
    file = SqliteFile(path, lambda: (opened(path), taken.append(is_locked(path)))[0])
    taken = []
    deposit(file)
    file.close()
    assert taken == [True]


def is_locked(path):
    with locked(path.with_name("state.db.lock"), wait=False) as free:
        return not free


def test_text_of_a_file_that_is_no_utf8_is_damage_in_whatever_way_python_says_so(path):
    with pytest.raises(sqlite3.DatabaseError, match="no UTF-8") as caught, shared(path):
        b"\xff".decode()
    assert is_damage(caught.value)


def test_a_negative_version_is_that_of_a_file_without_tables(path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = -1")
    assert money(path) == 0


@pytest.mark.parametrize("error", [TypeError, ValueError, OverflowError, RecursionError])
def test_rows_that_nobody_foresaw_cost_a_warning_and_nothing_that_was_paid_for(path, error):
    warnings, asked = [], []
    attempt = Attempts(
        shared(path), name="the file", failure=lambda kind, told: f"{kind}: {told}", warn=warnings.append
    )

    def work():
        asked.append(error)
        raise error("odd")

    assert [attempt("read", work, "otherwise") for _ in range(3)] == ["otherwise"] * 3
    assert (warnings, asked) == (["read: odd"], [error])


def test_a_file_that_was_restored_without_a_log_has_one_again(tmp_path):
    schema = Schema([["CREATE TABLE t (a)"]])
    connect(tmp_path / "a.db", schema).close()
    with closing(sqlite3.connect(tmp_path / "a.db")) as other:
        other.execute("PRAGMA journal_mode = DELETE")
    with closing(connect(tmp_path / "a.db", schema)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
