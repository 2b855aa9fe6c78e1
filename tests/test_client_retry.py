"""Patience: what is tried again, how long it waits, and when it gives up."""

import threading
import time
from contextlib import contextmanager
from email.utils import formatdate
from http.client import HTTPMessage

import pytest

from claude_force.client.endpoint import endpoint
from claude_force.client.faults import retry_after, status_error
from claude_force.client.http import HttpTransport
from claude_force.client.retry import FREE_RETRIES, Patient
from claude_force.errors import ApiError, AuthenticationFailed, Busy, ConnectionFailed, Interrupted, TimedOut, TryLater
from claude_force.records import Block, Reply, Request
from claude_force.simulator import Simulator

REQUEST = Request("claude-haiku-5-5", 100, (), (Block("hello"),))
REPLY = Reply("hi", "claude-haiku-5-5", "end_turn")


class Scripted:
    """A transport whose calls end as listed; an error may come with text that is shown before it."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.calls = 0
        self.ended = []

    def __call__(self, request, *, on_text=None, deadline=None):
        self.calls += 1
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, tuple):
            shown, outcome = outcome
            on_text(shown)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def abort(self):
        self.ended.append("abort")

    def close(self):
        self.ended.append("close")


def failed(status, body=b"", **headers):
    known = {name.replace("_", "-"): value for name, value in headers.items()}
    return status_error(status, body, known.get)


def patient(transport, retries=2, **options):
    options = {"stop": threading.Event(), "random": lambda: 0.0} | options
    return Patient(transport, retries=retries, **options)


@pytest.mark.parametrize(
    "error",
    [*(failed(s) for s in (408, 409, 429, 500, 502, 503, 504, 529)), ConnectionFailed("x"), TimedOut("silent")],
    ids=str,
)
def test_a_passing_failure_is_tried_again_and_the_reply_counts_the_attempts(error):
    transport = Scripted(error, error, REPLY)
    assert patient(transport)(REQUEST).attempts == 3
    assert transport.calls == 3


def test_a_call_that_succeeds_at_once_is_one_attempt():
    assert patient(Scripted(REPLY))(REQUEST) is REPLY


SPENT = b'{"type":"error","error":{"type":"rate_limit_error","message":"m","details":{"error_code":"%s"}}}'


@pytest.mark.parametrize(
    "error",
    [
        *(failed(s, x_should_retry="true") for s in (400, 401, 402, 403, 404, 413, 422)),
        failed(529, x_should_retry="false"),
        failed(307),
        failed(499),
        failed(429, SPENT % b"enforced_spend_limit_reached", x_should_retry="true"),
        failed(429, SPENT % b"contract_spend_limit_reached"),
        ConnectionFailed("too large", retryable=False),
        Interrupted("interrupted"),
    ],
    ids=str,
)
def test_a_failure_that_would_only_repeat_is_not_tried_again(error):
    transport = Scripted(error)
    with pytest.raises(type(error)) as caught:
        patient(transport)(REQUEST)
    assert caught.value is error
    assert caught.value.attempts == transport.calls == 1


def test_the_api_can_ask_to_try_again_what_is_not_tried_by_itself():
    assert patient(Scripted(failed(499, x_should_retry="true"), REPLY))(REQUEST).attempts == 2


def test_a_spend_limit_is_no_matter_of_waiting():
    error = failed(429, SPENT % b"enforced_spend_limit_reached")
    assert (type(error), error.exit_code) == (ApiError, 1)
    assert "spend limit" in error.hint


def test_after_the_last_retry_the_error_comes_through_with_its_attempts():
    last = failed(529)
    with pytest.raises(TryLater) as caught:
        patient(Scripted(failed(500), failed(503), last))(REQUEST)
    assert caught.value is last
    assert caught.value.attempts == 3


def test_without_retries_there_is_one_attempt():
    transport = Scripted(failed(529))
    with pytest.raises(TryLater):
        patient(transport, retries=0)(REQUEST)
    assert transport.calls == 1


def test_nothing_is_tried_again_once_text_was_shown():
    shown = []
    with pytest.raises(ConnectionFailed):
        patient(Scripted(("half an ans", ConnectionFailed("cut")), REPLY))(REQUEST, on_text=shown.append)
    assert shown == ["half an ans"]


def test_a_failure_before_any_text_is_tried_again_for_a_watcher_too():
    shown = []
    assert patient(Scripted(failed(529), ("hi", REPLY)))(REQUEST, on_text=shown.append).attempts == 2
    assert shown == ["hi"]


class Clock:
    """A stop event whose waits take no time but are noted, with the clock that goes with it."""

    def __init__(self):
        self.now = 1000.0
        self.waits = []

    def wait(self, seconds):
        self.waits.append(seconds)
        self.now += seconds
        return False

    def __call__(self):
        return self.now


def test_waits_are_drawn_from_bounds_that_double_up_to_eight_seconds():
    clock = Clock()
    errors = [failed(500)] * 6
    patient(Scripted(*errors, REPLY), 6, stop=clock, clock=clock, random=lambda: 1.0)(REQUEST)
    assert clock.waits == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]


def test_the_jitter_is_full_and_random_by_default():
    clock = Clock()
    Patient(Scripted(*[failed(500)] * 40, REPLY), retries=40, stop=clock, clock=clock)(REQUEST)
    late = clock.waits[4:]
    assert all(0 <= wait <= 8 for wait in late)
    assert min(late) < 4 < max(late)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "1.5"}, 1.5),
        ({"retry_after": "9", "retry_after_ms": "250"}, 0.25),
        ({"retry_after": "0"}, 0.5),
        ({"retry_after": "-3"}, 0.5),
        ({"retry_after": "soon"}, 0.5),
        ({"retry_after": "nan"}, 0.5),
        ({"retry_after": "inf"}, 0.5),
        ({"retry_after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.5),
        ({"retry_after": "Thu, 99 Foo 99999 00:00:00 GMT"}, 0.5),
    ],
)
def test_the_wait_is_what_the_api_asks_for_if_it_asks_for_something(headers, wait):
    clock = Clock()
    patient(Scripted(failed(429, **headers), REPLY), stop=clock, clock=clock, random=lambda: 1.0)(REQUEST)
    assert clock.waits == [wait]


def test_a_date_is_a_wait_until_then():
    headers = HTTPMessage()
    headers["Retry-After"] = formatdate(time.time() + 50, usegmt=True)
    assert 40 < retry_after(headers.get) <= 50


def test_a_wait_of_minutes_is_not_slept_and_its_end_is_told():
    clock = Clock()
    error = failed(500, retry_after="121")
    with pytest.raises(TryLater, match="500") as caught:
        patient(Scripted(error), stop=clock, clock=clock)(REQUEST)
    assert clock.waits == []
    until = time.strftime("%Y-%m-%d", time.localtime(time.time() + 121))
    assert f"until {until}" in caught.value.hint
    assert (caught.value.retry_after, caught.value.attempts, caught.value.exit_code) == (121, 1, 75)


def test_a_wait_of_two_minutes_is_slept():
    clock = Clock()
    patient(Scripted(failed(500, retry_after="120"), REPLY), stop=clock, clock=clock)(REQUEST)
    assert clock.waits == [120]


def test_a_longer_wait_is_slept_if_the_user_says_so_and_its_end_is_told():
    clock, told = Clock(), []
    transport = Scripted(failed(529, retry_after="7200"), REPLY)
    assert patient(transport, stop=clock, clock=clock, wait=True, notice=told.append)(REQUEST).attempts == 2
    assert clock.waits == [7200]
    assert f"retrying at {time.strftime('%Y-%m-%d', time.localtime(time.time() + 7200))}" in told[0]


def test_even_who_sits_waits_out_does_not_outlast_the_deadline():
    clock = Clock()
    with pytest.raises(TryLater, match="529"):
        patient(Scripted(failed(529, retry_after="7200")), stop=clock, clock=clock, wait=True)(
            REQUEST, deadline=clock.now + 60
        )
    assert clock.waits == []


def retries_of_a_run(calls, retries):
    """Make `calls` that all fail; return how many requests they took beyond one each, and what was told."""
    told = []
    transport = Scripted(*[failed(500, retry_after_ms="1")] * 10_000)
    sender = patient(transport, retries, stop=Clock(), notice=told.append)
    for _ in range(calls):
        with pytest.raises(ApiError):
            sender(REQUEST)
    return transport.calls - calls, told


def test_the_calls_of_a_run_share_a_budget_of_retries_so_that_an_outage_does_not_multiply_the_load():
    spent, told = retries_of_a_run(200, 2)
    assert spent == FREE_RETRIES + 200 * 0.2
    reason = "the API failed (500), not tried again: the retries that all calls share are used up"
    assert told[-1] == f"claude-haiku-5-5: {reason}"


def test_a_few_calls_may_each_use_all_of_their_retries():
    assert retries_of_a_run(5, 2)[0] == 10
    assert retries_of_a_run(1, 100)[0] == 100


class Turnstile:
    """A gate that notes who passes and how it went, and refuses as listed."""

    def __init__(self, *refusals):
        self.refusals = list(refusals)
        self.passed = []

    @contextmanager
    def __call__(self, model, deadline):
        if self.refusals and (refusal := self.refusals.pop(0)):
            raise refusal
        try:
            yield None
        except TryLater as error:
            self.passed.append((model, error.status))
            raise
        self.passed.append((model, "ok"))


def test_each_attempt_passes_the_gate_which_learns_how_it_went():
    gate = Turnstile()
    patient(Scripted(failed(529), failed(503), REPLY), gate=gate)(REQUEST)
    assert gate.passed == [(REQUEST.model, 529), (REQUEST.model, 503), (REQUEST.model, "ok")]


@pytest.mark.parametrize("refusal", [Busy("circuit open"), TryLater("rate limited")], ids=str)
def test_what_the_gate_refuses_is_not_tried_again(refusal):
    transport = Scripted(failed(529), REPLY)
    with pytest.raises(type(refusal)) as caught:
        patient(transport, gate=Turnstile(None, refusal))(REQUEST)
    assert caught.value is refusal
    assert caught.value.attempts == transport.calls == 1


def test_what_the_gate_refuses_at_first_took_no_request():
    transport = Scripted(REPLY)
    with pytest.raises(Busy) as caught:
        patient(transport, gate=Turnstile(Busy("circuit open")))(REQUEST)
    assert caught.value.attempts == transport.calls == 0


@pytest.mark.parametrize(
    ("error", "class_"),
    [(failed(529, retry_after="30"), TryLater), (failed(500, retry_after="30"), TimedOut)],
    ids=["overloaded", "broken"],
)
def test_a_wait_beyond_the_deadline_is_given_up_at_once(error, class_):
    clock = Clock()
    with pytest.raises(class_) as caught:
        patient(Scripted(error), stop=clock, clock=clock)(REQUEST, deadline=clock.now + 20)
    assert clock.waits == []
    assert caught.value.message == error.message
    assert "30.0 s" in caught.value.hint
    assert caught.value.attempts == 1


def test_a_wait_that_fits_before_the_deadline_is_slept():
    clock = Clock()
    transport = Scripted(failed(529, retry_after="10"), REPLY)
    assert patient(transport, stop=clock, clock=clock)(REQUEST, deadline=clock.now + 20).attempts == 2


def test_each_retry_is_told():
    told = []
    kind = b'{"error":{"type":"overloaded_error","message":"m"}}'
    transport = Scripted(
        failed(529, kind, retry_after_ms="1"), failed(502, retry_after_ms="1"), ConnectionFailed("no connection"), REPLY
    )
    patient(transport, 3, notice=told.append)(REQUEST)
    assert told == [
        "claude-haiku-5-5: overloaded (529), retrying in 0.0 s (1 of 3)",
        "claude-haiku-5-5: the API failed (502), retrying in 0.0 s (2 of 3)",
        "claude-haiku-5-5: no connection, retrying in 0.0 s (3 of 3)",
    ]


def test_abort_ends_a_wait_at_once():
    waiting = threading.Event()
    transport = Scripted(failed(529, retry_after="100"))
    sender = patient(transport, notice=lambda _: waiting.set())
    caught = []

    def send():
        try:
            sender(REQUEST)
        except Interrupted as error:
            caught.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    assert waiting.wait(10)
    sender.abort()
    thread.join(10)
    assert not thread.is_alive()
    assert len(caught) == 1
    assert transport.ended == ["abort"]


def test_close_is_passed_on():
    transport = Scripted()
    patient(transport).close()
    assert transport.ended == ["close"]


def test_over_the_wire_an_overload_that_passes_costs_two_attempts():
    request = Request("claude-haiku-5-5", 100, (), (Block("[[simulate: status=529 times=1]] hello"),))
    with Simulator() as sim:
        far = endpoint({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": sim.url})
        transport = HttpTransport(far)
        reply = patient(transport)(request)
        transport.close()
    assert reply.attempts == 2
    assert [r.status for r in sim.requests] == [529, 200]


def test_over_the_wire_a_wrong_key_is_told_at_once():
    request = Request("claude-haiku-5-5", 100, (), (Block("[[simulate: status=401]]"),))
    with Simulator() as sim:
        transport = HttpTransport(endpoint({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": sim.url}))
        with pytest.raises(AuthenticationFailed):
            patient(transport)(request)
        transport.close()
    assert len(sim.requests) == 1
