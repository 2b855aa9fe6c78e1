"""Which path and method asks for what: the table of the API's endpoints."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote

from . import messages
from .batches import Batches
from .catalogue import find_model, model_info, models_page, page
from .delivery import JSON, Delivery, json_delivery
from .jsonbytes import json_bytes
from .problems import Problem, problem_bytes
from .state import State
from .validation import check_headers, parse_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .behaviour import Behaviour
    from .wire import HttpRequest

_MESSAGES = "/v1/messages"
_BATCHES = "/v1/messages/batches"
_MODELS = "/v1/models"
_MB = 1024 * 1024


class Endpoints:
    """The API of one server: a request in, the delivery of its answer out, in any number of threads."""

    def __init__(self, behaviour: Behaviour, scheme: str) -> None:
        """Serve under the behaviour's prefix; `scheme`, http or https, is for the addresses in answers."""
        self.state = State(behaviour)
        self._batches = Batches(self.state)
        self._prefix = behaviour.prefix
        self._scheme = scheme

    def path(self, target: str) -> str | None:
        """Return the path that a request target names below the prefix, or None if it lies outside."""
        path = target.partition("?")[0]
        if path.startswith("http://"):  # the form in which a request goes through a proxy
            path = "/" + path.removeprefix("http://").partition("/")[2]
        return path.removeprefix(self._prefix) if f"{path}/".startswith(f"{self._prefix}/") else None

    def body_limit(self, target: str) -> int:
        """Return how many bytes the body of a request may have."""
        return (256 if self.path(target) == _BATCHES else 32) * _MB

    def asks_for_message(self, request: HttpRequest) -> bool:
        """Say whether this is `POST /v1/messages`."""
        return request.method == "POST" and self.path(request.target) == _MESSAGES

    def answer(self, request: HttpRequest, request_id: str) -> Delivery:
        """Return the answer, also where it is an error."""
        try:
            if request.too_large:
                raise Problem("Request Entity Too Large", status=413, html=True)
            if (encoding := request.headers.get("content-encoding", "identity")) != "identity":
                code = "request_body_encoding_unsupported"
                raise Problem(f"Content-Encoding {encoding} is not supported", code=code)
            return self._route(request, request_id)
        except Problem as problem:
            kind = "text/html" if problem.html else JSON
            return Delivery((problem_bytes(problem, request_id),), problem.status, kind, problem.headers)

    def _route(self, request: HttpRequest, request_id: str) -> Delivery:
        path = self.path(request.target)
        if path is None:
            raise _not_found(request)
        if path in {"", "/"}:
            return self._root(request)
        if path == _MESSAGES:
            _only(request, "POST")
            return messages.create(self.state, request, request_id)
        if path == f"{_MESSAGES}/count_tokens":
            _only(request, "POST")
            return messages.count_tokens(self.state, request)
        if path == _MODELS or path.startswith(f"{_MODELS}/"):
            return self._models(request, unquote(path[len(_MODELS) + 1 :]))
        if path == _BATCHES:
            return self._all_batches(request)
        if path.startswith(f"{_BATCHES}/"):
            return self._one_batch(request, *unquote(path[len(_BATCHES) + 1 :]).split("/"))
        raise _not_found(request)

    def _root(self, request: HttpRequest) -> Delivery:
        _only(request, "GET", "HEAD")
        return json_delivery({"simulated": True, "message": "A simulated Messages API: POST /v1/messages"})

    def _models(self, request: HttpRequest, name: str) -> Delivery:
        _only(request, "GET", "HEAD")
        check_headers(request.headers, self.state.behaviour.key)
        return json_delivery(model_info(find_model(name)) if name else models_page(_query(request)))

    def _all_batches(self, request: HttpRequest) -> Delivery:
        _only(request, "GET", "POST")
        version = check_headers(request.headers, self.state.behaviour.key)
        if request.method == "GET":
            return json_delivery(page(self._batches.all(), _query(request)))
        base = f"{self._scheme}://{request.headers.get('host', 'localhost')}{self._prefix}"
        return json_delivery(self._batches.create(parse_json(request.body), version, base))

    def _one_batch(self, request: HttpRequest, name: str, verb: str = "", *more: str) -> Delivery:
        check_headers(request.headers, self.state.behaviour.key)
        match request.method, verb, more:
            case "GET", "", ():
                return json_delivery(self._batches.get(name))
            case "DELETE", "", ():
                return json_delivery(self._batches.delete(name))
            case "POST", "cancel", ():
                return json_delivery(self._batches.cancel(name))
            case "GET", "results", ():
                lines = b"".join(json_bytes(line) + b"\n" for line in self._batches.results(name))
                return Delivery((lines,), content_type="application/x-jsonl")
        raise _not_found(request)


def _query(request: HttpRequest) -> dict[str, list[str]]:
    return parse_qs(request.target.partition("?")[2])


def _only(request: HttpRequest, *methods: str) -> None:
    if request.method not in methods:
        raise Problem("Method Not Allowed", status=405, headers=(("allow", ", ".join(methods)),))


def _not_found(request: HttpRequest) -> Problem:
    return Problem(f"Not found: {request.method} {request.target.partition('?')[0]}", status=404)
