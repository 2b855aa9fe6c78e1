"""Which proxy the environment names for a host, by the rules of `urllib`, with `ALL_PROXY` added.

The lower-case variable wins over the upper-case one, also when it is empty. Settings that a system keeps
elsewhere than in the environment are not read.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from ..errors import UsageError
from ..frozen import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy; `authorization` is the value of the `Proxy-Authorization` header."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)


def proxy_for(environment: Mapping[str, str], scheme: str, host: str, port: int) -> Proxy | None:
    """Return the proxy that requests to `host` go through, None for a direct connection.

    Raises UsageError if the variable holds something else than the address of an HTTP proxy.
    """
    name, value = _setting(environment, scheme)
    if not value or _direct(_value(environment, "no_proxy")[1], host, port):
        return None
    return _parsed(name, value)


def _setting(environment: Mapping[str, str], scheme: str) -> tuple[str, str]:
    # On a web server a request's `Proxy:` header arrives as HTTP_PROXY, so there only the lower case counts.
    shielded = scheme == "http" and "REQUEST_METHOD" in environment
    own = ("http_proxy", environment.get("http_proxy", "")) if shielded else _value(environment, f"{scheme}_proxy")
    return own if own[1] or own[0] in environment else _value(environment, "all_proxy")


def _value(environment: Mapping[str, str], name: str) -> tuple[str, str]:
    found = name if name in environment else name.upper()
    return found, environment.get(found, "").strip()


def _direct(rules: str, host: str, port: int) -> bool:
    if rules == "*":
        return True
    host = host.lower()
    wire = f"[{host}]" if ":" in host else host
    names = (host, wire, f"{wire}:{port}")
    suffixes = (rule.strip().lstrip(".").lower() for rule in rules.split(","))
    return any(rule and any(name == rule or name.endswith(f".{rule}") for name in names) for rule in suffixes)


def _parsed(name: str, value: str) -> Proxy:
    # The value may hold a password, so no message shows it.
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UsageError(f"{name} is not the address of a proxy", hint="write it as http://HOST:PORT") from None
    if parts.scheme != "http":
        hint = "name an http:// proxy, or exempt the API's host with NO_PROXY"
        raise UsageError(f"{name} names a {parts.scheme}:// proxy, which is not supported", hint=hint)
    if not host or not value.isascii() or not value.isprintable():
        raise UsageError(f"{name} is not the address of a proxy", hint="write it as http://HOST:PORT")
    return Proxy(host, port or 80, _authorization(parts.username, parts.password))


def _authorization(user: str | None, password: str | None) -> str | None:
    if user is None:
        return None
    from base64 import b64encode  # 1 ms that only a proxy with a password needs

    return "Basic " + b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()
