"""`bench`: how fast the tool is on this machine, as ratios to floors that are measured beside it."""

from __future__ import annotations

from ..benchmarks import engine, processes, state
from ..benchmarks.place import place
from ..records import Result
from ..reports.table import table
from . import given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence
    from typing import Any

    from ..benchmarks import Figure
    from ..workspace import Workspace

GROUPS = {
    "start": processes.start,
    "agent": processes.agent,
    "workflows": engine.workflows,
    "throughput": engine.throughput,
    "layers": engine.layers,
    "cached": state.cached,
    "executions": state.executions,
}
"""What can be measured by itself; the figures of a group share a loop."""


def bench_options(parser: ArgumentParser) -> None:
    """Add the options of `bench`."""
    parser.add_argument("--rounds", type=given.positive, default=9, metavar="N", help="times to measure each thing (9)")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS), help="measure these alone")


def bench(args: Namespace, workspace: Workspace) -> Result:
    """Measure the tool against its floors; takes a minute or two."""
    figures: list[Figure] = []
    with place() as here:
        for name in args.only:
            workspace.screen.note(f"measuring {name}")
            figures += GROUPS[name](here, args.rounds)
    data = {"schema_version": 1, "success": True, "rounds": args.rounds, "figures": [_facts(f) for f in figures]}
    return Result(data, _shown(figures))


def _facts(figure: Figure) -> dict[str, Any]:
    return {
        "what": figure.what,
        "unit": figure.unit,
        "ours": round(figure.ours, 3),
        "floor": round(figure.floor, 3),
        "ratio": round(figure.ratio, 4),
        "spread": [round(bound, 4) for bound in figure.spread],
        "target": figure.target,
        "wanted": figure.wanted,
        "ok": figure.ok,
    }


def _shown(figures: Sequence[Figure]) -> str:
    headings = ("WHAT", "OURS", "FLOOR", "UNIT", "RATIO", "MIDDLE HALF", "TARGET", "")
    return table(headings, [_row(figure) for figure in figures], width=1000)


def _row(figure: Figure) -> tuple[str, ...]:
    low, high = figure.spread
    sign = "≥" if figure.wanted == "ratio at least" else "≤"
    unit = f" {figure.unit}" if figure.wanted == "ours at most" else ""
    return (
        figure.what,
        f"{figure.ours:.1f}",
        f"{figure.floor:.1f}",
        figure.unit,
        f"{figure.ratio:.3f}",
        f"{low:.3f}-{high:.3f}",
        f"{sign} {figure.target}{unit}",
        "ok" if figure.ok else "over",
    )
