"""Vectors of texts that are compared again and again, so that a model reads each text once.

It does not know what the texts are for, nor which model makes the vectors.
"""

from __future__ import annotations

import sqlite3
from array import array
from base64 import b64decode, b64encode
from contextlib import suppress
from hashlib import sha256

from .shelf import SealedShelf, SqliteMapping
from .sqlitefile import Attempts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Self

_MAX_BYTES = 50_000_000
"""Room for twenty thousand vectors of 384 numbers."""


class Embeddings:
    """On disk: a SQLite file at `path`, with `-wal` and `-shm` beside it while a process has it open.

    It can be deleted at any time. A vector lies there as 32-bit floats under an HMAC, and its key is a digest of the
    text and the model: a changed text has no vector yet, and vectors that came with a cloned repository count as
    absent. Nothing that is wrong on the disk is raised: a damaged file is set aside, one that cannot be used is done
    without, and `warn` is told.
    """

    def __init__(
        self,
        path: Path,
        embed: Callable[[Sequence[str]], Sequence[Sequence[float]]],
        *,
        model: str,
        secret: bytes | Callable[[], bytes],
        warn: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Open nothing yet. `embed` makes the vectors that are missing, with the model that `model` identifies."""
        self._file = SqliteMapping(path, max_bytes=_MAX_BYTES)
        self._shelf = SealedShelf(self._file, secret)
        self._embed = embed
        self._model = model
        self._attempt = Attempts(
            self._file.file,
            name="the store of vectors",
            failure=lambda _, error: f"{path}: {error}; vectors are computed anew",
            warn=warn,
        )
        self._known: dict[str, Sequence[float]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; vectors that were read stay known."""
        with suppress(sqlite3.Error, OSError):
            self._file.close()

    def __call__(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """Return the vectors of `texts`, in their order, each from memory, the disk, or the model."""
        unknown = dict.fromkeys(text for text in texts if text not in self._known)
        for text in unknown:
            if kept := self._kept(text):
                self._known[text] = kept
        missing = [text for text in unknown if text not in self._known]
        if missing:
            for text, vector in zip(missing, self._embed(missing), strict=True):
                self._known[text] = vector
                self._keep(text, vector)
        return [self._known[text] for text in texts]

    def _kept(self, text: str) -> Sequence[float] | None:
        if not self._file.exists():
            return None
        encoded = self._attempt("read", lambda: self._shelf.get(self._key(text)), None)
        return array("f", b64decode(encoded)).tolist() if encoded else None

    def _keep(self, text: str, vector: Sequence[float]) -> None:
        encoded = b64encode(array("f", vector).tobytes()).decode()
        self._attempt("write", lambda: self._shelf.__setitem__(self._key(text), encoded), None)

    def _key(self, text: str) -> str:
        return sha256(f"{self._model}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()
