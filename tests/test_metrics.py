import json
import os
import subprocess
import sys
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.errors import TryLater
from claude_force.records import Outcome, Usage
from claude_force.stores import metrics as module
from claude_force.stores.metrics import TOO_LONG, Metrics, is_finished, line, pieces, records
from claude_force.stores.tally import Tally

from .executions import of

USAGE = Usage(input_tokens=10, output_tokens=5, cache_creation_input_tokens=3, cache_read_input_tokens=2)
OUTCOME = Outcome(
    "check", "reviewer", "ok", "secret answer", "claude-haiku-5-5", "end_turn", USAGE, 1_234_567, 0, 1.0, 3.5, 2
)
RUN = {"workflow": "quality", "run_id": "20261122-1", "task_hash": "0123abcd", "price_version": "2026-11-22"}


def written(store):
    return [json.loads(text) for text in store.path.read_bytes().split(b"\n") if text]


def test_a_line_has_the_fields_of_the_contract_and_no_word_of_task_or_answer():
    found = line(OUTCOME, **RUN, timestamp=1_795_320_000.25)

    assert found == {
        "timestamp": "2026-11-22T04:00:00.250Z",
        "agent_name": "reviewer",
        "task_hash": "0123abcd",
        "success": True,
        "execution_time_ms": 2500,
        "model": "claude-haiku-5-5",
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 20,
        "estimated_cost": 0.001234567,
        "workflow_id": "quality",
        "run_id": "20261122-1",
        "step": "check",
        "cache_read_input_tokens": 2,
        "cache_creation_input_tokens": 3,
        "stop_reason": "end_turn",
        "attempts": 2,
        "price_version": "2026-11-22",
    }


def test_a_failure_names_its_type_and_a_cached_answer_what_it_saved():
    failed = line(Outcome("s", "a", "failed", error=TryLater("no"), cost=None), **{**RUN, "workflow": None})
    cached = line(Outcome("s", "a", "cached", cost=0, saved=2_000_000_001), **RUN)

    assert (failed["success"], failed["error_type"], failed["estimated_cost"]) == (False, "try_later", None)
    assert "step" not in failed
    assert (cached["cached"], cached["estimated_cost"], cached["saved_cost"]) == (True, 0.0, 2.000000001)


@given(st.integers(0, 10**15))
def test_money_comes_back_to_the_nanodollar(nanodollars):
    outcome = Outcome("s", "a", "ok", cost=nanodollars)
    text = json.dumps(line(outcome, **RUN, timestamp=0.0)).encode()
    tally = Tally()

    assert tally.add(next(records([text])))
    (day,) = tally.days().values()
    assert of(day.total())["cost"] == nanodollars


def test_lines_are_appended_one_by_one_privately_and_the_directory_is_made(tmp_path):
    store = Metrics(tmp_path / "state" / "metrics")
    for number in range(3):
        store.append({"n": number})

    assert written(store) == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert store.path.stat().st_mode & 0o777 == 0o600
    assert store.path.parent.stat().st_mode & 0o777 == 0o700


def test_after_an_unfinished_line_the_next_one_begins_on_its_own(tmp_path):
    store = Metrics(tmp_path)
    store.path.write_bytes(b'{"cut": ')
    store.append({"n": 1})

    assert store.path.read_bytes() == b'{"cut": \n{"n": 1}\n'


@pytest.mark.parametrize("torn", [b'{"cut": ', b'{"n": 5}', b'{"n": 5}\n', b"\n"])
def test_a_line_that_another_process_leaves_just_before_ours_does_not_spoil_it(tmp_path, monkeypatch, torn):
    left = [torn]

    def looked(descriptor, size):
        found = is_finished(descriptor, size)
        if left:
            with (tmp_path / "executions.jsonl").open("ab") as stream:
                stream.write(left.pop())
        return found

    monkeypatch.setattr(module, "is_finished", looked)
    Metrics(tmp_path).append({"n": 1})
    lines = (tmp_path / "executions.jsonl").read_bytes().split(b"\n")
    assert not left
    assert [found for found in records(filter(None, lines)) if found in ({"n": 1}, {"n": 5})][-1] == {"n": 1}
    assert lines.count(b'{"n": 1}') == 1


def test_keys_tokens_and_passwords_do_not_reach_the_disk(tmp_path):
    secrets = ["sk-ant-api03-abcdefghijklmnop", "ghp_0123456789abcdefghijklmnopqrstuv", "hunter2hunter2"]
    store = Metrics(tmp_path)
    store.append({"agent_name": secrets[0], "step": f"use {secrets[1]}", "model": f"http://me:{secrets[2]}@host/"})

    text = store.path.read_text()
    assert not [secret for secret in secrets if secret in text]
    assert "redacted" in text


def test_lines_of_many_processes_do_not_mix(tmp_path):
    code = (
        "import sys; from pathlib import Path; from claude_force.stores.metrics import Metrics\n"
        "for n in range(50): Metrics(Path(sys.argv[1])).append({'who': sys.argv[2], 'n': n, 'pad': 'x' * 5000})"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, tmp_path, str(who)]) for who in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4

    found = written(Metrics(tmp_path))
    assert sorted((entry["who"], entry["n"]) for entry in found) == sorted(
        (str(w), n) for w in range(4) for n in range(50)
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_told(tmp_path):
    store = Metrics(tmp_path)
    store.path.symlink_to("/dev/full")

    with pytest.raises(OSError, match="No space"):
        store.append({"n": 1})


@given(st.lists(st.binary(max_size=30).filter(lambda text: b"\n" not in text)), st.booleans(), st.integers(0, 40))
def test_a_file_is_read_line_by_line_from_any_line_on(lines, whole, skipped):
    data = b"\n".join(lines)
    start = len(b"".join(text + b"\n" for text in lines[:skipped]))
    complete = lines[skipped:] if whole else lines[skipped:-1]
    found = [text for _, part in pieces(BytesIO(data), min(start, len(data)), len(data), whole=whole) for text in part]

    assert found == [text for text in complete if text]


def test_lines_longer_than_a_piece_are_read_whole(tmp_path):
    path = tmp_path / "long"
    lines = [b"x" * size for size in (3, 70_000, 5, 400_000, 1)]
    path.write_bytes(b"\n".join(lines) + b"\n")
    with path.open("rb") as stream:
        read = list(pieces(stream, 0, path.stat().st_size))

    assert [text for _, part in read for text in part] == lines
    assert read[-1][0] == path.stat().st_size


@given(
    st.lists(st.sampled_from([0, 1, 7, 39, 40, 41, 80, 81, 500])),
    st.integers(1, 40),
    st.booleans(),
    st.integers(0, 8),
)
def test_a_line_that_is_too_long_is_passed_over_wherever_one_begins(sizes, piece, whole, skipped):
    lines = [b"x" * size for size in sizes]
    data = b"\n".join(lines)
    start = min(len(b"".join(text + b"\n" for text in lines[:skipped])), len(data))
    complete = lines[skipped:] if whole else lines[skipped:-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE", piece)
        patch.setattr(module, "LONGEST", 40)
        read = list(pieces(BytesIO(data), start, len(data), whole=whole))

    assert [text for _, part in read for text in part] == [
        text if len(text) <= 40 else TOO_LONG for text in complete if text
    ]
    for before, (end, part) in zip([start, *(end for end, _ in read)], read, strict=False):
        if part == [TOO_LONG]:
            assert len(data[before:end].rstrip(b"\n")) > 40
            assert b"\n" not in data[before : end - 1]


DAMAGED = [b"", b"null", b"[1]", b'{"a": 1', b'{"a": 1} {', b'{"a": NaN}', b"\xff", b'{"a": "\n"}', b"[" * 100_000]


@pytest.mark.parametrize("text", DAMAGED, ids=[repr(text[:12]) for text in DAMAGED])
def test_a_line_that_holds_no_object_is_damaged(text):
    assert list(records([text, b'{"a": 1} ', text])) == [None, {"a": 1}, None]


GOOD = {"timestamp": "2026-11-22T04:00:00.000Z", "agent_name": "a", "success": True, "execution_time_ms": 1}
BAD = [
    {"timestamp": "yesterday"},
    {"timestamp": ""},
    {"timestamp": 5},
    {"timestamp": "0001-01-01T00:00:00+09:00"},
    {"agent_name": ["a"]},
    {"agent_name": 7},
    {"model": 7},
    {"success": "yes"},
    {"success": None},
    {"success": 2},
    {"execution_time_ms": "long"},
    {"execution_time_ms": -1},
    {"input_tokens": 1.5},
    {"total_tokens": 2**63},
    {"total_tokens": 2**64},
    {"input_tokens": 2**62},
    {"execution_time_ms": 2**63},
    {"execution_time_ms": 1e400},
    {"estimated_cost": 18_000_000_000.0},
    {"cached": True, "saved_cost": 18_000_000_000.0},
    {"timestamp": "0001-01-01T05:00:00Z"},
    {"timestamp": "9999-12-31T05:00:00.000Z"},
    {"estimated_cost": -0.5},
    {"estimated_cost": "free"},
    {"estimated_cost": 1e999},
    {"cached": True, "saved_cost": "much"},
]


@pytest.mark.parametrize("change", BAD, ids=repr)
def test_an_object_that_is_no_line_of_ours_is_not_counted(change):
    tally = Tally()

    assert not tally.add(GOOD | change)
    assert not tally.days()


def test_lines_of_other_programs_may_lack_counts_name_zones_and_give_fractions():
    tally = Tally()
    assert tally.add({"timestamp": "2026-11-22T01:30:00+02:00", "agent_name": "a", "success": False})
    assert tally.add({**GOOD, "timestamp": "2026-11-21T23:10:00", "execution_time_ms": 12.7, "model": None})
    days = tally.days()

    assert list(days) == ["2026-11-21"]
    assert list(days["2026-11-21"].hours) == ["2026-11-21T23"]
    (cell,) = days["2026-11-21"].cells.values()
    assert cell.errors == {"unknown": 1}
    assert cell.latencies == {0: 1, 13: 1}


def test_appending_does_not_load_what_only_readers_need():
    code = "import claude_force.stores.metrics, sys; print(*(name for name in sys.modules if '.stores.' in name))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert found == "claude_force.stores.metrics\n"
