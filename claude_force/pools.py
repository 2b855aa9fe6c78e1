"""Where calls are made: by some threads, each by its own, or by the one that asks; and equal ones only once.

Every pool has the part of `concurrent.futures.Executor` that the runner uses: `submit`, whose future calls back.
"""

from __future__ import annotations

from threading import Lock, Thread

from .errors import ForceError, Interrupted

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


class ThreadPerCall:
    """Makes each call in a thread of its own, so that the caller can get other things ready meanwhile."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Promise:
        """Begin the call and return its future, which will hold what it returns or the ForceError that it raises."""
        promise = Promise()
        Thread(target=promise.keep, args=(call, args, kwargs), daemon=True).start()  # it may hang when we must end
        return promise


class Promise:
    """The future of a call that another thread makes."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[Callable[[Promise], Any]] | None = []
        self._finished: Finished | None = None

    def keep(self, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Make the call, and tell who waits."""
        try:
            self._finished = Finished(call(*args, **kwargs), None)
        except ForceError as error:
            self._finished = Finished(None, error)
        finally:
            with self._lock:
                waiting, self._waiting = self._waiting or [], None
            for tell in waiting:
                tell(self)

    def result(self) -> Any:
        """Return what the call returned, or raise what it raised; only after it has called back."""
        if self._finished is None:
            raise RuntimeError("the call ended by a defect, which its thread has told")
        return self._finished.result()

    def add_done_callback(self, call: Callable[[Promise], Any]) -> None:
        """Call back when the call has ended, or at once if it has."""
        with self._lock:
            if self._waiting is not None:
                self._waiting.append(call)
                return
        call(self)


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


class SingleFlight:
    """The requests that are under way in this process, so that equal ones are sent once."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Callable[[Any, bool], object]]] = {}
        self._lock = Lock()

    def do(self, key: str | None, send: Callable[[], Any], arrive: Callable[[Any, bool], object]) -> None:
        """Have `arrive` called with a future and whether it is shared: that of `send`, or of an equal call under way.

        Calls are equal if they have the same `key`; None is equal to nothing.
        """
        if key is None:
            send().add_done_callback(lambda future: arrive(future, False))
            return
        with self._lock:
            if key in self._waiting:
                self._waiting[key].append(arrive)
                return
            self._waiting[key] = []
        future = None
        try:
            future = send()
        finally:
            if future is None:  # an inline call was interrupted: who waits for it must hear of its end
                self._land(key, Finished(None, Interrupted("interrupted")))
        future.add_done_callback(lambda done: self._land(key, done, arrive))

    def _land(self, key: str, future: Any, *first: Callable[[Any, bool], object]) -> None:
        with self._lock:
            others = self._waiting.pop(key)  # before anybody hears, or a retry would join the flight that failed
        for arrive in first:
            arrive(future, False)
        for arrive in others:
            arrive(future, True)
