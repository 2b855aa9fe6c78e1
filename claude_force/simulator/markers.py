"""Markers in a prompt that steer the simulated answer.

A marker stands in the last user message, outside any document (a `<tag … name="…">` element): the task steers, data
that was attached to it does not. Several markers add up; where two set the same thing the later one counts.

    [[simulate: ITEM ITEM …]]

| item | effect |
|---|---|
| `reply=TEXT` | exactly this text. It runs to `]]`, without the blanks at its ends, so it comes last in its marker |
| `reply=<<TEXT>>` | exactly this text, blanks, line ends and brackets included, up to `>>]]`, so it too comes last |
| `tokens=500` | a text of so many tokens |
| `stop=refusal` | a stop reason: end_turn, max_tokens, tool_use, pause_turn, refusal, model_context_window_exceeded |
| `empty` | no content |
| `thinking` | an empty thinking block comes first |
| `status=529` | an error of this status; `retry-after=2` adds the header, `code=NAME` an `error_code` |
| `html=502` | an error of this status with an HTML page |
| `error=overloaded_error` | the stream breaks off with an error event; without a stream, the status of that error |
| `latency=0.2s` | time before the answer begins |
| `trickle=0.05s` | time between the pieces of the answer |
| `cut` | the connection is closed in the middle of the answer |
| `reset` | the connection is reset before any answer |
| `garbage` | 200 with a body that is neither JSON nor an event stream |
| `hang` | no answer, ever |
| `times=2` | the marker counts only for the first two requests with the same user text, then no more |

A marker that cannot be read is answered with 400 and says why.
"""

from __future__ import annotations

import re
from dataclasses import fields

from ..errors import UsageError
from .behaviour import Fault, overlay, parse_seconds
from .problems import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_OPEN = "[[simulate:"
_ITEM = re.compile(r"\s*([a-z][a-z_-]*)(=?)")
_WORD = re.compile(r"(?:(?!\]\])\S)+")
_END = re.compile(r"\s*\]\]")


def steer(text: str, count: Callable[[str], int]) -> Fault:
    """Return what the markers in `text` ask for; `count` tells how often a marker was met, this time included.

    Raises Problem, 400, for a marker that cannot be read.
    """
    fault = Fault()
    for start, _, marker in _markers(text):
        if marker.times is None or count(f"{start}:{text}") <= marker.times:
            fault = overlay(fault, marker)
    return fault


def without_markers(text: str) -> str:
    """Return `text` with its markers taken out, so that an answer that quotes it steers nothing. Raises Problem."""
    for start, end, _ in reversed(_markers(text)):
        text = text[:start] + text[end:]
    return text


def _markers(text: str) -> list[tuple[int, int, Fault]]:
    """Return start, end and meaning of each marker, in order."""
    found = []
    start = text.find(_OPEN)
    while start >= 0:
        items, end = _items(text, start + len(_OPEN))
        found.append((start, end, _fault(items)))
        start = text.find(_OPEN, end)
    return found


def _items(text: str, at: int) -> tuple[dict[str, str | bool], int]:
    items: dict[str, str | bool] = {}
    while not (end := _END.match(text, at)):
        if not (item := _ITEM.match(text, at)):
            raise _unreadable(text[at : at + 40])
        name = item[1].replace("-", "_")
        if name == "reply" and item[2]:
            items[name], at = _reply(text, item.end())
            return items, at
        items[name], at = _value(text, item.end()) if item[2] else (True, item.end())
    return items, end.end()


def _reply(text: str, at: int) -> tuple[str, int]:
    opening, closing = ("<<", ">>]]") if text.startswith("<<", at) else ("", "]]")
    end = text.find(closing, at)
    if end < 0:
        raise _unreadable(text[at : at + 40], f"the reply has no end {closing}, and must come last in its marker")
    reply = text[at + len(opening) : end]
    return (reply if opening else reply.strip()), end + len(closing)


def _value(text: str, at: int) -> tuple[str, int]:
    word = _WORD.match(text, at)
    if word is None:
        raise _unreadable(text[at : at + 40], "a value is missing")
    return word[0], word.end()


def _fault(items: dict[str, str | bool]) -> Fault:
    values: dict[str, Any] = {}
    for name, text in items.items():
        read = _READERS.get(name)
        if read is None or (read is bool) != (text is True):
            raise _unreadable(name, f"the items are {', '.join(_READERS)}")
        try:
            values[name] = read(text)
        except (ValueError, UsageError) as error:
            raise _unreadable(f"{name}={text}", str(error)) from None
    try:
        return Fault(**values)
    except UsageError as error:
        raise _unreadable(" ".join(items), f"{error.message}; {error.hint}") from None


_OF_TYPE: dict[str, Callable[[Any], Any]] = {"int": int, "float": parse_seconds, "bool": bool, "str": str}
_READERS = {field.name: _OF_TYPE[str(field.type).partition(" ")[0]] for field in fields(Fault)}


def _unreadable(where: str, why: str = "") -> Problem:
    place = f"[simulated] a [[simulate: …]] marker cannot be read at '{where.strip()}'"
    return Problem(f"{place}: {why}" if why else place)
