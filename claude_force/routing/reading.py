"""What the words of a task say: the kind of work, its scope, and what a wrong answer could harm.

Pure, and all words are data, in `words.json`. It knows neither models nor tiers.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

from ..frozen import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

PLAIN, NAMED, GENERAL, UNNAMED = range(4)
"""How sure the kind is: the task begins with it, it is named later, only a general word was found, or none."""

_SHORT_QUESTION = 12
"""Words: so short a question that names nothing else is rarely about much."""
_TERSE = 8
"""Words: so short a task may name what it wants without a verb."""
_HEAD, _TAIL = 2000, 500
"""Characters at the ends of a long task in which its kind is looked for: between them lies piped material."""
_CLAUSE_ENDS = re.compile(r"[.,;:!?](?=\s|$)|[\n\u2013\u2014(]|\s-+\s|\b(?:and|then|und|et|y)\b")


@dataclass(frozen=True)
class Reading:
    """What was read out of a task; each text is '' where nothing was found."""

    kind: str
    """A key of `kinds` in `words.json`."""
    cue: str
    """The word that told the kind."""
    certainty: int
    """PLAIN, NAMED, GENERAL or UNNAMED."""
    narrow: str
    wide: str
    risk: tuple[str, ...]
    words: int

    @property
    def does(self) -> str:
        """What the task asks to do, in words."""
        return str(kinds()[self.kind]["does"])

    @property
    def level(self) -> int:
        """How hard such work is, from 0 to 2; 1 if the kind is not known."""
        return int(kinds().get(self.kind, _UNKNOWN)["level"])

    @property
    def tokens(self) -> int:
        """The usual length of an answer."""
        usual = int(kinds().get(self.kind, _UNKNOWN)["tokens"])
        return usual * (2 if self.wide else 1) // (2 if self.narrow else 1)

    @property
    def steady(self) -> bool:
        """Whether size and scope leave the work as hard as it is; only if it is plain that this is all of it."""
        return self.certainty == PLAIN and bool(kinds()[self.kind].get("steady"))


def read(agent: str, task: str) -> Reading:
    """Return what the words of `task` say; the agent's name counts among the words that may tell a risk."""
    words = _lists()
    text = _normal(task)
    kind, cue, certainty = _kind(task, text.count(" ") - 1)
    return Reading(
        kind=kind,
        cue=cue,
        certainty=certainty,
        narrow=_first(words["narrow"], text),
        wide=_first(words["wide"], text),
        risk=tuple(dict.fromkeys(cue for _, _, cue in sorted(_found(words["risk"], _normal(agent) + text)))),
        words=text.count(" ") - 1,
    )


def kinds() -> Mapping[str, Any]:
    """Return the kinds of task by name."""
    known: Mapping[str, Any] = _lists()["kinds"]
    return known


_UNKNOWN: Mapping[str, Any] = {"level": 1, "tokens": 1500}


def _kind(task: str, words: int) -> tuple[str, str, int]:
    """Return the kind, the cue that told it, and how sure that is.

    What the task begins by asking for is believed. Else the hardest kind that is named counts, and the first of
    those; a general one ("write …") only where there is no other.
    """
    excerpt = task if len(task) <= _HEAD + _TAIL else f"{task[:_HEAD]}\n{task[-_TAIL:]}"
    clauses = [
        clause for part in _CLAUSE_ENDS.split(excerpt.casefold()) if (clause := _impolite(_normal(part))).strip()
    ]
    named = [entry for clause in clauses for entry in _named(clause, words)]
    special = [entry for entry in named if not kinds()[entry[0]].get("general")]
    if special and _begins(clauses[0], special[0]):
        return *special[0], PLAIN
    if special:
        return *max(special, key=lambda entry: kinds()[entry[0]]["level"]), NAMED
    if named:
        return *named[0], GENERAL
    is_request = _at_start(_lists()["polite"], _normal(task))
    is_question = task.rstrip().endswith("?") and words <= _SHORT_QUESTION and not is_request
    return ("fact", "?", GENERAL) if is_question else ("", "", UNNAMED)


def _begins(clause: str, entry: tuple[str, str]) -> bool:
    kind, cue = entry
    return cue in kinds()[kind]["asks"].values() and clause.startswith(_normal(cue)[:-1])


def _named(clause: str, words: int) -> Iterator[tuple[str, str]]:
    """Yield the kinds that `clause`, of a task of so many words, names, each with its cue."""
    asks = {kind: cue for kind, rule in kinds().items() if (cue := _at_start(rule["asks"], clause))}
    first = max(asks, key=lambda kind: len(asks[kind]), default="")
    making = kinds()[first].get("general") if first else words <= _TERSE
    for kind, rule in kinds().items():
        if words <= rule.get("longest", words):
            cue = asks[kind] if kind == first else _first(rule["things"], clause) if making else ""
            if cue := cue or _first(rule["signs"], clause):
                yield kind, cue


def _impolite(clause: str) -> str:
    """Return `clause` without the words before what it asks for."""
    while polite := _at_start(_lists()["polite"], clause):
        clause = clause[len(_normal(polite)) - 1 :]
    return clause


def _at_start(cues: Mapping[str, str], text: str) -> str:
    """Return the longest cue with which `text` begins, or ''."""
    return max((cue for needle, cue in cues.items() if text.startswith(needle)), key=len, default="")


def _first(cues: Mapping[str, str], text: str) -> str:
    """Return the first cue in `text`, the longest of several, or ''."""
    return min(_found(cues, text), default=(0, 0, ""))[2]


def _found(cues: Mapping[str, str], text: str) -> Iterator[tuple[int, int, str]]:
    """Yield where each cue that `text` holds first stands, its length below zero, and the cue."""
    for needle, cue in cues.items():
        if (at := text.find(needle)) >= 0:
            whole = text[at + 1 : text.index(" ", at + len(needle) - 1)]
            yield at, -len(cue), cue if needle.endswith(" ") else whole


def _normal(text: str) -> str:
    """Return the words of `text` without case, between single spaces."""
    words = " ".join(re.findall(r"[^\W_]+", text.casefold()))
    return f" {words} "


@cache
def _lists() -> dict[str, Any]:
    """Return the word lists, each as what to look for in a normal text by the cue as it is shown."""
    lists: dict[str, Any] = json.loads(Path(__file__).with_name("words.json").read_text("utf-8"))
    for rule in lists["kinds"].values():
        rule |= {name: _needles(rule.get(name, ())) for name in ("asks", "things", "signs")}
    return lists | {name: _needles(lists[name]) for name in ("polite", "narrow", "wide", "risk")}


def _needles(cues: Iterable[str]) -> dict[str, str]:
    return {_normal(cue)[: -1 if cue.endswith("*") else None]: cue.rstrip("*") for cue in cues}
