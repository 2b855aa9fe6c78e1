"""Runs that nobody watches: locks between real processes, jitter, deadlines, and the alarm when a run fails."""

import io
import json
import os
import re
import signal
import sys
import threading
import time
from argparse import ArgumentParser
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.commands import scheduled
from claude_force.errors import ForceError, NotFound, TimedOut
from claude_force.files import locked
from claude_force.project.workspace import Workspace
from claude_force.records import Result
from claude_force.terminal.output import Screen

from .journalled import write
from .processes import started

DONE = Result({"run_id": "id"}, "done")
NOON = time.mktime((2026, 11, 22, 12, 0, 0, 0, 0, -1))
HOUR = 3600


@pytest.fixture
def place(project):
    """A project with an agent and two workflows, one of which never ends by itself."""
    write(project, "agents/echo.md", "---\nname: echo\ndescription: says\nmodel: haiku\n---\nYou echo.\n")
    write(
        project,
        "workflows/quick.toml",
        '[[steps]]\nid = "a"\nagent = "echo"\ntask = "{{task}} [[simulate: tokens=5]]"\n',
    )
    write(project, "workflows/slow.toml", '[[steps]]\nid = "a"\nagent = "echo"\ntask = "[[simulate: hang]]"\n')
    return project


@pytest.fixture
def said(tmp_path):
    """What stderr is: a file, which other programs can write to as well."""
    with open(tmp_path / "said", "w+", encoding="utf-8") as stream:
        yield stream


def text_of(stream):
    stream.seek(0)
    return stream.read()


@pytest.fixture
def unattended(place, said):
    """Carry out a command as `run workflow quick` with options, in this process."""

    def call(command, *words):
        parser = ArgumentParser()
        scheduled.options(parser)
        scheduled.lock_option(parser)
        parser.add_argument("--timeout", type=float)
        parser.add_argument("--dry-run", action="store_true")
        parser.set_defaults(command="run workflow", name="quick")
        screen = Screen(stdout=io.StringIO(), stderr=said)
        screen.verbose = 1
        with Workspace(screen=screen) as workspace:
            return scheduled.unattended(command)(parser.parse_args(words), workspace)

    return call


def ended(*words):
    with started(*words) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_nothing_is_changed_for_a_run_without_these_options(unattended):
    seen = []
    assert unattended(lambda args, _: seen.append(args.timeout) or DONE) is DONE
    assert seen == [None]


# The lock


def test_a_workflow_that_is_running_is_skipped_quietly_with_75(place, simulator):
    with started("run", "workflow", "slow", "--lock", "skip", "-q"):
        simulator.wait_for(1, timeout=30)
        status, out, err = ended("run", "workflow", "slow", "--lock", "skip")
        assert (status, out) == (75, "")
        assert re.fullmatch(r"workflow 'slow' is running already, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d: skipped\n", err)
        assert ended("run", "workflow", "slow", "--lock", "skip", "-q") == (75, "", "")
        result = json.loads(ended("run", "workflow", "slow", "--lock", "skip", "-q", "--json")[1])
        assert (result["success"], result["skipped"], result["error"]["type"]) == (False, True, "busy")
        assert result["error"]["retryable"] is True
        assert len(simulator.requests) == 1
        assert ended("run", "workflow", "quick", "x", "--lock", "skip", "-q")[0] == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_of_a_holder_that_is_gone_is_free(place, simulator, how):
    with started("run", "workflow", "slow", "--lock", "skip", "-q") as holder:
        simulator.wait_for(1, timeout=30)
        holder.send_signal(how)
        holder.communicate(timeout=30)
    write(place, "workflows/slow.toml", '[[steps]]\nid = "a"\nagent = "echo"\ntask = "x"\n')
    assert ended("run", "workflow", "slow", "--lock", "skip", "-q")[0] == 0


def test_who_waits_begins_when_the_holder_ends(place, simulator):
    with started("run", "workflow", "slow", "--lock", "skip", "-q") as holder:
        simulator.wait_for(1, timeout=30)
        with started("run", "workflow", "slow", "--lock", "wait") as waiting:
            assert "is running already" in waiting.stderr.readline()
            assert len(simulator.requests) == 1
            holder.kill()
            simulator.wait_for(2, timeout=30)
            waiting.send_signal(signal.SIGTERM)
            waiting.communicate(timeout=30)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_for_a_lock(place, simulator, how):
    with locked_by_us(place, "quick"), started("run", "workflow", "quick", "x", "--lock", "wait") as waiting:
        assert "waiting" in waiting.stderr.readline()
        waiting.send_signal(how)
        assert waiting.communicate(timeout=30)[1] == "claude-force: error: interrupted\n"
    assert waiting.returncode == 130


@contextmanager
def locked_by_us(place, workflow):
    path = scheduled.lock_file(place / ".claude", workflow)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with locked(path) as mine:
        assert mine
        yield path


def test_the_wait_for_a_lock_ends_with_the_time_limit(place, unattended, said):
    with locked_by_us(place, "quick"), pytest.raises(TimedOut) as late:
        unattended(lambda *_: DONE, "--lock", "wait", "--timeout", "0.3")
    assert late.value.exit_code == 124
    assert "while another process was running 'quick'" in late.value.message
    assert text_of(said).count("waiting for it to end") == 1


def test_what_is_left_of_the_time_limit_after_the_wait_is_the_runs(place, unattended):
    seen = []
    unattended(lambda args, _: seen.append(args.timeout) or DONE, "--lock", "wait", "--timeout", "60")
    assert 0 < seen[0] <= 60


def test_one_look_of_status_at_the_lock_skips_no_run(place, unattended):
    """The holder is gone before the second look."""
    opened, free = threading.Event(), threading.Event()

    def look():
        with locked_by_us(place, "quick"):
            opened.set()
            free.wait(20)

    looking = threading.Thread(target=look)
    looking.start()
    opened.wait(20)

    def pause(seconds):
        free.set()
        looking.join(20)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduled, "_pause", pause)
        assert unattended(lambda *_: DONE, "--lock", "skip") is DONE


def test_a_workflow_is_locked_under_its_own_name_however_it_is_spelled(place, unattended):
    write(place, "workflows/Night Run.toml", '[[steps]]\nid = "a"\nagent = "echo"\ntask = "x"\n')
    with locked_by_us(place, "Night Run"), Workspace(screen=Screen(stderr=io.StringIO())) as workspace:
        assert scheduled.is_running(workspace.state, workspace.workflow("night-run").name) is not None
    assert ended("run", "workflow", "nihgt", "--lock", "skip")[0] == NotFound.exit_code


def test_a_lock_that_cannot_be_had_is_no_reason_to_run_without(place, unattended):
    (place / ".claude" / "locks").write_text("a file in the way")
    ran = []
    with pytest.raises(ForceError, match=r"cannot lock .*quick\.lock"):
        unattended(lambda *_: ran.append(1), "--lock", "skip")
    assert not ran


def test_locks_are_private_and_tell_since_when(place, unattended):
    before = time.time()

    def command(args, workspace):
        path = scheduled.lock_file(workspace.state, "quick")
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert before - 2 < scheduled.is_running(workspace.state, "quick") <= time.time() + 2
        return DONE

    scheduled.lock_file(place / ".claude", "quick").parent.mkdir(mode=0o700)
    scheduled.lock_file(place / ".claude", "quick").touch(mode=0o600)
    os.utime(scheduled.lock_file(place / ".claude", "quick"), (0, 0))
    assert unattended(command, "--lock", "skip") is DONE
    assert scheduled.is_running(place / ".claude", "quick") is None
    assert scheduled.is_running(place / ".claude", "none") is None


@given(st.text(max_size=300), st.text(max_size=300))
def test_every_name_has_a_lock_file_of_its_own_that_a_disk_can_hold(tmp_path_factory, one, other):
    state = tmp_path_factory.getbasetemp()
    path = scheduled.lock_file(state, one)
    assert path.parent == state / "locks"
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,250}\.lock", path.name)
    assert (path == scheduled.lock_file(state, other)) == (one == other)


# Jitter


def test_jitter_is_waited_for_and_told_when_asked(unattended, said):
    assert unattended(lambda *_: DONE, "--jitter", "0.01") is DONE
    assert re.fullmatch(r"starting in \d+ ms\n", text_of(said))


def test_a_signal_ends_the_jitter(place, simulator):
    with started("run", "agent", "echo", "x", "--jitter", "1000000000", "-v") as process:
        assert "starting in" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30) == ("", "claude-force: error: interrupted\n")
    assert process.returncode == 130
    assert not simulator.requests


def test_jitter_that_reaches_beyond_the_deadline_ends_it_at_once(unattended):
    in_an_hour = time.strftime("%H:%M", time.localtime(time.time() + HOUR))
    with pytest.raises(TimedOut, match="before the run began"):
        unattended(lambda *_: DONE, "--jitter", "8000000000", "--deadline", in_an_hour)


def test_a_dry_run_waits_for_nothing(place, unattended):
    with locked_by_us(place, "quick"):
        assert unattended(lambda *_: DONE, "--jitter", "1000000000", "--lock", "wait", "--dry-run") is DONE


# The deadline


@pytest.mark.parametrize(
    ("clock", "hours"),
    [("12:01", 1 / 60), ("17:30", 5.5), ("23:59", 12 - 1 / 60), ("0:00", 12), ("05:59", 18 - 1 / 60)],
)
def test_a_deadline_is_the_next_time_that_the_clock_shows_it(clock, hours):
    assert scheduled.seconds_until(clock, NOON) == pytest.approx(hours * HOUR)


@pytest.mark.parametrize("clock", ["12:00", "11:59", "06:00"])
def test_a_deadline_that_has_just_passed_is_not_meant_for_tomorrow(clock):
    assert scheduled.seconds_until(clock, NOON) == 0


@given(st.integers(0, 23), st.integers(0, 59), st.integers(0, 366 * 24 * HOUR))
def test_a_deadline_is_never_more_than_a_day_ahead_and_the_clock_shows_it_then(hour, minute, later):
    now = NOON + later
    if left := scheduled.seconds_until(f"{hour}:{minute:02}", now):
        assert 0 < left <= 24 * HOUR - scheduled.TOO_LATE_SECONDS + 2 * HOUR
        assert time.localtime(now + left)[3:6] == (hour, minute, 0)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata"])
def test_a_deadline_holds_where_clocks_are_changed(monkeypatch, zone):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        evening = time.mktime((2026, 10, 24, 22, 0, 0, 0, 0, -1))
        hours = 9 if zone == "Europe/Berlin" else 8
        assert scheduled.seconds_until("06:00", evening) == hours * HOUR
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_earlier_of_deadline_and_time_limit_counts(unattended):
    in_two_hours = time.strftime("%H:%M", time.localtime(time.time() + 2 * HOUR))
    seen = []
    for words in (["--timeout", "60"], [], ["--timeout", "1e6"]):
        unattended(lambda args, _: seen.append(args.timeout) or DONE, "--deadline", in_two_hours, *words)
    assert seen[0] <= 60
    assert all(1.9 * HOUR < left <= 2 * HOUR for left in seen[1:])


def test_a_run_past_its_deadline_sends_nothing_and_ends_with_124(place, simulator):
    now = time.strftime("%H:%M", time.localtime())
    status, out, err = ended("run", "workflow", "quick", "x", "--deadline", now)
    assert (status, out, len(simulator.requests)) == (124, "", 0)
    assert err.startswith(f"claude-force: error: it is past the deadline, {now}; it counts as missed for 6 hours")


def test_a_time_limit_that_passes_while_waiting_leaves_no_run(unattended):
    with pytest.raises(TimedOut, match="before the run began"):
        unattended(lambda *_: DONE, "--timeout", "1e-9")


@pytest.mark.parametrize("text", ["24:00", "7:60", "noon", "12", "-1:00", "1:2", "٣:٣٣"])
def test_what_is_no_time_of_day_is_refused(unattended, text):
    with pytest.raises(SystemExit):
        unattended(lambda *_: DONE, "--deadline", text)


# The alarm


def alarm(place):
    return f"env > {place}/told; echo out; echo err >&2"


def told(place):
    lines = (place / "told").read_text().splitlines()
    return dict(line.removeprefix("CLAUDE_FORCE_").split("=", 1) for line in lines if line.startswith("CLAUDE_FORCE_"))


def test_a_run_that_fails_is_told_to_the_users_command_and_keeps_its_status(place, simulator):
    task = "[[simulate: status=400]] $(touch hacked) `touch hacked`"
    status, out, err = ended("run", "workflow", "quick", task, "--on-fail", alarm(place), "-q")
    assert (status, out) == (1, "")
    facts = told(place)
    assert (facts["WORKFLOW"], facts["AGENT"], facts["EXIT_CODE"]) == ("quick", "", "1")
    assert re.fullmatch(r"\d{8}-\d{9}-[0-9a-f]{6}", facts["RUN_ID"])
    assert facts["ERROR"].startswith("step 'a': ")
    assert err.splitlines()[:2] == ["out", "err"]
    assert not (place / "hacked").exists()


def test_a_single_agent_is_told_by_its_own_name(place, simulator):
    assert ended("run", "agent", "echo", "[[simulate: status=529]]", "--on-fail", alarm(place), "-q")[0] == 75
    facts = told(place)
    assert (facts["WORKFLOW"], facts["AGENT"], facts["EXIT_CODE"]) == ("", "echo", "75")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("none",), 2),
        (("quick", "x", "--frozen"), 2),
        (("slow", "--timeout", "0.2"), 124),
        (("slow", "--input", "x"), 2),
        (("--resume", "nosuch"), 2),
        ((), 2),
    ],
)
def test_a_run_that_could_not_even_begin_has_failed_too(place, simulator, words, status):
    assert ended("run", "workflow", *words, "--on-fail", alarm(place), "-q")[0] == status
    assert told(place)["EXIT_CODE"] == str(status)


def test_a_success_an_interruption_and_a_skipped_run_raise_no_alarm(place, simulator):
    assert ended("run", "workflow", "quick", "x", "--on-fail", alarm(place), "-q")[0] == 0
    with locked_by_us(place, "quick"):
        assert ended("run", "workflow", "quick", "x", "--lock", "skip", "--on-fail", alarm(place), "-q")[0] == 75
    for words in (("workflow", "slow"), ("agent", "echo", "[[simulate: hang]]")):
        sent = len(simulator.requests)
        with started("run", *words, "--on-fail", alarm(place), "-q") as process:
            simulator.wait_for(sent + 1, timeout=30)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
        assert process.returncode == 130
    assert not (place / "told").exists()


def test_the_lock_is_free_when_the_alarm_is_raised(place, simulator):
    again = f"{sys.executable} -m claude_force run workflow quick x --lock skip -q && touch {place}/ran"
    words = ("quick", "[[simulate: status=400]]", "--lock", "skip", "--on-fail", again, "-q")
    assert ended("run", "workflow", *words)[0] == 1
    assert (place / "ran").exists()


def test_an_alarm_that_fails_is_warned_of_and_changes_nothing(place, simulator):
    words = ("run", "workflow", "quick", "[[simulate: status=400]]", "-q", "--on-fail")
    status, out, err = ended(*words, "exit 7")
    assert (status, out) == (1, "")
    assert err.startswith("claude-force: warning: --on-fail ended with status 7\nclaude-force: error: ")


def test_an_alarm_that_cannot_even_begin_is_warned_of(place, unattended, said):
    failed = Result({"run_id": "id"}, error=ForceError("failed"), exit_code=1)
    assert unattended(lambda *_: failed, "--on-fail", "x" * (1 << 18)) is failed
    assert text_of(said).startswith("claude-force: warning: --on-fail could not be carried out: ")


def test_a_defect_is_an_alarm_too(place, unattended):
    def defect(args, workspace):
        raise ZeroDivisionError("by \0zero\n\udcff " + "x" * 10_000)

    with pytest.raises(ZeroDivisionError):
        unattended(defect, "--on-fail", alarm(place))
    assert told(place)["EXIT_CODE"] == "1"
    assert told(place)["ERROR"].startswith("ZeroDivisionError: by zero ")


def test_a_projects_file_cannot_name_a_command(place, simulator):
    write(place, "claude.json", json.dumps({"on_fail": alarm(place), "performance": {"on_fail": alarm(place)}}))
    _, _, err = ended("run", "workflow", "quick", "[[simulate: status=400]]", "-q")
    assert err.count("on_fail: unknown key, ignored") == 2
    assert not (place / "told").exists()
