"""Where a run's answers go besides stdout: checked before anything is paid for, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ForceError, UsageError, reason
from ..files import write_atomic
from ..records import Result

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
            raise UsageError(f"-o {name}: is a directory", hint="name a file")
        if path.exists():
            return path.resolve()  # a link that the user named is followed, not replaced
    except OSError as error:
        raise UsageError(f"-o {name[:80]}: {reason(error)}") from None
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(f"-o {name}: cannot write to {path.parent}", hint="make the directory first")
    return path


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
        except OSError as error:
            raise UsageError(f"-o {name}: {reason(error)}") from None
        if not os.access(self.path, os.W_OK):
            raise UsageError(f"-o {name}: cannot write there")

    def keep(self, name: str, text: str) -> None:
        """Write `text` to the file `name`."""
        try:
            write_atomic(self.path / name, text.encode("utf-8", "surrogatepass"), mode=0o644)
        except OSError as error:
            self.failed = True
            self._warn(f"cannot write {self.path / name}: {reason(error)}")


def written(target: Path, text: str, data: dict[str, Any]) -> Result:
    """Write the answer to `target` and return the result; an answer that cannot be written is printed instead."""
    try:
        write_atomic(target, f"{text.rstrip()}\n".encode("utf-8", "surrogatepass"), mode=0o644)
    except OSError as error:  # the answer is paid for: it goes to stdout rather than nowhere
        why = ForceError(f"cannot write {target}: {reason(error)}", hint="it is on stdout")
        return Result(data | {"success": False, "error": why.facts()}, text, why, 1)
    return Result(data, "", streamed=True)
