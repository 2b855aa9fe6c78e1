"""The built-in transport on real sockets: proxies, TLS, keep-alive, limits, and servers that misbehave."""

import base64
import json
import socket
import ssl
import subprocess
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from claude_force import __version__
from claude_force.client import connect
from claude_force.client.connection import Connection
from claude_force.client.endpoint import Endpoint, endpoint
from claude_force.client.http import HttpTransport
from claude_force.client.sse import MAX_EVENT_BYTES
from claude_force.errors import (
    ApiError,
    AuthenticationFailed,
    ConnectionFailed,
    ForceError,
    Interrupted,
    TimedOut,
    TryLater,
    UsageError,
)
from claude_force.records import Block, Request

KEY = "sk-test-0123456789"
REQUEST = Request("claude-haiku-5-5", 100, (), (Block("hello"),))
MESSAGE = {"type": "message", "id": "msg_1", "model": "m", "stop_reason": "end_turn"}
STREAM = "".join(
    f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
    for event in (
        {"type": "message_start", "message": MESSAGE | {"content": [], "usage": {"input_tokens": 1}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    )
).encode()


def answer(body=STREAM, status="200 OK", kind="text/event-stream", **headers):
    """An HTTP answer with its length; a header that is None is left out."""
    known = {"content-type": kind, "content-length": str(len(body)), "request-id": "req_7"}
    known |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in known.items() if value is not None)
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def chunked(*chunks, end=b"0\r\n\r\n"):
    """An HTTP answer in chunks, as the API streams."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + body + end


CLOSE = b""
"""Hang up."""


class Scripted:
    """A server that gives the listed answers in order: bytes, `CLOSE`, or a function of the socket."""

    def __init__(self, *answers, tls=None, host="127.0.0.1"):
        self.answers = list(answers)
        self.requests = []
        self.connections = 0
        self.release = threading.Event()
        self._tls = tls
        self._open = []
        self._listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *_):
        self.release.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=[connection])
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection):
        with suppress(OSError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                self._open.append(connection)
                connection.do_handshake()
            while (request := self._receive(connection)) and self.answers:
                self.requests.append(request)
                reply = self.answers.pop(0)
                if reply == CLOSE:
                    break
                connection.sendall(reply) if isinstance(reply, bytes) else reply(connection)
        connection.close()

    def _receive(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := connection.recv(65536)):
                return b""
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = next((int(n[15:]) for n in head.lower().split(b"\r\n") if n.startswith(b"content-length:")), 0)
        while len(body) < length:
            body += connection.recv(65536)
        return head + b"\r\n\r\n" + body

    def hang(self, first=b""):
        """An answer that begins with `first` and goes no further."""

        def reply(connection):
            connection.sendall(first)
            self.release.wait(30)

        return reply


def head(request):
    """The headers of a request, names in lower case."""
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


@pytest.fixture
def sender():
    """Makes transports and closes them."""
    made = []

    def make(url, **environment):
        timeout = environment.pop("timeout", 20)
        variables = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": url} | environment
        made.append(HttpTransport(endpoint(variables, request_timeout=timeout)))
        return made[-1]

    yield make
    for transport in made:
        transport.close()


# --- proxies


def test_a_plain_request_goes_through_the_proxy_with_its_whole_address(sender):
    with Scripted(answer()) as proxy:
        far = {"HTTP_PROXY": proxy.url.replace("://", "://user:hunter2@")}
        assert sender("http://api.invalid/base", **far)(REQUEST).text == "hi"
    line = proxy.requests[0].split(b"\r\n")[0]
    assert line == b"POST http://api.invalid/base/v1/messages HTTP/1.1"
    headers = head(proxy.requests[0])
    assert headers["host"] == "api.invalid"
    assert base64.b64decode(headers["proxy-authorization"].removeprefix("Basic ")) == b"user:hunter2"


# --- TLS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate for localhost that signs itself, and its key."""
    directory = tmp_path_factory.mktemp("tls")
    files = directory / "certificate.pem", directory / "key.pem"
    options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    outputs = ["-out", files[0], "-keyout", files[1]]
    subprocess.run(["openssl", "req", "-x509", *options, *names, *outputs], check=True, capture_output=True)
    return files


@pytest.fixture
def tls(certificate):
    """A server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def test_tls_trusts_the_authorities_of_ssl_cert_file_and_keeps_the_connection(sender, tls, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with Scripted(answer(), chunked(STREAM), tls=tls) as server:
        transport = sender(server.url)
        assert [transport(REQUEST).text for _ in "ab"] == ["hi", "hi"]
        assert server.connections == 1


def test_tls_refuses_an_unknown_authority_and_says_what_to_do(sender, tls):
    with Scripted(answer(), tls=tls) as server, pytest.raises(ConnectionFailed, match="self-signed") as caught:
        sender(server.url)(REQUEST)
    assert "SSL_CERT_FILE" in caught.value.hint
    assert server.requests == []


def test_a_server_that_does_not_speak_tls_is_told(sender, blurting):
    port = blurting(b"HTTP/1.1 400 Bad Request\r\n\r\n", 1)
    with pytest.raises(ConnectionFailed, match=f"no connection to 127.0.0.1:{port}: .*SSL"):
        sender(f"https://127.0.0.1:{port}")(REQUEST)


def relay(target):
    """An answer to CONNECT: from then on every byte goes to and from `target`."""

    def pump(source, sink):
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def reply(connection):
        with socket.create_connection(("127.0.0.1", target)) as far:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=[far, connection])
            back.start()
            pump(connection, far)
            back.join(10)

    return reply


def test_an_encrypted_request_goes_through_a_tunnel_that_hides_it(sender, tls, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with Scripted(answer(), answer(), tls=tls) as server, Scripted(relay(server.port)) as proxy:
        transport = sender(server.url, HTTPS_PROXY=proxy.url.replace("://", "://u:p@"))
        assert [transport(REQUEST).text for _ in "ab"] == ["hi", "hi"]
        transport.close()
    assert proxy.requests[0].startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n".encode())
    assert head(proxy.requests[0])["proxy-authorization"] == "Basic dTpw"
    assert KEY.encode() not in b"".join(proxy.requests)
    assert server.requests[0].startswith(b"POST /v1/messages HTTP/1.1\r\n")
    assert "proxy-authorization" not in head(server.requests[0])


@pytest.mark.parametrize(("status", "retryable"), [("407 Proxy Authentication Required", False), ("503 Busy", True)])
def test_a_proxy_that_refuses_is_named(sender, status, retryable):
    with (
        Scripted(answer(b"", status)) as proxy,
        pytest.raises(ConnectionFailed, match=f"proxy.*{status[:3]}") as caught,
    ):
        sender("https://[2001:db8::1]", HTTPS_PROXY=proxy.url)(REQUEST)
    assert caught.value.retryable == retryable
    assert bool(caught.value.hint) != retryable
    assert proxy.requests[0].startswith(b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n")


# --- requests


def test_a_request_is_what_the_api_expects(sender):
    request = Request("claude-haiku-5-5", 64, (Block("é", cache=True),), (Block("\ud83d"),), effort="low")
    with Scripted(answer()) as server:
        sender(f"{server.url}/base/")(request)
    line, _, body = server.requests[0].partition(b"\r\n")[0], *server.requests[0].partition(b"\r\n\r\n")[1:]
    headers = head(server.requests[0])
    assert line == b"POST /base/v1/messages HTTP/1.1"
    expected = {
        "x-api-key": KEY,
        "anthropic-version": "2026-10-21",
        "content-type": "application/json",
        "user-agent": f"claude-force/{__version__}",
        "host": f"127.0.0.1:{server.port}",
        "accept-encoding": "identity",
        "content-length": str(len(body)),
    }
    assert expected.items() <= headers.items()
    assert "text/event-stream" in headers["accept"]
    sent = json.loads(body)
    assert (sent["stream"], sent["model"], sent["output_config"]) == (True, "claude-haiku-5-5", {"effort": "low"})
    assert b": " not in body
    assert b", " not in body


def test_an_ipv6_server_is_reached(sender):
    with Scripted(answer(), host="::1") as server:
        assert sender(server.url)(REQUEST).text == "hi"
    assert head(server.requests[0])["host"] == f"[::1]:{server.port}"


def test_other_endpoints_are_reached_on_the_same_connection(sender):
    with Scripted(answer(b'{"data":[]}', kind="application/json"), answer()) as server:
        transport = sender(server.url)
        assert transport.get_json("/v1/models?limit=5") == {"data": []}
        assert transport(REQUEST).text == "hi"
        assert server.connections == 1
    assert server.requests[0].startswith(b"GET /v1/models?limit=5 HTTP/1.1\r\n")
    assert "content-length" not in head(server.requests[0])


@pytest.mark.parametrize("body", [b"[]", b"<html>", b""])
def test_an_endpoint_that_does_not_answer_with_an_object_is_garbled(sender, body):
    with Scripted(answer(body)) as server, pytest.raises(ConnectionFailed, match="garbled"):
        sender(server.url).get_json("/v1/models")


@pytest.mark.parametrize("path", ["v1", "/a b", "/a\r\nx: y"])
def test_a_path_cannot_break_a_request(sender, path):
    with pytest.raises(UsageError, match="path"):
        sender("http://127.0.0.1:9").get_json(path)


def test_a_body_beyond_the_limit_is_refused(sender, monkeypatch):
    monkeypatch.setattr("claude_force.client.http.MAX_BODY_BYTES", 50)
    with Scripted(answer(b"x" * 100)) as server, pytest.raises(ConnectionFailed, match="larger than 50"):
        sender(server.url).get_json("/v1/x")


# --- answers


@pytest.mark.parametrize(
    "reply",
    [
        answer(),
        answer(kind="text/event-stream; charset=utf-8"),
        answer(kind="application/octet-stream"),
        answer(content_length=None, connection="close"),
        answer().replace(b"HTTP/1.1", b"HTTP/1.0"),
        chunked(STREAM),
        chunked(*(STREAM[i : i + 1] for i in range(len(STREAM)))),
        chunked(STREAM.replace(b"\n", b"\r\n")),
        chunked(STREAM, end=b"0\r\nx-trailer: 1\r\n\r\n"),
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(),
        answer(json.dumps(MESSAGE | {"content": [{"type": "text", "text": "hi"}]}).encode(), kind="application/json"),
    ],
)
def test_every_framing_of_an_answer_is_understood(sender, reply):
    def and_close(connection):
        connection.sendall(reply)
        connection.shutdown(socket.SHUT_RDWR)

    shown = []
    with Scripted(and_close) as server:
        assert sender(server.url)(REQUEST, on_text=shown.append).text == "hi"
    assert shown == ["hi"]


def test_text_is_shown_before_the_answer_is_complete(sender):
    half = STREAM.index(b"event: message_delta")

    def reply(connection):
        connection.sendall(chunked(STREAM[:half], end=b""))
        assert shown.wait(10)
        connection.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(STREAM[half:]), STREAM[half:]))

    shown = threading.Event()
    with Scripted(reply) as server:
        assert sender(server.url)(REQUEST, on_text=lambda _: shown.set()).text == "hi"


def test_an_answer_is_complete_with_its_last_event_even_if_the_server_does_not_end_it(sender):
    with Scripted() as server:
        server.answers += [server.hang(chunked(STREAM, end=b"")), answer()]
        transport = sender(server.url)
        assert transport(REQUEST).text == "hi"
        assert transport(REQUEST).text == "hi"
        assert server.connections == 2


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        (CLOSE, "cut off"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\na: " + b"b" * 70_000 + b"\r\n\r\n", "not HTTP"),
        (answer(STREAM[:-30]), "cut off"),
        (answer(b"<html>hello</html>", kind="text/html"), "not a message"),
        (answer(b"<html>", kind="application/json"), "garbled"),
        (answer(b"data: {]\n\n"), "garbled"),
        (answer(b"data: \xff\n\n"), "UTF-8"),
        (answer(b"\x1f\x8b\x08\x00", content_encoding="gzip"), "not a message"),
    ],
)
def test_what_is_wrong_with_an_answer_is_told(sender, reply, what):
    def and_close(connection):
        connection.sendall(reply)
        connection.shutdown(socket.SHUT_RDWR)

    served = Scripted(reply if reply == CLOSE else and_close)
    with served as server, pytest.raises(ConnectionFailed, match=what) as caught:
        sender(server.url)(REQUEST)
    assert caught.value.retryable


def test_a_connection_that_is_refused_is_told_with_its_address(sender):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionFailed, match=f"127.0.0.1:{port}: Connection refused"):
        sender(f"http://127.0.0.1:{port}")(REQUEST)


def test_a_host_that_does_not_exist_is_told(sender):
    for host in ("nowhere.invalid", "a..b"):
        with pytest.raises(ConnectionFailed, match=f"no connection to {host}"):
            sender(f"http://{host}")(REQUEST)


def test_an_event_that_never_ends_is_refused(sender):
    def flood(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: ")
        with suppress(OSError):
            for _ in range(MAX_EVENT_BYTES // 2**20 + 2):
                connection.sendall(b"x" * 2**20)

    with Scripted(flood) as server, pytest.raises(ConnectionFailed, match="too large"):
        sender(server.url)(REQUEST)


# --- refusals


def error_body(kind="api_error", text="m", **fields):
    return json.dumps({"type": "error", "error": {"type": kind, "message": text, **fields}}).encode()


def test_a_page_of_the_edge_is_shown_short_and_printable(sender):
    page = b"<html><head><title>413 \x1b[31mToo\x07 Large\xc2\x9b</title></head>" + b"<p>cloudflare " * 5000
    with Scripted(answer(page, "413 Payload Too Large", kind="text/html")) as server, pytest.raises(ApiError) as caught:
        sender(server.url)(REQUEST)
    assert caught.value.message.startswith("the API answered 413: 413 [31mToo Large cloudflare cloudflare")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400
    assert (caught.value.status, caught.value.kind, caught.value.request_id) == (413, "", "req_7")


def test_a_page_without_end_is_cut(sender):
    def flood(connection):
        connection.sendall(b"HTTP/1.1 500 No\r\n\r\n")
        with suppress(OSError):
            while not server.release.is_set():
                connection.sendall(b"x" * 65536)

    with Scripted(flood) as server, pytest.raises(ApiError, match="500: xxx"):
        sender(server.url)(REQUEST)


@pytest.fixture
def blurting():
    """A server that answers its only connection without reading all that is sent, and hangs up."""

    def serve(reply, read):
        with listener.accept()[0] as connection:
            while read > 0:
                read -= len(connection.recv(read))
            connection.sendall(reply)

    def start(reply, read):
        threads.append(threading.Thread(target=serve, args=[reply, read]))
        threads[0].start()
        return listener.getsockname()[1]

    threads = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield start
        threads[0].join(10)
        assert not threads[0].is_alive()


def test_an_answer_that_comes_before_the_whole_body_is_read_is_heard(sender, blurting):
    port = blurting(answer(b"", "413 Payload Too Large"), 1000)
    large = Request("m", 10, (), (Block("x" * 20_000_000),))
    with pytest.raises(ApiError) as caught:
        sender(f"http://127.0.0.1:{port}")(large)
    assert caught.value.status == 413


def test_an_error_shows_no_secret_that_the_server_quotes(sender):
    body = error_body("authentication_error", f"invalid key {KEY}")
    with Scripted(answer(body, "401 No")) as server, pytest.raises(AuthenticationFailed) as caught:
        sender(server.url, ANTHROPIC_CUSTOM_HEADERS="x-token: hunter2hunter2")(REQUEST)
    told = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert KEY not in told
    assert caught.value.message == "the API answered 401 authentication_error: invalid key [secret] (req_7)"


# --- connections


def test_a_connection_that_the_server_closed_while_idle_is_replaced(sender):
    def once(connection):
        connection.sendall(answer())
        connection.shutdown(socket.SHUT_WR)
        closed.set()

    closed = threading.Event()
    with Scripted(once, answer()) as server:
        transport = sender(server.url)
        transport(REQUEST)
        assert closed.wait(10)
        assert transport(REQUEST).text == "hi"
        assert server.connections == 2


def test_a_connection_whose_server_died_while_idle_is_replaced(sender):
    def once(connection):
        connection.sendall(answer())
        assert replied.wait(10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
        closed.set()

    replied, closed = threading.Event(), threading.Event()
    with Scripted(once, answer()) as server:
        transport = sender(server.url)
        transport(REQUEST)
        replied.set()
        assert closed.wait(10)
        assert transport(REQUEST).text == "hi"


@pytest.mark.parametrize("reply", [answer(connection="close"), answer(content_length=None, connection="close")])
def test_a_connection_that_the_server_wants_closed_is_not_used_again(sender, reply):
    def and_close(connection):
        connection.sendall(reply)
        connection.shutdown(socket.SHUT_WR)

    with Scripted(and_close, answer()) as server:
        transport = sender(server.url)
        assert [transport(REQUEST).text for _ in "ab"] == ["hi", "hi"]
        assert server.connections == 2


def test_an_error_does_not_cost_the_connection(sender):
    with Scripted(answer(error_body(), "529 Overloaded"), answer()) as server:
        transport = sender(server.url)
        with pytest.raises(TryLater):
            transport(REQUEST)
        assert transport(REQUEST).text == "hi"
        assert server.connections == 1


def test_many_threads_use_no_more_connections_than_calls_at_once(sender):
    with Scripted(*[answer()] * 80) as server, ThreadPoolExecutor(4) as pool:
        transport = sender(server.url)
        texts = list(pool.map(lambda _: transport(REQUEST).text, range(80)))
        assert server.connections <= 4
    assert texts == ["hi"] * 80


# --- limits of time


def test_an_answer_of_nothing_but_signs_of_life_is_given_up(sender):
    def pings(connection):
        connection.sendall(chunked(b'data: {"type": "ping"}\n\n', end=b""))
        with suppress(OSError):
            while not server.release.wait(0.02):
                connection.sendall(b'18\r\ndata: {"type": "ping"}\n\n\r\n')

    with Scripted() as server:
        server.answers.append(pings)
        with pytest.raises(TimedOut, match=r"did not go on for 0\.2 s") as caught:
            sender(server.url, timeout=0.2)(REQUEST)
    assert caught.value.retryable


def test_a_trickle_within_a_header_does_not_outlive_the_deadline(sender):
    def trickle(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nx-slow: ")
        with suppress(OSError):
            while not server.release.wait(0.01):
                connection.sendall(b"x")

    with Scripted(trickle) as server, pytest.raises(TimedOut, match="time limit passed"):
        sender(server.url)(REQUEST, deadline=time.monotonic() + 0.3)


def test_a_deadline_of_one_call_is_not_that_of_the_next(sender):
    with Scripted(answer(), answer()) as server:
        transport = sender(server.url)
        deadline = time.monotonic() + 0.2
        transport(REQUEST, deadline=deadline)
        server.release.wait(deadline - time.monotonic())
        assert transport(REQUEST).text == "hi"


def test_a_server_that_does_not_take_the_connection_is_given_up():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        waiting = []
        for _ in range(4):  # the kernel's queue: from the last of these on, nobody answers
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(("127.0.0.1", port))
        far = Endpoint("http", "127.0.0.1", port, api_key=KEY, connect_timeout=0.2)
        with pytest.raises(ConnectionFailed, match=r"within 0\.2 s"):
            HttpTransport(far)(REQUEST)
        for one in waiting:
            one.close()


# --- abort


def aborted_by(transport, ready):
    """Send from another thread, abort once `ready` is set, and return how the call ended."""
    ended = []

    def send():
        try:
            ended.append(transport(REQUEST))
        except ForceError as error:
            ended.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    assert ready.wait(10)
    transport.abort()
    thread.join(10)
    assert not thread.is_alive()
    return ended[0]


def test_abort_ends_a_handshake(sender):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ready, taken = threading.Event(), []

        def accept():
            taken.append(listener.accept()[0])
            taken[0].recv(1)
            ready.set()

        thread = threading.Thread(target=accept)
        thread.start()
        transport = sender(f"https://127.0.0.1:{listener.getsockname()[1]}")
        assert isinstance(aborted_by(transport, ready), Interrupted)
        thread.join(10)
        taken[0].close()


def test_abort_before_a_socket_is_open_ends_it_as_it_opens():
    stop = threading.Event()
    stop.set()
    with Scripted(answer()) as server:
        connection = Connection(Endpoint("http", "127.0.0.1", server.port, api_key=KEY), stop, None)
        with pytest.raises(Interrupted):
            connection.open(None)
        connection.close()
        assert server.connections == 0


def test_abort_from_the_callback_ends_the_call(sender):
    with Scripted(answer()) as server:
        transport = sender(server.url)
        half = STREAM.index(b"event: message_delta")
        server.answers[:] = [server.hang(chunked(STREAM[:half], end=b""))]
        with pytest.raises(Interrupted):
            transport(REQUEST, on_text=lambda _: transport.abort())


def test_abort_closes_idle_connections(sender):
    with Scripted(answer()) as server:
        transport = sender(server.url)
        transport(REQUEST)
        transport.abort()
        with pytest.raises(Interrupted):
            transport.get_json("/v1/models")


# --- all of it together


def test_connect_gives_the_built_in_transport_patience():
    told = []
    with Scripted(answer(error_body("overloaded_error"), "529 No", retry_after_ms="1"), answer()) as server:
        variables = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": server.url}
        transport = connect("http", endpoint(variables), retries=1, notice=told.append)
        assert transport(REQUEST).attempts == 2
        transport.close()
    assert told == ["claude-haiku-5-5: overloaded (529), retrying in 0.0 s (1 of 1)"]


def test_connect_refuses_wrong_settings_before_anything_is_sent():
    with pytest.raises(UsageError, match="no transport named 'carrier-pigeon'"):
        connect("carrier-pigeon", endpoint({}))


def test_a_resolver_that_hangs_is_left_behind_at_the_deadline(sender, monkeypatch):
    never = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: never.wait(30) or [])
    transport = sender("http://api.example.test:1")
    with pytest.raises(TimedOut):
        transport(REQUEST, deadline=time.monotonic() + 0.2)
    threading.Timer(0.1, transport.abort).start()
    with pytest.raises(Interrupted):
        transport(REQUEST)
    never.set()


@pytest.mark.parametrize("name", ["model", "stop_reason"])
def test_a_name_from_the_server_is_one_short_line_without_the_key(sender, name):
    fields = {"model": "m", "stop_reason": "end_turn", name: f"a\nforged: {KEY}" + "x" * 5000}
    message = {"type": "message", "content": [], "usage": {"input_tokens": 10**310}, **fields}
    body = json.dumps(message).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    with Scripted(head + body) as server:
        reply = sender(server.url)(REQUEST)
    assert len(getattr(reply, name)) <= 100
    assert "\n" not in getattr(reply, name)
    assert KEY not in getattr(reply, name)
    assert reply.usage.input_tokens == 10**15
