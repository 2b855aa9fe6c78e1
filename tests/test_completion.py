"""The completion scripts in the shells themselves: functions called as a shell calls them, and keys on a terminal."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from claude_force import cli, parsing

ROOT = Path(cli.__file__).parent.parent
AGENT = "---\nname: {name}\ndescription: d\n---\nYou help.\n"
ODD = ["wide words", "o'er", "$(touch pwned)", "`touch pwned`", "j;touch pwned", 'q"uote', "hack\\slash", "x*y", "ünï"]

needs = {
    shell: pytest.mark.skipif(not shutil.which(shell), reason=f"{shell} is not installed")
    for shell in ("bash", "zsh", "fish")
}
every_shell = [pytest.param(shell, marks=needs[shell]) for shell in needs]


@pytest.fixture
def bench(project, home, tmp_path, monkeypatch):
    """A project with odd names, and on the PATH a claude-force that completes, and otherwise notes its arguments."""
    for directory in ("agents", "workflows", "skills/cooking"):
        (project / ".claude" / directory).mkdir(parents=True)
    agents = project / ".claude/agents"
    for number, name in enumerate(["gardener", *ODD]):
        quoted = "'" + name.replace("'", "''") + "'"
        (agents / f"agent{number}.md").write_text(AGENT.format(name=quoted))
    (project / ".claude/skills/cooking/SKILL.md").write_text(AGENT.format(name="cooking"))
    (project / ".claude/workflows/harvest.toml").write_text('[[steps]]\nid = "a"\nagent = "gardener"\n')
    (project / "notes.txt").write_text("")
    (project / "orchard").mkdir()
    program = tmp_path / "bin/claude-force"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\ncase " $* " in *" --names "*) exec "$PYTHON" -m claude_force "$@" ;; esac\n'
        'printf "%s\\t" "$@" >> "$ARGUMENTS"\necho >> "$ARGUMENTS"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("ARGUMENTS", str(tmp_path / "arguments"))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    return project


@pytest.fixture(scope="session")
def scripts(tmp_path_factory):
    """The script of each shell, in a file."""
    place = tmp_path_factory.mktemp("scripts")
    for shell in needs:
        command = [sys.executable, "-m", "claude_force", "completion", shell]
        done = subprocess.run(command, capture_output=True, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stderr
        (place / shell).write_bytes(done.stdout)
    return place


def replies(scripts, *words):
    """Call the bash function as readline does, with the cursor at the end of the last word."""
    code = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _claude_force\n'
        '((${#COMPREPLY[@]})) && printf "%s\\n" "${COMPREPLY[@]}"'
    )
    command = ["bash", "--norc", "-c", code, "bash", scripts / "bash", "claude-force", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


TERMINALS = {
    "bash": (["bash", "--noprofile", "--rcfile", "RC", "-i"], "PS1='ready> '\nbind 'set bell-style none'\n. SCRIPT\n"),
    "zsh": (
        ["env", "ZDOTDIR=HOME", "zsh", "-d", "-i"],
        "autoload -Uz compinit; compinit -u -D\n. SCRIPT\nPROMPT='ready> '\nunsetopt beep\n",
    ),
    "fish": (
        ["fish", "-C", "source RC", "-i"],
        "function fish_prompt; echo -n 'ready> '; end\nsource SCRIPT\n",
    ),
}


def typed(shell, lines, scripts, tmp_path):
    """Type each of `lines` and Enter at a prompt of the shell; return the arguments of each call of the program."""
    words, setting = TERMINALS[shell]
    rc = tmp_path / ".zshrc"
    rc.write_text(setting.replace("SCRIPT", str(scripts / shell)))
    command = [word.replace("RC", str(rc)).replace("HOME", str(tmp_path)) for word in words]
    spawn = "import pty, sys; pty.spawn(sys.argv[1:])"
    environment = {**os.environ, "TERM": "xterm"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", spawn, *command], stdin=pipe, stdout=pipe, env=environment
    ) as terminal:
        seen = b""
        while b"ready> " not in seen:
            seen += (piece := os.read(terminal.stdout.fileno(), 1024))
            assert piece, seen.decode()
        try:
            seen += terminal.communicate("".join(f"{line}\r" for line in [*lines, "exit"]).encode(), timeout=60)[0]
        except subprocess.TimeoutExpired:
            terminal.kill()
            raise
    calls = Path(os.environ["ARGUMENTS"])
    assert calls.is_file(), seen.decode()
    return [line.split("\t")[:-1] for line in calls.read_text().splitlines()]


KEYS = {
    "claude-force dem\t": "demo",
    "claude-force run ag\tgar\t": "run agent gardener",
    "claude-force -C orchard run agent gar\t": "-C orchard run agent gardener",
    "claude-force run agent gardener --eff\thi\t": "run agent gardener --effort high",
    "claude-force run agent gardener --skill cook\t": "run agent gardener --skill cooking",
    "claude-force run agent gardener --task-file no\t": "run agent gardener --task-file notes.txt",
    "claude-force graph har\t--form\tmer\t": "graph harvest --format mermaid",
    "claude-force --color=alw\tdoctor": "--color always doctor",
    "claude-force init orch\t": "init orchard",
    "claude-force validate gard\tno\t": "validate gardener notes.txt",
    "claude-force run agent gardener --timeout 5 --dry\t": "run agent gardener --timeout 5 --dry-run",
}


@pytest.mark.parametrize("shell", every_shell)
def test_the_tab_key_completes_commands_options_choices_files_and_names(shell, bench, scripts, tmp_path):
    calls = typed(shell, KEYS, scripts, tmp_path)
    # zsh joins an option and its value with a sign, and some shells leave a directory's slash: both mean the same.
    assert [" ".join(call).replace("=", " ").rstrip("/") for call in calls] == list(KEYS.values())


@pytest.mark.parametrize("shell", every_shell)
def test_an_odd_name_arrives_whole_and_runs_nothing(shell, bench, scripts, tmp_path):
    starts = [name[0] if name[0].isalpha() else f"\\{name[0]}" for name in ODD]
    calls = typed(shell, [f"claude-force show agent {start}\t" for start in starts], scripts, tmp_path)
    assert calls == [["show", "agent", name] for name in ODD]
    assert not (bench / "pwned").exists()


@needs["bash"]
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["li"], ["list"]),
        (["run", ""], ["agent", "workflow"]),
        (["list", "w"], ["workflows"]),
        (["--ver"], ["--version", "--verbose"]),
        (["run", "agent", "--ef"], ["--effort"]),
        (["run", "agent", "--effort", "m"], ["medium", "max"]),
        (["run", "agent", "gardener", "--effort", "=", "h"], ["high"]),
        (["run", "agent", "--effort", "="], ["low", "medium", "high", "xhigh", "max"]),
        (["--color", "never", "run", "agent", "gard"], ["gardener"]),
        (["run", "agent", "--task", "run", "gard"], ["gardener"]),
        (["run", "agent", "--skill", "x", "cook"], ["cooking"]),
        (["run", "agent", "--skill", "cooking", "--no-s"], ["--no-stream"]),
        (["run", "agent", "--model", "hai"], ["haiku"]),
        (["run", "workflow", "harv"], ["harvest"]),
        (["graph", "harvest", "--format", "d"], ["dot"]),
        (["show", "skill", "co"], ["code-review", "cooking"]),
        (["validate", "gardener", "harv"], ["harvest"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["run", "agent", "gardener", "gard"], []),
        (["run", "agent", "--timeout", ""], []),
        (["nonsense", "gard"], []),
        (["show", "agent", '"wide'], ["wide words"]),
        (["show", "agent", "wide\\ w"], ["wide\\ words"]),
        (["show", "agent", "'it"], []),
        (["show", "agent", '"$'], []),
    ],
)
def test_bash_offers_what_fits_the_word_at_the_cursor(words, expected, bench, scripts):
    assert [reply for reply in replies(scripts, *words) if reply not in BUNDLED] == expected


BUNDLED = {"python", "testing"}


@needs["bash"]
def test_bash_asks_the_project_that_c_names(bench, scripts, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert replies(scripts, "run", "agent", "gard") == []
    assert replies(scripts, "-C", str(bench), "run", "agent", "gard") == ["gardener"]


@pytest.mark.parametrize("shell", needs)
def test_every_command_and_option_is_in_the_script(shell, scripts):
    script = (scripts / shell).read_text()
    assert all(word in script for name in parsing.COMMANDS for word in name.split())
    assert all(option in script for option in ("max-tokens", "offline", "strict", "on-error"))
    assert script.count("--names") == 1, "the hidden option is offered"


def names(kind, capsys):
    assert cli.main(["completion", "--names", kind]) == 0
    return capsys.readouterr().out.splitlines()


def test_names_are_those_of_the_files_and_of_claude_json(bench, capsys):
    settings = '{"agents": {"hired": {"path": "agents/agent0.md"}}, "workflows": {"chain": {"steps": []}}}'
    (bench / ".claude/claude.json").write_text(settings)
    assert {"gardener", "hired", "linter"} <= set(names("agents", capsys))
    assert {"cooking", "python"} <= set(names("skills", capsys))
    assert {"chain", "harvest", "code-quality-check"} <= set(names("workflows", capsys))
    assert {"haiku", "claude-haiku-5-5"} <= set(names("models", capsys))
    assert {"gardener", "cooking", "harvest"} <= set(names("library", capsys))


def test_a_retired_model_is_not_offered(bench, capsys):
    assert "claude-2.1" not in names("models", capsys)


def test_a_name_that_is_an_option_or_has_control_characters_is_left_out(bench, capsys):
    agents = bench / ".claude/agents"
    (agents / "x.md").write_text(AGENT.format(name="--config=evil"))
    (agents / "y.md").write_text(AGENT.format(name='"bell\\a"'))
    found = names("agents", capsys)
    assert "gardener" in found
    assert not [name for name in found if name.startswith("-") or "bell" in name]


@pytest.mark.parametrize("words", [["completion"], ["completion", "tcsh"], ["completion", "bash", "--names", "agents"]])
def test_no_shell_or_an_unknown_one_is_a_usage_error(words, project, capsys):
    assert cli.main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_json_holds_the_script(project, capsys):
    import json

    assert cli.main(["completion", "fish", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["shell"] == "fish"
    assert "complete -c claude-force" in answer["script"]
