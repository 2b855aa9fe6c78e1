"""Where a run's answers go besides stdout: checked before anything is paid for, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ForceError, UsageError, reason
from ..files import write_atomic
from ..records import Result
from ..reports.table import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def file(name: str | None) -> Path | None:
    """Return the path of the file to write, or None; raises UsageError if it cannot be made."""
    if name is None:
        return None
    path = Path(name)
    try:
        if path.is_dir():
            raise UsageError(f"-o {name}: is a directory", hint="name a file in it")
        if path.exists():
            path = path.resolve()  # a link that the user named is followed, not replaced
    except OSError as error:
        raise UsageError(f"-o {name[:80]}: {reason(error)}", hint="name another file") from None
    _refuse_unwritable(path, name)
    return path


def _refuse_unwritable(path: Path, name: str) -> None:
    """Raise UsageError if there is no directory for the file, or none that takes it: a file is replaced as a whole."""
    place = path.parent if path.is_file() or not path.exists() else path
    if not os.path.lexists(place):
        raise UsageError(f"-o {name}: there is no directory {place}", hint=f"mkdir -p {quoted(place)}")
    if path.parent == place and not place.is_dir():
        raise UsageError(f"-o {name}: {place} is no directory", hint="name a file in a directory")
    if not _may_write(place):
        raise UsageError(f"-o {name}: cannot write to {place}", hint="name a file elsewhere")


def _may_write(place: Path) -> bool:
    return os.access(place, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


class Folder:
    """The directory for a workflow's answers, made if need be; raises UsageError if it cannot be written.

    What cannot be written later is warned of and noted in `failed`: an answer that is paid for is not lost with it.
    """

    def __init__(self, name: str, warn: Callable[[str], None]) -> None:
        self.path = Path(name)
        self.failed = False
        self._warn = warn
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise UsageError(
                f"-o {name}: is no directory", hint="name a directory: each step has a file in it"
            ) from None
        except OSError as error:
            raise UsageError(f"-o {name}: {reason(error)}", hint=_ELSEWHERE) from None
        if not _may_write(self.path):
            raise UsageError(f"-o {name}: cannot write there", hint=_ELSEWHERE)

    def keep(self, name: str, text: str) -> None:
        """Write `text` to the file `name`."""
        try:
            write_atomic(self.path / name, text.encode("utf-8", "surrogatepass"), mode=0o644)
        except OSError as error:
            self.failed = True
            self._warn(f"cannot write {self.path / name}: {reason(error)}")


_ELSEWHERE = "name a directory that you can write to"


def written(target: Path, text: str, data: dict[str, Any]) -> Result:
    """Write the answer to `target` and return the result; an answer that cannot be written is printed instead."""
    try:
        write_atomic(target, f"{text.rstrip()}\n".encode("utf-8", "surrogatepass"), mode=0o644)
    except OSError as error:  # the answer is paid for: it goes to stdout rather than nowhere
        why = ForceError(f"cannot write {target}: {reason(error)}", hint="it is on stdout")
        return Result(data | {"success": False, "error": why.facts()}, text, why, 1)
    return Result(data, "", streamed=True)
