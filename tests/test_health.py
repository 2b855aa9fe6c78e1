"""What `doctor` says of the stores: real databases and files, sound, damaged, newer, exposed, in use, killed."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager

import pytest

from claude_force import cli
from claude_force.commands import health as module
from claude_force.commands.health import health
from claude_force.project.workspace import Workspace
from claude_force.records import Reply
from claude_force.secret import user_secret
from claude_force.stores import writers
from claude_force.stores.cache import ResponseCache
from claude_force.stores.history import Span, gather
from claude_force.stores.ledger import Ledger
from claude_force.stores.memory import SCHEMA, AgentMemory
from claude_force.stores.metrics import Metrics
from claude_force.stores.rollups import Rollups
from claude_force.stores.state import open_state
from claude_force.terminal.output import Screen

from .executions import NOW, line, powers
from .processes import unprivileged

STORES = {
    "cache": "cache/responses.db",
    "memory": "agent_memory.db",
    "metrics index": "metrics/index.db",
    "state": "state.db",
}
"""The databases by the name of their check."""


@pytest.fixture(autouse=True)
def no_settling(monkeypatch):
    """Nobody is on the way to a file that a rollup looks at."""
    monkeypatch.setattr(writers, "_SETTLE_SECONDS", 0.0)


@pytest.fixture
def state(project):
    return project / ".claude"


@pytest.fixture
def checks():
    """Look into the stores; return the checks by name, a worse one before a better one."""

    def checks():
        with Workspace(screen=Screen()) as workspace:
            found = list(health(workspace))
        assert all(check.remedy for check in found if check.status != "ok")
        return {check.name: check for check in sorted(found, key=lambda check: check.status)}

    return checks


@pytest.fixture
def kept(state, home):
    """A project in which every store holds something, half of the metrics rolled up."""
    with ResponseCache(state / STORES["cache"], secret=user_secret(home / ".claude")) as cache:
        cache.put("key", Reply("text", "model", "end_turn"))
    with closing(AgentMemory(state / STORES["memory"])) as memory:
        memory.store("agent", "task", "result")
    (state / "metrics").mkdir(mode=0o700)
    executions(state).write_bytes(b"".join(powers(3, age=40) + powers(3, age=1)))
    Rollups(state / "metrics", clock=lambda: NOW).roll(30, keep_raw=True)
    gather(state / "metrics", Span())
    open_state(state / STORES["state"]).close()
    return state


def executions(state):
    return state / "metrics" / "executions.jsonl"


def statuses(found):
    return {name: check.status for name, check in found.items()}


def everything(directory):
    """Return all that could be changed by looking."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode) for path in files}


def test_of_an_empty_project_all_is_well_and_nothing_is_made(state, checks):
    found = checks()

    assert set(statuses(found).values()) == {"ok"}
    assert {"cache", "memory", "metrics"} == found.keys()
    assert list(state.iterdir()) == []


def test_of_stores_that_are_used_all_is_well_and_nothing_is_touched(kept, home, checks):
    before = everything(kept), everything(home)
    found = checks()

    assert statuses(found) == dict.fromkeys(["cache", "memory", "metrics", "rollups", "metrics index", "state"], "ok")
    assert "1 day summed up" in found["rollups"].found
    assert (everything(kept), everything(home)) == before


def test_doctor_tells_of_the_stores_and_fails_for_a_problem(kept, capsys, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-x")
    assert cli.main(["doctor", "--offline"]) == 0
    assert f"ok       memory: {kept / 'agent_memory.db'}, 0." in capsys.readouterr().out
    (kept / STORES["memory"]).write_bytes(b"no database" * 100)
    assert cli.main(["doctor", "--offline", "--json"]) == 1
    (told,) = [check for check in json.loads(capsys.readouterr().out)["checks"] if check["name"] == "memory"]
    assert told["status"] == "problem"


HOLDER = """
import sys; from pathlib import Path
from claude_force.stores.memory import AgentMemory
memory = AgentMemory(sys.argv[1])
memory.store("agent", "another task", "result")
print("stored", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def held(kept):
    """The memory while another process has it open, its last session in the log alone; and that process."""
    command = [sys.executable, "-c", HOLDER, kept / STORES["memory"]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "stored\n"
        yield process
        process.kill()


def test_a_database_that_is_in_use_is_looked_into_and_its_log_left_alone(kept, held, checks):
    before = everything(kept)

    assert kept / "agent_memory.db-wal" in before
    assert checks()["memory"].status == "ok"
    assert everything(kept) == before


def test_a_log_that_a_killed_process_left_is_read_and_left_for_the_next_run(kept, held, checks):
    held.send_signal(signal.SIGKILL)
    held.wait()
    before = everything(kept)
    assert kept / "agent_memory.db-wal" in before
    assert checks()["memory"].status == "ok"
    assert everything(kept) == before

    (kept / "agent_memory.db-shm").unlink()
    found = checks()["memory"]
    assert (found.status, found.remedy) == ("warning", "look again after the next run")
    assert not (kept / "agent_memory.db-shm").exists()


def overwrite(path):
    data = path.read_bytes()
    path.write_bytes(b"\0" * 100 + data[100:])


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def spoil_a_page(path):
    size = path.stat().st_size
    with path.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"\xff" * (size - 4096))


@pytest.mark.parametrize("spoil", [overwrite, cut, spoil_a_page])
@pytest.mark.parametrize("name", STORES)
def test_a_damaged_database_is_a_problem(name, spoil, kept, checks):
    path = kept / STORES[name]
    spoil(path)
    before = everything(kept)
    found = checks()

    assert {n for n, check in found.items() if check.status != "ok"} == {name}
    assert found[name].status == "problem"
    assert f"{path} is damaged" in found[name].found
    assert everything(kept) == before


def test_what_doctor_advises_for_a_damaged_cache_helps(kept, checks, capsys):
    cut(kept / STORES["cache"])
    assert "cache verify" in checks()["cache"].remedy
    assert cli.main(["cache", "verify"]) == 1
    found = checks()

    assert found["cache"].status == "ok"
    assert found["cache leftovers"].status == "warning"
    assert subprocess.run(["sh", "-c", found["cache leftovers"].remedy], check=False).returncode == 0
    assert "cache leftovers" not in checks()
    assert (kept / STORES["cache"]).exists()


def replace_by_directory(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [cut, replace_by_directory])
def test_what_doctor_advises_for_a_damaged_index_helps(spoil, kept, checks):
    spoil(kept / STORES["metrics index"])
    command, _, why = checks()["metrics index"].remedy.partition(": ")
    assert why == "it is built anew"
    subprocess.run(["sh", "-c", command], check=True)
    gather(kept / "metrics", Span())

    assert checks()["metrics index"].status == "ok"


def test_a_large_database_is_not_read_as_a_whole_but_one_that_is_cut_is_noticed(kept, checks, monkeypatch):
    path = kept / STORES["memory"]
    monkeypatch.setattr(module, "SMALL_BYTES", 4096)
    spoil_a_page_in_the_middle(path)
    assert checks()["memory"].status == "ok"
    cut(path)
    assert checks()["memory"].status == "problem"


def spoil_a_page_in_the_middle(path):
    with path.open("r+b") as stream:
        stream.seek(-4096, os.SEEK_END)
        stream.write(b"\xff" * 4096)


@pytest.mark.parametrize("name", STORES)
def test_tables_of_a_newer_version_are_a_problem(name, kept, checks):
    with closing(sqlite3.connect(kept / STORES[name])) as connection:
        connection.execute("PRAGMA user_version = 99")
    found = checks()[name]

    assert found.status == "problem"
    assert "of version 99, not " in found.found


def link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def replace_by_pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("change", [link, replace_by_directory, replace_by_pipe])
def test_what_is_no_file_is_a_problem(change, state, home, checks):
    path = home / ".claude" / "state.db"
    open_state(path).close()
    change(path)
    assert checks()["user's state"].status == "problem"
    assert "is no file" in checks()["user's state"].found


@pytest.mark.parametrize("sum_of", ["daily", "monthly", "agent:writer"])
def test_a_ledger_that_refuses_what_it_holds_is_a_problem(state, checks, sum_of):
    with Ledger(state / "state.db") as ledger:
        ledger.note(5, run_id="r", agent="writer")
    assert checks()["state"].status == "ok"
    with closing(sqlite3.connect(state / "state.db", isolation_level=None)) as connection:
        connection.execute("UPDATE spent SET amount = -5 WHERE scope = ?", [sum_of])
    assert checks()["state"].status == "problem"
    assert "is damaged: it holds sums that no ledger writes" in checks()["state"].found


def test_an_empty_file_is_a_database_that_is_still_to_be_made(state, checks):
    (state / "agent_memory.db").touch(mode=0o600)
    assert checks()["memory"].status == "ok"


def test_a_file_that_somebody_writes_to_while_it_is_read_without_a_lock_is_read_again(kept, checks, monkeypatch):
    path = kept / STORES["memory"]
    whole, connect, opened = path.read_bytes(), sqlite3.connect, []

    def connect_beside_a_checkpoint(name, **options):
        opened.append(name)
        path.write_bytes(whole if len(opened) > 1 else whole[:4096])
        os.utime(path, ns=(0, len(opened)))  # as the clock of a file system, which is coarse, might not tell
        return connect(name, **options)

    monkeypatch.setattr(sqlite3, "connect", connect_beside_a_checkpoint)
    assert module._looked_into(module.Database("memory", path, SCHEMA, "")) == ""
    assert len(opened) == 2


@contextmanager
def unprivileged_project():
    """A project of a user who may not do everything, as which the body runs."""
    with unprivileged() as place:
        (place / ".claude" / "metrics").mkdir(parents=True, mode=0o700)
        yield place


@pytest.mark.parametrize(
    ("name", "file"), [("memory", "agent_memory.db"), ("metrics", "metrics/executions.jsonl"), ("metrics", "metrics")]
)
def test_what_cannot_be_opened_is_a_problem(name, file, monkeypatch, checks):
    with unprivileged_project() as place:
        path = place / ".claude" / file
        if not path.exists():
            path.write_text("")
        path.chmod(0o000)
        monkeypatch.chdir(place)
        found = checks()[name]
        path.chmod(0o700)
        monkeypatch.undo()

    assert found.status == "problem"
    assert "permission denied" in found.found
    assert "chmod" in found.remedy


def test_damaged_lines_are_counted_at_the_end_of_the_file_alone(kept, checks, monkeypatch):
    with executions(kept).open("ab") as stream:
        stream.writelines([b"damaged\n", b'{"timestamp": 5}\n', *powers(3)])
    found = checks()["metrics"]
    assert found.status == "warning"
    assert "2 damaged lines among the last 8, not counted" in found.found

    monkeypatch.setattr(module, "TAIL_BYTES", 2 * len(line()) + 10)
    assert checks()["metrics"].status == "ok"


def test_an_unfinished_line_is_told_and_the_next_one_mends_it(kept, checks):
    with executions(kept).open("ab") as stream:
        stream.write(line()[:50])
    found = checks()["metrics"]
    assert found.status == "warning"
    assert "its last line is unfinished" in found.found
    Metrics(kept / "metrics").append(json.loads(line()))
    assert "1 damaged line among" in checks()["metrics"].found


def test_a_line_that_is_being_written_is_not_unfinished(kept, checks, monkeypatch):
    first, rest, pieces = line()[:50], [line()[50:]], module.pieces
    with executions(kept).open("ab") as stream:
        stream.write(first)

    def pieces_beside_a_writer(*arguments):
        with executions(kept).open("ab") as stream:
            stream.writelines(rest)
        rest.clear()
        return pieces(*arguments)

    monkeypatch.setattr(module, "pieces", pieces_beside_a_writer)
    assert checks()["metrics"].status == "ok"
    assert rest == []


def test_a_file_of_one_endless_line_is_looked_at_in_part(kept, checks, monkeypatch):
    monkeypatch.setattr(module, "TAIL_BYTES", 100)
    executions(kept).write_bytes(b"x" * 1000)
    assert "unfinished" in checks()["metrics"].found


def test_a_damaged_manifest_is_a_problem(kept, checks):
    (kept / "metrics/rollups/manifest.json").write_text("{")
    found = checks()
    assert (found["rollups"].status, found["metrics"].status) == ("problem", "ok")
    assert "manifest.json is damaged" in found["rollups"].found


def remove(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("name", ["executions.jsonl", "rollups/manifest.json"])
def test_a_pipe_in_the_place_of_metrics_is_not_waited_for(name, kept, checks):
    replace_by_pipe(kept / "metrics" / name)
    found = checks()["metrics"]
    assert found.status == "problem"
    assert f"{name} is no file" in found.found


@pytest.mark.parametrize("spoil", [remove, empty])
@pytest.mark.parametrize("pattern", ["20*.gz", "raw.*.gz"])
def test_a_rolled_up_file_that_is_gone_is_named(pattern, spoil, kept, checks):
    (path,) = (kept / "metrics/rollups").glob(pattern)
    spoil(path)
    found = checks()["rollups"]
    assert found.status == "problem"
    assert path.name in found.found


def test_a_segment_that_is_shorter_than_what_was_taken_from_it_is_a_problem(kept, checks):
    with executions(kept).open("ab"):  # a slow writer, for whom the roll leaves the segment
        Rollups(kept / "metrics", clock=lambda: NOW).roll(0)
        (segment,) = (kept / "metrics/segments").glob("*.jsonl")
        assert checks()["rollups"].status == "ok"
        cut(segment)
    assert f"segments/{segment.name}" in checks()["rollups"].found


def test_many_missing_files_are_not_all_named(kept, checks):
    executions(kept).write_bytes(b"".join(line(age=40 + n) for n in range(10)))
    Rollups(kept / "metrics", clock=lambda: NOW).roll(30)
    for path in (kept / "metrics/rollups").glob("20*.gz"):
        path.unlink()
    assert checks()["rollups"].found.endswith(" …")


def test_what_a_rollup_replaces_meanwhile_is_not_missing(kept, checks, monkeypatch):
    days = module._missing

    def missing_before_a_rollup(directory, generation):
        with executions(kept).open("ab") as stream:
            stream.write(line(age=40))
        Rollups(directory, clock=lambda: NOW).roll(30)
        return days(directory, generation)

    monkeypatch.setattr(module, "_missing", missing_before_a_rollup)
    assert checks()["rollups"].status == "ok"


def test_files_beside_the_databases_that_others_may_read_are_warned_of(kept, checks):
    copy = kept / "agent_memory.db.damaged-1"
    copy.write_bytes(b"x" * 2_000_000)
    copy.chmod(0o644)
    found = checks()

    assert (found["privacy"].status, found["memory leftovers"].status) == ("warning", "warning")
    assert "2.0 MB" in found["memory leftovers"].found
    subprocess.run(["sh", "-c", found["privacy"].remedy], check=True)
    assert "privacy" not in checks()


def test_a_key_that_others_may_read_is_a_problem(kept, home, checks):
    key = home / ".claude" / "cache.key"
    key.chmod(0o640)
    found = checks()["cache key"]
    assert found.status == "problem"
    subprocess.run(["sh", "-c", found.remedy], check=True)
    assert "cache key" not in checks()


def test_the_databases_of_the_home_are_looked_at_too_and_have_a_name_of_their_own(kept, home, checks):
    (home / ".claude" / "state.db").write_bytes(b"no database" * 100)
    found = checks()
    assert (found["state"].status, found["user's state"].status) == ("ok", "problem")
    assert str(home) in found["user's state"].found


def test_the_home_project_is_looked_at_once(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    open_state(home / ".claude" / "state.db").close()
    with Workspace(screen=Screen()) as workspace:
        assert [check.name for check in health(workspace)].count("state") == 1
