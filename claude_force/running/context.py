"""What a run needs to carry its calls out: the transport, the pool, the cache, the limits, and who is told."""

from __future__ import annotations

from ..frozen import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Protocol

    from ..client import Transport
    from ..pools import SingleFlight
    from ..records import Outcome, Reply
    from .spending import Spending
    from .tape import Tape

    class Pool(Protocol):
        """The part of `concurrent.futures.Executor` that is needed."""

        def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            """Make the call somewhere and return its future."""

    class Cache(Protocol):
        """The part of `ResponseCache` that is needed."""

        def get(self, key: str) -> Reply | None:
            """Return the reply kept under `key`."""

        def put(self, key: str, reply: Reply, *, agent: str) -> None:
            """Keep `reply` under `key`."""


def _ignore(*_: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class RunContext:
    """What carries calls out, and how: the transport, the pool, and the limits of the run."""

    connect: Callable[[], Transport]
    """Opens the transport, once; an answer from the cache needs none."""
    abort: Callable[[], object]
    """Ends every call in flight."""
    pool: Pool
    flights: SingleFlight
    jobs: int = 10
    stop_on_error: bool = True
    deadline: float | None = None
    """A `time.monotonic()` value after which no call is waited for."""
    prices: Mapping[str, Any] | None = None
    cache: Cache | None = None
    refresh: bool = False
    """Ask anew, and keep the new answer in the place of the cached one."""
    uncached_agents: frozenset[str] = frozenset()
    spending: Spending | None = None
    """What the run may spend; None if nobody counts."""
    tape: Tape | None = None
    """The run's journal: told of every step as it ends, and asked before the cache is; None for a single agent."""
    anew: frozenset[str] = frozenset()
    """Steps whose answers are taken neither from the journal nor from the cache."""
    record: Callable[[Outcome], object] = _ignore
    """Told every call that was made or answered from the cache, before anything that depends on it starts."""
    on_start: Callable[[str, str | None, str], object] = _ignore
    """Told the step, the label of its item, if it is one of many, and the model when a call is handed to the pool."""
    on_sent: Callable[[], object] = _ignore
    """Called after a call was handed to the pool: the time to open what its answer will need."""
    on_text: Callable[[str], None] | None = None
    """Told the answer's text as it comes, from the thread that receives it."""
    on_notice: Callable[[str], object] = _ignore
    """Told of progress."""
    on_warning: Callable[[str], object] = _ignore
    """Told what is not as it should be, though the run goes on."""
