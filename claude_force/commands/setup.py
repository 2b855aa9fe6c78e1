"""`init`, `config show` and `config migrate`: a project to start from, and its settings."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from ..errors import UsageError, reason
from ..files import write_atomic
from ..project import locations
from ..records import Result
from ..reports.table import table
from ..settings import config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterable, Iterator

    from ..project.workspace import Workspace

STARTER = Path(__file__).parent.parent / "data" / "starter"
"""The files that `init` copies into `.claude`."""


def init_options(parser: ArgumentParser) -> None:
    """Add the options of `init`."""
    parser.add_argument("where", metavar="DIR", nargs="?", default=".", help="where the project lies (here)")


def init(args: Namespace, workspace: Workspace) -> Result:
    """Start a project: write a `.claude` whose example agent, skill and workflow run as they are.

    What is there already is kept. Raises UsageError if nothing can be written there; then nothing is left behind.
    """
    root = Path(args.where)
    target = root / ".claude"
    _refuse(target, workspace.home)
    if not target.exists() and (outer := locations.project(root.resolve().parent)):
        place = f"{root.resolve()} lies inside the project {outer.parent}"
        workspace.screen.warn(f"{place}, whose settings and budget do not hold here")
    wanted = {target / _place(source): source for source in _sources()}
    kept = [path for path in wanted if os.path.lexists(path)]
    created = [path for path in wanted if path not in kept]
    _write({path: wanted[path] for path in created}, root)
    facts = {"created": list(map(str, created)), "kept": list(map(str, kept))}
    lines = [f"{word} {path}" for word, paths in facts.items() for path in paths]
    data = {"schema_version": 1, "success": True, "project": str(root.resolve()), **facts}
    return Result(data, "\n".join([*lines, "", *_next_steps(args.where)]))


def _refuse(target: Path, home: Path) -> None:
    if ".claude" in target.parent.resolve().parts:
        raise UsageError(f"{target.parent.resolve()} lies within a .claude", hint="name the project's own directory")
    user = Path(os.path.expanduser("~"), ".claude")
    if os.path.realpath(target) in {os.path.realpath(home), os.path.realpath(user)}:
        raise UsageError(
            f"{target.parent.resolve()} is the home directory: its .claude is your own library, seen by every project",
            hint="name a directory for the project: claude-force init DIR",
        )


def _sources() -> list[Path]:
    return sorted(path for path in STARTER.rglob("*") if path.is_file())


def _place(source: Path) -> Path:
    """Return where a file of the starter goes; `.gitignore` has no dot there, or it would rule the starter itself."""
    relative = source.relative_to(STARTER)
    return Path(".gitignore") if relative.name == "gitignore" else relative


def _write(wanted: dict[Path, Path], root: Path) -> None:
    """Write the files, each whole; if one of them fails, take back what was made."""
    made: list[Path] = []
    try:
        for directory in _missing([root, *(path.parent for path in wanted)]):
            directory.mkdir(mode=0o700 if ".claude" in directory.parts else 0o777)
            made.append(directory)
        for path, source in wanted.items():
            _refuse_link(path.parent, root)
            write_atomic(path, source.read_bytes(), mode=0o644)
            made.append(path)
    except (OSError, UsageError) as error:
        _take_back(made)
        raise _explained(error, root) from None


def _missing(directories: Iterable[Path]) -> Iterator[Path]:
    """Yield every directory that is to be made, a parent before its children."""
    for directory in directories:
        for part in (*reversed(directory.parents), directory):
            if not part.is_dir():
                yield part


def _refuse_link(directory: Path, root: Path) -> None:
    if not directory.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{directory} is a link that leads out of the project", hint="remove the link")


def _explained(error: OSError | UsageError, root: Path) -> UsageError:
    if isinstance(error, UsageError):
        return error
    place = error.filename if isinstance(error.filename, str) else root
    if isinstance(error, FileExistsError | NotADirectoryError):
        return UsageError(f"{place} is no directory", hint="move that file away, or name another DIR")
    return UsageError(f"cannot write {place}: {reason(error)}", hint="name a DIR that you can write to")


def _take_back(made: list[Path]) -> None:
    for path in reversed(made):
        path.rmdir() if path.is_dir() else path.unlink()


def _next_steps(where: str) -> list[str]:
    enter = [] if where == "." else [f"  cd {shlex.quote(where)}"]
    return [
        "next:",
        *enter,
        '  claude-force run workflow decide "Keep sessions in SQLite or in Redis?"',
        '  claude-force run agent adviser "Argue for trunk-based development."',
        "  claude-force validate",
        "without a key: claude-force simulate, in another terminal",
    ]


def config_show(args: Namespace, workspace: Workspace) -> Result:
    """Show every setting, its value and where it comes from; keys are no settings and are never shown."""
    rows = [(key, _public(key, value), origin) for key, value, origin in config.show(workspace.settings)]
    settings = [{"key": key, "value": value, "origin": origin} for key, value, origin in rows]
    cells = [(key, _cell(value), origin) for key, value, origin in rows]
    text = table(("KEY", "VALUE", "FROM"), cells, width=workspace.screen.page, texts=("VALUE", "FROM"))
    return Result({"schema_version": 1, "settings": settings}, text)


def _public(key: str, value: object) -> object:
    """Return `value` without the password that an address may hold."""
    if key != "base_url" or "@" not in str(value):
        return value
    scheme, _, rest = str(value).partition("://")
    return f"{scheme}://[secret]@{rest.rpartition('@')[2]}"


def _cell(value: object) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def config_migrate_options(parser: ArgumentParser) -> None:
    """Add the options of `config migrate`."""
    parser.add_argument("file", metavar="FILE", nargs="?", help="the file to rewrite (the project's claude.json)")


def config_migrate(args: Namespace, workspace: Workspace) -> Result:
    """Rewrite an older claude.json to the present version, keeping a backup; a current one stays as it is."""
    path = Path(args.file or args.config or workspace.state / "claude.json")
    if not path.is_file():
        wrong = "not a regular file" if path.exists() else "no such file"
        raise UsageError(f"{path}: {wrong}", hint="name the file: claude-force config migrate FILE")
    backup, changes = config.migrate(path)
    data = {
        "schema_version": 1,
        "success": True,
        "path": str(path),
        "backup": str(backup) if backup else None,
        "changes": changes,
    }
    if backup is None:
        return Result(data, f"{path} is of version 2 already: nothing to do")
    return Result(data, "\n".join([f"migrated {path}", *(f"  {change}" for change in changes), f"kept {backup}"]))
