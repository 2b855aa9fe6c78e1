"""Signals to a real process, wherever it waits: what was in flight is recorded as interrupted, and it ends."""

import json
import os
import pty
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from .processes import started

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HANG = "[[simulate: hang]]"


@pytest.fixture
def far(simulator, project):
    """A server to speak to, and a project with an agent and workflows that hang, from the start or in the end."""
    agents, workflows = project / ".claude" / "agents", project / ".claude" / "workflows"
    agents.mkdir()
    workflows.mkdir()
    (agents / "echo.md").write_text("---\nname: echo\ndescription: says\nmodel: haiku\n---\nYou echo.\n")
    step = '[[steps]]\nid = "{0}"\nagent = "echo"\ntask = "{0} {1}"\n'
    (workflows / "two.toml").write_text(step.format("a", HANG) + step.format("b", HANG))
    (workflows / "late.toml").write_text(
        step.format("first", "[[simulate: reply=<<ok>>]]") + step.format("last", HANG) + 'dependencies = ["first"]\n'
    )
    return simulator


def ended(process):
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def executions(project):
    path = project / ".claude" / "metrics" / "executions.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_until(met):
    """Return once `met()` is true; raises AssertionError after 20 seconds."""
    end = time.monotonic() + 20
    while not met():
        assert time.monotonic() < end
        threading.Event().wait(0.01)


@contextmanager
def held(project):
    """Hold the memory's database, so that nothing can be stored in it; yields its path."""
    path = project / ".claude" / "agent_memory.db"
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        yield path
    finally:
        connection.close()


@pytest.mark.parametrize("how", SIGNALS)
def test_all_that_is_in_flight_is_recorded_as_interrupted(far, project, how):
    with started("run", "workflow", "two", "-q") as process:
        far.wait_for(2, timeout=30)
        process.send_signal(how)
        assert ended(process)[0] == 130
    assert [(line["step"], line["success"], line["error_type"]) for line in executions(project)] == [
        ("a", False, "interrupted"),
        ("b", False, "interrupted"),
    ]
    with sqlite3.connect(project / ".claude" / "agent_memory.db") as connection:
        assert connection.execute("SELECT success, count(*) FROM sessions").fetchall() == [(0, 2)]
    connection.close()


@pytest.mark.parametrize("how", SIGNALS)
def test_a_single_agent_is_recorded_as_interrupted(far, project, how):
    with started("run", "agent", "echo", HANG, "-q") as process:
        far.wait_for(1, timeout=30)
        process.send_signal(how)
        assert ended(process) == (130, "", "claude-force: error: interrupted\n")
    assert [line["error_type"] for line in executions(project)] == ["interrupted"]


def test_what_had_ended_before_is_kept_as_it_was(far, project):
    with started("run", "workflow", "late", "--json", "-q") as process:
        far.wait_for(2, timeout=30)
        process.send_signal(signal.SIGTERM)
        status, out, _ = ended(process)
    result = json.loads(out)
    assert (status, result["success"], result["error"]["type"]) == (130, False, "interrupted")
    assert {name: step["status"] for name, step in result["results"].items()} == {"first": "ok", "last": "failed"}
    assert [line.get("error_type") for line in executions(project)] == [None, "interrupted"]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_wait_between_two_tries_ends(far, project, monkeypatch, jobs):
    monkeypatch.setenv("CLAUDE_FORCE_RETRIES", "1")
    task = "[[simulate: status=529 retry-after=100]]"
    steps = [f'[[steps]]\nid = "{name}"\nagent = "echo"\ntask = "{name} {task}"\n' for name in "ab"]
    (project / ".claude" / "workflows" / "busy.toml").write_text("".join(steps))
    with started("run", "workflow", "busy", "--jobs", jobs) as process:
        for line in process.stderr:
            if "retrying in" in line:
                break
        process.send_signal(signal.SIGINT)
        assert ended(process)[0] == 130
    assert "interrupted" in [line.get("error_type") for line in executions(project)]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_connection_that_is_not_taken_ends(far, project, monkeypatch, jobs):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for other in waiting:  # the system takes one or two that nobody accepts, and lets the next ones wait
            other.setblocking(False)
            with suppress(BlockingIOError):
                other.connect(address)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://{}:{}".format(*address))
        with started("run", "workflow", "two", "--jobs", jobs, "-q") as process:
            wait_until(lambda: is_connecting(process.pid, address[1]))
            process.send_signal(signal.SIGINT)
            assert ended(process)[0] == 130
        for other in waiting:
            other.close()
    assert {line["error_type"] for line in executions(project)} == {"interrupted"}


def is_connecting(pid, port):
    """Whether the process has a socket that waits for this port of the loopback to answer."""
    try:
        names = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except FileNotFoundError:
        return False
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table][1:]
    return any(f"socket:[{r[9]}]" in names and r[2].endswith(f":{port:04X}") and r[3] == "02" for r in rows)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_handshake_that_gets_no_answer_ends(far, project, monkeypatch, jobs):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", f"https://127.0.0.1:{silent.getsockname()[1]}")
        with started("run", "workflow", "two", "--jobs", jobs, "-q") as process:
            silent.settimeout(30)
            accepted, _ = silent.accept()
            with accepted:
                accepted.settimeout(30)
                assert accepted.recv(1)
                process.send_signal(signal.SIGTERM)
                assert ended(process)[0] == 130
    assert "interrupted" in [line["error_type"] for line in executions(project)]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_resolver_that_hangs_is_left_behind(far, project, monkeypatch, jobs):
    script = (
        "import socket, sys, threading\n"
        "def hang(*_, **__):\n    sys.stdout.write('asked\\n'); sys.stdout.flush(); threading.Event().wait()\n"
        "socket.getaddrinfo = hang\n"
        "from claude_force.__main__ import main\nmain()"
    )
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://far.example")
    command = [sys.executable, "-c", script, "run", "workflow", "two", "--jobs", jobs, "-q"]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **streams) as process:
        assert process.stdout.readline() == "asked\n"
        process.send_signal(signal.SIGINT)
        assert ended(process)[0] == 130
    assert {line["error_type"] for line in executions(project)} == {"interrupted"}


def test_a_second_ctrl_c_ends_at_once_while_the_first_one_is_recorded(far, project):
    with started("run", "workflow", "two", "-q") as process:
        far.wait_for(2, timeout=30)
        with held(project):
            process.send_signal(signal.SIGINT)
            wait_until(lambda: executions(project))
            process.send_signal(signal.SIGINT)
            assert ended(process) == (-signal.SIGINT, "", "")


def test_another_signal_does_not_disturb_the_recording_and_a_lock_does_not_hold_it_up(far, project):
    with started("run", "workflow", "two", "-q") as process:
        far.wait_for(2, timeout=30)
        with held(project):
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: executions(project))
            process.send_signal(signal.SIGHUP)
            assert ended(process) == (130, "", "")  # not even the warning for which it would have waited


@pytest.mark.parametrize("signals", [(signal.SIGTERM,), (signal.SIGTERM, signal.SIGINT)])
def test_a_wait_in_which_no_python_runs_ends_too(far, project, signals):
    with held(project) as database, started("run", "agent", "echo", HANG, "-q") as process:
        wait_until(lambda: has_open(process.pid, database))  # it is being prepared, which has to wait
        for number in signals:
            process.send_signal(number)
        assert ended(process)[0] in {130, -signal.SIGINT}


def has_open(pid, path):
    names = []
    with suppress(FileNotFoundError):
        names = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    return str(path) in names


def ignoring(number):
    return lambda: signal.signal(number, signal.SIG_IGN)


@pytest.mark.parametrize("ignored", SIGNALS)
def test_a_signal_that_the_parent_has_ignored_stays_ignored(far, ignored):
    task = "[[simulate: latency=0.3s reply=<<done>>]]"
    with started("run", "agent", "echo", task, "-q", preexec_fn=ignoring(ignored)) as process:
        far.wait_for(1, timeout=30)
        process.send_signal(ignored)
        assert ended(process) == (0, "done\n", "")


def test_ctrl_c_twice_on_a_terminal_dies_by_the_signal(far, project):
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [sys.executable, "-m", "claude_force", "run", "workflow", "two"])
    far.wait_for(2, timeout=30)
    with held(project):
        os.write(terminal, b"\x03")
        wait_until(lambda: executions(project))
        os.write(terminal, b"\x03")
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(terminal)
    assert status == -signal.SIGINT


@pytest.mark.parametrize("words", [("list", "agents"), ("run", "agent", "echo", "x"), ("--help",), ("run", "-h")])
def test_a_reader_that_goes_away_ends_it_quietly(far, words):
    with started(*words) as process:
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(timeout=30) in {0, 141}
    assert "Traceback" not in err
    assert "Exception" not in err
    assert "error" not in err


def test_a_reader_of_the_progress_that_goes_away_does_not_cost_the_answer(far):
    with started("run", "workflow", "late", "--timeout", "1") as process:
        process.stderr.close()
        assert process.stdout.read() == ""
        assert process.wait(timeout=30) == 124
    with started("run", "agent", "echo", "[[simulate: reply=<<hello>>]]") as process:
        process.stderr.close()
        assert process.stdout.read() == "hello\n"
        assert process.wait(timeout=30) == 0
