"""`analytics`: what the executions took, cost and saved, over any span of time."""

from __future__ import annotations

import json
import time

from ..errors import Busy, ForceError, UsageError, reason
from ..project.naming import default_model
from ..records import Result
from ..reports import analytics as report
from ..reports.table import plural
from ..stores.history import Span, gather
from ..stores.rollups import Rollups
from . import given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping
    from datetime import tzinfo
    from pathlib import Path
    from typing import Any

    from ..project.workspace import Workspace
    from ..reports.analytics import Rows
    from ..stores.history import Sums


def summary_options(parser: ArgumentParser) -> None:
    """Add the options of `analytics summary`."""
    _span_options(parser)
    _format_option(parser)


def summary(args: Namespace, workspace: Workspace) -> Result:
    """Sum up all executions: how many went well, how long they took, what they cost, what the cache saved."""
    sums = _gathered(args, workspace)
    data = report.summary(sums, default_model(workspace.settings).id, workspace.settings.prices)
    flat = {name: value for name, value in data.items() if not isinstance(value, list | dict)}
    shown = report.summary_text(data, width=workspace.screen.page, blocks=workspace.screen.draws_blocks)
    return _result(args, data, [flat], shown)


by_agent_options = summary_options


def by_agent(args: Namespace, workspace: Workspace) -> Result:
    """Compare the agents."""
    rows = report.by_agent(_gathered(args, workspace))
    data = {"schema_version": report.SCHEMA_VERSION, "agents": rows}
    shown = report.agents_text(rows, width=workspace.screen.page, blocks=workspace.screen.draws_blocks)
    return _result(args, data, rows, shown)


def costs_options(parser: ArgumentParser) -> None:
    """Add the options of `analytics costs`."""
    which = parser.add_mutually_exclusive_group()
    for name in report.BY:
        which.add_argument(f"--by-{name}", dest="by", action="store_const", const=name, help=f"a row for each {name}")
    parser.set_defaults(by="agent")
    summary_options(parser)


def costs(args: Namespace, workspace: Workspace) -> Result:
    """Show what cost how much, by agent, model or workflow."""
    data = report.costs(_gathered(args, workspace), args.by)
    shown = report.costs_text(data, width=workspace.screen.page, blocks=workspace.screen.draws_blocks)
    return _result(args, data, data["rows"], shown)


def trends_options(parser: ArgumentParser) -> None:
    """Add the options of `analytics trends`."""
    parser.add_argument("--interval", choices=("hourly", "daily"), default="daily", help="a row for each hour or day")
    summary_options(parser)


def trends(args: Namespace, workspace: Workspace) -> Result:
    """Show how it went from hour to hour or from day to day."""
    from ..reports import trend

    data = trend.trends(_gathered(args, workspace, hourly=True).hours, args.interval, _zone(args.tz), args.tz)
    shown = trend.trends_text(data, width=workspace.screen.page, blocks=workspace.screen.draws_blocks)
    return _result(args, data, data["periods"], shown)


def export_options(parser: ArgumentParser) -> None:
    """Add the options of `analytics export`."""
    _span_options(parser)
    parser.add_argument("--format", choices=("csv", "json", "jsonl"), default="csv", help="csv unless given")


def export(args: Namespace, workspace: Workspace) -> Result:
    """Print a row for each execution and for each sum of those that are rolled up."""
    from ..reports import analytics_export

    directory = workspace.state / "metrics"
    span = _span(args, time.time())
    try:
        with Rollups(directory).view() as view:
            rows = analytics_export.rows(view, directory / "rollups", span)
            for part in analytics_export.text(rows, "json" if workspace.screen.json else args.format):
                workspace.screen.write(part)
    except FileNotFoundError:
        raise Busy("the history was rolled up meanwhile", hint="run it again") from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unreadable(error, directory) from None
    except ValueError as error:
        raise ForceError(str(error), hint="see: claude-force metrics verify") from None
    return Result(None, streamed=True)


def _span_options(parser: ArgumentParser) -> None:
    parser.add_argument("--days", type=given.positive, metavar="N", help="the last N times 24 hours")
    parser.add_argument("--since", metavar="TIME", help="from a day or time on: 2026-11-01 or 2026-11-01T09:30")
    parser.add_argument("--until", metavar="TIME", help="to the end of a day, or until before a time")
    parser.add_argument("--tz", default="UTC", metavar="ZONE", help="what days and times mean: Europe/Berlin (UTC)")


def _format_option(parser: ArgumentParser) -> None:
    parser.add_argument("--format", choices=("table", "json", "csv"), default="table", help="table unless given")


def _gathered(args: Namespace, workspace: Workspace, *, hourly: bool = False) -> Sums:
    """Return the sums that the arguments ask for, after saying what is to be known of them."""
    directory = workspace.state / "metrics"
    try:
        sums = gather(directory, _span(args, time.time()), hourly=hourly)
    except OSError as error:
        raise _unreadable(error, directory) from None
    if sums.damaged:
        where = f"{directory / 'executions.jsonl'}: {plural(sums.damaged, 'damaged line')} skipped"
        workspace.screen.warn(f"{where}; claude-force metrics verify names them")
    for note in sums.notes:
        workspace.screen.note(note)
    return sums


def _unreadable(error: OSError, directory: Path) -> ForceError:
    return ForceError(f"cannot read {error.filename or directory}: {reason(error)}")


def _span(args: Namespace, now: float) -> Span:
    if args.days and (args.since or args.until):
        raise UsageError("--days stands alone", hint="use --since and --until together, or --days")
    if args.days:
        return Span.of_last(args.days, now)
    zone = _zone(args.tz)
    span = Span(_moment("--since", args.since, zone), _moment("--until", args.until, zone, end=True))
    if span.since and span.until and span.since >= span.until:
        raise UsageError(f"--since {args.since} is not before --until {args.until}")
    return span


def _moment(option: str, text: str | None, zone: tzinfo, *, end: bool = False) -> str | None:
    """Return a day or time of `zone` in UTC, as a Span has it; `end` takes a day for its end."""
    from datetime import UTC, datetime, timedelta

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if end and len(text) == len("2026-11-01"):
            moment += timedelta(days=1)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC).isoformat()[:19]
    except (ValueError, OverflowError):
        raise UsageError(f"{option} {text}: no day or time", hint="write 2026-11-01 or 2026-11-01T09:30") from None


def _zone(name: str) -> tzinfo:
    from datetime import UTC

    if name.upper() == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # 8 ms, for those who ask for a zone

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UsageError(f"--tz {name}: no such time zone", hint="use a name such as Europe/Berlin") from None


def _result(args: Namespace, data: Mapping[str, Any], rows: Rows, text: str) -> Result:
    if args.format == "json":
        text = json.dumps(data, indent=2)
    elif args.format == "csv":
        from ..reports.spreadsheet import csv_text

        text = csv_text(rows)
    return Result(data, text)
