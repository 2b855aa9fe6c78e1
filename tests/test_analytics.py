import csv
import json
import math
import os
import pickle
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC
from io import StringIO
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_force.errors import Busy, NotFound
from claude_force.reports import analytics, analytics_export, spreadsheet, trend
from claude_force.stores import index, summing
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


SPANS = st.tuples(st.none() | st.integers(0, 8 * DAY), st.none() | st.integers(0, 8 * DAY))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 8), min_size=1, max_size=30), st.lists(SPANS, min_size=1, max_size=4))
def test_any_span_of_lines_is_exact_whatever_was_asked_before(tmp_path_factory, ages, spans):
    directory = tmp_path_factory.mktemp("metrics")
    put(directory, *(line(age=age, nanodollars=2**n) for n, age in enumerate(ages)))
    for since, until in spans:
        span = Span(*(None if end is None else stamp(NOW - end)[:19] for end in (since, until)))
        expected = sum(2**n for n, age in enumerate(ages) if span.holds(stamp(NOW - age * DAY)[:19]))

        assert total(directory, span)["cost"] == expected
        assert sum(round(row["estimated_cost"] * 1e9) for row in exported(directory, span)) == expected


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


@pytest.mark.parametrize("rolled", [0, 1])
def test_verify_finds_an_index_that_was_tampered_with_and_empties_it(directory, rolled):
    put(directory, *powers(6, age=40), *powers(6, start=6, age=1))
    Rollups(directory, clock=lambda: NOW).roll(30)
    total(directory)
    with sqlite3.connect(directory / index.FILE) as connection:
        connection.execute("UPDATE cells SET cost = cost + 1000 WHERE rolled = ?", (rolled,))
    connection.close()

    assert total(directory)["cost"] == 2**12 + 999
    assert "the index held" in verify(directory).problems[0]
    assert total(directory)["cost"] == 2**12 - 1
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


def test_an_index_of_a_former_version_is_filled_anew(directory):
    put(directory, *powers(3, execution_time_ms=700))
    before = summary(directory)
    with closing(sqlite3.connect(directory / index.FILE)) as connection, connection:
        connection.execute("UPDATE latencies SET counts = x'00000001'")
        connection.execute("PRAGMA user_version = 1")

    assert summary(directory) == before
