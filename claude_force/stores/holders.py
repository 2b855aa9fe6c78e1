"""Which processes live: each that holds something keeps a small file locked, and the lock dies with it.

It does not know what is held. A lock tells a dead holder from a living one where a process id cannot: ids are given
out again, start anew after a reboot, and mean nothing in another container that shares the directory.
"""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, suppress
from functools import cache

from ..files import locked, private_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from weakref import WeakSet

_SUFFIX = ".holder"
_OWING = ".owing"
"""What a process left behind that could not write down what it held: this counts, without a lock, until it is gone."""
_ID = re.compile(r"[0-9a-f]{16}")


class Holder:
    """On disk: `directory/ID.holder`, an empty file that this process has locked. A killed one leaves it unlocked.

    Made on first need, removed by `close`. A fork has an id of its own.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._id = ""
        self._held = ExitStack()
        self._process = os.getpid()

    @property
    def id(self) -> str:
        """The id of this process, 16 hex digits; raises OSError where the file cannot be made or locked."""
        if not self._id:
            self._id, self._process = self._taken(), os.getpid()
        return self._id

    @property
    def held(self) -> bool:
        """Whether this process took an id and has not given it up."""
        return bool(self._id) and self._process == os.getpid()

    def dead(self, ids: Iterable[str]) -> set[str]:
        """Return those of `ids` whose process is gone, and remove what dead processes left; raises OSError.

        Only one process at a time may ask, such as one in a transaction: two could take each other for a holder.
        """
        asked = set(ids)
        names = self._names()
        left = {name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)}
        for holder in {name.removesuffix(_OWING) for name in names if name.endswith(_OWING)} - asked:
            with suppress(OSError):  # it holds nothing any more
                self._path(holder, _OWING).unlink()
        own = {self._id} if self.held else set()
        return asked - own - {other for other in (asked | left) - own if self._lives(other)}

    def leave(self) -> None:
        """Give the id up so that what it holds stays held: the disk is full, and this needs no room on it."""
        with suppress(OSError):
            self._path(self._id).rename(self._path(self._id, _OWING))
        self._leave()

    def close(self) -> None:
        """Give the id up; the next use takes a new one."""
        if self.held:
            with suppress(OSError):  # a directory that was made read-only: the unlocked file says enough
                self._path(self._id).unlink()
        self._leave()

    def _taken(self) -> str:
        private_directory(self._directory)
        while True:
            chosen = os.urandom(8).hex()
            with ExitStack() as held:
                # gone: who looks for dead holders found it before it was locked
                if held.enter_context(locked(self._path(chosen), wait=False)) and self._path(chosen).exists():
                    self._held = held.pop_all()
                    _leaving_in_children().add(self)
                    return chosen

    def _lives(self, holder: str) -> bool:
        if not _ID.fullmatch(holder):  # from a file that anybody may have written: no name of a path of ours
            return False
        path = self._path(holder)
        if path.is_symlink() or not path.is_file():
            return self._path(holder, _OWING).is_file()
        with locked(path, wait=False) as free:
            if free:
                with suppress(OSError):  # Windows removes no file that is open
                    path.unlink()
            return not free

    def _leave(self) -> None:
        """Close what is held; in a fork that is a copy, and the lock stays with the parent."""
        self._held.close()
        self._id = ""

    def _names(self) -> list[str]:
        try:
            return os.listdir(self._directory)
        except FileNotFoundError:
            return []

    def _path(self, holder: str, suffix: str = _SUFFIX) -> Path:
        return self._directory / f"{holder}{suffix}"


@cache
def _leaving_in_children() -> WeakSet[Holder]:
    """Return the holders whose copies a fork gives up at once: it would keep the lock of a parent that it outlives.

    One for the process: what is registered to follow a fork stays so.
    """
    from weakref import WeakSet

    holders: WeakSet[Holder] = WeakSet()

    def leave() -> None:
        for holder in tuple(holders):
            holder._leave()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=leave)
    return holders
