"""What a run's journal says, read back: its lines and texts, how each step ended, and what it all came to.

Knows the file alone: who writes it, and what else there is of a run, is not known here.
"""

from __future__ import annotations

from .. import errors, files
from ..frozen import dataclass, field, fields, replace
from ..models import total
from ..records import STATUSES, Outcome, Step, Usage, Workflow, digest
from . import seal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from .seal import Secret

    Entry = dict[str, Any]

FILE = "journal.jsonl"
VERSION = 1


@dataclass(frozen=True)
class Transcript:
    """The lines of one journal, in their order; `sessions` are the run's beginning and each time it was resumed."""

    run_id: str = ""
    head: Mapping[str, Any] = field(default_factory=dict)
    sessions: tuple[Session, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    """By digest; that of a text which was redacted is the digest of what it was before."""
    redacted: frozenset[str] = frozenset()
    """Digests of the texts that were redacted."""
    damaged: int = 0
    """Lines that a crash or a full disk cut short."""
    foreign: int = 0
    """Lines that this user did not write, which are left out."""


@dataclass(frozen=True)
class Session:
    """One process's part in a run: the plan it followed, what it did, and how it ended, None if it was killed."""

    plan: Entry
    steps: tuple[Entry, ...] = ()
    end: Entry | None = None


def keeping(texts: dict[str, str]) -> Callable[[str], str]:
    """Return what puts a text into `texts` under its digest, as journals do, and returns the digest."""

    def kept(text: str) -> str:
        name = digest(text)
        texts[name] = text
        return name

    return kept


def read(path: Path, secret: Secret) -> Transcript:
    """Return what the journal at `path` says, nothing if it is not there yet; raises OSError.

    Lines that were cut short, or that are not sealed with the user's `secret`, are counted and left out. Raises
    UsageError for a journal of a later version.
    """
    try:
        files.require_regular(path)
        data = path.read_bytes()
    except FileNotFoundError:
        return Transcript()
    return parse(data, path.parent.name, secret())


def parse(data: bytes, run_id: str, secret: bytes) -> Transcript:
    """Return what `data`, the content of the journal of the run `run_id`, says, as `read` does."""
    head: Entry = {}
    texts: dict[str, str] = {}
    redacted: set[str] = set()
    sessions: list[Session] = []
    steps: list[Entry] = []
    damaged = foreign = 0
    for line in filter(None, data.split(b"\n")):
        own = seal.opened(line, run_id, secret)
        entry = seal.entry(line if own is None else own)
        kind = next(iter(entry), "") if entry else ""
        if entry is None or (own and not _is_sound(entry)):
            damaged += 1
        elif own is None:
            foreign += 1
        elif kind == "text":
            texts[entry["text"]] = entry["is"]
            if entry.get("redacted"):
                redacted.add(entry["text"])
        elif kind == "step" and sessions:
            steps.append(entry)
        elif kind == "run":
            head = _current(entry)
        elif kind in {"session", "end"}:
            _close(sessions, steps)
            if kind == "session":
                sessions.append(Session(entry))
            elif sessions:
                sessions[-1] = replace(sessions[-1], end=entry)
    _close(sessions, steps)
    return Transcript(str(head.get("run", "")), head, tuple(sessions), texts, frozenset(redacted), damaged, foreign)


def _is_sound(entry: Entry) -> bool:
    """Say whether a line has what its kind must have; one that has not was not written by this program."""
    kind = next(iter(entry), "")
    if kind == "text":
        return isinstance(entry["text"], str) and isinstance(entry.get("is"), str)
    if kind == "run":
        return isinstance(entry["run"], str) and isinstance(entry.get("journal"), int)
    if kind == "session":
        named = all(isinstance(entry.get(name), kind) for name, kind in _SESSION.items())
        return named and all(isinstance(s, dict) and isinstance(s.get("id"), str) for s in entry["steps"])
    if kind == "step":
        typed = all(isinstance(entry.get(name, kind()), kind) for name, kind in _STEP.items())
        marks = (*entry.get("parts", {}).values(), entry.get("output", "")) if typed else ()
        return typed and entry.get("status") in STATUSES and all(isinstance(mark, str) for mark in marks)
    return True


_SESSION = {"workflow": dict, "task": str, "inputs": dict, "given": list, "steps": list}
_STEP = {"step": str, "agent": str, "parts": dict, "usage": dict, "started": float, "finished": float}


def _current(head: Entry) -> Entry:
    if head["journal"] != VERSION:
        raise errors.UsageError(
            f"the journal of run {head['run']} has version {head['journal']}, this program knows {VERSION}",
            hint="update claude-force",
        )
    return head


def _close(sessions: list[Session], steps: list[Entry]) -> None:
    if steps:
        sessions[-1] = replace(sessions[-1], steps=(*sessions[-1].steps, *steps))
        steps.clear()


def outcome(entry: Entry, transcript: Transcript) -> Outcome:
    """Return the outcome that a line of a step tells of; that of a `foreach` step lacks its members and output."""
    said = entry.get("output", "")
    parts = {name: (transcript.texts.get(d, ""), d) for name, d in entry.get("parts", {}).items()}
    facts = {name: entry[name] for name in _PLAIN if name in entry}
    return Outcome(
        output=transcript.texts.get(said, ""),
        digest=said if said in transcript.redacted else "",
        usage=Usage(**{name: count for name, count in entry.get("usage", {}).items() if name in _COUNTS}),
        error=_error(entry["error"], transcript) if "error" in entry else None,
        note=transcript.texts.get(entry.get("note", ""), ""),
        item=parts["item"][0] if "item" in parts else None,
        parts=parts,
        **facts,
    )


_COUNTS = {f.name for f in fields(Usage)}
_PLAIN = (
    *("step", "agent", "status", "model", "stop_reason", "cost", "saved", "started", "finished", "attempts"),
    *("key", "member", "recalled"),
)


def _error(facts: Entry, transcript: Transcript) -> errors.ForceError:
    name = "".join(word.capitalize() for word in facts["type"].split("_"))
    kind = vars(errors).get(name)
    if not (isinstance(kind, type) and issubclass(kind, errors.ForceError)):
        kind = errors.ForceError
    message = transcript.texts.get(facts["message"], "")
    error = kind.__new__(kind, message)  # what its constructor would take is not in the journal
    error.__dict__.update(message=message, hint=facts.get("hint", ""), retryable=facts.get("retryable", False))
    return error


def outcomes(transcript: Transcript) -> list[Outcome]:
    """Return how each step of the run ended in the end, in the order of their starts.

    A step that a resumed run took from its journal is told as it was made; times are seconds since the run began, the
    pauses between its sessions left out.
    """
    made: dict[tuple[str, str], Outcome] = {}
    latest: dict[str, Outcome] = {}
    members: dict[str, dict[int, Outcome]] = {}
    began = 0.0
    for session in transcript.sessions:
        members.clear()
        for entry in session.steps:
            found = _placed(entry, transcript, began, made)
            if found.member is not None:
                members.setdefault(found.step, {})[found.member] = found
            else:
                latest[found.step] = _with_members(found, members.get(found.step, {}))
        began += _length(session)
    still = set(planned(transcript.sessions))
    return sorted((o for o in latest.values() if o.step in still), key=lambda o: o.started)


def _placed(entry: Entry, transcript: Transcript, began: float, made: dict[tuple[str, str], Outcome]) -> Outcome:
    """Return a line's outcome on the axis of the whole run, or the one in `made` that it recalls."""
    found = outcome(entry, transcript)
    found = replace(found, started=found.started + began, finished=found.finished + began)
    place = found.step, entry.get("fingerprint", "")
    if found.recalled and place in made:
        return replace(made[place], member=found.member)
    if "fingerprint" in entry:
        made[place] = found
    return found


def _with_members(whole: Outcome, members: Mapping[int, Outcome]) -> Outcome:
    if not members:
        return whole
    inner = tuple(members[number] for number in sorted(members))
    return replace(
        whole,
        status="ok" if whole.status == "cached" and any(m.status == "ok" for m in inner) else whole.status,
        members=inner,
        output=Outcome.listing(inner),
        cost=total(m.cost for m in inner),
        started=min(m.started for m in inner),
        finished=max(m.finished for m in inner),
    )


def _length(session: Session) -> float:
    return max((float(e["finished"]) for e in session.steps), default=0.0)


def sums(sessions: Sequence[Session]) -> Entry:
    """Return what a run came to: how many steps ended how, nanodollars spent and saved, and seconds without pauses.

    A step that was taken from the journal counts as it did when it was made, once.
    """
    statuses: dict[str, str] = {}
    costs: list[int | None] = []
    saved, seconds = 0, 0.0
    for session in sessions:
        for entry in session.steps:
            if entry.get("member") is None:
                earlier = statuses.get(entry["step"]) if entry.get("recalled") else None
                statuses[entry["step"]] = earlier or entry["status"]
            if "members" not in entry:
                costs.append(entry.get("cost", 0))
                saved += 0 if entry.get("recalled") else entry.get("saved") or 0
        seconds += _length(session)
    ended = [statuses.get(step_id) for step_id in planned(sessions)]
    counts = {status: ended.count(status) for status in STATUSES}
    return {"counts": counts, "cost": total(costs), "saved": saved, "seconds": round(seconds, 3)}


def planned(sessions: Sequence[Session]) -> list[str]:
    """Return the ids of the steps that the last session planned."""
    return [step["id"] for step in sessions[-1].plan.get("steps", [])] if sessions else []


def workflow(transcript: Transcript, session: int = -1) -> Workflow:
    """Return the graph of a run as a session planned it: ids, agents and dependencies, without what is asked."""
    steps = transcript.sessions[session].plan.get("steps", []) if transcript.sessions else []
    named = tuple(Step(s["id"], s.get("agent", ""), dependencies=tuple(s.get("dependencies", ()))) for s in steps)
    return Workflow(str(transcript.head.get("workflow", "")), named)


def plan_files(steps: Sequence[Entry], step_id: str) -> dict[str, dict[str, str]]:
    """Return the digests of the files that each member of a `foreach` step attached, by its item and their names."""
    return {
        entry["parts"]["item"]: {
            name.removeprefix("file "): d for name, d in entry["parts"].items() if name.startswith("file ")
        }
        for entry in steps
        if entry["step"] == step_id and "item" in entry.get("parts", {})
    }
