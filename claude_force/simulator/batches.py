"""Message batches: created, in progress for a settable time, then ended with a result for every item.

No thread works on them: what a batch is at any moment follows from the clock, and its results are made when it is first
looked at after its end. Batches live as long as the server.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from threading import Lock

from .messages import batch_message
from .problems import Problem, error_body

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .state import State

_DAY = 24 * 3600
_LIMIT = 100_000
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_OUTCOMES = ("succeeded", "errored", "canceled", "expired")


@dataclass
class _Batch:
    id: str
    items: list[dict[str, Any]]
    version: str
    url: str
    started: float
    """Seconds of the behaviour's clock; the dates shown are of the real one."""
    created: float = field(default_factory=time.time)
    canceled: float | None = None
    ended: float | None = None
    results: list[dict[str, Any]] = field(default_factory=list)


class Batches:
    """All batches of one server, for any number of threads."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = Lock()
        self._batches: dict[str, _Batch] = {}

    def create(self, body: dict[str, Any], version: str, base_url: str) -> dict[str, Any]:
        """Take a batch; its items are checked later, as the API does. Raises Problem."""
        items = _checked_items(body)
        with self._lock:
            name = self._state.new_id("msgbatch")
            url = f"{base_url}/v1/messages/batches/{name}/results"
            self._batches[name] = batch = _Batch(name, items, version, url, self._state.behaviour.clock())
            return _shown(batch)

    def all(self) -> list[dict[str, Any]]:
        """Return all batches, newest first."""
        with self._lock:
            return [_shown(self._settled(batch)) for batch in reversed(self._batches.values())]

    def get(self, name: str) -> dict[str, Any]:
        """Return a batch. Raises Problem, 404."""
        with self._lock:
            return _shown(self._find(name))

    def results(self, name: str) -> list[dict[str, Any]]:
        """Return the result lines of a batch that has ended. Raises Problem."""
        with self._lock:
            batch = self._find(name)
            if batch.ended is None:
                raise Problem(f"The results of batch {name} are not available before it has ended")
            return batch.results

    def cancel(self, name: str) -> dict[str, Any]:
        """Begin to cancel a batch; the next look at it finds it ended. Raises Problem."""
        with self._lock:
            batch = self._find(name)
            if batch.ended is not None:
                raise Problem(f"Batch {name} has ended and cannot be canceled")
            batch.canceled = batch.canceled or time.time()
            return _shown(batch)

    def delete(self, name: str) -> dict[str, Any]:
        """Delete a batch that has ended. Raises Problem."""
        with self._lock:
            if self._find(name).ended is None:
                raise Problem(f"Batch {name} is in progress and cannot be deleted; cancel it first")
            del self._batches[name]
            return {"id": name, "type": "message_batch_deleted"}

    def _find(self, name: str) -> _Batch:
        if name not in self._batches:
            raise Problem(f"No message batch has the id {name}", status=404)
        return self._settled(self._batches[name])

    def _settled(self, batch: _Batch) -> _Batch:
        """Make the results if the batch's time has come."""
        if batch.ended is not None:
            return batch
        age = self._state.behaviour.clock() - batch.started
        if batch.canceled is not None:
            self._end(batch, "canceled")
        elif age >= min(self._state.behaviour.batch_seconds, _DAY):
            self._end(batch, "expired" if self._state.behaviour.batch_seconds > _DAY else "succeeded")
        return batch

    def _end(self, batch: _Batch, outcome: str) -> None:
        batch.ended = time.time()
        for item in batch.items:
            result = self._result(item["params"], batch.version) if outcome == "succeeded" else {"type": outcome}
            batch.results.append({"custom_id": item["custom_id"], "result": result})

    def _result(self, params: dict[str, Any], version: str) -> dict[str, Any]:
        try:
            return {"type": "succeeded", "message": batch_message(self._state, params, version)}
        except Problem as problem:
            return {"type": "errored", "error": error_body(problem, self._state.new_id("req"))}


def _checked_items(body: dict[str, Any]) -> list[dict[str, Any]]:
    items = body.get("requests")
    if not isinstance(items, list) or not 1 <= len(items) <= _LIMIT:
        raise Problem(f"requests: Input should be a list of 1 to {_LIMIT} items")
    seen = set()
    for i, item in enumerate(items):
        if not isinstance(item, dict) or not isinstance(item.get("params"), dict):
            raise Problem(f"requests.{i}.params: Field required")
        name = item.get("custom_id")
        if not isinstance(name, str) or not _CUSTOM_ID.fullmatch(name):
            raise Problem(f"requests.{i}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
        if name in seen:
            raise Problem(f"requests.{i}.custom_id: '{name}' is not unique in the batch")
        seen.add(name)
    return items


def _shown(batch: _Batch) -> dict[str, Any]:
    """Return the batch as the API shows it: the counts stay 0 until the end."""
    kinds = [line["result"]["type"] for line in batch.results]
    status = "ended" if batch.ended is not None else "in_progress" if batch.canceled is None else "canceling"
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": {
            "processing": 0 if batch.ended is not None else len(batch.items),
            **{kind: kinds.count(kind) for kind in _OUTCOMES},
        },
        "created_at": _instant(batch.created),
        "expires_at": _instant(batch.created + _DAY),
        "cancel_initiated_at": _instant(batch.canceled),
        "ended_at": _instant(batch.ended),
        "archived_at": None,
        "results_url": batch.url if batch.ended is not None else None,
    }


def _instant(seconds: float | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
