"""`lock`, and what `--frozen` asks of a run: that it uses what was locked and nothing else."""

from __future__ import annotations

import shlex

from ..errors import ConfigError, ForceError, NotFound, UsageError, ValidationError, reason
from ..files import private_directory, require_regular, write_atomic
from ..frozen import dataclass
from ..library import lookup
from ..project.naming import default_model
from ..records import Result
from ..reports.table import one_line, plural
from ..running import lockfile
from ..running import plan as plans

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from typing import TypeVar

    from ..project.workspace import Workspace
    from ..records import Agent, Skill, Workflow
    from ..running.lockfile import Lock
    from ..running.plan import Plan

    T = TypeVar("T")


@dataclass(frozen=True)
class _Chosen:
    """What is to be locked, with all that it uses."""

    workflows: tuple[Workflow, ...] = ()
    agents: tuple[Agent, ...] = ()
    skills: tuple[Skill, ...] = ()

    def __add__(self, other: _Chosen) -> _Chosen:
        return _Chosen(self.workflows + other.workflows, self.agents + other.agents, self.skills + other.skills)


def lock_options(parser: ArgumentParser) -> None:
    """Add the options of `lock`."""
    what = "workflows, agents or skills; the rest of the lock stays (all of the project, and what else is locked)"
    parser.add_argument("names", metavar="NAME", nargs="*", help=what)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if anything differs")


def lock(args: Namespace, workspace: Workspace) -> Result:
    """Write down which agents, skills, workflows and models are in use, so that `--frozen` can refuse anything else."""
    path = _path(workspace)
    locked = _locked(path, _command(args.names)) if args.check else _former(path, workspace)
    now = _lock_of(args.names, workspace) if args.names else _lock_of_all(locked, workspace)
    if workspace.state == workspace.home and not (args.check or any(now[kind] for kind in lockfile.KINDS)):
        hint = "go to its directory, or name what to lock"
        raise UsageError("there is no project here, and nothing to lock", hint=hint)
    if args.names and locked:
        now = lockfile.merged(locked, now)
    if args.check:
        return _checked(path, lockfile.differences(locked, now) if locked else [])
    if locked is None or lockfile.text(locked) != lockfile.text(now):
        _write(path, lockfile.text(now))
    changes = lockfile.changes(locked, now) if locked else []
    counts = {kind: len(now[kind]) for kind in lockfile.KINDS}
    listed = ", ".join(plural(count, kind.removesuffix("s")) for kind, count in counts.items())
    data = {"schema_version": 1, "success": True, "path": str(path), **counts, "changes": changes}
    return Result(data, "\n".join([f"locked {listed} in {path}", *(f"  {one_line(change)}" for change in changes)]))


def check(plan: Plan, workspace: Workspace) -> None:
    """Raise ValidationError, naming all that differs, if `plan` would use anything but what is locked.

    Raises ConfigError where there is no lock file, or what is there is none.
    """
    path = _path(workspace)
    locked = _locked(path, _accepting(plan))
    found = lockfile.drift(locked, lockfile.of([plan], default_model=_default_model(workspace)))
    if found:
        raise ValidationError(f"{path}: {'; '.join(found)}", hint=f"to accept that: {_accepting(plan)}")


def _accepting(plan: Plan) -> str:
    source = plan.workflow
    added = source.steps[0].skills if source.source == "agent" else ()
    name = str(source.path) if source.source == "path" else source.name
    return _command([name, *added])


def _command(names: Iterable[str]) -> str:
    return shlex.join(["claude-force", "lock", *names])


def _path(workspace: Workspace) -> Path:
    return workspace.state / lockfile.NAME


def _locked(path: Path, writing: str) -> Lock:
    """Return what is locked; raises ConfigError, with the command `writing` it, if there is no lock file."""
    locked = lockfile.read(path)
    if locked is None:
        raise ConfigError(f"{path}: there is no lock file", hint=f"write it with: {writing}")
    return locked


def _former(path: Path, workspace: Workspace) -> Lock | None:
    """Return what was locked, None if that cannot be read: it is about to be replaced."""
    try:
        return lockfile.read(path)
    except ConfigError as error:
        workspace.screen.warn(f"{error.message}; it is written anew")
        return None


def _default_model(workspace: Workspace) -> str:
    return default_model(workspace.settings).id


def _plans(chosen: _Chosen, workspace: Workspace) -> Iterator[Plan]:
    """Yield the plan of each workflow, and of each agent on its own."""
    agents = {agent.name: None for agent in chosen.agents}
    for source in chosen.workflows:
        try:
            plan = lockfile.resolved(source, workspace.plan)
        except UsageError as error:
            where = f"workflow '{source.name}'"
            raise error if where in error.message else error.within(where) from None
        agents |= dict.fromkeys(job.agent.name for job in plan.jobs.values())
        yield plan
    for name in agents:
        yield workspace.plan(plans.single(name), "")


def _lock_of(names: Iterable[str], workspace: Workspace) -> Lock:
    """Return the lock of what `names` call; those of nothing of the project's own are noted in it."""
    found = {name: _named(name, workspace) for name in names}
    also = [name for name, chosen in found.items() if not any(vars(_own(chosen, workspace)).values())]
    return _made(sum(found.values(), _Chosen()), also, workspace)


def _lock_of_all(locked: Lock | None, workspace: Workspace) -> Lock:
    """Return the lock of the project's own, and of what was locked besides and is still there."""
    shelves, warn = workspace.shelves, workspace.screen.warn
    skills = lookup.list_skills(shelves, warn=warn)
    all_there_is = _Chosen(tuple(workspace.workflows()), tuple(workspace.agents()), skills)
    found = {}
    for name in locked["also"] if locked else []:
        try:
            found[name] = _named(name, workspace)
        except NotFound as error:
            warn(f"{error.message}: it is no longer locked")
    return _made(sum(found.values(), _own(all_there_is, workspace)), found, workspace)


def _made(chosen: _Chosen, also: Iterable[str], workspace: Workspace) -> Lock:
    lock = lockfile.of(_plans(chosen, workspace), skills=chosen.skills, default_model=_default_model(workspace))
    return lock | {"also": sorted(also)}


def _own(chosen: _Chosen, workspace: Workspace) -> _Chosen:
    """Return the part of `chosen` that is the project's, or the user's outside any project."""
    own = {"config", "user" if workspace.state == workspace.home else "project"}
    return _Chosen(*(tuple(item for item in items if item.source in own) for items in vars(chosen).values()))


def _named(name: str, workspace: Workspace) -> _Chosen:
    """Return all that is called `name`; raises NotFound if nothing is."""
    chosen = _Chosen(
        _found(workspace.workflow, name),
        _found(workspace.agent, name),
        _found(workspace.skill, name),
    )
    if not any(vars(chosen).values()):
        known = [w.name for w in workspace.workflows()] + [a.name for a in workspace.agents()]
        raise NotFound("workflow, agent or skill", name, known)
    return chosen


def _found(find: Callable[[str], T], name: str) -> tuple[T, ...]:
    try:
        return (find(name),)
    except NotFound:
        return ()


def _checked(path: Path, found: list[str]) -> Result:
    data = {"schema_version": 1, "success": not found, "path": str(path), "drift": found}
    return Result(data, "\n".join(map(one_line, found)) or f"all is as {path} has it", exit_code=1 if found else 0)


def _write(path: Path, text: str) -> None:
    try:
        private_directory(path.parent)
        if path.exists():
            require_regular(path)
        write_atomic(path, text.encode("utf-8", "surrogatepass"), mode=0o644)
    except OSError as error:
        hint = "move it away if it is no file"
        raise ForceError(f"cannot write {path}: {reason(error)}", hint=hint) from None
