"""`analytics`: what the executions took, cost and saved, over any span of time."""

from __future__ import annotations

import time
from argparse import ArgumentTypeError

from ..errors import ForceError, UsageError
from ..records import Result
from ..reports import analytics as report
from ..reports.table import plural, table
from ..stores.history import Span, consult, gather
from . import given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping, Sequence
    from datetime import tzinfo
    from typing import Any

    from ..reports.analytics import Rows
    from ..stores.history import Sums
    from ..workspace import Workspace


def summary_options(parser: ArgumentParser) -> None:
    """Add the options of `analytics summary`."""
    _span_options(parser)
    _format_option(parser)


def summary(args: Namespace, workspace: Workspace) -> Result:
    """Sum up all executions: how many went well, how long they took, what they cost, what the cache saved."""
    sums = _gathered(args, workspace)
    data = report.summary(sums, workspace.settings.default_model, workspace.settings.prices)
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
    """Print every execution as a row, and the sums of those that are rolled up; with --json all at once."""
    from ..reports import analytics_export

    span, directory = _span(args, time.time()), workspace.state / "metrics"
    write = workspace.screen.write

    def printed(_: object, view: Any) -> list[Any]:
        rows = analytics_export.rows(view, directory / "rollups", span)
        if workspace.screen.json:
            return list(analytics_export.known(rows))
        for part in analytics_export.text(rows, args.format):
            write(part)
        return []

    return Result(consult(directory, printed), streamed=True)
