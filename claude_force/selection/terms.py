"""From a text to the terms that it is compared by: stems of its words, and the concepts that they stand for.

The concepts are data, `concepts.json`: by name, the words and phrases that mean much the same to who looks for an
agent, some in German and French. It knows neither agents nor scores.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Term = tuple[str, str, tuple[str, ...]]
    """A word as written, its stem, and the concepts that it stands for, alone or with the words before it."""

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

_STOP = """
a about above after again all also am an and any are as at back be because been before being between both but by
came can cant could did do does doesnt doing done dont each either else etc even ever every few find for found from
further get gets getting give given go goes going got had has have having he her here hers him his how i id if ill im in
into is isnt it its ive just know let lets like ll lot make makes many may maybe me might mine more most much must my
need needs no nor not now of off on once one only or other our ours out over own please pls re really s same say
says see shall she should so some somebody someone something still stuff such sure t take tell than thanks that the
their them then there these they thing things this those though through to too try two under until us use used
using ve very want wants was we were what whats when where whether which while who whom whose why will with within
without wont would yes yet you your yours
attached below help look please code file files long short new old good better best bad big small free day days week
weeks year years time times today
aber als auch auf aus bei bin bis bitte da das dass dem den der des die diese dieser doch du durch ein eine einem
einen einer eines er es für hat hier ich ihr im ist ja kann kein keine können man mein meine mich mir mit muss nach
nicht noch nur ob oder ohne sein sich sie sind über um und uns unser unsere unserem unseren unter vom von vor war was
weil welche wenn wer wie wir wird wo zu zum zur
au aux avec ce ces cet cette dans de du elle en est et il ils je la le les leur ma mes mon ne nos notre nous où
par pas pour quel quelle qui se ses son sont sur un une vos votre vous
"""
_STOP_WORDS = frozenset(_STOP.split())
_APOSTROPHES = {ord("'"): None, 0x2019: None}


def terms(text: str) -> list[Term]:
    """Return the terms of `text` in their order: its words, save those that say nothing unless they end a phrase."""
    known = _concepts()
    found: list[Term] = []
    stems: list[str] = []
    for word in _words(text):
        lower = word.lower()
        stem = stem_of(lower)
        stems.append(stem)
        concepts: tuple[str, ...] = ()
        for phrase, length, concept in known.get(stem, ()):
            if length == 1 or " ".join(stems[-length:]) == phrase:
                if concept not in concepts:
                    concepts += (concept,)
                stem = phrase if lower in _STOP_WORDS else stem
        if concepts or lower not in _STOP_WORDS:
            found.append((word, stem, concepts))
    return found


@cache
def stem_of(word: str) -> str:
    """Return what `word`, in lower case, shares with its other forms: deploys, deployed and deployment have one stem.

    A plain cut of English endings: of a word in another language it may leave an odd rest, which does no harm.
    """
    if not word.isascii() or not word.isalpha():
        return word
    if not word.endswith("ss"):
        word = word[: len(word) - _ending(word)]
    doubled = len(word) > _LEAST and word[-1] == word[-2] and word[-1] not in "sl"
    return word[:-1] if doubled else word


def _ending(word: str) -> int:
    """Return how long the ending is that `word` can lose; a `y` that is part of a sound, as in deploy, stays."""
    for length in _LENGTHS.get(word[-1], ()):
        ending = word[-length:]
        if ending in _ENDINGS and len(word) - length >= _LEAST and not (ending == "y" and word[-2] in "aeou"):
            return length
    return 0


def _words(text: str) -> list[str]:
    return _WORD.findall(text.translate(_APOSTROPHES))


@cache
def _concepts() -> Mapping[str, Sequence[tuple[str, int, str]]]:
    """Return by the last stem of a word or phrase its stems, how many they are, and the concept that it stands for."""
    table = json.loads(Path(__file__).with_name("concepts.json").read_bytes())
    found: dict[str, dict[tuple[str, int, str], None]] = {}
    for name, listed in table.items():
        for phrase in listed.split(","):
            stems = [stem_of(word.lower()) for word in _words(phrase)]
            found.setdefault(stems[-1], {})[" ".join(stems), len(stems), name] = None  # test and tests are one
    return {stem: tuple(phrases) for stem, phrases in found.items()}
