"""`bench`: how fast the tool is on this machine, as ratios to floors that are measured beside it."""

from __future__ import annotations

from functools import partial

from ..benchmarks import engine, history, processes, state
from ..benchmarks.place import place
from ..records import Result
from ..reports.table import table
from . import given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from ..benchmarks import Figure
    from ..benchmarks.place import Place
    from ..project.workspace import Workspace

    Group = Callable[[Place, int], Iterable[Figure]]

GROUPS: Mapping[str, Group] = {
    "start": processes.start,
    "agent": processes.agent,
    "workflows": engine.workflows,
    "throughput": engine.throughput,
    "layers": engine.layers,
    "cached": state.cached,
    "executions": state.executions,
}
"""What is measured unless something else is asked for; the figures of a group share a loop."""
_HISTORY = "history"
_MANY = 100_000


def bench_options(parser: ArgumentParser) -> None:
    """Add the options of `bench`."""
    parser.add_argument("--rounds", type=given.positive, default=9, metavar="N", help="times to measure each thing (9)")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=(*GROUPS, _HISTORY),
        default=list(GROUPS),
        help="measure these alone; history, which takes minutes, only then",
    )
    for name, what in (("lines", "executions"), ("sessions", "remembered sessions")):
        parser.add_argument(
            f"--{name}", type=given.positive, default=_MANY, metavar="N", help=f"{what} of history ({_MANY:,})"
        )


def bench(args: Namespace, workspace: Workspace) -> Result:
    """Measure the tool against its floors; takes a minute or two."""
    groups: dict[str, Group] = {
        **GROUPS,
        _HISTORY: partial(history.history, lines=args.lines, sessions=args.sessions),
    }
    figures: list[Figure] = []
    with place() as here:
        for name in dict.fromkeys(args.only):
            workspace.screen.note(f"measuring {name}")
            figures += groups[name](here, args.rounds)
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
    return table(headings, [_row(figure) for figure in figures], numbers=("OURS", "FLOOR", "RATIO"))


def _row(figure: Figure) -> tuple[str, ...]:
    low, high = figure.spread
    sign = "≥" if figure.wanted == "ratio at least" else "≤"
    unit = f" {figure.unit}" if figure.wanted == "ours at most" else ""
    return (
        figure.what,
        _shortly(figure.ours),
        _shortly(figure.floor),
        figure.unit,
        f"{figure.ratio:.3f}",
        f"{low:.3f}-{high:.3f}",
        f"{sign} {figure.target}{unit}",
        "ok" if figure.ok else "over",
    )


def _shortly(amount: float) -> str:
    return f"{amount:.1f}" if amount >= 1 else f"{amount:.2g}"
