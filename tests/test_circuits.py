"""The records that processes share in `state.db`: kept, changed one after the other, and errors that can be handled."""

import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest

from claude_force.stores.circuits import SharedRecords

ADD = """
import sys
from claude_force.stores.circuits import SharedRecords

def add(record):
    count = (record or {"count": 0})["count"] + 1
    return {"count": count}, count

print("ready", flush=True)
sys.stdin.readline()
with SharedRecords(sys.argv[1]) as records:
    for _ in range(int(sys.argv[2])):
        records.change("circuits", "all", add)
        records.read("paces", "all")
"""
HALF = """
import os, signal, sys
from claude_force.stores.circuits import SharedRecords

def die(record):
    os.kill(os.getpid(), signal.SIGKILL)

SharedRecords(sys.argv[1]).change("circuits", "a", die)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "project" / "state.db"


def put(records, name, record, kind="circuits"):
    records.change(kind, name, lambda _: (record, None))


def test_what_is_put_is_read_back_also_by_who_opens_the_file_anew(path):
    with SharedRecords(path) as records:
        put(records, "a", {"failures": 2})
        put(records, "a", {"interval": 1.5}, kind="paces")
        assert records.read("circuits", "a") == {"failures": 2}
    with SharedRecords(path) as again:
        assert again.read("circuits", "a") == {"failures": 2}
        assert again.read("paces", "a") == {"interval": 1.5}
        assert again.read("circuits", "b") is None


def test_a_change_sees_what_was_there_and_returns_what_it_likes(path):
    with SharedRecords(path) as records:
        put(records, "a", {"n": 1})
        assert records.change("circuits", "a", lambda r: ({"n": r["n"] + 1}, f"was {r['n']}")) == "was 1"
        assert records.read("circuits", "a") == {"n": 2}


def test_a_change_to_nothing_leaves_the_record(path):
    with SharedRecords(path) as records:
        put(records, "a", {"n": 1})
        assert records.change("circuits", "a", lambda _: (None, "seen")) == "seen"
        assert records.read("circuits", "a") == {"n": 1}


def test_a_change_that_fails_leaves_the_record_and_the_next_one_works(path):
    def wrong(_):
        raise KeyError("a defect")

    with SharedRecords(path) as records:
        put(records, "a", {"n": 1})
        with pytest.raises(KeyError):
            records.change("circuits", "a", wrong)
        put(records, "b", {"n": 2})
        assert records.all("circuits") == {"a": {"n": 1}, "b": {"n": 2}}


def test_to_ask_what_there_is_makes_no_file(path):
    assert SharedRecords(path).all("paces") == {}
    assert not path.exists()


def test_the_file_is_private(path):
    with SharedRecords(path) as records:
        put(records, "a", {})
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '"a"', "[" * 100_000])
def test_a_row_that_holds_no_object_counts_as_absent(path, text):
    with SharedRecords(path) as records:
        put(records, "a", {"n": 1})
        with sqlite3.connect(path) as other:
            other.execute("UPDATE circuits SET record = ?", [text])
        other.close()
        assert records.read("circuits", "a") is None
        assert records.all("circuits") == {}


def test_a_row_of_bytes_counts_as_absent(path):
    with SharedRecords(path) as records:
        put(records, "a", {"n": 1})
        with sqlite3.connect(path) as other:
            other.execute("UPDATE circuits SET record = x'ff00'")
        other.close()
        assert records.read("circuits", "a") is None


def test_a_damaged_file_is_an_error_and_stays_where_it_is(path):
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(OSError, match=r"state\.db"):
        SharedRecords(path).read("circuits", "a")
    assert path.read_bytes() == b"not a database" * 100
    assert sorted(os.listdir(path.parent)) == ["state.db", "state.db.lock"]


def test_a_link_is_not_followed(path, tmp_path):
    elsewhere = tmp_path / "other.db"
    with sqlite3.connect(elsewhere) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = elsewhere.read_bytes()
    path.parent.mkdir()
    path.symlink_to(elsewhere)
    with pytest.raises(OSError, match="link"):
        SharedRecords(path).read("circuits", "a")
    assert elsewhere.read_bytes() == before


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        SharedRecords(tmp_path / "file" / "state.db").read("circuits", "a")


def test_after_close_it_opens_again(path):
    records = SharedRecords(path)
    put(records, "a", {"n": 1})
    records.close()
    records.close()
    assert records.read("circuits", "a") == {"n": 1}
    records.close()


def test_threads_share_one_store(path):
    with SharedRecords(path) as records:

        def add():
            for _ in range(25):
                records.change("circuits", "all", lambda r: ({"n": (r or {"n": 0})["n"] + 1}, None))

        threads = [threading.Thread(target=add) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert records.read("circuits", "all") == {"n": 200}


def test_a_fork_opens_the_file_anew(path):
    with SharedRecords(path) as records:
        put(records, "a", {"n": 1})
        child = multiprocessing.get_context("fork").Process(target=put, args=(records, "b", {"n": 2}))
        child.start()
        child.join(30)
        assert child.exitcode == 0
        assert records.all("circuits") == {"a": {"n": 1}, "b": {"n": 2}}


def test_thirty_processes_at_once_lose_no_change(path):
    command = [sys.executable, "-c", ADD, str(path), "20"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(30)]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [(process.communicate(timeout=120)[1], process.returncode) for process in processes]
    assert ended == [("", 0)] * 30
    with SharedRecords(path) as records:
        assert records.read("circuits", "all") == {"count": 600}


def test_a_process_killed_in_the_middle_of_a_change_changes_nothing_and_blocks_nobody(path):
    with SharedRecords(path) as records:
        put(records, "a", {"n": 1})
        killed = subprocess.run([sys.executable, "-c", HALF, str(path)], check=False, timeout=60)
        assert killed.returncode == -9
        assert records.read("circuits", "a") == {"n": 1}
        put(records, "a", {"n": 2})
        assert records.read("circuits", "a") == {"n": 2}
