"""The record of executions for Python programs, on real files."""

import json

import pytest

from claude_force import PerformanceTracker
from claude_force.errors import UsageError

from .executions import DAY, NOW

EXECUTION = {"model": "claude-haiku-4-5", "input_tokens": 1_000_000, "output_tokens": 0}


@pytest.fixture
def tracker(tmp_path):
    return PerformanceTracker(tmp_path / "metrics", clock=lambda: NOW)


def test_what_is_recorded_is_summed_up_at_the_price_of_the_model(tracker):
    tracker.record("writer", "a poem", success=True, execution_time_ms=1200, **EXECUTION)
    tracker.record("writer", "a poem", success=False, execution_time_ms=800, error_type="overloaded", **EXECUTION)
    tracker.record("critic", "a poem", success=True, execution_time_ms=1.4)
    summary = tracker.summary()
    assert (summary["executions"], summary["successes"], summary["errors"]) == (3, 2, {"overloaded": 1})
    assert summary["total_cost"] == 2.0
    assert {row["agent"]: row["executions"] for row in tracker.by_agent()} == {"writer": 2, "critic": 1}
    assert tracker.costs(by="model")["rows"][0]["model"] == EXECUTION["model"]


def test_line_holds_no_task_and_what_the_command_line_reads(tracker):
    tracker.record("writer", "a secret poem", success=False, execution_time_ms=5, workflow_id="w")
    (line,) = (tracker.directory / "executions.jsonl").read_text().splitlines()
    told = json.loads(line)
    assert "poem" not in line
    assert (told["error_type"], told["workflow_id"], told["estimated_cost"]) == ("unknown", "w", None)


def test_only_the_last_days_count(tmp_path):
    now = NOW - 3 * DAY
    tracker = PerformanceTracker(tmp_path, clock=lambda: now)
    tracker.record("writer", "old", success=True, execution_time_ms=1)
    now = NOW
    tracker.record("writer", "new", success=True, execution_time_ms=1)
    assert (tracker.summary(days=1)["executions"], tracker.summary()["executions"]) == (1, 2)
    assert tracker.summary(days=10**400)["executions"] == 2


def test_a_grouping_that_there_is_not_is_refused_with_those_that_there_are(tracker):
    with pytest.raises(UsageError, match="bogus") as refused:
        tracker.costs("bogus")
    assert all(name in refused.value.hint for name in ("agent", "model", "workflow"))


def test_nothing_recorded_is_nothing_summed_up(tracker):
    assert tracker.summary()["executions"] == 0
    assert not tracker.directory.exists()


@pytest.mark.parametrize("odd", [{"execution_time_ms": -1}, {"execution_time_ms": 10**30}, {"input_tokens": -1}])
def test_what_could_not_be_read_back_is_not_recorded(tracker, odd):
    with pytest.raises(ValueError, match="no execution"):
        tracker.record("writer", "x", **{"success": True, "execution_time_ms": 1, **odd})
    assert not tracker.directory.exists()
