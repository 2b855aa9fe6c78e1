"""What the executions add up to: the figures of `analytics` and `metrics`, for programs and for people.

Pure: sums go in, data and text come out. Money is nanodollars inside and USD in what programs read.
"""

from __future__ import annotations

from collections import defaultdict

from .. import models
from ..models import usd
from ..records import Usage
from ..stores import histogram
from ..stores.tally import COUNTERS, counters
from .table import duration, plural, table, usd_amounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from typing import Any

    from ..models import Prices
    from ..stores.history import Sums

    Rows = Sequence[Mapping[str, Any]]

SCHEMA_VERSION = 1
BY = ("agent", "model", "workflow")
_TOP = 5
_BAR = 20


def facts(row: int) -> dict[str, Any]:
    """Return what a row of counters says: counts, rates from 0 to 1, milliseconds and USD; None where there is nothing.

    A cost is of the executions whose price is known; it is None only if that is true of none.
    """
    of = dict(zip(COUNTERS, counters(row), strict=True))
    executions = of["executions"]
    unpriced = of["unpriced"]
    return {
        "executions": executions,
        "successes": of["successes"],
        "success_rate": _share(of["successes"], executions),
        "average_execution_time_ms": round(of["milliseconds"] / executions, 1) if executions else None,
        "total_cost": None if executions and unpriced == executions else usd(of["cost"]),
        "saved_cost": usd(of["saved"]),
        "total_tokens": of["tokens"],
        "cache_creation_input_tokens": of["cache_creation_input_tokens"],
        "cache_read_input_tokens": of["cache_read_input_tokens"],
        "cache_hit_rate": _share(of["cached"], executions),
        "unpriced_executions": unpriced,
    }


def percentiles(latencies: int) -> dict[str, int | None]:
    """Return the percentiles of a histogram that is given as one integer, in milliseconds, within 0.4 %."""
    counts = histogram.from_integer(latencies)
    return {f"p{percent}_ms": histogram.percentile(counts, percent) for percent in (50, 95, 99)}


def by(sums: Sums, dimension: str) -> dict[str, int]:
    """Return the rows by one of BY; an execution without a model or a workflow is under the empty name."""
    place = BY.index(dimension)
    rows: dict[str, int] = defaultdict(int)
    for names, row in sums.cells.items():
        rows[names[place]] += row
    return rows


def summary(sums: Sums, default_model: str, prices: Prices) -> dict[str, Any]:
    """Return the result of `analytics summary`; the most used agents and models come first."""
    total = facts(sum(sums.cells.values()))
    executions = total["executions"]
    return {
        "schema_version": SCHEMA_VERSION,
        **total,
        **percentiles(sum(sums.latencies.values())),
        "default_model": _on_default(sums, default_model, prices),
        "top_agents": _mix(by(sums, "agent"), "agent", executions)[:_TOP],
        "models": _mix(by(sums, "model"), "model", executions),
        "errors": dict(sorted(sums.errors.items(), key=lambda item: (-item[1], item[0]))),
        "damaged_lines": sums.damaged,
    }


def by_agent(sums: Sums) -> list[dict[str, Any]]:
    """Return a row for each agent, the most used first."""
    rows = [
        {"agent": name, **facts(row), **percentiles(sums.latencies[name])} for name, row in by(sums, "agent").items()
    ]
    return sorted(rows, key=lambda row: (-row["executions"], row["agent"]))


def costs(sums: Sums, dimension: str) -> dict[str, Any]:
    """Return the result of `analytics costs`, the dearest first; shares are of the cost that is known."""
    total = facts(sum(sums.cells.values()))
    rows = [
        {
            dimension: name or None,
            **{key: of[key] for key in ("executions", "total_cost")},
            "share": _share(of["total_cost"] or 0, total["total_cost"] or 0),
            **{key: of[key] for key in ("saved_cost", "total_tokens", "unpriced_executions")},
        }
        for name, of in ((name, facts(row)) for name, row in by(sums, dimension).items())
    ]
    rows.sort(key=lambda row: (-(row["total_cost"] or 0), row[dimension] or ""))
    keys = ("executions", "total_cost", "saved_cost", "unpriced_executions")
    return {"schema_version": SCHEMA_VERSION, "by": dimension, **{key: total[key] for key in keys}, "rows": rows}


def summary_text(data: Mapping[str, Any], *, width: int, blocks: bool) -> str:
    """Return a summary for people."""
    if not data["executions"]:
        return "no executions"
    default = data["default_model"]
    (cost,), (saved,), (about,) = (
        usd_amounts([amount]) for amount in (data["total_cost"], data["saved_cost"], default["total_cost"])
    )
    if default["total_cost"] is not None:
        cost += f"; the same on the default model, {default['model']}, would have cost about {about}"
    if data["unpriced_executions"]:
        cost += f"; {plural(data['unpriced_executions'], 'execution')} of unknown price"
    tokens = f"{data['total_tokens']:,}"
    written, read = data["cache_creation_input_tokens"], data["cache_read_input_tokens"]
    if written or read:
        tokens += f"; {read:,} read from the API's prompt cache, {written:,} written to it"
    times = ", ".join(f"{p} {milliseconds(data[f'{p}_ms'])}" for p in ("p50", "p95", "p99"))
    lines = [
        ("executions", f"{data['executions']:,}, {percent(data['success_rate'])} successful"),
        ("time", f"mean {milliseconds(data['average_execution_time_ms'])}, {times}"),
        ("cost", cost),
        ("cache", f"{percent(data['cache_hit_rate'])} hits, {saved} saved"),
        ("tokens", tokens),
        ("errors", ", ".join(f"{error} {count:,}" for error, count in data["errors"].items())),
    ]
    head = "\n".join(f"{name:<10}  {text}" for name, text in lines if text)
    tables = [mix_table(data[key], kind, width=width, blocks=blocks) for key, kind in _MIXES]
    return "\n\n".join([head, *tables])


def agents_text(rows: Rows, *, width: int, blocks: bool) -> str:
    """Return the comparison of agents for people; the bar shows the share of the cost."""
    if not rows:
        return "no executions"
    cost = sum(row["total_cost"] or 0 for row in rows)
    cells = [
        (
            row["agent"],
            f"{row['executions']:,}",
            percent(row["success_rate"]),
            *(milliseconds(row[key]) for key in ("average_execution_time_ms", "p50_ms", "p95_ms")),
            f"{row['total_tokens']:,}",
            percent(row["cache_hit_rate"]),
            saved,
            spent,
            bar(_share(row["total_cost"] or 0, cost), blocks=blocks),
        )
        for row, saved, spent in with_amounts(rows)
    ]
    headings = ("AGENT", "RUNS", "OK", "MEAN", "P50", "P95", "TOKENS", "HITS", "SAVED", "COST", "")
    return sheet(headings, cells, width=width, texts=headings[:1])


def costs_text(data: Mapping[str, Any], *, width: int, blocks: bool) -> str:
    """Return costs for people, with their total."""
    if not data["rows"]:
        return "no executions"
    kind = data["by"]
    total = {kind: "total", "share": None, "total_tokens": sum(row["total_tokens"] for row in data["rows"]), **data}
    cells = [
        (
            row[kind] or "none",
            f"{row['executions']:,}",
            f"{row['total_tokens']:,}",
            saved,
            spent,
            "" if row["share"] is None else percent(row["share"]),
            bar(row["share"], blocks=blocks),
        )
        for row, saved, spent in with_amounts([*data["rows"], total])
    ]
    headings = (kind.upper(), "RUNS", "TOKENS", "SAVED", "COST", "SHARE", "")
    return sheet(headings, cells, width=width, texts=headings[:1])


_TOKENS = {
    "input_tokens": Usage(input_tokens=1),
    "output_tokens": Usage(output_tokens=1),
    "cache_creation_input_tokens": Usage(cache_creation_input_tokens=1),
    "cache_read_input_tokens": Usage(cache_read_input_tokens=1),
}
_MIXES = (("top_agents", "agent"), ("models", "model"))


def mix_table(rows: Rows, kind: str, *, width: int, blocks: bool) -> str:
    """Return a table of `rows` with a bar for the share of each."""
    column = usd_amounts(row["total_cost"] for row in rows)
    cells = [
        (
            row[kind] or "none",
            f"{row['executions']:,}",
            percent(row["share"]),
            percent(row["success_rate"]),
            spent,
            bar(row["share"], blocks=blocks),
        )
        for row, spent in zip(rows, column, strict=True)
    ]
    headings = (kind.upper(), "RUNS", "SHARE", "OK", "COST", "")
    return sheet(headings, cells, width=width, texts=headings[:1])


def sheet(headings: Sequence[str], cells: Sequence[Sequence[str]], *, width: int, texts: Collection[str] = ()) -> str:
    """Return a table of a name or a time, of figures, and of a bar, which is left out where there is no room for it."""
    return table(headings, cells, width=width, numbers=headings[1:-1], texts=texts, spare=headings[-1])


def bar(share: float | None, *, blocks: bool) -> str:
    """Return a bar whose length is `share`, from 0 to 1."""
    return ("█" if blocks else "#") * round((share or 0) * _BAR)


def percent(rate: float | None) -> str:
    """Return a rate from 0 to 1 for people."""
    return "-" if rate is None else f"{rate:.1%}"


def milliseconds(span: float | None) -> str:
    """Return a time span for people."""
    return "-" if span is None else duration(span / 1000)


def with_amounts(rows: Rows) -> Iterator[tuple[Mapping[str, Any], str, str]]:
    """Yield each row with what it saved and what it cost."""
    columns = (usd_amounts(row[key] for row in rows) for key in ("saved_cost", "total_cost"))
    return zip(rows, *columns, strict=True)


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 6) if whole else None


def _mix(rows: Mapping[str, int], kind: str, executions: int) -> list[dict[str, Any]]:
    mix = []
    for name, row in rows.items():
        of = facts(row)
        shown = {key: of[key] for key in ("executions", "success_rate", "total_cost", "total_tokens")}
        mix.append({kind: name or None, **shown, "share": _share(of["executions"], executions)})
    return sorted(mix, key=lambda row: (-row["executions"], row[kind] or ""))


def _on_default(sums: Sums, default_model: str, prices: Prices) -> dict[str, Any]:
    """Return what the tokens that were paid for would have cost on the default model at its usual price of today.

    Models cut text into tokens differently and answer at different lengths, so this is an estimate.
    """
    model, _ = models.find(default_model, prices=prices)
    of = dict(zip(COUNTERS, counters(sum(sums.cells.values())), strict=True))
    total: int | None = 0
    for kind, token in _TOKENS.items():
        price = models.cost(token, model.id, prices=prices)  # of one: a sum would look like one long prompt
        total = None if price is None or total is None else total + price * of[kind]
    return {"model": model.id, "total_cost": usd(total)}
