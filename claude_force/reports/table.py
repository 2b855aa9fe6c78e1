"""Columns of text, aligned, and the short forms of money, time and counts."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

WIDEST = 2**31
"""Columns of a page that has no end."""
_LEAST = 12
"""Columns that a text keeps however narrow the page is: most headings, and the beginning of a name."""
_GAP = "  "
_CONTROL = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
_LINE_BREAKS = {9: " ", 10: " ", 0x2028: " ", 0x2029: " "}


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int = WIDEST,
    numbers: Collection[str] = (),
    texts: Collection[str] = (),
    spare: str | None = None,
) -> str:
    """Return `rows` under `headings`, columns aligned, those whose headings are `numbers` to the right.

    Where a line would be wider than `width`, the column `spare` is left out, and then those of `texts` are shortened,
    the widest first. Nothing else is: a number that is cut is another one, so a line may be too wide in the end.
    """
    lines = [[one_line(cell) for cell in row] for row in (headings, *rows)]
    filled = list(zip(*lines, strict=True))
    if spare is not None and _total(map(_width, filled)) > width:
        filled = [column for column in filled if column[0] != spare]
    widths = _fitted(filled, texts, width)
    right = [column[0] in numbers for column in filled]
    return "\n".join(_line(cells, widths, right) for cells in zip(*filled, strict=True))


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
    return amounts([nanodollars])[0]


def amounts(column: Sequence[int | None]) -> list[str]:
    """Return the amounts of a column as `money` does, with as many digits as the smallest of them needs."""
    decimals = max((_decimals(abs(amount)) for amount in column if amount), default=2)
    return ["unknown" if amount is None else _dollars(amount, decimals) for amount in column]


def usd_amounts(column: Iterable[float | None]) -> list[str]:
    """Return the amounts of a column as `amounts` does; they are USD."""
    from ..models import nanodollars  # 1 ms, for tables of money alone

    return amounts([None if amount is None else nanodollars(amount) for amount in column])


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


def quoted(word: object) -> str:
    """Return a path, or another word, as a POSIX shell takes it, whatever it is made of."""
    return "'" + str(word).replace("'", "'\\''") + "'"


def plural(count: int, thing: str) -> str:
    """Return `count` with its noun: 1 step, 2 steps."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def first_line(text: str) -> str:
    """Return the first line of `text` that holds something, as one line of single spaces."""
    return " ".join(next((line for line in text.splitlines() if line.strip()), "").split())


def _fitted(filled: Sequence[Sequence[str]], texts: Collection[str], width: int) -> list[int]:
    """Return the widths of columns, those of `texts` shortened so that a line has `width` columns if that suffices."""
    widths = list(map(_width, filled))
    flexible = [number for number, column in enumerate(filled) if column[0] in texts]
    room = width - _total(widths) + sum(widths[number] for number in flexible)
    for left, number in zip(range(len(flexible), 0, -1), sorted(flexible, key=widths.__getitem__), strict=True):
        widths[number] = min(widths[number], max(room // left, _LEAST))
        room -= widths[number]
    return widths


def _width(column: Sequence[str]) -> int:
    return max(map(columns, column))


def _total(widths: Iterable[int]) -> int:
    listed = list(widths)
    return sum(listed) + len(_GAP) * (len(listed) - 1)


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = []
    for cell, width, to_right in zip(cells, widths, right, strict=True):
        shown = cut(cell, width)
        blank = " " * (width - columns(shown))
        padded.append(blank + shown if to_right else shown + blank)
    return _GAP.join(padded).rstrip()


def _decimals(nanodollars: int) -> int:
    if nanodollars >= 1_000_000_000:
        return 2
    return 4 if nanodollars >= 1_000_000 else 6


def _dollars(nanodollars: int, decimals: int) -> str:
    sign = "-" if nanodollars < 0 else ""
    dollars = abs(nanodollars) / 1e9
    return f"{sign}${max(dollars, 1e-6) if dollars else 0:,.{decimals}f}"
