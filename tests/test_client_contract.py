"""What every transport promises, over each of them, against the simulator and against servers that err."""

import json
import threading
import time
import traceback

import pytest

from claude_force.client.endpoint import endpoint
from claude_force.errors import (
    ApiError,
    AuthenticationFailed,
    ConnectionFailed,
    ForceError,
    Interrupted,
    TimedOut,
    TryLater,
)
from claude_force.extras import load
from claude_force.records import Block, Request
from claude_force.simulator import Behaviour, Simulator

from .test_client_http import CLOSE, KEY, MESSAGE, STREAM, Scripted, answer, chunked, head

TRICKY = 'Grüße 😀 \u2028 ]] \x0b\x85 \n\r\n\t"quoted" \\ done'


def request(steer="", **fields):
    return Request("claude-haiku-5-5", 1000, (Block("Be brief."),), (Block(f"hello {steer}"),), **fields)


@pytest.fixture(scope="module")
def sim():
    with Simulator(Behaviour()) as running:
        yield running


@pytest.fixture(params=["http", "anthropic"])
def to(request):
    """Makes transports of one kind and closes them."""
    made = []

    def make(url, timeout=20, **environment):
        variables = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": url} | environment
        made.append(load("transport", request.param)(endpoint(variables, request_timeout=timeout)))
        return made[-1]

    if request.param == "anthropic":
        pytest.importorskip("anthropic")
    yield make
    for transport in made:
        transport.close()


def test_text_arrives_in_pieces_that_make_up_the_answer(to, sim):
    shown = []
    reply = to(sim.url)(request("[[simulate: tokens=200]]"), on_text=shown.append)
    assert len(shown) > 1
    assert all(shown)
    assert "".join(shown) == reply.text


def test_the_beginning_of_an_answer_is_told_once_and_before_any_text_though_thinking_comes_first(to, sim):
    told = []
    to(sim.url)(
        request("[[simulate: thinking tokens=50]]"),
        on_text=lambda _: told.append("text"),
        on_begin=lambda: told.append("begin"),
    )
    assert told[0] == "begin"
    assert told.count("begin") == 1
    assert "text" in told


def test_a_request_that_fails_begins_no_answer(to, sim):
    told = []
    with pytest.raises(ApiError):
        to(sim.url)(request("[[simulate: status=529]]"), on_begin=lambda: told.append("begin"))
    assert told == []


def test_a_reply_tells_model_usage_and_ids(to, sim):
    reply = to(sim.url)(request("[[simulate: reply=ok]]"))
    assert (reply.text, reply.model, reply.stop_reason, reply.attempts) == ("ok", "claude-haiku-5-5", "end_turn", 1)
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0
    assert reply.message_id.startswith("msg_")
    assert reply.request_id.startswith("req_")
    assert reply.refusal is None


def test_text_of_any_script_comes_through_unchanged(to, sim):
    assert to(sim.url)(request(f"[[simulate: reply=<<{TRICKY}>>]]")).text == TRICKY


def test_thinking_is_not_text_but_is_counted(to, sim):
    reply = to(sim.url)(request("[[simulate: thinking reply=ok]]"))
    assert reply.text == "ok"
    assert reply.usage.thinking_tokens > 0


@pytest.mark.parametrize("reason", ["max_tokens", "refusal", "pause_turn", "model_context_window_exceeded"])
def test_every_stop_reason_is_a_reply(to, sim, reason):
    assert to(sim.url)(request(f"[[simulate: stop={reason}]]")).stop_reason == reason


def test_a_refusal_tells_its_category(to, sim):
    assert to(sim.url)(request("[[simulate: stop=refusal]]")).refusal


def test_an_empty_answer_is_a_reply(to, sim):
    shown = []
    assert to(sim.url)(request("[[simulate: empty]]"), on_text=shown.append).text == ""
    assert shown == []


def test_the_whole_request_is_sent(to, sim):
    schema = '{"additionalProperties":false,"type":"object"}'
    to(sim.url)(request("all of it", effort="low", schema=schema, sample=3))
    sent = sim.requests[-1].body
    assert sent["stream"] is True
    assert sent["system"] == [{"type": "text", "text": "Be brief."}]
    assert sent["messages"] == [{"role": "user", "content": [{"type": "text", "text": "hello all of it"}]}]
    assert sent["output_config"]["effort"] == "low"
    assert sent["output_config"]["format"]["schema"] == json.loads(schema)
    assert sim.requests[-1].headers["anthropic-version"] == "2026-10-21"


@pytest.mark.parametrize(
    ("status", "class_", "retryable"),
    [
        (400, ApiError, False),
        (401, AuthenticationFailed, False),
        (402, ApiError, False),
        (403, AuthenticationFailed, False),
        (404, ApiError, False),
        (409, ApiError, True),
        (413, ApiError, False),
        (429, TryLater, True),
        (500, ApiError, True),
        (503, TryLater, True),
        (504, ApiError, True),
        (529, TryLater, True),
    ],
)
def test_every_status_has_its_error(to, sim, status, class_, retryable):
    before = len(sim.requests)
    with pytest.raises(ForceError) as caught:
        to(sim.url)(request(f"[[simulate: status={status}]]"))
    assert type(caught.value) is class_
    assert (caught.value.status, caught.value.retryable) == (status, retryable)
    assert caught.value.request_id.startswith("req_")
    assert f"{status} {caught.value.kind}" in caught.value.message
    assert len(sim.requests) == before + 1


def test_an_error_tells_how_long_to_wait(to, sim):
    with pytest.raises(TryLater) as caught:
        to(sim.url)(request("[[simulate: status=429 retry-after=7]]"))
    assert caught.value.retry_after == 7


def test_a_spend_limit_is_not_a_matter_of_waiting(to, sim):
    with pytest.raises(ApiError) as caught:
        to(sim.url)(request("[[simulate: status=429 code=enforced_spend_limit_reached]]"))
    assert (type(caught.value), caught.value.retryable) == (ApiError, False)


def test_a_page_of_the_edge_is_an_error_of_its_status(to, sim):
    with pytest.raises(ApiError, match="502: 502") as caught:
        to(sim.url)(request("[[simulate: html=502]]"))
    assert "<" not in caught.value.message


def test_an_error_in_the_middle_of_the_stream_is_that_of_its_status(to, sim):
    shown = []
    with pytest.raises(TryLater) as caught:
        to(sim.url)(request("[[simulate: error=overloaded_error tokens=100]]"), on_text=shown.append)
    assert (caught.value.status, caught.value.kind) == (529, "overloaded_error")
    assert caught.value.request_id.startswith("req_")


@pytest.mark.parametrize("fault", ["cut", "reset", "garbage"])
def test_an_answer_that_breaks_is_a_failed_connection(to, sim, fault):
    with pytest.raises(ConnectionFailed) as caught:
        to(sim.url)(request(f"[[simulate: {fault}]]"))
    assert caught.value.retryable


@pytest.mark.parametrize(
    "reply",
    [
        CLOSE,
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        answer(STREAM[:-30], content_length=None, connection="close"),
        answer(STREAM[:-30], content_length="99999"),
        chunked(STREAM[:-60]),
        chunked(STREAM[:-30], end=b""),
        chunked(end=b"zz\r\n"),
        answer(b"event: message_start\ndata: {]\n\n"),
        answer(b"event: message_start\ndata: \xff\n\n"),
        answer(b"{", kind="application/json"),
        answer(b""),
    ],
)
def test_an_answer_that_is_none_is_a_failed_connection(to, reply):
    def and_close(connection):
        connection.sendall(reply)
        connection.shutdown(2)

    served = Scripted(reply if reply == CLOSE else and_close)
    with served as server, pytest.raises(ConnectionFailed) as caught:
        to(server.url)(request())
    assert caught.value.retryable


def test_a_gateway_that_does_not_stream_is_understood(to):
    shown = []
    body = json.dumps(MESSAGE | {"content": [{"type": "text", "text": "whole"}], "usage": {"output_tokens": 3}})
    with Scripted(answer(body.encode(), kind="application/json")) as server:
        reply = to(server.url)(request(), on_text=shown.append)
    assert (reply.text, shown, reply.usage.output_tokens) == ("whole", ["whole"], 3)


def test_a_connection_is_used_again(to):
    with Scripted(chunked(STREAM), chunked(STREAM)) as server:
        transport = to(server.url)
        assert [transport(request()).text for _ in "ab"] == ["hi", "hi"]
        assert server.connections == 1


@pytest.mark.parametrize("reply", [chunked(STREAM, end=b""), answer(content_length="99999")])
def test_a_break_after_the_last_event_harms_nobody(to, reply):
    def and_break(connection):
        connection.sendall(reply)
        connection.shutdown(2)

    with Scripted(and_break) as server:
        assert to(server.url)(request()).text == "hi"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_so_that_the_key_stays_here(to, status):
    with Scripted(answer()) as elsewhere, Scripted(answer(b"", f"{status} Moved", location=elsewhere.url)) as server:
        with pytest.raises(ApiError, match=f"redirects elsewhere \\({status}\\)") as caught:
            to(server.url)(request())
        assert elsewhere.connections == 0
    assert (caught.value.status, caught.value.retryable) == (status, False)
    assert "ANTHROPIC_BASE_URL" in caught.value.hint


def test_nothing_listens(to):
    with Scripted() as server:
        pass
    with pytest.raises(ConnectionFailed):
        to(server.url)(request())


def test_headers_of_the_user_and_the_path_of_the_address_are_kept(to):
    with Scripted(chunked(STREAM)) as server:
        to(f"{server.url}/base/", ANTHROPIC_CUSTOM_HEADERS="X-Team: a\nanthropic-beta: b1")(request())
    assert server.requests[0].startswith(b"POST /base/v1/messages HTTP/1.1\r\n")
    assert (head(server.requests[0])["x-team"], head(server.requests[0])["anthropic-beta"]) == ("a", "b1")


def test_a_token_is_a_bearer(to):
    with Scripted(chunked(STREAM)) as server:
        to(server.url, ANTHROPIC_API_KEY="", ANTHROPIC_AUTH_TOKEN="sk-ant-oat01-x")(request())
    headers = head(server.requests[0])
    assert headers["authorization"] == "Bearer sk-ant-oat01-x"
    assert headers["anthropic-beta"] == "oauth-2025-04-20"
    assert "x-api-key" not in headers


def test_without_credentials_nothing_is_sent(to):
    with Scripted(chunked(STREAM)) as server:
        with pytest.raises(AuthenticationFailed, match="no API key") as caught:
            to(server.url, ANTHROPIC_API_KEY="")(request())
        assert server.connections == 0
    assert "ANTHROPIC_API_KEY" in caught.value.hint


def test_a_silent_server_is_given_up_and_may_be_asked_again(to, sim):
    with pytest.raises(TimedOut, match=r"silent for 0\.2 s") as caught:
        to(sim.url, timeout=0.2)(request("[[simulate: hang]]"))
    assert caught.value.retryable
    assert "request_timeout_seconds" in caught.value.hint


@pytest.mark.parametrize("fault", ["hang", "trickle=0.02s tokens=9000"])
def test_the_deadline_holds_whatever_the_server_does(to, sim, fault):
    with pytest.raises(TimedOut, match="time limit") as caught:
        to(sim.url)(request(f"[[simulate: {fault}]]"), deadline=time.monotonic() + 0.3)
    assert not caught.value.retryable


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\n", chunked(b"data: {", end=b"")])
def test_the_deadline_holds_wherever_the_answer_stops(to, first):
    with Scripted() as server:
        server.answers.append(server.hang(first))
        with pytest.raises(TimedOut, match="time limit"):
            to(server.url)(request(), deadline=time.monotonic() + 0.2)


def test_a_trickle_within_one_event_does_not_outlive_the_deadline(to):
    def trickle(connection):
        connection.sendall(chunked(b"event: ping\ndata: ", end=b""))
        while not server.release.wait(0.01):
            connection.sendall(b"1\r\nx\r\n")

    with Scripted(trickle) as server, pytest.raises(TimedOut, match="time limit"):
        to(server.url)(request(), deadline=time.monotonic() + 0.3)


def test_a_call_within_its_deadline_succeeds_and_a_late_one_sends_nothing(to, sim):
    transport = to(sim.url)
    assert transport(request("[[simulate: reply=ok]]"), deadline=time.monotonic() + 30).text == "ok"
    before = len(sim.requests)
    with pytest.raises(TimedOut):
        transport(request(), deadline=time.monotonic() - 1)
    assert len(sim.requests) == before
    assert transport(request("[[simulate: reply=ok]]")).text == "ok"


BEGUN = [b"", chunked(STREAM[:50], end=b""), answer(STREAM[:50], content_length=None)]


@pytest.mark.parametrize("first", BEGUN, ids=["before the headers", "in a chunk", "in a body without a length"])
def test_abort_ends_calls_in_flight_and_every_later_one(to, first):
    ready, ended = threading.Event(), []

    def hang(connection):
        connection.sendall(first)
        ready.set()
        server.release.wait(30)

    def send():
        try:
            ended.append(transport(request()))
        except ForceError as error:
            ended.append(error)

    with Scripted(hang) as server:
        transport = to(server.url)
        thread = threading.Thread(target=send)
        thread.start()
        assert ready.wait(10)
        transport.abort()
        thread.join(10)
        assert not thread.is_alive()
        assert isinstance(ended[0], Interrupted)
        with pytest.raises(Interrupted):
            transport(request())
        assert server.connections == 1


def test_what_the_callback_raises_goes_through(to, sim):
    def full(_):
        raise BrokenPipeError("stdout")

    transport = to(sim.url)
    with pytest.raises(BrokenPipeError, match="stdout"):
        transport(request(), on_text=full)
    assert transport(request("[[simulate: reply=ok]]")).text == "ok"


def test_many_threads_share_a_transport(to, sim):
    transport, told = to(sim.url), {}

    def send(n):
        told[n] = [transport(request(f"[[simulate: reply=<<{n}.{i}>>]]")).text for i in range(5)]

    threads = [threading.Thread(target=send, args=[n]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert told == {n: [f"{n}.{i}" for i in range(5)] for n in range(8)}


def test_no_failure_shows_a_secret(to):
    echo = json.dumps({"type": "error", "error": {"type": "authentication_error", "message": f"bad {KEY}"}}).encode()
    stream_echo = answer(b"event: error\ndata: " + echo + b"\n\n")
    for reply in (
        CLOSE,
        answer(echo, "401 No"),
        answer(KEY.encode(), "500 No"),
        stream_echo,
        answer(f"data: {KEY}\n\n".encode()),
        f"HTTP/1.1 {KEY}\r\n\r\n".encode(),
    ):
        with Scripted(reply) as server:
            transport = to(server.url)
            with pytest.raises(ForceError) as caught:
                transport(request())
        assert KEY not in "".join(traceback.format_exception(caught.value))
        assert KEY not in repr(caught.value) + repr(vars(caught.value)) + repr(transport)
