"""Columns of text, aligned, and the short forms of money, time and counts."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_NUMBER = set("0123456789$-.,%")
_CONTROL = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
_LINE_BREAKS = {9: " ", 10: " ", 0x2028: " ", 0x2029: " "}


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, width: int = 100) -> str:
    """Return `rows` under `headings`, columns aligned, numbers to the right, the last column cut at `width`."""
    lines = [[one_line(cell) for cell in row] for row in (headings, *rows)]
    filled = list(zip(*lines, strict=True))
    widths = [max(map(columns, column)) for column in filled]
    right = [len(lines) > 1 and _NUMBER.issuperset("".join(column[1:])) for column in filled]
    return "\n".join(_line(line, widths, right, width) for line in lines)


def cut(text: str, width: int) -> str:
    """Return `text` cut to `width` terminal columns, ending in an ellipsis where something is missing."""
    if len(text) * 2 <= width or columns(text) <= width:
        return text
    if width < 1:
        return ""
    kept, used = [], 1
    for character in text:
        used += columns(character)
        if used > width:
            break
        kept.append(character)
    return "".join(kept).rstrip() + "…"


def columns(text: str) -> int:
    """Return how many terminal columns `text` takes: East Asian wide characters two, combining marks none."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width  # 1 ms, for few

    return sum(0 if category(c) in {"Mn", "Me", "Cf"} else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def money(nanodollars: int | None) -> str:
    """Return an amount in dollars with enough digits to tell small costs apart, and from none."""
    if nanodollars is None:
        return "unknown"
    if nanodollars < 0:
        return f"-{money(-nanodollars)}"
    dollars = nanodollars / 1e9
    if dollars == 0 or dollars >= 1:
        return f"${dollars:,.2f}"
    return f"${dollars:.4f}" if dollars >= 0.001 else f"${max(dollars, 1e-6):.6f}"


def duration(seconds: float) -> str:
    """Return a time span in its two largest units, or in one below a minute; 11 characters up to four days."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if seconds < 3599.5:
        return f"{round(seconds) // 60} min {round(seconds) % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def clean(text: str) -> str:
    """Return `text` without what could steer a terminal: answers and file names come from outside."""
    return text.translate(_CONTROL)


def one_line(text: str) -> str:
    """Return `text` as `clean` does, and on one line."""
    return clean(text).translate(_LINE_BREAKS)


def quoted(path: object) -> str:
    """Return a path as a shell takes it, whatever its name is made of."""
    return "'" + str(path).replace("'", "'\\''") + "'"


def plural(count: int, thing: str) -> str:
    """Return `count` with its noun: 1 step, 2 steps."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def first_line(text: str) -> str:
    """Return the first line of `text` that holds something, as one line of single spaces."""
    return " ".join(next((line for line in text.splitlines() if line.strip()), "").split())


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool], width: int) -> str:
    padded = [
        " " * (w - columns(cell)) + cell if to_right else cell + " " * (w - columns(cell))
        for cell, w, to_right in zip(cells, widths, right, strict=True)
    ]
    return cut("  ".join(padded).rstrip(), width)
