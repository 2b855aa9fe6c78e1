"""`demo` and `simulate` as processes: what a person sees who tries things without a key."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys

import pytest


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working directory and an empty directory for temporary files; the home is empty in every test."""
    for name in ("work", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    return tmp_path


def start(*words, **settings):
    command = [sys.executable, "-m", "claude_force", *words]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=os.environ, text=True, **{**pipes, **settings})


def ended(*words):
    with start(*words) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def left_behind(place, home):
    found = {path for directory in (place, home) for path in directory.rglob("*")}
    return found - {place / "work", place / "temporary"}


def test_the_demo_runs_the_main_job_without_a_key_and_leaves_nothing_behind(place, home):
    status, out, err = ended("demo", "--latency", "0.05s")
    assert status == 0
    assert out.startswith("[simulated]")
    assert "simulated API" in err
    assert "no key is needed" in err
    assert "4 steps: 4 ok" in err
    assert "in parallel" in err
    assert left_behind(place, home) == set()


def test_the_first_steps_of_the_demo_overlap(place):
    status, out, _ = ended("demo", "--latency", "0.3s", "--json")
    run = json.loads(out)
    assert (status, run["success"], run["census"]["ok"]) == (0, True, 4)
    assert set(run["execution_order"][:3]) == {"lint", "types", "security"}
    alone = sum(step["execution_time_ms"] for step in run["results"].values()) / 1000
    assert run["total_time_seconds"] < alone


def test_what_the_user_has_set_does_not_change_the_demo(place, home, monkeypatch):
    (home / ".claude" / "agents").mkdir(parents=True)
    (home / ".claude" / "claude.json").write_text('{"base_url": "http://127.0.0.1:9", "api_key_file": "none"}')
    (home / ".claude" / "agents" / "linter.md").write_text("broken")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-real-key")
    status, out, err = ended("demo", "--latency", "0.01s")
    assert (status, out[:11]) == (0, "[simulated]"), err


def test_an_interrupted_demo_leaves_nothing_behind(place, home):
    with start("demo", "--latency", "60s") as process:
        for line in process.stderr:
            if "started" in line:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "claude-force: error: interrupted"
    assert left_behind(place, home) == set()


@pytest.mark.parametrize("words", [("demo", "--latency", "soon"), ("simulate", "--latency", "uniform:3s,1s")])
def test_a_latency_that_cannot_be_read_is_refused(place, words):
    status, out, err = ended(*words)
    assert (status, out) == (2, "")
    assert "latency" in err
    assert err.count("\n") == 1


@pytest.fixture
def server(place):
    """A running `simulate` on a free port, and its address."""
    with start("simulate", "--port", "0") as process:
        yield process, announced(process)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


def announced(process):
    line = process.stdout.readline()
    found = re.fullmatch(r"export ANTHROPIC_BASE_URL=(http://127\.0\.0\.1:\d+) ANTHROPIC_API_KEY=(\S+)\n", line)
    assert found, line
    return found[1]


def test_what_simulate_announces_can_be_used_as_it_is(server, monkeypatch):
    process, url = server
    monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "simulated")
    assert ended("run", "agent", "linter", "[[simulate: reply=<<hello>>]]", "-q") == (0, "hello\n", "")
    assert url in process.stderr.readline()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_simulate_quietly(server, how):
    process, _ = server
    process.send_signal(how)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.count("\n")) == (0, "", 1)


def test_ctrl_c_at_the_terminal_ends_simulate_quietly(place):
    child, terminal = pty.fork()
    if not child:
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [sys.executable, "-m", "claude_force", "simulate", "--port", "0"])
    shown = b""
    while b"export " not in shown or not shown.endswith(b"\n"):
        shown += os.read(terminal, 4096)
    os.write(terminal, b"\x03")
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:  # Linux's way of saying that the terminal was closed
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert b"Traceback" not in shown
    assert b"error" not in shown


def test_in_json_simulate_writes_one_object_and_the_address_to_stderr(place):
    with start("--json", "simulate", "--port", "0") as process:
        assert re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline())
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert json.loads(out)["success"] is True


def test_a_port_in_use_is_said_in_one_line(place):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, out, err = ended("simulate", "--port", str(port))
    assert (status, out) == (2, "")
    assert err.startswith(f"claude-force: error: cannot listen on 127.0.0.1:{port}: address already in use; ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--port", "65536"), "0 to 65535"),
        (("--port", "http"), "0 to 65535"),
        (("--fault", "529"), "F=RATE"),
        (("--fault", "nonsense=0.1"), "nonsense"),
        (("--fault", "529=2"), "529"),
        (("--requests-per-minute", "0"), "above 0"),
        (("--host", "no.such.host.invalid"), "cannot listen on no.such.host.invalid"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(place, words, said):
    status, out, err = ended("simulate", "--port", "0", *words)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_faults_keys_and_limits_are_those_asked_for(place, monkeypatch):
    monkeypatch.setenv("CLAUDE_FORCE_RETRIES", "0")
    words = ("simulate", "--port", "0", "--key", "the-key", "--fault", "529=1", "--seed", "3")
    with start(*words) as process:
        line = process.stdout.readline()
        monkeypatch.setenv("ANTHROPIC_BASE_URL", re.search(r"http://\S+", line)[0])
        assert "ANTHROPIC_API_KEY=the-key" in line
        monkeypatch.setenv("ANTHROPIC_API_KEY", "another-key")
        assert ended("run", "agent", "linter", "x")[0] == 77
        monkeypatch.setenv("ANTHROPIC_API_KEY", "the-key")
        assert ended("run", "agent", "linter", "x")[0] == 75
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
