import time
from pathlib import Path

import pytest

from claude_force import run_ids


def test_ids_are_distinct_and_sort_by_time():
    ids = [run_ids.new() for _ in range(50)]
    assert len(set(ids)) == 50
    stamps = [i.rpartition("-")[0] for i in ids]
    assert stamps == sorted(stamps)
    assert all(Path(i).name == i for i in ids)


def test_an_id_tells_when_its_run_began():
    before = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    run_id = run_ids.new()
    after = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    assert run_ids.is_id(run_id)
    assert before <= run_ids.began(run_id) <= after
    assert run_ids.began("20261122-041530123-0a1b2c") == "2026-11-22T04:15:30"


@pytest.mark.parametrize(
    "text",
    ["", "last", "20261122", "20261122-041530123-0a1b2", "20261122-041530123-0A1B2C", " 20261122-041530123-0a1b2c"],
)
def test_what_is_no_id_tells_nothing(text):
    assert not run_ids.is_id(text)
    assert run_ids.began(text) == ""
