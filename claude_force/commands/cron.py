"""`doctor --cron`: whether what runs here would run from cron too, which knows neither the shell nor its variables.

Nothing is run: the checks look at what a process would find that is given HOME and a short PATH.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from ..client.endpoint import KEY_VARIABLES, far_end
from ..errors import ConfigError, ForceError
from ..project.workspace import Workspace
from ..reports.table import quoted
from ..settings import config
from ..workflow.definition import implied_inputs
from .machine import Check, without_key, writable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..records import Workflow

PATH = "/usr/bin:/bin"
"""What cron and systemd give at the least."""
_ALSO_READ = (
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_CUSTOM_HEADERS",
    "CLAUDE_FORCE_HOME",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
"""Variables, besides those of settings and keys, that change what a run does."""
_NAME = "claude-force"


def checks(workspace: Workspace) -> Iterator[Check]:
    """Yield what cron would find other than this shell does, and at last a line for the crontab."""
    environment = workspace.environment
    command = _command()
    yield from _program(command, environment)
    yield _home(_account_home(), environment.get("HOME", ""))
    yield _variables(environment)
    with Workspace(screen=workspace.screen, start=workspace.root, environment={"PATH": PATH}) as alone:
        yield _key(alone, workspace)
    yield _locks(workspace.state)
    yield _zone(environment)
    yield Check("crontab", "ok", line(command, workspace.root, *_example(workspace)))


def line(command: str, root: Path, workflow: str, lacking: Sequence[str] = ()) -> str:
    """Return a line for a crontab that runs `workflow` every night, in `root`, once at a time.

    `lacking` is what a person has to put in behind the name, as the shell takes it.
    """
    words = [*shlex.split(command), "-q", "-C", str(root), "run", "workflow", workflow]
    called = " ".join([shlex.join(words), *lacking, "--lock skip --jitter 60 --timeout 3600"])
    return "17 2 * * * " + called.replace("%", "\\%")  # where cron would begin a new line


def _account_home() -> str:
    """Return the home directory that cron sets; nothing where there are no accounts, or none for this user."""
    try:
        from pwd import getpwuid
    except ImportError:  # Windows
        return ""
    try:
        return getpwuid(os.getuid()).pw_dir
    except KeyError:  # a container's arbitrary user
        return ""


def _command() -> str:
    """Return the words that start this program whatever PATH is."""
    started = Path(sys.argv[0])
    if started.name == _NAME and started.is_file():
        return shlex.quote(str(started.absolute()))
    beside = Path(sys.executable).with_name(_NAME)
    return shlex.quote(str(beside)) if beside.is_file() else f"{shlex.quote(sys.executable)} -m claude_force"


def _program(command: str, environment: Mapping[str, str]) -> Iterator[Check]:
    from shutil import which  # 8 ms that only this command pays

    found = which(_NAME, path=PATH)
    if found:
        yield Check("cron path", "ok", f"{found}, on cron's PATH")
    else:
        yield Check("cron path", "warning", f"{_NAME} is not on cron's PATH ({PATH})", f"write {command}")
    package = Path(__file__).resolve().parent.parent.parent
    places = [os.path.realpath(place) for place in environment.get("PYTHONPATH", "").split(os.pathsep) if place]
    if str(package) in places:
        remedy = f"install it with pip, or write PYTHONPATH={package} above the line"
        yield Check("cron python", "problem", "the package is found by PYTHONPATH, which cron does not have", remedy)


def _home(account: str, here: str) -> Check:
    if account and not os.path.isdir(account):
        found = f"the account's home directory {account} is not there"
        mend = f'sudo install -d -o "$(id -un)" {quoted(account)}'
        remedy = f"write HOME={here} above the line in the crontab" if os.path.isdir(here) else mend
        return Check("cron home", "problem", found, remedy)
    if account and os.path.realpath(account) != os.path.realpath(here):
        found = f"HOME is {here or 'not set'} here and {account} in cron: another library, other settings, another key"
        return Check("cron home", "warning", found, f"write HOME={here} above the line in the crontab")
    return Check("cron home", "ok", here)


def _variables(environment: Mapping[str, str]) -> Check:
    lost = [name for name in (*config.ENVIRONMENT, *_ALSO_READ) if environment.get(name, "").strip()]
    if not lost:
        return Check("cron variables", "ok", "nothing that counts is set in this shell alone")
    remedy = "write them above the line in the crontab as NAME=value, or the settings into claude.json"
    return Check("cron variables", "warning", f"set here, and not in cron: {', '.join(lost)}", remedy)


def _key(alone: Workspace, workspace: Workspace) -> Check:
    place = alone.home / "claude.json"
    remedy = f'write the key into a file with mode 0600 and name it in {place}: {{"api_key_file": "…"}}'
    try:
        settings = alone.settings
        far = far_end(settings, alone.environment)
    except ConfigError as error:
        return Check("cron key", "problem", error.message, error.hint or "see: claude-force validate")
    except ForceError as error:
        return Check("cron key", "problem", error.message, error.hint or remedy)
    if far.authenticated:
        return Check("cron key", "ok", f"from {settings.api_key_file}")
    if told := without_key("cron key", settings.client, settings.api_key_file):
        return told
    here = [name for name in KEY_VARIABLES if workspace.environment.get(name, "").strip()]
    found = f"only in {here[0]}, which cron does not have" if here else "there is none"
    return Check("cron key", "problem", found, remedy)


def _locks(state: Path) -> Check:
    place = next(path for path in (state / "locks", state, *state.parents) if path.exists())
    if not place.is_dir():
        return Check("cron locks", "problem", f"{place} is no directory", f"move {quoted(place)} away")
    if remedy := writable(place):
        return Check("cron locks", "problem", f"{place} cannot be written: --lock would refuse to run", remedy)
    return Check("cron locks", "ok", str(state / "locks"))


def _zone(environment: Mapping[str, str]) -> Check:
    if zone := environment.get("TZ", ""):
        found = f"TZ is {zone} here; cron keeps the system's time, for its lines and for --deadline"
        return Check("cron zone", "warning", found, f"write TZ={zone} above the line, and see when cron starts it")
    return Check("cron zone", "ok", "the system's, as here")


def _example(workspace: Workspace) -> tuple[str, list[str]]:
    """Return the project's workflow that lacks the least to be run, and what that is."""
    try:
        own = [found for found in workspace.workflows() if found.source in {"project", "config"}]
    except ForceError:
        own = []
    found = [(workflow.name, _lacking(workflow)) for workflow in own]
    return min(found, key=lambda example: len(example[1]), default=("NAME", []))


def _lacking(workflow: Workflow) -> list[str]:
    """Return a placeholder for the task, if it needs one, and for each input without a value."""
    inputs = [i.name for i in workflow.inputs if i.default is None] or implied_inputs(workflow)
    task = ['"TASK"'] if workflow.task else []
    return task + [f"--input {shlex.quote(name)}=VALUE" for name in inputs]
