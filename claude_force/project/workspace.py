"""Wiring: which project this is, and each part that works on it, opened on first use and closed together.

What a method needs is imported in it: a command that only reads the library would pay for all parts of a run.
"""

from __future__ import annotations

import os
from functools import cache, cached_property, partial
from pathlib import Path

from ..errors import NotFound, UsageError, ValidationError
from ..frozen import replace
from ..library import lookup
from ..records import canonical
from ..settings import config
from . import locations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Self

    from ..records import Agent, Document, Skill, Step, Workflow
    from ..routing import Router
    from ..running.plan import Plan
    from ..settings.config import Settings
    from ..terminal.output import Screen
    from .engine import Engine
    from .storage import Storage


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
        self.api_key = api_key
        self._engine: Engine | None = None
        self._opened: list[Callable[[], object]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened: the engine, what `on_close` was given, the last one first, and at the end the stores.

        What is used again is opened anew.
        """
        if self._engine and self._engine.process == os.getpid():
            self._engine.close()
        while self._opened:
            self._opened.pop()()
        if "stores" in self.__dict__:
            self.stores.close()

    @cached_property
    def stores(self) -> Storage:
        """What the project and its user keep."""
        from .storage import Storage

        warn = self.screen.warn
        return Storage(self.state, self.home, settings=lambda: self.settings, keys=lambda: self.keys, warn=warn)

    @property
    def engine(self) -> Engine:
        """What carries out the calls of its runs; a fork has one of its own."""
        from .engine import Engine

        if self._engine is None or self._engine.process != os.getpid():
            self._engine = Engine(self)
        return self._engine

    @cached_property
    def settings(self) -> Settings:
        """The settings in force; warns of unknown keys."""
        if self._config and not os.path.isfile(self._config):
            wrong = "not a regular file" if os.path.exists(self._config) else "no such file"
            raise UsageError(f"--config {self._config}: {wrong}")
        project = self._config or (self.state / "claude.json" if self.state != self.home else None)
        user = self.home / "claude.json"
        settings, warnings = config.load(user=user, project=project, environment=self.environment)
        for warning in [*warnings, *_without_effect(settings)]:
            self.screen.warn(warning)
        return settings

    @cached_property
    def shelves(self) -> tuple[lookup.Shelf, ...]:
        """Where agents, skills and workflows lie, nearest first."""
        user = lookup.shelf("user", self.home)
        if self.state == self.home:
            return user, lookup.bundled_shelf()
        return lookup.shelf("project", self.state, boundary=self.state.parent), user, lookup.bundled_shelf()

    def agent(self, name: str, read: lookup.Read = lookup.catalogue) -> Agent:
        """Return the agent called `name`, with what `claude.json` says of it; `read` is that of `lookup.find_agent`.

        Raises NotFound, and ValidationError for a file that is wrong.
        """
        path = self.settings.agents.get(name, {}).get("path")
        if path:
            return self._configured(lookup.read_agent(path, "config", name=name))
        return self._configured(lookup.find_agent(self.shelves, name, warn=self.screen.warn, read=read))

    def agents(self) -> list[Agent]:
        """Return all agents by name, the nearest of each name, with what `claude.json` says of them."""
        found = {a.name: a for a in lookup.list_agents(self.shelves, warn=self.screen.warn)}
        for name, entry in self.settings.agents.items():
            if entry.get("path"):
                found[name] = lookup.read_agent(entry["path"], "config", name=name)
        return [self._configured(found[name]) for name in sorted(found)]

    def _configured(self, agent: Agent) -> Agent:
        entry = self.settings.agents.get(agent.name, {})
        changes = {key: entry[key] for key in ("model", "effort", "max_tokens", "skills") if key in entry}
        if changes.get("model") == "inherit":
            changes["model"] = None
        return replace(agent, **changes) if changes else agent

    def skill(self, name: str, read: lookup.Read = lookup.catalogue) -> Skill:
        """Return the skill called `name`; `read` is that of `lookup.find_skill`.

        Raises NotFound, and ValidationError for a file that is wrong.
        """
        return lookup.find_skill(self.shelves, name, warn=self.screen.warn, read=read)

    def workflow(self, name: str) -> Workflow:
        """Return the workflow called `name`, or the one in the file `name` if it is a path; raises UsageError."""
        found, wrong = self.examine(name)
        if wrong:
            raise wrong[0]
        return found

    def examine(self, name: str) -> tuple[Workflow, list[ValidationError]]:
        """Return what `workflow` does, without the steps that are wrong, and what is wrong; raises UsageError."""
        from ..workflow import definition

        if name in self.settings.workflows:
            data = self.settings.workflows[name]
            reader = self._schema_reader(self.state, f"config: workflow '{name}'")
            return definition.examine(name, data, source="config", read_schema=reader)
        if name.endswith((".toml", ".json")) or os.sep in name:
            if not os.path.lexists(name):
                raise self._no_file(name)
            found = lookup.read_workflow(Path(name), "path")
        else:
            found = lookup.find_workflow(self.shelves, name, warn=self.screen.warn)
        reader = self._schema_reader(found.path.parent, f"{found.path}: workflow '{found.name}'")
        return definition.examine(found.name, found.data, source=found.source, path=found.path, read_schema=reader)

    def workflows(self) -> list[Workflow]:
        """Return all workflows by name; warns of those that cannot run."""
        names = {w.name for w in lookup.list_workflows(self.shelves, warn=self.screen.warn)}
        found = []
        for name in sorted(names | set(self.settings.workflows)):
            try:
                found.append(self.workflow(name))
            except UsageError as error:
                self.screen.warn(f"{error.message}; {error.hint}" if error.hint else error.message)
        return found

    def _no_file(self, name: str) -> UsageError:
        known = {w.name for w in lookup.list_workflows(self.shelves, warn=lambda _: None)} | set(
            self.settings.workflows
        )
        return UsageError(f"{name}: no such file", hint=NotFound("workflow", Path(name).stem, known).hint)

    def _schema_reader(self, directory: Path, where: str) -> Callable[[str], str]:
        """Return what reads a workflow's schema files: beside it or in the project, never elsewhere."""
        from .. import attachments

        def read(name: str) -> str:
            places = (directory.resolve(), self.root.resolve())
            found = [path for place in places if (path := (place / name).resolve()).is_relative_to(place)]
            if not found:
                raise ValidationError(f"schema {name} lies outside the project", hint="copy it into the project")
            try:
                return attachments.read(next((path for path in found if path.is_file()), found[0]), name).text
            except ValidationError as error:
                looked = " and ".join(dict.fromkeys(str(path.parent) for path in found))
                raise ValidationError(
                    f"{where}: schema: {error.message}", hint=error.hint or f"it was looked for in {looked}"
                ) from None

        return read

    def read_schema(self, name: str) -> str:
        """Return the JSON Schema in the file that the user named, in canonical form; raises ValidationError."""
        from .. import attachments
        from ..answers import schema

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
        from ..running import plan as plans

        read = cache(lookup.catalogue)  # a shelf is read once for all steps
        find_agent = partial(self.agent, read=read)
        try:
            return plans.make(
                source,
                task,
                given or {},
                root=self.root,
                settings=self.settings,
                find_agent=find_agent,
                find_skills=self._skills_for(task, read),
                warn=self.screen.warn,
                files=files,
                sample=sample,
                router=self._router(),
            )
        except NotFound as error:
            from .naming import located  # needed only on the way out

            raise located(error, source, self.settings, find_agent) from None

    def _skills_for(self, task: str, read: lookup.Read) -> Callable[[Agent, Step], tuple[Skill, ...]]:
        """Return what finds the skills of a step of a run with `task`; each file is read once."""
        from ..running.skillset import skills_of

        find = cache(partial(self.skill, read=read))
        whole = self.settings.skills_auto == "all"
        shelves = [place for place in self.shelves if whole or place.source != "bundled"]
        offered = cache(lambda: lookup.list_skills(shelves, warn=self.screen.warn))
        explain = self.screen.note if self.screen.verbose else lambda _: None

        def skills(agent: Agent, step: Step) -> tuple[Skill, ...]:
            return skills_of(agent, step, task, settings=self.settings, find=find, offered=offered, explain=explain)

        return skills

    def _router(self) -> Router | None:
        if not (self.settings.routing_auto if self.auto_model is None else self.auto_model):
            return None
        from .router import router  # 3 ms of word lists that runs without routing need not pay

        return router(self)

    @property
    def keys(self) -> tuple[str, ...]:
        """The user's own keys, which nothing may keep."""
        keys = (self.api_key, *(self.environment.get(name) for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")))
        return tuple(key for key in keys if key)

    def on_close(self, close: Callable[[], object]) -> None:
        """Have `close` called when this workspace is closed."""
        self._opened.append(close)


_NOT_YET = ("alerts",)
"""Settings that are read, and that nothing in this version follows."""


def _without_effect(settings: Settings) -> Iterator[str]:
    for path, origin in settings.origins.items():
        if path.startswith(_NOT_YET) and origin != "built in":
            yield f"{origin}: {path} has no effect in this version"
