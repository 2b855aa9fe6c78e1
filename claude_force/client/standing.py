"""How the API stands, in words: what `doctor` and `status` say of circuits and limits.

It reads records and changes none.
"""

from __future__ import annotations

import time

from ..frozen import dataclass
from .breaker import read_circuit, reopens, state
from .pace import read_pace
from .shared import moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..records import Record
    from .breaker import Rules


@dataclass(frozen=True)
class Standing:
    """How an endpoint and model stands: `state` is "open", "half-open", "failing" or "limited"."""

    name: str
    state: str
    found: str
    """What is the matter, in words."""
    until: float | None = None
    """When calls are made again, in seconds since the epoch."""


def standings(
    circuits: Mapping[str, Record], paces: Mapping[str, Record], rules: Rules, now: float | None = None
) -> list[Standing]:
    """Return what keeps calls back or may soon do so, by name; nothing where all is well."""
    now = time.time() if now is None else now
    return [*_troubled(circuits, rules, now), *_limited(paces, now)]


def _troubled(circuits: Mapping[str, Record], rules: Rules, now: float) -> Iterator[Standing]:
    for name, record in circuits.items():
        circuit = read_circuit(record)
        if not circuit.failures:
            continue
        told = f"{circuit.failures} in a row failed, last {moment(circuit.failed)}: {circuit.reason}"
        match state(circuit, rules, now):
            case "open":
                until = reopens(circuit, rules, now)
                yield Standing(name, "open", f"nothing is sent until {moment(until)}; {told}", until)
            case "half-open":
                yield Standing(name, "half-open", f"the next call finds out whether it answers again; {told}")
            case _:
                yield Standing(name, "failing", told)


def _limited(paces: Mapping[str, Record], now: float) -> Iterator[Standing]:
    for name, record in paces.items():
        pace = read_pace(record, now)
        if pace.hold > now:
            found = f"the API asks to send nothing until {moment(pace.hold)}"
            yield Standing(name, "limited", found, pace.hold)
        elif pace.interval:
            yield Standing(name, "limited", f"{60 / pace.interval:,.0f} requests a minute are sent")
