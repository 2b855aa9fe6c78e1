import gzip
import json
import os
import random
import subprocess
import sys
import threading
import time
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_force.errors import Busy, ForceError
from claude_force.files import locked
from claude_force.stores import daily, metrics, tally, writers
from claude_force.stores.audit import verify
from claude_force.stores.history import Span, gather
from claude_force.stores.metrics import Metrics
from claude_force.stores.rollups import Rollups

from .executions import NOW, line, of, powers, total

LEASES = sys.platform == "linux"


@pytest.fixture(autouse=True)
def no_settling(monkeypatch):
    """The tests know when a writer has opened the file: nobody is on the way to it."""
    monkeypatch.setattr(writers, "_SETTLE_SECONDS", 0.0)


def put(directory, *lines):
    directory.mkdir(exist_ok=True)
    with (directory / "executions.jsonl").open("ab") as stream:
        stream.writelines(lines)


def roll(directory, days=30, **options):
    return Rollups(directory, clock=lambda: NOW).roll(days, **options)


def live(directory):
    return (directory / "executions.jsonl").read_bytes()


def names(directory):
    return sorted(path.name for path in (directory / "rollups").iterdir())


def figures(directory):
    """Return all that analytics can tell of the whole history."""
    sums = gather(directory, Span(), hourly=True)
    return sums.cells, sums.hours, sums.latencies, sums.errors, sums.damaged


def assert_sound(directory):
    assert verify(directory).problems == ()


def test_old_lines_become_daily_sums_and_young_ones_stay_as_they_are(tmp_path):
    old, young = powers(4, age=40) + powers(2, start=4, age=31), powers(3, start=6, age=29)
    put(tmp_path, *old[:3], *young[:1], *old[3:], *young[1:])
    before = figures(tmp_path)

    assert roll(tmp_path) == {"executions": 6, "cost": 2**6 - 1, "days": 2, "waiting": 0}
    assert live(tmp_path) == b"".join(young)
    assert names(tmp_path) == ["2026-10-13.1.json.gz", "2026-10-22.1.json.gz", "manifest.json"]
    assert figures(tmp_path) == before
    assert_sound(tmp_path)


def test_a_rolled_up_day_keeps_counts_errors_tokens_money_and_times_by_agent_model_and_workflow(tmp_path):
    put(
        tmp_path,
        line(age=40, agent_name="a", workflow_id="w", execution_time_ms=300),
        line(age=40, agent_name="a", workflow_id="w", success=False, error_type="try_later", estimated_cost=None),
        line(age=40, agent_name="b", model=None, cached=True, saved_cost=0.5, estimated_cost=0),
    )
    roll(tmp_path)
    day = json.loads(gzip.decompress((tmp_path / "rollups" / "2026-10-13.1.json.gz").read_bytes()))

    assert [cell[:3] for cell in day["cells"]] == [["a", "claude-haiku-5-5", "w"], ["b", "", ""]]
    first, second = (dict(zip(day["counters"], cell[3], strict=True)) for cell in day["cells"])
    assert (first["executions"], first["successes"], first["cost"], first["unpriced"]) == (2, 1, 1, 1)
    assert (first["milliseconds"], first["input_tokens"], first["tokens"]) == (400, 20, 30)
    assert (second["cached"], second["saved"], second["input_tokens"], second["tokens"]) == (1, 500_000_000, 0, 15)
    assert day["cells"][0][4] == {"try_later": 1}


def test_rolling_again_changes_nothing_and_a_late_old_line_joins_its_day(tmp_path):
    put(tmp_path, *powers(3, age=40))
    roll(tmp_path)
    files = names(tmp_path)

    assert roll(tmp_path)["executions"] == 0
    assert names(tmp_path) == files
    put(tmp_path, *powers(2, start=3, age=40))
    assert roll(tmp_path)["executions"] == 2
    assert total(tmp_path)["cost"] == 2**5 - 1
    assert names(tmp_path) != files
    assert_sound(tmp_path)


def test_without_old_lines_the_file_is_not_touched(tmp_path):
    put(tmp_path, *powers(3, age=3), *powers(3, age=29.99))
    before = (tmp_path / "executions.jsonl").stat()
    roll(tmp_path)

    after = (tmp_path / "executions.jsonl").stat()
    assert all(getattr(after, name) == getattr(before, name) for name in ("st_ino", "st_size", "st_mtime_ns"))


def test_there_may_be_nothing_at_all(tmp_path):
    assert roll(tmp_path / "new")["executions"] == 0
    assert total(tmp_path / "new")["executions"] == 0
    assert total(tmp_path / "never")["executions"] == 0
    assert not (tmp_path / "never").exists()
    assert_sound(tmp_path / "new")


def test_damaged_lines_stay_and_an_unfinished_one_waits_for_its_end(tmp_path):
    put(tmp_path, *powers(2, age=40), b'{"timestamp": 5}\n', b"\n", *powers(1, start=2, age=1), line(age=40)[:50])

    roll(tmp_path)
    assert total(tmp_path)["cost"] == 2**3 - 1
    assert gather(tmp_path, Span()).damaged == 2
    assert live(tmp_path) == b'{"timestamp": 5}\n' + powers(1, start=2, age=1)[0] + line(age=40)[:50] + b"\n"
    assert verify(tmp_path).damaged == (1, 3)


def test_a_line_that_lacks_only_its_newline_is_counted_once(tmp_path):
    put(tmp_path, *powers(2, age=40), powers(1, start=2, age=40)[0].rstrip(b"\n"))
    assert total(tmp_path)["cost"] == 2**3 - 1
    roll(tmp_path)
    assert total(tmp_path)["cost"] == 2**3 - 1
    Metrics(tmp_path).append(json.loads(line(nanodollars=8)))
    assert total(tmp_path)["cost"] == 2**4 - 1
    assert_sound(tmp_path)


@pytest.mark.parametrize("expected", [0, 1])
def test_an_unfinished_last_line_is_damaged_when_it_stays_so_or_the_next_one_begins(tmp_path, expected):
    put(tmp_path, *powers(2), line()[:50])
    if expected:
        os.utime(tmp_path / "executions.jsonl", (0, 0))
    assert gather(tmp_path, Span()).damaged == expected
    assert verify(tmp_path).damaged == (3,) * expected
    Metrics(tmp_path).append(json.loads(line(nanodollars=4)))
    assert gather(tmp_path, Span()).damaged == 1
    assert verify(tmp_path).damaged == (3,)
    assert total(tmp_path)["cost"] == 2**3 - 1


def test_zones_and_foreign_spellings_of_old_lines_are_understood(tmp_path):
    stamps = ["2026-10-13T04:00:00+14:00", "2026-10-13 04:00:00", "2026-10-13T04:00:00.123456+00:00"]
    put(tmp_path, *(line(nanodollars=2**n, timestamp=text) for n, text in enumerate(stamps)))
    assert roll(tmp_path)["cost"] == 7
    assert sorted(day for day, _ in ((name[:10], 0) for name in names(tmp_path)[:-1])) == ["2026-10-12", "2026-10-13"]


def test_a_roll_while_another_one_runs_is_refused(tmp_path):
    put(tmp_path, *powers(2, age=40))
    with locked(tmp_path / "rollup.lock"), pytest.raises(Busy, match="another process") as caught:
        roll(tmp_path)
    assert caught.value.exit_code == 75


def test_sums_take_less_than_a_hundredth_of_the_lines(tmp_path):
    put(tmp_path, *(line(age=40, nanodollars=n, execution_time_ms=n % 5000) for n in range(20_000)))
    size = len(live(tmp_path))
    roll(tmp_path)

    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.name != "index.db") < size / 100
    assert total(tmp_path)["cost"] == sum(range(20_000))


@pytest.mark.skipif(not LEASES, reason="only Linux tells who has a file open")
def test_a_writer_that_opened_the_file_before_the_roll_and_wrote_after_it_is_counted_once(tmp_path):
    put(tmp_path, *powers(2, age=40))
    slow = os.open(tmp_path / "executions.jsonl", os.O_WRONLY | os.O_APPEND)
    assert roll(tmp_path)["waiting"] == 1
    os.write(slow, powers(1, start=2, age=40)[0] + powers(1, start=3, age=1)[0])
    assert total(tmp_path)["cost"] == 2**4 - 1
    assert_sound(tmp_path)
    assert roll(tmp_path)["waiting"] >= 1
    os.write(slow, powers(1, start=4, age=1)[0] + line(age=40)[:20])
    assert total(tmp_path)["cost"] == 2**5 - 1
    os.close(slow)

    assert roll(tmp_path)["waiting"] == 0
    assert total(tmp_path)["cost"] == 2**5 - 1
    assert not list((tmp_path / "segments").iterdir())
    assert sorted(live(tmp_path).splitlines(keepends=True)) == sorted(
        [*powers(2, start=3, age=1), line(age=40)[:20] + b"\n"]
    )
    assert_sound(tmp_path)


def test_where_nobody_can_tell_who_writes_a_segment_is_kept_for_an_hour(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "fcntl", None)
    put(tmp_path, *powers(2, age=40))
    assert roll(tmp_path)["waiting"] == 1
    assert total(tmp_path)["cost"] == 3
    monkeypatch.setattr(writers, "_ABANDONED_SECONDS", -1.0)
    assert roll(tmp_path)["waiting"] == 0
    assert total(tmp_path)["cost"] == 3


KILLER = """
import json, os, shutil, signal, sys
from pathlib import Path
from claude_force.stores import daily, metrics, tally, writers
from claude_force.stores.rollups import Rollups

source, target = Path(sys.argv[1]), Path(sys.argv[2])
writers._SETTLE_SECONDS = 0.0
EVENTS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "fcntl.fcntl", "fcntl.flock"}

def doomed(number):
    left = number
    def hook(event, args):
        nonlocal left
        if event in EVENTS and not str(args[0]).endswith((".py", ".pyc")):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    Rollups(directory, clock=lambda: float(sys.argv[3])).roll(30, keep_raw=True)
    os._exit(0)

for number in range(1, 1000):
    directory = target / str(number)
    shutil.copytree(source, directory)
    child = os.fork() or doomed(number)
    if os.waitpid(child, 0)[1] == 0:
        break
print(number)
"""


def counted(directory):
    """Return the cost of the whole history, added up in every way there is."""
    found = verify(directory)
    assert found.problems == ()
    return of(found.accounts["day files"])["cost"] + of(found.accounts["lines"])["cost"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_killed_before_any_step_on_the_file_system_nothing_is_lost_or_counted_twice(tmp_path):
    source, target = tmp_path / "source", tmp_path / "killed"
    put(source, *powers(3, age=40))
    roll(source, keep_raw=True)
    put(source, *powers(3, start=3, age=40), *powers(3, start=6, age=35), b"damaged\n", *powers(3, start=9, age=1))
    code = [sys.executable, "-c", KILLER, source, target, str(NOW)]
    steps = int(subprocess.run(code, check=True, capture_output=True, text=True).stdout)

    assert steps > 20
    for number in range(1, steps + 1):
        directory = target / str(number)
        assert counted(directory) == 2**12 - 1, f"seen after step {number}"
        roll(directory, keep_raw=True)
        assert counted(directory) == 2**12 - 1, f"rolled again after step {number}"
        assert live(directory) == b"damaged\n" + b"".join(powers(3, start=9, age=1))
        assert not list((directory / "segments").iterdir())
        assert len(names(directory)) == 5, "what the killed roll left behind is gone"


ROLLER = """
import sys; from pathlib import Path; from claude_force.stores.rollups import Rollups
from claude_force.errors import Busy
while True:
    try: Rollups(Path(sys.argv[1]), clock=lambda: float(sys.argv[2])).roll(30)
    except Busy: pass
    print("rolled", flush=True)
"""
WRITER = """
import os, sys, time; from tests.executions import line
path, stop = sys.argv[1:]
n = 0
while not os.path.exists(stop):
    n += 1
    time.sleep(0.001)  # or the files would grow without end
    with open(path, "ab") as stream:
        stream.write(line(nanodollars=n, age=40 if n % 3 else 1))
print(n)
"""


@pytest.mark.skipif(not LEASES, reason="elsewhere a segment may be kept for an hour")
def test_writers_that_know_only_the_name_of_the_file_lose_nothing_to_rolls_that_are_killed(tmp_path):
    stop = tmp_path / "stop"
    writer = [sys.executable, "-c", WRITER, tmp_path / "executions.jsonl", stop]
    roller = [sys.executable, "-c", ROLLER, tmp_path, str(NOW)]
    writing = [subprocess.Popen(writer, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    chance = random.Random(11)
    for _ in range(8):
        rolling = [subprocess.Popen(roller, stdout=subprocess.PIPE) for _ in range(2)]
        rolling[0].stdout.readline()
        time.sleep(chance.random() * 0.05)  # any instant will do
        for process in rolling:
            process.kill()
            process.communicate()
        total(tmp_path)  # a reader in between disturbs nobody
    stop.touch()
    counts = [int(process.communicate()[0]) for process in writing]

    expected = sum(counts), sum(n * (n + 1) // 2 for n in counts)
    assert (total(tmp_path)["executions"], total(tmp_path)["cost"]) == expected
    roll(tmp_path)
    assert (total(tmp_path)["executions"], total(tmp_path)["cost"]) == expected
    assert live(tmp_path).count(b"\n") == sum(n // 3 for n in counts)
    assert_sound(tmp_path)


def test_a_reader_beside_rolls_sees_every_execution_once_at_any_time(tmp_path):
    put(tmp_path, *(line(nanodollars=n, age=20 - n // 10) for n in range(200)))
    expected = total(tmp_path)
    done = threading.Event()

    def roll_day_by_day():
        try:
            for days in range(20, 0, -1):
                roll(tmp_path, days)
        finally:
            done.set()

    thread = threading.Thread(target=roll_day_by_day)
    thread.start()
    while not done.is_set():
        assert total(tmp_path) == expected
    thread.join()

    assert total(tmp_path) == expected
    assert_sound(tmp_path)


STEPS = st.lists(
    st.one_of(
        st.lists(st.tuples(st.floats(0, 5), st.sampled_from("ab"), st.integers(0, 10**6)), max_size=20),
        st.floats(0, 5).map(lambda days: ("roll", days)),
    ),
    max_size=8,
)


@settings(max_examples=15, deadline=None)
@given(STEPS)
def test_whatever_is_written_and_rolled_in_any_order_adds_up(tmp_path_factory, steps):
    directory = tmp_path_factory.mktemp("metrics")
    plain = tmp_path_factory.mktemp("plain")
    put(directory)
    put(plain)
    for step in steps:
        if isinstance(step, tuple):
            roll(directory, step[1])
        else:
            lines = [line(age=age, agent_name=agent, execution_time_ms=took) for age, agent, took in step]
            put(directory, *lines)
            put(plain, *lines)

    assert figures(directory) == figures(plain)
    assert_sound(directory)


def test_raw_lines_are_kept_as_gzip_if_asked_for(tmp_path):
    put(tmp_path, *powers(3, age=40), *powers(2, start=3, age=1))
    roll(tmp_path, keep_raw=True)

    assert gzip.decompress((tmp_path / "rollups" / "raw.1.jsonl.gz").read_bytes()) == b"".join(powers(3, age=40))
    found = verify(tmp_path)
    assert found.problems == ()
    assert of(found.accounts["raw lines"])["cost"] == 7


def spoil_day_file(directory):
    path = next((directory / "rollups").glob("20*.gz"))
    day = json.loads(gzip.decompress(path.read_bytes()))
    day["cells"][0][3][9] += 1_000
    path.write_bytes(gzip.compress(json.dumps(day).encode()))


def spoil_day_file_and_its_checksum(directory):
    spoil_day_file(directory)
    pass_for_a_day_file(directory, next((directory / "rollups").glob("20*.gz")).read_bytes())


def spoil_raw_lines(directory):
    (directory / "rollups" / "raw.1.jsonl.gz").write_bytes(gzip.compress(b"".join(powers(2, age=40))))


def cut_raw_lines(directory):
    path = directory / "rollups" / "raw.1.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize("spoil", [spoil_day_file, spoil_day_file_and_its_checksum, spoil_raw_lines, cut_raw_lines])
def test_verify_finds_a_change_of_one_microdollar_or_line(tmp_path, spoil):
    put(tmp_path, *powers(3, age=40))
    roll(tmp_path, keep_raw=True)
    assert_sound(tmp_path)
    spoil(tmp_path)

    assert verify(tmp_path).problems


def test_a_damaged_day_file_stops_analytics_and_rolls_rather_than_being_counted(tmp_path):
    put(tmp_path, *powers(3, age=40))
    roll(tmp_path)
    next((tmp_path / "rollups").glob("20*.gz")).write_bytes(b"garbage")

    with pytest.raises(ForceError, match="not as it was written"):
        total(tmp_path)
    put(tmp_path, *powers(1, age=40))
    with pytest.raises(ForceError, match="not as it was written"):
        roll(tmp_path)
    assert live(tmp_path) == powers(1, age=40)[0]


def test_sums_that_do_not_fit_into_memory_at_once_are_merged_in_the_files(tmp_path, monkeypatch):
    lines = [line(age=40 + n % 4, nanodollars=n, agent_name=f"a{n % 3}") for n in range(2000)]
    put(tmp_path / "calm", *lines)
    put(tmp_path / "busy", *lines)
    roll(tmp_path / "calm", keep_raw=True)
    monkeypatch.setattr(tally, "_FULL", 50)
    monkeypatch.setattr(daily, "_HEAVY", 50)
    monkeypatch.setattr(metrics, "_PIECE", 4096)
    before = figures(tmp_path / "busy")
    roll(tmp_path / "busy", keep_raw=True)

    assert figures(tmp_path / "busy") == figures(tmp_path / "calm") == before
    assert_sound(tmp_path / "busy")


def packed(cells, hours=None):
    return gzip.compress(json.dumps({"cells": cells, "hours": hours or {}}).encode(), mtime=0)


CELL = ["a", "m", "w", [1] * 12, {}, [1, 1]]
NO_DAYS = [
    b"garbage",
    gzip.compress(b"garbage", mtime=0),
    gzip.compress(b"[]", mtime=0),
    gzip.compress(b'{"cells": 5, "hours": {}}', mtime=0),
    gzip.compress(json.dumps({"cells": [[*CELL[:3], [-1] * 12, *CELL[4:]]], "hours": {}}).encode(), mtime=0),
    gzip.compress(json.dumps({"cells": [[*CELL[:5], [1]]], "hours": {}}).encode(), mtime=0),
    gzip.compress(b"[" * 100_000, mtime=0),
    gzip.compress(b'{"cells": [], "hours": {"\xff": []}}', mtime=0),
    packed([CELL])[:-9],
    packed([[5, *CELL[1:]]]),
    packed([[*CELL[:2], None, *CELL[3:]]]),
    packed([[*CELL[:3], [2**63] + [0] * 11, *CELL[4:]]]),
    packed([[*CELL[:3], [1.5] * 12, *CELL[4:]]]),
    packed([[*CELL[:4], ["timed_out"], CELL[5]]]),
    packed([[*CELL[:4], {"timed_out": -1}, CELL[5]]]),
    packed([[*CELL[:4], {"timed_out": 2**40}, CELL[5]]]),
    packed([[*CELL[:4], {"timed_out": "many"}, CELL[5]]]),
    packed([[*CELL[:5], [10**9, 1]]]),
    packed([[*CELL[:5], [10**30, 1]]]),
    packed([[*CELL[:5], [-1, 1]]]),
    packed([[*CELL[:5], [1.5, 1]]]),
    packed([[*CELL[:5], [1, 2**40]]]),
    packed([[*CELL[:5], [1, 0]]]),
    packed([CELL], {"zz": [1] * 12}),
    packed([CELL], {"2026-11-31T06": [1] * 12}),
    packed([CELL], {"2026-11-22T06": [2**63] * 12}),
]


@pytest.mark.parametrize("data", NO_DAYS, ids=lambda data: str(zlib.crc32(data)))
def test_what_is_no_day_file_is_refused(data):
    with pytest.raises(ValueError, match=r"."):
        daily.decode(data)


@pytest.mark.parametrize("data", NO_DAYS[1::5], ids=lambda data: str(zlib.crc32(data)))
def test_a_day_file_that_is_none_though_its_manifest_knows_it_is_named(tmp_path, data):
    put(tmp_path, *powers(3, age=40))
    roll(tmp_path)
    (file,) = (tmp_path / "rollups").glob("20*.gz")
    pass_for_a_day_file(tmp_path, data)

    with pytest.raises(ForceError, match=rf"{file.name} is damaged"):
        total(tmp_path)
    assert file.name in verify(tmp_path).problems[0]
    put(tmp_path, *powers(1, age=40))
    with pytest.raises(ForceError, match=rf"{file.name} is damaged"):
        roll(tmp_path)
    assert live(tmp_path) == powers(1, age=40)[0]


def pass_for_a_day_file(directory, data):
    """Put `data` in the place of the only day file, and its CRC-32 into the manifest."""
    path = directory / "rollups" / "manifest.json"
    manifest = json.loads(path.read_bytes())
    for entry in manifest["holds"]["days"].values():
        (directory / "rollups" / entry[0]).write_bytes(data)
        entry[1] = zlib.crc32(data)
    path.write_text(json.dumps(manifest))


def test_a_small_day_file_that_holds_more_than_a_day_can_is_not_unpacked(tmp_path):
    with pytest.raises(ValueError, match="more than a day can"):
        daily.decode(gzip.compress(b'{"cells": [], "hours": {}}' + b" " * (32 << 20), mtime=0))


def test_a_day_that_no_file_can_hold_is_not_rolled_up(tmp_path, monkeypatch):
    monkeypatch.setattr(daily, "_LARGEST", 10_000)
    lines = [line(age=40, agent_name=f"a{n}" * 50) for n in range(100)]
    put(tmp_path, *lines)
    with pytest.raises(ValueError, match="more than the 10,000 of a day file"):
        roll(tmp_path)
    assert live(tmp_path) == b"".join(lines)
    assert total(tmp_path)["executions"] == 100


IN_LITTLE_MEMORY = """
import os, resource, sys
from pathlib import Path
from claude_force.stores.audit import verify
from claude_force.stores.history import Span, gather
from claude_force.stores.rollups import Rollups
from tests.executions import NOW
directory = Path(sys.argv[1])
Rollups(directory, clock=lambda: NOW).roll(30)
verify(directory), gather(directory, Span())
with open("/proc/self/statm") as facts:
    most = int(facts.read().split()[0]) * resource.getpagesize() + (48 << 20)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
with (directory / "executions.jsonl").open("ab") as stream:
    stream.truncate(100 << 20)
os.utime(stream.name, (NOW, NOW))
print(gather(directory, Span()).damaged)
Rollups(directory, clock=lambda: NOW).roll(1)
print(gather(directory, Span()).damaged, verify(directory).damaged)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells how much memory is taken")
def test_a_file_of_one_endless_line_is_read_and_rolled_up_in_little_memory(tmp_path):
    put(tmp_path, *powers(3, age=40), *powers(3, start=3, age=20), *powers(3, start=6))
    command = [sys.executable, "-c", IN_LITTLE_MEMORY, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert ended.stdout.splitlines() == ["1", "1 (4,)"], ended.stderr
    assert total(tmp_path)["cost"] == 2**9 - 1
    Metrics(tmp_path).append(json.loads(line(nanodollars=2**9)))
    assert total(tmp_path)["cost"] == 2**10 - 1
    assert_sound(tmp_path)


@pytest.mark.parametrize("end", [b"\n", b""])
def test_lines_that_are_too_long_stay_as_they_are(tmp_path, monkeypatch, end):
    monkeypatch.setattr(metrics, "_WRITE_SECONDS", 0.0)
    long = [b"{" + bytes([65 + n]) * (metrics.LONGEST + n) for n in range(3)]
    good = json.dumps(json.loads(line(age=40)) | {"pad": "x" * (metrics.LONGEST)}).encode()
    put(tmp_path, *powers(2, age=40), long[0] + b"\n" + good + b"\n", *powers(1, start=2), *powers(1, start=3, age=50))
    put(tmp_path, long[1] + b"\n" + long[2] + end)
    before = figures(tmp_path)
    assert before[-1] == 4
    assert total(tmp_path)["cost"] == 2**4 - 1

    roll(tmp_path)
    assert figures(tmp_path) == before
    assert live(tmp_path) == b"\n".join([long[0], good, powers(1, start=2)[0].strip(), *long[1:], b""])
    assert verify(tmp_path).damaged == (1, 2, 4, 5)
    assert_sound(tmp_path)


def test_a_missing_segment_is_an_error(tmp_path):
    (tmp_path / "rollups").mkdir()
    holds = {"number": 1, "days": {}, "segments": {"1.jsonl": 5}, "receipts": []}
    (tmp_path / "rollups" / "manifest.json").write_text(json.dumps({"holds": holds}))

    with pytest.raises(ForceError, match="does not hold what its manifest names"):
        total(tmp_path)


def test_a_missing_day_file_is_named(tmp_path):
    put(tmp_path, *powers(3, age=40))
    roll(tmp_path)
    (file,) = (tmp_path / "rollups").glob("20*.gz")
    file.unlink()

    with pytest.raises(ForceError, match=file.name):
        total(tmp_path)


def test_a_lost_manifest_is_an_error_rather_than_an_empty_history(tmp_path):
    put(tmp_path, *powers(3, age=40))
    roll(tmp_path)
    (tmp_path / "rollups" / "manifest.json").unlink()

    for attempt in (total, roll, verify):
        with pytest.raises(ForceError, match=r"manifest\.json is missing"):
            attempt(tmp_path)
    assert len(list((tmp_path / "rollups").glob("20*.gz"))) == 1


def manifest(**changes):
    return json.dumps({"holds": {"number": 1, "days": {}, "segments": {}, "receipts": []} | changes})


NO_MANIFESTS = [
    *("", "[]", "{}", '{"holds": {"number": 1}}', "\x00", "[" * 100_000),
    manifest().replace('"number": 1', '"number": 1e400'),
    manifest().replace('{"holds"', '{"follows": {"number": 1e400}, "holds"'),
    manifest(number=-1),
    manifest(number=2**63),
    manifest(segments={"1.jsonl": -1}),
    manifest(days={"2026-11-22": ["a.gz", 0.5]}),
    manifest(receipts=[{"generation": 1, "raw": None}]),
    manifest(receipts=[{"generation": 1, "raw": None, "counters": [1]}]),
    manifest(receipts=[{"generation": 1, "raw": None, "counters": [2**63] * 12}]),
    manifest(receipts=[{"generation": 1, "raw": None, "counters": "many"}]),
    manifest(receipts=[5]),
]


@pytest.mark.parametrize("text", NO_MANIFESTS, ids=lambda text: text[-40:])
def test_a_damaged_manifest_is_an_error(tmp_path, text):
    put(tmp_path, *powers(3, age=40))
    roll(tmp_path)
    (tmp_path / "rollups" / "manifest.json").write_text(text)

    for attempt in (total, roll, verify):
        with pytest.raises(ForceError, match=r"manifest\.json is damaged"):
            attempt(tmp_path)


WAITING = """
import sys
from pathlib import Path
from claude_force.stores.manifest import Manifest
try:
    Manifest(Path(sys.argv[1])).current()
except OSError as error:
    print(error.strerror)
"""


def test_a_manifest_that_is_a_link_to_a_pipe_is_not_waited_for(tmp_path):
    (tmp_path / "rollups").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "rollups" / "manifest.json").symlink_to(tmp_path / "pipe")
    command = [sys.executable, "-c", WAITING, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout == "not a regular file\n"


def test_a_manifest_that_came_with_a_project_cannot_name_files_elsewhere(tmp_path):
    (tmp_path / "rollups").mkdir()
    holds = {"number": 1, "days": {"2026-01-01": ["../../etc/passwd", 1]}, "segments": {}, "receipts": []}
    (tmp_path / "rollups" / "manifest.json").write_text(json.dumps({"holds": holds}))

    with pytest.raises(ForceError, match="damaged"):
        total(tmp_path)


def test_a_file_that_is_moved_away_during_a_roll_is_not_written_over(tmp_path, monkeypatch):
    put(tmp_path, *powers(3, age=40))
    rollups = Rollups(tmp_path, clock=lambda: NOW)
    link = rollups._link

    def link_and_rotate(number):
        link(number)
        os.rename(tmp_path / "executions.jsonl", tmp_path / "rotated")
        put(tmp_path, *powers(1, start=3))

    monkeypatch.setattr(rollups, "_link", link_and_rotate)
    with pytest.raises(ForceError, match="moved away"):
        rollups.roll(30)
    assert live(tmp_path) == powers(1, start=3)[0]
    assert total(tmp_path)["cost"] == 8


@pytest.mark.skipif(not LEASES, reason="only Linux tells who has a file open")
def test_a_file_is_closed_if_nobody_has_it_open_for_writing(tmp_path):
    path = tmp_path / "file"
    path.touch()
    with path.open("rb"):
        assert writers.closed([path]) == {path}
    with path.open("ab"):
        assert writers.closed([path]) == set()


OPENER = """
import os, sys
lease = f":{os.stat(sys.argv[1]).st_ino} "
while not any("LEASE" in lock and lease in lock for lock in open("/proc/locks")): pass
os.close(os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND))
"""


@pytest.mark.skipif(not LEASES, reason="only Linux tells who has a file open")
def test_who_opens_a_file_while_it_is_looked_at_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "_SETTLE_SECONDS", 30.0)
    path = tmp_path / "file"
    path.touch()
    with subprocess.Popen([sys.executable, "-c", OPENER, path]) as opener:
        assert writers.closed([path]) == set()
    assert opener.returncode == 0


@pytest.mark.parametrize("ask", [roll, verify, total])
def test_a_pipe_in_the_place_of_the_lines_is_not_waited_for(tmp_path, ask):
    os.mkfifo(tmp_path / "executions.jsonl")
    with pytest.raises(OSError, match="not a regular file"):
        ask(tmp_path)


@pytest.mark.parametrize("ask", [verify, total])
def test_a_pipe_in_the_place_of_a_former_file_is_not_waited_for(tmp_path, ask):
    put(tmp_path, line(age=90))
    with (tmp_path / "executions.jsonl").open("ab"):
        roll(tmp_path)
    (segment,) = (tmp_path / "segments").iterdir()
    segment.unlink()
    os.mkfifo(segment)
    with pytest.raises(OSError, match="not a regular file"):
        ask(tmp_path)


def test_a_pipe_in_the_place_of_a_former_file_is_not_waited_for_to_be_let_go_of(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert writers.closed([tmp_path / "pipe"]) == set()


def test_a_pipe_in_the_place_of_raw_lines_is_not_waited_for(tmp_path):
    put(tmp_path, line(age=90))
    roll(tmp_path, keep_raw=True)
    (raw,) = (tmp_path / "rollups").glob("raw.*")
    raw.unlink()
    os.mkfifo(raw)
    with pytest.raises(OSError, match="not a regular file"):
        verify(tmp_path)


STAMP = st.from_regex(
    r"(2026-(02|11)-(28|30|31)|0000-00-00)T(0[0-9]|2[2-5]):(0|5|6)[0-9]:[0-9]{2}(\.[0-9]{1,4})?Z?", fullmatch=True
)


def read_by(function, stamp):
    try:
        return function(stamp)
    except ValueError:
        return None


@given(STAMP | st.text(max_size=8), st.booleans())
def test_a_timestamp_is_one_or_none_whatever_came_before_it(stamp, known):
    counted = tally.Tally()
    if known:
        counted.add(json.loads(line(timestamp=f"{stamp[:14]}00:00.000Z")))
    expected = read_by(tally.utc, stamp)
    assert counted.add(json.loads(line(timestamp=stamp))) == (expected is not None)
    assert read_by(tally.moment, stamp) == expected


def test_a_roll_removes_nothing_but_what_is_named_as_a_roll_names_it(tmp_path):
    put(tmp_path, *powers(2, age=40))
    roll(tmp_path)
    foreign = [
        tmp_path / place / name
        for place in ("segments", "rollups")
        for name in ("main.py", "notes.jsonl", "backup.tar.gz", "1.jsonl.bak", ".hidden.tmp", "raw.gz")
    ]
    left = [tmp_path / "segments" / "7.jsonl", tmp_path / "rollups" / "2026-01-01.7.json.gz"]
    for path in (*foreign, *left):
        path.write_text("of somebody")
    roll(tmp_path)
    assert [path.name for path in foreign if not path.exists()] == []
    assert [path.name for path in left if path.exists()] == []
