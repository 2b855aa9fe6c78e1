"""What remembered sessions add up to: how often each agent succeeded, and which tasks were given more than once.

It reads a connection to the table `sessions`, and does not know how that is opened or filled.
"""

from __future__ import annotations

from .sessions import as_bytes, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from typing import Any


def counted(connection: sqlite3.Connection | None) -> dict[str, Any]:
    """Return the counts of all sessions; of none where there is no connection because there is no file."""
    agents = _by_agent(connection) if connection else []
    total = sum(agent["sessions"] for agent in agents)
    successes = sum(agent["successes"] for agent in agents)
    return {
        "sessions": total,
        "successes": successes,
        "success_rate": _rate(successes, total),
        "agents": agents,
        "repeated_tasks": _repeated(connection) if connection else [],
    }


def _by_agent(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return the counts by agent, each read from an index alone."""
    counts = f"SELECT {as_bytes('agent_name')}, count(*) FROM sessions"  # noqa: S608 - our own words
    sessions = connection.execute(f"{counts} GROUP BY agent_name ORDER BY 2 DESC, agent_name").fetchall()
    # the + keeps SQLite from walking the index of agents and looking at every row
    failures = dict(connection.execute(f"{counts} WHERE success = 0 GROUP BY +agent_name"))
    return [_agent(text(name), count, failures.get(name, 0)) for name, count in sessions]


def _agent(name: str, sessions: int, failures: int) -> dict[str, Any]:
    successes = sessions - failures
    rate = _rate(successes, sessions)
    return {"agent_name": name, "sessions": sessions, "successes": successes, "success_rate": rate}


def _repeated(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return the ten tasks that were given most often, found by an index alone."""
    repeated = connection.execute(
        f"SELECT {as_bytes('task_hash')}, {as_bytes('task')}, times FROM sessions JOIN "  # noqa: S608 - our own words
        "(SELECT max(id) AS last, count(*) AS times FROM sessions "
        "GROUP BY task_hash HAVING times > 1 ORDER BY times DESC, last DESC LIMIT 10) ON id = last "
        "ORDER BY times DESC, last DESC"
    )
    return [{"task_hash": text(code), "task": text(task), "sessions": times} for code, task, times in repeated]


def _rate(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
