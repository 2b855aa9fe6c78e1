"""Okapi BM25 over a few texts of several fields, where a word also matches words that stand for the same concept.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009: fields are weighted
before saturation (BM25F), and the inverse document frequency is the one that is never negative.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from math import log

from ..frozen import dataclass
from .terms import terms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .terms import Term

_SATURATION = 2.0
_LENGTH = 0.5
_CONCEPT = 0.8
"""What a word of the same concept counts, against the word itself. These three and the weights of the fields hardly
matter: on the labelled tasks that they were chosen by, their neighbours are as good."""


@dataclass(frozen=True)
class Match:
    """A word of a query that a text has: what it adds to the score, in which field, and by which concept if any."""

    gain: float
    word: str
    field: str
    concept: str


class Index:
    """The terms of a few texts; each text is its fields by name, which count as `weights` says."""

    def __init__(self, texts: Sequence[Mapping[str, str]], weights: Mapping[str, float]) -> None:
        self._fields = [{name: _counted(text) for name, text in fields.items()} for fields in texts]
        self._counts = [_weighted(fields, weights) for fields in self._fields]
        lengths = [sum(counts.values()) for counts in self._counts]
        mean = sum(lengths) / len(lengths) if any(lengths) else 1
        self._norms = [1 - _LENGTH + _LENGTH * length / mean for length in lengths]
        self._holders = Counter(term for counts in self._counts for term in counts)

    def scores(self, query: str) -> list[float]:
        """Return how well each text matches `query`, 0 where they share nothing."""
        words = distinct(query)
        return [sum(match.gain for match in self._found(words, place)) for place in range(len(self._counts))]

    def matches(self, query: str, place: int) -> list[Match]:
        """Return what of `query` the text at `place` has, what adds most first."""
        return sorted(self._found(distinct(query), place), key=lambda match: -match.gain)

    def _found(self, query: Sequence[Term], place: int) -> Iterator[Match]:
        seen = set()
        for term in query:
            gain, key = self._best(term, place)
            if gain and key not in seen:  # three words for one concept say no more than one
                seen.add(key)
                field = next(name for name, counts in self._fields[place].items() if key in counts)
                yield Match(gain, term[0], field, key.removeprefix("#") if key.startswith("#") else "")

    def _best(self, term: Term, place: int) -> tuple[float, str]:
        """Return what `term` adds to the score of the text at `place`, and by which of its keys."""
        _, stem, concepts = term
        options = [(self._gain(stem, place), stem)]
        options += [(_CONCEPT * self._gain(f"#{name}", place), f"#{name}") for name in concepts]
        return max(options)

    def _gain(self, key: str, place: int) -> float:
        count = self._counts[place].get(key, 0)
        if not count:
            return 0
        rarity = self._rarity(self._holders[key]) / self._rarity(1)  # scores of few texts mean what those of many do
        return rarity * count * (_SATURATION + 1) / (count + _SATURATION * self._norms[place])

    def _rarity(self, holders: int) -> float:
        return log(1 + (len(self._counts) - holders + 0.5) / (holders + 0.5))


@lru_cache(4)  # a query is asked of one text after the other
def distinct(query: str) -> tuple[Term, ...]:
    """Return the terms of `query`, each once, in that of its forms that stands for most."""
    found: dict[str, Term] = {}
    for term in terms(query):
        _, stem, concepts = term
        if stem not in found or len(concepts) > len(found[stem][2]):
            found[stem] = term
    return tuple(found.values())


def _counted(text: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for _, stem, concepts in terms(text):
        counts[stem] = counts.get(stem, 0) + 1
        for name in concepts:
            counts[f"#{name}"] = counts.get(f"#{name}", 0) + 1
    return counts


def _weighted(fields: Mapping[str, Mapping[str, int]], weights: Mapping[str, float]) -> dict[str, float]:
    counts: dict[str, float] = {}
    for name, found in fields.items():
        for key, count in found.items():
            counts[key] = counts.get(key, 0) + weights[name] * count
    return counts
