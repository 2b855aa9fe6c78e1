"""Wiring: which project this is, and each part that works on it, opened on first use and closed together."""

from __future__ import annotations

import os
import time
from functools import cache, cached_property
from pathlib import Path
from threading import Lock

from . import attachments, config, dag, library, locations, pools, schema, workflow
from . import plan as plans
from .errors import UsageError, ValidationError
from .frozen import replace
from .line import Line
from .recording import new_tape, recorder
from .records import canonical
from .skillset import skills_of
from .storage import Storage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, Self

    from .client import Transport
    from .config import Settings
    from .line import Pool
    from .output import Screen
    from .plan import Plan
    from .records import Agent, Document, Skill, Step, Workflow
    from .routing import Router
    from .spending import Spending
    from .tape import Tape


class Workspace:
    """A project, its settings, its library and its parts.

    `state` is the directory of the project's `.claude`; `root` is where its files lie. Outside any project the state
    is that of the user's home and the root is the working directory.
    """

    def __init__(
        self,
        *,
        screen: Screen,
        config: str | Path | None = None,
        api_key: str | None = None,
        start: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        start = start or locations.working_directory()
        self.screen = screen
        self.environment = os.environ if environment is None else environment
        self.home = locations.home(self.environment)
        self.state = locations.project(start) or self.home
        self.root = start if self.state == self.home else self.state.parent
        self.auto_model: bool | None = None
        """Whether to route; None leaves it to `routing.auto`."""
        self.wait = False
        """Whether to sit out however long the API asks to wait."""
        self._config = Path(config) if config else None
        self._api_key = api_key
        self._flights = pools.Flights()
        self._transport: Transport | None = None
        self._opening = Lock()
        self._pools: dict[int, Pool] = {}
        self._opened: list[Callable[[], object]] = []
        self.stores = Storage(
            self.state, self.home, settings=lambda: self.settings, keys=lambda: self.keys, warn=screen.warn
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every part that was opened, the last one first; one that is used again is opened anew."""
        with self._opening:
            transport, self._transport = self._transport, None
        if transport:
            transport.close()
        while self._opened:
            self._opened.pop()()
        self._pools.clear()
        self.stores.close()

    @cached_property
    def settings(self) -> Settings:
        """The settings in force; warns of unknown keys."""
        if self._config and not os.path.isfile(self._config):
            raise UsageError(f"--config {self._config}: no such file")
        project = self._config or (self.state / "claude.json" if self.state != self.home else None)
        settings, warnings = config.load(
            user=self.home / "claude.json", project=project, environment=self.environment, flags={}
        )
        for warning in [*warnings, *_without_effect(settings)]:
            self.screen.warn(warning)
        return settings

    @cached_property
    def shelves(self) -> tuple[library.Shelf, ...]:
        """Where agents, skills and workflows lie, nearest first."""
        user = library.shelf("user", self.home)
        if self.state == self.home:
            return user, library.bundled_shelf()
        return library.shelf("project", self.state, boundary=self.state.parent), user, library.bundled_shelf()

    def agent(self, name: str) -> Agent:
        """Return the agent called `name`, with what `claude.json` says of it; raises NotFound."""
        path = self.settings.agents.get(name, {}).get("path")
        if path:
            return self._configured(library.read_agent(path, "config", name=name))
        return self._configured(library.find_agent(self.shelves, name, warn=self.screen.warn))

    def agents(self) -> list[Agent]:
        """Return all agents by name, the nearest of each name, with what `claude.json` says of them."""
        found = {a.name: a for a in library.list_agents(self.shelves, warn=self.screen.warn)}
        for name, entry in self.settings.agents.items():
            if entry.get("path"):
                found[name] = library.read_agent(entry["path"], "config", name=name)
        return [self._configured(found[name]) for name in sorted(found)]

    def _configured(self, agent: Agent) -> Agent:
        entry = self.settings.agents.get(agent.name, {})
        changes = {key: entry[key] for key in ("model", "effort", "max_tokens", "skills") if key in entry}
        if changes.get("model") == "inherit":
            changes["model"] = None
        return replace(agent, **changes) if changes else agent

    def skill(self, name: str) -> Skill:
        """Return the skill called `name`; raises NotFound."""
        return library.find_skill(self.shelves, name, warn=self.screen.warn)

    def workflow(self, name: str) -> Workflow:
        """Return the workflow called `name`, or the one in the file `name` if it is a path; raises UsageError."""
        if name in self.settings.workflows:
            data = self.settings.workflows[name]
            return workflow.parse(name, data, source="config", read_schema=self._schema_reader(self.state))
        if name.endswith((".toml", ".json")) or os.sep in name:
            found = library.read_workflow(Path(name), "path")
        else:
            found = library.find_workflow(self.shelves, name, warn=self.screen.warn)
        reader = self._schema_reader(found.path.parent)
        return workflow.parse(found.name, found.data, source=found.source, path=found.path, read_schema=reader)

    def workflows(self) -> list[Workflow]:
        """Return all workflows by name; warns of those that cannot run."""
        names = {w.name for w in library.list_workflows(self.shelves, warn=self.screen.warn)}
        found = []
        for name in sorted(names | set(self.settings.workflows)):
            try:
                found.append(self.workflow(name))
            except UsageError as error:
                self.screen.warn(f"{error.message}; {error.hint}" if error.hint else error.message)
        return found

    def _schema_reader(self, directory: Path) -> Callable[[str], str]:
        """Return what reads a workflow's schema files: beside it or in the project, never elsewhere."""

        def read(name: str) -> str:
            places = (directory.resolve(), self.root.resolve())
            found = [path for place in places if (path := (place / name).resolve()).is_relative_to(place)]
            if not found:
                raise ValidationError(f"schema {name} lies outside the project", hint="copy it into the project")
            return attachments.read(next((path for path in found if path.is_file()), found[0]), name).text

        return read

    def read_schema(self, name: str) -> str:
        """Return the JSON Schema in the file that the user named, in canonical form; raises ValidationError."""
        return canonical(schema.load(attachments.read(Path(name), name).text, name))

    def plan(
        self,
        source: Workflow,
        task: str,
        *,
        given: Mapping[str, str] | None = None,
        files: Sequence[Document] = (),
        sample: int = 0,
    ) -> Plan:
        """Return `source` with everything found that it names; raises UsageError for what is not there."""
        return plans.make(
            source,
            task,
            given or {},
            root=self.root,
            settings=self.settings,
            find_agent=self.agent,
            find_skills=self._skills_for(task),
            warn=self.screen.warn,
            files=files,
            sample=sample,
            router=self._router(),
        )

    def _skills_for(self, task: str) -> Callable[[Agent, Step], tuple[Skill, ...]]:
        """Return what finds the skills of a step of a run with `task`; each file is read once."""
        find = cache(self.skill)
        whole = self.settings.skills_auto == "all"
        shelves = [place for place in self.shelves if whole or place.source != "bundled"]
        offered = cache(lambda: library.list_skills(shelves, warn=self.screen.warn))
        explain = self.screen.note if self.screen.verbose else lambda _: None

        def skills(agent: Agent, step: Step) -> tuple[Skill, ...]:
            return skills_of(agent, step, task, settings=self.settings, find=find, offered=offered, explain=explain)

        return skills

    def _router(self) -> Router | None:
        if not (self.settings.routing_auto if self.auto_model is None else self.auto_model):
            return None
        from .router import router  # 3 ms of word lists that runs without routing need not pay

        return router(self)

    def line(
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
    ) -> Line:
        """Return what carries out the calls of `plan`; `wishes` are fields of a Line.

        A workflow that runs under an id has a journal, a new one unless a `tape` is given. `from_step` and what
        depends on it is asked anew; raises NotFound if there is no such step.
        """
        if not self.settings.features_parallel_workflows_enabled:
            jobs = 1
        jobs = jobs or self.settings.performance_max_concurrent_agents
        anew = dag.since(plan.workflow, from_step) if from_step else frozenset()
        if tape is None and run_id and plan.workflow.source != "agent":
            tape = new_tape(self, plan, run_id)
        if tape:
            tape.note(cache=use_cache and self.settings.cache_enabled, refresh=refresh, from_step=from_step)
            if jobs == 1:  # the first call is over before `on_sent` hears of it
                tape.begin()
        spending = self.stores.spending(run_id or new_run_id(), max_cost)
        line = Line(
            connect=lambda: self.transport,
            abort=self.abort,
            pool=self._pool(plan, jobs),
            flights=self._flights,
            jobs=jobs,
            deadline=time.monotonic() + timeout if timeout else None,
            prices=self.settings.prices,
            cache=self.stores.cache if use_cache else None,
            refresh=refresh,
            uncached_agents=frozenset(self.settings.cache_exclude_agents),
            spending=spending,
            tape=tape,
            anew=anew,
            on_notice=self.screen.note,
            on_warning=self.screen.warn,
            on_sent=lambda: self._get_ready(tape, spending),
            record=recorder(self, plan.workflow, run_id),
        )
        return replace(line, **wishes)

    @property
    def keys(self) -> tuple[str, ...]:
        """The user's own keys, which nothing may keep."""
        keys = (self._api_key, *(self.environment.get(name) for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")))
        return tuple(key for key in keys if key)

    def on_close(self, close: Callable[[], object]) -> None:
        """Have `close` called when this workspace is closed."""
        self._opened.append(close)

    def _get_ready(self, tape: Tape | None, spending: Spending) -> None:
        """Open what an answer will need, while it is awaited."""
        spending.warm()
        if tape:
            tape.begin()
        if self.settings.features_memory_enabled:
            self.stores.memory.warm()

    @property
    def transport(self) -> Transport:
        """What sends requests, with patience; threads that ask at once get the same one."""
        with self._opening:
            if self._transport is None:
                self._transport = self._connected()
            return self._transport

    def _connected(self) -> Transport:
        from .client import connect  # http.client and ssl: 25 ms that reading commands need not pay
        from .client.endpoint import far_end

        settings = self.settings
        return connect(
            settings.client,
            far_end(settings, self.environment, self._api_key),
            retries=settings.performance_max_retries,
            wait=self.wait,
            failure_threshold=settings.circuit_breaker_failure_threshold,
            timeout_seconds=settings.circuit_breaker_timeout_seconds,
            shared=self.stores.health,
            notice=self.screen.note,
            warn=self.screen.warn,
        )

    def abort(self) -> None:
        """End every call in flight; the next call opens a transport anew."""
        with self._opening:
            transport, self._transport = self._transport, None
        if transport:
            transport.abort()

    def _pool(self, plan: Plan, count: int) -> Pool:
        """Return where the calls of `plan` are made; threads serve all runs of this workspace that want as many."""
        if len(plan.jobs) == 1 and plan.workflow.steps[0].foreach is None:
            return pools.Aside()
        if count == 1:
            return pools.Inline()
        if count not in self._pools:
            pool = self._pools[count] = pools.threads(count)
            self._opened.append(lambda: pool.shutdown(wait=False, cancel_futures=True))
        return self._pools[count]


_NOT_YET = ("alerts",)
"""Settings that are read, and that nothing in this version follows."""


def _without_effect(settings: Settings) -> Iterator[str]:
    for path, origin in settings.origins.items():
        if path.startswith(_NOT_YET) and origin != "built in":
            yield f"{origin}: {path} has no effect in this version"


def new_run_id() -> str:
    """Return an id for a run that sorts by the time of its start."""
    now = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    return f"{stamp}{int(now * 1000) % 1000:03}-{os.urandom(3).hex()}"
