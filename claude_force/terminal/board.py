"""A workflow's steps while they run: on a terminal a line each that is drawn anew, elsewhere a line per event."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Event, RLock, Thread
from time import monotonic

from ..reports.table import columns, cut, duration, money, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from ..records import Outcome
    from ..running.plan import Plan
    from .output import Screen

_COLORS = {"ok": "32", "cached": "36", "failed": "31", "running": "33", "skipped": "2", "waiting": "2"}
_TICK = 0.1
"""Seconds between two drawings."""
_BESIDE_NAME = 13
"""Columns for the state, the gaps around it, and the last one, which stays empty: a full line may wrap."""


class Board:
    """Follows one run; `started` and `ended` may be called from the consumer's thread alone."""

    def __init__(self, plan: Plan, screen: Screen) -> None:
        self.screen = screen
        self.ids = [step.id for step in plan.workflow.steps]
        self.began = monotonic()
        self.running: dict[str, float] = {}
        self.results: dict[str, Outcome] = {}
        self.members: dict[str, int] = {}
        self._drawn = 0
        self._lock = RLock()
        self._over = Event()
        self._ticker = Thread(target=self._tick, daemon=True) if screen.live else None
        if self._ticker:
            self._ticker.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def started(self, step: str, item: str | None, model: str) -> None:
        """Show that a step, or a member of one, has been handed to the pool."""
        with self._lock:
            self.running.setdefault(step, monotonic())
        if not self._ticker:
            self.screen.note(one_line(f"{_label(step, item)}: started ({model})"))

    def ended(self, outcome: Outcome) -> None:
        """Show that a step, or a member of one, has come to its end."""
        with self._lock:
            if outcome.member is not None:
                self.members[outcome.step] = self.members.get(outcome.step, 0) + 1
            else:
                self.results[outcome.step] = outcome
        if not self._ticker:
            self.screen.note(one_line(f"{_label(outcome.step, outcome.item)}: {describe(outcome)}"))

    def close(self, *, stand: bool = True) -> None:
        """Draw the last state and let the lines stand, or take them away."""
        if self._ticker and not self._over.is_set():
            self._over.set()
            self._ticker.join()
            with self.hidden():
                if stand:
                    self._draw()
                self._drawn = 0

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take away what is drawn while something else is printed; the next tick draws it again below."""
        with self._lock:
            if self._drawn:
                self.screen.draw(f"\033[{self._drawn}F\033[J")
                self._drawn = 0
            yield

    def _tick(self) -> None:
        while True:
            with self._lock:
                self._draw()
            if self._over.wait(_TICK):
                return

    def _draw(self) -> None:
        lines = self._lines()
        up = f"\033[{self._drawn}F" if self._drawn else ""
        self.screen.draw(up + "".join(f"\033[K{line}\n" for line in lines) + "\033[J")
        self._drawn = len(lines)

    def _lines(self) -> list[str]:
        """Return a line for each step, or for those at work if there are more than a screen holds."""
        shown = self.ids
        if len(shown) > (height := self.screen.height) - 2:
            at_work = [i for i in self.ids if i in self.running and i not in self.results]
            shown = at_work[: max(height - 3, 0)]
        names = min(max((columns(i) for i in self.ids), default=0), 30, max(self.screen.width - _BESIDE_NAME, 1))
        lines = [self._line(i, names) for i in shown]
        if len(shown) < len(self.ids):
            lines.append(cut(f"{len(self.results)} of {len(self.ids)} steps done", self.screen.width - 1))
        return lines

    def _line(self, step_id: str, names: int) -> str:
        state, detail = self._state(step_id)
        name = cut(one_line(step_id), names)
        text = cut(one_line(detail), self.screen.width - names - _BESIDE_NAME)
        painted = f"\033[{_COLORS[state]}m{state:<8}\033[0m" if self.screen.color else f"{state:<8}"
        return f"{name}{' ' * (names - columns(name))}  {painted}  {text}"

    def _state(self, step_id: str) -> tuple[str, str]:
        if outcome := self.results.get(step_id):
            return outcome.status, _detail(outcome)
        if since := self.running.get(step_id):
            done = f", {self.members[step_id]} items done" if step_id in self.members else ""
            return "running", f"{duration(monotonic() - since)}{done}"
        return "waiting", ""


def _label(step: str, item: str | None) -> str:
    return step if item is None else f"{step}[{cut(item, 60)}]"


def describe(outcome: Outcome) -> str:
    """Return how a step ended: its status, then its time and cost, its error, or why it was not run."""
    return f"{outcome.status}: {_detail(outcome)}"


def _detail(outcome: Outcome) -> str:
    if outcome.error:
        return outcome.error.message
    return outcome.note or f"{duration(outcome.seconds)}, {money(outcome.cost)}"
