"""The ids of runs: when a run began, in UTC to the millisecond, and what tells apart those that began together.

It knows neither where a run is kept nor whether there is one of that id.
"""

from __future__ import annotations

import os
import re
import time

_ID = re.compile(r"(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)\d{3}-[0-9a-f]{6}")


def new() -> str:
    """Return an id for a run that begins now; ids sort by the time at which their runs began."""
    now = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    return f"{stamp}{int(now * 1000) % 1000:03}-{os.urandom(3).hex()}"


def is_id(text: str) -> bool:
    """Say whether `text` is the whole id of a run, of a workflow or of one agent."""
    return _ID.fullmatch(text) is not None


def began(run_id: str) -> str:
    """Return when a run began, in UTC as `YYYY-MM-DDTHH:MM:SS`; '' if `run_id` is not the id of one."""
    match = _ID.fullmatch(run_id)
    return "{}-{}-{}T{}:{}:{}".format(*match.groups()) if match else ""
