"""`doctor`: what it finds on this machine, in settings, and at a real address."""

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from email.utils import formatdate
from importlib.util import find_spec
from pathlib import Path

import pytest

from claude_force import cli
from claude_force.commands import doctor, machine
from claude_force.simulator import Behaviour, Simulator

from .processes import unprivileged

KEY = "sk-ant-api03-not-to-be-seen"
MODELS = '{"data": [{"id": "claude-haiku-5-5"}], "has_more": false}'


@pytest.fixture
def checks(capsys):
    """Run `doctor --json`; return its status, its checks by name, and all that was printed."""

    def checks(*words):
        status = cli.main(["doctor", "--json", *words])
        printed = "".join(capsys.readouterr())
        said = json.loads(printed)
        assert said["success"] == (status == 0)
        return status, {c["name"]: c for c in reversed(said["checks"])}, printed

    return checks


@contextmanager
def server(answer):
    """A server that gives to each connection's request the answer that the function returns for its head."""
    heads = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    connection = listener.accept()[0]
                except OSError:
                    return
                with connection:
                    heads.append(connection.recv(65536).decode())
                    connection.sendall(answer(heads[-1]).encode())

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", heads
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def reply(head, *, date="", body=MODELS):
    lines = ["HTTP/1.1 200 OK", "connection: close", "content-type: application/json", f"content-length: {len(body)}"]
    if date:
        lines.append(f"date: {date}")
    return "\r\n".join([*lines, "", "" if head.startswith("HEAD") else body])


@pytest.fixture
def connected(monkeypatch):
    """A simulated API with a key for it in the environment."""
    with Simulator(Behaviour(key=KEY)) as api:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", api.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        yield api


def test_all_is_well_with_a_key_and_an_address(project, connected, checks):
    status, found, printed = checks()
    assert status == 0
    assert {check["status"] for check in found.values()} == {"ok"}
    assert {"python", "encoding", "home", "project", "disk", "settings", "models"} < found.keys()
    assert {"key", "proxy", "address", "clock", "api"} < found.keys()
    assert connected.url in found["address"]["found"]
    assert KEY not in printed


def test_text_has_a_line_for_each_check_and_its_remedy_below(project, monkeypatch, capsys):
    assert cli.main(["doctor", "--offline"]) == 1
    lines = capsys.readouterr().out.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("problem  key: there is none"))
    assert "→ set ANTHROPIC_API_KEY" in lines[at + 1]
    assert any(line.startswith("ok       python: ") for line in lines)


def test_without_a_key_the_address_is_tried_all_the_same(project, connected, monkeypatch, checks):
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    status, found, _ = checks()
    assert (status, found["key"]["status"], found["address"]["status"]) == (1, "problem", "ok")
    assert "api" not in found


def test_a_key_that_the_api_refuses_is_a_problem(project, connected, monkeypatch, checks):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-another")
    status, found, printed = checks()
    assert (status, found["key"]["status"], found["api"]["status"]) == (1, "ok", "problem")
    assert "401" in found["api"]["found"]
    assert "sk-ant-another" not in printed


def test_an_address_where_nothing_listens_is_a_problem_with_a_remedy(project, monkeypatch, checks):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    status, found, _ = checks()
    assert (status, found["address"]["status"]) == (1, "problem")
    assert f"127.0.0.1:{port}" in found["address"]["found"]
    assert found["address"]["remedy"] == "check the network, DNS and the proxy (HTTPS_PROXY)"


def test_outside_any_project_it_says_so(tmp_path, home, monkeypatch, checks):
    monkeypatch.chdir(tmp_path)
    assert checks("--offline")[1]["project"]["found"] == f"none here: what is run is kept in {home / '.claude'}"


def test_offline_sends_nothing(project, connected, checks):
    status, found, _ = checks("--offline")
    assert (status, connected.requests) == (0, ())
    assert "--offline" in found["address"]["found"]


def test_a_silent_server_is_given_up(project, monkeypatch, checks):
    monkeypatch.setattr(doctor, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        status, found, _ = checks()
    assert (status, found["address"]["status"]) == (1, "problem")


def test_an_answer_that_is_no_api_is_a_problem(project, monkeypatch, checks):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with server(lambda head: reply(head, body="<html>")) as (url, _):
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        status, found, _ = checks()
    assert (status, found["address"]["status"], found["api"]["status"]) == (1, "ok", "problem")
    assert "clock" not in found


def test_the_path_of_the_address_is_kept(project, monkeypatch, checks):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with server(reply) as (url, heads):
        monkeypatch.setenv("ANTHROPIC_BASE_URL", f"{url}/gate")
        status, found, _ = checks()
    assert status == 0
    assert "serves 1 model" in found["api"]["found"]
    assert [head.split()[1] for head in heads] == ["/gate/", "/gate/v1/models?limit=1000"]


@pytest.mark.parametrize(("default", "warned"), [("haiku", False), ("sonnet", True)])
def test_only_a_default_model_that_is_not_served_is_warned_of(default, warned, project, monkeypatch, capsys):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("CLAUDE_FORCE_MODEL", default)
    with server(reply) as (url, _):
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        assert cli.main(["doctor"]) == 0
    assert ("not among those that this key may use" in capsys.readouterr().out) == warned


def test_a_clock_that_differs_is_warned_of(project, monkeypatch, checks):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with server(lambda head: reply(head, date="Sun, 06 Nov 1994 08:49:37 GMT")) as (url, _):
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        status, found, _ = checks()
    assert (status, found["clock"]["status"]) == (0, "warning")


@pytest.mark.parametrize(
    ("seconds", "status", "words"),
    [
        (299, "ok", "agrees"),
        (-299, "ok", "agrees"),
        (600, "warning", "10 min ahead of"),
        (-7200, "warning", "120 min behind"),
    ],
)
def test_the_clock_may_be_five_minutes_off(seconds, status, words):
    check = machine.clock(formatdate(1_000_000, usegmt=True), 1_000_000 + seconds)
    assert check.status == status
    assert words in check.found


@pytest.mark.parametrize("date", [None, "", "yesterday", "Mon, 99 Foo 0000 00:00:00 GMT"])
def test_a_date_that_is_none_is_passed_over(date):
    assert machine.clock(date, 0) is None


@pytest.mark.parametrize(("free", "status"), [(2**40, "ok"), (100 * 2**20, "warning"), (2**20, "problem")])
def test_little_space_is_warned_of_and_none_is_a_problem(free, status):
    assert machine.space(free, Path("/")).status == status


@pytest.mark.parametrize(("name", "status"), [("utf-8", "ok"), ("UTF8", "ok"), ("ascii", "warning"), (None, "warning")])
def test_a_terminal_that_cannot_show_every_character_is_warned_of(name, status):
    assert machine.encoding(name).status == status


def test_an_ascii_stdout_still_shows_every_check(project):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(Path(cli.__file__).parent.parent)}
    command = [sys.executable, "-m", "claude_force", "doctor", "--offline"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert "warning  encoding: stdout is ascii" in done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY"])
def test_a_proxy_is_named_without_its_password_and_used(variable, project, monkeypatch, checks):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://api.invalid/v")
    with server(reply) as (url, heads):
        monkeypatch.setenv(variable, url.replace("http://", "http://me:hidden-word@"))
        status, found, printed = checks()
    assert status == 0
    assert found["proxy"]["found"] == url.removeprefix("http://")
    assert heads[0].startswith(
        "HEAD http://api.invalid/v/ HTTP/1.1\r\nhost: api.invalid\r\nproxy-authorization: Basic "
    )
    assert "hidden-word" not in printed


@pytest.mark.parametrize(
    ("variable", "value", "check"),
    [
        ("ANTHROPIC_BASE_URL", "ftp://x", "address"),
        ("https_proxy", "socks5://x:1", "address"),
        ("ANTHROPIC_API_KEY", "sk-ant-ö", "key"),
    ],
)
def test_a_variable_that_is_wrong_is_a_problem(variable, value, check, project, monkeypatch, checks):
    monkeypatch.setenv(variable, value)
    status, found, _ = checks()
    assert (status, found[check]["status"]) == (1, "problem")


def test_a_key_of_odd_shape_for_anthropic_is_warned_of(project, monkeypatch, checks):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "hunter2-hunter2")
    status, found, printed = checks("--offline")
    assert (status, found["key"]["status"]) == (0, "warning")
    assert "ANTHROPIC_API_KEY" in found["key"]["found"]
    assert "hunter2" not in printed


def test_a_gateway_may_have_keys_of_its_own_shape(project, monkeypatch, checks):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "https://gate.example")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token-of-the-gateway")
    _, found, _ = checks("--offline")
    assert (found["key"]["status"], found["key"]["found"]) == ("ok", "from ANTHROPIC_AUTH_TOKEN")


def test_a_key_in_a_header_counts(project, monkeypatch, checks):
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "X-Api-Key: sk-ant-x")
    assert checks("--offline")[1]["key"]["found"] == "from ANTHROPIC_CUSTOM_HEADERS"


def test_two_keys_are_warned_of(project, monkeypatch, capsys):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", KEY)
    assert cli.main(["doctor", "--offline"]) == 0
    assert "both set: the first counts" in capsys.readouterr().out


@pytest.fixture
def user(home):
    """The user's own settings, to be written."""
    (home / ".claude").mkdir(mode=0o700)
    return home / ".claude/claude.json"


def test_a_key_file_is_named_and_must_be_private(project, user, capsys):
    user.write_text('{"version": 2, "api_key_file": "key"}')
    file = user.with_name("key")
    file.write_text(KEY)
    file.chmod(0o644)
    assert cli.main(["doctor", "--offline"]) == 0
    out = capsys.readouterr().out
    assert f"ok       key: from {file}" in out
    assert f"chmod 600 '{file}'" in out
    file.chmod(0o600)
    cli.main(["doctor", "--offline"])
    assert "chmod" not in capsys.readouterr().out


def test_a_key_file_that_is_not_there_is_a_problem(project, user, checks):
    user.write_text('{"version": 2, "api_key_file": "key"}')
    status, found, _ = checks()
    assert (status, found["key"]["status"]) == (1, "problem")
    assert "no such file" in found["key"]["found"]


def test_a_key_file_that_is_no_text_is_a_problem(project, user, checks):
    user.write_text('{"version": 2, "api_key_file": "key"}')
    user.with_name("key").write_bytes(b"\xff\xfe\xfd")
    assert checks("--offline")[1]["key"]["status"] == "problem"


def test_the_sdk_may_sign_in_by_itself(project, user, checks):
    if not find_spec("anthropic"):
        pytest.skip("anthropic is not installed")
    user.write_text('{"version": 2, "client": "anthropic"}')
    status, found, _ = checks("--offline")
    assert status == 0
    assert "its own sign-in" in found["key"]["found"]


def test_a_client_that_is_not_installed_is_a_problem(project):
    """In a Python that has no site packages, the SDK is not there."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(cli.__file__).parent.parent),
        "CLAUDE_FORCE_CLIENT": "anthropic",
    }
    command = [sys.executable, "-S", "-m", "claude_force", "doctor", "--offline"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert "problem  extra anthropic: the client 'anthropic' needs anthropic" in done.stdout
    assert "pip install 'claude-force[anthropic]'" in done.stdout
    environment["CLAUDE_FORCE_CLIENT"] = "http"
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert "ok       extra anthropic: not installed" in done.stdout


def test_a_package_without_metadata_has_an_unknown_version(project, tmp_path):
    (tmp_path / "lib/anthropic").mkdir(parents=True)
    (tmp_path / "lib/anthropic/__init__.py").write_text("raise SystemExit('imported')")
    path = [str(tmp_path / "lib"), str(Path(cli.__file__).parent.parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    command = [sys.executable, "-S", "-m", "claude_force", "doctor", "--offline"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert "ok       extra anthropic: anthropic of unknown version" in done.stdout


def test_broken_settings_are_a_problem_and_the_rest_is_checked(project, connected, checks):
    (project / ".claude/claude.json").write_text('{"cache": 1}')
    status, found, _ = checks()
    assert (status, found["settings"]["status"], found["api"]["status"]) == (1, "problem", "ok")
    assert "cache" in found["settings"]["found"]
    assert found["settings"]["remedy"]


def test_the_files_of_the_settings_are_named(project, user, connected, checks):
    user.write_text('{"version": 2, "cache": {"enabled": false}}')
    assert str(user) in checks()[1]["settings"]["found"]


def agent(project, name, model):
    path = project / ".claude/agents" / f"{name}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"---\nname: {name}\ndescription: d\nmodel: {model}\n---\nText.\n")


@pytest.mark.parametrize(
    ("model", "exit_code", "status", "words"),
    [
        ("hiku", 1, "problem", "agent 'a': no model named 'hiku'"),
        ("claude-opus-4-1", 0, "warning", "agent 'a': claude-opus-4-1"),
    ],
)
def test_a_model_that_is_unknown_or_gone_is_told_with_who_uses_it(
    model, exit_code, status, words, project, connected, checks
):
    agent(project, "a", model)
    code, found, _ = checks()
    assert (code, found["models"]["status"]) == (exit_code, status)
    assert found["models"]["found"].startswith(words)


def test_an_agent_of_the_settings_without_a_file_is_a_problem(project, connected, checks):
    (project / ".claude/claude.json").write_text('{"version": 2, "agents": {"x": {"path": "none.md"}}}')
    status, found, _ = checks()
    assert (status, found["agents"]["status"]) == (1, "problem")


def test_a_project_that_others_can_write_to_is_warned_of(project, connected, checks):
    (project / ".claude").chmod(0o777)
    status, found, _ = checks()
    assert (status, found["project"]["status"]) == (0, "warning")
    assert "chmod go-w" in found["project"]["remedy"]


def test_state_that_others_can_read_is_warned_of(project, connected, checks):
    (project / ".claude/metrics").mkdir(mode=0o755)
    (project / ".claude/cache").mkdir(mode=0o700)
    (project / ".claude/state.db").touch(mode=0o644)
    status, found, _ = checks()
    assert (status, found["privacy"]["status"]) == (0, "warning")
    assert "metrics, state.db in" in found["privacy"]["found"]


def test_a_project_and_a_home_that_cannot_be_written_are_problems(monkeypatch, checks):
    with unprivileged() as place:
        (place / ".claude").mkdir(mode=0o500)
        monkeypatch.chdir(place)
        monkeypatch.setenv("CLAUDE_FORCE_HOME", str(place / ".claude/home"))
        status, found, _ = checks("--offline")
        monkeypatch.undo()
    assert (status, found["project"]["status"], found["home"]["status"]) == (1, "problem", "problem")
    assert found["project"]["remedy"] == f"chmod u+rwx '{place}/.claude'"
    assert "CLAUDE_FORCE_HOME" in found["home"]["remedy"]


def test_a_directory_of_another_user_is_not_to_be_changed_without_rights():
    with unprivileged():
        assert machine.writable(Path("/usr")) == "sudo chown -R \"$(id -un)\" '/usr'"


def test_the_command_that_is_told_can_be_typed_whatever_the_directory_is_called(tmp_path, monkeypatch, checks):
    place = tmp_path / 'it\'s a "$project"'
    (place / ".claude").mkdir(parents=True)
    (place / ".claude").chmod(0o777)
    (place / ".claude/metrics").mkdir(mode=0o755)
    monkeypatch.chdir(place)
    _, found, _ = checks("--offline")
    for name in ("project", "privacy"):
        command = found[name]["remedy"].partition(": ")[0]
        assert subprocess.run(["sh", "-c", command], capture_output=True, check=False).returncode == 0, command
    _, found, _ = checks("--offline")
    assert (found["project"]["status"], "privacy" in found) == ("ok", False)


def test_a_file_that_should_hold_the_key_is_named_if_it_does_not(project, user, checks):
    user.write_text('{"version": 2, "api_key_file": "key"}')
    file = user.with_name("key")
    file.touch(mode=0o600)
    _, found, _ = checks("--offline", "--cron")
    for name in ("key", "cron key"):
        assert (found[name]["status"], found[name]["found"]) == ("problem", f"there is none in {file}")
        assert found[name]["remedy"] == f"write it into '{file}'"


def test_a_file_that_may_not_be_read_is_told_with_the_command_that_lets_it_be(monkeypatch, checks):
    with unprivileged() as place:
        (place / ".claude").mkdir(mode=0o700)
        for name in ("claude.json", "key"):
            (place / ".claude" / name).write_text('{"version": 2}')
            (place / ".claude" / name).chmod(0)
        monkeypatch.chdir(place)
        monkeypatch.setenv("CLAUDE_FORCE_HOME", str(place / ".claude"))
        settings = checks("--offline")[1]["settings"]["remedy"]
        (place / ".claude/claude.json").chmod(0o600)
        (place / ".claude/claude.json").write_text('{"version": 2, "api_key_file": "key"}')
        key = checks("--offline")[1]["key"]["remedy"]
        monkeypatch.undo()
    assert settings == f"chmod u+r '{place}/.claude/claude.json'"
    assert key == f"chmod u+r '{place}/.claude/key'"


def test_nothing_is_wrong_without_a_remedy(project, connected, checks):
    (project / ".claude/state.db").mkdir()
    (project / ".claude/claude.json").mkdir()
    for _, found, _ in (checks(), checks("--cron")):
        assert [name for name, check in found.items() if check["status"] != "ok" and not check["remedy"]] == []
    (project / ".claude/claude.json").rmdir()
    assert checks()[1]["limits"]["remedy"] == "mend state.db, as is said above"


def test_a_home_that_is_a_file_is_a_problem(tmp_path, monkeypatch, checks):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLAUDE_FORCE_HOME", str(tmp_path / "file"))
    status, found, _ = checks("--offline")
    assert (status, found["project"]["status"]) == (1, "problem")
    assert "is no directory" in found["project"]["found"]
