"""How an agent's latest runs went: which lines count, and how far back is looked."""

import os

import pytest

from claude_force.stores.track_record import runs
from tests.executions import line

HAIKU = "claude-haiku-5-5"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "executions.jsonl"


def found(path, agent="reviewer", kind="explain", task_hash="0123abcd"):
    return list(runs(path, agent, kind=kind, task_hash=task_hash))


def test_where_nothing_was_run_there_is_no_record(path):
    assert found(path) == []


def test_runs_come_newest_first_with_model_and_failure(path):
    cut = line(task_kind="explain", model="claude-opus-5-5", success=False, error_type="truncated")
    path.write_bytes(line(task_kind="explain") + cut)
    assert found(path) == [("claude-opus-5-5", True), (HAIKU, False)]


@pytest.mark.parametrize("error_type", ["try_later", "timed_out", "interrupted", "authentication_failed"])
def test_failures_that_are_not_the_models_do_not_count(path, error_type):
    path.write_bytes(line(task_kind="explain", success=False, error_type=error_type))
    assert found(path) == []


@pytest.mark.parametrize("other", [{"agent_name": "linter"}, {"task_kind": "review"}, {"cached": True}])
def test_runs_of_others_and_answers_from_the_cache_do_not_count(path, other):
    path.write_bytes(line(**{"task_kind": "explain", **other}))
    assert found(path) == []


def test_an_agent_named_in_another_field_is_not_taken_for_it(path):
    path.write_bytes(line(agent_name="linter", task_kind="explain", workflow_id="reviewer"))
    assert found(path) == []


def test_without_a_kind_the_same_task_counts(path):
    path.write_bytes(line() + line(task_hash="ffffffff"))
    assert found(path) == [(HAIKU, False)]


def test_damaged_and_unfinished_lines_are_passed_over(path):
    path.write_bytes(line(task_kind="explain") + b'{"agent_name": "reviewer", \n' + line(task_kind="explain")[:-9])
    assert found(path) == [(HAIKU, False)]


def test_only_the_end_of_a_long_file_is_read(path):
    old = line(task_kind="explain", success=False, error_type="truncated")
    with path.open("wb") as stream:
        stream.write(old)
        while stream.tell() < len(old) + (1 << 20):
            stream.write(line(agent_name="linter"))
        stream.write(line(task_kind="explain"))
    assert found(path) == [(HAIKU, False)]


def test_no_more_runs_are_told_than_anybody_needs(path):
    path.write_bytes(line(task_kind="explain") * 300)
    assert len(found(path)) == 200


def test_a_record_that_cannot_be_read_is_an_error(path):
    os.mkdir(path)
    with pytest.raises(OSError, match="directory"):
        found(path)
