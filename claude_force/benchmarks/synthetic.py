"""Synthetic histories: executions and remembered sessions as a busy project has them after many months.

Equal arguments make equal data. Names, prices and the form of a line are the package's own; what varies is drawn as it
varies in practice: a few agents do most of the work, times and tokens have long tails, words follow Zipf's law.
"""

from __future__ import annotations

import json
from itertools import accumulate, count, islice, product
from random import Random

from .. import models
from ..errors import ForceError, Refused, TimedOut, Truncated, TryLater
from ..frozen import dataclass
from ..library import lookup
from ..models import usd
from ..records import Outcome, Usage, iso, task_hash
from ..stores.metrics import line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from ..records import Agent

    Row = tuple[str, str, str, str, bool, str, str]
    """Agent, task, the task's hash, result, success, time and metadata, as the memory's table has them."""

A_DAY = 2_000
"""Executions, and sessions, of one day."""
_SEED = 20_261_122
_WORKFLOWS = ("code-quality-check", "security-audit", "release-notes", "nightly")
_ENDINGS: dict[str | ForceError, int] = {
    "ok": 84,
    "cached": 12,
    TryLater("-"): 2,
    TimedOut("-"): 1,
    Truncated("-"): 1,
    Refused("-"): 1,
}
"""How executions end, and how many of about a hundred do."""
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in ("a", "e", "i", "o", "u", "ar", "en")]
_COMMON, _TOPICS, _OWN = 5_000, 200, 100
"""Words that all texts have in common, topics, and the words that only texts of one topic have."""


@dataclass(frozen=True)
class _Kind:
    """Executions that differ only in when they ended, how long they took and how many tokens they needed."""

    facts: Mapping[str, Any]
    """Their line of metrics."""
    fresh: int
    output: int
    """Nanodollars for a token of the prompt, and for one of the answer."""


def executions(number: int, *, until: float) -> Iterator[bytes]:
    """Yield the lines of so many executions, A_DAY of them each day until `until`, the oldest first."""
    chance = _chance()
    kinds, weights = zip(*_kinds(), strict=True)
    for ended, kind in zip(_moments(number, until), chance.choices(kinds, weights, k=number), strict=True):
        yield json.dumps(_told(kind, ended, chance)).encode() + b"\n"


def sessions(number: int, *, until: float) -> Iterator[Row]:
    """Yield so many sessions, A_DAY of them each day until `until`, the oldest first."""
    speech = Speech()
    agents = _agents()
    likely = [1 / rank for rank in range(1, len(agents) + 1)]
    for ended, agent in zip(_moments(number, until), speech.chance.choices(agents, likely, k=number), strict=True):
        topic = speech.chance.randrange(_TOPICS)
        task = f"{speech.text(topic, 8, 40)} in module_{speech.chance.randrange(number)}.py"
        result = speech.text(topic, 60, 160)
        yield agent.name, task, task_hash(task), result, speech.chance.random() < 0.95, iso(ended), "{}"


def queries(number: int) -> list[str]:
    """Return so many texts to search for, no two the same: words and whole tasks, of rare, common and unknown words."""
    return list(islice(_queries(), number))


class Speech:
    """Texts of made-up words, half of them common to all texts, half of them of one topic."""

    def __init__(self) -> None:
        self.chance = _chance()
        rare = self.chance.sample(range(10_000, 900_000), _TOPICS * _OWN)
        words = [_word(n) for n in (*range(_COMMON), *rare)]
        self._common = words[:_COMMON]
        self._own = [words[start : start + _OWN] for start in range(_COMMON, len(words), _OWN)]
        self._zipf = list(accumulate(1 / rank for rank in range(1, _COMMON + 1)))

    def text(self, topic: int, shortest: int, longest: int) -> str:
        """Return a text of so many words on one of the topics."""
        length = self.chance.randint(shortest, longest)
        words = [*self.common(length - length // 2), *self.chance.choices(self._own[topic], k=length // 2)]
        self.chance.shuffle(words)
        return " ".join(words)

    def common(self, length: int) -> list[str]:
        """Return words that any text may hold."""
        return self.chance.choices(self._common, cum_weights=self._zipf, k=length)


def _queries() -> Iterator[str]:
    speech = Speech()
    for number in count():
        topic = speech.chance.randrange(_TOPICS)
        yield f"{speech.text(topic, 2, 4)} {number}"
        yield f"{speech.text(topic, 8, 40)} in module_{number}.py"
        yield f"{' '.join(speech.common(3))} {number}"
        yield f"{speech.text(topic, 1, 3)} unheard{number}"


def _chance() -> Random:
    return Random(_SEED)  # noqa: S311 - nothing here is to be a secret


def _moments(number: int, until: float) -> Iterator[float]:
    return (until - (number - n) * 86_400 / A_DAY for n in range(number))


def _agents() -> tuple[Agent, ...]:
    return lookup.list_agents([lookup.bundled_shelf()])


def _kinds() -> Iterator[tuple[_Kind, float]]:
    """Yield the kinds of executions, each with how likely it is.

    An agent is mostly on its own model and sometimes on a smaller one, mostly by itself and sometimes in its workflow.
    """
    for rank, agent in enumerate(_agents(), 1):
        on = {"haiku": 10, agent.model or "sonnet": 90}
        within = {None: 70, _WORKFLOWS[rank % len(_WORKFLOWS)]: 30}
        for (model, m), (workflow, w), (ending, e) in product(on.items(), within.items(), _ENDINGS.items()):
            yield _kind(agent.name, models.find(model)[0].id, workflow, ending), m * w * e / rank


def _kind(agent: str, model: str, workflow: str | None, ending: str | ForceError) -> _Kind:
    error = ending if isinstance(ending, ForceError) else None
    outcome = Outcome(
        "review",
        agent,
        "failed" if error else "cached" if ending == "cached" else "ok",
        model=model,
        stop_reason=None if error else "end_turn",
        usage=Usage(cache_read_input_tokens=2_000 if workflow else 0),
        attempts=0 if ending == "cached" else 1,
        error=error,
    )
    run = f"20261122-040000000-{agent[:6]:x<6}"
    facts = line(outcome, workflow=workflow, run_id=run, task_hash="", price_version=models.price_version())
    fresh, output = (models.cost(token, model) or 0 for token in (Usage(input_tokens=1), Usage(output_tokens=1)))
    return _Kind(facts, fresh, output)


def _told(kind: _Kind, ended: float, chance: Random) -> dict[str, Any]:
    """Return the line of one execution."""
    fresh, output = int(chance.lognormvariate(7, 1)), int(chance.lognormvariate(6, 1))
    paid = usd(fresh * kind.fresh + output * kind.output)
    cached = "cached" in kind.facts
    return {
        **kind.facts,
        "timestamp": iso(ended),
        "task_hash": f"{chance.getrandbits(32):08x}",
        "execution_time_ms": chance.randrange(1, 9) if cached else int(chance.lognormvariate(8.5, 0.8)),
        "input_tokens": fresh,
        "output_tokens": output,
        "total_tokens": kind.facts["total_tokens"] + fresh + output,
        "estimated_cost": 0.0 if cached else paid,
        **({"saved_cost": paid} if cached else {}),
    }


def _word(number: int) -> str:
    """Return a word for each number, longer ones for greater numbers."""
    rest, last = divmod(number, len(_SYLLABLES))
    return (_word(rest - 1) if rest else "") + _SYLLABLES[last]
