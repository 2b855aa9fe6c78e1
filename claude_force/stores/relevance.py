"""Which sessions are most like a text: a full-text index beside their table, and BM25 over the likeliest of them.

To rank every session that holds a common word takes a second at a million sessions. So the rarest words of a query
name the candidates, the newest ones where there are many, and only these few are read and scored, by all words.
How rare a word is, is told by how densely the newest sessions hold it: FTS5 itself would count every occurrence.
"""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from contextlib import suppress
from itertools import chain, combinations, islice
from math import log

from .sqlite import is_read_only, transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TEXTS = """CREATE VIEW IF NOT EXISTS session_texts (id, words) AS
SELECT id, substr(coalesce(task, ''), 1, 2000) || ' ' || substr(coalesce(result, ''), 1, 1000) FROM sessions"""
"""What of a session is searched; it must exist before the index does."""

# Without positions (detail) and sizes the index takes a third of the room, and nothing here asks for them.
_INDEX = """CREATE VIRTUAL TABLE IF NOT EXISTS session_index USING fts5 (words, content = 'session_texts',
content_rowid = 'id', detail = none, columnsize = 0, tokenize = 'unicode61 remove_diacritics 0')"""
# New sessions enter the index many at a time: one by one, they would take four times as long to store.
_EXTENT = "CREATE TABLE IF NOT EXISTS session_index_extent (last INTEGER NOT NULL)"
_LAST = "(SELECT max(last) FROM session_index_extent)"
_ENTER = "INSERT INTO session_index (rowid, words) SELECT id, words FROM session_texts WHERE id"
_LEAVE = (
    "INSERT INTO session_index (session_index, rowid, words) "
    "SELECT 'delete', id, words FROM session_texts WHERE id = old.id"
)
_TRIGGERS = {
    f"session_{name}": f"{event} ON sessions WHEN {side}.id <= {_LAST} BEGIN {statement}; END"
    for name, event, side, statement in (
        ("put_back", "AFTER INSERT", "new", f"{_ENTER} = new.id"),
        ("removed", "BEFORE DELETE", "old", _LEAVE),
        ("changing", "BEFORE UPDATE", "old", _LEAVE),
        ("changed", "AFTER UPDATE", "new", f"{_ENTER} = new.id"),
    )
}
STATEMENTS = (_INDEX, _EXTENT, *(f"CREATE TRIGGER IF NOT EXISTS {name} {rest}" for name, rest in _TRIGGERS.items()))
"""All that the index consists of, beside what FTS5 makes for itself."""
OF_FTS5 = (
    "CREATE TABLE 'session_index_data'(id INTEGER PRIMARY KEY, block BLOB)",
    "CREATE TABLE 'session_index_idx'(segid, term, pgno, PRIMARY KEY(segid, term)) WITHOUT ROWID",
    "CREATE TABLE 'session_index_config'(k PRIMARY KEY, v) WITHOUT ROWID",
)
"""What FTS5 makes, in the words of all its versions so far."""
SHADOWS = r"'?session_index_(data|idx|config|docsize)'?\("
"""A pattern of the tables in which FTS5 keeps it."""
_BATCH = 64
_MERGE = "INSERT INTO session_index (session_index, rank) VALUES ('merge', ?)"

_WORD = re.compile(r"[^\W_]+")
_LONGEST_QUERY = 20_000
_MOST_WORDS = 8
_OF_Y = ("ying", "ies", "ied", "y")
_OF_OTHERS = ("ings", "ing", "es", "ed", "s", "e", "")
"""In what the forms of one word differ: one that is looked for in one form is found in any."""
_LONG = 4
"""Letters that a word has without its ending, or the ending is its own, as in `string`; one less for an `s`."""
_QUESTIONS = """
a about an and any are as at be by can could did do does for from had has have how i if in is it its me my not of on or
our please should so some that the their there these this to was we were what when where which who why with would you
your
"""
_COMMON = frozenset(_QUESTIONS.split())
"""Words that say nothing of what is asked for."""
_NAMING = 4
"""How many of the words, the rarest, name candidates."""
_SAMPLE = 40
"""How many sessions that hold a word are looked at to tell how rare it is."""
_CANDIDATES = 32
_SCANNED = 2_000
"""How many of the newest sessions are read where there is no index."""


def keep_index(connection: sqlite3.Connection, *, wanted: bool = True) -> bool:
    """See to it that the index follows the table, and return whether there is one.

    A file that comes without it, or from where it could not be kept, is indexed anew: a minute for a million sessions.
    Where SQLite lacks FTS5, or it is not `wanted`, the triggers go, without which sessions could not be stored.
    Raises sqlite3.Error.
    """
    wanted = wanted and bool(connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchone())
    if _follows(connection) == wanted:
        return wanted
    try:
        with transaction(connection):
            if _follows(connection) != wanted:  # anew: another process may have been faster
                _begin(connection) if wanted else _end(connection)
    except sqlite3.OperationalError as error:
        if not is_read_only(error):
            raise
        return False
    return wanted


def _follows(connection: sqlite3.Connection) -> bool:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    return {name for (name,) in found} >= _TRIGGERS.keys()


def _begin(connection: sqlite3.Connection) -> None:
    for statement in STATEMENTS:
        connection.execute(statement)
    connection.execute("INSERT INTO session_index (session_index) VALUES ('rebuild')")
    connection.execute("DELETE FROM session_index_extent")
    connection.execute("INSERT INTO session_index_extent SELECT coalesce(max(id), 0) FROM sessions")


def _end(connection: sqlite3.Connection) -> None:
    for name in _TRIGGERS:
        connection.execute(f"DROP TRIGGER IF EXISTS {name}")


def stored(connection: sqlite3.Connection, session: int) -> None:
    """Hear that a session was stored; every so often, this brings the index up to date."""
    if session % _BATCH == 0:
        catch_up(connection)


def catch_up(connection: sqlite3.Connection) -> None:
    """Bring the index up to date, as far as the disk lets us: a search looks at what it lacks anyway."""
    (lacking,) = connection.execute(f"SELECT {_LAST} < (SELECT max(id) FROM sessions)").fetchone()  # noqa: S608
    if lacking:
        with suppress(sqlite3.OperationalError), transaction(connection):
            connection.execute(f"{_ENTER} > {_LAST}")
            connection.execute("UPDATE session_index_extent SET last = (SELECT coalesce(max(id), 0) FROM sessions)")


def forget_removed(connection: sqlite3.Connection) -> None:
    """Rid the index of the words of removed sessions, in steps so short that other writers need not wait."""
    connection.execute(_MERGE, (-500,))
    while True:
        before = connection.total_changes
        connection.execute(_MERGE, (500,))
        if connection.total_changes - before < 2:  # how FTS5 says that nothing is left to merge
            return


def search(
    connection: sqlite3.Connection, query: str, *, agent: str | None, limit: int, indexed: bool
) -> list[tuple[int, float]]:
    """Return the ids of the sessions most like `query`, best first, each with its score above 0.

    The score is BM25 (Robertson and Zaragoza 2009, k1 = 1.2, b = 0.75) over the beginnings of task and result.
    """
    words = _wanted(query)
    if not words:
        return []
    if indexed:
        ids, rarity = _candidates(connection, words, agent, min(max(_CANDIDATES, 2 * limit), sys.maxsize))
        texts = _texts(connection, ids + _lacking(connection, agent))
    else:
        texts = _texts(connection, _newest(connection, agent, _SCANNED))
        rarity = {w: _rarity(sum(_count(w, text) > 0 for text in texts.values()), len(texts)) for w in words}
    scores = _scores(texts, rarity)
    best = sorted(scores, key=lambda i: (scores[i], i), reverse=True)
    return [(i, scores[i]) for i in best[:limit] if scores[i] > 0]


def _wanted(query: str) -> list[str]:
    """Return the longest words of `query`: of a long one most are common, and the long are the rare.

    They are without the endings that other forms of a word have. Those that only hold a question together count where
    there is nothing else: among few sessions they can be the rarest.
    """
    words = [word.lower() for word in _WORD.findall(query[:_LONGEST_QUERY])]
    telling = [word for word in words if word not in _COMMON] or words
    return sorted(dict.fromkeys(map(_stem, telling)), key=len, reverse=True)[:_MOST_WORDS]


def _stem(word: str) -> str:
    """Return what the forms of a word have in common, with the `y` that becomes `ies`."""
    if (ending := _ending_of(word, _OF_Y)) and len(word) > _LONG:
        return word.removesuffix(ending) + "y"
    return word if word.endswith("ss") else word.removesuffix(_ending_of(word, _OF_OTHERS))


def _ending_of(word: str, endings: Sequence[str]) -> str:
    fitting = (e for e in endings if word.endswith(e) and len(word) - len(e) >= _LONG - (e in {"s", *_OF_Y}))
    return next(fitting, "")


def _forms(stem: str) -> tuple[str, Sequence[str]]:
    """Return how all forms of a word begin, and how they end."""
    if len(stem) < _LONG:
        return stem, ("s", "")
    if stem[-1] == "y" and stem[-2] not in "aeiou":
        return stem[:-1], _OF_Y
    return stem, _OF_OTHERS


def _candidates(
    connection: sqlite3.Connection, words: Sequence[str], agent: str | None, count: int
) -> tuple[list[int], dict[str, float]]:
    """Return the ids of `count` sessions at most that hold what is rarest of `words`, and the rarity of each word."""
    total = connection.execute("SELECT coalesce(max(id), 0) FROM sessions").fetchone()[0]
    samples = {word: ids for word in words if (ids := _holding(connection, word, _SAMPLE))}
    rarity = {word: _rarity(_frequency(samples.get(word, ()), total), total) for word in words}
    depth = 800 + total // 500
    rarest = sorted(samples, key=lambda word: -rarity[word])[:_NAMING]
    holding = {
        word: set(samples[word] if len(samples[word]) < _SAMPLE else _holding(connection, word, depth))
        for word in rarest
    }
    likeliest = chain.from_iterable(_likeliest(holding, rarity))
    if agent is None:
        return list(islice(likeliest, count)), rarity
    chosen = _of_agent(connection, list(islice(likeliest, depth // 2)), agent)[:count]
    return chosen + _newest(connection, agent, count - len(chosen)), rarity


def _likeliest(holding: Mapping[str, set[int]], rarity: Mapping[str, float]) -> Iterator[list[int]]:
    """Yield the sessions in groups that hold the same words, those whose words are rarest in sum first."""
    groups = [group for size in range(1, len(holding) + 1) for group in combinations(holding, size)]
    seen: set[int] = set()
    for group in sorted(groups, key=lambda group: -sum(rarity[word] for word in group)):
        found = set.intersection(*(holding[word] for word in group)) - seen
        seen |= found
        yield sorted(found, reverse=True)


def _holding(connection: sqlite3.Connection, stem: str, count: int) -> list[int]:
    """Return the ids of the newest `count` sessions that hold a word of this `stem`."""
    # one string of numbers is read twice as fast as a row for each
    query = (
        "SELECT group_concat(rowid) FROM "
        "(SELECT rowid FROM session_index WHERE session_index MATCH ? ORDER BY rowid DESC LIMIT ?)"
    )
    try:
        begin, endings = _forms(stem)
        forms = " OR ".join(f'"{begin}{ending}"' for ending in endings)
        found = connection.execute(query, (forms, count)).fetchone()[0]
    except sqlite3.OperationalError as error:
        if "phrase queries" not in str(error):
            raise
        return []  # FTS5 knows the letters of Unicode 6.1, and took a younger one for the end of the word
    return list(map(int, found.split(","))) if found else []


def _frequency(sample: Sequence[int], total: int) -> float:
    """Return how many of `total` sessions hold a word, of which the newest that do are a `sample`."""
    if len(sample) < _SAMPLE:
        return len(sample)
    return len(sample) * total / (total - sample[-1] + 1)


def _rarity(frequency: float, total: int) -> float:
    return log(1 + (total - frequency + 0.5) / (frequency + 0.5))


def _of_agent(connection: sqlite3.Connection, ids: Sequence[int], agent: str) -> list[int]:
    query = "SELECT id FROM sessions WHERE agent_name = ? AND id IN (SELECT value FROM json_each(?))"
    own = {i for (i,) in connection.execute(query, (agent, json.dumps(ids)))}
    return [i for i in ids if i in own]


def _newest(connection: sqlite3.Connection, agent: str | None, count: int) -> list[int]:
    where = "" if agent is None else "WHERE agent_name = :agent"
    query = f"SELECT id FROM sessions {where} ORDER BY id DESC LIMIT :count"  # noqa: S608
    return [i for (i,) in connection.execute(query, {"agent": agent, "count": count})]


def _lacking(connection: sqlite3.Connection, agent: str | None) -> list[int]:
    """Return the newest of the sessions that the index does not have yet."""
    own = "" if agent is None else "AND agent_name = :agent"
    query = f"SELECT id FROM sessions WHERE id > {_LAST} {own} ORDER BY id DESC LIMIT :count"  # noqa: S608
    return [i for (i,) in connection.execute(query, {"agent": agent, "count": _SCANNED})]


def _texts(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, str]:
    from .sessions import as_bytes, text  # 0.2 ms that a process that stores need not pay

    query = f"SELECT id, {as_bytes('words')} FROM session_texts WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
    return {i: text(words).lower() for i, words in connection.execute(query, (json.dumps(ids),))}


def _scores(texts: Mapping[int, str], rarity: Mapping[str, float]) -> dict[int, float]:
    mean = sum(map(len, texts.values())) / max(1, len(texts)) or 1.0
    return {i: _bm25(text, rarity, len(text) / mean) for i, text in texts.items()}


def _bm25(text: str, rarity: Mapping[str, float], length: float) -> float:
    """Return the score of a text whose length is `length` times the mean."""
    slack = 1.2 * (0.25 + 0.75 * length)
    counts = ((weight, _count(word, text)) for word, weight in rarity.items())
    return sum(weight * count * 2.2 / (count + slack) for weight, count in counts)


def _count(stem: str, text: str) -> int:
    """Return how often a word of this `stem` is in `text`; five times as fast as to split the text into words."""
    begin, endings = _forms(stem)
    count, place = 0, text.find(begin)
    while place >= 0:
        end = place + len(begin)
        count += not text[place - 1 : place].isalnum() and _rest(text, end) in endings
        place = text.find(begin, end)
    return count


def _rest(text: str, place: int) -> str:
    """Return the rest of the word at `place`, cut where it is longer than any ending."""
    end = place
    while end <= place + len(_OF_Y[0]) and text[end : end + 1].isalnum():
        end += 1
    return text[place:end]
