"""Who lives: a lock that dies with its process tells, whatever ids the system gives out again."""

import os
import stat
import subprocess
import sys

import pytest

from claude_force.stores.holders import Holder

HOLDING = """
import sys
from pathlib import Path
from claude_force.stores.holders import Holder
holder = Holder(Path(sys.argv[1]))
print(holder.id, flush=True)
sys.stdin.readline()
"""
BEREAVED = """
import os, sys
from pathlib import Path
from claude_force.stores.holders import Holder
holder = Holder(Path(sys.argv[1]))
told = holder.id
child = os.fork()
if child == 0:
    print(told, flush=True)
    sys.stdin.readline()
else:
    os._exit(0)
"""


MANY = """
import os, sys
from pathlib import Path
from claude_force.stores.holders import Holder
registered = []
register = os.register_at_fork
os.register_at_fork = lambda **hooks: (registered.append(hooks), register(**hooks))
holders = [Holder(Path(sys.argv[1])) for _ in range(3)]
for holder in holders * 2:
    holder.id
    holder.close()
holders[0].id
child = os.fork()
if child == 0:
    holders[0].id, holders[1].id
    print(len(registered), flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "state" / "holders"


def started(script, directory):
    command = [sys.executable, "-c", script, str(directory)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_an_id_is_taken_on_first_need_and_given_up(directory):
    holder = Holder(directory)
    assert not holder.held
    assert not directory.exists()
    assert holder.id == holder.id
    (file,) = directory.iterdir()
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == (f"{holder.id}.holder", 0o600)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    first = holder.id
    holder.close()
    assert not holder.held
    assert list(directory.iterdir()) == []
    assert holder.id != first
    holder.close()


def test_another_holder_of_the_same_process_lives_too(directory):
    one, other = Holder(directory), Holder(directory)
    assert one.dead([one.id, other.id]) == set()
    gone = other.id
    other.close()
    assert one.dead([one.id, gone]) == {gone}
    one.close()


def test_looking_for_the_dead_where_nobody_ever_held_makes_nothing(directory):
    assert Holder(directory).dead(["0" * 16]) == {"0" * 16}
    assert not directory.exists()


def test_a_killed_process_is_dead_and_what_it_left_is_removed(directory):
    looking = Holder(directory)
    with started(HOLDING, directory) as process, started(HOLDING, directory) as living:
        killed, other = process.stdout.readline().strip(), living.stdout.readline().strip()
        assert looking.dead([killed, other]) == set()
        process.kill()
        process.wait()
        assert looking.dead([killed, other]) == {killed}
        assert [p.name for p in directory.iterdir()] == [f"{other}.holder"]
        living.communicate("\n")
    assert looking.dead([]) == set()
    assert list(directory.iterdir()) == []


def test_a_fork_does_not_keep_its_parent_alive(directory):
    with started(BEREAVED, directory) as process:
        told = process.stdout.readline().strip()
        process.wait()
        assert Holder(directory).dead([told]) == {told}
        process.stdin.close()
        process.stdout.read()  # until the fork has ended


def test_forks_are_prepared_for_once_in_a_process_however_many_ids_it_takes(directory):
    with started(MANY, directory) as process:
        assert process.stdout.read() == "1\n"


def test_a_fork_has_an_id_of_its_own_and_leaves_its_parents_file(directory):
    holder = Holder(directory)
    mine = holder.id
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        held = holder.held
        own = holder.id
        lives = holder.dead([mine]) == set()
        holder.close()
        os.write(writing, f"{held} {own != mine} {lives}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100) == b"False True True"
    os.close(reading)
    os.close(writing)
    assert holder.held
    assert [p.name for p in directory.iterdir()] == [f"{mine}.holder"]
    holder.close()


@pytest.mark.parametrize("name", ["../../precious", "precious", "", "0" * 15, "0" * 16 + "\n"])
def test_an_id_that_is_none_names_no_file(directory, name):
    directory.mkdir(parents=True)
    precious = [directory / "precious.holder", directory.parent.parent / "precious.holder"]
    for file in precious:
        file.write_text("kept")
    assert Holder(directory).dead([name]) == {name}
    assert [file.read_text() for file in precious] == ["kept", "kept"]


def test_a_link_in_the_place_of_a_file_is_not_followed(directory):
    directory.mkdir(parents=True)
    target = directory.parent / "target"
    (directory / f"{'a' * 16}.holder").symlink_to(target)
    assert Holder(directory).dead(["a" * 16]) == {"a" * 16}
    assert not target.exists()
