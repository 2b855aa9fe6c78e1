"""The pace of sending: as fast as the API allows, learnt from what it says, together with all who send.

Nothing is held back as long as nothing is refused and the API says that plenty is left. What it says of its limit on
requests, or a 429, makes a pace, and each call takes the next moment that is free, whichever process it belongs to. In
addition a process halves its number of calls in flight when it is refused, and adds to it with each answer.
"""

from __future__ import annotations

import time
from functools import partial
from threading import Lock

from ..errors import Interrupted, TryLater
from ..frozen import replace
from .pace import FIRST_INTERVAL, NO_PACE, Pace, Ticket, eased, left, plenty, read_pace, slowed, taken
from .shared import moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from typing import Any

    from ..records import Record
    from .shared import Known

LONGEST_WAIT_SECONDS = 120.0
"""What the API asks to wait beyond this is not sat out unless the user says so."""
COLD_CALLS, COLD_SECONDS = 3, 0.008
"""Where nothing is known, so many calls begin at once and one more each time so long passes: refusals come quickly."""
OPEN_WINDOW = 64.0
"""So many calls in flight are no limit any more."""
POLL_SECONDS = 0.02


class Limiter:
    """Holds calls back until they may be sent. Threads share it, processes share its records."""

    def __init__(
        self,
        known: Known,
        *,
        stop: threading.Event,
        wait: bool = False,
        notice: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Sit out even a long wait if `wait`; `stop` ends one, `notice` is told of one, `clock` is the epoch's."""
        self._known = known
        self._stop = stop
        self._wait = wait
        self._notice = notice
        self._clock = clock
        self._lock = Lock()
        self._lanes: dict[str, _Lane] = {}
        self._told: set[tuple[str, float]] = set()

    def enter(self, name: str, deadline: float | None = None, *, answering: bool = False) -> Ticket:
        """Wait until a call to `name` may be sent, and return its ticket, to be given back by `leave`.

        `answering` says that the far end is known to answer, so that calls need not begin carefully. Behind many others
        at a slow pace it waits as long as that takes. Raises TryLater where the API asks to wait for more than two
        minutes and that is not to be sat out, or where the wait would outlast `deadline`, and Interrupted.
        """
        lane = self._lane(name, answering=answering)
        while (pause := lane.take()) and not (self._pace(name).floor and lane.take(freely=True) == 0):
            if deadline is not None and time.monotonic() + pause >= deadline:
                raise _out_of_time(name, pause)
            self._sleep(pause)
        try:
            return self._moment(name, lane, deadline)
        except BaseException:
            lane.leave()
            raise

    def leave(self, ticket: Ticket) -> None:
        """Take note that the call has ended."""
        self._lanes[ticket.name].leave()

    def answered(self, ticket: Ticket) -> None:
        """Take note of an answer that has begun, and of what its headers say."""
        lane = self._lanes[ticket.name]
        lane.answered()
        remaining = left(ticket.header)
        if ticket.pace or (remaining and not plenty(*remaining)):
            later = 0 if ticket.pace else lane.sent - ticket.number
            self._change(ticket.name, partial(eased, ticket, remaining, later))

    def refused(self, ticket: Ticket, retry_after: float | None) -> None:
        """Take note of a 429 that asks to wait `retry_after` seconds: nobody sends before."""
        if self._change(ticket.name, partial(slowed, ticket, left(ticket.header), retry_after)):
            self._lanes[ticket.name].halve()

    def _moment(self, name: str, lane: _Lane, deadline: float | None) -> Ticket:
        """Wait for the moment at which the call may be sent."""
        while True:
            now = self._clock()
            pace = self._pace(name)
            if not pace.interval and pace.hold <= now:
                return Ticket(name, lane.count(), now)
            latest = float("inf") if deadline is None else now + deadline - time.monotonic()
            if pace.hold > now + LONGEST_WAIT_SECONDS and not self._wait:
                raise _parked(name, pace.hold, now)
            at, took = self._change(name, partial(taken, latest))
            if at > latest:
                raise _out_of_time(name, at - now)
            self._tell(name, took, at - now)
            if self._arrived(name, at, took.cut):
                return Ticket(name, took.sent, at, took)

    def _arrived(self, name: str, at: float, cut: float) -> bool:
        """Wait for the moment `at`, or until there is no pace any more; return False if that moment became void."""
        while True:
            pace, now = self._pace(name), self._clock()
            if not pace.interval and pace.hold <= now:
                return True
            if pace.cut != cut:
                return False
            if (rest := at - now) <= 0:
                return True
            self._sleep(min(rest, 1.0 + rest / 10))

    def _pace(self, name: str) -> Pace:
        record = self._known.read("paces", name)
        return read_pace(record, self._clock()) if record else NO_PACE

    def _change(self, name: str, step: Callable[[Pace, float], tuple[Pace | None, Any]]) -> Any:
        def change(record: Record | None) -> tuple[Record | None, Any]:
            now = self._clock()
            pace, result = step(read_pace(record, now), now)
            return (vars(replace(pace, changed=now)) if pace else None), result

        return self._known.change("paces", name, change)

    def _lane(self, name: str, *, answering: bool) -> _Lane:
        with self._lock:
            if name not in self._lanes:
                self._lanes[name] = _Lane(careful=not answering)
            return self._lanes[name]

    def _tell(self, name: str, pace: Pace, seconds: float) -> None:
        """Tell of a wait that one would notice, and of each pace once."""
        if seconds < FIRST_INTERVAL / 2 or (name, pace.cut) in self._told or not self._notice:
            return
        self._told.add((name, pace.cut))
        rate = f"{60 / pace.interval:,.0f} requests a minute" if pace.interval else "one request at a time"
        self._notice(f"{name}: rate limited, waiting {seconds:.1f} s; then {rate}, from all processes together")

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Interrupted("interrupted")


def no_room(seconds: float) -> str:
    """Return what there is to say of a wait that would outlast the time limit."""
    return f"the time limit leaves no room for a wait of {seconds:.1f} s"


class _Lane:
    """The calls of this process to one far end: how many are in flight, and how many may be."""

    def __init__(self, *, careful: bool) -> None:
        self.sent = 0
        self._lock = Lock()
        self._in_flight = 0
        self._answers = 0
        self._began = time.monotonic()
        self._careful = careful
        self._window = float("inf")

    def take(self, *, freely: bool = False) -> float:
        """Count a call as in flight and return 0, or return after how many seconds to ask again."""
        with self._lock:
            if not freely and self._in_flight >= (most := self._most()) // 1:
                return (1 - most % 1) * COLD_SECONDS if self._careful else POLL_SECONDS
            self._in_flight += 1
            return 0.0

    def leave(self) -> None:
        with self._lock:
            self._in_flight -= 1

    def count(self) -> int:
        with self._lock:
            self.sent += 1
            return self.sent

    def answered(self) -> None:
        with self._lock:
            self._answers += 1
            self._window += 1 / self._window
            if self._window > OPEN_WINDOW:
                self._window = float("inf")

    def halve(self) -> None:
        with self._lock:
            self._careful = False
            self._window = max(1.0, self._in_flight // 2)

    def _most(self) -> float:
        if not self._careful:
            return self._window
        most = COLD_CALLS + self._answers + (time.monotonic() - self._began) / COLD_SECONDS
        self._careful = most < OPEN_WINDOW
        return most


def _parked(name: str, until: float, now: float) -> TryLater:
    hint = f"try again after {moment(until)}, or sit it out with --wait"
    message = f"rate limited: the API asks to send nothing to {name} until {moment(until)}"
    return TryLater(message, status=429, kind="rate_limit_error", retry_after=until - now, hint=hint)


def _out_of_time(name: str, seconds: float) -> TryLater:
    message = f"rate limited: other calls to {name} come first"
    return TryLater(message, status=429, retry_after=seconds, hint=no_room(seconds))
