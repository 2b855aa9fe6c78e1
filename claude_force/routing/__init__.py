"""Which model a task needs: explained rules over its words, its size, its risk and how such tasks went before.

Pure: the same agent, task and past give the same route. It reads no file of the project and sends nothing; where the
past comes from is the caller's business.
"""

from __future__ import annotations

from types import MappingProxyType

from ..frozen import dataclass
from ..models import find
from .reading import read
from .weighing import dangers, told, weigh

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..models import Prices
    from ..records import Agent, Step
    from .reading import Reading
    from .weighing import Weight

    Past = Callable[[str], Iterable[tuple[str, bool]]]
    """From a kind of task to the model and the failure of each such run of the agent, the newest first."""
    Router = Callable[[Mapping[str, str], int, Agent, Step], "Route"]
    """From the values of templates known so far, the characters attached, an agent and its step to the route."""

TIERS = ("haiku", "sonnet", "opus")
"""The small, the middle and the large model, as `models.find` knows them."""
SMALL, MIDDLE, LARGE = range(3)

_LONG_TASK = 200
"""Words: more of them are rarely one simple wish."""
_LONG_PROMPT = 150_000
"""Characters of task and attached files; about 40,000 tokens, of which a small model begins to miss some."""
_RECENT = 20
"""Runs of one model that count; older ones say little about today's prompts."""
_FEWEST_FAILURES, _WORST_SHARE = 2, 0.25
_NO_PRICES: Prices = MappingProxyType({})
_HARD = (0.45, 0.55)
"""Probabilities that the small and that the middle model does not suffice, from which on the next one is taken."""
_HARM, _DOUBT = 0.19, 0.12
"""Probabilities of harm from which on a task is critical, and from which on it is too doubtful for the small model."""
_SUREST = 0.99
_WORK = ("work for the small model", "work for the middle model", "work for the large model")
_USUAL_TOKENS = {SMALL: 650, MIDDLE: 1000, LARGE: 1500}
"""Of an answer to a task whose kind is not known: the means of the tasks tuned on, about."""


@dataclass(frozen=True)
class Route:
    """The model for a task, and why."""

    model: str
    """As `models.find` takes it."""
    tier: str
    """One of TIERS; '' for a model that is none of them, which is kept."""
    kind: str
    """What the task asks for, a key of `kinds` in `words.json`; '' if that is not recognised."""
    risk: tuple[str, ...]
    """The words that make the task critical; none if it is not."""
    confidence: float
    """From 0 to 1: how probable it is that the model suffices."""
    expected_tokens: int
    """The usual length of an answer to such a task."""
    reasons: tuple[str, ...]
    """One short sentence each, in the order in which they moved the tier."""


def route(
    agent: Agent,
    task: str,
    *,
    default: str,
    asked: str | None = None,
    attached: int = 0,
    past: Past = lambda _: (),
    prices: Prices = _NO_PRICES,
) -> Route:
    """Return the route of `task` for `agent`.

    `default` is the model that would be used without routing, `asked` one that was asked for by name, which is kept;
    `attached` counts the characters of attached files, `past` is asked only if it matters. Critical work goes neither
    to the small model nor below `default`; what is not understood stays at `default`. Raises NotFound for a model
    that there is not.
    """
    reading = read(agent.name, task)
    weight = weigh(reading)
    if asked:
        return _kept(asked, reading, weight, prices, f"{asked} was asked for.")
    own = _tier_of(default, prices)
    if own is None:
        return _kept(default, reading, weight, prices, f"{default} is none of {', '.join(TIERS)}, so it stays.")
    reasons = [f"{'The agent names' if agent.model else 'The default is'} {default}."]
    tier = _by_words(reading, weight, own, reasons)
    tier = _by_size(reading, len(task) + attached, tier, reasons)
    tier = _by_risk(reading, weight, tier, own, reasons)
    if tier < LARGE:
        tier = _by_past(tier, list(past(reading.kind)), reasons)
    return _route(default if tier == own else TIERS[tier], tier, reading, weight, reasons)


def _kept(model: str, reading: Reading, weight: Weight, prices: Prices, reason: str) -> Route:
    return _route(model, _tier_of(model, prices), reading, weight, [reason])


def _route(model: str, tier: int | None, reading: Reading, weight: Weight, reasons: Iterable[str]) -> Route:
    level = MIDDLE if tier is None else tier
    usual = reading.tokens or _USUAL_TOKENS[level]
    risk = dangers(reading) if weight.harm >= _HARM else ()
    name = "" if tier is None else TIERS[tier]
    return Route(model, name, reading.kind, risk, _confidence(weight, level), usual, tuple(reasons))


def _confidence(weight: Weight, tier: int) -> float:
    """Return how probable it is that `tier` suffices, harm reckoned in; nothing is beyond doubt."""
    enough = ((1 - weight.middle) * (1 - weight.harm), 1 - weight.large, _SUREST)
    return round(min(enough[tier], _SUREST), 2)


def _tier_of(model: str, prices: Prices) -> int | None:
    line = find(model, prices=prices)[0].line
    return TIERS.index(line) if line in TIERS else None


def _by_words(reading: Reading, weight: Weight, own: int, reasons: list[str]) -> int:
    """Return the tier that the words of the task ask for."""
    why = told(reading)
    if not (why or reading.trade):
        reasons.append("What the task asks for is not recognised, which moves no model by itself.")
        return own
    tier = LARGE if weight.large >= _HARD[1] else MIDDLE if weight.middle >= _HARD[0] else SMALL
    reasons += why
    reasons.append(f"On the whole that is {_WORK[tier]}.")
    return tier


def _by_size(reading: Reading, characters: int, tier: int, reasons: list[str]) -> int:
    if tier > SMALL or reading.steady:
        return tier
    if reading.words > _LONG_TASK:
        reasons.append(f"The task is long: {reading.words:,} words.")
        return MIDDLE
    if characters > _LONG_PROMPT:
        reasons.append(f"There is much to read: {characters:,} characters.")
        return MIDDLE
    return tier


def _by_risk(reading: Reading, weight: Weight, tier: int, own: int, reasons: list[str]) -> int:
    """Return the tier that critical work needs at least."""
    if weight.harm < _DOUBT or (weight.harm < _HARM and tier > SMALL):
        return tier
    quoted = ", ".join(f"'{word}'" for word in dangers(reading)[:3])
    if weight.harm < _HARM:
        reasons.append(f"{quoted} might do harm: not for the small model.")
        return MIDDLE
    least = max(own, MIDDLE)
    reasons.append(f"{quoted} can do harm: {TIERS[least]} at least.")
    return max(tier, least)


def _by_past(tier: int, runs: list[tuple[str, bool]], reasons: list[str]) -> int:
    """Return the first tier from `tier` on whose model did not fail at such tasks, or `tier` if all did."""
    if not (failures := _failures(tier, runs)):
        return tier
    better = next((t for t in range(tier + 1, len(TIERS)) if not _failures(t, runs)), None)
    if better is None:
        reasons.append(f"{failures}, but those on larger models no less.")
        return tier
    reasons.append(f"{failures}.")
    return better


def _failures(tier: int, runs: Iterable[tuple[str, bool]]) -> str:
    """Return how often the model of `tier` failed lately, in words, or '' if it was seldom."""
    model = find(TIERS[tier])[0].id
    failed = [failure for name, failure in runs if name == model][:_RECENT]
    if sum(failed) < max(_FEWEST_FAILURES, _WORST_SHARE * len(failed)):
        return ""
    return f"{sum(failed)} of the last {len(failed)} such runs on {TIERS[tier]} failed or were cut"
