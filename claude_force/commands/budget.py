"""`budget show` and `set`: what may be spent, and what was."""

from __future__ import annotations

import time
from argparse import ArgumentTypeError
from pathlib import Path

from .. import config
from ..models import usd
from ..records import Result
from ..reports.table import table
from ..spending import dollars, resets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping
    from typing import Any

    from ..spending import Account
    from ..stores.ledger import Standing
    from ..workspace import Workspace

_HEADINGS = ("SCOPE", "LIMIT", "SPENT", "RESERVED", "UNCERTAIN", "LEFT", "RESETS")
_LARGEST = 1_000_000_000


def show(args: Namespace, workspace: Workspace) -> Result:
    """Show for each cap what is spent, reserved and left; today and this month also where there is no cap."""
    found = workspace.stores.accounts()
    always = {"daily": None, "monthly": None}  # the user's ledger counts under the user's caps alone
    standings = [
        (account, standing)
        for account in found
        for standing in _standings(account, always if account is found[0] else {})
    ]
    rows = [_cells(account, standing) for account, standing in standings]
    caps = [_facts(account, standing) for account, standing in standings]
    return Result({"schema_version": 1, "caps": caps}, table(_HEADINGS, rows, width=workspace.screen.page))


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
