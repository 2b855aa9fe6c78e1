"""The measurements: that they run, and that figures follow from samples; never how fast this machine is."""

import json
import os
import re
import sys
from contextlib import closing

import pytest

from claude_force.benchmarks import Figure, bare, engine, figure, history, interleaved, launcher, novel, state
from claude_force.benchmarks.place import place, tool
from claude_force.cli import main
from claude_force.commands import bench
from claude_force.errors import ForceError, UsageError
from claude_force.records import payload
from claude_force.running.plan import request, single
from claude_force.running.runner import run


@pytest.fixture(scope="module")
def here():
    with place() as here:
        yield here


@pytest.fixture
def bare_calls(monkeypatch):
    """The bodies of the calls that are made bare, in their order."""
    bodies, call = [], bare.call

    def noted(connection, body):
        bodies.append(body.decode())
        return call(connection, body)

    monkeypatch.setattr(bare, "call", noted)
    return bodies


def test_calls_take_turns_and_the_first_round_does_not_count():
    made = []

    def call(name):
        made.append(name)
        return len(made)

    samples = interleaved(2, {"a": lambda: call("a"), "b": lambda: call("b")})
    assert made == ["a", "b", "a", "b", "a", "b"]
    assert samples == {"a": [3, 5], "b": [4, 6]}


def test_a_figure_is_made_of_medians_and_one_wild_sample_does_not_move_it():
    made = figure("x", "ms", [20, 22, 24, 21, 900], [10, 10, 10, 10, 10], 2.5)
    assert (made.ours, made.floor, made.ratio, made.spread) == (22, 10, 2.2, (2.1, 2.4))


def test_one_round_is_a_figure_too():
    assert figure("x", "ms", [30], [10], 2.5).spread == (3, 3)


@pytest.mark.parametrize(
    ("wanted", "ours", "ok"),
    [
        ("ratio at most", 25, True),
        ("ratio at most", 26, False),
        ("ratio at least", 25, True),
        ("ratio at least", 24, False),
        ("ours at most", 2.5, True),
        ("ours at most", 2.6, False),
    ],
)
def test_a_figure_is_held_to_its_target_as_that_is_meant(wanted, ours, ok):
    assert Figure("x", "ms", ours, 10, (0, 0), 2.5, wanted).ok is ok


def test_no_two_tasks_are_the_same():
    assert novel() != novel()


LARGE = "import time; began = time.monotonic(); data = b'x' * 50_000_000; print(time.monotonic() - began)"


def test_a_process_is_measured_with_the_memory_that_it_held(here):
    small = here.run(sys.executable, "-c", "print('said')")
    assert here.printed() == "said\n"
    large = here.run(sys.executable, "-c", LARGE)
    assert large.memory - small.memory > 40_000_000
    assert large.seconds > float(here.printed()), "what it measures of itself lies within"


def test_a_process_that_fails_ends_the_measurement_and_says_why(here):
    with pytest.raises(ForceError, match=r"status 3: of no use"):
        here.run(sys.executable, "-c", "import sys; print('of no use', file=sys.stderr); sys.exit(3)")


def test_what_the_user_has_set_is_not_seen_by_what_is_measured(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("CLAUDE_FORCE_MODEL", "no-such-model")
    with place() as other:
        other.run(*tool(), "run", "agent", "python-expert", "hello")
        assert "simulated" in other.printed()


def test_the_bare_call_gets_the_answer_that_the_tool_gets(here):
    with here.workspace() as workspace:
        plan = workspace.plan(single("python-expert"), "hello")
        with closing(run(plan, workspace.engine.context(plan))) as outcomes:
            outcome = next(outcomes)
    body = json.dumps({**payload(request(plan, plan.jobs["python-expert"], {})), "stream": True}).encode()
    with closing(bare.connection(here.url)) as connection:
        assert bare.call(connection, body) == outcome.output


def test_a_bare_call_that_fails_measures_nothing(here):
    with closing(bare.connection(here.url)) as connection, pytest.raises(OSError, match="400"):
        bare.call(connection, b'{"model": 1}')


def test_a_step_that_fails_ends_the_measurement(here, monkeypatch):
    monkeypatch.setattr(engine, "AGENT", "nobody")
    with pytest.raises(ForceError, match="nobody"):
        list(engine.throughput(here, 1, calls=1))


def test_workflows_are_measured_against_the_calls_on_their_critical_paths(here, bare_calls):
    fan, chains = engine.workflows(here, 1, pace=0.01)
    assert (fan.unit, chains.unit) == ("ms", "ms")
    parts = [re.search("Review part (.+?) of", body)[1] for body in bare_calls]
    assert parts == ["a", "report", "a0", "a1", "a2"] * 2


def test_throughput_is_measured_against_ten_calls_one_after_the_other(here, bare_calls):
    made = list(engine.throughput(here, 1, calls=20))
    assert [(m.unit, m.wanted) for m in made] == [("calls/s", "ratio at least")] * 2
    assert len(bare_calls) == 2 * 10


def test_layers_of_steps_are_measured_against_bare_threads(here, bare_calls):
    without, with_stores = engine.layers(here, 1, steps=20)
    assert "without stores" in without.what
    assert "with stores" in with_stores.what
    assert without.floor == with_stores.floor
    assert all(made.what.startswith("20 steps in 10 layers") for made in (without, with_stores))
    assert len(bare_calls) == 2 * 20


def test_answers_from_the_cache_are_measured_among_few_entries_and_among_many(here):
    taken, held, among = state.cached(here, 1, entries=5)
    assert (taken.unit, held.unit) == ("ms", "MiB")
    assert "among 5 entries" in among.what
    assert among.floor == taken.ours
    lines = (here.directory / "few" / ".claude" / "metrics" / "executions.jsonl").read_text().splitlines()
    assert [json.loads(line).get("cached", False) for line in lines] == [False, True], "the first round does not count"


def test_an_execution_is_measured_beyond_the_call_that_it_makes(here, bare_calls):
    own, look, keep = state.executions(here, 1)
    assert own.floor == look.floor == keep.floor
    assert len(bare_calls) == 2 * 20
    assert all("Explain edition" in body for body in bare_calls)


@pytest.mark.parametrize(("sessions", "milliseconds"), [(10, 5), (100_001, 20)])
def test_a_search_may_take_longer_among_more_sessions(tmp_path, monkeypatch, sessions, milliseconds):
    monkeypatch.setattr(history, "remember", lambda path, rows: None)
    (made,) = history.searches(tmp_path / "memory.db", 1, sessions)
    assert (made.target, made.wanted) == (milliseconds, "ours at most")


def test_the_command_measures_long_histories_if_it_is_asked_to(project, capsys):
    words = ["--rounds", "1", "--only", "history", "--lines", "400", "--sessions", "150"]
    assert main(["bench", *words, "--json", "-q"]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    first, held, again, held_again, rollup, held_rolling, left, beside, search = figures
    assert [row["what"] for row in figures if "400 lines" in row["what"]] == [
        r["what"] for r in (first, rollup, beside)
    ]
    assert first["floor"] == rollup["floor"]
    assert {row["unit"] for row in (held, held_again, held_rolling)} == {"MiB"}
    assert again["wanted"] == "ours at most"
    assert left["floor"] == pytest.approx(0.4 * 400, rel=0.2)  # KiB, of which a line has about 0.4
    assert 0 < left["ratio"] < 1
    assert (beside["unit"], beside["target"]) == ("ms", 1.05)
    assert "150 sessions" in search["what"]
    assert "history" not in bench.GROUPS


def test_the_command_prints_a_row_for_each_figure(project, capsys):
    assert main(["bench", "--rounds", "1", "--only", "start"]) == 0
    out, err = capsys.readouterr()
    head, version, agents = out.splitlines()
    assert head.split()[:5] == ["WHAT", "OURS", "FLOOR", "UNIT", "RATIO"]
    assert version.startswith("claude-force --version")
    assert agents.startswith("claude-force list agents")
    assert {line.split()[-1] for line in (version, agents)} <= {"ok", "over"}
    assert "measuring start" in err


def test_the_command_tells_programs_the_same(project, capsys):
    assert main(["bench", "--rounds", "1", "--only", "agent", "--json", "-q"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["schema_version"], data["success"], data["rounds"]) == (1, True, 1)
    first, second, memory, *_ = data["figures"]
    for row in (first, second):
        assert (row["unit"], row["target"], row["wanted"]) == ("ms", 1.6, "ratio at most")
    assert (memory["unit"], memory["target"], memory["wanted"]) == ("MiB", 30, "ours at most")
    for row in data["figures"]:
        assert row["ratio"] == pytest.approx(row["ours"] / row["floor"], rel=0.01)
        assert row["spread"][0] <= row["spread"][1]
        assert row["ok"] == ((row["ours"] if row["wanted"] == "ours at most" else row["ratio"]) <= row["target"])


def test_a_system_that_cannot_measure_processes_is_told_so(monkeypatch):
    monkeypatch.delattr(os, "posix_spawn")
    with pytest.raises(UsageError, match="cannot measure"), place():
        pass


def test_a_launched_process_writes_to_files_and_its_status_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = launcher.launched([sys.executable, "-c", "import sys; print('out'); sys.exit('err')"])
    assert told["status"] == 1
    assert ((tmp_path / "stdout").read_text(), (tmp_path / "stderr").read_text()) == ("out\n", "err\n")
