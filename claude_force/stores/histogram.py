"""A histogram of whole numbers that merges by adding and gives percentiles within 0.4 %.

Counts are kept by bucket: every power of two is cut into 128 buckets of equal width, as in HdrHistogram, so that a
bucket is never wider than 1/128 of what lies in it; numbers below 256 have a bucket each. Knows nothing of what is
counted nor of where it is kept.
"""

from __future__ import annotations

from array import array
from collections import Counter
from itertools import chain, repeat
from sys import byteorder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


def bucket(value: int) -> int:
    """Return the bucket of `value`, which must not be negative; greater values never have lesser buckets."""
    if value < 256:
        return value
    shift = value.bit_length() - 8
    return (shift << 7) + (value >> shift)


BUCKETS = bucket((1 << 64) - 1) + 1
"""How many there are for numbers of 64 bits."""


def middle(number: int) -> int:
    """Return the middle of the bucket `number`: at most 1/256 away from every value in it."""
    if number < 256:
        return number
    shift = (number >> 7) - 1
    return ((number - (shift << 7)) << shift) + ((1 << shift) - 1) // 2


def percentile(counts: Mapping[int, int], percent: int) -> int | None:
    """Return the value that `percent` of all values do not exceed (nearest rank), or None if there are none."""
    rank = max(-(-percent * sum(counts.values()) // 100), 1)
    for number in sorted(counts):
        rank -= counts[number]
        if rank <= 0:
            return middle(number)
    return None


def merge(into: dict[Any, int], counts: Mapping[Any, int]) -> None:
    """Add `counts` of anything to `into`."""
    for number, count in counts.items():
        into[number] = into.get(number, 0) + count


def packed(counts: Mapping[int, int]) -> list[int]:
    """Return `counts` as a flat list: distance from the bucket before, count, and so on; raises as `unpacked` does."""
    _require_sound(counts)
    flat: list[int] = []
    before = 0
    for number in sorted(counts):
        flat += (number - before, counts[number])
        before = number
    return flat


def unpacked(flat: Sequence[int]) -> dict[int, int]:
    """Return the counts that `packed` wrote.

    Raises ValueError for anything else, and for a bucket or a count that there cannot be.
    """
    if set(map(type, flat)) - {int}:
        raise ValueError("a histogram holds what is no whole number")
    counts: dict[int, int] = {}
    number = 0
    for distance, count in zip(flat[::2], flat[1::2], strict=True):
        number += distance
        counts[number] = count
    _require_sound(counts)
    return counts


def to_integer(counts: Mapping[int, int]) -> int:
    """Return `counts` as one integer with 32 bits for each bucket: the sum of two is the merged histogram.

    Adding integers merges thousands of histograms in milliseconds, where dictionaries would take a second. A count
    must stay below 2 ** 32; raises OverflowError.
    """
    dense = array("I", bytes(4 * (max(counts, default=-1) + 1)))
    for number, count in counts.items():
        dense[number] = count
    return int.from_bytes(_little(dense).tobytes(), "little")


def from_integer(whole: int) -> dict[int, int]:
    """Return the counts that `to_integer`, or a sum of its results, stands for."""
    dense = array("I", whole.to_bytes(-(-whole.bit_length() // 32) * 4, "little"))
    return {number: count for number, count in enumerate(_little(dense)) if count}


def to_bytes(counts: Mapping[int, int]) -> bytes:
    """Return `counts` as bytes: two for each value, its bucket, or four for each bucket, its count, if that is shorter.

    Raises OverflowError as `to_integer` does.
    """
    if sum(counts.values()) > 2 * max(counts, default=0):
        whole = to_integer(counts)
        return _COUNTS + whole.to_bytes(-(-whole.bit_length() // 8), "little")
    return _VALUES + _little(array("H", chain.from_iterable(map(repeat, counts, counts.values())))).tobytes()


def from_bytes(data: bytes) -> dict[int, int]:
    """Return the counts that `to_bytes` wrote."""
    if data.startswith(_COUNTS):
        return from_integer(int.from_bytes(data[1:], "little"))
    return Counter(_little(array("H", data[1:])))


class Total:
    """Adds up histograms that `to_bytes` wrote: thousands of them in milliseconds, in little memory."""

    def __init__(self) -> None:
        self._whole = 0
        self._values = bytearray()

    def add(self, data: bytes) -> None:
        """Add one."""
        if data.startswith(_COUNTS):
            self._whole += int.from_bytes(data[1:], "little")
        else:
            self._values += data[1:]
            if len(self._values) > _MANY:
                self._settle()

    def whole(self) -> int:
        """Return the sum of all as one integer, as `to_integer` does; raises ValueError for more than BUCKETS."""
        self._settle()
        if self._whole.bit_length() > 32 * BUCKETS:
            raise ValueError("a histogram has more buckets than there are")
        return self._whole

    def data(self) -> bytes:
        """Return the sum of all as `from_bytes` reads it; in the shorter form only where it is much shorter.

        To add what has one form takes a microsecond, to add values 40 ns for each of them.
        """
        values = b"" if self._whole else bytes(self._values)
        whole = self.whole()
        counts = whole.to_bytes(-(-whole.bit_length() // 8), "little")
        return _VALUES + values if 0 < len(values) < len(counts) // 8 else _COUNTS + counts

    def _settle(self) -> None:
        self._whole += to_integer(Counter(_little(array("H", bytes(self._values)))))
        self._values.clear()


_COUNTS, _VALUES = b"c", b"v"
_MANY = 1 << 16
"""Bytes of values that are held before they are counted."""


def _require_sound(counts: Mapping[int, int]) -> None:
    """Raise ValueError for a bucket or a count that there cannot be."""
    if not counts:
        return
    some = counts.values()
    if min(counts) < 0 or max(counts) >= BUCKETS or min(some) <= 0 or max(some) >= 1 << 32:
        raise ValueError("a histogram has a bucket or a count that there cannot be")


def _little(fields: array[int]) -> array[int]:
    """Return `fields` with the lowest byte of each first, or back again."""
    if byteorder == "big":
        fields.byteswap()
    return fields
