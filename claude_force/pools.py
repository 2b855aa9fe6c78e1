"""Where calls are made: in threads, or one after the other in the thread that asks.

Both have the part of `concurrent.futures.Executor` that the runner uses: `submit`, whose future calls back.
"""

from __future__ import annotations

from .errors import ForceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from typing import Any


def threads(count: int) -> Executor:
    """Return a pool of at most `count` threads, started as they are needed."""
    from concurrent.futures import ThreadPoolExecutor  # 6 ms that a single call need not pay

    return ThreadPoolExecutor(count, thread_name_prefix="claude-force")


class Inline:
    """Makes each call at once, in the caller's own thread."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Finished:
        """Make the call and return its finished future, which holds a ForceError; anything else passes through."""
        try:
            return Finished(call(*args, **kwargs), None)
        except ForceError as error:
            return Finished(None, error)

    def shutdown(self, *, wait: bool = True, cancel_futures: bool = False) -> None:
        """Do nothing: no call outlives its `submit`."""


class Finished:
    """The future of a call that has been made."""

    def __init__(self, value: Any, error: ForceError | None) -> None:
        self._value = value
        self._error = error

    def result(self) -> Any:
        """Return what the call returned, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._value

    def add_done_callback(self, call: Callable[[Finished], Any]) -> None:
        """Call back at once."""
        call(self)
