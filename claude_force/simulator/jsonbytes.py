"""JSON as the API writes it."""

from __future__ import annotations

from json import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def json_bytes(value: Any) -> bytes:
    """Return `value` as JSON in UTF-8 with nothing escaped that need not be, on one line.

    So U+2028 and U+0085 arrive as they are: a client that takes them for line ends is found out.
    """
    try:
        return dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half of a surrogate pair has no UTF-8, only an escape
        return dumps(value, separators=(",", ":")).encode()
