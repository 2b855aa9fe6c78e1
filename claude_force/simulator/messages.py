"""`POST /v1/messages` and `/v1/messages/count_tokens`: from a body to the delivery of its answer."""

from __future__ import annotations

from .answer import complete, steering_text
from .behaviour import overlay
from .catalogue import find_model
from .delivery import EVENTS, JSON, Delivery, json_delivery
from .events import message, stream, usage_of
from .jsonbytes import json_bytes
from .markers import steer
from .problems import STATUS_OF, Problem, problem_bytes
from .tokens import segments
from .validation import check_headers, check_message, check_prompt, parse_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .answer import Completion
    from .behaviour import Fault
    from .catalogue import Model
    from .promptcache import Prefill
    from .state import State
    from .wire import HttpRequest

_GARBAGE = b"\x1f\x8b[simulated] neither JSON nor an event stream \xff\xfe\n\n"


def create(state: State, request: HttpRequest, request_id: str) -> Delivery:
    """Answer a request for a message. What the script sets goes before the markers, and these before the dice.

    Raises Problem where the request is not valid or over a rate limit.
    """
    rolled, scripted = state.next_faults()
    version = check_headers(request.headers, state.behaviour.key)
    body = parse_json(request.body)
    model = check_message(body, version)
    marked = steer(steering_text(body), state.times_met)
    fault = overlay(overlay(rolled, marked), scripted)
    streamed = bool(body.get("stream"))
    if failure := _failure(fault, request_id, streamed=streamed):
        return failure
    prefill = _prefill(state, body, model)
    state.limits.admit(model, prefill.fresh + prefill.written)
    completion = _complete(state, body, model, fault)
    return Delivery(
        _pieces(state, body, completion, prefill, fault),
        content_type=EVENTS if streamed else JSON,
        headers=state.limits.spend_output(model, completion.output_tokens),
        stream=streamed,
        latency=state.latency() if fault.latency is None else fault.latency,
        pause=_pause(state, fault, streamed=streamed),
        ending="cut" if fault.cut else "whole",
        begun=lambda: state.cache.keep(prefill),
    )


def count_tokens(state: State, request: HttpRequest) -> Delivery:
    """Answer how many tokens a prompt has. Raises Problem."""
    version = check_headers(request.headers, state.behaviour.key)
    body = parse_json(request.body)
    model = check_prompt(body, version)
    return json_delivery({"input_tokens": sum(segment.tokens for segment in segments(body, model))})


def batch_message(state: State, body: dict[str, Any], version: str) -> dict[str, Any]:
    """Return the message that answers one item of a batch. Raises Problem."""
    model = check_message(body, version)
    for name in ("stream", "speed"):
        if body.get(name):
            raise Problem(f"{name}: not supported in a message batch")
    if body["max_tokens"] == 0:
        raise Problem("max_tokens: Input should be greater than or equal to 1 in a message batch")
    fault = steer(steering_text(body), state.times_met)
    if problem := _problem(fault, streamed=False):
        raise problem
    prefill = _prefill(state, body, model)
    state.cache.keep(prefill)
    return _message(state, body, _complete(state, body, model, fault), prefill, "batch")


def _failure(fault: Fault, request_id: str, *, streamed: bool) -> Delivery | None:
    """Return the delivery of a fault that leaves no room for an answer."""
    latency = fault.latency or 0.0
    if fault.hang or fault.reset:
        return Delivery((), latency=latency, ending="hang" if fault.hang else "reset")
    if problem := _problem(fault, streamed=streamed):
        kind = "text/html" if problem.html else JSON
        return Delivery((problem_bytes(problem, request_id),), problem.status, kind, problem.headers, latency=latency)
    if fault.garbage:
        return Delivery((_GARBAGE,), content_type=EVENTS if streamed else JSON, stream=streamed, latency=latency)
    return None


def _problem(fault: Fault, *, streamed: bool) -> Problem | None:
    """Return the error that a fault asks for; a broken-off stream is none, it has begun with 200."""
    status = fault.html or fault.status
    if status is None and fault.error and not streamed:
        status = STATUS_OF[fault.error]
    if status is None:
        return None
    return Problem(
        f"[simulated] fault {status}",
        status=status,
        kind=fault.error or "",
        code=fault.code,
        headers=() if fault.retry_after is None else (("retry-after", f"{fault.retry_after:g}"),),
        html=fault.html is not None,
    )


def _prefill(state: State, body: dict[str, Any], model: Model) -> Prefill:
    prompt = segments(body, model)
    total = sum(segment.tokens for segment in prompt)
    if total > model.context:
        raise Problem(f"prompt is too long: {total} tokens > {model.context} maximum")
    return state.cache.look_up(prompt, model, state.behaviour.clock())


def _complete(state: State, body: dict[str, Any], model: Model, fault: Fault) -> Completion:
    wish = (body.get("thinking") or {}).get("type")
    asked = fault.thinking or state.behaviour.thinking or wish in {"adaptive", "enabled"}
    return complete(body, model, fault, thinking=asked and wish not in {"disabled", "between_tools"})


def _message(state: State, body: dict[str, Any], completion: Completion, prefill: Prefill, tier: str) -> dict[str, Any]:
    usage = usage_of(completion, prefill, tier, body)
    return message(completion, find_model(body["model"]).id, state.new_id("msg"), usage)


def _pieces(
    state: State, body: dict[str, Any], completion: Completion, prefill: Prefill, fault: Fault
) -> tuple[bytes, ...]:
    whole = _message(state, body, completion, prefill, "standard")
    if body.get("stream"):
        return tuple(stream(whole, state.behaviour.chunk_characters, fault.error))
    return (json_bytes(whole),)


def _pause(state: State, fault: Fault, *, streamed: bool) -> float:
    if fault.trickle is not None:
        return fault.trickle
    return state.behaviour.chunk_delay if streamed else 0.0
