"""The simulator's sockets and threads: it listens, gives each connection a thread, and ends them all when it closes."""

from __future__ import annotations

import selectors
import socket
from contextlib import suppress
from dataclasses import replace
from functools import partial
from threading import Event, Lock, Thread
from time import monotonic, sleep

from .behaviour import Behaviour
from .delivery import deliver
from .endpoints import Endpoints
from .record import Received, Record
from .wire import Connection, Malformed, head_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from ssl import SSLContext
    from typing import Self

    from .behaviour import Fault

_BACKLOG = 1024
_REMEMBER = 1000
"""How many requests a server that runs for ever keeps on record."""


class Simulator:
    """A Messages API on a local port, from `with` to its end; it holds a listening socket and a thread per connection.

    Raises OSError where the address cannot be had, or the certificate cannot be read.
    """

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        certificate: Path | None = None,
        private_key: Path | None = None,
    ) -> None:
        """Listen on `host` and `port`, 0 for any that is free; with a PEM `certificate` speak TLS."""
        self._behaviour = behaviour or Behaviour()
        self._tls = _tls_context(certificate, private_key) if certificate else None
        self._endpoints = Endpoints(self._behaviour, "https" if self._tls else "http")
        self._record = Record(self._behaviour.remember)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._listener.setblocking(False)
        self._host, self._port = self._listener.getsockname()[:2]
        self._waker, self._woken = socket.socketpair()
        self._lock = Lock()
        self._closing = False
        self._connections: dict[Connection, Thread] = {}
        self._acceptor = Thread(target=self._accept, name="simulator", daemon=True)

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The base address, with the prefix, without a slash at its end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self._port}{self._behaviour.prefix}"

    @property
    def requests(self) -> tuple[Received, ...]:
        """What has arrived, oldest first."""
        return self._record.requests

    @property
    def peak_in_flight(self) -> int:
        """The largest number of message requests that were under way at once."""
        return self._record.peak_in_flight

    def script(self, *faults: Fault) -> None:
        """Let the next requests to `POST /v1/messages` meet these faults, one each; after that all is normal."""
        self._endpoints.state.script(faults)

    def wait_for(self, n: int, timeout: float) -> tuple[Received, ...]:
        """Return what has arrived once `n` message requests have. Raises TimeoutError after `timeout` seconds."""
        return self._record.wait_for(n, timeout)

    def close(self) -> None:
        """Stop listening, cut all connections and wait for their threads. May be called twice."""
        with self._lock:
            closing, self._closing = self._closing, True
        if closing:
            return
        self._waker.send(b".")
        if self._acceptor.ident is not None:
            self._acceptor.join()
        self._listener.close()
        with self._lock:
            connections = dict(self._connections)
        for connection in connections:
            connection.abort()
        for thread in connections.values():
            thread.join()
        self._waker.close()
        self._woken.close()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._closing:
                if any(key.fileobj is self._listener for key, _ in selector.select()):
                    self._take()

    def _take(self) -> None:
        """Give the next connection a thread; its TLS handshake is done there, so that nobody waits for it."""
        try:
            sock = self._listener.accept()[0]
        except OSError:  # it went away again, or there are too many open files: let another one end
            sleep(0.005)
            return
        if self._tls:
            sock = self._tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        connection = Connection(sock, self._endpoints.body_limit)
        thread = Thread(target=self._serve, args=(connection,), name="simulator connection", daemon=True)
        with self._lock:
            self._connections[connection] = thread
        thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            connection.handshake()
            while self._exchange(connection):
                pass
        except Malformed as error:
            with suppress(OSError):
                connection.send(_bad_request(error))
        except OSError:
            pass  # the client has gone, or this server closes
        finally:
            connection.close()
            with self._lock:
                del self._connections[connection]

    def _exchange(self, connection: Connection) -> bool:
        """Answer one request, and say whether another may follow."""
        request = connection.read()
        if request is None:
            return False
        received = Received(request.method, request.target, request.headers, request.body, monotonic())
        number = self._record.arrived(received, message=self._endpoints.asks_for_message(request))
        request_id = self._endpoints.state.new_id("req")
        try:
            delivery = self._endpoints.answer(request, request_id)
            return deliver(delivery, connection, request, request_id, partial(self._record.finished, number))
        finally:
            self._record.finished(number, None)


def serve_forever(
    behaviour: Behaviour,
    host: str,
    port: int,
    announce: Callable[[str], None],
    *,
    certificate: Path | None = None,
    private_key: Path | None = None,
) -> None:
    """Serve until Ctrl-C, which ends it quietly; `announce` is called with the address once it listens.

    Raises OSError as `Simulator` does.
    """
    if behaviour.remember is None:
        behaviour = replace(behaviour, remember=_REMEMBER)
    simulator = Simulator(behaviour, host=host, port=port, certificate=certificate, private_key=private_key)
    with suppress(KeyboardInterrupt), simulator:
        announce(simulator.url)
        Event().wait()


def _tls_context(certificate: Path, private_key: Path | None) -> SSLContext:
    import ssl  # only for who asks for TLS

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private_key)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _bad_request(error: Malformed) -> bytes:
    body = f"400 Bad Request: {error}".encode()
    headers = [("content-type", "text/plain"), ("content-length", str(len(body))), ("connection", "close")]
    return head_bytes(400, headers) + body
