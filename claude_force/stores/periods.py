"""The days and months by which spending is counted, in UTC, as text that sorts by time."""

from __future__ import annotations

import re
import time

PERIOD = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])(?:-\d\d)?", re.ASCII)
"""A day or a month, as text."""
AHEAD_DAYS = 31
"""So far ahead of the clock what was spent still counts: the clock may have been set back.

Without a bound, a clock that was once years ahead would leave spending that counted for years.
"""
_DAY = 86_400


def day_of(seconds: float) -> str:
    """Return the day, as in 2026-11-22, of a time in seconds since 1970."""
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def window(now: float, *, monthly: bool) -> tuple[str, str]:
    """Return the first and last day, or month, whose spending counts at the time `now`."""
    today = day_of(now)
    if not monthly:
        return today, day_of(now + AHEAD_DAYS * _DAY)
    year, month = int(today[:4]), int(today[5:7])
    return today[:7], f"{year + month // 12:04}-{month % 12 + 1:02}"


def end(period: str) -> float:
    """Return when a day or month ends, in seconds since 1970."""
    from calendar import timegm  # 2 ms, for those who are refused or look

    year, month, *day = map(int, period.split("-"))
    following = (year, month, day[0] + 1) if day else (year + month // 12, month % 12 + 1, 1)
    return float(timegm((*following, 0, 0, 0)))
