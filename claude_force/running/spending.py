"""Money before and after a call: the caps that hold over a run, the worst case set aside, the true cost charged.

It knows whose caps count in which ledger and how a refusal is told. It does not know how a ledger keeps its sums, nor
what a call was for.
"""

from __future__ import annotations

import time
from os import urandom

from .. import models
from ..errors import ApiError, BudgetExceeded, Busy, ForceError, UsageError
from ..frozen import dataclass, replace
from ..records import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..models import Prices
    from ..records import Request
    from ..settings.config import Settings
    from ..stores.ledger import Hold, Ledger, Standing

_BLOCK_TOKENS = 16
"""More than a block, and the turn that it stands in, add to their text."""
_SCHEMA_TOKENS = 1_000
"""More than the API's own words about the format of an answer that a schema asks for."""


@dataclass(frozen=True)
class Account:
    """A ledger and the caps that count in it, in nanodollars by scope."""

    whose: str
    """`project`, or `user`: all projects together."""
    caps: Mapping[str, int]
    ledger: Callable[[], Ledger]
    """Returns the ledger, loading what it needs; where no cap holds, nothing is needed before a call is sent."""


@dataclass(frozen=True)
class Reservation:
    """What is set aside for one call: in each account a hold, None where no cap holds over the call."""

    request: Request
    agent: str
    step: str
    ref: str
    """By which all accounts know the call."""
    holds: tuple[Hold | None, ...]


def accounts(
    settings: Settings, *, project: Callable[[], Ledger], user: Callable[[], Ledger] | None
) -> tuple[Account, ...]:
    """Return the accounts that `settings` give a project; `user` is None where the project is the home itself.

    The user's ledger counts only while the user has a cap: without one, no call need be written down twice.
    """
    own, shared = _nanodollars(settings.project_caps), _nanodollars(settings.user_caps)
    if user is None:
        return (Account("user", {s: min(c[s] for c in (own, shared) if s in c) for s in own | shared}, project),)
    first = Account("project", own, project)
    return (first, Account("user", shared, user)) if shared else (first,)


class Spending:
    """What one run may spend, and where it counts; used by the run's thread, while the ledgers serve many runs.

    `own_prices` are those of `prices` that no project set. Under the user's caps, `max_cost` among them, a model that
    only the project prices has no known price.
    """

    def __init__(
        self,
        accounts: Sequence[Account],
        *,
        run_id: str,
        prices: Prices,
        own_prices: Prices,
        max_cost: float | None = None,
        user_file: str = "~/.claude/claude.json",
    ) -> None:
        """Count in each of `accounts`; `max_cost`, in USD, takes the place of the caps of a run that files give.

        `user_file` is where the user's own settings lie, for hints.
        """
        self._accounts = tuple(accounts)
        if max_cost is not None:
            limit = _nanodollars({"run": max_cost})
            first, *others = (_without_run(account) for account in accounts)
            self._accounts = (replace(first, caps={**limit, **first.caps}), *others)
        self._run_id = run_id
        self._prices, self._own_prices = prices, own_prices
        self._by_option = max_cost is not None
        self._user_file = user_file

    def reserve(self, request: Request, agent: str, step: str = "") -> Reservation:
        """Set the worst case of `request`, by `step`, aside in each account that has a cap over calls of `agent`.

        Raises BudgetExceeded, with nothing set aside; it is `retryable` if calls under way alone are in the way.
        """
        caps = [_over(agent, account.caps) for account in self._accounts]
        call = Reservation(request, agent, step, urandom(4).hex(), (None,) * len(caps))
        worst = self._worst(request, caps) if any(caps) else 0
        try:
            for number, account in enumerate(self._accounts):
                if caps[number]:
                    hold = self._held(account, worst, call, caps[number])
                    call = replace(call, holds=(*call.holds[:number], hold, *call.holds[number + 1 :]))
        except BaseException:
            self._charge(call, 0, certain=True)
            raise
        return call

    def settle(self, reservation: Reservation, cost: int | None, *, certain: bool = True) -> int:
        """Charge what a call cost: if that is unknown or not `certain` its worst case, marked as uncertain.

        Returns what was so charged though it may not have been billed. Never raises for the disk: what cannot be
        written is warned of.
        """
        if cost is not None and certain:
            self._charge(reservation, cost, certain=True)
            return 0
        worst = max(worst_case(reservation.request, self._prices) or 0, cost or 0)
        self._charge(reservation, worst, certain=False)
        return worst

    def warm(self) -> None:
        """Open the ledgers now, while an answer is awaited."""
        for account in self._accounts:
            account.ledger().warm()

    def _charge(self, reservation: Reservation, cost: int, *, certain: bool) -> None:
        for account, hold in zip(self._accounts, reservation.holds, strict=True):
            if hold:
                account.ledger().settle(hold, cost, certain=certain)
            elif cost:
                account.ledger().note(cost, certain=certain, **self._facts(reservation))

    def _facts(self, call: Reservation) -> dict[str, str]:
        return {"run_id": self._run_id, "agent": call.agent, "step": call.step, "ref": call.ref}

    def _held(self, account: Account, worst: int, call: Reservation, caps: Mapping[str, int]) -> Hold:
        from ..stores.ledger import Standing  # sqlite3: 5 ms that calls without a cap do not wait for

        found = account.ledger().reserve(worst, caps=caps, **self._facts(call))
        if isinstance(found, Standing):
            raise _exceeded(found, worst, account.whose, by_option=self._by_option)
        return found

    def _worst(self, request: Request, caps: Sequence[Mapping[str, int]]) -> int:
        whose = [account.whose for account, held in zip(self._accounts, caps, strict=True) if held]
        trusted = self._by_option or "user" in whose
        worst = worst_case(request, self._prices)
        if worst is None or (trusted and worst_case(request, self._own_prices) is None):
            scope = next(scope for held in caps for scope in held)
            file = self._user_file if trusted else "claude.json"
            row = f'"prices": {{"{request.model}": {{"input": USD, "output": USD}}}}'
            raise BudgetExceeded(
                f"{request.model} has no known price, and there is a {_name(scope)}",
                hint=f"give its price per million tokens in {file}: {row}",
            )
        return worst


class Reservations:
    """What is set aside for a run's calls in flight, each under its id; without a Spending nothing is.

    The run's thread and the one that makes a call use it by turns, and a dictionary takes one of them at a time.
    """

    def __init__(self, spending: Spending | None) -> None:
        self._spending = spending
        self._reserved: dict[object, Reservation] = {}

    def reserve(self, call: object, request: Request, agent: str, step: str) -> None:
        """Set the worst case of a call aside; raises BudgetExceeded."""
        if self._spending:
            self._reserved[call] = self._spending.reserve(request, agent, step)

    def renew(self, call: object) -> None:
        """Charge the worst case of a call that is sent again though it may have been billed, and set it aside anew.

        In the thread that makes the call: the run's own waits, and the ledgers serve many. Raises BudgetExceeded.
        """
        reservation = self._reserved.pop(call, None)
        if self._spending and reservation:  # None: the run was interrupted
            self._spending.settle(reservation, None, certain=False)
            self._reserved[call] = self._spending.reserve(reservation.request, reservation.agent, reservation.step)

    def settle(self, call: object, cost: int | None, *, certain: bool = True) -> int:
        """Charge what a call cost in the place of what was set aside, and return what `Spending.settle` does."""
        reservation = self._reserved.pop(call, None)
        if not self._spending or not reservation:
            return 0
        return self._spending.settle(reservation, cost, certain=certain)


def worst_case(request: Request, prices: Prices) -> int | None:
    """Return the most that `request` can cost, in nanodollars: all of `max_tokens` used, and nothing cached yet.

    A prompt of which a part is marked to be cached is priced as wholly written, or wholly read, if that is dearer.
    None if the price is unknown. Attempts are not added up: what the API refuses it does not bill.
    """
    prompt, answer = prompt_tokens(request), request.max_tokens
    usages = [Usage(input_tokens=prompt, output_tokens=answer)]
    if any(block.cache for block in (*request.system, *request.user)):
        usages.append(Usage(cache_creation_input_tokens=prompt, output_tokens=answer))
        usages.append(Usage(cache_read_input_tokens=prompt, output_tokens=answer))
    costs = [models.cost(usage, request.model, prices=prices) for usage in usages]
    known = [cost for cost in costs if cost is not None]
    return max(known, default=None)


def prompt_tokens(request: Request) -> int:
    """Return how many tokens the prompt of `request` has at most: its texts, its schema, and what frames them.

    Digits are counted as a token each, which `estimate_tokens` does not do and tables of numbers can come to.
    """
    texts = [block.text for block in (*request.system, *request.user)]
    frame = _BLOCK_TOKENS * (len(texts) + 1)
    if request.schema:
        texts.append(request.schema)
        frame += _SCHEMA_TOKENS
    return frame + sum(models.estimate_tokens(text, request.model) + _digits(text) for text in texts)


def is_unbilled(error: ForceError) -> bool:
    """Say whether a call that ended in `error` surely cost nothing: it was not sent, or the API refused it."""
    # `retry` wraps some errors; the original is `__cause__`
    told = [e for e in (error, error.__cause__) if isinstance(e, ForceError)]
    if any(e.began for e in told):
        return False
    return (
        any(isinstance(e, ApiError) for e in told)
        or not error.sent
        or isinstance(error, Busy | BudgetExceeded | UsageError)
    )


def resets(standing: Standing) -> str:
    """Return when a cap begins anew, as in `00:00 UTC, in 3 h 12 min`; '' if it never does."""
    from ..reports.table import duration

    if standing.resets_at is None:
        return ""
    seconds = standing.resets_at - standing.now
    if seconds <= 86_400:
        return f"00:00 UTC, in {duration(seconds)}"
    day = time.strftime("%Y-%m-%d", time.gmtime(standing.resets_at))
    return f"{day} 00:00 UTC, in {round(seconds / 86_400)} days"


def dollars(nanodollars: int) -> str:
    """Return an amount in dollars to the millionth, rounded up, without needless zeros: $0.0312, $1.00."""
    millionths = -(-nanodollars // 1000)
    text = f"{millionths // 1_000_000:,}.{millionths % 1_000_000:06}"
    return f"${text[:-4]}{text[-4:].rstrip('0')}"


def _exceeded(standing: Standing, worst: int, whose: str, *, by_option: bool) -> BudgetExceeded:
    limit, option = standing.limit or 0, by_option and standing.scope == "run"
    spent = f"{dollars(standing.spent)} spent"
    if standing.uncertain:
        spent += f" ({dollars(standing.uncertain)} of it perhaps not billed)"
    if standing.reserved:
        spent += f", {dollars(standing.reserved)} reserved by calls under way"
    when = resets(standing)
    shared = " over all projects" if whose == "user" and not option else ""
    raising = f"claude-force budget set {standing.scope} USD{' --user' if whose == 'user' else ''}"
    settling = "; or claude-force budget settle, if what was perhaps billed was not" if standing.uncertain else ""
    return BudgetExceeded(
        f"{_name(standing.scope)} of {dollars(limit)}{shared}: {spent}; this call could cost {dollars(worst)}"
        f"{when and f'; resets at {when}'}",
        hint=f"lower max_tokens, or raise the cap: {'--max-cost USD' if option else raising}{settling}",
        retryable=standing.spent + worst <= limit,
    )


def _name(scope: str) -> str:
    kind, _, agent = scope.partition(":")
    return f"daily cap on agent {agent}" if agent else f"{kind} cap"


def _without_run(account: Account) -> Account:
    return replace(account, caps={scope: cap for scope, cap in account.caps.items() if scope != "run"})


def _over(agent: str, caps: Mapping[str, int]) -> dict[str, int]:
    """Return those of `caps` that hold over calls of `agent`."""
    return {scope: cap for scope, cap in caps.items() if scope in {"run", "daily", "monthly", f"agent:{agent}"}}


def _nanodollars(caps: Mapping[str, float]) -> dict[str, int]:
    return {scope: models.nanodollars(usd) for scope, usd in caps.items()}


def _digits(text: str) -> int:
    """Return what the digits of `text` add to its estimate, of at least 4 for 9 bytes, to be a token each."""
    digits = sum(map(text.count, "0123456789"))
    return -(-digits * 5 // 9)
