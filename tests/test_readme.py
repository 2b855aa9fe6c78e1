"""The README tells the truth: its commands run, its files are valid, and it leaves no command out."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from claude_force.config import ENVIRONMENT
from claude_force.parsing import COMMANDS
from claude_force.simulator import Behaviour, Simulator

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def blocks(language):
    return [text for kind, text in BLOCKS if kind == language]


COMMAND_LINES = [line[2:] for text in blocks("console") for line in text.splitlines() if line.startswith("$ ")]


@pytest.fixture
def reader(project, monkeypatch):
    """A project as the README's reader has it, with a server to speak to."""
    (project / "src").mkdir()
    (project / "src" / "example.py").write_text("def f(x=[]):\n    return x\n")
    for text in blocks("toml"):
        path = project / text.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(parents=True)
        path.write_text(text)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    with Simulator(Behaviour()) as simulator:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", simulator.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "test")
        yield simulator


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_a_command_that_the_readme_shows_works(reader, line):
    ended = subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )
    expected = {1} if "doctor" in line and "offline" not in line else {0}
    assert ended.returncode in expected, ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_python_that_the_readme_shows_works(reader):
    for text in blocks("python"):
        ended = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 0, ended.stderr
        assert "[simulated]" in ended.stdout


def test_the_settings_that_the_readme_shows_are_valid(reader, project, capsys):
    from claude_force.cli import main

    for text in blocks("json"):
        (project / ".claude" / "claude.json").write_text(text)
        assert main(["config", "show"]) == 0
        assert capsys.readouterr().err == ""


def test_every_command_and_variable_is_in_the_readme():
    text = README.read_text(encoding="utf-8")
    for command in COMMANDS:
        first, _, second = command.partition(" ")
        assert re.search(rf"`[^`\n]*\b{first}\b[^`\n]*{second}", text), command
    for variable in ENVIRONMENT:
        assert variable in text, variable
