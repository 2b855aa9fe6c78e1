"""Okapi BM25 over a few texts of several fields, where a word also matches words that stand for the same concept.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009: fields are weighted
before saturation (BM25F), and the inverse document frequency is the one that is never negative.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache, partial
from math import log

from ..frozen import dataclass
from .asked import asked
from .terms import concepts, table_of, terms, wishes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .asked import Asked
    from .terms import Phrases

    Field = str | Sequence[str]
    """A field of a text: prose, or phrases that count as wholes and their words little."""

_SATURATION = 2.0
_CONCEPT_SATURATION = 4.0
"""A concept is told by many words, so that it takes more of them to say that a text is about it."""
_LENGTH = 0.75
_WISH, _SUBJECT = 1.2, 0.65
"""What a word of the same concept counts, against the word itself: a wish decides more than a subject."""
_PHRASE, _PART = 1.3, 0.25
"""What a whole phrase of a field counts, and what a word of it that has no whole phrase around it does."""


@dataclass(frozen=True)
class Match:
    """Words of a query that a text has: what they add to the score, in which field, and by which concept if any."""

    gain: float
    word: str
    field: str
    concept: str


class Index:
    """The terms of a few texts; each text is its fields by name, which count as `weights` says."""

    def __init__(self, texts: Sequence[Mapping[str, Field]], weights: Mapping[str, float]) -> None:
        phrases = _with_own(texts)
        self._asked = lru_cache(4)(partial(asked, phrases=phrases))  # a query is asked of one text after the other
        self._fields = [{name: _counted(field, phrases) for name, field in fields.items()} for fields in texts]
        self._counts = [_weighted(fields, weights) for fields in self._fields]
        lengths = [sum(counts.values()) for counts in self._counts]
        mean = sum(lengths) / len(lengths) if any(lengths) else 1
        self._norms = [1 - _LENGTH + _LENGTH * length / mean for length in lengths]
        self._holders = Counter(term for counts in self._counts for term in counts)

    def scores(self, query: str) -> list[float]:
        """Return how well each text matches `query`, 0 where they share nothing."""
        words = self._asked(query)
        return [sum(match.gain for match in self._found(words, place)) for place in range(len(self._counts))]

    def matches(self, query: str, place: int) -> list[Match]:
        """Return what of `query` the text at `place` has, what adds most first."""
        return list(self._found(self._asked(query), place))

    def _found(self, query: Sequence[Asked], place: int) -> Iterator[Match]:
        best = sorted((self._best(term, place) for term in query), key=lambda found: -found[0])
        seen = set()
        for gain, key, word in best:
            if gain and key not in seen:  # three words for one concept say no more than one
                seen.add(key)
                field = next(name for name, counts in self._fields[place].items() if key in counts)
                yield Match(gain, word, field, key[1:] if key[0] == "#" else "")

    def _best(self, term: Asked, place: int) -> tuple[float, str, str]:
        """Return what `term` adds to the score of the text at `place`, by which of its keys and which words."""
        word, stem, meant, weight = term
        options = [(self._gain(stem, place), stem, word)]
        options += [(_share(name) * self._gain(_key(name), place), _key(name), words) for name, words in meant.items()]
        gain, key, words = max(options)
        return weight * gain, key, words

    def _gain(self, key: str, place: int) -> float:
        count = self._counts[place].get(key, 0)
        if not count:
            return 0
        rarity = self._rarity(self._holders[key]) / self._rarity(1)  # scores of few texts mean what those of many do
        saturation = _CONCEPT_SATURATION if key[0] == "#" else _SATURATION
        return rarity * count * (_SATURATION + 1) / (count + saturation * self._norms[place])

    def _rarity(self, holders: int) -> float:
        return log(1 + (len(self._counts) - holders + 0.5) / (holders + 0.5))


def _with_own(texts: Sequence[Mapping[str, Field]]) -> Phrases:
    """Return the phrases that stand for concepts, and those of the texts' own, which stand for themselves."""
    said = {phrase for fields in texts for field in fields.values() if not isinstance(field, str) for phrase in field}
    own, ends = table_of((phrase, "") for phrase in said if not phrase.isalnum())
    names, lengths = concepts()
    both = {roots: f"={roots};{names[roots]}" if roots in names else f"={roots}" for roots in own if " " in roots}
    all_lengths = {root: "".join(sorted({*found, *lengths.get(root, "")})) for root, found in ends.items()}
    return {**names, **both}, {**lengths, **all_lengths}


def _counted(field: Field, phrases: Phrases) -> dict[str, float]:
    if isinstance(field, str):
        return _added({}, field, phrases, 1)
    counts: dict[str, float] = {}
    for phrase in field:
        _added(counts, phrase, phrases, 1 if phrase.isalnum() else _PART)
    return counts


def _added(counts: dict[str, float], text: str, phrases: Phrases, share: float) -> dict[str, float]:
    """Return `counts` with those of `text`, where a word that is no concept and no phrase counts `share`."""
    for _, stem, meant in terms(text, phrases):
        counts[stem] = counts.get(stem, 0) + share
        for name in meant:
            key = _key(name)
            counts[key] = counts.get(key, 0) + 1
    return counts


def _key(name: str) -> str:
    """Return the key of what words stand for, a concept or an own phrase, which no stem can be."""
    return name if name[0] == "=" else f"#{name}"


def _share(name: str) -> float:
    if name[0] == "=":
        return _PHRASE
    return _WISH if name in wishes() else _SUBJECT


def _weighted(fields: Mapping[str, Mapping[str, float]], weights: Mapping[str, float]) -> dict[str, float]:
    counts: dict[str, float] = {}
    for name, found in fields.items():
        for key, count in found.items():
            counts[key] = counts.get(key, 0) + weights[name] * count
    return counts
