"""What `doctor` can say of the stores: whether each can be used, is sound and private, and of a version that we know.

Nothing is created or changed by looking, not even what SQLite keeps beside a database, and no more is read of a store
that has grown large than a moment takes. What lies in a private directory counts as private.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

from ..errors import ForceError, reason
from ..frozen import dataclass, replace
from ..reports.table import plural, quoted
from ..stores import index, memory, shelf, spent, state
from ..stores.history import count
from ..stores.manifest import RESTORE, Manifest
from ..stores.metrics import FILE, is_finished, pieces, records
from ..stores.sqlite import JOURNAL, Schema, decoding, is_damage, look
from ..stores.tally import Tally
from .machine import Check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from ..project.workspace import Workspace
    from ..stores.manifest import Generation

SMALL_BYTES = 8 << 20
"""Up to which size a database is read as a whole, at about 10 ms for each MiB."""
TAIL_BYTES = 256 << 10
"""How much of the end of `executions.jsonl` is read."""


_INDEX = Schema([()] * index.VERSION, 0x43464D49, plain=r"\w+\b")
"""What the index of analytics may hold; it is derived, and any tables in which nothing can run are let pass."""


@dataclass(frozen=True)
class Database:
    """Where a SQLite file lies, what it is to hold, and what helps if it is damaged."""

    name: str
    path: Path
    schema: Schema
    remedy: str
    check: Callable[[sqlite3.Connection], object] = lambda _: None
    """Raises DatabaseError for rows that its store refuses."""


def health(workspace: Workspace) -> Iterator[Check]:
    """Yield the checks of the stores below `workspace.state`, and of what the user's home holds for them."""
    places = dict.fromkeys((workspace.state, workspace.home))
    yield from _cache(workspace.state / "cache", workspace.home / "cache.key")
    yield from _memory(workspace.state / "agent_memory.db")
    yield from _metrics(workspace.state / "metrics")
    for place in places:
        yield from _limits("state" if place == workspace.state else "user's state", place / "state.db")
    databases = [place / name for place in places for name in ("agent_memory.db", "state.db")]
    yield from _privacy(file for database in databases for file in _beside(database))


def _cache(directory: Path, key: Path) -> Iterator[Check]:
    path = directory / "responses.db"
    remedy = "claude-force cache verify: sets it aside, and answers are asked for anew"
    yield _database(Database("cache", path, shelf.SCHEMA, remedy))
    yield from _set_aside("cache", path, "")
    if _is_exposed(key):
        yield Check("cache key", "problem", f"others may read {key}: the cache is not used", f"rm {quoted(key)}")


def _memory(path: Path) -> Iterator[Check]:
    remedy = f"sqlite3 {quoted(path)} .recover: shows what can be saved; the next run sets it aside and begins anew"
    yield _database(Database("memory", path, memory.SCHEMA, remedy))
    yield from _set_aside("memory", path, "sqlite3 FILE .recover shows what can be saved; then: ")


def _limits(name: str, path: Path) -> Iterator[Check]:
    if os.path.lexists(path):
        remedy = f"move {quoted(path)} away with the -wal and -shm beside it: what was spent is then forgotten"
        yield _database(Database(name, path, state.SCHEMA, remedy, spent.check))
        yield from _set_aside(name, path, "")


def _database(database: Database) -> Check:
    """Say how a database is."""
    path = database.path
    if not os.path.lexists(path):
        return Check(database.name, "ok", f"{path}, made when it is needed")
    try:
        fault, remedy = _fault(database)
    except OSError as error:
        return Check(database.name, "problem", f"{path}: {reason(error)}", f"chmod u+rw {quoted(path)}")
    except sqlite3.Error as error:  # a log without its shared memory, which only a writer could make
        found = f"{path} cannot be looked into: {error}"
        return Check(database.name, "warning", found, "look again after the next run")
    if fault:
        return Check(database.name, "problem", f"{path} {fault}", remedy)
    return Check(database.name, "ok", f"{path}, {_megabytes(path.stat().st_size)}")


def _fault(database: Database) -> tuple[str, str]:
    """Return what is wrong with a database and what to do about it, both empty if all is well."""
    path = database.path
    if path.is_symlink() or not path.is_file():
        return "is no file", f"move {quoted(path)} away"
    os.close(os.open(path, os.O_RDWR))
    try:
        damage = _looked_into(database)
    except sqlite3.NotSupportedError as error:
        remedy = f"update claude-force, or move {quoted(path)} away with the -wal and -shm beside it"
        return f"cannot be used: {error}", remedy
    if damage == JOURNAL:  # whose harm would be done by any program that opens the file
        return f"cannot be used: {damage}", f"rm -r {quoted(f'{path}-journal')}"
    return (f"is damaged: {damage}", database.remedy) if damage else ("", "")


def _looked_into(database: Database) -> str:
    """Return what is damaged, '' if nothing is; raises sqlite3.Error where it cannot be told."""
    path = database.path
    while True:
        before = path.stat().st_mtime_ns
        damage = _asked(database)
        if not damage or path.stat().st_mtime_ns == before:  # or somebody wrote while it was read without a lock
            return damage


def _asked(database: Database) -> str:
    small = database.path.stat().st_size <= SMALL_BYTES
    try:
        with closing(look(database.path, database.schema)) as connection, decoding():
            query = "PRAGMA quick_check(1)" if small else "SELECT 'ok' FROM sqlite_master"
            (found,) = connection.execute(query).fetchone() or ("ok",)
            if connection.execute("PRAGMA user_version").fetchone() == (database.schema.version,):
                database.check(connection)
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        return str(error)
    return "" if found == "ok" else str(found)


def _set_aside(name: str, path: Path, advice: str) -> Iterator[Check]:
    """Warn of files that were damaged once and still take room."""
    left = [file for file in _beside(path) if file.name.startswith(f"{path.name}.damaged")]
    if left:
        size = _megabytes(sum(file.lstat().st_size for file in left))
        found = f"{plural(len(left), 'file')} beside {path}, set aside when it was damaged: {size}"
        yield Check(f"{name} leftovers", "warning", found, f"{advice}rm -r {quoted(path)}.damaged*")


def _beside(path: Path) -> list[Path]:
    """Return the files whose names begin as that of `path` does; none where nobody may look."""
    try:
        return [file for file in path.parent.iterdir() if file.name.startswith(path.name) and file != path]
    except OSError:
        return []


def _metrics(directory: Path) -> Iterator[Check]:
    path, manifest = directory / FILE, Manifest(directory)
    try:
        for file in (path, manifest.path):
            if file.exists() and not file.is_file():  # a pipe or a terminal would be waited for
                yield Check("metrics", "problem", f"{file} is no file", f"move {quoted(file)} away")
                return
        yield _lines(path) if path.exists() else Check("metrics", "ok", f"{path}, made when it is needed")
        yield from _rollups(manifest, directory)
    except ForceError as error:
        yield Check("rollups", "problem", error.message, error.hint)
    except OSError as error:
        where = error.filename or directory
        yield Check("metrics", "problem", f"{where}: {reason(error)}", f"chmod -R u+rwX {quoted(directory)}")
    derived = directory / index.FILE
    if os.path.lexists(derived):
        remedy = f"rm -r {quoted(derived)}*: it is built anew"
        check = _database(Database("metrics index", derived, _INDEX, remedy))
        yield check if check.status == "ok" else replace(check, remedy=remedy)  # also of what is no file, or newer


def _lines(path: Path) -> Check:
    """Say how the end of `executions.jsonl` is: whole lines, all of which tell of executions."""
    os.close(os.open(path, os.O_WRONLY))
    with path.open("rb", buffering=0) as stream:
        size = stream.seek(0, os.SEEK_END)
        start = stream.seek(max(size - TAIL_BYTES, 0))
        start += len(stream.readline()) if start else 0
        lines = [line for _, some in pieces(stream, start, size) for line in some]
        finished = is_finished(stream.fileno(), size)
    if not finished and path.stat().st_size != size:  # somebody was writing it: one write can be seen in two parts
        return _lines(path)
    found = f"{path}, {_megabytes(size)}"
    if damaged := count(Tally(), records(lines)):
        found += f": {plural(damaged, 'damaged line')} among the last {len(lines):,}, not counted"
        return Check("metrics", "warning", found, "claude-force metrics verify: names them")
    if not finished:
        found += ": its last line is unfinished, as a full disk or a killed process leave it"
        return Check("metrics", "warning", found, "nothing is to be mended: the next line begins on its own")
    return Check("metrics", "ok", found)


def _rollups(manifest: Manifest, directory: Path) -> Iterator[Check]:
    """Say whether all files that make up the history are there; what they hold is for `metrics verify` to compare."""
    generation = manifest.current()
    missing = list(_missing(directory, generation))
    if missing and manifest.current().number == generation.number:  # or a rollup replaced them meanwhile
        names = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        yield Check("rollups", "problem", f"missing or cut short in {directory}: {names}", RESTORE)
    elif generation.number:
        yield Check("rollups", "ok", f"{plural(len(generation.days), 'day')} summed up in {manifest.path.parent}")


def _missing(directory: Path, generation: Generation) -> Iterator[str]:
    """Yield the files of `generation` that are not there, or shorter than they were."""
    raw = [receipt["raw"] for receipt in generation.receipts if receipt["raw"]]
    expected = {f"rollups/{file}": 1 for file in (*(file for file, _ in generation.days.values()), *raw)}
    expected |= {f"segments/{name}": moved for name, moved in generation.segments.items()}
    for file, size in expected.items():
        path = directory / file
        if not path.is_file() or path.stat().st_size < size:
            yield file


def _privacy(paths: Iterable[Path]) -> Iterator[Check]:
    """Warn of files beside the databases that others may read; SQLite gives its own the modes of the databases."""
    exposed = list(filter(_is_exposed, paths))
    if exposed:
        names = ", ".join(path.name for path in exposed)
        remedy = f"chmod go= {' '.join(map(quoted, exposed))}"
        yield Check("privacy", "warning", f"others may read {names}, with prompts and answers", remedy)


def _is_exposed(path: Path) -> bool:
    """Whether others than the owner may read a file; one that is gone, as a log of SQLite may be, is no more."""
    try:
        return os.name == "posix" and bool(path.lstat().st_mode & 0o077)
    except OSError:
        return False


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB"
