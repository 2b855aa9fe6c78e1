"""The API's errors as it words them: a status, a type, a message, and the body that carries them."""

from __future__ import annotations

from .jsonbytes import json_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
TYPE_OF = {status: kind for kind, status in STATUS_OF.items()} | {408: "timeout_error"}


class Problem(Exception):
    """What the API would answer in place of a result."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "",
        code: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        html: bool = False,
    ) -> None:
        """Take the type from the status where `kind` does not name another; `html` asks for a page in place of JSON."""
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind or TYPE_OF.get(status, "api_error" if status >= 500 else "invalid_request_error")
        self.code = code
        self.headers = headers
        self.html = html


def error_body(problem: Problem, request_id: str) -> dict[str, Any]:
    """Return the JSON body of an error."""
    error: dict[str, Any] = {"type": problem.kind, "message": problem.message}
    if problem.code:
        error["details"] = {"error_code": problem.code}
    return {"type": "error", "error": error, "request_id": request_id}


def problem_bytes(problem: Problem, request_id: str) -> bytes:
    """Return what is sent as the body: JSON, or an HTML page as a proxy in front of the API writes it."""
    if problem.html:
        title = f"{problem.status} {problem.message}"
        return f"<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1></body>\r\n</html>\r\n".encode()
    return json_bytes(error_body(problem, request_id))
