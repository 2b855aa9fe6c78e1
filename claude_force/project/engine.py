"""What carries the calls of a workspace's runs out: the connections to the API, the threads that wait for answers."""

from __future__ import annotations

import os
import time
from threading import Lock

from .. import pools, run_ids
from ..frozen import replace
from ..running.context import RunContext
from ..workflow import dag
from .recording import new_tape, recorder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures import Executor
    from typing import Any

    from ..client import Transport
    from ..running.context import Pool
    from ..running.plan import Plan
    from ..running.spending import Spending
    from ..running.tape import Tape
    from ..settings.config import Settings
    from .workspace import Workspace


class Engine:
    """One transport, and one pool of threads for each number of jobs, which all runs of a workspace share."""

    def __init__(self, workspace: Workspace) -> None:
        """Open nothing yet."""
        self._workspace = workspace
        self._flights = pools.SingleFlight()
        self._transport: Transport | None = None
        self._opening = Lock()
        self._pools: dict[int, Executor] = {}
        self.process = os.getpid()
        """Who made it: a fork has neither its threads nor their locks."""

    def close(self) -> None:
        """Close the connections and let the threads go; what is used again is opened anew."""
        with self._opening:
            transport, self._transport = self._transport, None
        if transport:
            transport.close()
        while self._pools:
            self._pools.popitem()[1].shutdown(wait=False, cancel_futures=True)

    def context(
        self,
        plan: Plan,
        *,
        jobs: int | None = None,
        timeout: float | None = None,
        use_cache: bool = True,
        refresh: bool = False,
        run_id: str | None = None,
        max_cost: float | None = None,
        tape: Tape | None = None,
        from_step: str | None = None,
        **wishes: Any,
    ) -> RunContext:
        """Return what carries out the calls of `plan`; `wishes` are fields of a RunContext.

        A workflow that runs under an id has a journal, a new one unless a `tape` is given. `from_step` and what
        depends on it is asked anew; raises NotFound if there is no such step.
        """
        settings, stores, screen = self._workspace.settings, self._workspace.stores, self._workspace.screen
        jobs = _at_once(jobs, settings)
        anew = dag.since(plan.workflow, from_step) if from_step else frozenset()
        if tape is None and run_id and plan.workflow.source != "agent":
            tape = new_tape(self._workspace, plan, run_id)
        pool = self._pool(plan, jobs)
        if tape:
            cached = {"cache": use_cache and settings.cache_enabled, "no_cache": not use_cache, "refresh": refresh}
            stops = wishes.get("stop_on_error", True)
            _label(tape, pool, **cached, from_step=from_step, max_cost=max_cost, stop_on_error=stops)
        spending = stores.spending(run_id or run_ids.new(), max_cost)
        context = RunContext(
            connect=lambda: self.transport,
            abort=self.abort,
            pool=pool,
            flights=self._flights,
            jobs=jobs,
            deadline=time.monotonic() + timeout if timeout else None,
            prices=settings.prices,
            cache=stores.cache if use_cache else None,
            refresh=refresh,
            uncached_agents=frozenset(settings.cache_exclude_agents),
            spending=spending,
            tape=tape,
            anew=anew,
            on_notice=screen.note,
            on_warning=screen.warn,
            on_sent=lambda: self._get_ready(pool, tape, spending),
            record=recorder(self._workspace, plan.workflow, run_id),
        )
        return replace(context, **wishes)

    @property
    def transport(self) -> Transport:
        """What sends requests, with patience; threads that ask at once get the same one."""
        with self._opening:
            if self._transport is None:
                self._transport = self._connected()
            return self._transport

    def _connected(self) -> Transport:
        from ..client import connect  # http.client and ssl: 25 ms that reading commands need not pay
        from ..client.endpoint import far_end

        settings = self._workspace.settings
        return connect(
            settings.client,
            far_end(settings, self._workspace.environment, self._workspace.api_key),
            retries=settings.performance_max_retries,
            wait=self._workspace.wait,
            failure_threshold=settings.circuit_breaker_failure_threshold,
            timeout_seconds=settings.circuit_breaker_timeout_seconds,
            shared=self._workspace.stores.health,
            notice=self._workspace.screen.note,
            warn=self._workspace.screen.warn,
        )

    def abort(self) -> None:
        """End every call in flight; the next call opens a transport anew."""
        with self._opening:
            transport, self._transport = self._transport, None
        if transport:
            transport.abort()

    def _get_ready(self, pool: Pool, tape: Tape | None, spending: Spending) -> None:
        """Open what an answer will need, while it is awaited."""
        if isinstance(pool, pools.Inline):
            return
        spending.warm()
        if tape:
            tape.begin()
        if self._workspace.settings.features_memory_enabled:
            self._workspace.stores.memory.warm()

    def _pool(self, plan: Plan, count: int) -> Pool:
        """Return where the calls of `plan` are made; threads serve all runs of this workspace that want as many."""
        alone = len(plan.jobs) == 1 and plan.workflow.steps[0].foreach is None
        if alone and self._transport is None:
            return pools.ThreadPerCall()  # the stores are opened while the first answer is awaited
        if alone or count == 1:
            return pools.Inline()
        if count not in self._pools:
            self._pools[count] = pools.threads(count)
        return self._pools[count]


def _at_once(jobs: int | None, settings: Settings) -> int:
    """Return how many calls may be under way, where `jobs` were asked for."""
    return (jobs or settings.performance_max_concurrent_agents) if settings.features_parallel_workflows_enabled else 1


def _label(tape: Tape, pool: Pool, **options: Any) -> None:
    """Write down how a run is made, at once if its first call will be over before `on_sent` hears of it."""
    tape.note(**options)
    if isinstance(pool, pools.Inline):
        tape.begin()
