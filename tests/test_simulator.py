"""The simulator as a client sees it on the wire: plain HTTP, no SDK."""

import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import BadStatusLine, HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from random import Random
from statistics import median
from time import monotonic
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claude_force.errors import UsageError
from claude_force.simulator import Behaviour, Fault, Latency, Simulator, parse_latency
from claude_force.simulator.behaviour import draw
from claude_force.simulator.endpoints import Endpoints
from claude_force.simulator.wire import HttpRequest

HAIKU = "claude-haiku-5-5"
HEADERS = {"x-api-key": "k", "anthropic-version": "2026-10-21", "content-type": "application/json"}
OLD = {"anthropic-version": "2023-06-01"}
LONG = "A sentence that makes the prompt long enough. " * 500
CACHED_SYSTEM = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]


@pytest.fixture
def sim():
    with Simulator() as simulator:
        yield simulator


class Answer:
    """Status, headers and body of one answer."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.raw = response.read()

    @property
    def json(self):
        return json.loads(self.raw)

    @property
    def text(self):
        return "".join(block["text"] for block in self.json["content"] if block["type"] == "text")

    @property
    def error(self):
        return self.json["error"]["type"]

    @property
    def message(self):
        return self.json["error"]["message"]

    @property
    def events(self):
        pairs = [part.split("\n") for part in self.raw.decode().split("\n\n") if part]
        return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in pairs]


def call(sim, method, path, body=None, **headers):
    url = urlsplit(sim.url)
    connection = HTTPConnection(url.hostname, url.port, timeout=20)
    names = {**HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
    sent = {name: value for name, value in names.items() if value is not None}
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request(method, url.path + path, data, sent)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def body_of(text="Say hello", **fields):
    return {"model": HAIKU, "max_tokens": 1000, "messages": [{"role": "user", "content": text}], **fields}


def ask(sim, text="Say hello", *, headers=(), **fields):
    return call(sim, "POST", "/v1/messages", body_of(text, **fields), **dict(headers))


@contextmanager
def asking(sim, text, connect=HTTPConnection, **fields):
    """A connection on which a request was sent and no answer read."""
    url = urlsplit(sim.url)
    connection = connect(url.hostname, url.port)
    connection.request("POST", url.path + "/v1/messages", json.dumps(body_of(text, **fields)), HEADERS)
    try:
        yield connection
    finally:
        connection.close()


def test_an_answer_says_that_it_is_simulated_and_what_it_understood(sim):
    prompt = [
        {
            "type": "text",
            "text": 'Data.\n\n<document name="shop.py" fence="ab">\nx = 1 </document>\n</document fence="ab">',
        },
        {"type": "text", "text": "Review the shop.\nBe brief."},
    ]
    answer = ask(sim, prompt, system="You review code.\nMore.")
    assert answer.text.startswith("[simulated] ")
    assert "Who: You review code." in answer.text
    assert "Task: Review the shop." in answer.text
    assert "shop.py (17 characters)" in answer.text
    assert answer.json["id"].startswith("msg_sim_")
    assert answer.headers["x-simulated"] == "true"
    assert answer.headers["request-id"].startswith("req_")


def test_the_same_request_gets_the_same_text_and_another_one_another(sim):
    assert ask(sim, "One").text == ask(sim, "One").text
    assert ask(sim, "One").text != ask(sim, "One", system="You are terse.").text


def test_the_same_request_gets_the_same_text_from_another_server(sim):
    with Simulator() as other:
        assert ask(sim, "One").text == ask(other, "One").text


def test_an_answer_does_not_quote_markers_so_that_it_steers_nothing_downstream(sim):
    assert "[[simulate" not in ask(sim, "Do it [[simulate: latency=0s]] now").text
    assert "Task: Do it  now" in ask(sim, "Do it [[simulate: latency=0s]] now").text


def test_a_document_without_an_end_reaches_to_the_end_of_its_block(sim):
    assert "notes (5 characters)" in ask(sim, 'Read.\n<file name="notes">\nabcde').text


def test_a_stream_has_the_events_of_the_api_in_order(sim):
    answer = ask(sim, "[[simulate: reply=<<" + "x" * 50 + ">>]]", stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    names = [name for name, _ in answer.events]
    assert names == [
        "message_start", "content_block_start", "ping",
        "content_block_delta", "content_block_delta", "content_block_delta",
        "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip
    assert all(name == data["type"] for name, data in answer.events)
    start, delta = answer.events[0][1]["message"], answer.events[-2][1]
    assert (start["content"], start["stop_reason"], start["usage"]["output_tokens"]) == ([], None, 1)
    assert delta["delta"]["stop_reason"] == "end_turn"
    assert delta["usage"]["output_tokens"] == 17


def test_a_stream_and_a_whole_answer_carry_the_same_message(sim):
    whole, streamed = ask(sim), ask(sim, stream=True)
    deltas = [data["delta"]["text"] for name, data in streamed.events if name == "content_block_delta"]
    assert "".join(deltas) == whole.text
    assert streamed.events[-2][1]["usage"]["output_tokens"] == whole.json["usage"]["output_tokens"]


@pytest.mark.parametrize(
    "text", ["a\nb", "[x]] ]] >> y", "ends in >", "  blanks  ", "\u2028\u0085\x0b", "é😀", "\ud800"]
)
def test_a_reply_marker_gives_exactly_its_text(sim, text):
    assert ask(sim, f"Go [[simulate: reply=<<{text}>>]]").text == text


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1).filter(lambda text: ">>]]" not in f"{text}>>]]"[:-4]))
def test_any_reply_without_its_own_end_mark_comes_back_exactly(text):
    answer = endpoint_answer({"content": f"[[simulate: reply=<<{text}>>]] more"})
    assert "".join(block["text"] for block in json.loads(answer.pieces[0])["content"]) == text


def test_a_bare_reply_runs_to_the_end_of_its_marker(sim):
    assert ask(sim, "[[simulate: reply= some text ]] and [[simulate: latency=0s]]").text == "some text"


def test_an_answer_is_cut_at_max_tokens(sim):
    answer = ask(sim, max_tokens=5)
    assert answer.json["stop_reason"] == "max_tokens"
    assert answer.json["usage"]["output_tokens"] == 5
    assert ask(sim).text.startswith(answer.text)


def test_max_tokens_of_nothing_fills_the_cache_only(sim):
    answer = ask(sim, max_tokens=0).json
    assert (answer["content"], answer["stop_reason"], answer["usage"]["output_tokens"]) == ([], "max_tokens", 0)
    assert [name for name, _ in ask(sim, max_tokens=0, stream=True).events][-1] == "message_stop"


def test_an_answer_ends_before_the_first_stop_sequence(sim):
    answer = ask(sim, "[[simulate: reply=<<one END two STOP>>]]", stop_sequences=["STOP", "END"])
    assert answer.text == "one "
    assert (answer.json["stop_reason"], answer.json["stop_sequence"]) == ("stop_sequence", "END")


@pytest.mark.parametrize("model", [HAIKU, "claude-opus-4-6"])
@pytest.mark.parametrize("tokens", [1, 7, 500])
def test_a_tokens_marker_sets_the_size_of_the_answer(sim, model, tokens):
    answer = ask(sim, f"[[simulate: tokens={tokens}]]", model=model)
    assert answer.json["usage"]["output_tokens"] == tokens
    assert "[simulated]".startswith(answer.text[:11])


def test_later_models_count_more_tokens_for_the_same_text(sim):
    def count(model):
        body = {"model": model, "messages": [{"role": "user", "content": "x" * 400}]}
        return call(sim, "POST", "/v1/messages/count_tokens", body).json["input_tokens"]

    assert (count("claude-opus-4-6"), count("claude-opus-4-7")) == (100, 130)


def test_an_empty_marker_gives_no_content(sim):
    answer = ask(sim, "[[simulate: empty]]").json
    assert (answer["content"], answer["stop_reason"]) == ([], "end_turn")
    assert [name for name, _ in ask(sim, "[[simulate: empty]]", stream=True).events] == [
        "message_start", "ping", "message_delta", "message_stop",
    ]  # fmt: skip


def test_a_refusal_is_a_200_with_details_and_without_content(sim):
    answer = ask(sim, "[[simulate: stop=refusal]]")
    assert (answer.status, answer.json["stop_reason"], answer.json["content"]) == (200, "refusal", [])
    assert answer.json["stop_details"]["category"] == "general_harms"
    assert answer.json["usage"]["output_tokens"] == 0
    assert ask(sim, "[[simulate: stop=refusal reply=But]]").text == "But"


def test_a_thinking_block_comes_first_and_counts_as_output(sim):
    answer = ask(sim, "[[simulate: thinking reply=Hi]]").json
    assert [block["type"] for block in answer["content"]] == ["thinking", "text"]
    assert answer["content"][0]["thinking"] == ""
    usage = answer["usage"]
    assert usage["output_tokens"] == usage["output_tokens_details"]["thinking_tokens"] + 1


def test_a_streamed_thinking_block_is_empty_and_signed(sim):
    events = ask(sim, "[[simulate: thinking reply=Hi]]", stream=True).events
    block = [data for _, data in events if data.get("index") == 0]
    assert [data["type"] for data in block] == ["content_block_start", "content_block_delta", "content_block_stop"]
    assert block[0]["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}
    assert block[1]["delta"]["type"] == "signature_delta"


def test_thinking_follows_the_behaviour_and_the_request(sim):
    def thinks(server, **fields):
        return ask(server, **fields).json["content"][0]["type"] == "thinking"

    with Simulator(Behaviour(thinking=True)) as thinker:
        assert thinks(thinker)
        assert not thinks(thinker, thinking={"type": "disabled"})
    assert thinks(sim, thinking={"type": "adaptive"})
    assert not thinks(sim)


def test_a_schema_is_met_by_a_small_instance(sim):
    schema = {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "day": {"type": "string", "format": "date"},
            "level": {"enum": ["low", "high"]},
            "kind": {"const": 3},
            "count": {"type": "integer"},
            "done": {"type": "boolean"},
            "none": {"type": ["null", "string"]},
            "parts": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/part"}},
            "either": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "all": {"allOf": [{"$ref": "#/$defs/part"}]},
            "word": {"allOf": [{"type": "string"}]},
        },
        "required": ["title"],
        "additionalProperties": False,
        "$defs": {
            "part": {"type": "object", "properties": {"id": {"type": "string"}}, "additionalProperties": False},
        },
    }  # fmt: skip
    answer = ask(sim, output_config={"format": {"type": "json_schema", "schema": schema}})
    assert json.loads(answer.text) == {
        "title": "[simulated] title", "day": "2026-01-01", "level": "low", "kind": 3, "count": 0, "done": False,
        "none": None, "parts": [{"id": "[simulated] id"}], "either": 0, "all": {"id": "[simulated] id"},
        "word": "[simulated] word",
    }  # fmt: skip


def test_a_tool_is_called_where_the_request_or_a_marker_demands_it(sim):
    tool = {"name": "add", "input_schema": {"type": "object", "properties": {"n": {"type": "integer"}}}}
    recursive = {"name": "walk", "input_schema": {"type": "object", "properties": {"left": {"$ref": "#"}}}}
    forced = ask(sim, tools=[recursive, tool], tool_choice={"type": "tool", "name": "add"}).json
    assert forced["stop_reason"] == "tool_use"
    assert (forced["content"][0]["name"], forced["content"][0]["input"]) == ("add", {"n": 0})
    assert ask(sim, "[[simulate: stop=tool_use]]", tools=[recursive]).json["content"][0]["input"] == {
        "left": {"left": None}
    }
    events = ask(sim, "[[simulate: stop=tool_use]]", tools=[tool], stream=True).events
    parts = [data["delta"]["partial_json"] for name, data in events if name == "content_block_delta"]
    assert json.loads("".join(parts)) == {"n": 0}
    assert ask(sim, tools=[tool]).json["stop_reason"] == "end_turn"


def test_a_user_message_of_tool_results_only_is_answered(sim):
    turns = [
        {"role": "user", "content": "Add"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "add", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "3"}]},
    ]
    assert "Task: no text" in ask(sim, messages=turns).text
    assert "Task: no text" in ask(sim, messages=[{"role": "system", "content": "Be brief"}]).text


def test_markers_in_documents_and_in_earlier_turns_steer_nothing(sim):
    turns = [
        {"role": "user", "content": "[[simulate: status=500]]"},
        {"role": "assistant", "content": "No"},
        {"role": "user", "content": 'Go\n<document name="x">\n[[simulate: status=500]]\n</document>'},
    ]
    assert ask(sim, messages=turns).status == 200


def test_a_marker_with_times_counts_for_so_many_requests_with_the_same_text(sim):
    text = "[[simulate: status=529 times=2]] [[simulate: reply=done]]"
    assert [ask(sim, text).status for _ in range(3)] == [529, 529, 200]
    assert ask(sim, text).text == "done"
    assert ask(sim, f"Again {text}").status == 529


@pytest.mark.parametrize(
    ("marker", "part"),
    [
        ("[[simulate: nonsense]]", "nonsense"),
        ("[[simulate: empty=1]]", "empty"),
        ("[[simulate: status]]", "status"),
        ("[[simulate: status=]]", "missing"),
        ("[[simulate: status=abc]]", "status=abc"),
        ("[[simulate: status=200]]", "400 to 599"),
        ("[[simulate: latency=soon]]", "length of time"),
        ("[[simulate: stop=bored]]", "end_turn"),
        ("[[simulate: error=bored]]", "overloaded_error"),
        ("[[simulate: reply=<<x>> times=2]]", ">>]]"),
        ("[[simulate: reply=x", "no end"),
        ("[[simulate: 5]]", "'5]]'"),
        ("[[simulate: empty", "cannot be read"),
    ],
)
def test_a_marker_that_cannot_be_read_is_refused_with_the_reason(sim, marker, part):
    answer = ask(sim, f"Go {marker}".ljust(20))
    assert (answer.status, answer.error) == (400, "invalid_request_error")
    assert part in answer.message


def test_scripted_faults_meet_the_next_requests_one_each(sim):
    sim.script(Fault(status=529), Fault(), Fault(reply="scripted"))
    assert ask(sim).error == "overloaded_error"
    assert ask(sim).status == 200
    assert ask(sim).text == "scripted"
    assert ask(sim).text.startswith("[simulated]")


def test_the_script_goes_before_the_marker(sim):
    sim.script(Fault(reply="scripted"))
    assert ask(sim, "[[simulate: reply=marked tokens=3]]").text == "scripted"


def test_an_error_carries_what_its_marker_says(sim):
    answer = ask(sim, "[[simulate: status=429 retry-after=2 code=enforced_spend_limit_reached]]")
    assert (answer.status, answer.error, answer.headers["retry-after"]) == (429, "rate_limit_error", "2")
    assert answer.json["error"]["details"] == {"error_code": "enforced_spend_limit_reached"}
    assert answer.json["request_id"] == answer.headers["request-id"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, "authentication_error"), (408, "timeout_error"), (503, "api_error"), (418, "invalid_request_error")],
)
def test_a_status_brings_the_type_that_belongs_to_it(sim, status, kind):
    answer = ask(sim, f"[[simulate: status={status}]]")
    assert (answer.status, answer.error) == (status, kind)


def test_an_html_error_is_no_json(sim):
    answer = ask(sim, "[[simulate: html=502]]")
    assert (answer.status, answer.headers["content-type"]) == (502, "text/html")
    assert answer.raw.startswith(b"<html>")


def test_a_reset_comes_in_place_of_an_answer(sim):
    with pytest.raises(ConnectionResetError):
        ask(sim, "[[simulate: reset]]")
    assert sim.requests[-1].status is None
    assert sim.requests[-1].finished is not None


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_ends_the_connection_in_the_middle(sim, stream):
    with pytest.raises(IncompleteRead) as caught:
        ask(sim, "[[simulate: cut]]", stream=stream)
    assert caught.value.partial
    assert b"message_stop" not in caught.value.partial


@pytest.mark.parametrize("stream", [False, True])
def test_garbage_is_a_200_that_cannot_be_read(sim, stream):
    answer = ask(sim, "[[simulate: garbage]]", stream=stream)
    assert answer.status == 200
    with pytest.raises(UnicodeDecodeError):
        answer.raw.decode()


def test_an_error_breaks_a_stream_off_after_some_text(sim):
    events = ask(sim, "[[simulate: error=overloaded_error]]", stream=True).events
    names = [name for name, _ in events]
    assert "content_block_delta" in names
    assert events[-1][1]["error"]["type"] == "overloaded_error"
    assert "message_stop" not in names


def test_a_stream_error_without_a_stream_is_the_status_of_its_type(sim):
    answer = ask(sim, "[[simulate: error=overloaded_error]]")
    assert (answer.status, answer.error) == (529, "overloaded_error")


@pytest.mark.parametrize("stream", [False, True])
def test_a_trickle_sends_the_same_answer_in_pieces(sim, stream):
    started = monotonic()
    slow = ask(sim, "[[simulate: trickle=0.01s reply=slow]]", stream=stream)
    pauses = 6  # seven events, or eight parts of which the first goes with the head
    assert monotonic() - started >= 0.01 * pauses
    assert b"slow" in slow.raw
    received = sim.requests[-1]
    assert (received.status, received.finished >= received.started) == (200, True)


def test_a_request_that_hangs_ends_when_its_client_leaves(sim):
    with asking(sim, "[[simulate: hang]]"):
        assert sim.wait_for(1, 10)[0].finished is None
    assert ask(sim).status == 200


def test_faults_by_rate_follow_the_seed():
    def statuses(seed):
        with Simulator(Behaviour(faults={"529": 0.3, "500": 0.3}, seed=seed)) as server:
            return [ask(server).status for _ in range(30)]

    first = statuses(1)
    assert set(first) == {200, 500, 529}
    assert first == statuses(1)
    assert first != statuses(2)


def test_a_fault_that_is_certain_meets_every_request():
    with Simulator(Behaviour(faults={"html": 1.0})) as server:
        assert {ask(server).status for _ in range(3)} == {502}


@pytest.mark.parametrize(
    ("text", "latency"),
    [
        ("2s", Latency(2.0)),
        ("250ms", Latency(0.25)),
        ("1.5", Latency(1.5)),
        ("uniform:1s,3s", Latency(1.0, 3.0, "uniform")),
        ("lognormal:2.5s,7.8s", Latency(2.5, 7.8, "lognormal")),
    ],
)
def test_a_latency_is_read(text, latency):
    assert parse_latency(text) == latency


@pytest.mark.parametrize(
    "text", ["", "fast", "2y", "-1s", "uniform:1s", "uniform:3s,1s", "lognormal:0s,1s", "normal:1s,2s", "1s,2s", ":2s"]
)
def test_a_latency_that_cannot_be_read_is_a_usage_error_that_says_how_to_write_it(text):
    with pytest.raises(UsageError) as caught:
        parse_latency(text)
    assert "lognormal:2.5s,7.8s" in caught.value.hint
    assert f"'{text}'" in caught.value.message


def test_a_lognormal_latency_has_its_median_and_its_99th_percentile():
    random = Random(1)
    drawn = sorted(draw(parse_latency("lognormal:2s,8s"), random) for _ in range(20_000))
    assert median(drawn) == pytest.approx(2, rel=0.05)
    assert drawn[int(0.99 * len(drawn))] == pytest.approx(8, rel=0.1)


def test_a_uniform_latency_stays_in_its_range():
    random = Random(1)
    assert all(1 <= draw(Latency(1, 3, "uniform"), random) <= 3 for _ in range(100))


@pytest.mark.parametrize(
    "wrong",
    [
        {"faults": {"boredom": 0.1}}, {"faults": {"200": 0.1}}, {"faults": {"529": 1.5}},
        {"faults": {"529": 0.6, "500": 0.6}}, {"prefix": "proxy"}, {"prefix": "/proxy/"}, {"requests_per_minute": 0},
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_a_usage_error(wrong):
    with pytest.raises(UsageError):
        Behaviour(**wrong)


def test_the_latency_passes_before_the_answer():
    with Simulator(Behaviour(latency=Latency(0.05))) as server:
        started = monotonic()
        ask(server)
        assert monotonic() - started >= 0.05
        assert ask(server, "[[simulate: latency=0.06s status=500]]").status == 500
        assert server.requests[-1].finished - server.requests[-1].started >= 0.06


def test_the_chunk_delay_passes_between_the_events_of_a_stream_only():
    with Simulator(Behaviour(chunk_delay=0.01)) as server:
        ask(server, "[[simulate: reply=x]]", stream=True)
        assert server.requests[-1].finished - server.requests[-1].started >= 0.06
        assert ask(server, "[[simulate: reply=x]]").text == "x"


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_requests_over_the_limit_are_refused_until_the_bucket_fills():
    clock = Clock()
    with Simulator(Behaviour(requests_per_minute=2, clock=clock)) as server:
        assert [ask(server).status for _ in range(3)] == [200, 200, 429]
        refused = ask(server)
        assert (refused.error, refused.headers["retry-after"]) == ("rate_limit_error", "30")
        assert refused.headers["anthropic-ratelimit-requests-limit"] == "2"
        assert refused.headers["anthropic-ratelimit-requests-remaining"] == "0"
        assert refused.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
        clock.now += 30
        assert [ask(server).status for _ in range(2)] == [200, 429]


def test_each_group_of_models_has_limits_of_its_own():
    with Simulator(Behaviour(requests_per_minute=1, clock=Clock())) as server:
        assert ask(server, model="claude-opus-4-7").status == 200
        assert ask(server, model="claude-opus-4-8").status == 429
        assert ask(server, model="claude-opus-5").status == 200


def test_a_burst_is_a_part_of_a_minute():
    with Simulator(Behaviour(requests_per_minute=120, burst_seconds=1, clock=Clock())) as server:
        assert [ask(server).status for _ in range(3)] == [200, 200, 429]


def test_output_leaves_a_debt_that_must_be_paid_back():
    clock = Clock()
    with Simulator(Behaviour(output_tokens_per_minute=60, clock=clock)) as server:
        first = ask(server, "[[simulate: tokens=100]]")
        assert first.headers["anthropic-ratelimit-output-tokens-remaining"] == "0"
        refused = ask(server)
        assert (refused.status, refused.headers["retry-after"]) == (429, "41")
        clock.now += 41
        assert ask(server).status == 200


def test_input_counts_what_is_fresh_or_written_to_the_cache_but_not_what_is_read_from_it():
    with Simulator(Behaviour(input_tokens_per_minute=9000, clock=Clock())) as server:
        assert [ask(server, system=CACHED_SYSTEM).status for _ in range(5)] == [200] * 5
        assert ask(server, f"{LONG}!").status == 429


def test_a_request_larger_than_its_limit_waits_for_a_full_bucket():
    clock = Clock()
    with Simulator(Behaviour(input_tokens_per_minute=100, clock=clock)) as server:
        assert [ask(server, LONG).status for _ in range(2)] == [200, 429]


def cached_usage(sim, text=LONG, model="claude-sonnet-4-6", ttl=None, **fields):
    mark = {"type": "ephemeral", **({"ttl": ttl} if ttl else {})}
    system = [{"type": "text", "text": text, "cache_control": mark}]
    usage = ask(sim, model=model, system=system, **fields).json["usage"]
    return usage["cache_creation_input_tokens"], usage["cache_read_input_tokens"], usage["input_tokens"]


def test_a_prefix_is_written_once_and_read_afterwards(sim):
    assert cached_usage(sim) == (5750, 0, 3)
    assert cached_usage(sim) == (0, 5750, 3)


def test_a_prefix_belongs_to_its_model_and_its_text(sim):
    cached_usage(sim)
    assert cached_usage(sim, model="claude-sonnet-4-5")[1] == 0
    assert cached_usage(sim, text=f"{LONG}.")[1] == 0


def test_a_prefix_below_the_models_minimum_is_silently_not_cached(sim):
    text = "x" * 4 * 2000
    assert cached_usage(sim, text, "claude-sonnet-4-6") == (2000, 0, 3)
    assert cached_usage(sim, text, "claude-haiku-4-5") == (0, 0, 2003)


def test_a_prefix_lives_five_minutes_from_its_last_use():
    clock = Clock()
    with Simulator(Behaviour(clock=clock)) as server:
        cached_usage(server)
        clock.now += 299
        assert cached_usage(server)[1] == 5750
        clock.now += 299
        assert cached_usage(server)[1] == 5750
        clock.now += 300
        assert cached_usage(server)[:2] == (5750, 0)


def test_a_prefix_can_live_an_hour_and_is_counted_apart():
    clock = Clock()
    with Simulator(Behaviour(clock=clock)) as server:
        system = [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
        first = ask(server, model="claude-sonnet-4-6", system=system).json["usage"]
        assert first["cache_creation"] == {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 5750}
        clock.now += 3599
        assert cached_usage(server)[1] == 5750


def test_a_prefix_is_readable_only_once_the_first_answer_has_begun(sim):
    with asking(sim, "[[simulate: latency=600s]]", model="claude-sonnet-4-6", system=CACHED_SYSTEM):
        sim.wait_for(1, 10)
        assert cached_usage(sim)[:2] == (5750, 0)
        assert cached_usage(sim)[:2] == (0, 5750)


def test_a_longer_conversation_reads_the_prefix_that_a_shorter_one_wrote(sim):
    turns = [{"role": "user", "content": LONG}]
    first = ask(sim, messages=turns, cache_control={"type": "ephemeral"}).json["usage"]
    turns = [*turns, {"role": "assistant", "content": "Yes"}, {"role": "user", "content": "More"}]
    second = ask(sim, messages=turns, cache_control={"type": "ephemeral"}).json["usage"]
    assert second["cache_read_input_tokens"] == first["cache_creation_input_tokens"] == 7475
    assert second["cache_creation_input_tokens"] == 3
    assert second["input_tokens"] == 0


GOOD = {"model": HAIKU, "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"x_api_key": None}, 401, "authentication_error"),
        ({"x_api_key": ""}, 401, "authentication_error"),
        ({"x_api_key": None, "authorization": "Basic abc"}, 401, "authentication_error"),
        ({"anthropic_version": None}, 400, "invalid_request_error"),
        ({"anthropic_version": "2020-01-01"}, 400, "invalid_request_error"),
        ({"content_encoding": "br"}, 400, "invalid_request_error"),
        ({"x_api_key": None, "authorization": "Bearer k"}, 200, None),
    ],
)
def test_headers_are_checked(sim, headers, status, kind):
    answer = call(sim, "POST", "/v1/messages", GOOD, **headers)
    assert answer.status == status
    assert kind is None or answer.error == kind


def test_only_the_right_key_is_accepted_where_one_is_set():
    with Simulator(Behaviour(key="secret")) as server:
        assert call(server, "POST", "/v1/messages", GOOD).status == 401
        assert call(server, "POST", "/v1/messages", GOOD, x_api_key="secret").status == 200
        assert call(server, "GET", "/v1/models", x_api_key=None, authorization="Bearer secret").status == 200


def turn(*blocks, role="user"):
    return {"messages": [{"role": "user", "content": "Hi"}, {"role": role, "content": list(blocks)}]}


TEXT = {"type": "text", "text": "x"}
CACHED = {**TEXT, "cache_control": {"type": "ephemeral"}}
TOOL = {"name": "t", "input_schema": {"type": "object"}}


def schema(**keywords):
    return {"output_config": {"format": {"type": "json_schema", "schema": keywords}}}


def closed(**properties):
    return {"type": "object", "properties": properties, "additionalProperties": False}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": 128_001}, "128001 > 128000"),
        ({"model": None}, "model: Field required"),
        ({"messages": None}, "messages: Field required"),
        ({"messages": []}, "at least one message"),
        ({"messages": "Hi"}, "messages: Input should be a valid list"),
        ({"messages": ["Hi"]}, "messages.0"),
        ({"messages": [{"content": "Hi"}]}, "messages.0.role"),
        ({"messages": [{"role": "robot", "content": "Hi"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": ""}]}, "non-empty"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        (turn({"text": "x"}), "messages.1.content.0.type"),
        (turn({"type": "text"}), "messages.1.content.0.text"),
        (turn({"type": "text", "text": ""}), "non-empty"),
        (turn({"type": "image"}, role="system"), "messages.1.content.0.type"),
        (turn({**TEXT, "cache_control": {"type": "eternal"}}), "cache_control.type"),
        (turn({**TEXT, "cache_control": {"type": "ephemeral", "ttl": "2h"}}), "cache_control.ttl"),
        (turn(*[CACHED] * 5), "maximum of 4"),
        (turn({**TEXT, "citations": [{}]}), "citations"),
        (turn({"type": "document"}, role="assistant"), "document"),
        ({"messages": [*GOOD["messages"], {"role": "assistant", "content": "{"}]}, "prefill"),
        ({"temperature": 1.0}, "temperature"),
        ({"top_p": 0.5}, "top_p"),
        ({"top_k": 5}, "top_k"),
        ({"system": 5}, "system"),
        ({"sytem": "x"}, "sytem: Extra inputs"),
        ({"stop_sequences": [5]}, "stop_sequences.0"),
        ({"stop_sequences": [" "]}, "stop_sequences.0"),
        ({"service_tier": "gold"}, "service_tier"),
        ({"thinking": {}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "thinking.type"),
        ({"thinking": {"type": "adaptive", "display": "loud"}}, "thinking.display"),
        ({"output_config": {"effort": "heroic"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "xml"}}}, "format.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "format.schema"),
        ({"output_config": {"format": "json"}}, "output_config.format"),
        ({"output_format": {"type": "json_schema", "schema": {"type": "object"}}}, "additionalProperties"),
        (schema(type="object"), "additionalProperties"),
        (schema(**closed(a={"type": "object", "properties": {}})), "properties.a"),
        (schema(type="integer", minimum=1), "minimum"),
        (schema(type="array", items={"type": "string"}, minItems=2), "minItems"),
        (schema(type="text"), "type 'text'"),
        (schema(**closed(a={"$ref": "#"})), "Circular"),
        (schema(**{"$ref": "https://example.com/s.json"}), "External"),
        (schema(**{"$ref": "#/$defs/none"}), "does not exist"),
        (schema(**closed(a=5)), "properties.a"),
        (schema(**{**closed(), "required": [5]}), "required"),
        (schema(**closed(**{f"p{i}": {"type": "string"} for i in range(25)})), "optional parameters"),
        ({"tools": [5]}, "tools.0"),
        ({"tools": [{"name": "t", "input_schema": {"properties": []}}]}, "tools.0.input_schema.properties"),
        ({"tool_choice": {"type": "sometimes"}}, "tool_choice.type"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "u"}}, "tool_choice.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "any"}, "model": "claude-opus-5-5"}, "tool_choice"),
    ],
)  # fmt: skip
def test_a_bad_body_is_refused_and_the_message_says_where(sim, change, where):
    body = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    answer = call(sim, "POST", "/v1/messages", body)
    assert (answer.status, answer.error) == (400, "invalid_request_error")
    assert where in answer.message


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"model": "claude-opus-4-6", "temperature": 0.5, "top_p": 0.9, "top_k": 5}, 200),
        ({"model": "claude-opus-4-6", "temperature": 2.0}, 400),
        ({"model": "claude-opus-4-7", "temperature": 1.0}, 200),
        ({"model": "claude-opus-4-7", "temperature": 0.5}, 400),
        ({"model": "claude-opus-4-7", "top_k": 1}, 400),
        (turn({"type": "document"}, role="assistant") | {"model": "claude-opus-4-5"}, 200),
        (turn({**TEXT, "citations": [{}]}), 200),
        ({"model": "claude-opus-4-5", "thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 1025}, 200),
        ({"model": "claude-opus-4-5", "thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 1024}, 400),
        ({"model": "claude-opus-4-5", "thinking": {"type": "enabled", "budget_tokens": 10}}, 400),
        ({"model": "claude-opus-4-5", "thinking": {"type": "adaptive"}}, 400),
        ({"model": "claude-opus-4-5", "output_config": {"effort": "max"}}, 400),
        ({"model": "claude-haiku-4-5", "output_config": {"effort": "low"}}, 400),
        ({"model": "claude-opus-5", "thinking": {"type": "disabled"}, "output_config": {"effort": "max"}}, 400),
        ({"model": "claude-opus-5", "thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, 200),
        ({"model": "claude-opus-4-5", "messages": [{"role": "user", "content": "x" * 900_000}]}, 400),
    ],
)  # fmt: skip
def test_what_a_model_takes_depends_on_the_model_and_the_version(sim, change, status):
    assert call(sim, "POST", "/v1/messages", {**GOOD, **change}, anthropic_version="2023-06-01").status == status


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(sim, body):
    assert call(sim, "POST", "/v1/messages", body).error == "invalid_request_error"
    assert sim.requests[-1].body in (None, [])


@pytest.mark.parametrize("model", ["claude-opus-9", "claude-3-opus-20240229"])
def test_an_unknown_or_retired_model_is_not_found(sim, model):
    answer = ask(sim, model=model)
    assert (answer.status, answer.error, answer.message) == (404, "not_found_error", f"model: {model}")


def test_an_alias_is_answered_with_the_id_it_stands_for(sim):
    assert ask(sim, model="claude-haiku-4-5").json["model"] == "claude-haiku-4-5-20251001"


def test_a_body_over_32_megabytes_is_refused_with_a_page(sim):
    answer = ask(sim, "x" * (32 * 1024 * 1024))
    assert (answer.status, answer.headers["content-type"]) == (413, "text/html")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["text", "object", "user", "$ref", "#"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "text",
                    "role",
                    "content",
                    "cache_control",
                    "properties",
                    "items",
                    "$ref",
                    "required",
                    "enum",
                    "anyOf",
                    "name",
                    "schema",
                    "format",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
fields = [
    "system",
    "messages",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "stop_sequences",
    "cache_control",
    "max_tokens",
    "stream",
    "speed",
]


def endpoint_answer(message=None, **fields):
    endpoints = Endpoints(Behaviour(), "http")
    body = {**GOOD, "messages": [{"role": "user", "content": "Hi", **(message or {})}], "max_tokens": 100_000, **fields}
    request = HttpRequest("POST", "/v1/messages", HEADERS, json.dumps(body).encode(), keep_alive=True, chunks=True)
    return endpoints.answer(request, "req_1")


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(fields), json_values, max_size=3))
def test_no_body_brings_the_server_down(body):
    delivery = endpoint_answer(**body)
    assert delivery.status in {200, 400}
    assert delivery.pieces


@settings(max_examples=200, deadline=None)
@given(json_values)
def test_no_schema_brings_the_server_down(value):
    tool = {"name": "t", "input_schema": value}
    assert endpoint_answer(tools=[tool], tool_choice={"type": "any"}).status in {200, 400}
    assert endpoint_answer(output_config={"format": {"type": "json_schema", "schema": value}}).status in {200, 400}


def test_models_come_in_pages_without_the_retired_ones(sim):
    first = call(sim, "GET", "/v1/models?limit=10").json
    assert (len(first["data"]), first["has_more"], first["first_id"]) == (10, True, "claude-fable-5-2")
    second = call(sim, "GET", f"/v1/models?limit=10&after_id={first['last_id']}").json
    assert not second["has_more"]
    back = call(sim, "GET", f"/v1/models?limit=4&before_id={second['first_id']}").json
    assert (back["data"], back["has_more"]) == (first["data"][-4:], True)
    ids = [model["id"] for model in first["data"] + second["data"]]
    assert HAIKU in ids
    assert "claude-3-opus-20240229" not in ids


def test_models_are_filtered_by_lifecycle(sim):
    retired = call(sim, "GET", "/v1/models?lifecycle[]=retired&limit=100").json["data"]
    assert "claude-3-opus-20240229" in [model["id"] for model in retired]
    assert {model["lifecycle"] for model in retired} == {"retired"}
    deprecated = call(sim, "GET", "/v1/models?lifecycle[]=deprecated").json["data"]
    assert [(model["id"], model["retires_at"]) for model in deprecated] == [
        ("claude-sonnet-4-5-20250929", "2026-11-30T00:00:00Z")
    ]


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1001", "after_id=none", "lifecycle[]=asleep"])
def test_a_query_that_cannot_be_met_is_refused(sim, query):
    assert call(sim, "GET", f"/v1/models?{query}").error == "invalid_request_error"


def test_a_page_of_nothing_has_no_ids(sim):
    last = call(sim, "GET", "/v1/models").json["last_id"]
    assert call(sim, "GET", f"/v1/models?after_id={last}").json == {
        "data": [], "has_more": False, "first_id": None, "last_id": None,
    }  # fmt: skip


def test_one_model_is_described_and_a_retired_one_is_not_found(sim):
    model = call(sim, "GET", "/v1/models/claude-opus-4-5").json
    assert (model["id"], model["display_name"], model["line"]) == (
        "claude-opus-4-5-20251101",
        "Claude Opus 4.5",
        "opus",
    )
    assert model["capabilities"]["effort"]["high"] == {"supported": True}
    assert model["capabilities"]["effort"]["max"] == {"supported": False}
    assert call(sim, "GET", "/v1/models/claude-3-opus-20240229").status == 404


def test_paths_and_methods_that_do_not_exist_are_told_so(sim):
    assert call(sim, "GET", "/").json["simulated"]
    head = call(sim, "HEAD", "/")
    assert (head.status, head.raw) == (200, b"")
    assert call(sim, "GET", "/v1/nothing").error == "not_found_error"
    assert call(sim, "GET", "/v1/messages").status == 405
    assert call(sim, "DELETE", "/v1/models").status == 405
    assert call(sim, "PUT", "/v1/messages/batches/x/y").status == 404


def test_everything_lies_under_the_prefix_and_nothing_beside_it():
    with Simulator(Behaviour(prefix="/proxy")) as server:
        assert server.url.endswith("/proxy")
        assert ask(server).status == 200
        assert call(server, "GET", "").status == 200
        url = urlsplit(server.url)
        connection = HTTPConnection(url.hostname, url.port)
        statuses = []
        for path in ("/v1/models", "/proxyv1/models", "/proxy/v1/models"):
            connection.request("GET", path, headers=HEADERS)
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        connection.close()
        assert statuses == [404, 404, 200]


def item(name, text="Hi", **params):
    return {"custom_id": name, "params": {**GOOD, "messages": [{"role": "user", "content": text}], **params}}


def create_batch(sim, *items):
    return call(sim, "POST", "/v1/messages/batches", {"requests": list(items)})


def test_a_batch_ends_after_its_time_with_a_result_for_each_item():
    clock = Clock()
    with Simulator(Behaviour(batch_seconds=60, clock=clock)) as server:
        items = [
            item("a", "[[simulate: reply=one]]"), item("b", model="claude-none"), item("c", "[[simulate: status=500]]"),
            item("d", stream=True), item("e", max_tokens=0),
        ]  # fmt: skip
        batch = create_batch(server, *items).json
        path = f"/v1/messages/batches/{batch['id']}"
        assert (batch["processing_status"], batch["results_url"]) == ("in_progress", None)
        assert batch["request_counts"] == {"processing": 5, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
        assert call(server, "GET", f"{path}/results").status == 400
        assert call(server, "DELETE", path).status == 400
        clock.now += 60
        ended = call(server, "GET", path).json
        assert (ended["processing_status"], ended["results_url"]) == ("ended", f"{server.url}{path}/results")
        assert ended["request_counts"]["succeeded"] == 1
        assert ended["request_counts"]["errored"] == 4
        lines = call(server, "GET", f"{path}/results").raw.splitlines()
        results = {line["custom_id"]: line["result"] for line in map(json.loads, lines)}
        assert results["a"]["message"]["content"][0]["text"] == "one"
        assert results["a"]["message"]["usage"]["service_tier"] == "batch"
        kinds = [results[name]["error"]["error"]["type"] for name in "bcde"]
        assert kinds == ["not_found_error", "api_error", "invalid_request_error", "invalid_request_error"]
        assert call(server, "POST", f"{path}/cancel").status == 400
        assert call(server, "DELETE", path).json == {"id": batch["id"], "type": "message_batch_deleted"}
        assert call(server, "GET", path).status == 404


def test_a_canceled_batch_ends_with_canceled_items():
    with Simulator(Behaviour(batch_seconds=60, clock=Clock())) as server:
        path = f"/v1/messages/batches/{create_batch(server, item('a')).json['id']}"
        assert call(server, "POST", f"{path}/cancel").json["processing_status"] == "canceling"
        ended = call(server, "GET", path).json
        assert (ended["processing_status"], ended["request_counts"]["canceled"]) == ("ended", 1)
        assert ended["cancel_initiated_at"]


def test_a_batch_that_takes_longer_than_a_day_expires():
    clock = Clock()
    with Simulator(Behaviour(batch_seconds=90_000, clock=clock)) as server:
        path = f"/v1/messages/batches/{create_batch(server, item('a')).json['id']}"
        clock.now += 86_400
        assert call(server, "GET", path).json["request_counts"]["expired"] == 1


def test_batches_are_listed_newest_first(sim):
    ids = [create_batch(sim, item("a")).json["id"] for _ in range(3)]
    page = call(sim, "GET", "/v1/messages/batches?limit=2").json
    assert ([batch["id"] for batch in page["data"]], page["has_more"]) == (ids[:0:-1], True)


@pytest.mark.parametrize(
    "items", [[], ["x"], [{"custom_id": "a"}], [{**item("a"), "custom_id": "a b"}], [item("a"), item("a")]]
)
def test_a_batch_that_is_not_well_formed_is_refused(sim, items):
    assert create_batch(sim, *items).error == "invalid_request_error"


def exchange(sim, data):
    """Send raw bytes and return all that comes until the server closes."""
    with socket.create_connection((urlsplit(sim.url).hostname, urlsplit(sim.url).port), timeout=10) as sock:
        sock.sendall(data)
        return read_all(sock)


def read_all(sock):
    return b"".join(iter(lambda: sock.recv(65536), b""))


def raw_request(body, *headers, version="HTTP/1.1"):
    lines = [f"POST /v1/messages {version}", "x-api-key: k", "anthropic-version: 2026-10-21", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def test_a_connection_serves_one_request_after_the_other(sim):
    url = urlsplit(sim.url)
    connection = HTTPConnection(url.hostname, url.port)
    for stream in (False, True, False):
        connection.request("POST", "/v1/messages", json.dumps({**GOOD, "stream": stream}), HEADERS)
        sock = connection.sock
        assert connection.getresponse().read()
        assert connection.sock is sock is not None
    connection.close()


def test_pipelined_requests_are_answered_in_order_also_after_a_wait(sim):
    def request(text, *headers):
        body = json.dumps(body_of(text)).encode()
        return raw_request(body, f"content-length: {len(body)}", *headers)

    with socket.create_connection((urlsplit(sim.url).hostname, urlsplit(sim.url).port), timeout=10) as sock:
        sock.sendall(request("[[simulate: latency=0.1s reply=first]]"))
        sim.wait_for(1, 10)
        sock.sendall(request("[[simulate: reply=second]]", "connection: close"))
        answer = read_all(sock)
    assert 0 < answer.index(b"first") < answer.index(b"second")


def test_a_chunked_body_is_read(sim):
    body = json.dumps(GOOD).encode()
    chunks = b"5\r\n" + body[:5] + b"\r\n%x;ext=1\r\n" % len(body[5:]) + body[5:] + b"\r\n0\r\ntrailer: x\r\n\r\n"
    answer = exchange(sim, raw_request(chunks, "transfer-encoding: chunked", "connection: close"))
    assert answer.startswith(b"HTTP/1.1 200")
    assert sim.requests[-1].body == GOOD


def test_a_client_that_waits_for_it_is_told_to_continue(sim):
    body = json.dumps(GOOD).encode()
    headers = (f"content-length: {len(body)}", "expect: 100-continue", "connection: close")
    assert exchange(sim, raw_request(body, *headers)).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


def test_an_old_client_gets_a_stream_without_chunks(sim):
    body = json.dumps({**GOOD, "stream": True}).encode()
    answer = exchange(sim, raw_request(body, f"content-length: {len(body)}", version="HTTP/1.0"))
    assert b"chunked" not in answer
    assert answer.endswith(b"\n\n")


def test_a_request_in_the_form_for_a_proxy_is_answered(sim):
    head = [f"GET {sim.url}/v1/models HTTP/1.1", "x-api-key: k", "anthropic-version: 2026-10-21", "connection: close"]
    assert exchange(sim, "\r\n".join([*head, "", ""]).encode()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / SPDY/3\r\n\r\n",
        raw_request(b"", "content-length: many"),
        raw_request(b"zz\r\n", "transfer-encoding: chunked"),
        b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000,
    ],
)
def test_bytes_that_are_no_request_are_refused(sim, data):
    try:
        answer = exchange(sim, data)
    except ConnectionResetError:  # it may close before it has read all
        return
    assert answer.startswith(b"HTTP/1.1 400")


def test_a_client_that_leaves_in_the_middle_of_a_request_disturbs_nobody(sim):
    address = (urlsplit(sim.url).hostname, urlsplit(sim.url).port)
    for data in (
        b"",
        b"POST /v1/mess",
        raw_request(b"{", "content-length: 100"),
        raw_request(b"5", "transfer-encoding: chunked"),
    ):
        with socket.create_connection(address) as sock:
            sock.sendall(data)
    with socket.create_connection(address) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert ask(sim).status == 200
    assert len(sim.requests) == 1


def test_a_hundred_clients_are_served_at_once(sim):
    gate = threading.Barrier(100)

    def one(i):
        gate.wait()
        return ask(sim, f"[[simulate: latency=0.2s reply=answer {i}]]").text

    with ThreadPoolExecutor(100) as pool:
        texts = list(pool.map(one, range(100)))
    assert texts == [f"answer {i}" for i in range(100)]
    assert len(sim.requests) == 100
    assert 1 < sim.peak_in_flight <= 100


def test_requests_one_after_the_other_are_never_in_flight_together(sim):
    for _ in range(5):
        ask(sim)
    assert sim.peak_in_flight == 1


def test_what_arrived_is_on_record_as_it_was(sim):
    ask(sim, headers={"x_extra": "Yes"})
    received = sim.requests[0]
    assert (received.method, received.path, received.status) == ("POST", "/v1/messages", 200)
    assert (received.headers["x-api-key"], received.headers["x-extra"]) == ("k", "Yes")
    assert received.body["messages"] == [{"role": "user", "content": "Say hello"}]
    assert received.started <= received.finished <= monotonic()


def test_only_so_many_requests_are_remembered():
    with Simulator(Behaviour(remember=2)) as server:
        for text in ("one", "two", "three"):
            ask(server, text)
        assert [request.body["messages"][0]["content"] for request in server.requests] == ["two", "three"]


def test_waiting_for_requests_that_never_arrive_is_an_error(sim):
    call(sim, "GET", "/v1/models")
    with pytest.raises(TimeoutError, match="0 of 1"):
        sim.wait_for(1, 0.01)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    files = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-out", files[0], "-keyout", files[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    return files


def test_it_speaks_tls_with_a_certificate(certificate):
    context = ssl.create_default_context(cafile=certificate[0])
    with Simulator(certificate=certificate[0], private_key=certificate[1]) as server:
        assert server.url.startswith("https://")
        url = urlsplit(server.url)
        connection = HTTPSConnection(url.hostname, url.port, context=context)
        connection.request("POST", "/v1/messages", json.dumps({**GOOD, "stream": True}), HEADERS)
        assert b"message_stop" in connection.getresponse().read()
        connection.close()
        with pytest.raises((BadStatusLine, ConnectionError)):
            ask(server)  # plain text to a TLS port
        connect = partial(HTTPSConnection, context=context)
        stack = ExitStack()
        hanging = stack.enter_context(asking(server, "[[simulate: hang]]", connect))
        server.wait_for(2, 10)
    with stack, pytest.raises((HTTPException, OSError)):
        hanging.getresponse()


def test_it_listens_on_ipv6():
    with Simulator(host="::1") as server:
        assert server.url.startswith("http://[::1]:")
        assert ask(server).status == 200


def test_closing_ends_every_thread_and_every_connection_at_once():
    before = set(threading.enumerate())
    with ExitStack() as stack:
        with Simulator() as server:
            for item in ("hang", "latency=600s", "trickle=600s", "reply=x"):
                stack.enter_context(asking(server, f"[[simulate: {item}]]"))
            server.wait_for(4, 10)
        assert set(threading.enumerate()) == before
    url = urlsplit(server.url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((url.hostname, url.port))
    server.close()


def test_a_simulator_that_was_never_entered_can_be_closed():
    Simulator().close()


SERVE = """
import sys
from claude_force.simulator import Behaviour, serve_forever
serve_forever(Behaviour(), "127.0.0.1", 0, lambda url: print(url, flush=True))
print("ended")
"""


def test_serving_for_ever_ends_quietly_with_ctrl_c():
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    url = urlsplit(process.stdout.readline().strip())
    connection = HTTPConnection(url.hostname, url.port)
    connection.request("POST", "/v1/messages", json.dumps(GOOD), HEADERS)
    assert connection.getresponse().read()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    connection.close()
    assert (process.returncode, out, err) == (0, "ended\n", "")
