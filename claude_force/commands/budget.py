"""`budget show`, `set` and `settle`: what may be spent, what was, and what uncertain calls did cost."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

from ..errors import NotFound, UsageError
from ..models import nanodollars, usd
from ..records import Result, iso_seconds
from ..reports.table import plural, table
from ..running.spending import dollars, resets
from ..settings import config
from . import given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from ..project.workspace import Workspace
    from ..running.spending import Account
    from ..stores.ledger import Ledger, Standing
    from ..stores.uncertain import UncertainCall

_HEADINGS = ("SCOPE", "LIMIT", "SPENT", "RESERVED", "UNCERTAIN", "LEFT", "RESETS")
_CALLS = ("CALL", "DAY", "RUN", "STEP", "AGENT", "CHARGED")
_AMOUNTS = _HEADINGS[1:-1]


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
    places, *amounts, ends = zip(*(_cells(account, standing) for account, standing in standings), strict=True)
    rows = list(zip(places, *map(_in_line, amounts), ends, strict=True))
    calls = _calls(found)
    data = {
        "schema_version": 1,
        "caps": [_facts(account, standing) for account, standing in standings],
        "uncertain_calls": [_call_facts(call, whose) for whose, some in calls.items() for call in some],
    }
    width = workspace.screen.page
    told = [text for whose, some in calls.items() for text in _told(_open(some), whose, found[0].whose, width)]
    shown = table(_HEADINGS, rows, width=width, numbers=_AMOUNTS, texts=("SCOPE",))
    return Result(data, "\n\n".join([shown, *told, *_unlisted(found)]))


def _calls(accounts: Sequence[Account]) -> dict[str, list[UncertainCall]]:
    """Return by whose account it is the calls in each ledger, in the user's those that are not the project's own."""
    found: dict[str, list[UncertainCall]] = {}
    known: set[str] = set()
    for account in accounts:
        found[account.whose] = [call for call in account.ledger().uncertain_calls() if call.ref not in known]
        known |= {call.ref for call in found[account.whose]}
    return found


def _open(calls: Sequence[UncertainCall]) -> list[UncertainCall]:
    return [call for call in calls if call.settled is None]


def _unlisted(accounts: Sequence[Account]) -> Iterator[str]:
    """Yield what to say of uncertain sums of this month that an older version charged, which kept no list of calls."""
    for account in accounts:
        (month,) = account.ledger().standing({"monthly": None})
        left = month.uncertain - sum(call.charged for call in _open(account.ledger().uncertain_calls()))
        if left > 0:
            where = " over all projects" if account.whose == "user" else ""
            yield f"{dollars(left)} uncertain{where} is from before calls were listed: it cannot be settled"


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
    resets_at = None if at is None else iso_seconds(at)
    named = {"scope": standing.scope, "of": account.whose, "limit": usd(standing.limit)}
    return {**named, **amounts, "resets_at": resets_at}


def _call_facts(call: UncertainCall, whose: str) -> dict[str, Any]:
    named = {"call": call.ref, "of": whose, "day": call.day, "run_id": call.run_id}
    amounts = {"charged": usd(call.charged), "settled": usd(call.settled)}
    return {**named, "step": call.step, "agent": call.agent, **amounts, "settled_at": call.settled_at}


def _told(unsettled: Sequence[UncertainCall], whose: str, own: str, width: int) -> list[str]:
    if not unsettled:
        return []
    charged = _in_line([dollars(call.charged) for call in unsettled])
    rows = [(c.ref, c.day, c.run_id, c.step, c.agent, amount) for c, amount in zip(unsettled, charged, strict=True)]
    hint = "to put in the true figure: claude-force budget settle CALL --at USD"
    place = "" if whose == own else " in other projects, under the caps over all of them"
    told = f"{plural(len(rows), 'call')} of unknown cost{place}, charged at the worst case; {hint}"
    return [told, table(_CALLS, rows, width=width, numbers=("CHARGED",), texts=("STEP", "AGENT"))]


def _in_line(column: Sequence[str]) -> list[str]:
    """Return amounts with as many decimals as the longest of them has."""
    decimals = max(len(amount.partition(".")[2]) for amount in column)
    return [amount.ljust(amount.find(".") + 1 + decimals, "0") if "." in amount else amount for amount in column]


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
    first = amount is not None and kind != "run" and _begins(by_user, workspace)  # asked before it is there
    config.change(path, ("budget", "agents", agent) if agent else ("budget", f"{kind}_usd"), amount)
    whose = "all projects together" if by_user else "this project"
    limit = "no cap" if amount is None else f"a cap of {dollars(nanodollars(amount))}"
    since = "; what was spent before is not counted" if first else ""
    data = {"schema_version": 1, "success": True, "path": str(path), "scope": args.scope, "limit": amount}
    return Result(data, f"{args.scope}: {limit} for {whose}, written to {path}{since}")


def _begins(by_user: bool, workspace: Workspace) -> bool:
    """Say whether a cap is the first of a ledger that counts only under caps: the user's, beside a project's."""
    return by_user and workspace.state != workspace.home and not workspace.settings.user_caps


def settle_options(parser: ArgumentParser) -> None:
    """Add the options of `budget settle`."""
    which = "the call, as 'budget show' names it, or all such calls of a run: its id, the beginning of it, or 'last'"
    parser.add_argument("name", metavar="CALL|RUN_ID", nargs="?", help=which)
    parser.add_argument("--all", action="store_true", help="every such call of this project this month")
    cost = "what it did cost; of several calls, 0"
    parser.add_argument("--at", type=given.dollars, required=True, metavar="USD", help=cost)


def settle(args: Namespace, workspace: Workspace) -> Result:
    """Put what calls did cost in the place of their uncertain charges, in each ledger that they count in."""
    own, users = workspace.stores.ledger, workspace.stores.user_ledger
    accounts = workspace.stores.accounts()
    unsettled, *rest = map(_open, _calls(accounts).values())
    others = [call for calls in rest for call in calls]
    calls = _named(args, unsettled, others)
    cost = nanodollars(args.at)
    done = [call for call in calls if _correct(call.ref, cost, own, users)]
    charged = sum(call.charged for call in done)
    data = {
        "schema_version": 1,
        "success": True,
        "calls": [call.ref for call in done],
        "charged": usd(charged),
        "settled": usd(cost * len(done)),
    }
    told = []
    if done:
        amounts = f"{dollars(cost * len(done))} in the place of {dollars(charged)}"
        told.append(f"{plural(len(done), 'call')} settled: {amounts}")
    if late := len(calls) - len(done):
        told.append(f"{plural(late, 'call')} settled before: the figure that was put in first holds")
    if not calls:
        told = [_nothing_to_settle(len(others)), *_unlisted(accounts)]
    return Result(data, "\n".join(told))


def _correct(ref: str, cost: int, own: Ledger, users: Ledger) -> bool:
    """Settle a call in both ledgers, and return whether it was open: else the figure that it has holds in both.

    Whoever settles it, in whichever project, does so first in the user's ledger if that has the call, which decides
    between those who do so at once. The project's own is last: what a crash leaves undone is listed there, to be
    done again.
    """
    if users.correct(ref, cost):
        own.correct(ref, cost)
        return True
    known = next((call.settled for call in users.uncertain_calls() if call.ref == ref), None)
    if known is None:
        return own.correct(ref, cost) > 0
    own.correct(ref, known)
    return False


def _nothing_to_settle(others: int) -> str:
    if not others:
        return "there is no call to settle"
    return f"there is no call of this project to settle; {plural(others, 'call')} of other projects: name each"


def _named(
    args: Namespace, unsettled: Sequence[UncertainCall], others: Sequence[UncertainCall]
) -> Sequence[UncertainCall]:
    """Return the calls that the arguments name, those of `others` by name alone; raises UsageError, and NotFound."""
    if bool(args.name) == args.all:
        raise UsageError("name one call or one run, or give --all", hint="see: claude-force budget show")
    found = unsettled if args.all else _called(args.name, [*others, *unsettled])
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


def _scope(text: str) -> str:
    kind, _, agent = text.partition(":")
    if text not in {"run", "daily", "monthly"} and (kind != "agent" or not agent.strip() or not agent.isprintable()):
        raise ArgumentTypeError(f"expected run, daily, monthly or agent:NAME, got '{text}'")
    return text


def _amount(text: str) -> float | str:
    if text == "off":
        return text
    try:
        amount = given.dollars(text)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(f"{error}; off removes the cap") from None
    return int(amount) if amount.is_integer() else amount
