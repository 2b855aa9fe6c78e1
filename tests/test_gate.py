"""Calls through the whole of patience, breaker and limiter, over the wire, alone and from many processes."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from claude_force.client import connect
from claude_force.client.breaker import Circuit, Rules
from claude_force.client.endpoint import endpoint
from claude_force.client.pace import Pace
from claude_force.client.standing import standings
from claude_force.errors import ApiError, Busy, ForceError, TryLater
from claude_force.extras import load
from claude_force.records import Block, Request
from claude_force.simulator import Behaviour, Fault, Simulator
from claude_force.stores.circuits import SharedRecords

MODEL = "claude-haiku-5-5"
CHILD = """
import sys
from claude_force.client import connect
from claude_force.client.endpoint import endpoint
from claude_force.errors import ForceError
from claude_force.records import Block, Request
from claude_force.stores.circuits import SharedRecords

print("ready", flush=True)
sys.stdin.readline()
with SharedRecords(sys.argv[1]) as shared:
    far = endpoint({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": sys.argv[2]})
    transport = connect("http", far, shared=shared)
    try:
        transport(Request("claude-haiku-5-5", 100, (), (Block("hello"),)))
        print("ok")
    except ForceError as error:
        print(error.type, error.exit_code)
    transport.close()
"""


def request(steer="", model=MODEL):
    return Request(model, 100, (), (Block(f"hello [[simulate: tokens=3 {steer}]]"),))


def far(url):
    return endpoint({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": url})


@pytest.fixture
def shared(tmp_path):
    with SharedRecords(tmp_path / "state.db") as records:
        yield records


@pytest.fixture
def to():
    """Makes transports and closes them."""
    made = []

    def make(sim, **options):
        made.append(connect("http", far(sim.url), **{"retries": 0} | options))
        return made[-1]

    yield make
    for transport in made:
        transport.close()


def test_with_no_trouble_a_call_goes_through_and_leaves_that_it_was_answered(to, shared):
    with Simulator() as sim:
        assert to(sim, shared=shared)(request("reply=ok")).text == "ok"
        (record,) = shared.all("circuits").values()
        assert (record["failures"], record["trials"]) == (0, [])
        assert shared.all("paces") == {}


def test_an_outage_opens_the_circuit_for_others_too_and_it_closes_when_the_api_is_back(to, shared):
    with Simulator() as sim:
        sim.script(*[Fault(status=529)] * 3)
        one = to(sim, shared=shared, failure_threshold=3, timeout_seconds=600)
        for _ in range(3):
            with pytest.raises(TryLater):
                one(request())
        other = to(sim, shared=shared, failure_threshold=3, timeout_seconds=600)
        with pytest.raises(Busy, match=f"nothing is sent to {MODEL} at {sim.url} until .* 529") as caught:
            other(request())
        assert (caught.value.exit_code, caught.value.attempts) == (75, 0)
        assert other(request(model="claude-opus-5-5")).stop_reason == "end_turn"
        assert to(sim, shared=shared, failure_threshold=3, timeout_seconds=0)(request()).stop_reason == "end_turn"
        assert other(request()).stop_reason == "end_turn"


def test_a_server_that_is_not_there_opens_the_circuit(to):
    with Simulator() as sim:
        transport = to(sim, retries=2, failure_threshold=3)
    with pytest.raises(ForceError) as first:
        transport(request("status=529"))
    assert first.value.attempts == 3
    with pytest.raises(Busy, match="no connection"):
        transport(request())


def test_a_request_that_is_wrong_says_nothing_against_the_server(to, shared):
    with Simulator() as sim:
        transport = to(sim, shared=shared, failure_threshold=1)
        for _ in range(3):
            with pytest.raises(ApiError):
                transport(request("status=400"))
        (record,) = shared.all("circuits").values()
        assert record["failures"] == 0
        assert record["answered"] > 0


def test_who_is_shown_the_answer_may_fail_without_a_word_against_the_server(to):
    def full(_):
        raise OSError("no space left")

    with Simulator() as sim:
        transport = to(sim, failure_threshold=1)
        for _ in range(2):
            with pytest.raises(OSError, match="no space"):
                transport(request(), on_text=full)


def test_a_refusal_holds_back_other_processes_until_the_time_given(to, shared):
    with Simulator() as sim:
        sim.script(Fault(status=429, retry_after=300))
        with pytest.raises(TryLater):
            to(sim, shared=shared)(request())
        with pytest.raises(TryLater, match="rate limited") as caught:
            to(sim, shared=shared)(request())
        assert caught.value.exit_code == 75
        assert "--wait" in caught.value.hint
        assert len(sim.requests) == 1


def test_a_spend_limit_holds_nobody_back(to, shared):
    with Simulator() as sim:
        sim.script(Fault(status=429, code="enforced_spend_limit_reached"))
        with pytest.raises(ApiError, match="429") as caught:
            to(sim, shared=shared, retries=3)(request())
        assert not caught.value.retryable
        assert shared.all("paces") == {}
        assert to(sim, shared=shared)(request()).stop_reason == "end_turn"


def test_a_limit_that_is_hit_in_the_middle_of_an_answer_slows_down_too(to, shared):
    with Simulator() as sim:
        with pytest.raises(TryLater):
            to(sim, shared=shared)(request("error=rate_limit_error"), on_text=lambda _: None)
        (record,) = shared.all("paces").values()
        assert record["interval"] > 0


def test_many_calls_at_a_limit_that_limits_all_succeed_with_few_refusals(to, shared):
    told = []
    with Simulator(Behaviour(requests_per_minute=1200, burst_seconds=0.05)) as sim:
        transport = to(sim, shared=shared, retries=2, notice=told.append)
        with ThreadPoolExecutor(10) as pool:
            replies = list(pool.map(lambda n: transport(request(f"reply={n}")), range(30)))
        statuses = [r.status for r in sim.requests]
    assert [r.text for r in replies] == [str(n) for n in range(30)]
    assert statuses.count(429) < len(replies)  # without a pace, each call is refused twice
    assert told


@pytest.mark.parametrize("kind", ["http", "anthropic"])
def test_a_transport_tells_the_head_of_each_answer_before_its_text(kind):
    if kind == "anthropic":
        pytest.importorskip("anthropic")
    seen = []

    def on_head(status, header):
        seen.append((status, header("anthropic-ratelimit-requests-limit"), header("x-none")))

    with Simulator(Behaviour(requests_per_minute=60, burst_seconds=1)) as sim:
        transport = load("transport", kind)(far(sim.url))
        transport(request(), on_head=on_head, on_text=seen.append)
        with pytest.raises(TryLater):
            transport(request(), on_head=on_head)
        transport.close()
    assert seen[0] == (200, "60", None)
    assert all(isinstance(piece, str) for piece in seen[1:-1])
    assert seen[-1] == (429, "60", None)


def test_an_abort_ends_the_wait_for_what_others_find_out(to, shared):
    with Simulator() as sim:
        started = threading.Event()
        transport = to(sim, shared=shared, failure_threshold=1)

        def call():
            started.set()
            return transport(request("hang"))

        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(call) for _ in range(4)]  # two are sent, as many as find out
            assert started.wait(10)
            sim.wait_for(2, 10)
            transport.abort()
            ended = [future.exception(timeout=10) for future in futures]
        assert [error.exit_code for error in ended] == [130] * 4
        assert len(sim.requests) == 2
        (record,) = shared.all("circuits").values()
        assert record["trials"] == []


def test_forty_processes_in_an_outage_send_as_few_requests_as_it_takes(tmp_path):
    with Simulator(Behaviour(faults={"529": 1.0})) as sim:
        command = [sys.executable, "-c", CHILD, str(tmp_path / "state.db"), sim.url]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes = [subprocess.Popen(command, **pipes) for _ in range(40)]
        for process in processes:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        ended = [process.communicate(timeout=120) for process in processes]
        assert {errors for _, errors in ended} == {""}
        assert {out for out, _ in ended} <= {"busy 75\n", "try_later 75\n"}
        assert 5 <= len(sim.requests) <= 10


# what doctor and status tell

NOW = 1_700_000_000.0
RULES = Rules(3, 60)


def told(circuits=None, paces=None):
    circuits = {name: vars(c) for name, c in (circuits or {}).items()}
    return standings(circuits, {name: vars(p) for name, p in (paces or {}).items()}, RULES, NOW)


def test_where_all_is_well_there_is_nothing_to_tell():
    assert told({"a": Circuit(answered=NOW)}, {"a": Pace(changed=NOW)}) == []
    assert standings({"a": {"failures": "?"}}, {"a": {}}, RULES) == []


def test_circuits_are_told_with_their_reason_and_their_end():
    failing = {
        "a": Circuit(failures=3, failed=NOW - 10, reason="no connection"),
        "b": Circuit(failures=3, failed=NOW - 60, reason="529"),
        "c": Circuit(failures=1, failed=NOW - 5, reason="500"),
    }
    a, b, c = told(failing)
    assert (a.name, a.state, a.until) == ("a", "open", NOW + 50)
    assert "no connection" in a.found
    assert time.strftime("%H:%M:%S", time.localtime(NOW + 50)) in a.found
    assert (b.state, b.until) == ("half-open", None)
    assert (c.state, c.until) == ("failing", None)


def test_limits_are_told_with_their_end_or_their_pace():
    held, paced = told(paces={"a": Pace(hold=NOW + 30, changed=NOW), "b": Pace(interval=1.5, changed=NOW)})
    assert (held.state, held.until) == ("limited", NOW + 30)
    assert (paced.state, paced.until, paced.found) == ("limited", None, "40 requests a minute are sent")
