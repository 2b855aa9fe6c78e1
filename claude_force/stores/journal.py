"""The journal of one run, as it is written while the run goes on: `journal.jsonl` and `lock` in the run's directory.

Knows lines, texts and the lock. What the lines say is read back by `transcript`; what a plan looks like as data, and
what of it is worth recalling, is known above.
"""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import ExitStack
from json import dumps
from json.encoder import encode_basestring_ascii
from types import MappingProxyType

from .. import files
from ..errors import Busy, reason
from ..records import iso
from .metrics import is_finished
from .seal import sealed
from .transcript import FILE, VERSION, Transcript, keeping, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from ..records import Outcome
    from .seal import Secret
    from .transcript import Entry

LOCK = "lock"
_NO_TEXTS: Mapping[str, str] = MappingProxyType({})
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | files.NO_LINK


class Journal:
    """`journal.jsonl` in `directory`, made if absent: a JSON object a line, only ever appended to; 0600 in 0700.

    A text stands in it once, by its digest, redacted, `known` secrets too. A line and the texts that are new in it
    are one write, so a killed process leaves all of it or, on a full disk, an unfinished line, which readers skip. What
    the disk did not take is tried again before the next line and at the end. Nothing is forced to the disk: a power
    failure may lose the last seconds. The lock on `lock` is held from `open` to `close`, and dies with its holder.
    Every line is sealed with the user's `secret`, asked for when the file is opened.
    """

    def __init__(
        self,
        directory: Path,
        *,
        secret: Secret,
        known: Iterable[str] = (),
        warn: Callable[[str], object],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.directory = directory
        self.run_id = directory.name
        self._secret = secret
        self._key = b""
        self._known = tuple(known)
        self._warn = warn
        self._clock = clock
        self._held = ExitStack()
        self._descriptor = -1
        self._texts: set[str] = set()
        self._waiting: deque[list[str]] = deque()
        """What is not in the file yet: lines that are written at once, without their seals."""
        self._is_new = True
        self._torn = False
        self._failed = False
        self._closed = False

    def open(self) -> Transcript:
        """Take the lock and return what is in the journal so far.

        Raises Busy if another process carries out this run. Where nothing can be written, or the user's secret cannot
        be read, that is warned of, and the run goes on without.
        """
        try:
            return self._open()
        except OSError as error:
            self._complain(f"{error.filename}: {reason(error)}" if error.filename else reason(error))
            self._let_go()
            return Transcript()
        except BaseException:  # a Ctrl-C: the lock would be held against ourselves
            self._let_go()
            raise

    def _open(self) -> Transcript:
        files.private_directory(self.directory)
        if not self._held.enter_context(files.locked(self.directory / LOCK, wait=False)):
            raise Busy(f"run {self.run_id} is still going", hint="wait for its end; 'runs list' shows it")
        self._key = self._secret()
        past = read(self.directory / FILE, lambda: self._key)
        self._descriptor = os.open(self.directory / FILE, _FLAGS, 0o600)
        self._held.callback(os.close, self._descriptor)
        self._is_new = not past.head
        self._torn = not is_finished(self._descriptor, os.fstat(self._descriptor).st_size)
        self._texts.update(past.texts)
        return past

    def begin(self, facts: Mapping[str, Any], texts: Mapping[str, str], *, workflow: str, steps: int) -> None:
        """Write that a process begins, or resumes, the run; `facts` are its plan, whose texts are named by digest.

        A journal that is not open yet is opened.
        """
        if self._descriptor < 0:
            self.open()
        now = iso(self._clock())
        if self._is_new:
            self._append({"run": self.run_id, "journal": VERSION, "workflow": workflow, "steps": steps, "began": now})
        self._append({"session": now, **facts}, texts)

    def keep(self, outcome: Outcome, fingerprint: str, output: str) -> Entry:
        """Write how a step, or a member of one, ended, and return the line; `output` is the digest of its output."""
        texts = {d: text for text, d in outcome.parts.values()}
        entry = _entry(outcome, fingerprint, texts)
        if outcome.output:
            entry["output"] = output
            if not outcome.members:  # the members' own lines have it
                texts[output] = outcome.output
        self._append(entry, texts)
        return entry

    def end(self, facts: Mapping[str, Any]) -> None:
        """Write that the run has ended; `facts` say how."""
        self._append({"end": iso(self._clock()), **facts})

    def close(self) -> None:
        """Try once more to write what could not be, and let go of the lock; nothing more is written."""
        if not self._closed:
            self._closed = True
            self._write()
            self._let_go()

    def _let_go(self) -> None:
        self._descriptor = -1
        self._held.close()

    def _append(self, entry: Mapping[str, Any], texts: Mapping[str, str] = _NO_TEXTS) -> None:
        if self._closed:
            return
        new = {name: text for name, text in texts.items() if name not in self._texts}
        self._texts.update(new)  # `|=` would copy the whole set
        self._waiting.append([*(self._text(*text) for text in new.items()), dumps(entry)])
        self._write()

    def _write(self) -> None:
        """Write what waits, in its order, until the disk takes no more."""
        if self._waiting and self._descriptor < 0:
            self.open()
        while self._waiting and self._descriptor >= 0:
            lines = self._waiting.popleft()  # before it is written: a Ctrl-C in between must not have it there twice
            written = self._put([sealed(line, self.run_id, self._key) for line in lines])
            if written < len(lines):
                self._waiting.appendleft(lines[written:])
                return

    def _put(self, lines: Sequence[bytes]) -> int:
        """Write `lines` at once; return how many of them, from the first on, are whole in the file."""
        data = b"\n".join([*([b""] if self._torn else []), *lines, b""])
        try:
            written = os.write(self._descriptor, data)
        except OSError as error:
            self._complain(reason(error))
            return 0
        there = data[:written].split(b"\n")[self._torn :]
        if written < len(data):
            self._complain("the disk is full")
        if written:
            self._torn = data[written - 1 : written] != b"\n"
        return sum(found == line for found, line in zip(there, lines, strict=False))

    def _text(self, name: str, text: str) -> str:
        from ..redaction import redact  # 10 ms, which readers need not pay

        clean = redact(text, self._known)
        redacted = ', "redacted": true' if clean != text else ""
        return (
            f'{{"text": "{name}", "is": {encode_basestring_ascii(clean)}{redacted}}}'  # `dumps` takes thrice the time
        )

    def _complain(self, why: str) -> None:
        if not self._failed:
            self._failed = True
            later = "what is missing is tried again while it goes on, else --resume asks for it anew"
            self._warn(f"run {self.run_id}: its journal cannot be written: {why}; {later}")


def _entry(outcome: Outcome, fingerprint: str, texts: dict[str, str]) -> Entry:
    """Return the line of an outcome, without what does not apply; its free texts are added to `texts`."""
    named = keeping(texts)
    entry: Entry = {"step": outcome.step}
    if outcome.member is not None:
        entry["member"] = outcome.member
    entry |= {"agent": outcome.agent, "status": outcome.status}
    if outcome.parts:
        entry |= {"fingerprint": fingerprint, "parts": {name: d for name, (_, d) in outcome.parts.items()}}
    plain = {name: value for name in _OPTIONAL if (value := getattr(outcome, name))}
    entry |= plain | {
        "cost": outcome.cost,
        "started": round(outcome.started, 4),
        "finished": round(outcome.finished, 4),
    }
    if usage := {name: count for name, count in vars(outcome.usage).items() if count}:
        entry["usage"] = usage
    if outcome.members:
        entry["members"] = len(outcome.members)
    if outcome.note and not outcome.recalled:
        entry["note"] = named(outcome.note)
    if outcome.error:
        entry["error"] = {**outcome.error.facts(), "message": named(outcome.error.message)}
    return entry


_OPTIONAL = ("key", "model", "stop_reason", "saved", "attempts", "recalled")
