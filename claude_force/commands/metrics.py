"""`metrics rollup` and `metrics verify`: upkeep of the record of executions, for cron."""

from __future__ import annotations

import time

from ..errors import ForceError, reason
from ..models import usd
from ..records import Result
from ..reports.analytics import SCHEMA_VERSION
from ..reports.table import money, plural, table
from ..stores.tally import COUNTERS, counters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from ..project.workspace import Workspace
    from ..stores.audit import Audit


def rollup_options(parser: ArgumentParser) -> None:
    """Add the options of `metrics rollup`."""
    parser.add_argument("--keep-raw", action="store_true", help="keep the old lines themselves too, as gzip")


def rollup(args: Namespace, workspace: Workspace) -> Result:
    """Sum up the executions that are older than metrics.retention_days; tells only a terminal, unless asked to."""
    from ..stores.rollups import Rollups

    days = workspace.settings.metrics_retention_days
    try:
        done = Rollups(workspace.state / "metrics", clock=time.time).roll(days, keep_raw=args.keep_raw)
    except OSError as error:
        raise _explained(error) from None
    except ValueError as error:
        raise ForceError(str(error), hint="see: claude-force metrics verify") from None
    if workspace.screen.verbose or workspace.screen.streams:
        rolled = f"rolled up {plural(done['executions'], 'execution')}, {money(done['cost'])}"
        workspace.screen.note(rolled if done["executions"] else f"nothing to roll up: all is of the last {days:g} days")
    data = {
        "schema_version": SCHEMA_VERSION,
        "success": True,
        "rolled_executions": done["executions"],
        "rolled_cost": usd(done["cost"]),
        "days": done["days"],
        "waiting_segments": done["waiting"],
    }
    return Result(data, streamed=True)


def verify(args: Namespace, workspace: Workspace) -> Result:
    """Add up all executions anew, from what is on the disk, and compare every account with every other one."""
    from ..stores.audit import verify as audited

    try:
        audit = audited(workspace.state / "metrics")
    except OSError as error:
        raise _explained(error) from None
    if not audit.problems:
        return Result(_data(audit), _text(audit))
    found = ForceError(f"{plural(len(audit.problems), 'problem')}: {audit.problems[0]}", hint=_HINT)
    return Result(_data(audit), _text(audit), found, found.exit_code)


_HINT = "a lost or changed rollup comes back from a backup, or from raw lines if they were kept"
_SHOWN = ("executions", "successes", "tokens", "cost", "saved")


def _data(audit: Audit) -> dict[str, object]:
    accounts = {}
    for name, row in audit.accounts.items():
        of = dict(zip(COUNTERS, counters(row), strict=True))
        accounts[name.replace(" ", "_")] = {
            **{key: of[key] for key in ("executions", "successes", "tokens")},
            "total_cost": usd(of["cost"]),
            "saved_cost": usd(of["saved"]),
        }
    return {
        "schema_version": SCHEMA_VERSION,
        "success": not audit.problems,
        "executions": counters(audit.accounts["day files"] + audit.accounts["lines"])[0],
        "accounts": accounts,
        "damaged_lines": list(audit.damaged),
        "problems": list(audit.problems),
    }


def _text(audit: Audit) -> str:
    rows = []
    for name, row in audit.accounts.items():
        of = dict(zip(COUNTERS, counters(row), strict=True))
        rows.append((name, *(f"{of[key]:,}" for key in _SHOWN[:3]), *(f"${usd(of[key]):,.6f}" for key in _SHOWN[3:])))
    headings = tuple(key.upper() for key in _SHOWN)
    parts = [table(("ACCOUNT", *headings), rows, numbers=headings)]
    if audit.damaged:
        parts.append(f"damaged lines of executions.jsonl: {', '.join(map(str, audit.damaged))}")
    parts += audit.problems or ["all accounts agree"]
    return "\n".join(parts)


def _explained(error: OSError) -> ForceError:
    told = f"cannot use {error.filename or 'the metrics'}: {reason(error)}"
    return ForceError(told, hint="nothing has been lost; see claude-force doctor")
