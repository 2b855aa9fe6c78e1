"""What an API's limits make of the pace of sending: a record, and functions from record to record.

No one sends before the time that a 429 names, and then one call goes after the other at an even distance. The distance
shrinks with each answer and grows with each refusal, never below what the API's headers allow. Where the record is
kept, and who waits, is not known here.
"""

from __future__ import annotations

from ..frozen import dataclass, replace
from .shared import SKEW_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..records import Record
    from .faults import Header

LONGEST_HOLD_SECONDS = 86_400.0
"""After a day the API may be asked again, whatever it said."""
IDLE_SECONDS = 300.0
"""After which a pace that nobody used is forgotten."""
MARGIN, EAGER = 1.08, 0.95
"""The least distance between two sends over the API's own: if it says that nothing is left, a bucket of one request
would refuse what comes a moment early; if something is, it may be used up."""
FIRST_INTERVAL, LAST_INTERVAL, NO_INTERVAL = 1.0, 60.0, 0.01
"""Seconds between two sends: at first, if the API names no limit; at most; and so little that it is no pace."""
QUICKER, SETTLED = 0.95, 0.999
"""By what an answer multiplies the distance: as long as the pace was never too quick, and in the first
`SETTLED_SECONDS` after it was."""
MORE, LITTLE_MORE = 6.0, 1.0
"""How many requests a minute an answer adds at least: as long as the pace was never too quick, and later than
`SETTLED_SECONDS` after it was. A distance of a minute, which refusals for another reason lead to, would else stay."""
SETTLED_SECONDS = 60.0
SLOWER, MUCH_SLOWER = 1.1, 2.0
"""By what a refusal multiplies it, and by what if nothing was answered since the last one."""
PLENTY, PLENTY_SHARE = 20, 0.2
"""With more requests left than this number and this share of the limit, there is no need of a pace."""


@dataclass(frozen=True)
class Pace:
    """When calls may be sent. Times are seconds since the epoch."""

    hold: float = 0.0
    """Nothing is sent before."""
    interval: float = 0.0
    """Seconds between two sends; 0 lets all pass."""
    floor: float = 0.0
    """The least interval that the API's limit on requests allows; 0 if that is not known to be the narrow place."""
    due: float = 0.0
    """When the next call may be sent."""
    spare: int = 0
    """Calls that may be sent at once: the API said that they are left."""
    sent: int = 0
    """Calls that have taken their moment."""
    cut: float = 0.0
    """When it was last slowed down: moments taken before are void, and refusals of calls sent before say no more."""
    settled: bool = False
    """Whether a call was refused that kept a pace at which others were answered: it was too quick.

    Refusals with no answer in between say nothing of the kind: perhaps everybody is refused.
    """
    eased: bool = False
    """Whether there was an answer since."""
    changed: float = 0.0


NO_PACE = Pace()


def read_pace(record: Record | None, now: float) -> Pace:
    """Return the pace that `record` describes at the time `now`: none if it is old, from another clock or garbled."""
    try:
        pace = Pace(**{name: type(default)((record or {})[name]) for name, default in vars(NO_PACE).items()})
    except (KeyError, TypeError, ValueError, OverflowError):
        return NO_PACE
    used = max(pace.changed, pace.due, pace.hold)
    sound = used <= pace.changed + LONGEST_HOLD_SECONDS and 0 <= pace.interval <= LAST_INTERVAL * MARGIN
    return pace if sound and now - pace.changed >= -SKEW_SECONDS and now - used < IDLE_SECONDS else NO_PACE


class Ticket:
    """One call's place: which number it has, when it was sent, and the pace that it kept, None if there was none."""

    def __init__(self, name: str, number: int, at: float, pace: Pace | None = None) -> None:
        self.name, self.number, self.at, self.pace = name, number, at, pace
        self.header: Header | None = None
        """The headers of the answer, once there is one."""


def left(header: Header | None) -> tuple[int, int] | None:
    """Return the limit on requests in a minute and how many are left, if the headers tell."""
    if header is None:
        return None
    limit, remaining = (header(f"anthropic-ratelimit-requests-{what}") or "" for what in ("limit", "remaining"))
    if not (limit.isdecimal() and remaining.isdecimal() and len(limit + remaining) < 20 and int(limit)):
        return None
    return int(limit), int(remaining)


def plenty(limit: int, remaining: int) -> bool:
    """Say whether so many requests `remaining` of a minute's `limit` are enough to send without a pace."""
    return remaining > PLENTY and remaining > PLENTY_SHARE * limit


def _floor(limit: int, remaining: int = 0) -> float:
    return min(60 / limit, LAST_INTERVAL) * (EAGER if remaining else MARGIN)


def taken(latest: float, pace: Pace, now: float) -> tuple[Pace | None, tuple[float, Pace]]:
    """Return the pace once the next moment is taken, None if that is after `latest`; and the moment with the pace."""
    if pace.spare and pace.hold <= now:
        took = replace(pace, spare=pace.spare - 1, sent=pace.sent + 1)
        return took, (now, took)
    at = max(now, pace.due, pace.hold)
    if at > latest:
        return None, (at, pace)
    took = replace(pace, due=at + pace.interval, sent=pace.sent + 1)
    return took, (at, took)


def eased(
    ticket: Ticket, limits: tuple[int, int] | None, later: int, pace: Pace, now: float
) -> tuple[Pace | None, None]:
    """Return the pace after an answer, None if it stays: its distance shrinks, or it begins, or it ends.

    `limits` is what `left` read from the headers, `later` how many calls this process sent since, unpaced.
    """
    if limits and plenty(*limits) and pace.floor:
        return replace(pace, interval=0.0, floor=0.0, spare=0), None
    if limits and not plenty(*limits):
        return _fitted(ticket, *limits, later, pace, now), None
    if not pace.interval:
        return None, None
    return _quicker(pace, now), None


def _fitted(ticket: Ticket, limit: int, remaining: int, later: int, pace: Pace, now: float) -> Pace:
    """Return the pace that keeps `limit`, given how many were left after the call and how many were sent since."""
    floor = _floor(limit, remaining)
    if pace.interval:
        spare = max(0, remaining - (pace.sent - ticket.number)) if ticket.pace else pace.spare
        return replace(_quicker(replace(pace, floor=floor), now), spare=spare)
    short = max(0, 1 + later - remaining)
    return replace(pace, interval=floor, floor=floor, due=ticket.at + floor * short, spare=max(0, remaining - later))


def _quicker(pace: Pace, now: float) -> Pace:
    """Return `pace` with a distance that is a little shorter, if it may be."""
    interval = pace.interval * QUICKER
    if not pace.floor and not pace.settled:
        interval = min(interval, _with_more(pace.interval, MORE))
    elif not pace.floor:
        early = now - pace.cut < SETTLED_SECONDS
        interval = pace.interval * SETTLED if early else _with_more(pace.interval, LITTLE_MORE)
    if interval < max(pace.floor, NO_INTERVAL):
        interval = pace.floor  # without a floor: no pace any more
    return replace(pace, interval=interval, eased=True)


def _with_more(interval: float, requests: float) -> float:
    """Return the distance at which so many `requests` a minute more are sent than at `interval`."""
    return 60 / (60 / interval + requests)


def slowed(
    ticket: Ticket, limits: tuple[int, int] | None, retry_after: float | None, pace: Pace, now: float
) -> tuple[Pace, bool]:
    """Return the pace after a 429, and whether the refusal says something that earlier ones did not."""
    hold = max(pace.hold, now + min(retry_after or 0.0, LONGEST_HOLD_SECONDS))
    cut = max(now, pace.cut + 1e-6)  # another one, whatever the clock says, or who waits would not notice
    kept = ticket.pace if ticket.at > pace.cut else None
    if pace.interval and kept is None:  # it was sent before there was this pace
        return (replace(pace, hold=hold, due=hold, cut=cut) if hold > max(pace.hold, now) else pace), False
    floor = _floor(limits[0]) if limits and not limits[1] else pace.floor
    if kept is None:
        interval = floor or min(retry_after or FIRST_INTERVAL, FIRST_INTERVAL) * MARGIN
    else:
        # answers have shortened the distance since, perhaps, but it is the one that it kept that was too short
        wider = max(pace.interval, kept.interval) * (SLOWER if pace.eased else MUCH_SLOWER)
        interval = max(floor, min(wider, LAST_INTERVAL))
    now_slower = replace(pace, hold=hold, interval=interval, floor=floor, due=hold, spare=0, cut=cut)
    return replace(now_slower, settled=kept is not None and (pace.settled or pace.eased), eased=False), True
