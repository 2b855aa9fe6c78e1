"""`budget show`, `set` and `settle`: what may be spent, what was, and what uncertain calls did cost."""

from __future__ import annotations

import time
from argparse import ArgumentTypeError
from pathlib import Path

from .. import config
from ..errors import NotFound, UsageError
from ..models import usd
from ..records import Result
from ..reports.table import plural, table
from ..spending import dollars, resets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ..spending import Account
    from ..stores.ledger import Standing
    from ..stores.uncertain import UncertainCall
    from ..workspace import Workspace

_HEADINGS = ("SCOPE", "LIMIT", "SPENT", "RESERVED", "UNCERTAIN", "LEFT", "RESETS")
_CALLS = ("CALL", "DAY", "RUN", "STEP", "AGENT", "CHARGED")
_LARGEST = 1_000_000_000


def show(args: Namespace, workspace: Workspace) -> Result:
    """Show for each cap what is spent, reserved and left, and which calls of this month nobody knows the cost of.

    Today and this month are shown also where there is no cap.
    """
    found = workspace.stores.accounts()
    always = {"daily": None, "monthly": None}  # the user's ledger counts under the user's caps alone
    standings = [
        (account, standing)
        for account in found
        for standing in _standings(account, always if account is found[0] else {})
    ]
    rows = [_cells(account, standing) for account, standing in standings]
    calls = found[0].ledger().uncertain_calls()
    data = {
        "schema_version": 1,
        "caps": [_facts(account, standing) for account, standing in standings],
        "uncertain_calls": [_call_facts(call) for call in calls],
    }
    width = workspace.screen.page
    told = _told([call for call in calls if call.settled is None], width)
    return Result(data, "\n\n".join([table(_HEADINGS, rows, width=width), *told]))


def _standings(account: Account, always: Mapping[str, None]) -> list[Standing]:
    caps: dict[str, int | None] = {**always, **account.caps}
    ordered = {scope: caps[scope] for scope in ("run", "daily", "monthly", *sorted(caps)) if scope in caps}
    return account.ledger().standing(ordered)


def _cells(account: Account, standing: Standing) -> tuple[str, ...]:
    place = f"{standing.scope}, all projects" if account.whose == "user" else standing.scope
    limit = "none" if standing.limit is None else dollars(standing.limit)
    if standing.scope == "run":
        return place, limit, *("-" * 4), "each run has its own"
    left = "-" if standing.left is None else dollars(standing.left)
    amounts = (standing.spent, standing.reserved, standing.uncertain)
    return place, limit, *map(dollars, amounts), left, resets(standing)


def _facts(account: Account, standing: Standing) -> dict[str, Any]:
    at = standing.resets_at
    names = ("spent", "reserved", "uncertain", "left")
    amounts = {name: None if standing.scope == "run" else usd(getattr(standing, name)) for name in names}
    resets_at = None if at is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    named = {"scope": standing.scope, "of": account.whose, "limit": usd(standing.limit)}
    return {**named, **amounts, "resets_at": resets_at}


def _call_facts(call: UncertainCall) -> dict[str, Any]:
    settled = {"settled": usd(call.settled), "settled_at": call.settled_at}
    named = {"call": call.ref, "day": call.day, "run_id": call.run_id, "step": call.step, "agent": call.agent}
    return {**named, "charged": usd(call.charged), **settled}


def _told(unsettled: Sequence[UncertainCall], width: int) -> list[str]:
    if not unsettled:
        return []
    rows = [(c.ref, c.day, c.run_id, c.step, c.agent, dollars(c.charged)) for c in unsettled]
    hint = "to put in the true figure: claude-force budget settle CALL --at USD"
    told = f"{plural(len(rows), 'call')} of unknown cost, charged at the worst case; {hint}"
    return [told, table(_CALLS, rows, width=width)]


def set_cap_options(parser: ArgumentParser) -> None:
    """Add the options of `budget set`."""
    parser.add_argument("scope", metavar="SCOPE", type=_scope, help="run, daily, monthly, or agent:NAME for a day")
    parser.add_argument("amount", metavar="USD", type=_amount, help="the most that may be spent, or off")
    parser.add_argument("--user", action="store_true", help="for all projects together, in ~/.claude/claude.json")


def set_cap(args: Namespace, workspace: Workspace) -> Result:
    """Write a cap to the project's claude.json, or to the user's; all else in it stays."""
    by_user = args.user or (workspace.state == workspace.home and not args.config)
    path = workspace.home / "claude.json" if by_user else Path(args.config or workspace.state / "claude.json")
    kind, _, agent = args.scope.partition(":")
    if agent and agent not in {known.name for known in workspace.agents()}:
        workspace.screen.warn(f"no agent is called {agent} here")
    amount = None if args.amount == "off" else args.amount
    config.change(path, ("budget", "agents", agent) if agent else ("budget", f"{kind}_usd"), amount)
    whose = "all projects together" if by_user else "this project"
    limit = "no cap" if amount is None else f"a cap of {dollars(round(amount * 1_000_000_000))}"
    if by_user and amount is not None and not workspace.settings.user_caps:
        workspace.screen.note("what was spent before the first cap on all projects does not count towards it")
    data = {"schema_version": 1, "success": True, "path": str(path), "scope": args.scope, "limit": amount}
    return Result(data, f"{args.scope}: {limit} for {whose}, written to {path}")


def settle_options(parser: ArgumentParser) -> None:
    """Add the options of `budget settle`."""
    which = "the call, as 'budget show' names it, or all such calls of a run: its id, the beginning of it, or 'last'"
    parser.add_argument("name", metavar="CALL|RUN_ID", nargs="?", help=which)
    parser.add_argument("--all", action="store_true", help="every such call of this month")
    cost = "what it did cost; of several calls, 0"
    parser.add_argument("--at", type=_cost, required=True, metavar="USD", help=cost)


def settle(args: Namespace, workspace: Workspace) -> Result:
    """Put what calls did cost in the place of their uncertain charges, in each ledger that they count in."""
    own, users = workspace.stores.ledger, workspace.stores.user_ledger
    calls = _named(args, [call for call in own.uncertain_calls() if call.settled is None])
    cost = round(args.at * 1_000_000_000)
    for call in calls:
        users.correct(call.ref, cost)
        own.correct(call.ref, cost)  # last: what a crash leaves undone is still listed here, and can be done again
    charged = sum(call.charged for call in calls)
    data = {
        "schema_version": 1,
        "success": True,
        "calls": [call.ref for call in calls],
        "charged": usd(charged),
        "settled": usd(cost * len(calls)),
    }
    if not calls:
        return Result(data, "there is no call to settle")
    told = f"{plural(len(calls), 'call')} settled: {dollars(cost * len(calls))} in the place of {dollars(charged)}"
    return Result(data, told)


def _named(args: Namespace, unsettled: Sequence[UncertainCall]) -> Sequence[UncertainCall]:
    """Return the calls that the arguments name; raises UsageError, and NotFound."""
    if bool(args.name) == args.all:
        raise UsageError("name one call or one run, or give --all", hint="see: claude-force budget show")
    found = unsettled if args.all else _called(args.name, unsettled)
    if args.at and len(found) > 1:
        raise UsageError(f"{len(found)} calls cannot share one figure above 0", hint="settle each by its name")
    return found


def _called(name: str, unsettled: Sequence[UncertainCall]) -> Sequence[UncertainCall]:
    """Return the call of this name, or those of the run that it means; `last` is the last one with such a call."""
    if name == "last" and unsettled:
        name = unsettled[-1].run_id
    found = [c for c in unsettled if c.ref == name] or [c for c in unsettled if c.run_id.startswith(name)]
    if not found:
        known = {told for call in unsettled for told in (call.ref, call.run_id)}
        raise NotFound("call of unknown cost, or run with one,", name, known)
    if len(runs := {call.run_id for call in found}) > 1:
        raise UsageError(f"'{name}' is the beginning of {len(runs)} runs", hint=", ".join(sorted(runs)[:5]))
    return found


def _cost(text: str) -> float:
    amount = _amount(text)
    if isinstance(amount, str):
        raise ArgumentTypeError(f"expected an amount in USD such as 0 or 0.25, got '{text}'")
    return amount


def _scope(text: str) -> str:
    kind, _, agent = text.partition(":")
    if text not in {"run", "daily", "monthly"} and (kind != "agent" or not agent.strip() or not agent.isprintable()):
        raise ArgumentTypeError(f"expected run, daily, monthly or agent:NAME, got '{text}'")
    return text


def _amount(text: str) -> float | str:
    if text == "off":
        return text
    try:
        amount = float(text.removeprefix("$"))
    except ValueError:
        amount = -1
    if not 0 <= amount <= _LARGEST:
        raise ArgumentTypeError(f"expected an amount in USD such as 5 or 0.25, or off, got '{text}'")
    return int(amount) if amount.is_integer() else amount
