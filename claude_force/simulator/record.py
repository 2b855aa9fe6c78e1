"""What arrived at the simulator, and how much of it at once.

It does not know what a request means, only whether it asks for a message.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from json import loads
from threading import Condition
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True)
class Received:
    """One request as it arrived: its path with the query, names of headers in lower case, times in monotonic seconds.

    `finished` and `status` are None while the answer is under way; `status` stays None where none was sent.
    """

    method: str
    path: str
    headers: dict[str, str]
    raw: bytes
    started: float
    finished: float | None = None
    status: int | None = None

    @property
    def body(self) -> Any:
        """The body as JSON, or None where it is none. Read on demand, so that serving does not pay for it."""
        try:
            return loads(self.raw)
        except (ValueError, RecursionError):
            return None


class Record:
    """The requests in order of arrival, for any number of threads.

    A request is finished just before the last byte of its answer is sent, so a client that has its answer sees it so.
    """

    def __init__(self, remember: int | None = None) -> None:
        self._remember = remember
        self._changed = Condition()
        self._requests: dict[int, Received] = {}
        self._in_flight: set[int] = set()
        self._arrived = 0
        self._messages = 0
        self._peak = 0

    @property
    def requests(self) -> tuple[Received, ...]:
        """Those on record, oldest first."""
        with self._changed:
            return tuple(self._requests.values())

    @property
    def peak_in_flight(self) -> int:
        """The largest number of message requests that were under way at once."""
        with self._changed:
            return self._peak

    def arrived(self, received: Received, *, message: bool) -> int:
        """Note a request and return its number; `message` says that it asks for a message."""
        with self._changed:
            number = self._arrived
            self._arrived += 1
            self._requests[number] = received
            if message:
                self._messages += 1
                self._in_flight.add(number)
                self._peak = max(self._peak, len(self._in_flight))
            self._forget()
            self._changed.notify_all()
            return number

    def finished(self, number: int, status: int | None) -> None:
        """Note the status of an answer; only the first call for a request counts."""
        with self._changed:
            self._in_flight.discard(number)
            received = self._requests.get(number)
            if received is not None and received.finished is None:
                self._requests[number] = replace(received, finished=monotonic(), status=status)

    def wait_for(self, n: int, timeout: float) -> tuple[Received, ...]:
        """Return the requests once `n` have asked for a message. Raises TimeoutError after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._messages >= n, timeout):
                raise TimeoutError(f"{self._messages} of {n} requests arrived in {timeout} s")
            return tuple(self._requests.values())

    def _forget(self) -> None:
        if self._remember is not None and (excess := len(self._requests) - self._remember) > 0:
            for number in list(islice(self._requests, excess)):
                del self._requests[number]
