import threading
from functools import partial

import pytest

from claude_force.errors import ForceError, TimedOut
from claude_force.pools import Inline, threads


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
    pool.shutdown(wait=True, cancel_futures=True)


@pytest.mark.parametrize("make", [Inline, partial(threads, 2)])
def test_every_pool_keeps_an_error_for_who_asks_for_the_result(make):
    pool = make()
    error = TimedOut("too late")

    future = pool.submit(refuse, error)

    with pytest.raises(TimedOut) as raised:
        future.result()
    assert raised.value is error
    pool.shutdown(wait=True)


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
