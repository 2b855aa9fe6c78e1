import queue
import threading
from concurrent.futures import Future
from functools import partial

import pytest

from claude_force.errors import ForceError, Interrupted, TimedOut
from claude_force.pools import Inline, SingleFlight, ThreadPerCall, threads


def refuse(error):
    raise error


def test_as_many_calls_as_threads_are_made_at_once():
    meeting = threading.Barrier(3)

    with threads(3) as pool:
        futures = [pool.submit(meeting.wait, timeout=30) for _ in range(3)]

        assert sorted(future.result() for future in futures) == [0, 1, 2]


def test_no_more_calls_than_threads_are_made_at_once():
    seen = set()

    with threads(2) as pool:
        futures = [pool.submit(lambda: seen.add(threading.get_ident())) for _ in range(50)]
        for future in futures:
            future.result()

    assert 1 <= len(seen) <= 2
    assert threading.get_ident() not in seen


def test_the_threads_are_named_for_who_reads_a_stack_trace():
    with threads(1) as pool:
        assert pool.submit(lambda: threading.current_thread().name).result().startswith("claude-force")


@pytest.mark.parametrize("make", [Inline, partial(threads, 2)])
def test_every_pool_returns_what_the_call_returned_and_calls_back_with_it(make):
    pool = make()
    called_back = threading.Event()
    arrived = []

    future = pool.submit(lambda a, *, b: a + b, 1, b=2)
    future.add_done_callback(lambda done: (arrived.append(done.result()), called_back.set()))

    assert called_back.wait(timeout=30)
    assert future.result() == 3
    assert arrived == [3]


@pytest.mark.parametrize("make", [Inline, partial(threads, 2)])
def test_every_pool_keeps_an_error_for_who_asks_for_the_result(make):
    pool = make()
    error = TimedOut("too late")

    future = pool.submit(refuse, error)

    with pytest.raises(TimedOut) as raised:
        future.result()
    assert raised.value is error


def test_a_call_inline_is_made_in_the_callers_thread_before_submit_returns():
    made_in = []

    Inline().submit(lambda: made_in.append(threading.get_ident()))

    assert made_in == [threading.get_ident()]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError()])
def test_what_is_no_foreseen_error_passes_through_an_inline_call_at_once(error):
    with pytest.raises(type(error)):
        Inline().submit(refuse, error)


def test_a_call_inline_that_returns_an_error_does_not_raise_it():
    error = ForceError("returned")

    assert Inline().submit(lambda: error).result() is error


class Sender:
    """Counts how often it is asked to send; each flight ends when the test lets it land."""

    def __init__(self):
        self.flights = []

    def __call__(self):
        self.flights.append(Future())
        return self.flights[-1]


def test_equal_calls_under_way_are_sent_once_and_all_get_the_answer():
    flights, send, arrived = SingleFlight(), Sender(), []
    for name in ("first", "second", "third"):
        flights.do("key", send, lambda future, shared, name=name: arrived.append((name, future.result(), shared)))

    assert arrived == []
    (flight,) = send.flights
    flight.set_result("answer")

    assert arrived == [("first", "answer", False), ("second", "answer", True), ("third", "answer", True)]


@pytest.mark.parametrize("keys", [("one", "other"), (None, None)])
def test_other_calls_are_each_sent(keys):
    flights, send, arrived = SingleFlight(), Sender(), []
    for key in keys:
        flights.do(key, send, lambda future, shared: arrived.append((future.result(), shared)))
    for number, flight in enumerate(send.flights):
        flight.set_result(number)

    assert arrived == [(0, False), (1, False)]


def test_a_call_after_the_answer_is_sent_anew():
    flights, send, arrived = SingleFlight(), Sender(), []
    for number in range(2):
        flights.do("key", send, lambda future, shared: arrived.append((future.result(), shared)))
        send.flights[number].set_result(number)

    assert arrived == [(0, False), (1, False)]


def test_a_retry_made_on_hearing_of_a_failure_does_not_join_the_flight_that_failed():
    flights, send, arrived = SingleFlight(), Sender(), []

    def again(future, shared):
        assert isinstance(future.exception(), TimedOut)
        flights.do("key", send, lambda future, shared: arrived.append((future.result(), shared)))

    flights.do("key", send, again)
    send.flights[0].set_exception(TimedOut("too late"))
    send.flights[1].set_result("answer")

    assert arrived == [("answer", False)]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("the pool is shut down")])
def test_who_waits_for_a_call_that_breaks_off_is_told_so(error):
    flights, arrived = SingleFlight(), []

    def broken():
        flights.do("key", Sender(), lambda future, shared: arrived.append((future, shared)))
        raise error

    with pytest.raises(type(error)):
        flights.do("key", broken, lambda *_: arrived.append("never"))

    ((future, shared),) = arrived
    assert shared is True
    with pytest.raises(Interrupted):
        future.result()
    send = Sender()
    flights.do("key", send, lambda *_: None)
    assert len(send.flights) == 1


def test_equal_calls_of_many_threads_are_all_answered():
    flights, answers, sent = SingleFlight(), [], []
    with threads(4) as pool, threads(8) as callers:

        def call(number):
            done = threading.Event()
            flights.do(
                str(number % 3),
                lambda: pool.submit(sent.append, number),
                lambda future, shared: (answers.append(shared), done.set()),
            )
            assert done.wait(timeout=30)

        for made in [callers.submit(call, number) for number in range(400)]:
            made.result()

    assert len(answers) == 400
    assert answers.count(False) == len(sent)


def test_a_call_aside_leaves_its_caller_free_and_tells_when_it_has_ended():
    go, told = threading.Event(), queue.SimpleQueue()
    promise = ThreadPerCall().submit(lambda: go.wait(10) and "done")
    promise.add_done_callback(lambda p: told.put(p.result()))
    assert told.empty()
    go.set()
    assert told.get(timeout=10) == "done"
    promise.add_done_callback(lambda p: told.put("late"))
    assert told.get(timeout=10) == "late"


def test_a_call_aside_that_fails_raises_where_its_result_is_asked():
    def fail():
        raise ForceError("no")

    ended = threading.Event()
    promise = ThreadPerCall().submit(fail)
    promise.add_done_callback(lambda _: ended.set())
    assert ended.wait(10)
    with pytest.raises(ForceError, match="no"):
        promise.result()


def test_a_defect_in_a_call_aside_does_not_leave_its_caller_waiting(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    ended = threading.Event()
    promise = ThreadPerCall().submit(lambda: 1 / 0)
    promise.add_done_callback(lambda _: ended.set())
    assert ended.wait(10)
    with pytest.raises(RuntimeError, match="defect"):
        promise.result()
