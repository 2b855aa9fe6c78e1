"""The table of commands, the parser made from it, and how errors and signals become an exit status."""

import argparse
import json
import os
import signal
import subprocess
import sys
from importlib import import_module

import pytest

from claude_force import __version__
from claude_force.cli import main
from claude_force.errors import NotFound, UsageError
from claude_force.parsing import COMMANDS, GROUPS, build, parse
from claude_force.simulator import FAULTS

NEEDED = {
    "run agent": ("echo",),
    "run workflow": ("w",),
    "show agent": ("echo",),
    "show skill": ("s",),
    "show workflow": ("w",),
    "show run": ("last",),
    "graph": ("w",),
    "why": ("last", "s"),
    "runs show": ("last",),
    "runs diff": ("last", "last"),
    "runs replay": ("last",),
    "memory search": ("words",),
    "memory show": ("1",),
    "budget set": ("daily", "5"),
    "budget settle": ("--all", "--at", "0"),
    "route": ("echo", "words"),
    "recommend": ("words",),
    "completion": ("bash",),
}
"""What a command cannot do without."""


@pytest.fixture
def force(capsys):
    def call(*words):
        try:
            status = main(words)
        except SystemExit as ended:
            status = ended.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def words_of(command):
    return (*command.split(), *NEEDED.get(command, ()))


def python(script, *words):
    """Run a new interpreter; it is not measured, because a measurement loads modules of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    command = [sys.executable, "-c", script, *words]
    return subprocess.run(command, env=environment, text=True, capture_output=True, timeout=30, check=False)


def test_options_belong_to_a_command():
    functions = {(module, function) for module, function, _ in COMMANDS.values()}
    for module in {module for module, _ in functions}:
        body = import_module(f"claude_force.commands.{module}")
        for name in vars(body):
            if name.endswith("_options") and getattr(getattr(body, name), "__module__", "") == body.__name__:
                assert (module, name.removesuffix("_options")) in functions or name.startswith("_"), name


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_table_is_there_with_its_options_and_its_help(force, command):
    module, function, summary = COMMANDS[command]
    body = import_module(f"claude_force.commands.{module}")
    assert callable(getattr(body, function))
    status, out, err = force(*command.split(), "--help")
    assert (status, err) == (0, "")
    assert f"usage: claude-force {command}" in out
    assert summary.split()[-1] in out


@pytest.mark.parametrize("command", COMMANDS)
def test_shared_options_stand_on_either_side_of_every_command(command):
    shared = ("--json", "-q", "-v", "-v", "--color", "never")
    before, after = parse((*shared, *words_of(command))), parse((*words_of(command), *shared))
    assert before == after
    assert (after.json, after.quiet, after.verbose, after.color) == (True, True, 2, "never")
    neither = parse(words_of(command))
    assert (neither.json, neither.quiet, neither.verbose, neither.color) == (False, False, 0, "auto")


@pytest.mark.parametrize("command", COMMANDS)
def test_options_of_a_command_do_not_clash_with_the_shared_ones_and_have_a_help(command):
    parser = build(command)
    for word in command.split():
        choices = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices
        parser = choices[word]
    assert all(action.help for action in parser._actions if action.option_strings)


def test_the_parser_of_all_commands_knows_what_that_of_one_does():
    whole, one = build(None), build("run agent")
    words = ("run", "agent", "echo", "x", "--model", "haiku")
    assert vars(whole.parse_args(words)) == vars(one.parse_args(words))


def test_help_lists_every_command_and_goes_to_stdout(force):
    status, out, err = force("--help")
    assert (status, err) == (0, "")
    for name in {command.split()[0] for command in COMMANDS}:
        assert f"    {name} " in out
    assert "None" not in out


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_lists_its_commands(force, group):
    out = force(group, "-h")[1]
    assert all(c.split()[1] in out for c in COMMANDS if c.startswith(f"{group} "))


def test_without_a_command_help_goes_to_stderr_with_status_2(force):
    status, out, err = force()
    assert (status, out) == (2, "")
    assert "commands:" in err


def test_the_version_is_that_of_the_package(force):
    assert force("--version") == (0, f"claude-force {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("lits", "agents"), "did you mean list?"),
        (("list", "agnets"), "did you mean agents?"),
        (("list",), "WHAT"),
        (("run", "agent", "echo", "--mod", "x"), "did you mean --model?"),
        (("run", "agent", "echo", "--tim=3"), "did you mean --timeout?"),
        (("run", "agent", "echo", "--timeout=-3"), "expected seconds above 0, or a time span such as 90s"),
        (("run", "agent", "echo", "--max-tokens", "many"), "expected a whole number above 0"),
        (("memory", "recent", "--limit", str(2**63)), "expected a whole number above 0, of 9 digits at most"),
        (("runs", "list", "--limit", "1" + "0" * 5000), "expected a whole number above 0, of 9 digits at most"),
        (("run", "agent", "echo", "x", "--recall", str(2**63)), "expected a whole number above 0"),
        (("run", "agent", "echo", "x", "--jitter", str(2**63)), "expected seconds above 0"),
        (("run", "agent", "echo", "--task", "--foo"), "a value that begins with - is joined to its option by ="),
        (("run", "agent", "echo", "x", "--modle", "y"), "did you mean --model?"),
        (("run", "workflow", "w", "--input", "a=1", "a=2"), "--input a is given more than once"),
        (("run", "workflow", "w", "--input", "files=a.py", "b.py"), "a glob stands in quotes"),
        (("list", "agents", "--color", "pink"), "pink"),
        (("list", "agents", "more"), "unexpected argument 'more'"),
        (("--colour", "never", "list", "agents"), "did you mean --color?"),
        (("completion", "tcsh"), "bash"),
        (("completion",), "bash|zsh|fish"),
        (("config", "show", "foo"), "'foo'; claude-force config show takes no argument"),
        (("demo", "x"), "'x'; claude-force demo takes no argument"),
        (("show", "agent", "a", "b"), "'b'; see claude-force show agent -h"),
        (("run", "agent", "a", "two", "words"), "'words'; put a task of several words in quotes"),
        (("--color", "x", "run", "agent", "a", "b"), "(choose from 'auto', 'always', 'never')\n"),
        (("--bogus",), "no option named '--bogus'; known: --color"),
        (("show", "linter"), "as in: claude-force show agent linter (or skill, workflow, run)"),
        (("run", "linter", "hi"), "as in: claude-force run agent linter (or workflow)"),
        (("show", "agnt"), "did you mean agent?"),
        (("help",), "write claude-force -h"),
        (("version",), "write claude-force --version"),
        (("run", "agent", "echo", "--task-file", "nope"), "no such file or directory; it was looked for in"),
        (("route", "some task"), "AGENT is missing; the agent comes before the task, as in: claude-force route AGENT"),
        (("run", "workflow", "code-quality-chek.toml"), "no such file; did you mean code-quality-check?"),
        (("config", "migrate", "/dev/zero"), "/dev/zero: not a regular file"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(force, monkeypatch, words, said):
    monkeypatch.setattr("sys.stdin", None)
    status, out, err = force(*words)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_every_fault_that_can_be_simulated_is_in_the_help(force):
    shown = force("simulate", "-h")[1]
    assert all(name in shown for name in FAULTS)


def test_the_names_known_in_a_group_are_its_own():
    with pytest.raises(NotFound) as caught:
        parse(("config", "xyz"))
    assert caught.value.hint == "known: migrate, show"


def test_an_error_of_the_parser_is_json_where_json_is_asked_for(force):
    status, out, _ = force("list", "agnets", "--json")
    assert status == 2
    assert json.loads(out)["error"]["type"] == "not_found"


def test_values_of_options_are_not_taken_for_a_command():
    assert parse(("-C", "run", "--config", "show", "--color", "auto", "list", "models")).command == "list models"
    assert parse(("-Crun", "--config=show", "list", "models")).command == "list models"


def test_a_task_may_begin_with_a_dash_after_two():
    assert parse(("run", "agent", "echo", "--", "--really")).task == "--really"
    assert parse(("run", "agent", "echo", "-q", "--", "- item one")).task == "- item one"
    assert parse(("run", "workflow", "w", "-q", "-")).task == "-"
    several = parse(("run", "agent", "echo", "-f", "a.py", "b.py", "--", "--really"))
    assert (several.file, several.task) == (["a.py", "b.py"], "--really")
    assert parse(("run", "agent", "echo", "--task=--really")).task_text == "--really"


def test_another_directory_can_be_worked_in(force, project, tmp_path, monkeypatch):
    (project / ".claude" / "agents").mkdir()
    (project / ".claude" / "agents" / "here.md").write_text("---\nname: here\ndescription: d\n---\nHere.\n")
    monkeypatch.chdir(tmp_path)
    assert "here" not in [a["name"] for a in json.loads(force("--json", "list", "agents")[1])]
    assert "here" in [a["name"] for a in json.loads(force("--json", "-C", "project", "list", "agents")[1])]


@pytest.mark.parametrize(("place", "said"), [("none", "no such file or directory"), ("file", "not a directory")])
def test_a_directory_that_is_none_is_named(force, project, place, said):
    (project / "file").write_text("")
    assert force("-C", place, "list", "agents") == (2, "", f"claude-force: error: -C {place}: {said}\n")


def test_a_working_directory_that_is_gone_is_said_so(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'cd "$1" && rmdir "$1" && exec "$2" -m claude_force list agents'
    ended = subprocess.run(
        ["sh", "-c", script, "sh", gone, sys.executable],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("claude-force: error: the working directory is gone; ")


def test_a_defect_ends_in_one_line_with_status_1(force, monkeypatch):
    monkeypatch.setitem(COMMANDS, "init", ("setup", "nowhere", "a command whose body is missing"))
    status, out, err = force("init")
    assert (status, out) == (1, "")
    assert err.startswith("claude-force: error: TypeError: ")
    assert "defect" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_command_ends_it_with_130(how):
    process = subprocess.Popen(
        [sys.executable, "-m", "claude_force", "run", "agent", "linter"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ,
    )
    process.stdin.write(b"half a task")
    process.stdin.flush()
    wait_until_it_reads(process)
    process.send_signal(how)
    try:
        out, err = process.stdout.read(), process.stderr.read()
        assert process.wait(timeout=30) == 130
        assert (out, err) == (b"", b"claude-force: error: interrupted\n")
    finally:
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()


def wait_until_it_reads(process):
    """Return once the process has taken what was written to its stdin."""
    import array
    import fcntl
    import termios

    unread = array.array("i", [1])
    while unread[0]:
        fcntl.ioctl(process.stdin, termios.FIONREAD, unread)


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("rnu",)])
def test_what_needs_no_project_loads_none(words):
    script = (
        "import sys\nfrom claude_force.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print(*(m for m in sys.modules if m.startswith('claude_force.')), file=sys.stderr)"
    )
    loaded = set(python(script, *words).stderr.splitlines()[-1].split())
    assert "claude_force.project.workspace" not in loaded
    assert not any(m.startswith("claude_force.commands") for m in loaded)


def test_reading_commands_load_no_network_code():
    script = "import sys\nfrom claude_force.cli import main\nmain(sys.argv[1:])\nprint(*sys.modules, file=sys.stderr)"
    loaded = set(python(script, "list", "agents").stderr.splitlines()[-1].split())
    heavy = {"http.client", "ssl", "socket", "asyncio", "logging", "typing", "sqlite3", "concurrent.futures"}
    assert loaded & heavy == set()


def test_parsing_alone_raises_what_the_boundary_prints():
    with pytest.raises(UsageError):
        parse(("run", "agent"))
