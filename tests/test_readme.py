"""The README tells the truth: its commands run, its files are valid, and it leaves nothing out."""

import json
import os
import re
import shlex
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest

import claude_force
from claude_force import errors
from claude_force.cli import main
from claude_force.library import lookup
from claude_force.parsing import COMMANDS, parse
from claude_force.settings.config import ENVIRONMENT
from claude_force.settings.rules import KEYS
from claude_force.simulator import Behaviour, Simulator

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
SHELF = lookup.bundled_shelf()


def blocks(language):
    return [text for kind, text in BLOCKS if kind == language]


def command_lines(text):
    """Yield the lines of a console block that are typed, each with the status that its comment tells, 0 if none."""
    for line in text.splitlines():
        if line.startswith("$ "):
            told = re.search(r"# ends with (\d+)", line)
            yield line[2:], int(told[1]) if told else 0


def calls(text):
    """Yield the words after each `claude-force` in the lines of a shell script or crontab, up to the command's end."""
    for line in text.splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        for word in words:
            if word == "claude-force":
                yield list(takewhile(lambda w: not set(w) <= set("|&;<>()"), words))


@pytest.fixture
def reader(project, home, monkeypatch):
    """A project as the README's reader has it, with a server to speak to."""
    (made,) = (
        line for line, _ in command_lines("\n".join(blocks("console"))) if "src/example.py" in line and ">>" in line
    )
    assert run("sh", "-c", made).returncode == 0
    for text in blocks("toml"):
        path = project / text.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(parents=True)
        path.write_text(text)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    with Simulator(Behaviour()) as simulator:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", simulator.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "test")
        yield simulator


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("block", blocks("console"), ids=lambda text: text.splitlines()[-1][15:60])
def test_the_commands_of_a_block_work_one_after_the_other(reader, block):
    for line, status in command_lines(block):
        ended = run("sh", "-c", line)
        assert (line, ended.returncode) == (line, status), ended.stderr
        assert "Traceback" not in ended.stderr, line


def test_the_shell_script_that_the_readme_shows_works(reader, project):
    (script,) = (text for text in blocks("sh") if text.startswith("#!"))
    ended = run("sh", "-c", script)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads((project / "summary.json").read_text())["success"] is True


@pytest.mark.parametrize("words", [words for text in blocks("sh") for words in calls(text)], ids=" ".join)
def test_a_command_of_a_shell_block_has_only_options_that_exist(words):
    assert parse(words).command in COMMANDS


def test_the_lines_for_cron_have_only_options_that_exist():
    found = [parse(words).command for words in calls((ROOT / "scripts" / "crontab.example").read_text("utf-8"))]
    assert {"run workflow", "status", "metrics rollup", "metrics verify", "memory prune"} <= {*found}


def test_the_python_that_the_readme_shows_works(reader):
    for text in blocks("python"):
        ended = run(sys.executable, "-c", text)
        assert ended.returncode == 0, ended.stderr
        assert "[simulated]" in ended.stdout


def test_the_settings_that_the_readme_shows_are_valid(reader, project, home, capsys):
    of_project, of_user = blocks("json")
    (project / ".claude" / "claude.json").write_text(of_project)
    (home / ".claude").mkdir()
    (home / ".claude" / "claude.json").write_text(of_user)
    assert main(["config", "show"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert [name for name in json.loads(of_user) if name != "version" and name not in shown.out] == []


def test_every_command_is_in_the_readme():
    for command in COMMANDS:
        first, _, second = command.partition(" ")
        assert re.search(rf"`[^`\n]*\b{first}\b[^`\n]*{second}", TEXT), command


def test_every_option_in_the_readme_exists_somewhere():
    known = set()
    for command in COMMANDS:
        ended = run(sys.executable, "-m", "claude_force", *command.split(), "-h")
        known |= set(re.findall(r"--[a-z-]+", ended.stdout))
    foreign = {"--version", "--stat", "--oneline"}
    text = re.sub(r"```(?:python|json|toml).*?```", "", TEXT, flags=re.DOTALL)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - known - foreign == set()


def test_every_variable_is_in_the_readme():
    assert [variable for variable in ENVIRONMENT if variable not in TEXT] == []


def test_every_public_name_is_in_the_readme():
    assert [name for name in claude_force.__all__ if f"`{name}`" not in TEXT and name != "__version__"] == []


def test_every_exit_status_is_in_the_readme():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ForceError)]
    rows = {int(status) for status in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}
    assert rows == {0, *(kind.exit_code for kind in kinds)}


def test_the_settings_that_the_readme_names_exist():
    """Also those that are only spoken of, as in `cache.ttl_hours`."""
    sections = "|".join(name for name, rule in KEYS.items() if isinstance(rule, dict) and "*" not in rule)
    named = re.findall(rf"`({sections})\.(\w+)`", TEXT)
    assert named
    assert [f"{section}.{key}" for section, key in named if key not in KEYS[section]] == []


def test_the_readme_counts_what_ships_and_names_every_workflow():
    agents, skills = lookup.list_agents([SHELF]), lookup.list_skills([SHELF])
    workflows = lookup.list_workflows([SHELF])
    assert f"{len(agents)} agents, {len(skills)} skills and {len(workflows)} workflows" in TEXT
    section = TEXT.partition("## What ships with it")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE) == [w.name for w in workflows]


def test_the_files_that_the_readme_names_are_there():
    named = set(re.findall(r"\b((?:scripts|tests)/[\w.]+)", TEXT))
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_the_headings_that_the_readme_points_to_are_there():
    headings = {
        re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL), re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) - headings == set()
