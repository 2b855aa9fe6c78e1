import csv
import errno
import json
import math
import os
import pickle
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import closing
from datetime import UTC
from io import StringIO
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_force.errors import Busy, ForceError, NotFound
from claude_force.reports import analytics, analytics_export, spreadsheet, trend
from claude_force.stores import histogram, index, summing
from claude_force.stores.audit import verify
from claude_force.stores.history import Span, gather
from claude_force.stores.rollups import Rollups

from .executions import DAY, NOW, line, of, powers, stamp, total

LIVE = "executions.jsonl"


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "metrics"
    path.mkdir()
    return path


def put(directory, *lines):
    with (directory / LIVE).open("ab") as stream:
        stream.writelines(lines)


def bytes_read():
    with open("/proc/self/io") as facts:
        return int(facts.readline().split()[1])


def summary(directory, span=Span(), model="sonnet"):  # noqa: B008
    return analytics.summary(gather(directory, span), model, {})


def exported(directory, span=Span()):  # noqa: B008
    with Rollups(directory).view() as view:
        return list(analytics_export.rows(view, directory / "rollups", span))


def test_the_summary_has_the_figures_of_the_contract(directory):
    put(directory, *(line(execution_time_ms=ms, nanodollars=10**8) for ms in range(1, 99)))
    put(directory, line(execution_time_ms=99, success=False, error_type="try_later", estimated_cost=None))
    put(directory, line(execution_time_ms=100, cached=True, saved_cost=0.25, estimated_cost=0, agent_name="b"), b"x\n")
    found = summary(directory)

    assert {name: found[name] for name in ("executions", "successes", "success_rate")} == {
        "executions": 100,
        "successes": 99,
        "success_rate": 0.99,
    }
    assert found["average_execution_time_ms"] == 50.5
    assert [found[name] for name in ("p50_ms", "p95_ms", "p99_ms")] == [50, 95, 99]
    assert [found[name] for name in ("total_cost", "saved_cost", "total_tokens")] == [9.8, 0.25, 1500]
    assert (found["cache_hit_rate"], found["unpriced_executions"], found["damaged_lines"]) == (0.01, 1, 1)
    assert [(row["agent"], row["executions"], row["share"]) for row in found["top_agents"]] == [
        ("reviewer", 99, 0.99),
        ("b", 1, 0.01),
    ]
    assert [(row["model"], row["executions"]) for row in found["models"]] == [("claude-haiku-5-5", 100)]
    assert found["errors"] == {"try_later": 1}
    json.dumps(found, allow_nan=False)


def test_the_default_model_is_priced_by_the_token_for_all_that_was_paid(directory):
    counts = {"input_tokens": 300_000, "output_tokens": 1000, "cache_read_input_tokens": 500}
    put(directory, *(line(**counts) for _ in range(4)), line(**counts, cached=True))

    assert summary(directory)["default_model"] == {
        "model": "claude-sonnet-5-5",
        "total_cost": pytest.approx(4 * (300_000 * 2 + 1000 * 10 + 500 * 0.1) / 1e6),
    }
    assert summary(directory, model="claude-opus-9")["default_model"]["total_cost"] is None
    with pytest.raises(NotFound):
        summary(directory, model="nonsense")


def test_nothing_has_no_rates_and_no_times(directory):
    found = summary(directory)

    assert (found["executions"], found["total_cost"], found["top_agents"]) == (0, 0.0, [])
    assert {found[name] for name in ("success_rate", "cache_hit_rate", "average_execution_time_ms", "p50_ms")} == {None}
    assert analytics.summary_text(found, width=80, blocks=True) == "no executions"
    assert analytics.agents_text([], width=80, blocks=True) == "no executions"
    costs = analytics.costs(gather(directory, Span()), "agent")
    assert analytics.costs_text(costs, width=80, blocks=True) == "no executions"
    assert trend.trends_text(trend.trends({}, "daily", UTC, "UTC"), width=80, blocks=True) == "no executions"


def test_a_cost_is_unknown_only_if_every_price_is(directory):
    put(directory, line(estimated_cost=None, agent_name="a"), line(nanodollars=5, agent_name="b"))
    rows = analytics.by_agent(gather(directory, Span()))

    assert [(row["agent"], row["total_cost"], row["unpriced_executions"]) for row in rows] == [
        ("a", None, 1),
        ("b", 5e-9, 0),
    ]
    assert summary(directory)["total_cost"] == 5e-9


@pytest.mark.parametrize("dimension", analytics.BY)
def test_costs_add_up_to_their_total_the_dearest_first(directory, dimension):
    names = {"agent_name": ("a", "b"), "model": ("m", None), "workflow_id": ("w", None)}
    for n in range(12):
        put(directory, line(nanodollars=10**6 * n, **{key: values[n % 2] for key, values in names.items()}))
    found = analytics.costs(gather(directory, Span()), dimension)

    assert [row["total_cost"] for row in found["rows"]] == [0.036, 0.030]
    assert found["total_cost"] == 0.066
    assert [row["share"] for row in found["rows"]] == [pytest.approx(6 / 11, abs=1e-6), pytest.approx(5 / 11, abs=1e-6)]
    text = analytics.costs_text(found, width=100, blocks=False)
    assert text.splitlines()[-1].split()[:2] == ["total", "12"]
    assert "#" in text


def test_percentiles_of_an_agent_are_its_own(directory):
    put(directory, *(line(agent_name="slow", execution_time_ms=60_000) for _ in range(9)), line(agent_name="quick"))
    rows = {row["agent"]: row for row in analytics.by_agent(gather(directory, Span()))}

    assert rows["slow"]["p50_ms"] == pytest.approx(60_000, rel=0.01)
    assert rows["quick"]["p99_ms"] == 100
    text = analytics.agents_text(list(rows.values()), width=120, blocks=True)
    assert "1 min 0 s" in text
    assert "█" in text


ENDS = st.none() | st.integers(0, 8 * DAY) | st.integers(0, 100).map(lambda days: 4 * 3600 + days * DAY)
"""Seconds before NOW, among them midnights."""
SPANS = st.tuples(ENDS, ENDS)
AGES = st.lists(st.floats(0, 8) | st.floats(0, 100), min_size=1, max_size=30)


@settings(max_examples=25, deadline=None)
@given(AGES, st.lists(SPANS, min_size=1, max_size=4))
def test_any_span_of_lines_is_exact_whatever_was_asked_before(tmp_path_factory, ages, spans):
    directory = tmp_path_factory.mktemp("metrics")
    put(directory, *(line(age=age, nanodollars=2**n) for n, age in enumerate(ages)))
    for since, until in spans:
        span = Span(*(None if end is None else stamp(NOW - end)[:19] for end in (since, until)))
        expected = sum(2**n for n, age in enumerate(ages) if span.holds(stamp(NOW - age * DAY)[:19]))

        assert total(directory, span)["cost"] == expected
        assert sum(round(row["estimated_cost"] * 1e9) for row in exported(directory, span)) == expected


def span_of(ends):
    return Span(*(None if end is None else stamp(NOW - end)[:19] for end in ends))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(AGES, SPANS.map(span_of), st.floats(0, 100)), max_size=8), SPANS.map(span_of))
def test_any_span_is_exact_while_late_lines_come_in_and_old_ones_are_rolled_up(tmp_path_factory, steps, last):
    directory = tmp_path_factory.mktemp("metrics")
    put(directory)
    lines, rolled = [], set()
    for step in [*steps, last]:
        if isinstance(step, list):
            new = list(enumerate(step, len(lines)))[: 50 - len(lines)]  # the next would cost over a million dollars
            put(
                directory,
                *(line(age=age, nanodollars=2**n, agent_name=f"a{n % 3}", success=n % 4 > 0) for n, age in new),
            )
            lines += [stamp(NOW - age * DAY)[:19] for _, age in new]
        elif isinstance(step, float):
            Rollups(directory, clock=lambda: NOW).roll(step)
            rolled |= {n for n, when in enumerate(lines) if when < stamp(NOW - step * DAY)[:19]}
        else:
            held = (
                n for n, when in enumerate(lines) if (step.holds_day(when[:10]) if n in rolled else step.holds(when))
            )
            assert_holds(gather(directory, step, hourly=True), list(held))


def assert_holds(sums, numbers):
    """Assert that the sums are of those lines, of which each has its own cost, and in which one in four failed."""
    row = sum(sums.cells.values())
    values = {agent: sum(histogram.from_integer(whole).values()) for agent, whole in sums.latencies.items()}
    assert of(row)["cost"] == sum(2**n for n in numbers)
    assert sum(sums.hours.values()) == row
    assert Counter(values) == Counter(f"a{n % 3}" for n in numbers)
    assert sum(sums.errors.values()) == sum(n % 4 == 0 for n in numbers)


@pytest.mark.parametrize("end", ["10-31T06", "10-31T13", "11-01T00", "11-01T06", "11-01T13"])
def test_a_month_of_which_a_part_of_a_day_is_not_asked_for_is_not_whole(directory, end):
    moments = [
        f"2026-{day}T{hour}:30:00" for day in ("10-01", "10-15", "10-31", "11-01", "11-15") for hour in ("01", "23")
    ]
    put(directory, *(line(timestamp=f"{moment}Z", nanodollars=2**n) for n, moment in enumerate(moments)))
    for span in (Span(f"2026-{end}:00:00"), Span(None, f"2026-{end}:00:00")):
        assert total(directory, span)["cost"] == sum(2**n for n, moment in enumerate(moments) if span.holds(moment))

    Rollups(directory, clock=lambda: NOW).roll(0)
    for span in (Span(f"2026-{end}:00:00"), Span(None, f"2026-{end}:00:00")):
        held = [n for n, moment in enumerate(moments) if span.holds_day(moment[:10])]
        assert total(directory, span)["cost"] == sum(2**n for n in held)


def test_whole_months_are_answered_from_their_sums_until_one_of_their_days_changes(directory):
    put(directory, *powers(4, age=40, success=False), *powers(4, start=4, age=1))
    before = gather(directory, Span())
    with closing(sqlite3.connect(directory / index.FILE)) as connection, connection:
        for table in ("cells", "errors", "latencies"):
            connection.execute(f"DELETE FROM {table} WHERE source = 0")

    assert gather(directory, Span()) == before
    put(directory, *powers(1, start=8, age=41, success=False))
    assert total(directory)["cost"] == 2**9 - 2**4
    assert summary(directory)["errors"] == {"unknown": 1}
    assert summary(directory, Span(None, "2026-11-01T00:00:00"))["executions"] == 1


def test_a_rolled_up_day_counts_whole_if_its_noon_lies_within_and_that_is_told(directory):
    put(directory, *powers(1, timestamp="2026-10-01T01:00:00Z"), *powers(1, start=1, timestamp="2026-10-02T23:00:00Z"))
    Rollups(directory, clock=lambda: NOW).roll(30)

    def seen(since, until=None):
        sums = gather(directory, Span(since, until))
        return of(sum(sums.cells.values()))["cost"], list(sums.notes)

    assert seen("2026-10-01T00:00:00") == (3, [])
    assert seen("2026-10-01T12:00:00") == (3, ["2026-10-01 (UTC) is rolled up and counts as a whole"])
    assert seen("2026-10-01T12:00:01") == (2, ["2026-10-01 (UTC) is rolled up and is left out"])
    assert seen(None, "2026-10-02T00:00:00") == (1, [])
    assert seen(None, "2026-10-02T12:00:00") == (1, ["2026-10-02 (UTC) is rolled up and is left out"])
    assert seen(None, "2026-10-02T12:00:01") == (3, ["2026-10-02 (UTC) is rolled up and counts as a whole"])
    assert seen("2026-10-01T13:00:00", "2026-10-01T20:00:00")[0] == 0


def test_trends_are_by_hour_and_by_day_of_a_zone_with_gaps_filled(directory):
    put(directory, line(timestamp="2026-10-24T21:30:00Z"), line(timestamp="2026-10-24T22:30:00Z"))
    put(directory, line(timestamp="2026-10-27T10:59:59Z", success=False))
    hours = gather(directory, Span(), hourly=True).hours
    berlin = ZoneInfo("Europe/Berlin")

    def runs(interval, zone):
        periods = trend.trends(hours, interval, zone, "zone")["periods"]
        return {period["period"]: period["executions"] for period in periods}

    assert runs("daily", UTC) == {"2026-10-24": 2, "2026-10-25": 0, "2026-10-26": 0, "2026-10-27": 1}
    assert runs("daily", berlin) == {"2026-10-24": 1, "2026-10-25": 1, "2026-10-26": 0, "2026-10-27": 1}
    by_hour = runs("hourly", berlin)
    assert (
        by_hour["2026-10-24T23:00+02:00"] == by_hour["2026-10-25T00:00+02:00"] == by_hour["2026-10-27T11:00+01:00"] == 1
    )
    assert len(by_hour) == 62
    assert (by_hour["2026-10-25T02:00+02:00"], by_hour["2026-10-25T02:00+01:00"]) == (0, 0)


def test_trends_are_the_same_before_and_after_a_rollup(directory):
    put(directory, *(line(age=30 + n / 7, execution_time_ms=n, nanodollars=n) for n in range(50)))
    before = gather(directory, Span(), hourly=True).hours
    Rollups(directory, clock=lambda: NOW).roll(30)

    assert gather(directory, Span(), hourly=True).hours == before


def test_a_wrong_clock_does_not_fill_the_page_with_gaps(directory):
    put(directory, line(timestamp="1970-01-01T00:00:00Z"), line())
    hours = gather(directory, Span(), hourly=True).hours

    assert len(trend.trends(hours, "hourly", UTC, "UTC")["periods"]) == 2


def test_a_table_of_trends_has_sparklines_of_one_width(directory):
    put(directory, *(line(age=n, nanodollars=10**9 * n) for n in range(90)))
    data = trend.trends(gather(directory, Span(), hourly=True).hours, "daily", UTC, "UTC")
    text = trend.trends_text(data, width=120, blocks=True).splitlines()

    assert text[0].startswith("runs  ██")
    assert len(text[1]) == len("cost  ") + 45
    assert text[1][6] == "█"
    assert text[1][-1] == "▁"
    assert len(text) == 4 + 90 - 1 + 1
    assert trend.sparkline([0, 1], blocks=False) == "_@"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what was read")
def test_what_was_read_once_is_not_read_again_and_new_lines_are(directory):
    put(directory, *(line(age=n / 500, nanodollars=n) for n in range(10_000)))
    size = (directory / LIVE).stat().st_size
    first = total(directory)
    before = bytes_read()
    assert total(directory) == first
    assert bytes_read() - before < size / 10

    put(directory, line(nanodollars=1_000_000))
    before = bytes_read()
    assert total(directory)["cost"] == first["cost"] + 1_000_000
    assert bytes_read() - before < size / 10


def shorter(path):
    path.write_bytes(b"".join(powers(3)))


def same_size(path):
    path.write_bytes(path.read_bytes().replace(b'"reviewer"', b'"codifier"').replace(b"4.095e-06", b"8.095e-06"))


def longer(path):
    path.write_bytes(b"".join(reversed(powers(14))))


def moved_over(path):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes().replace(b"1e-09", b"9e-09"))
    os.replace(other, path)


def edited_in_place_and_appended_to(path):
    with path.open("r+b") as stream:
        text = stream.read()
        stream.seek(0)
        stream.write(text.replace(b'"success": true', b'"success":false', 1) + powers(1)[0])


def gone(path):
    path.unlink()


@pytest.mark.parametrize("change", [shorter, same_size, longer, moved_over, edited_in_place_and_appended_to, gone])
def test_an_index_that_does_not_fit_the_file_is_not_believed(directory, change, tmp_path):
    put(directory, *powers(12, age=1))
    total(directory)
    change(directory / LIVE)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    if (directory / LIVE).exists():
        (fresh / LIVE).write_bytes((directory / LIVE).read_bytes())

    assert gather(directory, Span(), hourly=True) == gather(fresh, Span(), hourly=True)


@pytest.mark.parametrize("text", [b"garbage" * 1000, b""])
def test_a_damaged_index_is_made_anew(directory, text):
    put(directory, *powers(12))
    total(directory)
    (directory / index.FILE).write_bytes(text)

    assert total(directory)["cost"] == 2**12 - 1


READ = """
import sys
from pathlib import Path
from claude_force.stores.history import Span, gather
from tests.executions import total
for word in iter(sys.stdin.readline, ""):
    print(total(Path(sys.argv[1]))["cost"], flush=True)
"""


def test_readers_that_meet_a_damaged_index_at_once_all_get_their_figures(directory):
    put(directory, *powers(12))
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    command = [sys.executable, "-c", READ, str(directory)]
    readers = [subprocess.Popen(command, text=True, **pipes) for _ in range(6)]
    for _ in range(8):
        total(directory)
        os.truncate(directory / index.FILE, (directory / index.FILE).stat().st_size // 2)
        for reader in readers:
            reader.stdin.write("read\n")
            reader.stdin.flush()
        assert {reader.stdout.readline() for reader in readers} == {f"{2**12 - 1}\n"}
    assert {reader.communicate(timeout=60) for reader in readers} == {("", "")}


@pytest.mark.parametrize("source", [0, 1, 2])
def test_verify_finds_an_index_that_was_tampered_with_and_empties_it(directory, source):
    by_day = Span("2026-10-02T00:00:00", "2026-11-22T00:00:00")
    put(directory, *powers(6, age=40), *powers(6, start=6, age=1))
    Rollups(directory, clock=lambda: NOW).roll(30)
    total(directory)
    with sqlite3.connect(directory / index.FILE) as connection:
        connection.execute("UPDATE cells SET cost = cost + 1000 WHERE source = ?", (source,))
    connection.close()

    assert total(directory, by_day if source < 2 else Span())["cost"] >= 2**12 + 999
    assert "the index held" in verify(directory).problems[0]
    assert total(directory)["cost"] == total(directory, by_day)["cost"] == 2**12 - 1
    assert verify(directory).problems == ()


def test_an_index_that_another_process_is_writing_is_waited_for_and_then_given_up(directory, monkeypatch):
    put(directory, *powers(3))
    total(directory)
    monkeypatch.setattr("claude_force.stores.sqlite.BUSY_SECONDS", 0.01)
    with sqlite3.connect(directory / index.FILE, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Busy, match="locked"):
            total(directory)
    other.close()


def test_where_nothing_can_be_written_figures_are_still_given(directory, monkeypatch):
    put(directory, *powers(3))
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # what it says of a read-only file system, also to root

    assert total(directory)["cost"] == 7
    assert [path.name for path in directory.iterdir()] == [LIVE]


def test_two_processes_add_up_a_long_file_as_one_does(directory, monkeypatch):
    put(directory, *(line(age=n / 100, nanodollars=n, agent_name=f"a{n % 7}") for n in range(3000)), b"garbage\n")
    alone = gather(directory, Span(), hourly=True)
    (directory / index.FILE).unlink()
    monkeypatch.setattr(summing, "_LONG", 1000)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)

    assert gather(directory, Span(), hourly=True) == alone


def test_the_second_process_finds_the_package_and_adds_up_its_part(directory):
    put(directory, *powers(20))
    status = (directory / LIVE).stat()
    first = len(powers(1)[0])
    work = json.dumps([str(directory / LIVE), [status.st_dev, status.st_ino], first, status.st_size])
    code = [sys.executable, "-I", "-c", summing._CHILD, json.dumps(sys.path), work]
    ((start, stop, damaged, days),) = [pickle.loads(subprocess.run(code, capture_output=True, check=True).stdout)]

    assert (start, stop, damaged) == (first, status.st_size, 0)
    assert sum(of(day.total())["cost"] for day in days.values()) == 2**20 - 2


@pytest.mark.parametrize("there", [False, True])
def test_if_the_second_process_cannot_find_the_file_the_first_one_does_it_all(directory, monkeypatch, there):
    put(directory, *powers(20))
    if there:
        (directory / "moved").write_bytes(b"".join(powers(20, start=1)))
    monkeypatch.setattr(summing, "_LONG", 100)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with (directory / LIVE).open("rb") as stream:
        size = stream.seek(0, 2)
        found = list(summing.batches(directory / "moved", stream, 0, size))

    assert sum(of(day.total())["cost"] for batch in found for day in batch[3].values()) == 2**20 - 1
    assert [batch[1] for batch in found][-1] == size


def test_the_second_process_is_ended_with_the_first(directory, monkeypatch):
    put(directory, *powers(20))
    monkeypatch.setattr(summing, "_LONG", 100)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with (directory / LIVE).open("rb") as stream:
        batches = summing.batches(directory / LIVE, stream, 0, stream.seek(0, 2))
        next(batches)
        batches.close()

    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_names_that_are_no_text_for_a_database_are_kept_apart_all_the_same(directory):
    put(directory, line(agent_name="a\udcff"), line(agent_name="ä"), line(agent_name="\U0001f600", success=False))
    found = {row["agent"]: row["executions"] for row in analytics.by_agent(gather(directory, Span()))}

    assert found == {"a\\udcff": 1, "ä": 1, "\U0001f600": 1}


def test_an_export_holds_lines_one_by_one_and_rolled_up_days_as_sums(directory):
    put(directory, *powers(3, age=40), line(age=40, estimated_cost=None, agent_name="b"))
    put(directory, line(age=1, workflow_id="w", unheard_of=1), b"garbage\n", line(age=0, cached=True, saved_cost=0.5))
    Rollups(directory, clock=lambda: NOW).roll(30)
    rows = exported(directory)

    assert [(row["timestamp"], row["executions"], row["estimated_cost"]) for row in rows] == [
        ("2026-10-13", 1, None),
        ("2026-10-13", 3, 7e-9),
        (stamp(NOW - DAY), 1, 1e-9),
        (stamp(NOW), 1, 1e-9),
    ]
    assert [row["cached"] for row in rows] == [0, 0, 0, 1]
    assert "unheard_of" not in analytics_export.known(rows[2])


@pytest.mark.parametrize("count", [0, 1, 1203])
def test_every_form_of_an_export_holds_every_row(directory, count):
    put(directory, *(line(nanodollars=n, agent_name='quo"ted, and\nbroken') for n in range(count)))
    text = {form: "".join(analytics_export.text(exported(directory), form)) for form in analytics_export.FORMS}
    rows = list(csv.DictReader(StringIO(text["csv"])))

    assert len(rows) == len(json.loads(text["json"])) == text["jsonl"].count("\n") == count
    assert math.fsum(float(row["estimated_cost"]) for row in rows) == pytest.approx(count * (count - 1) / 2e9)
    assert [json.loads(row) for row in text["jsonl"].splitlines()] == json.loads(text["json"])
    assert {row["agent_name"] for row in rows} <= {'quo"ted, and\nbroken'}


def test_rows_as_csv_have_a_heading():
    assert spreadsheet.csv_text([{"a": 1, "b": None}]) == "a,b\n1,\n"
    assert spreadsheet.csv_text([]) == ""


FORMULAS = ["=1+1", "+1", "-1", "@x", " =1", "\t=1", "\r=1", "\n=1", "\x1b=1", "\uff1d1"]


@pytest.mark.parametrize("name", FORMULAS, ids=repr)
def test_a_name_that_a_spreadsheet_would_take_for_a_formula_is_text(directory, name):
    put(directory, line(agent_name=name))
    (shown,) = csv.DictReader(StringIO(spreadsheet.csv_text(analytics.by_agent(gather(directory, Span())))))
    (exported_,) = csv.DictReader(StringIO("".join(analytics_export.text(exported(directory), "csv"))))

    for found in (shown["agent"], exported_["agent_name"]):
        assert found.startswith("'")
        assert found.endswith(name.lstrip()[-1])


def test_in_csv_nothing_steers_a_terminal_and_numbers_are_what_they_are():
    told = spreadsheet.csv_text([{"name": "a\x1b[2Jb\u202e", "number": -1.5}])

    assert told == "name,number\na[2Jb,-1.5\n"


def lay(directory, application_id, version, *statements):
    """Put a database of this kind in the place of the index."""
    path = directory / index.FILE
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in ("PRAGMA journal_mode = WAL", *statements):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {application_id}")
        connection.execute(f"PRAGMA user_version = {version}")
    return path.read_bytes()


OURS = 0x43464D49


def test_an_index_of_a_former_version_is_filled_anew(directory):
    put(directory, *powers(3, execution_time_ms=700))
    before = summary(directory)
    lay(directory, OURS, 3, "CREATE TABLE lines (mark TEXT NOT NULL)", "INSERT INTO lines VALUES ('{}')")

    assert gather(directory, Span()).notes == ()
    assert summary(directory) == before
    assert not list(directory.glob("*damaged*"))
    with closing(sqlite3.connect(directory / index.FILE)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (index.VERSION,)


def test_an_index_of_a_newer_version_is_left_to_it_and_figures_are_given(directory):
    put(directory, *powers(3))
    newer = lay(directory, OURS, 99, "CREATE TABLE something_new (n)")

    assert total(directory)["cost"] == 7
    assert verify(directory).problems == ()
    assert (directory / index.FILE).read_bytes() == newer


@pytest.mark.parametrize("application_id", [0, 12345])
def test_the_database_of_another_program_is_set_aside_and_told_of(directory, application_id):
    put(directory, *powers(3))
    lay(directory, application_id, 1, "CREATE TABLE accounts (balance)", "INSERT INTO accounts VALUES (100)")

    (note,) = gather(directory, Span()).notes
    (aside,) = directory.glob("index.db.damaged-*")
    assert note == f"{directory / index.FILE} is no index of executions: set aside as {aside.name}"
    with closing(sqlite3.connect(aside)) as connection:
        assert connection.execute("SELECT * FROM accounts").fetchall() == [(100,)]
    assert gather(directory, Span()).notes == ()
    assert total(directory)["cost"] == 7


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_at_all_is_set_aside(directory, make):
    put(directory, *powers(3))
    make(directory / index.FILE)

    assert total(directory)["cost"] == 7
    assert total(directory)["cost"] == 7
    assert len(list(directory.glob("index.db.damaged-*"))) == 1


TAMPERED = [
    *(f"UPDATE lines SET mark = {mark}" for mark in ("'xx'", "'[]'", "'{}'", "'1'", "x'ff'", "hex(zeroblob(50000))")),
    *(f"UPDATE lines SET mark = json_set(mark, '$.size', {size})" for size in ("-1", "'a'", "0.5", "null")),
    "UPDATE lines SET mark = json_set(mark, '$.damaged', -1)",
    "UPDATE lines SET mark = json_remove(mark, '$.damaged')",
    "UPDATE extents SET start = -1",
    "UPDATE extents SET stop = 'zz'",
    "UPDATE cells SET executions = -1",
    "UPDATE cells SET executions = 'zz'",
    "UPDATE cells SET cost = 9223372036854775807",
    *(f"UPDATE OR IGNORE cells SET {column} = x'ff'" for column in ("agent", "model", "workflow", "cost")),
    "UPDATE OR IGNORE cells SET agent = CAST(x'ff' AS TEXT)",
    "UPDATE hours SET hour = 'zz'",
    "UPDATE hours SET hour = x'ff'",
    "UPDATE hours SET hour = '0001-01-01T00'",
    "UPDATE hours SET cost = -1",
    "UPDATE errors SET error = x'ff'",
    "UPDATE errors SET count = -1",
    "UPDATE errors SET count = 0.5",
    *(f"UPDATE latencies SET counts = {counts}" for counts in ("'text'", "5", "x''", "x'7600'", "x'76ffff'")),
    "UPDATE latencies SET counts = x'63' || zeroblob(100000) || x'01'",
    "UPDATE OR IGNORE latencies SET agent = x'ff'",
    "UPDATE latencies SET agent = null",
]


@pytest.mark.parametrize("statement", TAMPERED)
def test_whatever_is_wrong_with_an_index_it_is_made_anew(directory, statement):
    put(
        directory, *powers(6, age=40), *powers(6, start=6, success=False), *powers(6, start=12, age=0.2, agent_name="b")
    )
    span = Span(stamp(NOW - DAY / 2)[:19])
    gather(directory, Span())
    with closing(sqlite3.connect(directory / index.FILE)) as connection, connection:
        assert connection.execute(statement).rowcount > 0

    put(directory, line(nanodollars=2**18, success=False))
    gather(directory, span, hourly=True)
    found = gather(directory, Span(), hourly=True)
    assert of(sum(found.cells.values()))["cost"] == 2**19 - 1
    assert trend.trends(found.hours, "hourly", ZoneInfo("America/New_York"), "New York")["periods"]
    assert json.dumps([analytics.summary(found, "sonnet", {}), analytics.by_agent(found)], allow_nan=False)
    assert verify(directory).problems == ()
    assert verify(directory).problems == ()


FULL = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
from tests.executions import total
print(total(Path(sys.argv[1]))["cost"])
"""


@pytest.mark.parametrize("room", [0, 1_000, 20_000, 60_000])
def test_where_there_is_no_room_for_an_index_figures_are_still_given(directory, room):
    pytest.importorskip("resource")
    put(directory, *(line(age=n, nanodollars=n, agent_name=f"a{n % 50}") for n in range(500)))
    command = [sys.executable, "-c", FULL, str(directory), str(room)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    assert (ended.stdout, ended.stderr) == ("124750\n", "")
    assert total(directory)["cost"] == 124750
    assert total(directory)["cost"] == 124750


def test_where_no_file_can_be_made_figures_are_still_given(directory, monkeypatch):
    put(directory, *powers(3))

    def full(path, flags, *mode, **options):
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return opening(path, flags, *mode, **options)

    opening = os.open
    monkeypatch.setattr(os, "open", full)
    assert total(directory)["cost"] == 7


def test_a_long_file_is_added_up_alone_where_there_is_no_room_for_the_sums_of_a_second_process(directory, monkeypatch):
    put(directory, *powers(12))
    monkeypatch.setattr(summing, "_LONG", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(tempfile, "tempdir", str(directory / "none"))

    assert total(directory)["cost"] == 2**12 - 1


@pytest.mark.parametrize("rest", [b"x" * 5000, b"x" * 5000 + b"\n"])
def test_a_long_file_whose_second_half_is_one_line_is_added_up_alone(directory, monkeypatch, rest):
    monkeypatch.setattr(summing, "_LONG", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    put(directory, *powers(6), rest)
    assert total(directory)["cost"] == 2**6 - 1
    put(directory, b"\n"[len(rest) - 5000 :], *powers(1, start=6))

    assert total(directory)["cost"] == 2**7 - 1
    assert gather(directory, Span()).damaged == 1


DEFECTS = [
    {"execution_time_ms": 9223372036854775808},
    {"total_tokens": 2**63},
    {"total_tokens": 10**40},
    {"estimated_cost": 18000000000.0},
    {"timestamp": "0001-01-01T00:00:00.000Z"},
    {"timestamp": "9999-12-31T23:59:59.999Z"},
]


@pytest.mark.parametrize("defect", DEFECTS, ids=repr)
def test_a_line_that_tells_of_what_cannot_be_is_damaged_and_stops_nothing(directory, defect):
    put(directory, *powers(2, age=40), line(age=40, **({"nanodollars": 7} | defect)), *powers(1, start=2))
    for _ in range(2):
        sums = gather(directory, Span(), hourly=True)
        assert (of(sum(sums.cells.values()))["cost"], sums.damaged) == (7, 1)
        assert trend.trends(sums.hours, "daily", ZoneInfo("America/New_York"), "New York")["periods"]
        assert (verify(directory).problems, verify(directory).damaged) in [((), (3,)), ((), (1,))]
        Rollups(directory, clock=lambda: NOW).roll(30)


DEAREST = 10**15


def test_sums_of_a_million_dollars_a_call_are_exact_as_long_as_they_can_be_counted(directory):
    put(directory, *(line(age=n % 3, nanodollars=DEAREST) for n in range(9_223)))

    assert total(directory)["cost"] == 9_223 * DEAREST
    assert verify(directory).problems == ()


@pytest.mark.parametrize("days", [1, 3])
def test_sums_that_cannot_be_counted_are_refused_rather_than_wrong(directory, days):
    put(directory, *(line(age=40 + n % days, nanodollars=DEAREST) for n in range(9_224)))

    for ask in (total, verify):
        with pytest.raises(ForceError, match="cannot add up"):
            ask(directory)
    with pytest.raises(ValueError, match="more than can be counted"):
        Rollups(directory, clock=lambda: NOW).roll(30)
    assert (directory / LIVE).read_bytes().count(b"\n") == 9_224


def test_day_files_whose_sums_cannot_be_counted_are_refused(directory):
    put(directory, *(line(age=40 + n % 2 * 20, nanodollars=DEAREST) for n in range(9_224)))
    for days in (50, 30):
        Rollups(directory, clock=lambda: NOW).roll(days)

    for ask in (total, verify):
        with pytest.raises(ForceError, match="cannot add up"):
            ask(directory)
