"""What calls know of the API's health, from one another: those of this process, or of all that share a store.

It knows names and records, and what to do where the store fails: go on alone, since no money is at stake. What the
records say is the breaker's and the limiter's business.
"""

from __future__ import annotations

import time
from threading import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, TypeVar

    from ..records import Change, Record

    T = TypeVar("T")

    class Shared(Protocol):
        """Where processes keep records by kind, "circuits" or "paces", and name; whatever fails is an OSError."""

        def read(self, kind: str, name: str) -> Record | None:
            """Return the record, a JSON object."""

        def change(self, kind: str, name: str, step: Change[T]) -> T:
            """Put what `step` makes of the record in its place, while nobody else changes anything.

            `step` returns the new record, or None to leave it as it is, and the result that is returned here.
            """


SKEW_SECONDS = 1.0
"""By so much a record may be ahead of the clock; beyond, the clock was set back since, and the record says nothing."""


class Known:
    """The records in `shared`, or those of this process where there is no such store, or where it failed once."""

    def __init__(self, shared: Shared | None = None, warn: Callable[[str], object] | None = None) -> None:
        """Read nothing yet; `warn`, or Python's warnings, is told once if the store fails."""
        self._shared = shared
        self._warn = warn
        self._own: dict[tuple[str, str], Record] = {}
        self._lock = Lock()

    def read(self, kind: str, name: str) -> Record | None:
        """Return the record of this `kind` that is known under `name`."""
        if self._shared is not None:
            try:
                return self._shared.read(kind, name)
            except OSError as error:
                self._go_alone(error)
        return self._own.get((kind, name))

    def change(self, kind: str, name: str, step: Change[T]) -> T:
        """Put what `step` makes of the record in its place, and return what else it returns; None changes nothing."""
        if self._shared is not None:
            try:
                return self._shared.change(kind, name, step)
            except OSError as error:
                self._go_alone(error)
        with self._lock:
            record, result = step(self._own.get((kind, name)))
            if record is not None:
                self._own[kind, name] = record
            return result

    def _go_alone(self, error: OSError) -> None:
        with self._lock:
            shared, self._shared = self._shared, None
        if shared is not None:
            from warnings import warn  # a tenth of a millisecond that calls need not pay

            reason = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else error
            (self._warn or warn)(
                f"{reason}; what other processes learn about the API's health is not known to this one"
            )


def moment(seconds: float) -> str:
    """Return a time of the epoch as a local date and time of day."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
