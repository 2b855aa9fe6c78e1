"""What a script can rely on: streams, exit codes, JSON, and one clear line for whatever is wrong."""

import json
import os
import pty
import signal
import subprocess
import sys
from functools import partial

import pytest

import claude_force
from claude_force.cli import main
from claude_force.commands import given, targets
from claude_force.errors import UsageError
from claude_force.records import Step, Workflow
from claude_force.simulator import Behaviour, Simulator

from .journalled import KEY, write
from .processes import unprivileged
from .terminal import Terminal


@pytest.fixture
def simulator(simulator, monkeypatch):
    """The far end of all tests, with a key that can be told from other words."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    return simulator


@pytest.fixture
def far(simulator, project):
    """A project with an agent and a workflow, and a server to speak to."""
    write(project, "agents/echo.md", "---\nname: echo\ndescription: says\nmodel: haiku\n---\nYou echo.\n")
    write(
        project,
        "workflows/two.toml",
        'description = "two"\n[inputs]\nx = "1"\n'
        '[[steps]]\nid = "a"\nagent = "echo"\ntask = "{{task}} {{input.x}}"\n'
        '[[steps]]\nid = "b"\nagent = "echo"\ntask = "then"\ndependencies = ["a"]\n',
    )
    return simulator


@pytest.fixture
def force(capsys):
    """Call the command line in this process; returns exit status, stdout, stderr."""

    def call(*words):
        status = main(words)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def start(*words, **settings):
    return subprocess.Popen([sys.executable, "-m", "claude_force", *words], env=os.environ, text=True, **settings)


def test_stdout_has_the_answer_and_nothing_else(far, force):
    status, out, err = force("run", "agent", "echo", "[[simulate: reply=<<hello>>]]")
    assert (status, out) == (0, "hello\n")
    assert "claude-haiku-5-5" in err


def test_quiet_says_nothing_on_stderr(far, force):
    assert force("run", "agent", "echo", "[[simulate: reply=<<hello>>]]", "-q") == (0, "hello\n", "")


def test_json_of_run_agent_has_the_fields_of_the_contract(far, force):
    status, out, _ = force("run", "agent", "echo", "[[simulate: reply=<<hello>>]]", "--json")
    result = json.loads(out)
    assert status == 0
    assert result["success"] is True
    assert (result["schema_version"], result["agent"], result["output"]) == (1, "echo", "hello")
    assert set(result["usage"]) == {
        "input_tokens",
        "output_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
    }
    assert {
        "model",
        "stop_reason",
        "estimated_cost",
        "saved_cost",
        "cached",
        "execution_time_ms",
        "run_id",
        "error",
    } <= set(result)


def test_json_of_run_workflow_has_the_fields_of_the_contract(far, force):
    status, out, err = force("--json", "run", "workflow", "two", "go", "--input", "x=2")
    result = json.loads(out)
    assert status == 0
    assert set(result["results"]) == {"a", "b"}
    assert result["execution_order"] == ["a", "b"]
    assert result["census"] == {"planned": 2, "ok": 2, "cached": 0, "failed": 0, "skipped": 0}
    assert result["critical_path_seconds"] <= result["total_time_seconds"]
    assert result["estimated_cost"] == pytest.approx(sum(r["estimated_cost"] for r in result["results"].values()))
    assert result["run_id"] in err.splitlines()[0]
    assert far.requests[0].body["messages"][0]["content"][-1]["text"] == "go 2"


def test_options_that_all_commands_share_stand_before_or_after_the_command(far, force):
    before = json.loads(force("--json", "list", "agents")[1])
    after = json.loads(force("list", "agents", "--json")[1])
    assert before == after
    assert {"name", "description", "source"} <= set(before[0])


@pytest.mark.parametrize(
    ("marker", "status"),
    [
        ("status=400", 1),
        ("status=401", 77),
        ("status=403", 77),
        ("status=404", 1),
        ("status=429", 75),
        ("status=500", 1),
        ("status=529", 75),
        ("html=502", 1),
        ("html=413", 1),
        ("cut", 1),
        ("reset", 1),
        ("garbage", 1),
        ("error=overloaded_error", 75),
        ("stop=refusal", 1),
        ("stop=max_tokens", 1),
        ("empty", 1),
    ],
)
def test_a_run_without_its_answer_ends_in_one_line_and_its_own_status(far, force, marker, status):
    ended, _, err = force("run", "agent", "echo", f"[[simulate: {marker}]]", "-q")
    assert ended == status
    assert err.count("\n") == 1
    assert err.startswith("claude-force: error: ")


def test_the_text_of_a_cut_answer_is_still_printed(far, force):
    status, out, _ = force("run", "agent", "echo", "[[simulate: tokens=300]]", "--max-tokens", "20")
    assert status == 1
    assert out.startswith("[simulated]")


def test_an_error_in_json_goes_to_stdout_with_its_type_and_hint(far, force):
    status, out, _ = force("--json", "run", "agent", "ecko", "x")
    assert status == 2
    assert json.loads(out) == {
        "schema_version": 1,
        "success": False,
        "error": {
            "type": "not_found",
            "message": "no agent named 'ecko'",
            "retryable": False,
            "hint": "did you mean echo?",
        },
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "agent", "ecko", "x"), "did you mean echo?"),
        (("run", "agent", "echo", "x", "--model", "sonet"), "did you mean sonnet?"),
        (("run", "agent", "echo", "x", "--skill", "pyton"), "did you mean python?"),
        (("run", "agent", "echo", "x", "--modl", "y"), "--model"),
        (("run", "agent", "echo", "two", "words"), "quotes"),
        (("run", "agent", "echo", ""), "empty"),
        (("run", "agent", "echo", "x", "-f", "none.txt"), "cannot read none.txt"),
        (("run", "agent", "echo", "x", "-f", "/"), "cannot read /"),
        (("run", "agent", "echo", "x", "--max-tokens", "0"), "--max-tokens"),
        (("run", "agent", "echo", "x", "--timeout", "soon"), "--timeout"),
        (("run", "agent", "echo", "x", "--task", "y"), "more than once"),
        (("run", "agent", "echo", "x", "-o", "no/such/dir"), "no/such"),
        (("run", "agent", "echo", "x", "-o", "."), "directory"),
        (("run", "agent"), "NAME"),
        (("run", "workflow", "too"), "did you mean two?"),
        (("run", "workflow", "two", "--input", "y=1"), "known: x"),
        (("run", "workflow", "two", "--input", "y"), "K=V"),
        (("run", "workflow", "two", "--jobs", "2", "--sequential"), "not allowed"),
        (("run", "workflow", "none.toml"), "none.toml"),
        (("rnu", "agent"), "did you mean run?"),
        (("run", "agnet"), "did you mean agent?"),
        (("-C", "nowhere", "list", "agents"), "nowhere"),
        (("--config", "nowhere.json", "list", "agents"), "nowhere.json"),
    ],
)
def test_what_the_user_gets_wrong_is_said_in_one_line_and_nothing_is_sent(far, force, words, said):
    status, out, err = force(*words)
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    assert said in err
    assert not far.requests


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("", "no steps"),
        (
            '[[steps]]\nid="a"\nagent="echo"\ndependencies=["b"]\n[[steps]]\nid="b"\nagent="echo"\ndependencies=["a"]\n',
            "cycle",
        ),
        ('[[steps]]\nid="a"\nagent="echo"\ndependencies=["a"]\n', "depends on itself"),
        ('[[steps]]\nid="a"\nagent="echo"\n[[steps]]\nid="a"\nagent="echo"\n', "two steps"),
        ('[[steps]]\nid="a"\nagent="ecko"\n', "did you mean echo?"),
        ('[[steps]]\nid="a"\nagent="echo"\ntask="{{taks}}"\n', "did you mean task?"),
        ('[[steps]]\nid="a"\nagent="echo"\nmodell="haiku"\n', "did you mean model?"),
        ('[[steps]]\nid="a"\nagent="echo"\nfiles=["none.txt"]\n', "none.txt"),
        ('[[steps]]\nid="a"\nagent="echo"\nfiles=["../../etc/passwd"]\n', "no file"),
        ("[[steps]\n", "bad.toml:1"),
    ],
)
def test_a_bad_workflow_is_refused_before_anything_is_sent(far, force, project, steps, said):
    write(project, "workflows/bad.toml", steps)
    status, out, err = force("run", "workflow", "bad", "x")
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not far.requests


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "claude.json:1"),
        ("[]", "expected an object"),
        ('{"cache": {"ttl_hours": "24"}}', "cache.ttl_hours"),
        ('{"default_model": 5}', "default_model"),
    ],
)
def test_a_bad_config_is_refused_with_its_key_path(far, force, project, text, said):
    write(project, "claude.json", text)
    status, _, err = force("run", "agent", "echo", "x")
    assert status == 2
    assert said in err


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 2),
        (b"---\nname: odd\n", 2),
        (b"x" * (1 << 20) + b"x", 2),
        (b"\xffbad", 2),
        (b"---\r\nname: odd\r\ndescription: d\r\n---\r\nBody\r\n", 0),
        ("\ufeff---\nname: odd\ndescription: d\n---\nBody\n".encode(), 0),
        ("---\nname: odd\ndescription: d\n---\nBody\n".encode("utf-16"), 0),
        (b"# No front matter\n\nBody\n", 0),
    ],
)
def test_odd_agent_files_run_or_are_refused_in_one_line(far, force, project, content, status):
    (project / ".claude" / "agents" / "odd.md").write_bytes(content)
    ended, _, err = force("run", "agent", "odd", "x", "-q")
    assert ended == status
    assert err.count("\n") == (1 if status else 0)


def test_binary_and_huge_attachments_are_refused(far, force, project):
    (project / "binary").write_bytes(b"\x00\x01")
    (project / "latin").write_bytes("é".encode("latin-1"))
    (project / "huge.txt").write_bytes(b"x" * (33 << 20))
    for name, said in (("binary", "binary"), ("latin", "UTF-8"), ("huge.txt", "32 MiB")):
        status, _, err = force("run", "agent", "echo", "x", "-f", name)
        assert (status, said in err) == (2, True), err
    assert not far.requests


def test_without_a_key_it_says_what_to_do(project, force, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    status, _, err = force("run", "agent", "linter", "x")
    assert status == 77
    assert "ANTHROPIC_API_KEY" in err


def test_an_unreachable_server_is_told_with_its_address(project, force, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    monkeypatch.setenv("CLAUDE_FORCE_RETRIES", "0")
    status, _, err = force("run", "agent", "linter", "x")
    assert status == 1
    assert "127.0.0.1:9" in err


def test_the_key_is_never_shown(far, force):
    for marker, ended in {"status=401": 77, "status=500": 1, "garbage": 1, "reset": 1}.items():
        status, out, err = force("run", "agent", "echo", f"[[simulate: {marker}]]", "-v", "-v")
        assert status == ended
        assert KEY not in out + err


def test_a_time_limit_ends_with_124(far, force):
    status, _, err = force("run", "agent", "echo", "[[simulate: hang]]", "--timeout", "0.2")
    assert status == 124
    assert "time limit" in err


def test_a_schema_that_is_not_met_ends_with_5(far, force, project):
    (project / "s.json").write_text('{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}')
    good = force("run", "agent", "echo", '[[simulate: reply=<<{"n": 1}>>]]', "--schema", "s.json", "-q")
    assert good == (0, '{"n": 1}\n', "")
    status, out, err = force("run", "agent", "echo", "[[simulate: reply=<<no>>]]", "--schema", "s.json", "-q")
    assert (status, out) == (5, "no\n")
    assert "schema" in err


def test_partly_failed_is_status_3_and_the_rest_is_there(far, force, project):
    write(
        project,
        "workflows/part.toml",
        '[[steps]]\nid="bad"\nagent="echo"\ntask="[[simulate: status=400]]"\n'
        '[[steps]]\nid="good"\nagent="echo"\ntask="[[simulate: reply=<<fine>>]]"\n',
    )
    status, out, err = force("run", "workflow", "part", "--on-error", "continue")
    assert (status, out) == (3, "fine\n")
    assert "'bad'" in err
    assert force("run", "workflow", "part", "--jobs", "1")[0] == 1


def test_output_files_are_written_whole_and_stdout_stays_empty(far, force, project):
    status, out, _ = force("run", "agent", "echo", "[[simulate: reply=<<hello>>]]", "-o", "answer.txt")
    assert (status, out, (project / "answer.txt").read_text()) == (0, "", "hello\n")
    status, out, _ = force("run", "workflow", "two", "x", "-o", "out")
    assert status == 0
    assert sorted(p.name for p in (project / "out").iterdir()) == ["a.md", "b.md", "result.json"]
    assert json.loads((project / "out" / "result.json").read_text())["success"] is True


@pytest.mark.parametrize(
    ("words", "name", "said"),
    [
        (("agent", "echo"), "none/answer.md", "there is no directory none; mkdir -p 'none'"),
        (("agent", "echo"), "file/answer.md", "file is no directory; name a file in a directory"),
        (("agent", "echo"), "directory", "is a directory; name a file in it"),
        (("agent", "echo"), "n" * 300, "file name too long; name another file"),
        (("workflow", "two"), "file", "is no directory; name a directory"),
        (("workflow", "two"), "file/answers", "not a directory; name a directory that you can write to"),
    ],
)
def test_a_place_that_cannot_take_the_answer_is_told_before_anything_is_paid(far, force, project, words, name, said):
    (project / "file").touch()
    (project / "directory").mkdir()
    status, _, err = force("run", *words, "go", "-o", name)
    assert (status, far.requests) == (2, ())
    assert f"-o {name[:80]}: {said}" in err


def test_a_directory_that_is_made_as_told_takes_the_answer(far, force, project):
    err = force("run", "agent", "echo", "go", "-o", "my answers/a.md")[2]
    subprocess.run(["sh", "-c", err.rpartition("; ")[2]], check=True)
    assert force("run", "agent", "echo", "go", "-o", "my answers/a.md")[0] == 0
    assert (project / "my answers/a.md").is_file()


@pytest.mark.parametrize(
    ("take", "name"),
    [(targets.file, "a.md"), (targets.file, "new.md"), (partial(targets.Folder, warn=pytest.fail), ".")],
)
def test_a_directory_that_may_not_be_written_to_is_refused(take, name):
    with unprivileged() as place:
        (place / "a.md").touch()
        place.chmod(0o500)
        with pytest.raises(UsageError, match="cannot write") as refused:
            take(str(place / name))
    assert refused.value.hint.startswith("name a ")


def test_a_dry_run_shows_the_request_that_is_then_sent(far, force):
    status, out, _ = force("run", "agent", "echo", "do it", "--dry-run", "--json")
    planned = json.loads(out)["requests"][0]
    assert status == 0
    assert not far.requests
    force("run", "agent", "echo", "do it")
    sent = dict(far.requests[0].body)
    assert sent.pop("stream") is True
    assert planned["request"] == sent
    assert planned["estimated_input_tokens"] > 0
    assert planned["estimated_cost_at_most"] > 0


def test_a_dry_run_of_a_workflow_shows_every_request(far, force):
    out = force("run", "workflow", "two", "go", "--dry-run")[1]
    assert "the output of step 'a'" in out
    assert "2 requests" in out
    assert not far.requests


def test_the_task_comes_from_a_file_or_a_pipe(far, force, project):
    (project / "task.txt").write_text("[[simulate: reply=<<from file>>]]")
    assert force("run", "agent", "echo", "--task-file", "task.txt", "-q")[1] == "from file\n"
    for words in (
        ("run", "agent", "echo"),
        ("run", "agent", "echo", "-"),
        ("run", "agent", "echo", "--task-file", "-"),
    ):
        process = start(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.communicate("[[simulate: reply=<<piped>>]]", timeout=30)[0] == "piped\n"


def test_a_piped_document_can_be_attached(far, force):
    process = start("run", "agent", "echo", "look", "-f", "-", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    process.communicate("some diff", timeout=30)
    texts = [b["text"] for b in far.requests[0].body["messages"][0]["content"]]
    assert "some diff" in texts[0]
    assert 'name="stdin"' in texts[0]


def test_a_closed_pipe_ends_quietly(far):
    process = start("list", "models", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.wait(timeout=30) in {0, 141}
    assert process.stderr.read() == ""
    process.stderr.close()


def test_a_closed_stdout_is_told_in_one_line(far):
    script = f"{sys.executable} -m claude_force run agent echo x >&-"
    ended = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "stdout" in ended.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("what", [("agent", "echo", "[[simulate: hang]]"), ("workflow", "two", "[[simulate: hang]]")])
def test_a_signal_ends_a_hanging_call_with_130(far, how, what):
    process = start("run", *what, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    far.wait_for(1, timeout=30)
    process.send_signal(how)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "claude-force: error: interrupted"


def on_terminal(*words, answers=0, far=None):
    """Run a command on a terminal of its own and return its status and all that the terminal showed."""
    child, terminal = pty.fork()
    if not child:
        os.environ.pop("NO_COLOR", None)
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [sys.executable, "-m", "claude_force", *words])
    shown = b""
    if answers:
        far.wait_for(answers, timeout=30)
        os.write(terminal, b"\x03")
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:  # Linux's way of saying that the terminal was closed
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()


def shown_in_80_columns(*words):
    with Terminal(columns=80) as terminal:
        command = [sys.executable, "-m", "claude_force", *words]
        subprocess.run(command, stdout=terminal.stream, check=True, timeout=30)
        os.write(terminal.stream.fileno(), b"END")
        terminal.wait(lambda lines: any("END" in told for told in lines))
        return terminal.raw.splitlines()


def test_a_terminal_of_80_columns_shows_the_states_of_models_whole(project):
    rows = [row for row in shown_in_80_columns("list", "models") if row.startswith("claude-")]
    states = {row.rpartition("  ")[2].partition(",")[0] for row in rows}
    assert states == {"active", "deprecated"}


def test_a_terminal_of_80_columns_shows_more_of_a_task_than_a_word(project):
    rows = shown_in_80_columns("show", "workflow", "code-quality-check")
    row = next(row for row in rows if row.startswith("lint "))
    assert len(row) == 80
    assert len(row.rpartition("  ")[2]) > 20


def test_on_a_terminal_the_answer_is_shown_as_it_comes_and_cannot_steer_it(far):
    status, shown = on_terminal("run", "agent", "echo", "[[simulate: reply=<<a\x1b[31mred>>]]")
    assert status == 0
    assert "a[31mred" in shown
    assert "\x1b[31mred" not in shown


def test_on_a_terminal_a_workflow_draws_its_steps_and_a_timeline(far):
    status, shown = on_terminal("run", "workflow", "two", "[[simulate: latency=0.3s]]")
    assert status == 0
    assert "running" in shown
    assert "waiting" in shown
    assert "█" in shown or "#" in shown
    assert "2 steps: 2 ok" in shown


def test_ctrl_c_on_a_terminal_dies_by_the_signal_so_that_a_shell_loop_stops(far):
    status, shown = on_terminal("run", "agent", "echo", "[[simulate: hang]]", answers=1, far=far)
    assert status == -signal.SIGINT
    assert "interrupted" in shown
    assert "Traceback" not in shown


def test_no_task_on_a_terminal_is_an_error_and_not_a_wait(far):
    status, shown = on_terminal("run", "agent", "echo")
    assert status == 2
    assert 'no task; give it in quotes, as in: claude-force run agent echo "' in shown


def test_version_and_help_need_no_project(force, capsys):
    assert force("--version")[:2] == (0, f"claude-force {claude_force.__version__}\n")
    for words in (("-h",), ("run", "agent", "-h"), ("run", "-h")):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith("usage: claude-force")


def test_a_project_cannot_send_the_key_elsewhere(far, force, project):
    with Simulator(Behaviour()) as thief:
        write(project, "claude.json", json.dumps({"base_url": thief.url, "api_key_file": "/etc/passwd"}))
        status, _, err = force("run", "agent", "echo", "x")
        assert status == 0
        assert not thief.requests
        assert "base_url" in err


def test_a_projects_agent_may_not_lie_outside_it(far, force, project, tmp_path):
    outside = tmp_path / "outside.md"
    outside.write_text("secret prompt")
    (project / ".claude" / "agents" / "leak.md").symlink_to(outside)
    status, _, _ = force("run", "agent", "leak", "x")
    assert status == 2
    assert not far.requests


def test_answers_that_cannot_be_written_are_printed_and_the_run_fails(far, force, project):
    (project / "out" / "b.md").mkdir(parents=True)
    status, out, err = force("--json", "run", "workflow", "two", "x", "-o", "out")
    result = json.loads(out)
    assert status == 1
    assert result["success"] is False
    assert result["results"]["b"]["output"]
    assert "b.md" in err


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/stdin", path)])
def test_settings_that_are_no_file_are_refused_and_not_waited_for(far, project, make):
    make(project / ".claude" / "claude.json")
    process = start("list", "agents", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.wait(timeout=30) == 2
    assert "claude.json" in process.stderr.read()
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()


def test_settings_linked_from_elsewhere_are_refused(far, force, project, tmp_path):
    (tmp_path / "elsewhere.json").write_text('{"default_model": "opus"}')
    (project / ".claude" / "claude.json").symlink_to(tmp_path / "elsewhere.json")
    status, _, err = force("list", "agents")
    assert status == 2
    assert "leads out of the project" in err


@pytest.mark.parametrize(
    "words",
    [
        ("run", "agent", "echo", "--model", "haiku", "[[simulate: reply=<<ok>>]]"),
        ("run", "agent", "--model", "haiku", "echo", "[[simulate: reply=<<ok>>]]"),
        ("run", "agent", "echo", "--skill", "python", "--", "[[simulate: reply=<<ok>>]]"),
        ("run", "-q", "agent", "echo", "[[simulate: reply=<<ok>>]]"),
        ("-qC", ".", "run", "agent", "echo", "[[simulate: reply=<<ok>>]]"),
        ("run", "agent", "echo", "[[simulate: reply=<<ok>>]]", "-C", "."),
    ],
)
def test_options_may_stand_anywhere(far, force, words):
    status, out, err = force(*words)
    assert (status, out) == (0, "ok\n"), err


def test_an_input_that_was_written_as_the_task_is_noticed(far, force):
    status, _, err = force("run", "workflow", "two", "x=2")
    assert status == 2
    assert "--input x=2" in err
    assert not far.requests


@pytest.mark.parametrize("words", [("agent", "echo", "look", "-f"), ("workflow", "two", "look", "-f")])
def test_a_file_that_lies_in_the_project_and_not_here_is_told_as_it_can_be_typed_here(far, force, project, words):
    (project / "notes.txt").write_text("the notes")
    (project / "src").mkdir()
    os.chdir(project / "src")
    status, _, err = force("run", *words, "notes.txt")
    assert status == 2
    assert f"looked for in {project / 'src'}: for that of the project, write ../notes.txt" in err
    assert force("run", *words, "../notes.txt")[0] == 0


def test_a_file_that_is_nowhere_is_told_with_where_it_was_looked_for(far, force, project):
    status, _, err = force("run", "agent", "echo", "--task-file", "none.txt")
    assert (status, f"cannot read none.txt: no such file or directory; it was looked for in {project}" in err) == (
        2,
        True,
    )


def test_an_empty_pipe_is_not_attached(far):
    process = start("run", "agent", "echo", "look", "-f", "-", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert "stdin is empty" in process.communicate("", timeout=30)[1]
    assert process.returncode == 2
    assert not far.requests


def test_settings_that_nothing_follows_are_named(far, force, project):
    write(project, "claude.json", '{"version": 2, "alerts": {"daily_usd": 1}}')
    assert "alerts.daily_usd has no effect in this version" in force("run", "agent", "echo", "x")[2]


def test_retired_models_are_listed_on_request(force, project):
    assert "claude-3-opus" not in force("list", "models")[1]
    assert "claude-3-opus" in force("list", "models", "--all")[1]


def test_every_execution_is_remembered_without_its_secrets(far, force):
    force("run", "agent", "echo", f"the key is {KEY}")
    force("run", "agent", "echo", "[[simulate: status=400]] about bananas")
    sessions = json.loads(force("memory", "recent", "--json")[1])
    assert [(s["agent_name"], bool(s["success"])) for s in sessions] == [("echo", False), ("echo", True)]
    assert KEY not in json.dumps(sessions)
    found = json.loads(force("memory", "search", "bananas", "--json")[1])
    assert "bananas" in found[0]["task"]


def test_past_sessions_are_recalled_into_a_prompt_only_on_request(far, force):
    force("run", "agent", "echo", "how to peel [[simulate: reply=<<with care>>]]")
    force("run", "agent", "echo", "how to peel again")
    force("run", "agent", "echo", "how to peel again", "--recall", "2")
    plain, recalled = ("".join(b["text"] for b in r.body["messages"][0]["content"]) for r in far.requests[1:])
    assert "with care" not in plain
    assert "with care" in recalled
    assert 'name="past session of' in recalled


@pytest.mark.parametrize("said", ["same words\n", "\n  \nsame words", "same words \n\n"])
def test_the_same_words_are_the_same_task_wherever_they_come_from(far, force, project, said):
    assert force("run", "agent", "echo", "same words")[0] == 0
    (project / "task.txt").write_text(said)
    for words in ((said,), ("--task", said), ("--task-file", "task.txt")):
        assert "from the cache" in force("run", "agent", "echo", *words)[2]
    for words in ((), ("-",)):
        command = ("run", "agent", "echo", *words)
        process = start(*command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert "from the cache" in process.communicate(said, timeout=30)[1]
    assert force("run", "agent", "echo", "  same words")[0] == 0
    assert len(far.requests) == 2


def test_stdin_is_not_the_task_and_an_attached_file_at_once(far):
    words = ("run", "agent", "echo", "-", "-f", "-")
    process = start(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate("words", timeout=30)
    assert (process.returncode, out) == (2, "")
    assert "stdin cannot be the task and -f - at once" in err


def test_what_could_not_be_sent_for_want_of_a_key_is_neither_counted_nor_recalled(far, force, monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    assert force("run", "agent", "echo", "bake the bread")[0] == 77
    assert force("run", "workflow", "two", "bake the bread")[0] == 77
    assert json.loads(force("memory", "recent", "--json")[1]) == []
    counted = json.loads(force("analytics", "summary", "--json")[1])
    assert (counted["executions"], counted["successes"]) == (1, 0)  # the workflow's: its `status` has failed
    assert json.loads(force("status", "--json")[1])["workflows"][0]["state"] == "failed"


def test_a_session_without_a_result_is_never_recalled(far, force):
    assert force("run", "agent", "echo", "[[simulate: status=400]] bake the bread")[0] == 1
    assert len(json.loads(force("memory", "recent", "--json")[1])) == 1
    assert force("run", "agent", "echo", "bake the bread", "--recall", "3")[0] == 0
    assert "past session of" not in str(far.requests[-1].body)


STEP = '[[steps]]\nid = "a"\nagent = "{0}"\ntask = "x"\n{1}'


@pytest.mark.parametrize(
    ("file", "text", "words", "said"),
    [
        ("claude.json", '{"version": 2, "default_model": "sonet"}', ("agent", "plain"), "default_model: no model"),
        (
            "claude.json",
            '{"version": 2, "agents": {"plain": {"model": "gpt"}}}',
            ("agent", "plain"),
            "agent 'plain': model: no model named 'gpt'",
        ),
        (
            "agents/gpt.md",
            "---\nname: gpt\ndescription: d\nmodel: gpt\n---\nYou.\n",
            ("agent", "gpt"),
            "agent 'gpt': model: no model named 'gpt'",
        ),
        (
            "workflows/w.toml",
            STEP.format("plain", 'model = "huge"'),
            ("workflow", "w"),
            "workflow 'w': step 'a': model: no model named 'huge'",
        ),
        (
            "workflows/w.toml",
            STEP.format("plain", 'schema = "none.json"'),
            ("workflow", "w"),
            "workflow 'w': schema: cannot read none.json: no such file or directory; it was looked for in {0} and {1}",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_place(far, force, project, file, text, words, said):
    write(project, "agents/plain.md", "---\nname: plain\ndescription: says\n---\nYou echo.\n")
    write(project, file, text)
    status, out, err = force("run", *words, "go")
    assert (status, out) == (2, "")
    assert err.startswith(f"claude-force: error: {project / '.claude' / file}: ")
    assert said.format(project / ".claude" / "workflows", project) in err
    assert not far.requests


def test_a_model_that_a_variable_names_is_told_with_it(far, force, project, monkeypatch):
    write(project, "agents/plain.md", "---\nname: plain\ndescription: says\n---\nYou echo.\n")
    monkeypatch.setenv("CLAUDE_FORCE_MODEL", "foo")
    assert "error: CLAUDE_FORCE_MODEL: no model named 'foo'" in force("run", "agent", "plain", "go")[2]
    assert "error: no model named 'bar'" in force("run", "agent", "plain", "go", "--model", "bar")[2]
    assert "error: CLAUDE_FORCE_MODEL: no model named 'foo'" in force("analytics", "summary")[2]


def test_what_was_said_several_times_is_recalled_once(far, force):
    for _ in range(3):
        force("run", "agent", "echo", "how to peel [[simulate: reply=<<with care>>]]", "--refresh")
    force("run", "agent", "echo", "how to peel", "--recall", "2")
    sent = "".join(block["text"] for block in far.requests[-1].body["messages"][0]["content"])
    assert sent.count("with care") == 2, "once as what was asked for, once as what was answered"


@pytest.mark.parametrize(("name", "said"), [("none.json", "no such file"), (os.devnull, "not a regular file")])
def test_settings_that_cannot_be_read_are_told_with_the_reason(force, project, name, said):
    status, out, err = force("--config", name, "config", "show")
    assert (status, out) == (2, "")
    assert f"--config {name}: {said}" in err


def test_an_answer_that_ends_in_an_error_after_it_began_is_charged_without_certainty(far, force):
    assert force("run", "agent", "echo", "[[simulate: tokens=30 error=overloaded_error]]", "-q")[0] == 75
    daily = json.loads(force("budget", "show", "--json")[1])["caps"][0]
    assert daily["spent"] == daily["uncertain"] > 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
@pytest.mark.parametrize("words", [("-h",), ("run", "agent", "-h"), ("--version",), ("list", "models")])
def test_what_cannot_be_written_is_no_success(words):
    with open("/dev/full", "wb") as full, start(*words, stdout=full, stderr=subprocess.PIPE) as process:
        assert process.communicate(timeout=30)[1].startswith("claude-force: error: ")
    assert process.returncode == 1


def test_a_slow_reader_of_a_pipe_that_does_not_wait_gets_all_of_it(far, project):
    answer = "all of it " * 15_000
    step = '[[steps]]\nid = "a"\nagent = "echo"\ntask = "{{task}}"\nmax_tokens = 60000\n'
    write(project, "workflows/long.toml", step)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    task = f"[[simulate: reply=<<{answer}>>]]"
    with start("run", "workflow", "long", "-q", "-", stdin=subprocess.PIPE, stdout=writer) as process:
        os.close(writer)
        process.stdin.write(task)
        process.stdin.close()
        far.wait_for(1, timeout=30)
        with open(reader) as pipe:
            assert pipe.read().split() == answer.split()
        assert process.wait(timeout=30) == 0


def test_what_no_model_can_take_is_refused_before_it_is_sent(far, force, project):
    (project / "small.txt").write_text("x")
    (project / "big.txt").write_text("wo " * 3_000_000)
    status, out, err = force("run", "agent", "echo", "sum up", "-f", "small.txt", "big.txt", "--dry-run")
    assert (status, out) == (2, "")
    assert "tokens that claude-haiku-5-5 takes; the largest file is big.txt; attach less" in err


def test_a_run_that_has_nothing_to_do_is_no_success(far, force, project):
    step = '[[steps]]\nid = "each"\nagent = "echo"\nforeach = "src/*.py"\ntask = "{{item}}"\n'
    last = '[[steps]]\nid = "sum"\nagent = "echo"\ntask = "sum up"\ndependencies = ["each"]\n'
    write(project, "workflows/idle.toml", step + last)
    dry = force("run", "workflow", "idle", "--dry-run")
    assert dry[0] == 0
    assert dry[1].startswith("# skipped, for no file fits: each, sum\n")
    status, out, err = force("run", "workflow", "idle", "-q")
    assert (status, out) == (1, "")
    assert "nothing was run: no file fits src/*.py" in err
    assert not far.requests
    assert json.loads(force("runs", "list", "--json")[1])[0]["status"] == "failed"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-f", "src/*.py"), "without quotes, the shell finds the files of a glob"),
        (("-f", "lint"), "a task goes before -f, or after --"),
        (("-f", "none.py"), "it was looked for in"),
    ],
)
def test_a_file_that_is_not_there_is_told_with_what_may_have_been_meant(far, force, words, said):
    status, out, err = force("run", "agent", "echo", "task", *words)
    assert (status, out) == (2, "")
    assert said in err
    assert not far.requests


def test_an_input_that_names_files_is_not_empty():
    step = Step("a", "echo", files=("{{input.files}}", "{{input.sub}}x.py"), foreach=("x",))
    each = Step("b", "echo", foreach="{{input.each}}")
    source = Workflow("w", (step, each))
    for name in ("files", "each"):
        with pytest.raises(UsageError, match=f"the input '{name}' is empty"):
            given.refuse_empty({"other": "", name: " "}, source)
    given.refuse_empty({"files": "*.py", "each": "*.py", "sub": "", "other": ""}, source)


def test_remembering_can_be_switched_off(far, force, project):
    write(
        project,
        "claude.json",
        '{"features": {"memory_enabled": false, "cache_enabled": false, "metrics_enabled": false}}',
    )
    force("run", "agent", "echo", "x")
    made = {p.name for p in (project / ".claude").iterdir()} - {"state.db", "state.db.lock"}  # of money, not of answers
    assert made == {"agents", "claude.json", "workflows"}


def test_a_project_that_cannot_be_written_still_runs_agents(far, project):
    write(project, "agent_memory.db/x", "in the way")
    write(project, "cache", "in the way")
    process = start(
        "run", "agent", "echo", "[[simulate: reply=<<hello>>]]", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "hello\n")
    assert "warning" in err


def test_a_call_that_a_budget_refused_is_a_failure_and_nothing_to_recall(far, force, project):
    assert force("run", "workflow", "two", "go", "--max-cost", "0")[0] == 4
    assert force("run", "agent", "echo", "go", "--max-cost", "0")[0] == 4
    assert far.requests == ()
    assert json.loads(force("analytics", "summary", "--json")[1])["errors"] == {"budget_exceeded": 2}
    assert json.loads(force("memory", "recent", "--json")[1]) == []
    shown = json.loads(force("runs", "show", "last", "--json")[1])
    assert shown["results"]["a"]["error"]["type"] == "budget_exceeded"


def test_after_a_workflow_it_is_told_where_the_answers_are_that_it_did_not_print(far, force, project):
    write(project, "workflows/one.toml", '[[steps]]\nid = "a"\nagent = "echo"\n')
    status, _, err = force("run", "workflow", "two", "[[simulate: reply=<<first>>]]")
    told = [line for line in err.splitlines() if "--step STEP" in line]
    assert (status, len(told)) == (0, 1)
    words = told[0].partition("claude-force ")[2].replace("STEP", "a").split()
    assert force(*words)[1] == "first\n"
    others = (("two", "x", "-q"), ("two", "x", "-o", "answers"), ("two", "x", "--json"), ("one", "x"))
    assert [words for words in others if "--step" in force("run", "workflow", *words)[2]] == []


def test_every_execution_is_a_line_of_metrics_without_the_task(far, force, project):
    force("run", "agent", "echo", "something private")
    force("run", "agent", "echo", "something private")
    force("run", "agent", "echo", "[[simulate: status=400]]")
    run = json.loads(force("run", "workflow", "two", "go", "--json")[1])["run_id"]
    text = (project / ".claude" / "metrics" / "executions.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert "private" not in text
    assert [(line["success"], bool(line.get("cached"))) for line in lines[:3]] == [
        (True, False),
        (True, True),
        (False, False),
    ]
    assert [(line["workflow_id"], line["run_id"], line["step"]) for line in lines[3:]] == [
        ("two", run, "a"),
        ("two", run, "b"),
    ]
    summary = json.loads(force("analytics", "summary", "--json")[1])
    assert (summary["executions"], summary["successes"]) == (5, 4)


def test_files_can_be_attached_to_every_step_of_a_workflow_and_are_there_on_a_resume(far, force, project):
    write(project, "notes.txt", "the notes")
    notes = str(project / ".claude" / "notes.txt")
    assert force("run", "workflow", "two", "[[simulate: status=500]]", "-f", notes, "--no-cache")[0] == 1
    assert "the notes" in json.dumps(far.requests[-1].body)
    (project / ".claude" / "notes.txt").unlink()
    before = len(far.requests)
    assert force("run", "workflow", "--resume", "last", "--task", "go")[0] == 0
    assert all("the notes" in json.dumps(request.body) for request in far.requests[before:])


UNREAD = "what is piped in is not read: "


@pytest.mark.parametrize(
    ("what", "remedy"),
    [
        ("workflow two", "give - to make it the task, or -f - to attach it"),
        ("workflow two go", "-f - attaches it"),
        ("agent echo go", "-f - attaches it"),
        ("agent echo --task go", "-f - attaches it"),
    ],
)
def test_a_pipe_that_is_not_read_is_told_of_once_and_left_to_who_started_it(far, project, what, remedy):
    script = f"(echo one; echo two) | (sleep 0.1; {sys.executable} -m claude_force run {what}; cat)"
    ran = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert [line for line in ran.stderr.splitlines() if UNREAD in line] == [UNREAD + remedy]
    assert ran.stdout.endswith("one\ntwo\n")


@pytest.mark.parametrize("what", [("agent", "echo"), ("workflow", "two")])
def test_a_pipe_that_is_filled_only_later_is_told_of_at_the_end(far, what):
    words = ("run", *what, "[[simulate: latency=0.3s]]", "--no-cache")
    process = start(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    far.wait_for(1, timeout=30)
    assert process.communicate("late", timeout=30)[1].count(f"{UNREAD}-f - attaches it\n") == 1


def test_a_file_that_is_not_read_is_told_of_unless_a_loop_goes_through_it(far, project):
    (project / "list").write_text("one\ntwo\n")
    run = f"{sys.executable} -m claude_force run agent echo"
    once = subprocess.run(["sh", "-c", f"{run} go <list"], capture_output=True, text=True, timeout=60, check=False)
    loop = f'while read -r line; do {run} "$line"; done <list'
    looped = subprocess.run(["bash", "-c", loop], capture_output=True, text=True, timeout=60, check=False)
    assert UNREAD in once.stderr
    assert looped.stderr.count("run ") == 2
    assert UNREAD not in looped.stderr


def test_a_stdin_that_holds_nothing_is_no_matter(far):
    ended, open_end = os.pipe()
    idle, kept_open = os.pipe()
    os.close(open_end)
    for stdin in (subprocess.DEVNULL, ended, idle):
        process = start("run", "agent", "echo", "go", stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        _, err = process.communicate(timeout=30)
        assert (process.returncode, UNREAD in err) == (0, False)
    for descriptor in (ended, idle, kept_open):
        os.close(descriptor)


def test_a_closed_stdin_is_no_matter(far):
    script = f"{sys.executable} -m claude_force run agent echo go <&-"
    ran = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, UNREAD in ran.stderr) == (0, False)


def test_an_attached_pipe_is_read_and_not_told_of(far):
    words = ("run", "agent", "echo", "go", "-f", "-")
    process = start(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    _, err = process.communicate("the diff", timeout=30)
    assert UNREAD not in err
    assert "the diff" in json.dumps(far.requests[0].body)


def test_an_empty_run_id_does_not_begin_a_new_run(far, force):
    assert force("run", "workflow", "two", "x", "--resume", "")[0] == 2
    assert force("run", "workflow", "two", "x", "--from", " ")[0] == 2
    assert far.requests == ()


def test_a_workflow_that_needs_a_task_is_not_run_without_one(far, force, project):
    write(project, "workflows/one.toml", 'task = "the question"\n[[steps]]\nid = "a"\nagent = "echo"\n')
    write(project, "notes.txt", "notes")
    status, _, err = force("run", "workflow", "one")
    assert (status, far.requests) == (2, ())
    assert "workflow 'one' needs a task: the question; give it in quotes" in err
    assert force("run", "workflow", "one", "why?")[0] == 0
