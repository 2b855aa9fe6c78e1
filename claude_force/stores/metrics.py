"""One line for each execution, in `metrics/executions.jsonl`: how it is written, and how lines are read back."""

from __future__ import annotations

import os
import re
import time
from json import JSONDecoder, dumps

from .. import files
from ..models import usd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any, BinaryIO

    from ..records import Outcome

FILE = "executions.jsonl"
_CHUNK = 1 << 20
_OPTIONAL = ("cache_read_input_tokens", "cache_creation_input_tokens", "stop_reason", "attempts")
_SECRET = (
    r"\b(?:sk|pk|rk)-[\w-]{8,}|\b(?:gh[pousr]|github_pat|glpat|xox[abprs]|npm|hf)[_-][\w-]{8,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bAIza[\w-]{20,}|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)|(?i:(?<=bearer )|(?<=basic ))[\w.~+/=-]{8,}"
    r"|(?i:(?:password|passwd|secret|token|api[_-]?key)\s*[=:]\s*)\S+"
)
"""Keys of Anthropic, OpenAI, Stripe, GitHub, GitLab, Slack, npm, Hugging Face, AWS and Google, JSON web tokens, passwords
in addresses and headers, and whatever is called a secret."""


class Metrics:
    """`executions.jsonl` in `directory`: one JSON object a line, only ever appended to.

    A line is one write, so a crash leaves all of it or, on a full disk, an unfinished line, which readers skip: the
    next line starts on its own. Lines older than the retention leave the file by `Rollups.roll` alone.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE

    def append(self, line: Mapping[str, Any]) -> None:
        """Append `line`, without anything that looks like a key, token or password; raises OSError."""
        data = dumps({name: _redacted(value) for name, value in line.items()}).encode() + b"\n"
        if not self._ends_in_newline():
            data = b"\n" + data
        try:
            files.append(self.path, data)
        except FileNotFoundError:
            files.private_directory(self.path.parent)
            files.append(self.path, data)

    def _ends_in_newline(self) -> bool:
        try:
            with self.path.open("rb", buffering=0) as stream:
                return not stream.seek(0, os.SEEK_END) or not stream.seek(-1, os.SEEK_END) or stream.read(1) == b"\n"
        except FileNotFoundError:
            return True


def line(
    outcome: Outcome,
    *,
    workflow: str | None,
    run_id: str | None,
    task_hash: str,
    price_version: str,
    timestamp: float | None = None,
) -> dict[str, Any]:
    """Return the line that tells of `outcome`: what it cost at the prices of `price_version`, never the task's text.

    `timestamp` is the end of the execution in seconds since the epoch, by default now. Money is USD with nine decimals;
    `round(usd * 1e9)` gives the nanodollars back. What does not apply is left out.
    """
    usage = outcome.usage
    facts = {
        "timestamp": _iso(time.time() if timestamp is None else timestamp),
        "agent_name": outcome.agent,
        "task_hash": task_hash,
        "success": outcome.error is None,
        "execution_time_ms": max(round((outcome.finished - outcome.started) * 1000), 0),
        "model": outcome.model,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
        "estimated_cost": usd(outcome.cost),
    }
    optional = {
        "workflow_id": workflow,
        "run_id": run_id,
        "step": outcome.step if workflow else None,
        "error_type": outcome.error and outcome.error.type,
        "cached": outcome.status == "cached",
        "saved_cost": usd(outcome.saved),
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "cache_creation_input_tokens": usage.cache_creation_input_tokens,
        "stop_reason": outcome.stop_reason,
        "attempts": outcome.attempts,
    }
    return facts | {name: value for name, value in optional.items() if value} | {"price_version": price_version}


def parse(data: bytes) -> dict[str, Any] | None:
    """Return the object that one line holds, or None if it holds anything else."""
    try:
        text = data.decode()
        value, end = _scan(text, 0)
    except (StopIteration, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and (end == len(text) or not text[end:].strip()) else None


def chunks(stream: BinaryIO, start: int, stop: int, *, whole: bool = False) -> Iterator[tuple[int, bytes]]:
    """Yield pieces of whole lines of `stream` between two offsets, about 1 MiB each, with the offset of each one's end.

    Bytes after the last newline are left out, unless `whole` says that nothing will follow them.
    """
    stream.seek(start)
    rest = b""
    while data := stream.read(min(max(_CHUNK, len(rest)), stop - start - len(rest))):
        rest += data
        if cut := rest.rfind(b"\n") + 1:
            start += cut
            yield start, rest[:cut]
            rest = rest[cut:]
    if rest and whole:
        yield start + len(rest), rest


def _iso(seconds: float) -> str:
    """Return a time as ISO 8601 in UTC with milliseconds."""
    milliseconds = int(seconds * 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000)) + f".{milliseconds % 1000:03}Z"


def _redacted(value: Any) -> Any:
    return re.sub(_SECRET, "[redacted]", value) if isinstance(value, str) else value


def _no_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are no JSON


_scan = JSONDecoder(parse_constant=_no_constant).scan_once
"""Parses one value at an offset; a third faster than `json.loads`, which looks at the whole text around it first."""
