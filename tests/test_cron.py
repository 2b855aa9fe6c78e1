"""`doctor --cron`: what a bare environment would lack, and a line for the crontab that works in one."""

import io
import json
import os
import pwd
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from claude_force.cli import main
from claude_force.commands import cron
from claude_force.project.workspace import Workspace
from claude_force.terminal.output import Screen


@pytest.fixture
def checks():
    """Return the checks by name, in an environment that is this one's with changes."""

    def call(**changes):
        environment = {"HOME": os.environ["HOME"], "PATH": os.environ["PATH"]} | changes
        with Workspace(screen=Screen(stdout=io.StringIO(), stderr=io.StringIO()), environment=environment) as workspace:
            return {check.name: check for check in cron.checks(workspace)}

    return call


@pytest.fixture
def settings(home):
    def write(**values):
        (home / ".claude").mkdir(exist_ok=True)
        (home / ".claude" / "claude.json").write_text(json.dumps(values))

    return write


def test_a_key_that_only_this_shell_has_is_a_problem(project, checks):
    found = checks(ANTHROPIC_API_KEY="sk-ant-secret")["cron key"]
    assert (found.status, found.found) == ("problem", "only in ANTHROPIC_API_KEY, which cron does not have")
    assert "api_key_file" in found.remedy
    assert "sk-ant-secret" not in repr(found)
    assert checks()["cron key"].found == "there is none"


def test_a_key_in_the_users_file_is_found_without_any_variable(project, home, checks, settings):
    settings(api_key_file="key")
    found = checks()["cron key"]
    assert found.status == "problem"
    assert "cannot read api_key_file" in found.found
    (home / ".claude" / "key").write_text("sk-ant-secret\n")
    found = checks(ANTHROPIC_API_KEY="other")["cron key"]
    assert (found.status, found.found) == ("ok", f"from {home / '.claude' / 'key'}")


def test_a_value_that_is_wrong_is_not_mended_by_a_key(project, checks, settings):
    settings(cache={"ttl_hours": "x"})
    assert checks()["cron key"].remedy == "see: claude-force validate"


def test_settings_that_are_wrong_are_a_problem_and_end_nothing(project, checks, settings):
    settings(api_key_file=5)
    found = checks()
    assert (found["cron key"].status, "api_key_file" in found["cron key"].found) == ("problem", True)
    assert found["crontab"].found.endswith(" run workflow NAME --lock skip --jitter 60 --timeout 3600")


def test_the_official_client_may_sign_in_by_itself(project, checks, settings):
    settings(client="anthropic")
    assert checks()["cron key"].status == "ok"
    settings()
    assert checks(CLAUDE_FORCE_CLIENT="anthropic")["cron key"].status == "problem"


def test_variables_that_count_and_cron_has_not_are_named_but_not_shown(project, checks):
    assert checks()["cron variables"].status == "ok"
    found = checks(CLAUDE_FORCE_MODEL="opus", https_proxy="http://me:secret@proxy", LESS="-R")["cron variables"]
    assert found.status == "warning"
    assert found.found.endswith(": CLAUDE_FORCE_MODEL, https_proxy")
    assert "secret" not in repr(found)


def test_a_program_that_is_not_on_crons_path_is_named_by_its_own(project, checks, tmp_path, monkeypatch):
    program = tmp_path / "bin dir" / "claude-force"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(program), "doctor"])
    found = checks()
    assert found["cron path"].status == "warning"
    assert str(program) in found["cron path"].remedy
    assert shlex.split(found["crontab"].found)[5] == str(program)
    monkeypatch.setattr(cron, "PATH", str(program.parent))
    assert (checks()["cron path"].status, checks()["cron path"].found) == ("ok", f"{program}, on cron's PATH")


def test_without_a_script_of_its_own_the_interpreter_is_named(project, checks, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["-m"])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert f"{tmp_path / 'python'} -m claude_force -q -C" in checks()["crontab"].found
    (tmp_path / "claude-force").touch()
    assert f"* {tmp_path / 'claude-force'} -q -C" in checks()["crontab"].found


def test_a_package_that_pythonpath_leads_to_is_out_of_reach(project, checks):
    place = Path(cron.__file__).parent.parent.parent
    found = checks(PYTHONPATH=os.pathsep.join(["/nowhere", str(place)]))["cron python"]
    assert found.status == "problem"
    assert f"PYTHONPATH={place.resolve()}" in found.remedy
    assert "cron python" not in checks(PYTHONPATH="/nowhere")


def test_the_home_of_the_account_is_compared_with_the_one_here(project, checks, tmp_path, monkeypatch):
    account = pwd.getpwuid(os.getuid()).pw_dir
    found = checks()["cron home"]
    assert (found.status, f"and {account} in cron" in found.found) == ("warning", True)
    assert found.remedy == f"write HOME={os.environ['HOME']} above the line in the crontab"
    assert checks(HOME=account)["cron home"].status == "ok"
    assert cron._home("", "/here").status == "ok"
    gone = str(tmp_path / "gone")
    assert cron._home(gone, "/not/here").remedy == f"sudo install -d -o \"$(id -un)\" '{gone}'"
    assert cron._home(gone, str(tmp_path)).remedy == f"write HOME={tmp_path} above the line in the crontab"


def test_a_user_without_an_account_has_no_home_in_cron(monkeypatch):
    taken = {user.pw_uid for user in pwd.getpwall()}
    monkeypatch.setattr(os, "getuid", lambda: next(number for number in range(60_000) if number not in taken))
    assert cron._account_home() == ""


def test_another_time_zone_is_told(project, checks):
    assert checks()["cron zone"].status == "ok"
    found = checks(TZ="Asia/Tokyo")["cron zone"]
    assert (found.status, "TZ=Asia/Tokyo" in found.remedy) == ("warning", True)


def test_a_place_where_no_lock_can_be_had_is_a_problem(project, checks):
    assert checks()["cron locks"].found == str(project / ".claude" / "locks")
    assert os.listdir(project / ".claude") == []
    (project / ".claude" / "locks").write_text("a file in the way")
    assert checks()["cron locks"].status == "problem"


def test_the_line_names_a_workflow_of_the_project(project, checks):
    (project / ".claude" / "workflows").mkdir()
    (project / ".claude" / "workflows" / "nightly.toml").write_text('[[steps]]\nid = "a"\nagent = "linter"\n')
    assert f" -C {project} run workflow nightly --lock skip " in checks()["crontab"].found


def define(project, **workflows):
    (project / ".claude" / "workflows").mkdir(exist_ok=True)
    for name, head in workflows.items():
        text = f'{head}\n[[steps]]\nid = "a"\nagent = "linter"\ntask = "{{{{input.x}}}}"\n'
        (project / ".claude" / "workflows" / f"{name}.toml").write_text(text)


def test_the_line_names_a_workflow_that_runs_as_it_stands_if_there_is_one(project, checks):
    define(
        project, asks='task = "the question"', lacks="[inputs.x]\n", nightly='[inputs.x]\ndefault = "y"', undeclared=""
    )
    assert " run workflow nightly --lock skip " in checks()["crontab"].found


def test_a_workflow_that_needs_a_task_is_named_with_a_place_for_it(project, checks):
    define(project, asks='task = "the question"\n[inputs.x]\ndefault = "y"')
    assert ' run workflow asks "TASK" --lock skip --jitter 60 --timeout 3600' in checks()["crontab"].found


@pytest.mark.parametrize("name", ["plain", "two words", "50% off", "it's", "a;b"])
def test_the_line_reaches_the_program_as_it_should_through_cron_and_the_shell(tmp_path, name):
    program = tmp_path / name / "show"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    line = cron.line(shlex.quote(str(program)), tmp_path / name, name)
    times, command = line.split(" ", 5)[:5], line.split(" ", 5)[5]
    assert times == ["17", "2", "*", "*", "*"]
    assert "%" not in command.replace("\\%", "")  # cron makes a new line of any other
    shown = subprocess.run(["/bin/sh", "-c", command.replace("\\%", "%")], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[:6] == ["-q", "-C", str(tmp_path / name), "run", "workflow", name]


def test_doctor_adds_these_checks_when_asked(project, capsys):
    main(["doctor", "--offline", "--json"])
    assert "crontab" not in capsys.readouterr().out
    assert main(["doctor", "--offline", "--cron", "--json"]) == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert checks[-1]["name"] == "crontab"
    assert main(["doctor", "--offline", "--cron"]) == 1
    assert "ok       crontab: 17 2 * * * " in capsys.readouterr().out
