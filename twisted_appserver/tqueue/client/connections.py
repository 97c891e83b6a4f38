"""The client's side of HTTP/1.1 (RFC 9112), as far as a JSON service needs it. Standard library only."""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

from .forks import watch
from .requests import read_address, retry_after

LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)  # no time, for SO_LINGER
LONGEST = 1e6  # seconds that are waited for a byte, whatever is asked: a socket does not take any number


class AnswerError(OSError):
    """Raised when what came back is no HTTP, or ends too early."""


class NotSent(Exception):
    """
    Raised when a request was not sent, because there was no connection.

    @ivar error: the reason.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class Answer(NamedTuple):
    """
    @ivar wait: seconds for which the server asks to wait before the next attempt.
    @ivar again: whether the request was made before, and that answer may have been lost.
    """

    status: int
    body: bytes
    wait: float
    again: bool


class Connection:
    """One connection, for one request at a time."""

    def __init__(self, host: str, port: int, secure: bool, timeout: float) -> None:
        plain = socket.create_connection((host, port), timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = plain
        if secure:
            self._socket = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
        self._file = self._socket.makefile("rb")

    @property
    def stale(self) -> bool:
        """Whether the server has closed the connection, or sent what nobody asked for."""
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            return bool(poll.poll(0))
        return bool(select.select([self._socket], [], [], 0)[0])

    def exchange(self, request: bytes, timeout: float) -> tuple[int, bytes, float, bool]:
        """
        Send a request and read its answer.

        @param timeout: seconds that may pass without a byte.
        @return: the status, the body, the seconds of C{Retry-After}, and whether the connection stays open.
        """
        self._socket.settimeout(min(timeout, LONGEST))
        self._socket.sendall(request)
        status = 100
        while status < 200:
            words = self._line().split(None, 2)
            if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
                raise AnswerError(f"the answer is no HTTP: {b' '.join(words)!r}")
            status, headers = int(words[1]), dict(self._headers())
        keep = headers.get(b"connection", b"").lower() != b"close" and words[0] == b"HTTP/1.1"
        wait = retry_after(headers[b"retry-after"].decode("latin-1")) if b"retry-after" in headers else 0.0
        if b"chunked" in headers.get(b"transfer-encoding", b"").lower():
            return status, b"".join(self._chunks()), wait, keep
        if b"content-length" in headers:
            return status, self._read(int(headers[b"content-length"])), wait, keep
        empty = status in (204, 304)
        return status, b"" if empty else self._file.read(), wait, empty and keep

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def reset(self) -> None:
        """
        Have C{close} reset the connection. The server notices this at once, whereas it must expect that a
        client which has closed its connection in the usual way still reads.
        """
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)

    def abandon(self) -> None:
        """
        In a forked process, close its copy of the socket. Buffers and locks are left alone: a thread of the
        parent may have been using them.
        """
        with suppress(OSError):
            os.close(self._socket.detach())

    def _line(self) -> bytes:
        line = self._file.readline(65537)
        if not line.endswith(b"\n"):
            raise AnswerError("the connection was closed before the answer ended")
        return line.rstrip(b"\r\n")

    def _headers(self) -> Iterable[tuple[bytes, bytes]]:
        while line := self._line():
            name, _, value = line.partition(b":")
            yield name.lower(), value.strip()

    def _read(self, length: int) -> bytes:
        body = self._file.read(length)
        if len(body) < length:
            raise AnswerError("the connection was closed before the answer ended")
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

    @param url: of the server, like C{http://localhost:8082}, or below which the queues are mounted; with
        C{name:password@} before the host where it asks for that.
    @param token: for a server that asks for one.
    """

    def __init__(self, url: str, token: str = "") -> None:
        self._address = address = read_address(url, token)
        self._head = f"Host: {address.netloc}\r\n"
        if address.authorization:
            self._head += f"Authorization: {address.authorization}\r\n"
        self._idle: deque[Connection] = deque()
        self._open: set[Connection] = set()
        watch(self)

    def request(self, path: str, body: bytes | None, timeout: float) -> Answer:
        """
        GET a path below the server's, or POST JSON to it.

        @param timeout: seconds that may pass without a byte.
        @raise NotSent: when the server cannot be reached.
        @raise OSError: when the answer does not arrive. If that happens on a connection that was idle, the
            server may have closed it: it is tried on a new one.
        """
        method = "GET" if body is None else "POST"
        head = f"{method} {self._address.path}{path} HTTP/1.1\r\n{self._head}"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        request = head.encode("ascii") + b"\r\n" + (body or b"")
        again = False
        while (connection := self._take()) is not None:
            try:
                return Answer(*self._exchange(connection, request, timeout), again)
            except TimeoutError:
                raise
            except OSError:
                again = True
        try:
            connection = self._connect(min(timeout, 10.0))
        except OSError as error:
            if again:
                raise
            raise NotSent(error) from error
        return Answer(*self._exchange(connection, request, timeout), again)

    def _connect(self, timeout: float) -> Connection:
        address = self._address
        connection = Connection(address.host, address.port, address.secure, timeout)
        self._open.add(connection)
        return connection

    def _take(self) -> Connection | None:
        """An idle connection, if there is one that the server has not closed."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not connection.stale:
                return connection
            self._close(connection)

    def _exchange(self, connection: Connection, request: bytes, timeout: float) -> tuple[int, bytes, float]:
        keep = False
        try:
            status, answer, wait, keep = connection.exchange(request, timeout)
            return status, answer, wait
        except ValueError as error:
            raise AnswerError(f"the answer is no HTTP: {error}") from error
        except BaseException:
            connection.reset()
            raise
        finally:
            if keep:
                self._idle.append(connection)
            else:
                self._close(connection)

    def _close(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.close()

    def forked(self) -> None:
        """The connections are the parent's."""
        for connection in list(self._open):
            connection.abandon()
        self._idle, self._open = deque(), set()

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._close(self._idle.pop())

    def __reduce__(self) -> Any:
        raise TypeError("a pool of connections cannot be sent to another process")
