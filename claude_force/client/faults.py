"""From what the API said to the error that says so: status, type and code decide, never the wording.

Whatever a server sends may end on a terminal or in a log: control characters are taken out, lengths are cut,
and the caller's secrets are blotted out in case a gateway echoes them. Sends nothing.
"""

from __future__ import annotations

import re
from json import loads

from ..errors import ApiError, AuthenticationFailed, TryLater

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Header = Callable[[str], str | None]

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
SPEND_LIMITS = frozenset({"enforced_spend_limit_reached", "contract_spend_limit_reached"})
TRY_LATER = frozenset({429, 503, 529})

_NEVER_AGAIN = frozenset({400, 401, 402, 403, 404, 405, 413, 422})
_AGAIN = frozenset({408, 409, 429})
_HINTS = {
    400: "change what it names; --dry-run shows the whole request",
    401: "check ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN",
    402: "check the billing of your organisation in the Claude Console",
    403: "the key may not do this: check its workspace and permissions in the Claude Console",
    404: "check the model's name with 'claude-force list models', and ANTHROPIC_BASE_URL if it is set",
    413: "send less: fewer or smaller files",
    429: "try again later, or with fewer calls at once",
}


def status_error(status: int, body: bytes, header: Header, secrets: Iterable[str] = ()) -> ApiError:
    """Return the error for an answer whose HTTP `status` is not 200; `body` may be JSON or a proxy's page."""
    details = _error_object(body)
    if 300 <= status < 400:
        return ApiError(
            f"the API's address redirects elsewhere ({status}), which is not followed so that the key stays here",
            status=status,
            request_id=_identifier(header("request-id")),
            hint="set ANTHROPIC_BASE_URL to the final address",
        )
    text = details.get("message") if details else _page_text(body)
    return _error(
        status,
        details,
        excerpt(text, secrets),
        request_id=_identifier(header("request-id")) or _identifier(mapping(_json(body)).get("request_id")),
        retry_after=retry_after(header),
        should_retry=header("x-should-retry"),
    )


def event_error(event: object, request_id: str | None = None, secrets: Iterable[str] = ()) -> ApiError:
    """Return the error for an `error` event in the middle of a stream, as if its type had come as a status."""
    details = mapping(mapping(event).get("error"))
    status = STATUS_OF.get(str(details.get("type")), 500)
    text = excerpt(details.get("message"), secrets)
    error = _error(status, details, text, request_id=_identifier(mapping(event).get("request_id")) or request_id)
    error.began = True
    return error


def retry_after(header: Header) -> float | None:
    """Return how many seconds the API asks to wait, None if it does not say: milliseconds, seconds or a date."""
    milliseconds = _positive(header("retry-after-ms"))
    value = header("retry-after")
    seconds = _positive(value) or _until(value) if milliseconds is None else milliseconds / 1000
    return seconds if seconds is None else min(seconds, _YEAR)


_YEAR = 366 * 86_400.0


def excerpt(text: object, secrets: Iterable[str] = (), *, length: int = 300) -> str:
    """Return what a server sent as one printable line of at most `length` characters, without the `secrets`."""
    if not isinstance(text, str):
        return ""
    for secret in secrets:
        text = text.replace(secret, "[secret]")
    text = re.sub(r"sk-ant-[\w-]+", "[secret]", text[: 8 * length])
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def mapping(value: object) -> dict[str, Any]:
    """Return `value` if it is a JSON object, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def _error(
    status: int,
    details: dict[str, Any],
    text: str,
    *,
    request_id: str | None,
    retry_after: float | None = None,
    should_retry: str | None = None,
) -> ApiError:
    kind = _identifier(details.get("type")) or ""
    spent = mapping(details.get("details")).get("error_code") in SPEND_LIMITS
    label = " ".join(part for part in (str(status), kind) if part)
    hint = "raise the spend limit in the Claude Console, or wait for the next month" if spent else _hint(status)
    return _class(status, spent)(
        f"the API answered {label}" + (f": {text}" if text else "") + (f" ({request_id})" if request_id else ""),
        status=status,
        kind=kind,
        request_id=request_id,
        retry_after=retry_after,
        hint=hint,
        retryable=not spent and _retryable(status, should_retry),
    )


def _hint(status: int) -> str:
    return _HINTS.get(status) or ("try again later" if _retryable(status, None) else _HINTS[400])


def _class(status: int, spent: bool) -> type[ApiError]:
    if status in (401, 403):
        return AuthenticationFailed
    # A spend limit comes as 429 too, but "later" would be next month.
    return TryLater if status in TRY_LATER and not spent else ApiError


def _retryable(status: int, should_retry: str | None) -> bool:
    if status in _NEVER_AGAIN or should_retry == "false":
        return False
    return should_retry == "true" or status in _AGAIN or status >= 500


def _error_object(body: bytes) -> dict[str, Any]:
    return mapping(mapping(_json(body)).get("error"))


def _page_text(body: bytes) -> str:
    return re.sub("<[^<>]*>", " ", body.decode("utf-8", "replace"))


def _json(body: bytes) -> object:
    try:
        return loads(body)
    except (ValueError, RecursionError):
        return None


def _identifier(value: object) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(r"[\w-]{1,128}", value, re.ASCII) else None


def _positive(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if 0 < number < float("inf") else None


def _until(value: str | None) -> float | None:
    if not value:
        return None
    import time
    from email.utils import parsedate_to_datetime  # 10 ms, and most answers give seconds

    try:
        wait = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return wait if wait > 0 else None
