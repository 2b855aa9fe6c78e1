"""Addresses, keys, headers and proxies as the environment gives them, and what errors keep of what a server says."""

import traceback

import pytest

from claude_force.client.endpoint import endpoint, request_headers
from claude_force.client.faults import excerpt, status_error
from claude_force.client.http import HttpTransport
from claude_force.client.proxies import Proxy, proxy_for
from claude_force.errors import ApiError, AuthenticationFailed, UsageError

KEY = "sk-test-0123456789"


# --- the endpoint


def test_without_settings_the_endpoint_is_the_public_api():
    far = endpoint({})
    assert (far.url, far.host, far.port, far.authenticated) == ("https://api.anthropic.com", far.authority, 443, False)
    assert (far.connect_timeout, far.idle_timeout, far.proxy) == (10, 600, None)


@pytest.mark.parametrize(
    ("address", "url", "authority"),
    [
        ("https://gate.example/api/", "https://gate.example/api", "gate.example"),
        ("http://gate.example:80", "http://gate.example", "gate.example"),
        ("http://gate.example:443/a/b", "http://gate.example:443/a/b", "gate.example:443"),
        ("HTTP://Gate.Example", "http://gate.example", "gate.example"),
        ("http://[::1]:8080", "http://[::1]:8080", "[::1]:8080"),
        ("  ", "https://api.anthropic.com", "api.anthropic.com"),
    ],
)
def test_an_address_is_kept_with_its_path(address, url, authority):
    far = endpoint({"ANTHROPIC_BASE_URL": address})
    assert (far.url, far.authority) == (url, authority)


@pytest.mark.parametrize(
    "address",
    [
        "ftp://x",
        "api.anthropic.com",
        "file:///etc/passwd",
        "http://",
        "http://x:99999",
        "http://x:no",
        "http://[::1",
        "http://x?a=hunter2",
        "http://x#a",
        "http://x/ä",
        "http://exämple.com",
        "http://x/a b",
        "http://x/a\r\nb: c",
        "https://user:hunter2@x",
        "https://hunter2@x",
    ],
)
def test_a_wrong_address_is_refused_without_being_shown(address):
    with pytest.raises(UsageError, match="ANTHROPIC_BASE_URL") as caught:
        endpoint({"ANTHROPIC_BASE_URL": address})
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.hint


def test_an_argument_wins_over_the_environment():
    far = endpoint({"ANTHROPIC_BASE_URL": "http://a", "ANTHROPIC_API_KEY": "b"}, base_url="http://c", api_key="d")
    assert (far.url, far.api_key) == ("http://c", "d")
    with pytest.raises(UsageError, match="the base URL"):
        endpoint({}, base_url="ftp://x")


def test_the_key_wins_over_the_token_and_an_empty_one_is_none():
    both = endpoint({"ANTHROPIC_API_KEY": " k1\n", "ANTHROPIC_AUTH_TOKEN": "t1"})
    assert request_headers(both)["x-api-key"] == "k1"
    assert "authorization" not in request_headers(both)
    token = endpoint({"ANTHROPIC_API_KEY": "  ", "ANTHROPIC_AUTH_TOKEN": "t1"})
    assert request_headers(token)["authorization"] == "Bearer t1"
    assert "x-api-key" not in request_headers(token)


def test_only_an_oauth_token_brings_the_oauth_beta():
    custom = {"ANTHROPIC_CUSTOM_HEADERS": "anthropic-beta: one, two"}
    oauth = endpoint({"ANTHROPIC_AUTH_TOKEN": "sk-ant-oat01-x"} | custom)
    gateway = endpoint({"ANTHROPIC_AUTH_TOKEN": "sk-gateway"} | custom)
    assert request_headers(oauth)["anthropic-beta"] == "one,two,oauth-2025-04-20"
    assert request_headers(gateway)["anthropic-beta"] == "one,two"
    assert "anthropic-beta" not in request_headers(endpoint({"ANTHROPIC_AUTH_TOKEN": "sk-gateway"}))


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
@pytest.mark.parametrize("value", ["hunter2\nx-evil: 1", "hunter2\x00", "“hunter2”", "hunter2 hunter2", "hunter2\x7f"])
def test_a_key_that_cannot_be_one_is_refused_without_being_shown(name, value):
    with pytest.raises(AuthenticationFailed, match=name) as caught:
        endpoint({name: value})
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)) + caught.value.hint
    assert caught.value.exit_code == 77


def test_no_repr_shows_a_secret():
    far = endpoint(
        {
            "ANTHROPIC_API_KEY": KEY,
            "ANTHROPIC_CUSTOM_HEADERS": "x-token: hunter2hunter2",
            "HTTPS_PROXY": "http://u:hunter2@p:1",
        }
    )
    assert far.secrets
    shown = repr(far) + repr(HttpTransport(far))
    assert not [secret for secret in (*far.secrets, "hunter2") if secret in shown]


def test_headers_of_ones_own_win_over_the_built_in_ones():
    text = "X-Team:  a b \r\n\n  anthropic-version: 2023-06-01\nempty:\n"
    headers = request_headers(endpoint({"ANTHROPIC_CUSTOM_HEADERS": text, "ANTHROPIC_API_KEY": "k"}))
    assert (headers["x-team"], headers["anthropic-version"], headers["empty"]) == ("a b", "2023-06-01", "")


def test_a_header_of_ones_own_can_be_the_credential():
    assert endpoint({"ANTHROPIC_CUSTOM_HEADERS": "Authorization: Basic x"}).authenticated


@pytest.mark.parametrize(
    "line",
    [
        "no colon",
        ": x",
        "a b: c",
        "x: hunter2\x00",
        "x: hunter2\rx-evil: 1",
        "x: hünter2",
        "Host: evil",
        "Content-Length: 3",
    ],
)
def test_a_header_that_could_break_a_request_is_refused_with_its_line(line):
    with pytest.raises(UsageError, match="ANTHROPIC_CUSTOM_HEADERS line 2") as caught:
        endpoint({"ANTHROPIC_CUSTOM_HEADERS": f"ok: 1\n{line}"})
    assert "hunter2" not in caught.value.message


# --- proxies

PROXY = Proxy("p", 3128)


@pytest.mark.parametrize(
    ("environment", "scheme", "proxy"),
    [
        ({}, "https", None),
        ({"HTTPS_PROXY": "http://p:3128"}, "https", PROXY),
        ({"HTTPS_PROXY": "http://p:3128"}, "http", None),
        ({"https_proxy": "p:3128"}, "https", PROXY),
        ({"https_proxy": "http://p:3128", "HTTPS_PROXY": "http://q"}, "https", PROXY),
        ({"https_proxy": "", "HTTPS_PROXY": "http://q"}, "https", None),
        ({"https_proxy": "", "ALL_PROXY": "http://q"}, "https", None),
        ({"ALL_PROXY": "http://p:3128"}, "http", PROXY),
        ({"all_proxy": "http://p:3128", "HTTP_PROXY": "http://q"}, "http", Proxy("q", 80)),
        ({"HTTP_PROXY": "http://p:3128", "REQUEST_METHOD": "GET"}, "http", None),
        ({"http_proxy": "http://p:3128", "REQUEST_METHOD": "GET"}, "http", PROXY),
        ({"HTTPS_PROXY": "http://p:3128", "REQUEST_METHOD": "GET"}, "https", PROXY),
        ({"HTTP_PROXY": "http://u%40:p%3Aw@p:3128"}, "http", Proxy("p", 3128, "Basic " + "dUA6cDp3")),
        ({"HTTP_PROXY": "http://[::1]:3128"}, "http", Proxy("::1", 3128)),
    ],
)
def test_the_environment_names_the_proxy(environment, scheme, proxy):
    assert proxy_for(environment, scheme, "api.example.com", 443) == proxy


@pytest.mark.parametrize(
    ("rules", "host", "direct"),
    [
        ("*", "api.example.com", True),
        ("example.com", "api.example.com", True),
        (".example.com", "example.com", True),
        ("EXAMPLE.com", "api.Example.com", True),
        ("example.com", "badexample.com", False),
        ("other.org, example.com ,", "api.example.com", True),
        ("api.example.com:443", "api.example.com", True),
        ("example.com:443", "api.example.com", True),
        ("api.example.com:80", "api.example.com", False),
        ("10.0.0.7", "10.0.0.7", True),
        ("10.0.0.7", "10.0.0.70", False),
        ("::1", "::1", True),
        ("[::1]", "::1", True),
        ("[::1]:443", "::1", True),
        ("", "localhost", False),
        (",", "localhost", False),
        ("localhost", "localhost", True),
        ("localhost", "127.0.0.1", False),
    ],
)
def test_no_proxy_names_the_hosts_without_one(rules, host, direct):
    environment = {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": rules}
    assert (proxy_for(environment, "https", host, 443) is None) == direct


@pytest.mark.parametrize(
    "value", ["socks5://hunter2@p", "https://p", "http://", "http://p:no", "http://p\x00", "http://ä"]
)
def test_a_proxy_that_cannot_be_used_is_refused_by_name_and_not_by_value(value):
    with pytest.raises(UsageError, match="HTTPS_PROXY") as caught:
        proxy_for({"HTTPS_PROXY": value}, "https", "x", 443)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.hint


# --- errors


def test_an_error_object_of_any_shape_is_survived():
    for body in (
        b'{"error":[]}',
        b'{"error":{"type":5,"message":{},"details":7}}',
        b"[" * 100_000,
        b"\xff",
        b'{"error":null}',
    ):
        error = status_error(500, body, {"request-id": "bad id\x1b"}.get)
        assert (type(error), error.kind, error.request_id) == (ApiError, "", None)


def test_the_request_id_of_the_body_is_used_where_there_is_no_header():
    assert status_error(500, b'{"error":{},"request_id":"req_1"}', {}.get).request_id == "req_1"


def test_an_excerpt_is_one_short_line():
    assert excerpt("a\n\tb\x00c" + " d" * 500, length=10) == "a b c d d…"
    assert excerpt(None) == ""
