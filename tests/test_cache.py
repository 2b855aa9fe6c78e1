"""The response cache: what it keeps and for how long, whose answers it believes, and what it survives."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.records import Reply, Usage
from claude_force.stores.cache import ResponseCache

from .test_sqlite import together

HOUR = 3600
SECRET = b"the user's key"
ANSWER = Reply("forty-two", "claude-x", "end_turn", Usage(10, 20, service_tier="standard"), "msg_1", "req_1")
NOTHING = {"valid": 0, "expired": 0, "foreign": 0, "damaged": 0}


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "responses.db"


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cache(path, warnings, clock):
    with ResponseCache(path, secret=SECRET, clock=clock, warn=warnings.append) as opened:
        yield opened


def fill(path, count=50):
    """Put `count` answers of some length into the cache at `path`, under the keys 0, 1, …"""
    with ResponseCache(path, secret=SECRET) as cache:
        for number in range(count):
            cache.put(str(number), answer(3000))


def answer(length):
    return Reply("".join(random.choices("abcdefgh", k=length)), "m", "end_turn")


def test_answer_is_given_back_whole_also_to_a_later_process(cache, path):
    cache.put("key", ANSWER, agent="adviser")
    assert cache.get("key") == ANSWER
    with ResponseCache(path, secret=SECRET, clock=Clock()) as later:
        assert later.get("key") == ANSWER
        assert later.get("other") is None


@given(st.text(min_size=1).filter(str.strip), st.builds(Usage, st.integers(0), st.integers(0), speed=st.text()))
def test_any_text_survives(text, usage):
    values = {}
    with tempfile.TemporaryDirectory() as directory:
        reply = Reply(text, "m", "stop_sequence", usage, attempts=3)
        with ResponseCache(Path(directory) / "c.db", secret=SECRET, values=values) as cache:
            cache.put("key", reply)
            assert cache.get("key") == reply
    assert list(values) == ["key"]


@pytest.mark.parametrize(
    "reply",
    [
        Reply("cut of", "m", "max_tokens"),
        Reply("cut of", "m", "model_context_window_exceeded"),
        Reply("I would rather", "m", "refusal", refusal="policy"),
        Reply("I would rather", "m", "end_turn", refusal="policy"),
        Reply("what to do", "m", "tool_use"),
        Reply("what to do", "m", None),
        Reply(" \n", "m", "end_turn"),
    ],
)
def test_what_is_no_complete_answer_is_not_kept(cache, reply):
    cache.put("key", reply)
    assert cache.get("key") is None


def test_answer_expires(cache, clock):
    cache.put("key", ANSWER)
    clock.now += 24 * HOUR - 1
    assert cache.get("key") == ANSWER
    clock.now += 1
    assert cache.get("key") is None
    cache.put("key", ANSWER)
    assert cache.get("key") == ANSWER


def test_clock_that_is_set_back_neither_loses_nor_immortalises_an_answer(cache, clock):
    cache.put("key", ANSWER)
    clock.now -= HOUR
    assert cache.get("key") == ANSWER
    clock.now -= 24 * HOUR
    assert cache.get("key") is None


def test_order_of_use_does_not_depend_on_the_clock(path, clock):
    with ResponseCache(path, secret=SECRET, max_size_mb=1, clock=clock) as cache:
        for number in range(150):
            cache.put(str(number), answer(5000))
            cache.get("0")
            clock.now -= 1
        assert cache.stats()["evictions"] > 0
        assert cache.get("0")
        assert cache.get("149")
        assert not cache.get("1")


def test_statistics_count_all_processes(cache, path, clock):
    assert cache.stats() == {"hits": 0, "misses": 0, "hit_rate": 0, "evictions": 0, "size_mb": 0, "entries": 0}
    assert not path.parent.exists()
    cache.get("key")
    cache.put("key", ANSWER)
    with ResponseCache(path, secret=SECRET, clock=clock) as other:
        for _ in range(3):
            other.get("key")
    found = cache.stats()
    on_disk = sum(p.stat().st_size for p in path.parent.iterdir())
    assert found.pop("size_mb") == round(on_disk / 1_000_000, 3) > 0
    assert found == {"hits": 3, "misses": 1, "hit_rate": 0.75, "evictions": 0, "entries": 1}


@pytest.mark.parametrize(
    ("use", "found"),
    [
        (lambda cache: cache.get("b"), None),
        (lambda cache: cache.put("a", ANSWER), None),
        (lambda cache: cache.stats()["entries"], 1),
        (lambda cache: cache.prune(), 0),
        (lambda cache: cache.clear(), 1),
        (lambda cache: cache.verify(), NOTHING | {"valid": 1}),
    ],
    ids=["get", "put", "stats", "prune", "clear", "verify"],
)
def test_cache_that_was_closed_opens_again_whatever_it_is_asked(cache, warnings, use, found):
    cache.put("a", ANSWER)
    cache.close()
    assert use(cache) == found
    cache.put("c", ANSWER)
    assert cache.get("c") == ANSWER
    assert warnings == []


def test_closing_a_cache_closes_the_mapping_that_it_was_given(path):
    class Closing(dict):
        closed = 0

        def close(self):
            self.closed += 1

    values = Closing()
    with ResponseCache(path, secret=SECRET, values=values) as cache:
        cache.put("a", ANSWER)
    assert values.closed == 1
    assert cache.get("a") == ANSWER
    cache.close()


def test_cache_of_another_user_is_ignored_and_can_be_pruned(cache, path, warnings):
    with ResponseCache(path, secret=b"somebody else's", clock=Clock()) as other:
        other.put("poisoned", ANSWER)
    assert cache.get("poisoned") is None
    cache.put("mine", ANSWER)
    assert cache.verify() == NOTHING | {"valid": 1, "foreign": 1}
    assert cache.prune() == 1
    assert cache.verify() == NOTHING | {"valid": 1}
    assert warnings == []


def test_prune_removes_what_has_expired(cache, clock):
    cache.put("old", ANSWER)
    clock.now += 23 * HOUR
    cache.put("new", ANSWER)
    clock.now += HOUR
    assert cache.verify() == NOTHING | {"valid": 1, "expired": 1}
    assert cache.prune() == 1
    assert cache.get("new") == ANSWER
    assert cache.stats()["entries"] == 1


def test_clear_removes_everything_but_the_history(path, clock):
    path.parent.mkdir()
    path.write_bytes(b"garbage" * 1000)
    with ResponseCache(path, secret=SECRET, clock=clock) as cache:
        for number in range(30):
            cache.put(str(number), answer(5000))
        cache.get("0")
        assert cache.clear() == 30
        assert cache.stats()["hits"] == 1
        assert cache.get("0") is None
    assert not list(path.parent.glob("*.damaged-*"))
    assert path.stat().st_size < 50_000


def test_looking_at_a_cache_makes_none(cache, path):
    assert (cache.verify(), cache.prune(), cache.clear()) == (NOTHING, 0, 0)
    assert not path.parent.exists()


def test_entry_of_a_version_with_other_fields_is_a_miss(cache, monkeypatch):
    monkeypatch.setitem(vars(ANSWER), "mood", "cheerful")
    cache.put("key", ANSWER)
    assert cache.get("key") is None


def truncated(path):
    os.truncate(path, path.stat().st_size // 2)


def garbage(path):
    path.write_bytes(random.randbytes(20_000))


def holes(path):
    content = bytearray(path.read_bytes())
    content[4096 : len(content) // 2] = random.randbytes(len(content) // 2 - 4096)
    path.write_bytes(content)


def directory(path):
    path.unlink()
    path.mkdir()
    (path / "file").touch()


def link(path):
    path.rename(path.with_name("elsewhere.db"))
    path.symlink_to(path.with_name("elsewhere.db"))


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def other_program(path):
    path.unlink()
    statement(path, "CREATE TABLE secrets (a)")


def trigger(path):
    statement(path, "CREATE TRIGGER t AFTER UPDATE ON statistics BEGIN DELETE FROM entries; END")


def missing_table(path):
    statement(path, "DROP TABLE bodies")


def statement(path, sql):
    connection = sqlite3.connect(path)
    found = connection.execute(sql).fetchall()
    connection.commit()
    connection.close()
    return found


@pytest.mark.parametrize(
    "harm", [truncated, garbage, holes, directory, link, pipe, other_program, trigger, missing_table]
)
def test_damaged_cache_is_set_aside_with_one_warning(cache, path, warnings, harm):
    fill(path)
    harm(path)
    assert [cache.get(str(number)) for number in range(50)] == [None] * 50
    cache.put("new", ANSWER)
    assert cache.get("new") == ANSWER
    (aside,) = path.parent.glob("responses.db.damaged-*")
    assert len(warnings) == 1
    assert aside.name in warnings[0]
    assert path.is_file()
    assert not path.is_symlink()


def test_empty_file_becomes_a_cache(cache, path):
    path.parent.mkdir()
    path.touch()
    cache.put("key", ANSWER)
    assert cache.get("key") == ANSWER


def test_damage_that_nobody_met_yet_is_found_by_verify(cache, path, warnings):
    fill(path)
    assert cache.verify() == NOTHING | {"expired": 50}
    with path.open("r+b") as stream:
        stream.seek(4096)
        stream.write(random.randbytes(path.stat().st_size - 4096))
    cache.close()
    with ResponseCache(path, secret=SECRET, warn=warnings.append) as later:
        assert later.verify() == NOTHING | {"damaged": 1}


def test_damage_that_the_count_of_misses_meets_first_is_repaired_too(path, warnings):
    fill(path, 1)
    ((page,),) = statement(path, "SELECT rootpage FROM sqlite_master WHERE name = 'statistics'")
    with path.open("r+b") as stream:
        stream.seek((page - 1) * 4096)
        stream.write(b"\xff" * 4096)
    with ResponseCache(path, secret=SECRET, warn=warnings.append) as later:
        assert later.get("other") is None
        later.put("other", ANSWER)
        assert later.get("other") == ANSWER
    assert ["set aside" in w for w in warnings] == [True]


def test_threads_that_meet_damage_at_once_set_the_file_aside_once(path, warnings):
    path.parent.mkdir()
    garbage(path)
    start, found = threading.Barrier(8), []

    def work(name):
        start.wait()
        cache.put(name, ANSWER)
        found.append(cache.get(name))

    with ResponseCache(path, secret=SECRET, warn=warnings.append) as cache:
        threads = [threading.Thread(target=work, args=(str(name),)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [ANSWER] * 8
        assert cache.stats()["entries"] == 8
    assert ["set aside" in w for w in warnings] == [True]


def test_newer_cache_is_left_alone(cache, path, warnings):
    fill(path)
    statement(path, "PRAGMA user_version = 99")
    before = path.read_bytes()
    assert cache.get("1") is None
    cache.put("1", ANSWER)
    assert path.read_bytes() == before
    assert ["newer version" in w for w in warnings] == [True]


def test_file_in_place_of_the_directory_costs_a_warning(cache, path, warnings):
    path.parent.touch()
    cache.put("key", ANSWER)
    assert cache.get("key") is None
    assert cache.stats()["entries"] == 0
    assert len(warnings) == 1


def test_key_that_cannot_be_read_costs_a_warning(path, warnings):
    def secret():
        raise PermissionError(13, "others can read it", "/home/cache.key")

    with ResponseCache(path, secret=secret, warn=warnings.append) as cache:
        cache.put("key", ANSWER)
        assert cache.get("key") is None
    assert warnings == ["/home/cache.key: others can read it; the cache cannot be written: new answers are not kept"]


def test_mapping_of_another_kind_may_be_out_of_reach(path, warnings):
    class Gone(dict):
        def __getitem__(self, key):
            raise ConnectionRefusedError(111, "connection refused")

    with ResponseCache(path, secret=SECRET, values=Gone(), warn=warnings.append) as cache:
        assert cache.get("key") is None
        assert cache.get("key") is None
    assert len(warnings) == 1
    assert "connection refused" in warnings[0]


def test_threads_share_a_cache(cache):
    start, found = threading.Barrier(8), []

    def work(name):
        start.wait()
        for number in range(15):
            cache.put(f"{name}-{number}", ANSWER)
            found.append(cache.get(f"{name}-{number}"))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [ANSWER] * 120
    assert cache.stats()["hits"] == cache.stats()["entries"] == 120


BUSY = """
import os, sys
from pathlib import Path
from claude_force.stores.cache import ResponseCache
from tests.test_cache import ANSWER, SECRET, answer
print("ready", flush=True)
sys.stdin.readline()
limit = float(os.environ.get("MB", "100"))
with ResponseCache(Path(sys.argv[1]), secret=SECRET, max_size_mb=limit, warn=print) as cache:
    for number in range(60):
        cache.put(f"{os.getpid()}-{number}", answer(4000))
        if cache.get(f"{os.getpid()}-{number}") is None:
            print("lost", number)
"""


def test_many_processes_share_a_cache_and_lose_nothing(path):
    assert together(BUSY, path, 8) == [("", "")] * 8
    with ResponseCache(path, secret=SECRET) as cache:
        assert cache.verify() == NOTHING | {"valid": 480}
        assert cache.stats()["hits"] == 480
        assert cache.stats()["misses"] == 0


def test_many_processes_keep_to_the_limit(path, monkeypatch):
    monkeypatch.setenv("MB", "1")
    assert [errors for _, errors in together(BUSY, path, 4)] == [""] * 4
    assert sum(p.stat().st_size for p in path.parent.iterdir()) <= 1_000_000
    with ResponseCache(path, secret=SECRET) as cache:
        found = cache.stats()
        assert cache.verify() == NOTHING | {"valid": found["entries"]}
    assert found["entries"] + found["evictions"] == 240


def test_many_processes_meet_a_damaged_cache(path):
    path.parent.mkdir()
    garbage(path)
    output = together(BUSY, path, 4)
    assert [errors for _, errors in output] == [""] * 4
    said = [line for lines, _ in output for line in lines.splitlines()]
    assert ["set aside" in line for line in said] == [True]
    with ResponseCache(path, secret=SECRET) as cache:
        assert cache.verify() == NOTHING | {"valid": 240}


ENDLESS = """
import sys
from itertools import count
from pathlib import Path
from claude_force.stores.cache import ResponseCache
from tests.test_cache import SECRET, answer
with ResponseCache(Path(sys.argv[1]), secret=SECRET, warn=print) as cache:
    for number in count():
        cache.put(str(number), answer(4000))
        print(number, flush=True)
"""


@pytest.mark.parametrize("puts", [1, 40])
def test_killed_process_loses_nothing_that_was_put(path, puts):
    command = [sys.executable, "-c", ENDLESS, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for expected in range(puts):
            assert process.stdout.readline() == f"{expected}\n"
        process.send_signal(signal.SIGKILL)
    with ResponseCache(path, secret=SECRET) as cache:
        assert all(cache.get(str(number)) for number in range(puts))
        assert cache.verify() == NOTHING | {"valid": cache.stats()["entries"]}


FULL = """
import resource, sys
from pathlib import Path
from claude_force.stores.cache import ResponseCache
from tests.test_cache import SECRET, answer
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
with ResponseCache(Path(sys.argv[1]), secret=SECRET, warn=print) as cache:
    for number in range(100):
        cache.put(str(number), answer(4000))
        cache.get(str(number))
    print(cache.clear() == 0)
"""


@pytest.mark.parametrize("room", [1_000, 20_000, 100_000])
def test_full_disk_costs_one_warning(path, room):
    pytest.importorskip("resource")
    command = [sys.executable, "-c", FULL, str(path), str(room)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")
    warning, rest = run.stdout.splitlines()
    assert "the cache cannot be" in warning
    assert rest == "True"
    with ResponseCache(path, secret=SECRET) as later:
        later.put("key", ANSWER)
        assert later.get("key") == ANSWER
        assert later.verify()["damaged"] == 0


READ_ONLY = """
import os, sys, urllib.parse
from pathlib import Path
from tests.test_cache import ANSWER, SECRET, ResponseCache
if os.geteuid() == 0:
    os.setuid(65534)  # to root nothing is read-only
with ResponseCache(Path(sys.argv[1]), secret=SECRET, warn=print) as cache:
    print([cache.get("0") is not None, cache.get("1") is not None])
    cache.put("new", ANSWER)
    print([cache.get("new"), cache.prune(), cache.clear()])
"""


@pytest.mark.parametrize("state", ["whole", "damaged", "absent"])
def test_read_only_cache_still_gives_its_answers(state):
    top = Path(tempfile.mkdtemp())  # tmp_path lies in a directory that only its owner enters
    path = top / "cache" / "responses.db"
    if state != "absent":
        fill(path, 2)
        garbage(path) if state == "damaged" else None
        path.chmod(0o444)
        path.parent.chmod(0o555)
    top.chmod(0o555)
    command = [sys.executable, "-c", READ_ONLY, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    for part in (top, path.parent):
        part.chmod(0o755) if part.exists() else None
    shutil.rmtree(top)
    found, after = (line for line in run.stdout.splitlines() if line.startswith("["))
    assert (run.returncode, found, after) == (0, str([state == "whole"] * 2), "[None, 0, 0]")
    assert len(run.stdout.splitlines()) == 3
