"""Columns of text, aligned, and the short forms of money, time and counts."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_RIGHT = set("0123456789$-.,%")
_CONTROL = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, width: int = 100) -> str:
    """Return `rows` under `headings`, columns aligned, numbers to the right, the last column cut at `width`."""
    lines = [list(headings), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(columns, column)) for column in zip(*lines, strict=True)]
    right = [bool(rows) and all(_is_number(str(row[n])) for row in rows) for n in range(len(headings))]
    return "\n".join(_line(line, widths, right, width) for line in lines)


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool], width: int) -> str:
    padded = [
        " " * (w - columns(cell)) + cell if to_right else cell + " " * (w - columns(cell))
        for cell, w, to_right in zip(cells, widths, right, strict=True)
    ]
    return cut("  ".join(padded).rstrip(), width)


def _is_number(text: str) -> bool:
    return not text or (text[0] in _RIGHT and not set(text) - _RIGHT)


def cut(text: str, width: int) -> str:
    """Return `text` cut to `width` terminal columns, ending in an ellipsis where something is missing."""
    if len(text) * 2 <= width or columns(text) <= width:
        return text
    kept, used = [], 1
    for character in text:
        used += columns(character)
        if used > width:
            break
        kept.append(character)
    return "".join(kept).rstrip() + "…"


def columns(text: str) -> int:
    """Return how many terminal columns `text` takes: East Asian wide characters take two."""
    if text.isascii():
        return len(text)
    from unicodedata import east_asian_width  # 1 ms, for few

    return sum(2 if east_asian_width(c) in "WF" else 1 for c in text)


def money(nanodollars: int | None) -> str:
    """Return an amount in dollars with enough digits to tell small costs apart."""
    if nanodollars is None:
        return "unknown"
    dollars = nanodollars / 1e9
    if dollars == 0 or dollars >= 1:
        return f"${dollars:,.2f}"
    return f"${dollars:.4f}" if dollars >= 0.001 else f"${dollars:.6f}"


def duration(seconds: float) -> str:
    """Return a time span as milliseconds, seconds, or minutes and seconds."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def clean(text: str) -> str:
    """Return `text` without what could steer a terminal: answers and file names come from outside."""
    return text.translate(_CONTROL)


def plural(count: int, thing: str) -> str:
    """Return `count` with its noun: 1 step, 2 steps."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def first_line(text: str) -> str:
    """Return the first line of `text` that holds something, as one line of single spaces."""
    return " ".join(next((line for line in text.splitlines() if line.strip()), "").split())
