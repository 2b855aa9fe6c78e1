"""What the words of a task say: the kind of work, the signs of hard or dangerous work, and what is pasted or counted.

Pure, and all words are data, in `words.json`. It knows neither models nor tiers, nor how much a sign weighs.
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

_SHORT_QUESTION = 12
"""Words: so short a question that names nothing else is rarely about much."""
_QUESTIONS = ("explain", "fact")
_TERSE = 8
"""Words: so short a task may name what it wants without a verb."""
_FEWEST_WORDS = 3
"""With fewer words of its own a task is what it pastes."""
_HEAD, _TAIL = 2000, 500
"""Characters at the ends of a long task in which the wish is looked for: between them lies piped material."""
_CLAUSE_ENDS = re.compile(r"[.,;:!?](?=\s|$)|[\n\u2013\u2014(]|\s-+\s|\b(?:and|then|und|et|y)\b")
_APOSTROPHE = re.compile(r"(?<=\w)['\u2019](?=(?:s|t|re|ll|d|m|ve)\b)")
_MATERIAL = (
    r"(?i)^(?:\s{2,}\S|\t|[-+@#<>{}\[\]|*/$])|[{};=<>]|\w\(|\.\w+:\d|^\s*[\w.-]+:(?:\s|$)"
    r"|^\s*(?:select|from|where|group by|update|import|def|class|copy|run|cmd)\b"
)
"""A line of code, a diff, settings, a log or a chat, as against one of prose; compiled where there are lines."""
_COUNTED = (
    r"\b(\d[\d.,]*)[ -]?(?:(k|m|mio|million|millions|millionen|bn|tb)"
    r"|(lines|loc|zeilen)"
    r"|(files|tables|screens|modules|services|teams|devs|apps|applications|gems|errors|findings|pages))\b"
)
_COUNTS = (("much data", 1), ("long code", 300), ("many parts", 3))
"""What the groups of _COUNTED after the number stand for, and from which number on they are worth a word."""


@dataclass(frozen=True)
class Reading:
    """What was read out of a task; a text is '' where nothing was found."""

    kind: str
    """A key of `kinds` in `words.json`."""
    cue: str
    """The word that told the kind."""
    trade: str
    """What the agent is for, by its name, else by the kind: a key of `trades` in `words.json`."""
    signs: Mapping[str, tuple[str, ...]]
    """By sign, a key of `signs` in `words.json`: the words that told it, in their order in the task."""
    shapes: tuple[str, ...]
    """Of 'pasted', 'short question', 'much data', 'long code' and 'many parts'."""
    words: int
    """Those of the task, of which what it pastes are not counted among the signs."""

    @property
    def tokens(self) -> int:
        """The usual length of an answer to such a kind of task, 0 if it is not known."""
        return int(kinds().get(self.kind, {}).get("tokens", 0))

    @property
    def steady(self) -> bool:
        """Whether size leaves the work as hard as it is."""
        return bool(kinds().get(self.kind, {}).get("steady"))


def read(agent: str, task: str) -> Reading:
    """Return what the words of `task` say to an agent of that name."""
    wish, pasted = _wish(task)
    text, words = normal(wish), normal(task).count(" ") - 1
    kind, cue = _kind(wish, text.count(" ") - 1)
    signs = {name: found for name, sign in known("signs").items() if (found := _cues(sign["words"], text))}
    asked = kind in _QUESTIONS and words <= _SHORT_QUESTION
    shapes = ["pasted"] * pasted + ["short question"] * asked + _counts(wish.casefold())
    trade = _trade(agent) or kinds().get(kind, {}).get("trade", "")
    return Reading(kind, cue, trade, signs, tuple(shapes), words)


def known(table: str) -> Mapping[str, Any]:
    """Return a table of `words.json`: `kinds`, `trades` or `signs`."""
    found: Mapping[str, Any] = _lists()[table]
    return found


def kinds() -> Mapping[str, Any]:
    """Return the kinds of task by name."""
    return known("kinds")


def normal(text: str) -> str:
    """Return the words of `text` without case and without the apostrophes within them, between single spaces."""
    words = " ".join(re.findall(r"[^\W_]+", _APOSTROPHE.sub("", text.casefold())))
    return f" {words} "


def _wish(task: str) -> tuple[str, bool]:
    """Return the prose of `task`, and whether there is pasted material beside it; the first line is always prose."""
    excerpt = task if len(task) <= _HEAD + _TAIL else f"{task[:_HEAD]}\n{task[-_TAIL:]}"
    first, *others = excerpt.strip().split("\n")
    prose = [line for line in others if not re.search(_MATERIAL, line)]
    wish = "\n".join([first, *prose])
    pasted = len(prose) < len(others)
    return (wish, pasted) if len(wish.split()) >= _FEWEST_WORDS else (excerpt, pasted)


def _counts(wish: str) -> list[str]:
    if not any(letter.isdigit() for letter in wish):
        return []  # half a millisecond of compiling that most tasks need not pay
    found = [
        name
        for number, *units in re.findall(_COUNTED, wish)
        for (name, least), unit in zip(_COUNTS, units, strict=True)
        if unit and float(number.replace(",", "").partition(".")[0]) >= least
    ]
    return list(dict.fromkeys(found))


def _trade(agent: str) -> str:
    name = normal(agent)
    return next((trade for trade, rule in known("trades").items() if _cues(rule["names"], name)), "")


def _kind(wish: str, words: int) -> tuple[str, str]:
    """Return the kind and the cue that told it.

    The first that is asked for counts; a general one ("write ...") only where there is no other.
    """
    clauses = [clause for part in _CLAUSE_ENDS.split(wish.casefold()) if (clause := _impolite(normal(part))).strip()]
    named = [entry for clause in clauses for entry in _named(clause, words)]
    special = [entry for entry in named if not kinds()[entry[0]].get("general")]
    if special or named:
        return (special or named)[0]
    is_request = _at_start(_lists()["polite"], normal(wish))
    is_question = wish.rstrip().endswith("?") and words <= _SHORT_QUESTION and not is_request
    return ("fact", "?") if is_question else ("", "")


def _named(clause: str, words: int) -> Iterator[tuple[str, str]]:
    """Yield the kinds that `clause`, of a task of so many words, names, each with its cue."""
    asks = {kind: cue for kind, rule in kinds().items() if (cue := _at_start(rule["asks"], clause))}
    first = max(asks, key=lambda kind: len(asks[kind]), default="")
    if first and not kinds()[first].get("general"):
        yield first, asks[first]
    making = kinds()[first].get("general") if first else words <= _TERSE
    for kind, rule in kinds().items():
        if kind != first and (cues := _cues(rule["things"], clause) if making else ()):
            yield kind, cues[0]
        if cues := _cues(rule["signs"], clause):
            yield kind, cues[0]
    if first and kinds()[first].get("general"):
        yield first, asks[first]


def _impolite(clause: str) -> str:
    """Return `clause` without the words before what it asks for."""
    while polite := _at_start(_lists()["polite"], clause):
        clause = clause[len(polite) + 1 :]
    return clause


def _at_start(cues: Mapping[str, str], text: str) -> str:
    """Return the longest cue with which `text` begins, or ''."""
    return max((cue for needle, cue in cues.items() if text.startswith(needle)), key=len, default="")


def _cues(cues: Mapping[str, str], text: str) -> tuple[str, ...]:
    """Return the cues in `text` in their order there, the longer first of two at one place; each one once."""
    found = sorted((text.find(needle), -len(cue), needle, cue) for needle, cue in cues.items() if needle in text)
    whole = (
        cue if needle.endswith(" ") else text[at + 1 : text.index(" ", at + len(needle) - 1)]
        for at, _, needle, cue in found
    )
    return tuple(dict.fromkeys(whole))


@cache
def _lists() -> dict[str, Any]:
    """Return the word lists, each as what to look for in a normal text by the cue as it is shown."""
    lists: dict[str, Any] = json.loads(Path(__file__).with_name("words.json").read_text("utf-8"))
    for rule in lists["kinds"].values():
        rule |= {name: _needles(rule.get(name, ())) for name in ("asks", "things", "signs")}
    for sign in lists["signs"].values():
        sign["words"] = _needles(sign["words"])
    for trade in lists["trades"].values():
        trade["names"] = _needles(trade["names"])
    return lists | {"polite": _needles(lists["polite"])}


def _needles(cues: Iterable[str]) -> dict[str, str]:
    return {f" {cue[:-1]}" if cue[-1] == "*" else f" {cue} ": cue.rstrip("*") for cue in cues}
