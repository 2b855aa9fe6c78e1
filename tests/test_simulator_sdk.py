"""The official SDK cannot tell the simulator from the API: sync, async and streaming."""

import asyncio

import pytest

from claude_force.simulator import Behaviour, Fault, Simulator

anthropic = pytest.importorskip("anthropic")

HAIKU = "claude-haiku-5-5"


@pytest.fixture
def sim():
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def client(sim):
    with anthropic.Anthropic(api_key="k", base_url=sim.url, max_retries=2, timeout=20) as sdk:
        yield sdk


def prompt(text, **fields):
    return {"model": HAIKU, "max_tokens": 1000, "messages": [{"role": "user", "content": text}], **fields}


def test_a_message_is_read(client):
    answer = client.messages.create(**prompt("[[simulate: thinking reply=Hello]]", system="Be kind"))
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert (answer.content[1].text, answer.stop_reason, answer.usage.output_tokens) == ("Hello", "end_turn", 18)
    assert answer._request_id.startswith("req_sim_")


def test_a_stream_gives_the_message_that_a_whole_answer_gives(client):
    whole = client.messages.create(**prompt("Hi"))
    with client.messages.stream(**prompt("Hi")) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[0].text
    assert (final.usage.input_tokens, final.usage.output_tokens) == (
        whole.usage.input_tokens,
        whole.usage.output_tokens,
    )
    assert final.stop_reason == whole.stop_reason


def test_raw_events_of_a_stream_are_read(client):
    types = [event.type for event in client.messages.create(**prompt("[[simulate: reply=x]]"), stream=True)]
    assert types == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_line_separators_inside_a_stream_split_nothing(client):
    with client.messages.stream(**prompt("[[simulate: reply=<<a\u2028b\u0085c\x0bd>>]]")) as stream:
        assert stream.get_final_text() == "a\u2028b\u0085c\x0bd"


def test_the_async_client_is_served(sim):
    async def main():
        async with anthropic.AsyncAnthropic(api_key="k", base_url=sim.url) as sdk:
            answers = await asyncio.gather(
                *(sdk.messages.create(**prompt(f"[[simulate: reply={i}]]")) for i in range(10))
            )
            async with sdk.messages.stream(**prompt("[[simulate: reply=streamed]]")) as stream:
                return [answer.content[0].text for answer in answers], await stream.get_final_text()

    assert asyncio.run(main()) == ([str(i) for i in range(10)], "streamed")


def test_a_tool_loop_runs_to_its_end(client):
    tool = {
        "name": "add",
        "description": "Add",
        "input_schema": {"type": "object", "properties": {"n": {"type": "integer"}}},
    }
    question = {"role": "user", "content": "[[simulate: stop=tool_use]]"}
    with client.messages.stream(**prompt("", messages=[question], tools=[tool])) as stream:
        call = stream.get_final_message()
    assert (call.stop_reason, call.content[0].input) == ("tool_use", {"n": 0})
    result = {"type": "tool_result", "tool_use_id": call.content[0].id, "content": "3"}
    turns = [question, {"role": "assistant", "content": call.content}, {"role": "user", "content": [result]}]
    assert client.messages.create(**prompt("", messages=turns, tools=[tool])).stop_reason == "end_turn"


def test_a_parsed_answer_fits_its_model(client):
    pydantic = pytest.importorskip("pydantic")
    review = pydantic.create_model("Review", title=(str, ...), score=(int, ...))
    answer = client.messages.parse(**prompt("Review"), output_format=review)
    assert (answer.parsed_output.title, answer.parsed_output.score) == ("[simulated] title", 0)


def test_tokens_are_counted_as_in_the_usage(client):
    body = prompt("Some words", system="Be kind")
    del body["max_tokens"]
    assert (
        client.messages.count_tokens(**body).input_tokens
        == client.messages.create(**body, max_tokens=5).usage.input_tokens
    )


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (403, "PermissionDeniedError"),
        (404, "NotFoundError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
        (529, "InternalServerError"),
    ],
)
def test_errors_become_the_exceptions_of_the_sdk(sim, client, status, error):
    with pytest.raises(getattr(anthropic, error)) as caught:
        client.with_options(max_retries=0).messages.create(**prompt(f"[[simulate: status={status}]]"))
    assert caught.value.status_code == status
    assert caught.value.body["error"]["type"]
    assert caught.value.request_id.startswith("req_sim_")


def test_faults_that_pass_are_retried(sim, client):
    sim.script(Fault(reset=True), Fault(status=529, retry_after=0.01), Fault(reply="at last"))
    assert client.messages.create(**prompt("Hi")).content[0].text == "at last"
    assert [request.status for request in sim.requests] == [None, 529, 200]
    assert [request.headers["x-stainless-retry-count"] for request in sim.requests] == ["0", "1", "2"]


def test_an_error_in_the_middle_of_a_stream_is_raised_and_not_retried(sim, client):
    with (
        pytest.raises(anthropic.APIStatusError, match="overloaded_error"),
        client.messages.stream(**prompt("[[simulate: error=overloaded_error]]")) as stream,
    ):
        stream.get_final_message()
    assert len(sim.requests) == 1


def test_a_stream_that_is_cut_is_an_error(client):
    import httpx2

    with (
        pytest.raises((anthropic.APIConnectionError, httpx2.RemoteProtocolError)),
        client.messages.stream(**prompt("[[simulate: cut]]")) as stream,
    ):
        stream.get_final_message()


def test_models_are_paged_through_and_described(client):
    ids = [model.id for model in client.models.list(limit=5)]
    assert len(ids) == len(set(ids)) > 10
    model = client.models.retrieve(HAIKU)
    assert (model.display_name, model.lifecycle, model.line) == ("Claude Haiku 5.5", "active", "haiku")
    assert model.capabilities.thinking.types.adaptive.supported


def test_a_batch_is_created_listed_read_and_deleted(client):
    requests = [{"custom_id": "a", "params": prompt("[[simulate: reply=one]]")}, {"custom_id": "b", "params": {}}]
    batch = client.messages.batches.create(requests=requests)
    results = {line.custom_id: line.result for line in client.messages.batches.results(batch.id)}
    assert results["a"].message.content[0].text == "one"
    assert results["b"].error.error.type == "invalid_request_error"
    assert [each.id for each in client.messages.batches.list()] == [batch.id]
    assert client.messages.batches.delete(batch.id).id == batch.id


def test_a_batch_is_canceled():
    with Simulator(Behaviour(batch_seconds=60)) as server, anthropic.Anthropic(api_key="k", base_url=server.url) as sdk:
        batch = sdk.messages.batches.create(requests=[{"custom_id": "a", "params": prompt("Hi")}])
        assert sdk.messages.batches.cancel(batch.id).processing_status == "canceling"
        assert sdk.messages.batches.retrieve(batch.id).request_counts.canceled == 1


def test_the_key_and_the_prefix_are_kept():
    with Simulator(Behaviour(key="secret", prefix="/proxy")) as server:
        with anthropic.Anthropic(api_key="secret", base_url=server.url) as sdk:
            assert sdk.messages.create(**prompt("Hi")).content
        with anthropic.Anthropic(api_key="wrong", base_url=server.url) as sdk, pytest.raises(anthropic.APIStatusError):
            sdk.messages.create(**prompt("Hi"))
        assert [request.status for request in server.requests] == [200, 401]
        assert {request.path for request in server.requests} == {"/proxy/v1/messages"}
