"""`memory search`, `recent`, `show`, `stats`, `prune` and `export`: what agents did before."""

from __future__ import annotations

import json

from ..errors import ForceError, NotFound
from ..records import Result
from ..reports.table import first_line, one_line, plural, table
from . import consent, given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence
    from typing import Any

    from ..project.workspace import Workspace
    from ..stores.memory import AgentMemory
    from ..stores.sessions import Session


def search_options(parser: ArgumentParser) -> None:
    """Add the options of `memory search`."""
    parser.add_argument("query", metavar="QUERY", type=given.word, help="any text: a few words, or a whole task")
    _filters(parser, limit=5)


def search(args: Namespace, workspace: Workspace) -> Result:
    """List the sessions that are most like a text, the best first."""
    found = workspace.stores.memory.search(args.query, agent=args.agent, limit=args.limit)
    rows = [(f"{session.score:.1f}", *_cells(session)) for session in found]
    if not found:
        workspace.screen.note("no session is like that")
    return Result(_facts(found), _listed(("SCORE", *_HEADINGS), rows, workspace), exit_code=0 if found else 1)


def recent_options(parser: ArgumentParser) -> None:
    """Add the options of `memory recent`."""
    _filters(parser, limit=10)


def recent(args: Namespace, workspace: Workspace) -> Result:
    """List the last sessions, the newest first."""
    found = workspace.stores.memory.recent(args.limit, agent=args.agent)
    if not found:
        workspace.screen.note("no session is remembered")
    return Result(_facts(found), _listed(_HEADINGS, list(map(_cells, found)), workspace))


def show_options(parser: ArgumentParser) -> None:
    """Add the options of `memory show`."""
    which = "the session, as 'memory search' and 'memory recent' list it"
    parser.add_argument("id", metavar="ID", type=given.positive, help=which)


def show(args: Namespace, workspace: Workspace) -> Result:
    """Show the task and the result of one session."""
    session = workspace.stores.memory.get(args.id)
    if session is None:
        error = NotFound("session", str(args.id))
        error.hint = "its id is the first column of: claude-force memory recent"
        raise error
    text = f"{_heading(session)}\n\n== task\n{session.task}\n\n== result\n{session.result or '(none)'}"
    return Result({"schema_version": 1, **vars(session)}, text)


def _heading(session: Session) -> str:
    went = "succeeded" if session.success else "failed"
    known = [("model", "model"), ("workflow", "workflow"), ("run", "run_id")]
    facts = [f"{name} {found}" for name, key in known if (found := session.metadata.get(key))]
    told = ", ".join([f"agent {session.agent_name}", session.timestamp, went, *facts])
    return one_line(f"session {session.id}: {told}")


def stats(args: Namespace, workspace: Workspace) -> Result:
    """Show how often each agent succeeded, and which tasks were given more than once."""
    found = workspace.stores.memory.stats()
    agents = [(a["agent_name"], f"{a['sessions']:,}", f"{a['success_rate']:.1%}") for a in found["agents"]]
    tasks = [(task["task_hash"], f"{task['sessions']:,}", first_line(task["task"])) for task in found["repeated_tasks"]]
    parts = [f"{plural(found['sessions'], 'session')}, {found['success_rate']:.1%} successful"]
    if agents:
        parts.append(_listed(("AGENT", "SESSIONS", "RATE"), agents, workspace))
    if tasks:
        parts.append(_listed(("HASH", "TIMES", "REPEATED TASK"), tasks, workspace))
    return Result({"schema_version": 1, **found}, "\n\n".join(parts))


def prune_options(parser: ArgumentParser) -> None:
    """Add the options of `memory prune`."""
    consent.prune_options(parser)


def prune(args: Namespace, workspace: Workspace) -> Result:
    """Remove old sessions, if the user says yes."""
    days = workspace.settings.memory_retention_days if args.older_than is None else args.older_than
    old = workspace.stores.memory.count_older(days)
    if old and not args.yes:
        consent.ask(f"{plural(old, 'session')} older than {days:g} days", workspace)
    removed = workspace.stores.memory.prune(days)
    _complain(workspace.stores.memory, "changed")
    return Result({"schema_version": 1, "success": True, "removed": removed}, f"removed {plural(removed, 'session')}")


def export_options(parser: ArgumentParser) -> None:
    """Add the options of `memory export`."""
    parser.add_argument("--format", choices=("jsonl", "json"), default="jsonl", help="a line each, or one array")


def export(args: Namespace, workspace: Workspace) -> Result:
    """Print all sessions as JSON, the oldest first."""
    sessions = _facts(list(workspace.stores.memory.export()))
    _complain(workspace.stores.memory, "read")
    if args.format == "json":
        return Result(sessions, json.dumps(sessions, indent=2))
    return Result(sessions, "\n".join(map(json.dumps, sessions)))


def _complain(memory: AgentMemory, what: str) -> None:
    """Raise ForceError if the disk did not let what was asked be done: an empty result would be taken for one."""
    if memory.failed:
        raise ForceError(f"the memory {memory.path} could not be {what}", hint="see: claude-force doctor")


_HEADINGS = ("ID", "TIME", "AGENT", "SUCCESS", "TASK")
_NUMBERS = ("SCORE", "ID", "SESSIONS", "RATE", "TIMES")


def _filters(parser: ArgumentParser, *, limit: int) -> None:
    parser.add_argument("--agent", metavar="A", help="only sessions of this agent")
    parser.add_argument("--limit", type=given.positive, default=limit, metavar="N", help=f"how many at most ({limit})")


def _cells(session: Session) -> tuple[str, ...]:
    success = "yes" if session.success else "no"
    return str(session.id), session.timestamp, session.agent_name, success, first_line(session.task)


def _listed(headings: Sequence[str], rows: Sequence[Sequence[str]], workspace: Workspace) -> str:
    texts = ("AGENT", "TASK", "REPEATED TASK")
    return table(headings, rows, width=workspace.screen.page, numbers=_NUMBERS, texts=texts) if rows else ""


def _facts(sessions: Sequence[Session]) -> list[dict[str, Any]]:
    return [dict(vars(session)) for session in sessions]
