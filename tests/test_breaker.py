"""The circuit breaker: when it opens, whom it lets pass, and that threads and processes count together."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.client.breaker import (
    FRESH_SECONDS,
    MEMORY_SECONDS,
    TRIAL_SECONDS,
    Circuit,
    CircuitBreaker,
    Rules,
    mendable,
    read_circuit,
    reopens,
    state,
)
from claude_force.client.shared import Known
from claude_force.errors import (
    ApiError,
    AuthenticationFailed,
    Busy,
    ConnectionFailed,
    EmptyAnswer,
    Interrupted,
    TimedOut,
    TryLater,
    UsageError,
)
from claude_force.stores.circuits import SharedRecords

START = 1_700_000_000.0
CAREFUL = Rules(failure_threshold=5, timeout_seconds=60, in_flight=10)


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["own", "shared"])
def records(request, tmp_path):
    """What this process knows alone, and what lies in a file."""
    if request.param == "own":
        yield Known()
        return
    with SharedRecords(tmp_path / "state.db") as shared:
        yield shared


def fails(breaker, times=1, error=None):
    for _ in range(times):
        with pytest.raises(ConnectionFailed), breaker.guard():
            raise error or ConnectionFailed("no connection to api")


def breaks_off(breaker):
    def call():
        with breaker.guard() as answered:
            answered()
            raise ConnectionFailed("the answer was cut off")

    with pytest.raises(ConnectionFailed):
        call()


def test_calls_pass_a_closed_circuit_and_return_what_they_return(records, clock):
    breaker = CircuitBreaker(records=records, clock=clock)
    assert breaker.call(divmod, 7, 2) == (3, 1)
    assert breaker.call(dict, a=1) == {"a": 1}
    assert breaker.state == "closed"


def test_it_opens_after_so_many_failures_in_a_row_and_says_until_when_and_why(records, clock):
    breaker = CircuitBreaker(3, 60, name="search", records=records, clock=clock)
    fails(breaker, 2)
    assert breaker.state == "closed"
    fails(breaker)
    assert breaker.state == "open"
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(START + 60))
    with pytest.raises(Busy, match=f"search until {until}, after 3 failures in a row: no connection to api") as caught:
        breaker.call(pytest.fail, "this call must not be made")
    assert caught.value.exit_code == 75
    assert until in caught.value.hint
    with pytest.raises(Busy):
        breaker.check()


def test_one_failure_can_be_enough(records, clock):
    breaker = CircuitBreaker(1, records=records, clock=clock)
    fails(breaker)
    with pytest.raises(Busy, match="after a failure: no connection"):
        breaker.check()


def test_a_success_in_between_starts_the_count_anew(records, clock):
    breaker = CircuitBreaker(3, records=records, clock=clock)
    for _ in range(5):
        fails(breaker, 2)
        breaker.call(int)
    assert breaker.state == "closed"


def test_when_the_time_is_over_one_call_passes_and_its_success_closes(records, clock):
    breaker = CircuitBreaker(2, 60, records=records, clock=clock)
    fails(breaker, 2)
    clock.now += 59
    assert breaker.state == "open"
    clock.now += 1
    assert breaker.state == "half-open"
    assert breaker.call(lambda: breaker.state) == "half-open"
    assert breaker.state == "closed"
    fails(breaker)
    assert breaker.state == "closed"


def test_the_failure_of_the_one_call_opens_it_for_as_long_again(records, clock):
    breaker = CircuitBreaker(2, 60, records=records, clock=clock)
    fails(breaker, 2)
    clock.now += 86_400
    fails(breaker)
    assert breaker.state == "open"
    clock.now += 60
    assert breaker.state == "half-open"


def test_while_the_one_call_is_under_way_no_other_passes(records, clock):
    one, other = (CircuitBreaker(2, 60, records=records, clock=clock) for _ in range(2))
    fails(one, 2)
    clock.now += 60
    with one.guard(), pytest.raises(Busy, match="other calls are finding out"):
        other.call(pytest.fail, "this call must not be made")
    assert other.call(int) == 0


def test_a_trial_that_is_not_heard_of_is_replaced_after_a_while(records, clock):
    breaker = CircuitBreaker(2, 60, records=records, clock=clock)
    fails(breaker, 2)
    clock.now += 60
    with breaker.guard():
        clock.now += TRIAL_SECONDS - 1
        with pytest.raises(Busy):
            breaker.call(int)
        clock.now += 1
        assert breaker.call(int) == 0


def test_a_trial_that_ends_without_a_verdict_makes_room_for_the_next(records, clock):
    breaker = CircuitBreaker(2, 60, records=records, clock=clock)
    fails(breaker, 2)
    clock.now += 60
    for error in (KeyboardInterrupt(), TryLater("slow down", status=429), Interrupted("interrupted")):
        with pytest.raises(type(error)), breaker.guard():
            raise error
        assert breaker.state == "half-open"
    assert breaker.call(int) == 0


def test_an_answer_that_begins_closes_the_circuit_but_one_failure_opens_it_again(records, clock):
    breaker = CircuitBreaker(3, 60, records=records, clock=clock)
    fails(breaker, 3)
    clock.now += 60
    with ExitStack() as stack:
        stack.enter_context(breaker.guard())()
        assert breaker.state == "closed"
        fails(breaker)
        assert breaker.state == "open"


def test_answers_that_begin_and_break_off_open_the_circuit_too(records, clock):
    breaker = CircuitBreaker(rules=CAREFUL, records=records, clock=clock)
    for _ in range(5):
        breaks_off(breaker)
    assert breaker.state == "open"


def test_reset_closes_it(records, clock):
    breaker = CircuitBreaker(1, records=records, clock=clock)
    fails(breaker)
    breaker.reset()
    assert breaker.call(int) == 0


def test_circuits_of_different_names_do_not_concern_each_other(records, clock):
    one, other = (CircuitBreaker(1, name=name, records=records, clock=clock) for name in "ab")
    fails(one)
    assert other.call(int) == 0


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (ApiError("x", status=500, retryable=True), True),
        (TryLater("x", status=529), True),
        (TryLater("x", status=429), False),
        (ApiError("x", status=408, retryable=True), False),
        (ApiError("x", status=400), False),
        (ApiError("x", status=500), False),
        (AuthenticationFailed("x", status=401), False),
        (ConnectionFailed("x"), True),
        (ConnectionFailed("too large", retryable=False), False),
        (TimedOut("silent"), True),
        (TimedOut("the user's own limit", retryable=False), False),
        (Busy("x"), False),
        (EmptyAnswer("x"), False),
        (Interrupted("x"), False),
        (OSError("x"), True),
        (KeyboardInterrupt(), False),
        (SystemExit(), False),
    ],
    ids=repr,
)
def test_what_counts_as_a_failure_is_what_a_retry_could_mend(error, counts, clock):
    assert mendable(error) is counts
    breaker = CircuitBreaker(1, clock=clock)
    with pytest.raises(type(error)), breaker.guard():
        raise error
    assert breaker.state == ("open" if counts else "closed")


def test_who_uses_it_can_say_what_counts(clock):
    breaker = CircuitBreaker(1, counts=lambda error: isinstance(error, LookupError), clock=clock)
    with pytest.raises(OSError, match="x"), breaker.guard():
        raise OSError("x")
    with pytest.raises(KeyError), breaker.guard():
        raise KeyError("x")
    assert breaker.state == "open"


def test_what_a_failure_says_is_told_in_one_printable_line(clock):
    breaker = CircuitBreaker(1, clock=clock)
    with pytest.raises(OSError, match="x"), breaker.guard():
        raise OSError("x\n\x1b[31m" + "y" * 500)
    with pytest.raises(Busy) as caught:
        breaker.check()
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


def test_a_failure_without_words_is_told_by_its_kind(clock):
    breaker = CircuitBreaker(1, clock=clock)
    with pytest.raises(ZeroDivisionError), breaker.guard():
        raise ZeroDivisionError
    with pytest.raises(Busy, match="ZeroDivisionError"):
        breaker.check()


@pytest.mark.parametrize("arguments", [(0, 60), (-1, 60), (5, -1), (5, float("nan"))])
def test_a_breaker_that_could_not_work_is_refused(arguments):
    with pytest.raises(UsageError):
        CircuitBreaker(*arguments)


# while nothing is known, or failures are on record, only so many calls find out how things stand


def entered(stack, breaker, count):
    """Begin `count` calls and leave them under way."""
    return [stack.enter_context(breaker.guard()) for _ in range(count)]


def waits(records, clock, rules=CAREFUL):
    """Whether a further call would have to wait for what the others find out."""
    stop = threading.Event()
    stop.set()  # a wait ends at once
    breaker = CircuitBreaker(rules=rules, records=records, clock=clock, stop=stop)
    try:
        return breaker.call(bool)
    except Interrupted:
        return True


def test_as_long_as_nothing_is_known_only_so_many_calls_are_under_way_at_once(records, clock):
    breaker = CircuitBreaker(rules=CAREFUL, records=records, clock=clock)
    with ExitStack() as stack:
        answered = entered(stack, breaker, 10)
        assert waits(records, clock)
        answered[3]()
        assert not waits(records, clock)
        entered(stack, breaker, 30)


def test_an_answer_proves_for_a_while_that_the_far_end_answers(records, clock):
    breaker = CircuitBreaker(rules=CAREFUL, records=records, clock=clock)
    assert not breaker.check()
    with breaker.guard() as answered:
        answered()
    assert breaker.check()
    clock.now += FRESH_SECONDS
    assert not breaker.check()


def test_after_a_failure_only_as_many_are_under_way_as_could_still_open_the_circuit(records, clock):
    breaker = CircuitBreaker(rules=CAREFUL, records=records, clock=clock)
    fails(breaker, 3)
    with ExitStack() as stack:
        entered(stack, breaker, 2)
        assert waits(records, clock)
    assert not waits(records, clock)


def test_old_failures_that_opened_nothing_are_forgotten(records, clock):
    breaker = CircuitBreaker(rules=CAREFUL, records=records, clock=clock)
    fails(breaker, 4)
    clock.now += MEMORY_SECONDS
    with ExitStack() as stack:
        entered(stack, breaker, 10)
        assert waits(records, clock)
    fails(breaker)
    assert breaker.state == "closed"


def test_a_wait_for_the_verdict_ends_at_the_deadline(records, clock):
    breaker = CircuitBreaker(rules=Rules(5, 60, in_flight=1), records=records, clock=clock)
    with breaker.guard(), pytest.raises(TimedOut), breaker.guard(deadline=time.monotonic()):
        pytest.fail("this call must not be made")


def test_who_waits_goes_on_as_soon_as_there_is_an_answer(records, clock):
    breaker = CircuitBreaker(rules=Rules(5, 60, in_flight=1), records=records, clock=clock)
    began = threading.Event()
    passed = []

    def second():
        began.set()
        passed.append(breaker.call(lambda: "passed"))

    thread = threading.Thread(target=second)
    with breaker.guard() as answered:
        thread.start()
        assert began.wait(10)
        answered()
        thread.join(10)
    assert passed == ["passed"]


def test_who_waits_is_refused_as_soon_as_the_circuit_opens(records, clock):
    breaker = CircuitBreaker(rules=Rules(1, 60, in_flight=1), records=records, clock=clock)
    began = threading.Event()
    refused = []

    def second():
        began.set()
        try:
            breaker.call(pytest.fail, "this call must not be made")
        except Busy as error:
            refused.append(error)

    def first():
        thread.start()
        assert began.wait(10)
        raise ConnectionFailed("no connection")

    thread = threading.Thread(target=second)
    with pytest.raises(ConnectionFailed):
        breaker.call(first)
    thread.join(10)
    assert len(refused) == 1


def test_without_a_verdict_a_call_goes_ahead_where_nothing_failed_and_is_refused_where_something_did(
    records, clock, monkeypatch
):
    monkeypatch.setattr("claude_force.client.breaker.VERDICT_SECONDS", 0.0)
    breaker = CircuitBreaker(rules=Rules(5, 60, in_flight=1), records=records, clock=clock)
    with breaker.guard():
        assert breaker.call(int) == 0
    breaker.reset()
    fails(breaker, 4)
    with breaker.guard(), pytest.raises(Busy, match="is failing"):
        breaker.call(int)


def test_many_threads_in_an_outage_send_no_more_than_find_out(records, clock):
    breaker = CircuitBreaker(rules=CAREFUL, records=records, clock=clock)
    sent, refused = [], []
    go = threading.Barrier(20)

    def send():
        go.wait()
        for _ in range(3):
            try:
                with breaker.guard():
                    sent.append(1)
                    raise ConnectionFailed("no connection")
            except ConnectionFailed:
                pass
            except Busy as error:
                refused.append(error)

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert 5 <= len(sent) <= 10
    assert len(sent) + len(refused) == 60


# the clock, and records that nobody of ours wrote


def test_a_clock_that_is_set_back_keeps_no_circuit_open(records, clock):
    breaker = CircuitBreaker(1, 60, records=records, clock=clock)
    fails(breaker)
    clock.now -= 365 * 86_400
    assert breaker.state == "half-open"
    assert breaker.call(int) == 0
    assert breaker.state == "closed"


def test_a_trial_from_a_clock_that_was_set_back_holds_nobody_up(records, clock):
    breaker = CircuitBreaker(1, 60, records=records, clock=clock)
    fails(breaker)
    clock.now += 60
    with breaker.guard():
        clock.now -= 86_400
        assert breaker.call(int) == 0


def test_a_clock_that_is_set_forward_half_opens_the_circuit(records, clock):
    breaker = CircuitBreaker(1, 60, records=records, clock=clock)
    fails(breaker)
    clock.now += 365 * 86_400
    assert breaker.state == "half-open"


def test_an_open_circuit_lets_a_trial_pass_after_its_time_at_the_latest():
    rules = Rules(1, 60)
    assert reopens(Circuit(failures=1, failed=START + 0.5), rules, START) == START + 60


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries({}, optional=dict.fromkeys(vars(Circuit()), JSON))


@given(FIELDS | st.dictionaries(st.text(max_size=5), JSON, max_size=3))
def test_whatever_a_record_holds_a_circuit_is_read_and_keeps_nobody_out_for_long(record):
    circuit = read_circuit(record)
    found = state(circuit, CAREFUL, START)
    assert found in {"closed", "open", "half-open"}
    if found == "open":
        assert reopens(circuit, CAREFUL, START) <= START + 60


def test_a_record_of_failures_is_read_back_as_it_was_written():
    circuit = Circuit(failures=2, failed=START, answered=1.0, reason="why", trials=(("a", 2.0),))
    assert read_circuit(vars(circuit)) == circuit


@pytest.mark.parametrize("wrong", [1e300, -1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("place", ["failed", "answered", "trials"])
def test_a_time_that_no_clock_shows_makes_a_record_unknown(place, wrong):
    known = vars(Circuit(failures=5, failed=START, answered=1.0))
    assert read_circuit({**known, place: [["a", wrong]] if place == "trials" else wrong}) == Circuit()


# a store that fails


class Broken:
    def __init__(self, error):
        self.error = error

    def read(self, kind, name):
        raise self.error

    def change(self, kind, name, step):
        raise self.error


def test_without_its_store_a_process_goes_on_alone_and_is_told_once():
    warned = []
    known = Known(Broken(PermissionError(13, "permission denied", "/p/state.db")), warned.append)
    breaker = CircuitBreaker(2, records=known)
    fails(breaker, 2)
    assert breaker.state == "open"
    assert len(warned) == 1
    assert warned[0].startswith("/p/state.db: permission denied; ")


def test_a_store_that_fails_while_it_is_written_to_is_done_without():
    class Full(Broken):
        def read(self, kind, name):
            return None

    breaker = CircuitBreaker(1, records=Known(Full(OSError("state.db: disk full")), lambda _: None))
    fails(breaker)
    assert breaker.state == "open"


def test_in_python_the_loss_of_the_store_is_a_warning():
    breaker = CircuitBreaker(records=Broken(OSError("state.db: disk I/O error")))
    with pytest.warns(UserWarning, match="disk I/O error"):
        assert breaker.call(int) == 0


# processes

TRY = """
import sys
from claude_force.client.breaker import CircuitBreaker, Rules
from claude_force.errors import Busy, ConnectionFailed
from claude_force.stores.circuits import SharedRecords

print("ready", flush=True)
sys.stdin.readline()
with SharedRecords(sys.argv[1]) as records:
    breaker = CircuitBreaker(rules=Rules(5, 600, in_flight=10), records=records)
    for _ in range(3):
        try:
            with breaker.guard():
                print("sent", flush=True)
                raise ConnectionFailed("no connection")
        except ConnectionFailed:
            pass
        except Busy:
            print("refused", flush=True)
"""
PROBE = """
import sys
from claude_force.client.breaker import CircuitBreaker
from claude_force.stores.circuits import SharedRecords

with SharedRecords(sys.argv[1]) as records, CircuitBreaker(1, 0, records=records).guard():
    print("probing", flush=True)
    sys.stdin.readline()
"""


def started(script, path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", script, str(path)], **pipes)


def test_thirty_processes_in_an_outage_send_no_more_than_find_out(tmp_path):
    processes = [started(TRY, tmp_path / "state.db") for _ in range(30)]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [process.communicate(timeout=120) for process in processes]
    assert {errors for _, errors in ended} == {""}
    lines = "".join(out for out, _ in ended).split()
    assert 5 <= lines.count("sent") <= 10
    assert len(lines) == 90


def test_the_trial_of_a_killed_process_is_replaced(tmp_path):
    path = tmp_path / "state.db"
    with SharedRecords(path) as records:
        clock = time.time
        breaker = CircuitBreaker(1, 0, records=records)
        fails(breaker)
        process = started(PROBE, path)
        assert process.stdout.readline() == "probing\n"
        with pytest.raises(Busy):
            breaker.call(int)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
        with pytest.raises(Busy):
            breaker.call(int)
        later = CircuitBreaker(1, 0, records=records, clock=lambda: clock() + TRIAL_SECONDS)
        assert later.call(int) == 0
