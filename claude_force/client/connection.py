"""Connections to one endpoint: opened, kept alive, lent to one call at a time, cut off by an abort.

Answers are read by `http.client`; what is here is what it leaves open: a deadline over a whole answer, ending
a call from another thread, and reuse that notices that the other side has hung up. It knows no message.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from errno import ENOTCONN
from http.client import HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected
from io import BufferedReader, RawIOBase
from queue import Empty, SimpleQueue
from time import monotonic

from ..errors import ConnectionFailed, ForceError, Interrupted, TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLContext
    from typing import Any

    from .endpoint import Endpoint

_READ_BYTES = 64 * 1024
_DRAIN_SECONDS = 0.5
_KEEP_ALIVE = (("TCP_NODELAY", 1), ("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5))


class Pool:
    """The connections to an endpoint: never more than calls were in flight at once, so one per worker thread.

    Kept in one place rather than with each thread, so that closing and aborting reach all of them and none
    is left open by a thread that ended.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        """Open nothing yet."""
        self._endpoint = endpoint
        self._aborted = threading.Event()
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._lent: set[Connection] = set()
        self._tls: SSLContext | None = None

    def take(self, deadline: float | None) -> Connection:
        """Lend an open connection, the one last used if it is still good. Raises ForceError."""
        while (connection := self._lend()) is not None:
            if connection.alive():
                connection.deadline = deadline
                return connection
            self.give_back(connection)
        return self._opened(deadline)

    def give_back(self, connection: Connection) -> None:
        """Keep a lent connection for the next call if it is fit for one, else close it."""
        with self._lock:
            self._lent.discard(connection)
            keep = connection.reusable() and not self._aborted.is_set()
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()

    def abort(self) -> None:
        """Make every call in flight, and every later one, raise Interrupted."""
        self._aborted.set()
        with self._lock:
            for connection in self._lent:
                connection.cut()
        self.close()

    def close(self) -> None:
        """Close the connections that are not lent."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _lend(self) -> Connection | None:
        with self._lock:
            if self._aborted.is_set():
                raise Interrupted("interrupted")
            if not self._idle:
                return None
            connection = self._idle.pop()
            self._lent.add(connection)
        return connection

    def _opened(self, deadline: float | None) -> Connection:
        connection = Connection(self._endpoint, self._aborted, deadline)
        with self._lock:
            self._lent.add(connection)  # before it is open, so that an abort can end the wait for it
        try:
            connection.open(self._context() if self._endpoint.scheme == "https" else None)
        except BaseException as error:
            self.give_back(connection)
            if isinstance(error, ForceError):
                error.sent = False
            raise
        return connection

    def _context(self) -> SSLContext:
        with self._lock:
            if self._tls is None:
                import ssl  # `http.client` has loaded it; the certificates take 20 ms

                self._tls = ssl.create_default_context()
                self._tls.set_alpn_protocols(["http/1.1"])
            return self._tls


class Connection:
    """A socket with a deadline. Its methods raise ForceError and nothing else, but for what `http.client` calls."""

    def __init__(self, endpoint: Endpoint, aborted: threading.Event, deadline: float | None) -> None:
        """Prepare a closed connection whose calls end at `deadline` or once `aborted` is set and it is cut."""
        self.deadline = deadline
        self._endpoint = endpoint
        self._aborted = aborted
        self._socket: socket.socket | None = None
        self._response: HTTPResponse | None = None
        self._open = False

    def open(self, tls: SSLContext | None) -> None:
        """Connect, through the endpoint's proxy if it has one, and with TLS if a context is given."""
        try:
            self._dial()
            if tls is not None:
                if self._endpoint.proxy:
                    self._tunnel()
                self._secure(tls)
        except (OSError, UnicodeError) as error:  # UnicodeError: a host name that cannot be one
            raise self._fault(error) from error
        self._open = True
        self._response = None

    def exchange(self, head: bytes, body: bytes) -> HTTPResponse:
        """Send a request and return its answer, of which no more than the headers may have arrived."""
        self._response = None
        try:
            self._wire.settimeout(self._patience())
            # A server that refuses a body before its end hangs up: its answer tells more than the broken pipe.
            with suppress(BrokenPipeError, ConnectionResetError):
                self._wire.sendall(head + body)
            self._response = HTTPResponse(self, method=head.split(b" ", 1)[0].decode())  # type: ignore[arg-type]
            self._response.begin()
        except (OSError, HTTPException) as error:
            raise self._fault(error) from None
        return self._response

    def read(self) -> bytes:
        """Return what has arrived of the answer, after waiting for something to; empty at its end."""
        response = self._response
        if response is None:
            return b""
        try:
            if response.chunked or response.length is None:
                data = response.read1(_READ_BYTES)
            else:  # `read1` of Python 3.11 does not count down a content length, `read` waits for all that it announces
                data = response.read((len(response.peek(1)) if response.length else 0) or 1)
        except (OSError, HTTPException) as error:
            raise self._fault(error) from None
        if self._aborted.is_set():
            raise Interrupted("interrupted")
        return data

    def finish(self) -> None:
        """Read what follows the last event, so that the connection can be used again; do not wait long for it."""
        if self._response is None or self._response.will_close:
            return
        self.deadline = monotonic() + _DRAIN_SECONDS
        with suppress(ConnectionFailed, TimedOut, Interrupted):
            while self.read():
                pass

    def reusable(self) -> bool:
        """Whether the last answer was read to its end and the other side did not ask to close."""
        return self._response is not None and self._response.isclosed() and not self._response.will_close

    def alive(self) -> bool:
        """Whether the other side has kept this idle connection open: then there is nothing to read."""
        try:
            self._wire.settimeout(0)
            socket.socket.recv(self._wire, 1, socket.MSG_PEEK)  # a TLS socket's own `recv` takes no flags
        except BlockingIOError:
            return True
        except OSError:
            pass
        self._response = None
        return False

    def cut(self) -> None:
        """Wake whoever waits on the socket, in whichever thread."""
        with suppress(OSError):
            socket.socket.shutdown(self._wire, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        with suppress(OSError):
            if self._response is not None:
                self._response.close()
            self._wire.close()

    def makefile(self, mode: str) -> BufferedReader:
        """Return the stream that `http.client`, which takes this for a socket, reads an answer from."""
        return BufferedReader(_Incoming(self), _READ_BYTES)

    def receive_into(self, buffer: memoryview) -> int:
        """Fill `buffer` with the next bytes and return their number. Raises OSError: `http.client` lies between."""
        self._wire.settimeout(self._patience())
        return self._wire.recv_into(buffer)

    @property
    def _wire(self) -> socket.socket:
        if self._socket is None:
            raise OSError(ENOTCONN, "not connected")
        return self._socket

    def _adopt(self, opened: socket.socket) -> None:
        self._socket = opened
        if self._aborted.is_set():  # looked at after the socket is in reach of `cut`: one of the two sees the other
            raise Interrupted("interrupted")
        opened.settimeout(self._patience())

    def _dial(self) -> None:
        far = self._endpoint.proxy or self._endpoint
        failure: OSError = OSError("the name has no address")
        for family, kind, protocol, _, address in self._addresses(far.host, far.port):
            self.close()
            self._adopt(socket.socket(family, kind, protocol))
            try:
                self._wire.connect(address)
            except OSError as error:
                failure = error
            else:
                return _set_options(self._wire)
        raise failure

    def _addresses(self, host: str, port: int) -> list[Any]:
        """Return what the resolver says of `host`; a resolver that hangs is left behind at the deadline or an abort."""
        name = host.encode("ascii" if host.isascii() else "idna")  # for a plain name the codec would cost 4 ms
        if host == "localhost" or ":" in host or host.replace(".", "").isdecimal():
            return socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        found: SimpleQueue[list[Any] | OSError] = SimpleQueue()
        threading.Thread(target=_resolve, args=(name, port, found), daemon=True).start()
        end = monotonic() + self._patience()
        while not self._aborted.is_set():
            if monotonic() >= end:
                raise TimeoutError
            with suppress(Empty):
                if isinstance(answer := found.get(timeout=min(0.1, max(end - monotonic(), 0.001))), OSError):
                    raise answer
                return answer
        raise Interrupted("interrupted")

    def _tunnel(self) -> None:
        proxy = self._endpoint.proxy
        assert proxy is not None
        host = f"[{self._endpoint.host}]" if ":" in self._endpoint.host else self._endpoint.host
        target = f"{host}:{self._endpoint.port}"
        credentials = f"proxy-authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
        response = self.exchange(f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{credentials}\r\n".encode(), b"")
        if response.status != 200:
            hint = "check the user name and password in the proxy's variable" if response.status == 407 else ""
            message = f"the proxy {proxy.host}:{proxy.port} refused the connection ({response.status})"
            raise ConnectionFailed(message, hint=hint, retryable=response.status >= 500)
        response.close()

    def _secure(self, tls: SSLContext) -> None:
        # The handshake waits until the new socket can be cut: wrapping takes the descriptor from the old one.
        secure = tls.wrap_socket(self._wire, server_hostname=self._endpoint.host, do_handshake_on_connect=False)
        self._adopt(secure)
        secure.do_handshake()

    def _patience(self) -> float:
        """Return how many seconds the next wait may take. Raises TimeoutError past the deadline."""
        longest = self._endpoint.idle_timeout if self._open else self._endpoint.connect_timeout
        if self.deadline is None:
            return longest
        if (left := self.deadline - monotonic()) <= 0:
            raise TimeoutError
        return min(left, longest)

    def _fault(self, error: Exception) -> ForceError:
        where = self._endpoint.authority
        if self._aborted.is_set():
            return Interrupted("interrupted")
        if isinstance(error, TimeoutError):
            return self._timeout(where)
        if isinstance(error, HTTPException):  # its text quotes the other side, and may quote control characters
            cut = isinstance(error, (IncompleteRead, RemoteDisconnected))
            return ConnectionFailed(f"the answer of {where} {'was cut off' if cut else 'is not HTTP'}")
        reason = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or str(error)
        certificate = hasattr(error, "verify_message")
        hint = "name your authority's certificates in SSL_CERT_FILE" if certificate else "see claude-force doctor"
        what = f"the connection to {where} was lost" if self._open else f"no connection to {where}"
        return ConnectionFailed(f"{what}: {reason}", hint=hint)

    def _timeout(self, where: str) -> ForceError:
        if self.deadline is not None and monotonic() >= self.deadline:
            return TimedOut("the time limit passed before the answer was complete", retryable=False)
        if not self._open:
            return ConnectionFailed(f"no connection to {where} within {self._endpoint.connect_timeout:g} s")
        hint = "raise performance.request_timeout_seconds"
        return TimedOut(f"{where} was silent for {self._endpoint.idle_timeout:g} s", hint=hint)


class _Incoming(RawIOBase):
    """The bytes of one answer; closing it leaves the connection open."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._connection.receive_into(buffer)


def _resolve(name: bytes, port: int, found: SimpleQueue[list[Any] | OSError]) -> None:
    try:
        found.put(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM))
    except OSError as error:
        found.put(error)


def _set_options(opened: socket.socket) -> None:
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEP_ALIVE:
        if (option := getattr(socket, name, None)) is not None:  # which there are depends on the system
            opened.setsockopt(socket.IPPROTO_TCP, option, value)
