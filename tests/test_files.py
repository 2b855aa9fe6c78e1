import errno
import fcntl
import os
import random
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from claude_force.files import locked, private_directory, write_atomic


def start(code, *arguments):
    """Start a process that runs `code` with the names of this module; it is spoken to through its pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", f"{PREAMBLE}\n{code}", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


PREAMBLE = """
import contextlib, resource, sys
from pathlib import Path
from claude_force.files import locked, write_atomic
path = Path(sys.argv[1])

@contextlib.contextmanager
def disk_of(size):
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
"""


def finish(processes):
    """Let all processes come to their end, which must be a good one."""
    for process in processes:
        _, complaints = process.communicate(timeout=60)
        assert process.returncode == 0, complaints


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_directory_is_made_with_its_parents_for_the_owner_alone(tmp_path):
    path = tmp_path / "a" / "b"

    assert private_directory(path) == path
    assert [mode(part) for part in (path, path.parent)] == [0o700, 0o700]


def test_a_directory_that_is_there_is_left_as_it_is(tmp_path):
    path = tmp_path / "there"
    path.mkdir(mode=0o755)
    before = mode(path)

    private_directory(path / "new")

    assert mode(path) == before


def test_a_file_in_the_way_of_a_directory_is_an_error(tmp_path):
    (tmp_path / "file").write_text("x")

    with pytest.raises(FileExistsError):
        private_directory(tmp_path / "file")
    with pytest.raises(OSError, match="file"):
        private_directory(tmp_path / "file" / "below")


def test_many_may_make_one_directory_at_once(tmp_path):
    meeting = threading.Barrier(8)

    def make():
        for number in range(40):
            meeting.wait(timeout=30)
            private_directory(tmp_path / str(number) / "a" / "b" / "c")

    with ThreadPoolExecutor(8) as pool:
        for made in [pool.submit(make) for _ in range(8)]:
            made.result()

    assert all((tmp_path / str(number) / "a" / "b" / "c").is_dir() for number in range(40))


def test_a_file_is_written_for_the_owner_alone_and_nothing_else_is_left(tmp_path):
    write_atomic(tmp_path / "f", b"old")
    write_atomic(tmp_path / "f", b"new")

    assert (tmp_path / "f").read_bytes() == b"new"
    assert mode(tmp_path / "f") == 0o600
    assert os.listdir(tmp_path) == ["f"]


def test_a_file_can_be_given_another_mode(tmp_path):
    write_atomic(tmp_path / "f", b"", mode=0o400)

    assert mode(tmp_path / "f") == 0o400


def test_a_link_is_replaced_and_what_it_led_to_is_not_touched(tmp_path):
    (tmp_path / "target").write_bytes(b"mine")
    (tmp_path / "link").symlink_to("target")

    write_atomic(tmp_path / "link", b"new")

    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"mine"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()

    write_atomic(tmp_path / "pipe", b"data")

    reader.join(timeout=30)
    assert got == [b"data"]
    assert (tmp_path / "pipe").is_fifo()


def test_a_missing_directory_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "missing" / "f", b"")


def test_where_the_disk_takes_no_more_the_old_file_stays_and_nothing_is_left(tmp_path):
    (tmp_path / "f").write_bytes(b"old")
    code = """
with disk_of(1000):
    try:
        write_atomic(path, b"x" * 100_000)
    except OSError as error:
        print(error.errno)
"""
    process = start(code, tmp_path / "f")

    assert process.communicate()[0].split() == [str(errno.EFBIG)]
    assert (tmp_path / "f").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_reader_sees_the_old_or_the_new_even_if_the_writer_is_killed(tmp_path):
    contents = {b"a" * 300_000, b"b" * 200_000}
    code = """
old, new = b"a" * 300_000, b"b" * 200_000
while True:
    write_atomic(path, old)
    write_atomic(path, new)
    print(flush=True)
"""
    chance = random.Random(7)
    for _ in range(6):
        writer = start(code, tmp_path / "f")
        writer.stdout.readline()
        for _ in range(chance.randrange(1, 60)):
            assert (tmp_path / "f").read_bytes() in contents
        writer.kill()
        writer.communicate()
        assert (tmp_path / "f").read_bytes() in contents


def test_a_lock_keeps_every_other_process_out(tmp_path):
    (tmp_path / "count").write_text("0")
    code = """
count = path.with_name("count")
for _ in range(100):
    with locked(path) as held:
        assert held
        count.write_text(str(int(count.read_text()) + 1))
"""
    finish([start(code, tmp_path / "lock") for _ in range(5)])

    assert (tmp_path / "count").read_text() == "500"


HOLDER = """
with locked(path):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_lock_that_is_taken_is_not_waited_for_unless_asked(tmp_path):
    holder = start(HOLDER, tmp_path / "lock")
    holder.stdout.readline()

    with locked(tmp_path / "lock", wait=False) as held:
        assert held is False

    holder.communicate("end\n")
    with locked(tmp_path / "lock", wait=False) as held:
        assert held is True


def test_a_refused_lock_takes_nothing_from_its_holder(tmp_path):
    with locked(tmp_path / "lock"):
        with locked(tmp_path / "lock", wait=False) as second:
            assert second is False
        with locked(tmp_path / "lock", wait=False) as third:
            assert third is False


def test_a_lock_dies_with_its_holder_and_who_waits_gets_it(tmp_path):
    holder = start(HOLDER, tmp_path / "lock")
    holder.stdout.readline()
    code = "print('waiting', flush=True)\nwith locked(path) as held:\n    print(held)"
    waiter = start(code, tmp_path / "lock")
    waiter.stdout.readline()

    holder.kill()
    holder.communicate()

    assert waiter.communicate(timeout=60)[0] == "True\n"


def test_a_lock_survives_that_its_holder_opens_and_closes_the_file(tmp_path):
    with locked(tmp_path / "lock"):
        (tmp_path / "lock").read_bytes()
        with (tmp_path / "lock").open("rb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_lock_is_let_go_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock"):
        raise ZeroDivisionError

    with locked(tmp_path / "lock", wait=False) as held:
        assert held
