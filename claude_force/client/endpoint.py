"""Where requests go and what identifies the sender: address, key, headers, proxy, time limits.

Read once from the environment and checked there, so that nothing that leaves this module can smuggle a
line into a request's head. It does not open connections.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from .. import __version__
from ..errors import AuthenticationFailed, UsageError, reason
from ..frozen import dataclass, field
from .proxies import Proxy, proxy_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ..settings.config import Settings

KEY_VARIABLES = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
DEFAULT_URL = "https://api.anthropic.com"
API_VERSION = "2026-10-21"
OAUTH_BETA = "oauth-2025-04-20"

_OAUTH_TOKEN = "sk-ant-oat"  # noqa: S105 - how such a token begins, not one
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*([\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?")
_FRAMING = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "expect"})


@dataclass(frozen=True)
class Endpoint:
    """An address of the Messages API with all that a call to it needs. Its `repr` shows no secret.

    `prefix` is the address's path without the last slash, `headers` are the user's own with names in lower
    case; `connect_timeout` and `idle_timeout`, the longest silence on an open connection, are seconds.
    """

    scheme: str
    host: str
    port: int
    prefix: str = ""
    api_key: str | None = field(default=None, repr=False)
    auth_token: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    proxy: Proxy | None = None
    connect_timeout: float = 10.0
    idle_timeout: float = 600.0

    @property
    def authority(self) -> str:
        """Host and port as a `Host` header has them: no port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address in its shortest form, without a slash at the end."""
        return f"{self.scheme}://{self.authority}{self.prefix}"

    @property
    def authenticated(self) -> bool:
        """Whether a call would carry a key, a token or an `authorization` header of the user's own."""
        return bool(self.api_key or self.auth_token or {"authorization", "x-api-key"} & self.headers.keys())

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in any message; longest first, so that one within another is covered whole."""
        values = {self.api_key, self.auth_token, *self.headers.values()}
        if self.proxy:
            values.add(self.proxy.authorization)
        return tuple(sorted((v for v in values if v and len(v) >= 8), key=len, reverse=True))


_PORTS = {"http": 80, "https": 443}


def far_end(settings: Settings, environment: Mapping[str, str], api_key: str | None = None) -> Endpoint:
    """Return where requests go and with which key: the argument, else the environment's, else the user's file.

    Raises UsageError for an address and AuthenticationFailed for a key that cannot be one.
    """
    named = any(environment.get(name, "").strip() for name in KEY_VARIABLES)
    file = None if api_key or named else settings.api_key_file
    return endpoint(
        environment,
        base_url=None if environment.get("ANTHROPIC_BASE_URL", "").strip() else settings.base_url,
        api_key=_key_in(file) if file else api_key,
        request_timeout=settings.performance_request_timeout_seconds,
    )


def endpoint(
    environment: Mapping[str, str],
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    request_timeout: float = 600.0,
) -> Endpoint:
    """Return the endpoint that `environment` describes; the arguments win over it, empty counts as unset.

    `request_timeout` is the longest silence in seconds. Without any key the endpoint is made all the same:
    the SDK has sign-ins of its own. Raises UsageError for a wrong address, header or proxy, and
    AuthenticationFailed for a key that cannot be one.
    """
    scheme, host, port, prefix = _address(environment, base_url)
    key = _credential("the API key", api_key) or _credential("ANTHROPIC_API_KEY", environment.get("ANTHROPIC_API_KEY"))
    token = None if key else _credential("ANTHROPIC_AUTH_TOKEN", environment.get("ANTHROPIC_AUTH_TOKEN"))
    return Endpoint(
        scheme,
        host,
        port,
        prefix,
        api_key=key,
        auth_token=token,
        headers=_custom_headers(environment.get("ANTHROPIC_CUSTOM_HEADERS", "")),
        proxy=proxy_for(environment, scheme, host, port),
        idle_timeout=request_timeout,
    )


def request_headers(endpoint: Endpoint) -> dict[str, str]:
    """Return the headers of every call to `endpoint`, names in lower case; the user's own win over the built-in."""
    headers = {
        "accept": "text/event-stream, application/json",
        "anthropic-version": API_VERSION,
        "content-type": "application/json",
        "user-agent": f"claude-force/{__version__}",
    }
    if endpoint.api_key:
        headers["x-api-key"] = endpoint.api_key
    elif endpoint.auth_token:
        headers["authorization"] = f"Bearer {endpoint.auth_token}"
    headers.update(endpoint.headers)
    if beta := _betas(endpoint):
        headers["anthropic-beta"] = beta
    return headers


def _betas(endpoint: Endpoint) -> str:
    betas = [name for part in endpoint.headers.get("anthropic-beta", "").split(",") if (name := part.strip())]
    # A token of another make is a gateway's, and a gateway may refuse a beta that it does not know.
    if (endpoint.auth_token or "").startswith(_OAUTH_TOKEN) and OAUTH_BETA not in betas:
        betas.append(OAUTH_BETA)
    return ",".join(betas)


def _address(environment: Mapping[str, str], base_url: str | None) -> tuple[str, str, int, str]:
    # The address may hold a password, so no message shows it.
    name = "the base URL" if base_url else "ANTHROPIC_BASE_URL"
    text = (base_url or environment.get("ANTHROPIC_BASE_URL") or DEFAULT_URL).strip() or DEFAULT_URL
    try:
        parts = urlsplit(text)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        raise UsageError(f"{name} is not an address", hint=f"write it like {DEFAULT_URL}") from None
    if scheme not in _PORTS or not host:
        raise UsageError(f"{name} must begin with http:// or https:// and a host", hint=f"write it like {DEFAULT_URL}")
    if "@" in parts.netloc:
        hint = "give the key in ANTHROPIC_API_KEY or a header in ANTHROPIC_CUSTOM_HEADERS"
        raise UsageError(f"{name} must not hold a user name or password", hint=hint)
    if not re.fullmatch(r"[\x21-\x7e]+", text) or "?" in text or "#" in text:
        hint = "write a host in another script in its xn-- form"
        raise UsageError(f"{name} must be plain ASCII without spaces, query or fragment", hint=hint)
    return scheme, host, port or _PORTS[scheme], parts.path.rstrip("/")


def _credential(name: str, value: str | None) -> str | None:
    value = (value or "").strip()
    if value and not re.fullmatch(r"[\x21-\x7e]+", value):
        hint = "copy it again, without quotes, spaces or line breaks"
        raise AuthenticationFailed(f"{name} holds characters that no key has", hint=hint)
    return value or None


def _custom_headers(text: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not (line := line.strip(" \t\r")):
            continue
        where = f"ANTHROPIC_CUSTOM_HEADERS line {number}"
        if not (match := _HEADER.fullmatch(line)):
            raise UsageError(f"{where} is not a header", hint="write one 'Name: value' a line, in printable ASCII")
        name = match[1].lower()
        if name in _FRAMING:
            raise UsageError(f"{where}: the header '{name}' is set by the connection", hint="remove the line")
        headers[name] = match[2] or ""
    return headers


def _key_in(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        hint = f"chmod u+r '{file}'" if isinstance(error, PermissionError) else "write the key into it, as text"
        raise AuthenticationFailed(f"cannot read api_key_file {file}: {reason(error)}", hint=hint) from None
