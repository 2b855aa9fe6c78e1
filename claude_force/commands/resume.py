"""`run workflow --resume`: which run goes on, with which workflow, task and inputs."""

from __future__ import annotations

from argparse import Namespace

from ..errors import UsageError
from ..frozen import dataclass, replace
from ..project import recording
from ..records import Document
from ..running.tape import Tape
from ..stores.runs import find_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..project.workspace import Workspace
    from ..records import Agent, Step, Workflow
    from ..running.plan import Plan
    from ..stores.journal import Journal
    from ..stores.transcript import Entry, Transcript


@dataclass(frozen=True)
class Resumed:
    """A run that goes on: its journal, held open, what is in it, and what it is told to do."""

    journal: Journal
    past: Transcript
    source: Workflow
    task: str
    inputs: Mapping[str, str]
    files: tuple[Document, ...]

    def tape(self, plan: Plan) -> Tape:
        """Return the journal as the run that follows `plan` uses it."""
        return Tape(self.past, journal=self.journal, plan=plan)

    def as_begun(self, args: Namespace, notice: Callable[[str], object]) -> Namespace:
        """Return `args` with the options under which the run was begun, where they say nothing themselves.

        `notice` is told which these are.
        """
        options = self.past.sessions[-1].plan.get("options", {})
        taken: dict[str, object] = {}
        if not (args.refresh or args.no_cache):
            taken |= {name: True for name in ("refresh", "no_cache") if options.get(name)}
        if args.max_cost is None and options.get("max_cost") is not None:
            taken["max_cost"] = options["max_cost"]
        if args.on_error is None and not options.get("stop_on_error", True):
            taken["on_error"] = "continue"
        if taken:
            notice(f"as it was begun: {', '.join(_spelled(name, value) for name, value in taken.items())}")
        return Namespace(**{**vars(args), **taken})


def resume(
    workspace: Workspace, spelling: str, name: str | None, task: str | None, inputs: Mapping[str, str]
) -> Resumed:
    """Return the run that `spelling` means, ready to go on with today's files.

    What is not given again, the workflow's `name`, the `task`, the `inputs` and files, is taken from the journal.
    Raises UsageError if there is no such run, it is not this user's or one of another workflow, and Busy if it is still
    going.
    """
    source = workspace.workflow(name) if name else None
    directory, secret = workspace.state / "runs", recording.secret(workspace)
    run = find_run(directory, spelling, secret=secret, workflow=source.name if source else None)
    journal = recording.journal(workspace, run.name)
    workspace.on_close(journal.close)
    past = journal.open()
    if not past.sessions:
        raise UsageError(
            f"the journal of run {run.name} does not tell what it was to do: it ended before that, or is damaged",
            hint="start it anew",
        )
    facts = past.sessions[-1].plan
    if origin := facts.get("options", {}).get("replay_of"):
        raise UsageError(f"run {run.name} replays run {origin} and cannot be resumed", hint="replay that one again")
    told = facts["workflow"]
    if source is None:
        source = workspace.workflow(told["path"] if told["source"] == "path" else told["name"])
    if source.name != told["name"]:
        raise UsageError(f"run {run.name} is one of workflow '{told['name']}', not of '{source.name}'")
    kept = {f"input {name}": facts["inputs"][name] for name in facts["given"] if name not in inputs}
    kept |= {"task": facts["task"]} if task is None else {}
    kept |= {f"file {name}": digest for name, digest in facts["files"].items()}
    for what in (name for name, digest in kept.items() if digest in past.redacted):
        workspace.screen.warn(f"the {what} comes from the journal, without its secrets; give it again to have it whole")
    texts = {name: past.texts[digest] for name, digest in kept.items()}
    files = tuple(Document(name[5:], text) for name, text in texts.items() if name.startswith("file "))
    old = {name[6:]: text for name, text in texts.items() if name.startswith("input ")}
    told = Resumed(journal, past, source, texts.get("task", "") if task is None else task, old | dict(inputs), files)
    return told if workspace.auto_model is False else replace(told, source=_with_models(told, workspace.agent))


def _spelled(name: str, value: object) -> str:
    option = f"--{name.replace('_', '-')}"
    return option if value is True else f"{option} {value}"


def _with_models(resumed: Resumed, find_agent: Callable[[str], Agent]) -> Workflow:
    """Return the workflow with the models that routing gave to steps that ended, unless what was routed has changed.

    Routed anew, by a record of executions that has grown since, such a step could be asked and paid for again.
    """
    past = resumed.past
    plans = [step for session in past.sessions for step in session.plan["steps"]]
    routed = {step["id"]: step["job"]["routed_from"] for step in plans if "routed_from" in step.get("job", {})}
    answers = [e for session in past.sessions for e in session.steps if e["status"] in {"ok", "cached"}]
    ended = {e["step"]: e["parts"] for e in answers if e.get("parts", {}).get("model") in past.texts}

    def with_model(step: Step) -> Step:
        if step.model or step.id not in routed or step.id not in ended:
            return step
        agent, parts = find_agent(step.agent), ended[step.id]
        same = routed[step.id] == (agent.model or "") and _is_same(resumed, step, agent, parts)
        return replace(step, model=past.texts[parts["model"]]) if same else step

    return replace(resumed.source, steps=tuple(map(with_model, resumed.source.steps)))


def _is_same(resumed: Resumed, step: Step, agent: Agent, parts: Entry) -> bool:
    """Say whether the agent and the task of a step are those of `parts`, digests by name."""
    texts = {f"agent {agent.name}": agent.prompt, "task": step.task, "task of the run": resumed.task}
    texts |= {f"input {name}": value for name, value in resumed.inputs.items()}
    mark = Tape(resumed.past).mark  # knows the texts that stand redacted in the journal
    return f"agent {agent.name}" in parts and all(mark(texts[name]) == parts[name] for name in parts.keys() & texts)
