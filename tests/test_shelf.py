"""The shelf of sealed JSON, and the SQLite file below it: a mapping that forgets what is used least."""

import json
import os
import pickle
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.stores.shelf import SealedShelf, SqliteMapping

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.fixture
def mapping(tmp_path):
    with SqliteMapping(tmp_path / "cache" / "values.db", max_bytes=1_000_000) as values:
        yield values


def on_disk(mapping):
    return sum(p.stat().st_size for p in mapping.path.parent.iterdir())


@given(KEYS, JSON)
def test_shelf_gives_back_what_it_was_given(key, value):
    shelf = SealedShelf({}, b"key")
    shelf[key] = value
    assert shelf[key] == shelf.get(key) == value
    assert key in shelf
    assert list(shelf) == [key]


@given(st.data())
def test_value_with_one_byte_changed_is_absent(data):
    values = {}
    shelf = SealedShelf(values, b"key")
    shelf["a"] = {"text": "answer"}
    place = data.draw(st.integers(0, len(values["a"]) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != values["a"][place]))
    values["a"] = values["a"][:place] + bytes([byte]) + values["a"][place + 1 :]
    assert shelf.get("a", "absent") == "absent"


@given(st.binary(max_size=200))
def test_value_that_nobody_sealed_is_absent(value):
    assert SealedShelf({"a": value}, b"key").get("a") is None


def test_value_moved_to_another_key_or_another_user_is_absent():
    values = {}
    SealedShelf(values, b"key")["a"] = "answer"
    values["b"] = values["a"]
    assert SealedShelf(values, b"key").get("b") is None
    assert SealedShelf(values, b"other").get("a") is None
    assert SealedShelf(values, lambda: b"key")["a"] == "answer"


def test_pickle_is_never_read(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    shelf = SealedShelf({"a": pickle.dumps(Trap())}, b"key")
    assert shelf.get("a") is None
    assert not (tmp_path / "sprung").exists()


def test_values_are_json_on_disk(mapping):
    with SealedShelf(mapping, b"key") as shelf:
        shelf["a"] = {"text": "ä"}
        assert json.loads(mapping["a"])["value"] == {"text": "ä"}


def test_shelf_can_be_used_again_after_it_was_closed_in_all_ways(mapping):
    shelf = SealedShelf(mapping, b"key")
    for use in (lambda: shelf["a"], lambda: list(shelf.items()), lambda: len(shelf), lambda: "a" in shelf, shelf.sync):
        shelf["a"] = 1
        shelf.close()
        assert not mapping.file.is_open
        assert use() in (1, [("a", 1)], True, None)
    shelf.close()
    shelf.clear()
    shelf.close()
    assert list(shelf) == []


def test_mapping_keeps_bytes_as_a_dictionary_does(mapping):
    mapping["a"], mapping["b"], mapping["c"] = b"1", b"\0\xff", b""
    mapping["a"] = b"2"
    del mapping["c"]
    assert dict(mapping) == {"a": b"2", "b": b"\0\xff"}
    assert len(mapping) == 2
    for absent in ("c", "d"):
        assert absent not in mapping
        with pytest.raises(KeyError):
            del mapping[absent]
    mapping.clear()
    assert list(mapping) == []


def test_mapping_opens_again_after_it_was_closed(mapping):
    mapping["a"] = b"1"
    mapping.close()
    assert mapping["a"] == b"1"


def test_files_stay_within_the_limit_and_the_least_used_goes_first(mapping):
    for number in range(250):
        mapping[str(number)] = os.urandom(5000)
        mapping.record("0", hit=True)
        assert on_disk(mapping) <= 1_000_000
    kept = [int(key) for key in mapping]
    assert kept[0] == 0
    assert kept[1:] == list(range(kept[1], 250))
    assert len(kept) > 100
    assert mapping.statistics() == (250, 0, 250 - len(kept))


def test_value_too_large_to_share_the_room_is_not_kept(mapping):
    mapping["small"] = b"1"
    mapping["large"] = bytes(130_000)
    assert list(mapping) == ["small"]
    mapping["fits"] = bytes(120_000)
    assert list(mapping) == ["small", "fits"]


def test_nothing_is_kept_where_there_is_no_room(tmp_path):
    with SqliteMapping(tmp_path / "values.db", max_bytes=0) as values:
        values["a"] = b"1"
        assert len(values) == 0


def test_lower_limit_makes_the_file_smaller(mapping):
    for number in range(150):
        mapping[str(number)] = os.urandom(5000)
    mapping.close()
    with SqliteMapping(mapping.path, max_bytes=400_000) as smaller:
        smaller.compact()
        assert smaller.size() == on_disk(mapping) <= 400_000
        assert "149" in smaller


def test_cleared_file_gives_its_room_back(mapping):
    for number in range(100):
        mapping[str(number)] = os.urandom(5000)
    mapping.clear()
    mapping.compact()
    mapping.close()
    assert mapping.size() < 50_000


def test_threads_take_turns(mapping):
    start, failures = threading.Barrier(8), []

    def work(name):
        start.wait()
        for number in range(25):
            mapping[f"{name}-{number}"] = f"{number}".encode()
            mapping.record(f"{name}-{number}", hit=True)
            if mapping[f"{name}-{number}"] != f"{number}".encode():
                failures.append((name, number))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(mapping) == 200
    assert mapping.statistics() == (200, 0, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_child_opens_the_file_for_itself(mapping):
    mapping["parent"] = b"1"
    if (child := os.fork()) == 0:
        mapping["child"] = mapping["parent"] + b"2"
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    mapping["again"] = b"3"
    assert dict(mapping) == {"parent": b"1", "child": b"12", "again": b"3"}


def test_file_that_another_process_has_set_aside_already_stays(mapping):
    mapping["a"] = b"1"
    with SqliteMapping(mapping.path, max_bytes=1_000_000) as other:
        assert other["a"] == b"1"
        aside = other.file.set_aside()
        other["b"] = b"2"
        assert mapping.file.set_aside() is None
        assert dict(mapping) == {"b": b"2"}
    assert aside.name.startswith("values.db.damaged-")
