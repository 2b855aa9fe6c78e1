"""The ledger: nothing beyond a cap, by whatever threads, processes, kills, full disks and wrong clocks."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claude_force.errors import BudgetExceeded
from claude_force.stores.ledger import Hold, Ledger, Standing

DAY = 86_400
NOON = 1_795_348_800.0  # 2026-11-22 12:00 UTC
ALL = {"run": None, "daily": None, "monthly": None, "agent:writer": None}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "state.db"


@pytest.fixture
def clock():
    class Clock:
        now = NOON

        def __call__(self):
            return self.now

    return Clock()


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def ledger(path, clock, warnings):
    with Ledger(path, clock=clock, warn=warnings.append) as opened:
        yield opened


def reserve(ledger, amount, run_id="r", agent="writer", **caps):
    return ledger.reserve(amount, run_id=run_id, agent=agent, caps=caps)


def spend(ledger, amount, run_id="r", agent="writer", **caps):
    hold = reserve(ledger, amount, run_id, agent, **(caps or {"daily": 10**12}))
    ledger.settle(hold, amount)


def figures(ledger, scope="daily", run_id="r"):
    (standing,) = ledger.standing({scope: None}, run_id=run_id)
    return standing.spent, standing.uncertain, standing.reserved


def run(script, *words):
    """Run `script` in a process; what measures coverage would be stopped by the limits that it sets itself."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    command = [sys.executable, "-c", script, *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


# one process


def test_what_is_reserved_counts_until_it_is_settled(ledger):
    hold = reserve(ledger, 60, daily=100)
    assert isinstance(hold, Hold)
    assert figures(ledger) == (0, 0, 60)
    refused = reserve(ledger, 60, daily=100)
    assert (refused.scope, refused.limit, refused.reserved, refused.left) == ("daily", 100, 60, 40)
    ledger.settle(hold, 35)
    assert figures(ledger) == (35, 0, 0)
    assert isinstance(reserve(ledger, 65, daily=100), Hold)


def test_a_call_that_reaches_the_cap_exactly_is_let_through(ledger):
    spend(ledger, 100, daily=100)
    assert figures(ledger) == (100, 0, 0)
    assert isinstance(reserve(ledger, 1, daily=100), Standing)
    assert isinstance(reserve(ledger, 0, daily=0), Hold)
    assert isinstance(reserve(ledger, 1, run_id="other", run=0), Standing)


def test_what_is_uncertain_counts_as_spent_and_is_told(ledger):
    ledger.settle(reserve(ledger, 60, daily=100), 60, certain=False)
    ledger.note(5, run_id="r", agent="writer", certain=False)
    ledger.note(7, run_id="r", agent="writer")
    assert figures(ledger) == (72, 65, 0)


def test_every_scope_has_its_own_sum(ledger):
    spend(ledger, 1, run_id="a", agent="writer")
    spend(ledger, 20, run_id="b", agent="writer")
    spend(ledger, 300, run_id="b", agent="poet")
    ledger.note(4000, run_id="c", agent="poet")
    held = reserve(ledger, 50_000, run_id="b", agent="poet", run=10**9)
    expected = {"run": (320, 50_000), "daily": (4321, 50_000), "monthly": (4321, 50_000), "agent:writer": (21, 0)}
    found = ledger.standing(ALL, run_id="b")
    assert {s.scope: (s.spent, s.reserved) for s in found} == expected
    ledger.settle(held, 0)
    assert {s.scope: (s.spent, s.reserved) for s in ledger.standing({"agent:poet": 5000})} == {"agent:poet": (4300, 0)}


@pytest.mark.parametrize("scope", ["run", "daily", "monthly", "agent:writer"])
def test_the_first_cap_that_could_break_is_the_one_that_is_named(ledger, scope):
    spend(ledger, 10)
    refused = reserve(ledger, 91, **dict.fromkeys(ALL, 1000) | {scope: 100})
    assert (refused.scope, refused.spent, refused.left) == (scope, 10, 90)
    assert figures(ledger, scope) == (10, 0, 0)


def test_a_cap_on_one_agent_leaves_the_others(ledger):
    spend(ledger, 100, agent="writer")
    assert isinstance(reserve(ledger, 1, agent="writer", **{"agent:writer": 100}), Standing)
    assert isinstance(reserve(ledger, 1, agent="poet", **{"agent:poet": 100}), Hold)


def test_a_later_process_counts_what_an_earlier_one_of_the_run_spent(path, clock):
    with Ledger(path, clock=clock) as first:
        first.note(70, run_id="r", agent="writer")
    with Ledger(path, clock=clock) as second:
        assert isinstance(reserve(second, 31, run=100), Standing)
        assert isinstance(reserve(second, 30, run=100), Hold)


def test_what_was_never_settled_is_charged_as_uncertain_when_the_ledger_closes(path, clock):
    with Ledger(path, clock=clock) as ledger:
        reserve(ledger, 60, daily=100)
    with Ledger(path, clock=clock) as later:
        assert figures(later) == (60, 60, 0)


def test_what_a_ledger_charges_as_it_closes_is_known_by_its_step_and_in_every_ledger_alike(tmp_path, clock):
    for name in ("own", "users"):
        with Ledger(tmp_path / name / "state.db", clock=clock) as ledger:
            ledger.reserve(30, run_id="r", agent="writer", caps={"daily": 100}, step="draft", ref="c0ffee00")
    for name in ("own", "users"):
        with Ledger(tmp_path / name / "state.db", clock=clock) as ledger:
            (call,) = ledger.uncertain_calls()
            assert (call.ref, call.step, call.charged) == ("c0ffee00", "draft", 30)


def test_a_forged_charge_takes_nothing_away_from_what_is_certain(path, clock):
    altered(path, "INSERT INTO uncertain_calls VALUES ('bad', 'r', 's', 'writer', '2026-11-22', 1000000, NULL, NULL)")
    with Ledger(path, clock=clock) as ledger:
        assert ledger.correct("bad", 0) == 1
        assert figures(ledger) == (50, 0, 0)


def test_what_was_charged_without_certainty_is_known_call_by_call(path, clock):
    with Ledger(path, clock=clock) as ledger:
        held = ledger.reserve(60, run_id="r", agent="writer", caps={"daily": 100}, step="s", ref="0a1b2c3d")
        ledger.settle(held, 55, certain=False)
        ledger.note(7, run_id="q", agent="poet", step="t")
        ledger.note(5, run_id="q", agent="poet", step="t", certain=False)
        reserve(ledger, 20, daily=100)
    with Ledger(path, clock=clock) as later:
        told = [(c.run_id, c.step, c.agent, c.charged, c.settled) for c in later.uncertain_calls()]
        assert told == [("r", "s", "writer", 55, None), ("q", "t", "poet", 5, None), ("r", "", "writer", 20, None)]
        refs = [call.ref for call in later.uncertain_calls()]
        assert refs[0] == "0a1b2c3d"
        assert len(set(refs)) == 3


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 90), st.booleans(), st.integers(0, 90)), max_size=12))
@settings(max_examples=30)
def test_the_sums_are_those_of_the_true_figures_whatever_is_put_in(tmp_path_factory, calls):
    with Ledger(tmp_path_factory.mktemp("state") / "state.db", clock=lambda: NOON) as ledger:
        for number, (run_id, charged, _, _) in enumerate(calls):
            ledger.note(charged, run_id=run_id, agent="writer", certain=False, ref=str(number))
        for number, (_, charged, known, cost) in enumerate(calls):
            if known:
                assert ledger.correct(str(number), cost) == bool(charged)
                assert ledger.correct(str(number), 10**6) == 0
        for run_id in "ab":
            own = [call for call in calls if call[0] == run_id and call[1]]
            true = sum(cost if known else charged for _, charged, known, cost in own)
            still = sum(charged for _, charged, known, _ in own if not known)
            assert figures(ledger, "run", run_id) == (true, still, 0)
        for scope in ("daily", "monthly", "agent:writer"):
            parts = [figures(ledger, "run", run_id) for run_id in "ab"]
            assert figures(ledger, scope) == tuple(map(sum, zip(*parts, strict=True)))


def test_what_is_put_in_may_be_more_than_was_charged_and_closes_the_cap(ledger):
    ledger.settle(reserve(ledger, 60, daily=100), 60, certain=False)
    (call,) = ledger.uncertain_calls()
    assert ledger.correct(call.ref, 95) == 1
    assert isinstance(reserve(ledger, 6, daily=100), Standing)
    assert isinstance(reserve(ledger, 5, daily=100), Hold)


def test_uncertain_calls_of_earlier_months_no_longer_count(ledger, clock):
    ledger.note(5, run_id="r", agent="writer", certain=False)
    clock.now += 7 * DAY
    assert len(ledger.uncertain_calls()) == 1
    clock.now += 7 * DAY
    assert ledger.uncertain_calls() == []


def test_looking_for_uncertain_calls_makes_no_file(ledger, path):
    assert ledger.uncertain_calls() == []
    assert ledger.correct("0a1b2c3d", 0) == 0
    assert not path.parent.exists()


def test_a_ledger_from_before_there_were_uncertain_calls_is_brought_up_to_date(path, clock):
    altered(path, "DROP TABLE uncertain_calls")
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    with Ledger(path, clock=clock) as ledger:
        assert ledger.uncertain_calls() == []
        ledger.note(5, run_id="r", agent="writer", certain=False)
        assert figures(ledger) == (55, 5, 0)
        assert len(ledger.uncertain_calls()) == 1


@pytest.mark.parametrize(
    "row",
    [
        "'x', 'r', 's', 'writer', '2026-11-22', -1, NULL, NULL",
        "'x', 'r', 's', 'writer', '2026-11-22', 'much', NULL, NULL",
        "'x', 'r', 's', 'writer', 'next year', 1, NULL, NULL",
        "'x', x'00', 's', 'writer', '2026-11-22', 1, NULL, NULL",
    ],
)
def test_charges_that_no_ledger_writes_are_damage_and_change_no_sum(path, clock, row):
    altered(path, f"INSERT INTO uncertain_calls VALUES ({row})")
    with Ledger(path, clock=clock) as ledger:
        with pytest.raises(BudgetExceeded, match="no ledger writes"):
            ledger.uncertain_calls()
        with pytest.raises(BudgetExceeded, match="no ledger writes"):
            ledger.correct("x", 0)
        assert figures(ledger) == (50, 0, 0)


def test_looking_makes_no_file(ledger, path):
    (standing,) = ledger.standing({"daily": 5})
    assert (standing.spent, standing.left) == (0, 5)
    assert not path.parent.exists()


def test_it_opens_again_after_it_was_closed(ledger):
    ledger.warm()
    spend(ledger, 3)
    ledger.close()
    spend(ledger, 4)
    assert figures(ledger) == (7, 0, 0)


def test_amounts_beyond_64_bits_are_refused_or_kept_as_the_most_there_is(ledger, warnings):
    assert isinstance(reserve(ledger, 10**30, daily=10**17), Standing)
    for _ in range(9):
        ledger.note(10**30, run_id="r", agent="writer")
    assert figures(ledger) == (4 * 10**18, 0, 0)
    assert warnings == []


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), cap=st.integers(0, 3000))
def test_no_order_of_calls_spends_more_than_a_cap(tmp_path_factory, data, cap):
    """Calls begin and end in any order, on any agent and run; the sums are those of a plain count."""
    spent, open_holds, reserved = defaultdict(int), [], 0
    with Ledger(tmp_path_factory.mktemp("ledger") / "state.db", clock=lambda: NOON) as ledger:
        for _ in range(data.draw(st.integers(1, 25))):
            if open_holds and data.draw(st.booleans()):
                hold, worst, agent = open_holds.pop(data.draw(st.integers(0, len(open_holds) - 1)))
                cost = data.draw(st.integers(0, worst))
                ledger.settle(hold, cost, certain=data.draw(st.booleans()))
                reserved -= worst
                spent[agent] += cost
                continue
            worst, agent = data.draw(st.integers(0, 1000)), data.draw(st.sampled_from(["writer", "poet"]))
            found = reserve(ledger, worst, agent=agent, daily=cap)
            fits = sum(spent.values()) + reserved + worst <= cap
            assert isinstance(found, Hold) == fits
            if fits:
                open_holds.append((found, worst, agent))
                reserved += worst
        scopes = {"daily": sum(spent.values()), "agent:writer": spent["writer"], "agent:poet": spent["poet"]}
        assert {s.scope: s.spent for s in ledger.standing(dict.fromkeys(scopes))} == scopes
        assert figures(ledger)[2] == reserved
        assert scopes["daily"] <= cap


def test_threads_share_a_ledger(ledger):
    def calls(number):
        found = [reserve(ledger, 13, run_id=str(number), daily=400) for _ in range(20)]
        for hold in found:
            if isinstance(hold, Hold):
                ledger.settle(hold, 10)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(calls, range(8)))
    spent, _, reserved = figures(ledger)
    assert reserved == 0
    assert 260 <= spent <= 400


# days and clocks


def test_a_day_ends_at_midnight_utc_and_a_month_with_its_last_day(ledger, clock):
    clock.now = NOON + 8 * DAY  # November 30
    spend(ledger, 100)
    day, month, run_ = ledger.standing({"daily": 100, "monthly": 100, "run": 100}, run_id="r")
    assert (day.resets_at, month.resets_at, run_.resets_at) == (NOON + 8.5 * DAY, NOON + 8.5 * DAY, None)
    clock.now = day.resets_at
    assert figures(ledger) == (0, 0, 0)
    assert figures(ledger, "monthly") == (0, 0, 0)
    assert figures(ledger, "run") == (100, 0, 0)


def test_a_year_ends_too(ledger, clock):
    clock.now = NOON + 39 * DAY  # December 31
    spend(ledger, 100)
    day, month = ledger.standing({"daily": 100, "monthly": 100})
    assert (day.resets_at, month.resets_at) == (NOON + 39.5 * DAY, NOON + 39.5 * DAY)
    clock.now = NOON + 40 * DAY
    assert isinstance(reserve(ledger, 100, daily=100, monthly=100), Hold)


def test_a_call_that_ends_after_midnight_counts_on_the_day_on_which_it_was_sent(ledger, clock):
    hold = reserve(ledger, 60, daily=100)
    clock.now = NOON + DAY
    assert figures(ledger) == (0, 0, 0)
    ledger.settle(hold, 50)
    assert figures(ledger) == (0, 0, 0)
    clock.now = NOON
    assert figures(ledger) == (50, 0, 0)


@pytest.mark.parametrize("back", [60, DAY / 2 + 1, DAY, 7 * DAY, 30 * DAY])
def test_a_clock_that_is_set_back_opens_nothing(ledger, clock, back):
    spend(ledger, 90, daily=100, monthly=100)
    clock.now = NOON - back
    refused = reserve(ledger, 20, daily=100)
    assert (refused.scope, refused.spent, refused.resets_at) == ("daily", 90, NOON + DAY / 2)
    assert reserve(ledger, 20, monthly=100).spent == 90
    assert isinstance(reserve(ledger, 10, daily=100, monthly=100), Hold)


def test_whatever_the_clock_does_a_day_never_exceeds_its_cap(ledger, clock):
    for days in (0, 400, 0, -400, 0, 400, -400):
        clock.now = NOON + days * DAY
        hold = reserve(ledger, 60, daily=100)
        if isinstance(hold, Hold):
            ledger.settle(hold, 60)
    for days in (0, 400, -400):
        clock.now = NOON + days * DAY
        assert figures(ledger) == (60, 0, 0)


def test_a_clock_that_was_years_ahead_does_not_close_the_present(ledger, clock):
    clock.now = NOON + 1000 * DAY
    spend(ledger, 100, daily=100)
    clock.now = NOON
    assert isinstance(reserve(ledger, 100, daily=100), Hold)


# many processes

SPENDING = """
import os, sys
from pathlib import Path
from claude_force.stores.ledger import Hold, Ledger
path, calls, cap, worst, cost = Path(sys.argv[1]), *map(int, sys.argv[2:])
with Ledger(path, warn=print) as ledger:
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(calls):
        hold = ledger.reserve(worst, run_id=str(os.getpid()), agent="writer", caps={"daily": cap})
        if isinstance(hold, Hold):
            path.with_name(f"{os.getpid()}-{hold.id}").write_text("the call")
            ledger.settle(hold, cost)
            print("spent")
"""


def together(path, processes, *, calls, cap, worst, cost):
    command = [sys.executable, "-c", SPENDING, *map(str, (path, calls, cap, worst, cost))]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    started = [subprocess.Popen(command, text=True, **pipes) for _ in range(processes)]
    for process in started:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=120) for process in started]
    assert {stderr for _, stderr in ended} == {""}
    lines = [line for stdout, _ in ended for line in stdout.splitlines()]
    assert set(lines) <= {"spent"}
    return len(lines)


def test_sixteen_processes_use_a_cap_up_and_never_exceed_it(path):
    calls = together(path, 16, calls=20, cap=4000, worst=130, cost=100)
    with Ledger(path) as ledger:
        assert figures(ledger) == (calls * 100, 0, 0)
    assert 3600 <= calls * 100 <= 4000
    assert os.listdir(path.parent / "holders") == []


def test_sixty_four_processes_at_once_all_get_their_turn(path):
    assert together(path, 64, calls=3, cap=10**9, worst=7, cost=5) == 64 * 3
    with Ledger(path) as ledger:
        assert figures(ledger) == (64 * 3 * 5, 0, 0)


HOLDING = """
import sys
from claude_force.stores.ledger import Ledger
ledger = Ledger(sys.argv[1])
ledger.settle(ledger.reserve(10, run_id="r", agent="writer", caps={"daily": 100}), 10)
print(ledger.reserve(90, run_id="r", agent="writer", caps={"daily": 100}).id, flush=True)
sys.stdin.readline()
"""


def test_what_a_killed_process_held_is_released_and_what_it_settled_is_not(path):
    with (
        Ledger(path) as ledger,
        subprocess.Popen(
            [sys.executable, "-c", HOLDING, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        process.stdout.readline()
        refused = reserve(ledger, 50, daily=100)
        assert (refused.spent, refused.reserved) == (10, 90)
        process.kill()
        process.wait()
        assert isinstance(reserve(ledger, 90, daily=100), Hold)
        assert figures(ledger) == (10, 0, 90)


def test_looking_releases_what_the_dead_held_too(path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.kill()
    with Ledger(path) as ledger:
        assert figures(ledger) == (10, 0, 0)
    assert os.listdir(path.parent / "holders") == []


def test_a_fork_opens_the_ledger_anew_and_charges_what_it_spends(path, ledger):
    hold = reserve(ledger, 60, daily=100)
    if (child := os.fork()) == 0:
        ledger.note(7, run_id="r", agent="writer")
        refused = isinstance(reserve(ledger, 60, daily=100), Standing)
        ledger.settle(reserve(ledger, 20, daily=100), 20)
        ledger.close()
        os._exit(0 if refused else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert figures(ledger) == (27, 0, 60)
    ledger.settle(hold, 60)
    assert figures(ledger) == (87, 0, 0)


# disks and files


FULL = """
import os, resource, sys
from claude_force.errors import BudgetExceeded
from claude_force.stores.ledger import Hold, Ledger
room = int(sys.argv[2])
ledger = Ledger(sys.argv[1], warn=lambda line: print("warning:", line))
hold = ledger.reserve(10, run_id="r", agent="writer", caps={"daily": 10**6})
resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
sent = 0
try:
    while True:
        ledger.settle(hold, 5)
        hold = ledger.reserve(10, run_id="r", agent="writer", caps={"daily": 10**6})
        sent += 1
except BudgetExceeded as error:
    print(error.exit_code, error.message)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ledger.close()
with Ledger(sys.argv[1]) as later:
    (found,) = later.standing({"daily": None})
    print(found.spent - 5 * (sent + 1), found.reserved)
"""


@pytest.mark.parametrize("room", [0, 20_000, 100_000])
def test_a_full_disk_refuses_under_a_cap_and_loses_nothing_that_was_spent(path, room):
    pytest.importorskip("resource")
    ended = run(FULL, path, room)
    assert (ended.returncode, ended.stderr) == (0, "")
    *warned, refusal, left = ended.stdout.splitlines()
    assert refusal.startswith(f"4 the ledger {path} is out of reach (")
    assert left == "0 0"
    assert len(warned) <= 1
    assert all(line.startswith("warning: ") and line.endswith("stays reserved") for line in warned)


FULL_WITHOUT_A_CAP = """
import resource, sys
from claude_force.stores.ledger import Ledger
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
with Ledger(sys.argv[1], warn=print) as ledger:
    for _ in range(1000):
        ledger.warm()
        ledger.note(5, run_id="r", agent="writer")
"""


@pytest.mark.parametrize("room", [0, 20_000])
def test_without_a_cap_a_full_disk_costs_one_warning(path, room):
    pytest.importorskip("resource")
    ended = run(FULL_WITHOUT_A_CAP, path, room)
    assert (ended.returncode, ended.stderr) == (0, "")
    (warning,) = ended.stdout.splitlines()
    assert warning.startswith(f"the ledger {path}: ")
    assert warning.endswith("; what calls cost is not recorded")


READ_ONLY = """
import os, sys
import urllib.parse  # what `as_uri` imports late, from where another user may not read
from claude_force.errors import BudgetExceeded
from claude_force.stores.ledger import Ledger
if os.geteuid() == 0:
    os.setuid(65534)  # to root nothing is read-only
with Ledger(sys.argv[1], warn=print) as ledger:
    print([s.spent for s in ledger.standing({"daily": None})])
    try:
        ledger.reserve(1, run_id="r", agent="writer", caps={"daily": 10**6})
    except BudgetExceeded as error:
        print(error.message)
    ledger.note(1, run_id="r", agent="writer")
"""


@pytest.mark.parametrize("exists", [True, False])
def test_a_read_only_directory_can_be_looked_at_and_refuses_under_a_cap(exists):
    top = Path(tempfile.mkdtemp())  # tmp_path lies in a directory that only its owner enters
    path = top / "state" / "state.db"
    if exists:
        with Ledger(path) as ledger:
            ledger.note(5, run_id="r", agent="writer")
        path.chmod(0o444)
        path.parent.chmod(0o555)
    top.chmod(0o555)
    ended = run(READ_ONLY, path)
    for part in (top, path.parent):
        part.chmod(0o755) if part.exists() else None
    shutil.rmtree(top)
    assert (ended.returncode, ended.stderr) == (0, "")
    found, refusal, warning = ended.stdout.splitlines()
    assert found == ("[5]" if exists else "[0]")
    assert refusal.startswith(f"the ledger {path} is out of reach (")
    assert warning.endswith("; what calls cost is not recorded")


def garbage(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"no database at all" * 1000)


def foreign(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE spent (somebody TEXT)")
    connection.close()


def link(path):
    foreign(path.with_name("other.db"))
    path.symlink_to(path.with_name("other.db"))


def altered(path, statement):
    with Ledger(path, clock=lambda: NOON) as ledger:
        spend(ledger, 50)
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


def trigger(path):
    altered(path, "CREATE TRIGGER free AFTER UPDATE ON spent BEGIN UPDATE spent SET amount = 0; END")


def without_table(path):
    altered(path, "DROP TABLE holds")


@pytest.mark.parametrize("damage", [garbage, foreign, link, trigger, without_table])
def test_a_damaged_ledger_refuses_under_a_cap_and_stays_where_it_is(path, clock, warnings, damage):
    damage(path)
    before = path.stat().st_ino
    with Ledger(path, clock=clock, warn=warnings.append) as ledger:
        with pytest.raises(BudgetExceeded, match="is damaged") as caught:
            reserve(ledger, 1, daily=100)
        with pytest.raises(BudgetExceeded, match="is damaged"):
            ledger.standing({"daily": 100})
        assert (caught.value.exit_code, caught.value.retryable) == (4, False)
        assert "move it away" in caught.value.hint
        ledger.note(1, run_id="r", agent="writer")
        ledger.note(1, run_id="r", agent="writer")
    assert len(warnings) == 1
    assert path.stat().st_ino == before
    assert [name for name in os.listdir(path.parent) if "damaged" in name] == []


@pytest.mark.parametrize(
    ("statement", "spent"),
    [
        ("UPDATE spent SET amount = 9223372036854775807", 9223372036854775807),
        ("INSERT INTO holds VALUES (NULL, '../../x', 'r', 'writer', '2026-11-22', -1000)", 50),
    ],
)
def test_figures_that_no_ledger_writes_open_no_cap(path, clock, statement, spent):
    altered(path, statement)
    with Ledger(path, clock=clock) as ledger:
        assert figures(ledger) == (spent, 0, 0)
        assert isinstance(reserve(ledger, 101, daily=100), Standing)


@pytest.mark.parametrize("amount", ["9e999", "x'ff'", "'much'"])
def test_a_hold_of_no_amount_is_no_failure_of_ours(path, clock, amount):
    altered(path, f"INSERT INTO holds VALUES (NULL, 'x', 'r', 'writer', '2026-11-22', {amount})")
    with Ledger(path, clock=clock) as ledger:
        assert figures(ledger) == (50, 0, 0)


def test_a_holder_that_is_no_text_is_damage(path, clock):
    altered(path, "INSERT INTO holds VALUES (NULL, x'ff', 'r', 'writer', '2026-11-22', 1000)")
    with Ledger(path, clock=clock) as ledger:
        with pytest.raises(BudgetExceeded, match=r"is damaged \(it holds calls that no ledger writes\)") as caught:
            reserve(ledger, 101, daily=100)
        assert caught.value.exit_code == 4


def test_the_hint_for_a_ledger_of_a_newer_version_is_to_update(path, clock):
    altered(path, "PRAGMA user_version = 99")
    with Ledger(path, clock=clock) as ledger, pytest.raises(BudgetExceeded, match="a newer version made it") as caught:
        reserve(ledger, 1, daily=100)
    assert caught.value.hint.startswith("update claude-force, or move it away")


READS = """
import resource, sys
from claude_force.stores.ledger import Ledger
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with Ledger(sys.argv[1], warn=print) as ledger:
    print(ledger.standing({"daily": None})[0].spent)
"""


def test_what_was_spent_can_be_read_where_the_disk_has_no_room(path):
    with Ledger(path) as ledger:
        ledger.note(7, run_id="r", agent="a")
    assert run(READS, path).stdout == "7\n"
    path.write_bytes(path.read_bytes()[:4096])
    assert "is damaged" in run(READS, path).stderr


@pytest.mark.parametrize("change", ["amount = -1", "amount = 'much'", "amount = 0.5", "uncertain = 9e999"])
def test_sums_that_no_ledger_writes_are_damage_and_no_allowance(path, clock, change):
    altered(path, f"UPDATE spent SET {change} WHERE scope = 'daily'")
    with Ledger(path, clock=clock) as ledger, pytest.raises(BudgetExceeded, match="no ledger writes"):
        reserve(ledger, 1, daily=100)


def test_a_day_that_is_none_is_damage(path, clock):
    altered(path, "UPDATE spent SET period = '2026-11-2x' WHERE scope = 'daily'")
    with Ledger(path, clock=clock) as ledger, pytest.raises(BudgetExceeded, match="is damaged"):
        reserve(ledger, 1, daily=100)


def test_a_ledger_that_somebody_removed_is_begun_anew(ledger, path, warnings):
    hold = reserve(ledger, 60, daily=100)
    shutil.rmtree(path.parent)
    other = reserve(ledger, 40, daily=100)
    assert isinstance(other, Hold)
    ledger.settle(hold, 10)
    ledger.settle(other, 40)
    assert figures(ledger) == (50, 0, 0)
    assert warnings == []


def test_a_ledger_that_another_process_keeps_locked_can_be_tried_again_later(path, clock, warnings, monkeypatch):
    monkeypatch.setattr("claude_force.stores.sqlite.BUSY_SECONDS", 0.01)
    with Ledger(path, clock=clock, warn=warnings.append) as ledger:
        hold = reserve(ledger, 5, daily=100)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BudgetExceeded) as caught:
            reserve(ledger, 1, daily=100)
        assert caught.value.retryable
        ledger.settle(hold, 3)
        other.rollback()
        other.close()
        assert [line.rpartition("; ")[2] for line in warnings] == ["what a call cost stays reserved"]
        assert isinstance(reserve(ledger, 97, daily=100), Hold)
        assert figures(ledger) == (3, 0, 97)


OWES = """
import resource, sys
from claude_force.stores.ledger import Ledger
with Ledger(sys.argv[1], warn=print) as ledger:
    hold = ledger.reserve(500, run_id="r", agent="a", caps={"daily": 1000})
    resource.setrlimit(resource.RLIMIT_FSIZE, (4200, 4200))
    ledger.settle(hold, 400)
"""


def test_what_a_full_disk_did_not_take_stays_reserved_when_the_process_has_ended(path):
    command = [sys.executable, "-c", OWES, str(path)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "what a call cost stays reserved" in said.stdout
    with Ledger(path) as ledger:
        (standing,) = ledger.standing({"daily": 1000})
        assert (standing.spent, standing.reserved, standing.left) == (0, 500, 500)
        assert isinstance(ledger.reserve(600, run_id="s", agent="a", caps={"daily": 1000}), Standing)


def test_a_disk_that_has_room_again_takes_what_is_spent_from_then_on(path):
    script = """
import resource, sys
from claude_force.stores.ledger import Ledger
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
with Ledger(sys.argv[1], warn=print) as ledger:
    ledger.note(1, run_id="r", agent="a")
    resource.setrlimit(resource.RLIMIT_FSIZE, (4200, hard))
    ledger.note(2, run_id="r", agent="a")
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    ledger.note(4, run_id="r", agent="a")
"""
    told = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert told.stdout.count("is not recorded") == 1
    with Ledger(path) as ledger:
        assert ledger.standing({"daily": None})[0].spent == 5


def test_a_ledger_whose_rows_are_out_of_order_is_refused(tmp_path):
    """SQLite would charge a row that it does not find again."""
    path = tmp_path / "state.db"
    Ledger(path).settle(Ledger(path).reserve(1, caps={"daily": 10}, run_id="r", agent="a"), 1)
    with closing(sqlite3.connect(path)) as connection, connection:
        (made,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'spent'").fetchone()
        connection.create_collation("backwards", lambda one, other: (one < other) - (one > other))
        connection.execute("PRAGMA writable_schema = ON")
        backwards = made.replace("scope TEXT NOT NULL", "scope TEXT COLLATE backwards NOT NULL")
        connection.execute("DELETE FROM spent")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'spent'", (backwards,))
        connection.execute("PRAGMA schema_version = 77")
        connection.commit()
        connection.executemany("INSERT INTO spent VALUES (?, '2026', 0, 0)", [("aaa",), ("zzz",), ("mmm",)])
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'spent'", (made,))
    with pytest.raises(BudgetExceeded, match="is damaged"):
        Ledger(path).reserve(1, caps={"daily": 10}, run_id="r", agent="a")
