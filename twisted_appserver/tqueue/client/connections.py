"""The blocking HTTP/1.1 transport of the clients (RFC 9112). Needs the standard library only."""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from .addresses import Address
from .attempts import ServerResponse
from .errors import ResponseError
from .forks import watch
from .requests import QueueRequest

LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)  # SO_LINGER with no time: closing sends RST
LONGEST = 1e6  # seconds to wait for a byte at most: sockets refuse larger numbers
CONNECT = 10.0  # seconds to wait for a connection at most


class NotSent(Exception):
    """
    Raised when a request was not sent because no connection could be made.

    @ivar error: the reason.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class Connection:
    """
    One connection, for one request at a time.

    @ivar reusable: whether the connection stays open after the last response.
    """

    def __init__(self, address: Address, timeout: float) -> None:
        plain = socket.create_connection((address.host, address.port), timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = plain
        if address.secure:
            context = ssl.create_default_context()
            self._socket = context.wrap_socket(plain, server_hostname=address.host)
        self._file = self._socket.makefile("rb")
        self.reusable = False

    @property
    def stale(self) -> bool:
        """Whether the server has closed the connection, or sent something that no request asked for."""
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            return bool(poll.poll(0))
        return bool(select.select([self._socket], [], [], 0)[0])

    def exchange(self, request: bytes, timeout: float) -> ServerResponse:
        """
        Send a request and read its response.

        @param timeout: seconds that may pass without a byte.
        @raise OSError: when the response does not arrive completely.
        @raise ValueError: when a length in the response is not a number.
        """
        self.reusable = False
        self._socket.settimeout(min(timeout, LONGEST))
        self._socket.sendall(request)
        status = 100
        while status < 200:
            words = self._line().split(None, 2)
            if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
                raise ResponseError(f"the response is not HTTP: {b' '.join(words)!r}")
            status, headers = int(words[1]), dict(self._headers())
        body, complete = self._body(status, headers)
        closing = headers.get(b"connection", b"").lower() == b"close" or words[0] != b"HTTP/1.1"
        self.reusable = complete and not closing
        return ServerResponse(status, body, headers.get(b"retry-after", b"").decode("latin-1"))

    def _body(self, status: int, headers: dict[bytes, bytes]) -> tuple[bytes, bool]:
        """Read a body. Return it, and whether it ends before the connection does (RFC 9112, section 6.3)."""
        if b"chunked" in headers.get(b"transfer-encoding", b"").lower():
            return b"".join(self._chunks()), True
        if b"content-length" in headers:
            return self._read(int(headers[b"content-length"])), True
        if status in (204, 304):
            return b"", True
        return self._file.read(), False

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def reset(self) -> None:
        """
        Let C{close} reset the connection.

        The server notices a reset at once. A client that closes its connection in the usual way may still be
        reading, so the server would continue to serve it.
        """
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)

    def abandon(self) -> None:
        """
        In a forked process, close this process's copy of the socket.

        Buffers and locks are left alone: a thread of the parent may have been using them.
        """
        with suppress(OSError):
            os.close(self._socket.detach())

    def _line(self) -> bytes:
        line = self._file.readline(65537)
        if not line.endswith(b"\n"):
            raise ResponseError("the connection was closed before the response ended")
        return line.rstrip(b"\r\n")

    def _headers(self) -> Iterable[tuple[bytes, bytes]]:
        while line := self._line():
            name, _, value = line.partition(b":")
            yield name.lower(), value.strip()

    def _read(self, length: int) -> bytes:
        body = self._file.read(length)
        if len(body) < length:
            raise ResponseError("the connection was closed before the response ended")
        return body

    def _chunks(self) -> Iterable[bytes]:
        while size := int(self._line().partition(b";")[0], 16):
            yield self._read(size)
            self._line()
        for _ in self._headers():
            pass


class Pool:
    """
    Connections to one server, kept open between requests. Safe from any thread, and after a fork.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: deque[Connection] = deque()
        self._open: set[Connection] = set()
        watch(self)

    def request(self, request: QueueRequest[Any]) -> ServerResponse:
        """
        Send a request and return its response.

        The server may have closed an idle connection meanwhile. The request is then sent again on another
        connection.

        @raise NotSent: when the server cannot be reached.
        @raise OSError: when the response does not arrive.
        """
        head = f"{request.method} {request.target} HTTP/1.1\r\nHost: {self._address.netloc}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        if request.method != "GET":
            head += f"Content-Length: {len(request.body)}\r\n"
        data, timeout = head.encode("ascii") + b"\r\n" + request.body, request.timeout
        repeated = False
        while (connection := self._take()) is not None:
            try:
                return self._exchange(connection, data, timeout)._replace(repeated=repeated)
            except TimeoutError:
                raise
            except OSError:
                repeated = True
        try:
            connection = self._connect(min(timeout, CONNECT))
        except OSError as error:
            if repeated:
                raise
            raise NotSent(error) from error
        return self._exchange(connection, data, timeout)._replace(repeated=repeated)

    def _connect(self, timeout: float) -> Connection:
        connection = Connection(self._address, timeout)
        self._open.add(connection)
        return connection

    def _take(self) -> Connection | None:
        """Return an idle connection that the server has not closed, if there is one."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not connection.stale:
                return connection
            self._close(connection)

    def _exchange(self, connection: Connection, data: bytes, timeout: float) -> ServerResponse:
        try:
            return connection.exchange(data, timeout)
        except ValueError as error:
            raise ResponseError(f"the response is not HTTP: {error}") from error
        except BaseException:
            connection.reset()
            raise
        finally:
            if connection.reusable:
                self._idle.append(connection)
            else:
                self._close(connection)

    def _close(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.close()

    def forked(self) -> None:
        """In a forked process, leave the connections to the parent."""
        for connection in list(self._open):
            connection.abandon()
        self._idle, self._open = deque(), set()

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._close(self._idle.pop())

    def __reduce__(self) -> Any:
        raise TypeError("a pool of connections cannot be sent to another process")
