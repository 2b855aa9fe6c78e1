"""The seal on a line of a journal: an HMAC-SHA256 under the user's secret, by which lines of others are told apart.

It is over the run's id and the line alone: a line that damage took away must not take those after it along.
"""

from __future__ import annotations

import hmac
from json import JSONDecoder

from ..records import finite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Secret = Callable[[], bytes]
    """Returns the user's secret; raises OSError where it cannot be read or made."""

_MARK = b', "seal": "'
_SIZE = len(_MARK) + 64 + len(b'"}')


def sealed(line: str, run_id: str, secret: bytes) -> bytes:
    """Return `line`, a JSON object with at least one key, with its seal as the last key."""
    return _sealed(line[:-1].encode(), run_id, secret)


def opened(line: bytes, run_id: str, secret: bytes) -> bytes | None:
    """Return `line` without its seal, or None if it bears none of this user's for this run."""
    body = line[:-_SIZE]
    return body + b"}" if hmac.compare_digest(line, _sealed(body, run_id, secret)) else None


def entry(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object in `line`, None if there is none; NaN and infinities are no JSON."""
    try:
        found = _DECODER.decode(line.decode())
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _sealed(body: bytes, run_id: str, secret: bytes) -> bytes:
    code = hmac.digest(secret, b"journal\0" + run_id.encode() + b"\0" + body, "sha256").hex().encode()
    return b"".join((body, _MARK, code, b'"}'))


_DECODER = JSONDecoder(parse_constant=finite)
