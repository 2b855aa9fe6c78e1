"""The user's key: made once, whoever comes first, and never shared."""

import os
import stat
import threading

import pytest

from claude_force.secret import user_secret

from .test_sqlite import together


def test_key_is_made_on_first_need_and_stays(tmp_path):
    home = tmp_path / "not" / "there"
    key = user_secret(home)
    assert len(key) == 32
    assert user_secret(home) == key
    assert user_secret(tmp_path / "other") != key


def test_key_is_readable_by_its_owner_only(tmp_path):
    user_secret(tmp_path / "home")
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700
    assert {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "home").iterdir()} == {"cache.key": 0o600}


def test_key_that_others_can_read_is_refused(tmp_path):
    user_secret(tmp_path)
    (tmp_path / "cache.key").chmod(0o640)
    with pytest.raises(PermissionError, match="others can read it"):
        user_secret(tmp_path)


@pytest.mark.parametrize("rest", [b"", b"cut short", b"x" * 33])
def test_key_cut_short_by_a_crash_is_made_anew(tmp_path, rest):
    file = tmp_path / "cache.key"
    file.write_bytes(rest)
    file.chmod(0o600)
    key = user_secret(tmp_path)
    assert len(key) == 32
    assert user_secret(tmp_path) == key


def test_directory_in_place_of_the_key_is_an_os_error(tmp_path):
    (tmp_path / "cache.key").mkdir()
    with pytest.raises(OSError, match="directory"):
        user_secret(tmp_path)


MAKE = """
import sys
from pathlib import Path
from claude_force.secret import user_secret
print("ready", flush=True)
sys.stdin.readline()
print(user_secret(Path(sys.argv[1])).hex())
"""


def test_processes_that_make_it_at_once_end_with_the_same_key(tmp_path):
    answers = together(MAKE, tmp_path, 8)
    assert {errors for _, errors in answers} == {""}
    assert {made for made, _ in answers} == {f"{(tmp_path / 'cache.key').read_bytes().hex()}\n"}


def test_threads_that_make_it_at_once_end_with_the_same_key(tmp_path):
    start, keys = threading.Barrier(8), []

    def make():
        start.wait()
        keys.append(user_secret(tmp_path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert set(keys) == {(tmp_path / "cache.key").read_bytes()}
    assert os.listdir(tmp_path) == ["cache.key"]
