"""What the requests of one plan have in common at their beginnings, and which of them goes first because of it.

The API's prompt cache keeps a marked prefix for five minutes. Writing it costs more than reading it fresh, reading it
again far less, and it can be read once the first answer has begun. So a prefix is marked if at least two calls of the
plan share it, and of calls that are ready at once one goes ahead, while the others wait until its answer begins.

A prefix is shared if model, effort and schema are equal, without which the API finds nothing, and then, in this order,
the agent, its skills and the attached files. Different agents share nothing, whatever they attach: files are words of
others, which in front of an agent's own words could pose as instructions, so they stay behind the system prompt.

The marks follow from the plan alone, so that a request is the same in each run; what waits for what follows from time.
"""

from __future__ import annotations

from time import monotonic

from .. import models
from ..frozen import dataclass, replace
from ..records import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ..models import Prices
    from .plan import Job, Plan

    Id = tuple[str, int | None]
    """A step, and the number of its member."""
    Chain = tuple[object, ...]
    """What a prefix is known by: what the cache depends on, then its blocks."""

_LIFE_SECONDS = 300.0
_MOST_MARKS = 4
_UNKNOWN_ITEMS = 2
"""How many items an answer is taken to list: whoever writes `foreach` expects several."""
_PATIENCE_SECONDS, _PATIENCE_PER_TOKEN = 2.0, 0.0002
"""Twice as long as a prompt takes to its answer's first word: Anthropic, announcing the prompt cache, tells of 1.6 s
for 10,000 tokens and 11.5 s for 100,000."""


@dataclass(frozen=True)
class Prefix:
    """The first `blocks` blocks of the requests of `steps`, the system's and then the files', on one model."""

    model: str
    steps: tuple[str, ...]
    calls: int
    """How many begin with it; more than that if an answer lists more than two items for a `foreach`."""
    blocks: int
    tokens: int
    """By estimate, which is rather too high."""
    inner: int = 0
    """The first of the tokens, which are those of a shorter prefix that more calls share."""


def shared(plan: Plan) -> tuple[Prefix, ...]:
    """Return the prefixes that are worth a mark because calls of `plan` share them, the shorter ones first.

    They are long enough for the model, and no longer one is shared by as many. A single agent's call has none.
    """
    if len(plan.jobs) == 1 and _calls(next(iter(plan.jobs.values()))) < 2:
        return ()
    chains = {step_id: _chains(plan, job) for step_id, job in plan.jobs.items()}
    users: dict[Chain, list[str]] = {}
    for step_id, its in chains.items():
        for chain in its:
            users.setdefault(chain, []).append(step_id)
    calls = {chain: sum(_calls(plan.jobs[i]) for i in steps) for chain, steps in users.items()}
    lengths: dict[Chain, int] = {}
    for step_id, its in chains.items():
        lengths |= _worth_a_mark(its, calls, plan.jobs[step_id])
    return tuple(
        Prefix(
            model=plan.jobs[users[chain][0]].model.id,
            steps=tuple(users[chain]),
            calls=calls[chain],
            blocks=len(chain) - 1,
            tokens=tokens,
            inner=max((lengths.get(chain[:end], 0) for end in range(len(chain))), default=0),
        )
        for chain, tokens in sorted(lengths.items(), key=lambda entry: len(entry[0]))
    )


def marked(plan: Plan, prefixes: Sequence[Prefix]) -> Plan:
    """Return `plan` with the marks that end `prefixes`; that of a single agent as it is."""
    if plan.workflow.source == "agent":
        return plan
    ends = {i: [p.blocks - 1 for p in prefixes if i in p.steps][-_MOST_MARKS:] for i in plan.jobs}
    return replace(plan, jobs={i: replace(job, marks=tuple(ends[i])) for i, job in plan.jobs.items()})


def saving(prefix: Prefix, prices: Prices) -> int | None:
    """Return what marking `prefix` saves, in nanodollars, if one call writes and all others read it, or None.

    None stands for an unknown price. What a shorter prefix saves is not counted again.
    """
    fresh, written, read = (models.cost(usage, prefix.model, prices=prices) for usage in _usages(prefix.tokens))
    if fresh is None or written is None or read is None:
        return None
    whole = prefix.calls * fresh - written - (prefix.calls - 1) * read
    return whole * (prefix.tokens - prefix.inner) // prefix.tokens


class PrefixScheduler:
    """Which shared prefixes are being written and which can be read; used by the thread of one run alone.

    A call waits for another that writes what it could read, if reading is cheaper. It waits where its path ahead is
    shorter than that of some call under way: the run does not end later. It waits too where its path is no longer than
    that of the call it waits for: the run can end later by the time to the beginning of one answer. It waits for no
    more than twice what that usually takes, and no longer than until that call fails.
    """

    def __init__(
        self,
        prefixes: Iterable[Prefix],
        ahead: Mapping[str, int],
        prices: Prices,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Know the `prefixes` of a plan, and the length of the path ahead of each of its steps."""
        self._ahead = ahead
        self._clock = clock
        self._prefixes: dict[str, list[Prefix]] = {}
        for prefix in sorted(prefixes, key=lambda p: -p.blocks):
            if _is_cheaper_read(prefix, prices):
                for step_id in prefix.steps:
                    self._prefixes.setdefault(step_id, []).append(prefix)
        self._under_way: dict[Id, float] = {}
        self._first: dict[Prefix, Id] = {}
        """Which call writes a prefix."""
        self._readable: dict[Prefix, float] = {}
        """Until when a prefix can be read."""

    def shared_tokens(self, step_id: str) -> int:
        """Return how long the longest prefix is that calls of a step share."""
        return self._prefixes[step_id][0].tokens if step_id in self._prefixes else 0

    def waits(self, step_id: str) -> bool:
        """Say whether a call of a step should wait; only while another one is under way."""
        for prefix in self._prefixes.get(step_id, ()):
            if self._readable.get(prefix, 0.0) > self._clock():
                return False
            if prefix in self._first:
                return self._is_soon(prefix) and self._has_time(step_id, self._first[prefix])
        return False

    def depart(self, call: Id) -> bool:
        """Take note that a call is sent, and return whether it writes what others can read."""
        now = self._clock()
        self._under_way[call] = now
        leads = False
        for prefix in self._prefixes.get(call[0], ()):
            if self._readable.get(prefix, 0.0) > now:
                self._readable[prefix] = now + _LIFE_SECONDS
            elif prefix not in self._first:
                self._first[prefix] = call
                leads = True
        return leads

    def begin(self, call: Id) -> None:
        """Take note that a call's answer has begun: what it wrote can be read, whoever else is at it."""
        for prefix in self._prefixes.get(call[0], ()):
            self._first.pop(prefix, None)
            self._readable[prefix] = self._under_way[call] + _LIFE_SECONDS

    def arrive(self, call: Id, *, answered: bool) -> None:
        """Take note that a call has ended; if it was not `answered`, another one may write in its place."""
        if answered:
            self.begin(call)
        self._first = {prefix: first for prefix, first in self._first.items() if first != call}
        self._under_way.pop(call, None)

    def _is_soon(self, prefix: Prefix) -> bool:
        waited = self._clock() - self._under_way[self._first[prefix]]
        return waited < _PATIENCE_SECONDS + _PATIENCE_PER_TOKEN * prefix.tokens

    def _has_time(self, step_id: str, first: Id) -> bool:
        longest = max(self._ahead[under_way] for under_way, _ in self._under_way)
        return self._ahead[step_id] < longest or self._ahead[step_id] <= self._ahead[first[0]]


def _calls(job: Job) -> int:
    if job.step.foreach is None:
        return 1
    return _UNKNOWN_ITEMS if job.items is None else len(job.items)


def _chains(plan: Plan, job: Job) -> list[Chain]:
    """Return what each prefix of a step's calls is known by that all of them have, the shorter ones first."""
    blocks: list[object] = [job.agent.prompt, *((skill.name, skill.body) for skill in job.skills)]
    if job.files is not None and (attached := (*plan.files, *job.files)):
        blocks.append(attached)
    whole = ((job.model.id, job.effort, job.schema), *blocks)
    return [whole[: end + 1] for end in range(1, len(whole))]


def _worth_a_mark(chains: Sequence[Chain], calls: Mapping[Chain, int], job: Job) -> dict[Chain, int]:
    """Return the tokens of those of a step's prefixes that more than one call shares, and more than a longer one."""
    found: dict[Chain, int] = {}
    most = 1
    for chain in reversed(chains):
        if calls[chain] > most and (tokens := _tokens(chain, job)) >= job.model.min_cacheable_tokens:
            found[chain] = tokens
            most = calls[chain]
    return found


def _tokens(chain: Chain, job: Job) -> int:
    _, *blocks = chain
    texts = [job.agent.prompt, *(skill.body for skill in job.skills)][: len(blocks)]
    if isinstance(files := blocks[-1], tuple) and len(blocks) > len(texts):
        texts += [file.text for file in files]
    return sum(models.estimate_tokens(text, job.model.id) for text in texts)


def _is_cheaper_read(prefix: Prefix, prices: Prices) -> bool:
    _, written, read = (models.cost(usage, prefix.model, prices=prices) for usage in _usages(prefix.tokens))
    return written is not None and read is not None and read < written


def _usages(tokens: int) -> tuple[Usage, Usage, Usage]:
    return (
        Usage(input_tokens=tokens),
        Usage(cache_creation_input_tokens=tokens),
        Usage(cache_read_input_tokens=tokens),
    )
