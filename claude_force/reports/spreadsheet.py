"""Rows as CSV that is safe to open in a spreadsheet: names come from files of others, and stay text there.

Knows nothing of what the rows say.
"""

from __future__ import annotations

from .table import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
"""With these a spreadsheet begins a formula; the last four are the wide forms of the others."""
_SUSPECT = (" ", *_FORMULA)


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return `rows`, which have their keys in common, as CSV with a line of headings; '' for none."""
    import csv  # 2 ms, for few
    import io

    page = io.StringIO()
    if rows:
        writer = csv.DictWriter(page, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(safe(row) for row in rows)
    return page.getvalue()


def safe(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return `row` with texts that a spreadsheet takes for text, and a terminal for nothing else.

    What would begin a formula gets an apostrophe before it; see owasp.org, CSV Injection. Numbers stay as they are.
    """
    return {name: _cell(value) if type(value) is str else value for name, value in row.items()}


def _cell(text: str) -> str:
    if text.isprintable() and not text.startswith(_SUSPECT):  # as nearly all are, and a million rows may be
        return text
    shown = clean(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown
