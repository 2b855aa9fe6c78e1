"""Server-sent events and what becomes of them: any division into chunks, and every rule for usage and text."""

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_force.client import message
from claude_force.client.message import Answer
from claude_force.client.sse import Decoder
from claude_force.errors import ApiError, AuthenticationFailed, ConnectionFailed, TryLater
from claude_force.records import Usage

SYNTAX = (b"data", b"event", b"id", b":", b": ", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"x", b"{}", "é\u2028".encode())


def decode(*chunks, **limits):
    decoder = Decoder(**limits)
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def by_lines(stream):
    """The standard's algorithm, line by line, as slow and plain as it is written there."""
    events, name, data = [], "", []
    for line in re.split(r"\r\n|\r|\n", stream.decode())[:-1]:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                events.append((name, "\n".join(data)))
            name, data = "", []
        elif field == "data":
            data.append(value)
        elif field == "event":
            name = value
    return events


@given(st.lists(st.sampled_from(SYNTAX), max_size=40).map(b"".join), st.lists(st.integers(0, 200), max_size=12))
def test_any_division_of_the_bytes_gives_the_events_of_the_standard(stream, cuts):
    # A final "\r" may be the first half of a line end, so the stream ends in something that is not one.
    stream += b"end"
    edges = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    chunks = [stream[a:b] for a, b in pairwise(edges)]
    assert decode(*chunks) == decode(*map(bytes, zip(stream))) == decode(stream) == by_lines(stream)


def test_a_line_end_of_two_bytes_may_be_divided():
    assert decode(b"data: 1\r", b"", b"\ndata: 2\r", b"\n", b"\r\n") == [("", "1\n2")]


def test_separators_of_unicode_and_old_terminals_do_not_end_a_line():
    text = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg"
    assert decode(f"data: {text}\n\n".encode()) == [("", text)]


def test_several_data_lines_are_joined_and_other_fields_ignored():
    assert decode(b": hello\nevent: x\nid: 1\nretry: 5\ndata:  a\ndata:b\ndata\n\n") == [("x", " a\nb\n")]


def test_an_event_without_data_and_one_without_an_end_are_dropped():
    assert decode(b"event: ping\n\n\n\ndata: 1\n\ndata: 2\n") == [("", "1")]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_event_beyond_the_bound_is_refused_however_it_arrives(size):
    stream = b"data: " + b"x" * 100 + b"\n\n"
    with pytest.raises(ConnectionFailed, match="too large") as caught:
        decode(*(stream[i : i + size] for i in range(0, len(stream), size)), max_event_bytes=50)
    assert not caught.value.retryable


def test_the_bound_is_for_one_event_and_not_for_the_stream():
    assert len(decode(b"data: 1234567890\n\n" * 100, max_event_bytes=20)) == 100


def test_bytes_that_are_not_utf8_are_refused():
    with pytest.raises(ConnectionFailed, match="UTF-8"):
        decode(b"data: \xff\n\n")


# --- from events to a reply


def event(kind, **fields):
    return kind, json.dumps({"type": kind, **fields})


def start(**fields):
    return event("message_start", message={"id": "msg_1", "model": "m-1", "content": [], **fields})


def text(piece):
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})


def stop(reason="end_turn", **fields):
    return event("message_delta", delta={"stop_reason": reason, **fields.pop("delta", {})}, **fields)


END = event("message_stop")


def reply_to(*events, **options):
    answer = Answer(**options)
    answer.feed(events)
    return answer.reply()


def test_text_blocks_are_joined_whatever_stands_between_them():
    reply = reply_to(
        start(),
        event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}),
        event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"}),
        event("content_block_start", index=1, content_block={"type": "text", "text": "A"}),
        text("b"),
        event("content_block_start", index=2, content_block={"type": "tool_use", "input": {}}),
        event("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": "{"}),
        event("content_block_start", index=3, content_block={"type": "text"}),
        text("c"),
        stop(),
        END,
    )
    assert (reply.text, reply.model, reply.message_id, reply.stop_reason) == ("Abc", "m-1", "msg_1", "end_turn")


def test_what_the_api_may_add_one_day_is_ignored():
    novelty = event("surprise", data=[1]), event("content_block_delta", delta={"type": "new", "text": "no"})
    assert reply_to(start(), event("ping"), *novelty, text("yes"), stop(), END).text == "yes"


def test_usage_counts_are_overwritten_and_null_keeps_what_was_known():
    first = {
        "input_tokens": 12,
        "output_tokens": 1,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 7,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
        "service_tier": "standard",
        "inference_geo": None,
    }
    last = {
        "input_tokens": None,
        "output_tokens": 40,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": None},
        "output_tokens_details": {"thinking_tokens": 30},
        "server_tool_use": {"web_search_requests": 2},
        "speed": "fast",
    }
    reply = reply_to(start(usage=first), stop(None, usage={"output_tokens": 20}), stop(usage=last), END)
    assert reply.usage == Usage(12, 40, 7, 5, 4, 30, 2, "standard", None, "fast")


@pytest.mark.parametrize("count", [-1, 1.5, "7", True, [], {}])
def test_a_count_that_is_none_counts_as_zero(count):
    assert reply_to(start(usage={"input_tokens": count}), END).usage.input_tokens == 0


def test_a_refusal_carries_its_category_and_an_explanation_without_one_carries_none():
    details = {"stop_details": {"type": "refusal", "category": "bio", "explanation": None}}
    assert reply_to(start(), stop("refusal", delta=details), END).refusal == "bio"
    assert reply_to(start(), stop("refusal", delta={"stop_details": {"category": None}}), END).refusal is None


def test_events_after_the_end_are_not_looked_at():
    assert reply_to(start(), text("a"), END, text("b"), ("", "not json")).text == "a"


def test_the_name_of_an_event_stands_in_for_a_missing_type():
    assert reply_to(start(), text("a"), ("message_stop", "{}")).text == "a"


def test_pieces_are_shown_as_they_come_and_never_an_empty_one():
    shown = []
    reply_to(start(), text("a"), text(""), text("b"), END, on_text=shown.append)
    assert shown == ["a", "b"]


def test_what_the_callback_raises_goes_through():
    def full(_):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        reply_to(start(), text("a"), on_text=full)


def test_an_answer_without_its_last_event_was_cut_off():
    with pytest.raises(ConnectionFailed, match="cut off") as caught:
        reply_to(start(), text("a"), stop())
    assert caught.value.retryable


def test_a_stream_without_any_event_is_no_message():
    with pytest.raises(ConnectionFailed, match="not a message") as caught:
        reply_to()
    assert "ANTHROPIC_BASE_URL" in caught.value.hint


@pytest.mark.parametrize("data", ["", "{", "[]", "null", '"x"', "[" * 100_000])
def test_an_event_that_is_no_object_is_garbled(data):
    with pytest.raises(ConnectionFailed, match="garbled"):
        reply_to(start(), ("ping", data))


@pytest.mark.parametrize("piece", [None, 5, ["a"]])
def test_a_text_that_is_no_string_is_garbled(piece):
    with pytest.raises(ConnectionFailed, match="garbled"):
        reply_to(start(), text(piece))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KINDS = ["message_start", "message_delta", "content_block_start", "content_block_delta", "message_stop", "error"]
FIELDS = ["message", "delta", "content_block", "usage", "error", "index", "text", "stop_details", "request_id"]


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS), json_values)), max_size=5))
def test_no_shape_of_events_raises_anything_but_our_own_errors(events):
    try:
        reply = reply_to(*(event(kind, **fields) for kind, fields in events))
    except (ConnectionFailed, ApiError):
        return
    assert isinstance(reply.text, str)


def test_half_a_surrogate_pair_becomes_a_mark_that_every_file_can_take():
    shown = []
    reply = reply_to(start(), text("ok \ud83d"), text("\ude00 😀"), END, on_text=shown.append)
    assert reply.text == "".join(shown) == "ok \ufffd\ufffd 😀"


def test_an_answer_that_never_ends_is_refused(monkeypatch):
    monkeypatch.setattr(message, "MAX_TEXT_CHARACTERS", 100)
    with pytest.raises(ConnectionFailed, match="too large"):
        reply_to(start(), *[text("x" * 60)] * 2)


def error(kind, **fields):
    return event("error", error={"type": kind, "message": "m", **fields})


@pytest.mark.parametrize(
    ("kind", "class_", "status", "retryable"),
    [
        ("overloaded_error", TryLater, 529, True),
        ("rate_limit_error", TryLater, 429, True),
        ("api_error", ApiError, 500, True),
        ("timeout_error", ApiError, 504, True),
        ("invalid_request_error", ApiError, 400, False),
        ("authentication_error", AuthenticationFailed, 401, False),
        ("something_new", ApiError, 500, True),
    ],
)
def test_an_error_event_is_the_error_of_the_status_of_its_type(kind, class_, status, retryable):
    with pytest.raises(class_) as caught:
        reply_to(start(), text("a"), error(kind), request_id="req_9")
    told = caught.value
    assert type(told) is class_
    assert (told.status, told.kind, told.retryable, told.request_id) == (status, kind, retryable, "req_9")


def test_a_secret_that_an_error_event_quotes_is_not_shown():
    quoting = event("error", error={"type": "api_error", "message": "bad key hunter2-hunter2 or sk-ant-api03-abc"})
    with pytest.raises(ApiError) as caught:
        reply_to(quoting, secrets=("hunter2-hunter2",))
    assert caught.value.message == "the API answered 500 api_error: bad key [secret] or [secret]"


# --- a whole message


def whole(body, **options):
    answer = Answer(**options)
    answer.whole(body if isinstance(body, bytes) else json.dumps(body).encode())
    return answer.reply()


def test_a_whole_message_gives_the_reply_that_its_stream_would_give():
    shown = []
    content = [{"type": "thinking", "thinking": ""}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    body = {"type": "message", "id": "msg_2", "model": "m", "content": content, "stop_reason": "max_tokens"}
    reply = whole(body | {"usage": {"input_tokens": 3, "output_tokens": 4}}, on_text=shown.append, request_id="req_1")
    assert (reply.text, shown, reply.stop_reason) == ("ab", ["a", "b"], "max_tokens")
    assert (reply.usage, reply.message_id, reply.request_id) == (Usage(3, 4), "msg_2", "req_1")


def test_an_empty_message_is_a_reply_without_text():
    assert whole({"type": "message", "content": [], "stop_reason": "end_turn"}).text == ""


@pytest.mark.parametrize(
    "body", [b"\xff", b"", b"<html>", {}, {"type": "message"}, {"type": "message", "content": "x"}]
)
def test_a_body_that_is_no_message_is_garbled(body):
    with pytest.raises(ConnectionFailed, match="garbled"):
        whole(body)


def test_an_error_with_status_200_is_an_error():
    with pytest.raises(TryLater):
        whole({"type": "error", "error": {"type": "overloaded_error", "message": "m"}})
