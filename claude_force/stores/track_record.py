"""How an agent's latest runs on tasks of one kind went, by model: read from the end of `executions.jsonl`.

Nothing is kept beside that file, and no more than its last mebibyte is read, however long it is. What it leaves out of
account is forgiven: failures that lie further back, or that are rolled up, count no more.
"""

from __future__ import annotations

import json
import os

from .metrics import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WINDOW = 1 << 20
"""Bytes: about 2,500 executions, which are read and searched in 1 ms."""
_ENOUGH = 200
"""Runs; who asks wants to know of the last few on each model."""
_OF_THE_MODEL = {"truncated", "refused", "empty_answer", "schema_mismatch", "answer_error"}
"""Types of error that speak against the answer; all others speak against network, limits or the command."""


def runs(path: Path, agent: str, *, kind: str, task_hash: str) -> Iterator[tuple[str, bool]]:
    """Yield model and failure of the runs of `agent` in the file at `path`, the newest first.

    Those count whose `task_kind` is `kind`, or which tell none and have this `task_hash`. Answers from the cache do not
    count. Raises OSError, but not for a file that is not there.
    """
    mark = json.dumps(agent).encode()
    lines = (line for line in _last_lines(path) if mark in line)  # parsing is what takes time
    found = 0
    for record in records(lines):
        if not record or record.get("agent_name") != agent or record.get("cached"):
            continue
        alike = record["task_kind"] == kind if "task_kind" in record else record.get("task_hash") == task_hash
        if alike and (record.get("success") or record.get("error_type") in _OF_THE_MODEL):
            yield str(record.get("model")), not record.get("success")
            found += 1
            if found == _ENOUGH:
                return


def _last_lines(path: Path) -> Iterator[bytes]:
    """Yield the whole lines at the end of the file, the last one first."""
    try:
        with path.open("rb", buffering=0) as stream:
            size = stream.seek(0, os.SEEK_END)
            start = max(size - _WINDOW, 0)
            stream.seek(start)
            data = stream.read(_WINDOW)
    except FileNotFoundError:
        return
    lines = data.split(b"\n")
    yield from reversed(lines[1:] if start else lines)
