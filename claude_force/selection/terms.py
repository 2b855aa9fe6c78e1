"""From a text to the terms that it is compared by: stems of its words, and the concepts that they stand for.

The concepts are data, `concepts.json`: by name, the words and phrases that mean much the same to who looks for an
agent, some in German, French and Spanish. `phrases.json` holds the same by roots, which
`scripts/evaluate --phrases` makes so that no start has to. It knows neither agents nor scores.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

from .words import STOP, WHOLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from typing import Any

    Phrases = tuple[Mapping[str, str], Mapping[str, str]]
    """By its roots, what a phrase stands for, parted by semicolons; by its last root, of how many words some are."""
    Term = tuple[str, str, Mapping[str, str]]
    """A word as written, its stem, and by what it stands for, alone or with words before it, these words."""

_WORD = re.compile(r"[^\W_]+")

_SUFFIXES = """
izations ization ational ations ation itions ition ments ment ances ance ences ence ively ives ive ness ingly ings ing
edly ed ers er ors or ably ables able ibly ibles ible ally als al ities ity ies ied ions ion ly es e y s
"""
_ENDINGS = frozenset(_SUFFIXES.split())
_LENGTHS = {
    letter: sorted({len(ending) for ending in _ENDINGS if ending[-1] == letter}, reverse=True)
    for letter in {ending[-1] for ending in _ENDINGS}
}
"""How long the endings are that end in a letter: most words can have few of them."""
_LEAST = 3
"""Letters that are left of a word at least."""
_NOTHING: Mapping[str, str] = {}


def terms(text: str, phrases: Phrases) -> list[Term]:
    """Return the terms of `text` in their order: its words, save those that say nothing.

    Such words and numbers count only where they end a phrase. `phrases` are those to look for, as `concepts` tells
    them. A phrase inside a longer one stands for nothing: there is no test in "load test", only a load test.
    """
    names, lengths = phrases
    words = words_of(text)
    lowers = [word.lower() for word in words]
    roots = [root_of(word) for word in lowers]
    meant: list[tuple[str, int] | None] = []
    for place, root in enumerate(roots):
        here = (names[root], 1) if root in names and lowers[place] not in STOP else None
        for digit in lengths.get(root, ""):
            start = place + 1 - int(digit)
            if start >= 0 and (phrase := " ".join(roots[start : place + 1])) in names:
                here = names[phrase], place + 1 - start
                _forget_inside(meant, start)
        meant.append(here)
    return [
        _term(words, roots, place, *here) if here else (words[place], stem_of(lower), _NOTHING)
        for place, (lower, here) in enumerate(zip(lowers, meant, strict=True))
        if here or not (lower in STOP or lower.isdigit())
    ]


def words_of(text: str) -> list[str]:
    """Return the words of `text` as they are written, without apostrophes."""
    return _WORD.findall(text.replace("'", "").replace("\u2019", ""))


def table_of(listed: Iterable[tuple[str, str]]) -> Phrases:
    """Return the table of phrases that are listed with what each stands for."""
    names: dict[str, dict[str, None]] = {}
    lengths: dict[str, set[str]] = {}
    for phrase, name in listed:
        roots = [root_of(word.lower()) for word in words_of(phrase)] or [""]
        names.setdefault(" ".join(roots), {})[name] = None
        if 1 < len(roots) < 10:  # one digit tells a length
            lengths.setdefault(roots[-1], set()).add(str(len(roots)))
    said = {phrase: ";".join(found) for phrase, found in names.items()}
    return said, {root: "".join(sorted(found)) for root, found in lengths.items()}


def concepts() -> Phrases:
    """Return the table of the phrases that stand for a concept."""
    known = _data()
    return known["names"], known["lengths"]


def phrases_json(known: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Return what `phrases.json` holds, made of what `concepts.json` does."""
    groups = [group.items() for group in known.values()]
    names, lengths = table_of((phrase, name) for group in groups for name, said in group for phrase in said.split(","))
    return {"wishes": sorted(known["wishes"]), "names": dict(sorted(names.items())), "lengths": lengths}


def wishes() -> Collection[str]:
    """Return the concepts that are a wish or a need rather than a subject: to review, a crash; not Python or a page."""
    found: Collection[str] = _data()["wishes"]
    return found


@cache
def root_of(word: str) -> str:
    """Return `word`, in lower case, without the ending of a plural, a past or a progress: log, logs and logged.

    It keeps apart what `stem_of` takes for one: a store from what is stored, but a loader from what is loading.
    """
    if len(word) < 4 or not word.isascii() or not word.isalpha():
        return word
    if word[-1] == "s" and word[-2] not in "siu":
        word = word[:-3] + "y" if word.endswith("ies") and len(word) > 4 else word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= _LEAST:
            word = _single(word[: -len(ending)])
            break
    return word[:-1] if word[-1] == "e" and len(word) > _LEAST else word


@cache
def stem_of(word: str) -> str:
    """Return what `word`, in lower case, shares with its other forms: deploys, deployed and deployment have one stem.

    A plain cut of English endings: of a word in another language it may leave an odd rest, which does no harm.
    """
    if word in WHOLE or not word.isascii() or not word.isalpha():
        return word
    if not word.endswith("ss"):
        word = word[: len(word) - _ending(word)]
    return _single(word)


def _forget_inside(meant: list[tuple[str, int] | None], start: int) -> None:
    """Forget what phrases stand for that begin at `start` or later: they are inside a longer one."""
    for at in range(start, len(meant)):
        if (other := meant[at]) and at + 1 - other[1] >= start:
            meant[at] = None


def _term(words: Sequence[str], roots: Sequence[str], place: int, names: str, length: int) -> Term:
    """Return the term of the word at `place`; if that says nothing alone, its phrase is its stem."""
    lower, phrase = words[place].lower(), slice(place + 1 - length, place + 1)
    stem = " ".join(roots[phrase]) if lower in STOP else stem_of(lower)
    return words[place], stem, dict.fromkeys(names.split(";"), " ".join(words[phrase]))


def _single(word: str) -> str:
    return word[:-1] if len(word) > _LEAST and word[-1] == word[-2] and word[-1] not in "sl" else word


def _ending(word: str) -> int:
    """Return how long the ending is that `word` can lose; a `y` that is part of a sound, as in deploy, stays."""
    for length in _LENGTHS.get(word[-1], ()):
        ending = word[-length:]
        if ending in _ENDINGS and len(word) - length >= _LEAST and not (ending == "y" and word[-2] in "aeou"):
            return length
    return 0


@cache
def _data() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(Path(__file__).with_name("phrases.json").read_bytes())
    return found
