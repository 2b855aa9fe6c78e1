"""What each attempt to send passes: the circuit breaker and the limiter of its endpoint and model.

It knows the order of the two and tells them how the attempt went. What they make of it is their own business.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial

from ..errors import ApiError, ForceError
from .breaker import CircuitBreaker, mendable
from .limiter import Limiter

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from . import OnHead
    from .breaker import Rules
    from .faults import Header
    from .pace import Ticket
    from .shared import Known


class Gate:
    """The breakers and the limiter of one endpoint; threads share it."""

    def __init__(
        self,
        place: str,
        known: Known,
        rules: Rules,
        *,
        stop: threading.Event,
        wait: bool = False,
        notice: Callable[[str], None] | None = None,
    ) -> None:
        """Guard the endpoint at `place` by `rules`, from what is `known`. `stop` ends a wait, `notice` hears of it."""
        self._place = place
        self._rules = rules
        self._known = known
        self._stop = stop
        self._limiter = Limiter(known, stop=stop, wait=wait, notice=notice)
        self._breakers: dict[str, CircuitBreaker] = {}

    @contextmanager
    def __call__(self, model: str, deadline: float | None = None) -> Iterator[OnHead]:
        """Let one attempt to call `model` pass, and learn from how it goes; the body calls what it is given.

        Raises Busy if the circuit is open, TryLater if the limiter would wait too long, and Interrupted.
        """
        name = f"{model} at {self._place}"
        breaker = self._breaker(name)
        glance = breaker.glance()
        ticket = self._limiter.enter(name, deadline, answering=breaker.check(glance))
        try:
            with breaker.guard(deadline=deadline, glance=glance) as answered:
                yield partial(self._head, ticket, answered)
        except ApiError as error:
            if error.status == 429 and error.retryable:  # a spend limit is no matter of pace
                self._limiter.refused(ticket, error.retry_after)
            raise
        finally:
            self._limiter.leave(ticket)

    def _head(self, ticket: Ticket, answered: Callable[[], None], status: int, header: Header) -> None:
        ticket.header = header
        if status < 500 and status != 429:
            answered()
        if status == 200:
            self._limiter.answered(ticket)

    def _breaker(self, name: str) -> CircuitBreaker:
        if name not in self._breakers:  # two threads may make one each: they know the same
            self._breakers[name] = CircuitBreaker(
                name=name, rules=self._rules, records=self._known, counts=_counts, stop=self._stop
            )
        return self._breakers[name]


def _counts(error: BaseException) -> bool:
    """Whether `error` is the far end's failure; who is shown the answer may raise anything."""
    return isinstance(error, ForceError) and mendable(error)
