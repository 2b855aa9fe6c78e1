"""One line for each execution, in `metrics/executions.jsonl`: how it is written, and how lines are read back."""

from __future__ import annotations

import os
import time
from errno import ENOSPC
from json import JSONDecoder, dumps

from .. import files
from ..models import usd
from ..records import finite, iso

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import Any, BinaryIO

    from ..records import Outcome

FILE = "executions.jsonl"
START = b'{"timestamp": "'
"""How every line of ours begins; the ten bytes after it are the day."""
_WRITE_SECONDS = 1.0
"""How long one write takes at most, on a machine that is busy."""
_PIECE = 1 << 16
"""Bytes. Larger buffers are mapped afresh each time, and leave the cache: a quarter slower at 256 KiB."""
LONGEST = 1 << 20
"""Bytes of a line without its newline; one of ours has some hundred."""
TOO_LONG = b""
"""What `pieces` yields in place of a longer line: it is damaged, whatever it holds."""


class Metrics:
    """`executions.jsonl` in `directory`: one JSON object a line, only ever appended to.

    A line is one write, so a crash leaves all of it or, on a full disk, an unfinished line, which readers skip: the
    next line starts on its own. If another process leaves one just as a line is written, the two are one damaged line,
    and ours is written again. Lines older than the retention leave the file by `Rollups.roll` alone.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE

    def append(self, line: Mapping[str, Any]) -> None:
        """Append `line`, without anything that looks like a key, token or password; raises OSError."""
        from ..redaction import redact  # 10 ms, which readers need not pay

        clean = dict(line)
        if redact(told := "\n".join(value for value in line.values() if isinstance(value, str))) != told:
            clean = {name: redact(value) if isinstance(value, str) else value for name, value in line.items()}
        data = dumps(clean).encode() + b"\n"
        try:
            _append(self.path, data)
        except FileNotFoundError:
            files.private_directory(self.path.parent)
            _append(self.path, data)


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
        "timestamp": iso(time.time() if timestamp is None else timestamp),
        "agent_name": outcome.agent,
        "task_hash": task_hash,
        "success": outcome.error is None,
        "execution_time_ms": max(round(outcome.seconds * 1000), 0),
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
        "task_kind": outcome.task_kind,
        "attempts": outcome.attempts,
    }
    return facts | {name: value for name, value in optional.items() if value} | {"price_version": price_version}


def records(lines: Iterable[bytes]) -> Iterator[dict[str, Any] | None]:
    """Yield the object that each line holds, or None for a line that holds anything else."""
    for line in lines:
        try:
            text = line.decode()
            value, end = _scan(text, 0)
        except (StopIteration, ValueError, RecursionError):
            yield None
        else:
            yield value if type(value) is dict and (end == len(text) or not text[end:].strip()) else None


def pieces(stream: BinaryIO, start: int, stop: int, *, whole: bool = False) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the lines of `stream` between two offsets, about 64 KiB at a time, with the offset at which they end.

    Lines have no newline and are not empty, save TOO_LONG, which comes by itself. An unfinished last one is left out,
    unless `whole` says that nothing will follow it.
    """
    stream.seek(start)
    rest, too_long = b"", False
    while data := stream.read(min(max(_PIECE, len(rest)), stop - start - len(rest))):
        rest += data
        if too_long or (len(rest) > LONGEST and rest.find(b"\n", 0, LONGEST + 1) < 0):
            passed, newline, rest = rest.partition(b"\n")
            start += len(passed) + len(newline)
            too_long = not newline
            if newline:
                yield start, [TOO_LONG]
        if cut := rest.rfind(b"\n") + 1:
            start += cut
            yield start, [line for line in rest[:cut].split(b"\n") if line]
            rest = rest[cut:]
    if whole and (rest or too_long):
        yield start + len(rest), [rest or TOO_LONG]


def is_finished(descriptor: int, size: int) -> bool:
    """Whether the first `size` bytes of an open file end in a newline, or are none."""
    if size <= 0:
        return True
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return os.read(descriptor, 1) == b"\n"


def is_left(stream: BinaryIO) -> bool:
    """Whether nobody is writing the last line of a file: its last change is over a second ago, or in the future.

    A line is one write, but a reader may see it in two parts.
    """
    return abs(time.time() - os.fstat(stream.fileno()).st_mtime) > _WRITE_SECONDS


def _append(path: Path, line: bytes) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if is_finished(descriptor, size):
            _write(descriptor, line)
            begun = os.lseek(descriptor, 0, os.SEEK_CUR) - len(line)
            if begun == size or is_finished(descriptor, begun):  # or another process wrote since we looked
                return
        _write(descriptor, b"\n" + line)
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    if (written := os.write(descriptor, data)) != len(data):
        raise OSError(ENOSPC, f"wrote {written} of {len(data)} bytes")


_scan = JSONDecoder(parse_constant=finite).scan_once  # type: ignore[attr-defined]
"""Parses one value at an offset; a third faster than `json.loads`, which looks at the whole text around it first."""
