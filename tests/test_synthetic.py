"""The histories that are made up to be measured: repeatable, as varied as real ones, and of the form of real ones."""

from claude_force.benchmarks import synthetic
from claude_force.benchmarks.history import remember
from claude_force.records import Outcome, task_hash
from claude_force.stores import metrics
from claude_force.stores.memory import AgentMemory
from claude_force.stores.tally import Tally

from .executions import NOW, of

CONSTANTS = {"workflow": "w", "run_id": "1", "task_hash": "0", "price_version": "2026-11-22"}


def records(count):
    return list(metrics.records(synthetic.executions(count, until=NOW)))


def test_the_same_is_made_up_each_time():
    assert list(synthetic.executions(50, until=NOW)) == list(synthetic.executions(50, until=NOW))
    assert list(synthetic.sessions(20, until=NOW)) == list(synthetic.sessions(20, until=NOW))
    assert synthetic.queries(20) == synthetic.queries(30)[:20]


def test_every_line_counts_as_an_execution_with_money_and_tokens():
    tally = Tally()
    assert all(tally.add(record) for record in records(500))
    sums = of(sum(day.total() for day in tally.days().values()))
    assert sums["executions"] == 500
    assert 0 < sums["successes"] < 500
    assert 0 < sums["cached"] < 500
    assert min(sums["cost"], sums["saved"], sums["tokens"], sums["milliseconds"]) > 0


def test_lines_have_the_fields_of_those_that_the_tool_writes():
    written = metrics.line(Outcome("review", "python-expert", "ok", model="m", attempts=1), **CONSTANTS)
    made = next(record for record in records(500) if record["success"] and "workflow_id" in record)
    assert set(written) <= set(made)
    assert list(made)[: len(written) - 3] == list(written)[:-3]


def test_executions_vary_in_all_by_which_they_are_summed_up():
    made = records(2_000)
    for name in ("agent_name", "model", "workflow_id", "error_type", "execution_time_ms", "task_hash"):
        assert len({record.get(name) for record in made}) > 2, name


def test_executions_follow_one_another_day_by_day_until_the_end():
    stamps = [record["timestamp"] for record in records(2 * synthetic.A_DAY + 1)]
    assert stamps == sorted(stamps)
    assert (stamps[0][:10], stamps[-1][:13]) == ("2026-11-20", "2026-11-22T03")


def test_no_two_queries_are_the_same():
    assert len(set(synthetic.queries(500))) == 500


def test_made_up_sessions_are_remembered_and_found(tmp_path):
    path = tmp_path / "agent_memory.db"
    rows = list(synthetic.sessions(200, until=NOW))
    with AgentMemory(path) as memory:
        memory.warm()
        remember(path, rows)
        assert memory.stats()["sessions"] == 200
        for agent, task, *_ in rows[::40]:
            found = memory.search(task)[0]
            assert (found.agent_name, found.task, found.task_hash) == (agent, task, task_hash(task))
