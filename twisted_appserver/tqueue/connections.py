"""The client's side of HTTP/1.1 (RFC 9112), as far as a JSON service needs it. Standard library only."""

from __future__ import annotations

import os
import socket
import ssl
from base64 import b64encode
from collections import deque
from collections.abc import Iterable
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

LONGEST = 1e6  # seconds that are waited for a byte, whatever is asked: a socket does not take any number


class AnswerError(OSError):
    """Raised when what came back is no HTTP, or ends too early."""


class Connection:
    """One connection, for one request at a time."""

    def __init__(self, host: str, port: int, secure: bool, timeout: float) -> None:
        plain = socket.create_connection((host, port), timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = plain
        if secure:
            self._socket = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
        self._file = self._socket.makefile("rb")

    def exchange(self, request: bytes, timeout: float) -> tuple[int, bytes, bool]:
        """
        Send a request and read its answer.

        @param timeout: seconds that may pass without a byte.
        @return: the status, the body, and whether the connection stays open.
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
        if b"chunked" in headers.get(b"transfer-encoding", b"").lower():
            return status, b"".join(self._chunks()), keep
        if b"content-length" in headers:
            return status, self._read(int(headers[b"content-length"])), keep
        return status, b"" if status in (204, 304) else self._file.read(), status in (204, 304) and keep

    def close(self) -> None:
        self._file.close()
        self._socket.close()

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


def authorization(parts: SplitResult, token: str) -> str:
    """What shows a server who asks: the token, or the name and password of its url; empty for neither."""
    if token:
        return f"Bearer {token}"
    if parts.username is None:
        return ""
    words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + b64encode(words.encode()).decode()


class Pool:
    """
    Connections to one server, kept open between requests. Safe from any thread, and after a fork.

    @param url: of the server, like C{http://localhost:8082}, or below which the queues are mounted; with
        C{name:password@} before the host where it asks for that.
    @param token: for a server that asks for one.
    """

    def __init__(self, url: str, token: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"the url must be like http://localhost:8082, not {url!r}")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port or (443 if self._secure else 80)
        self._path, self._netloc = parts.path.rstrip("/"), parts.netloc.rpartition("@")[2]
        self._proof = f"Authorization: {proof}\r\n" if (proof := authorization(parts, token)) else ""
        self._idle: deque[Connection] = deque()
        self._pid = os.getpid()

    def request(self, path: str, body: bytes | None, timeout: float) -> tuple[int, bytes, bool]:
        """
        GET a path below the server's, or POST JSON to it.

        @param timeout: seconds that may pass without a byte.
        @return: status, body, and whether the request was made before, and its answer may have been lost.
        @raise OSError: when the server cannot be reached, or its answer does not arrive. If that happens on
            a connection that was idle, the server may have closed it: it is tried on a new one.
        """
        head = f"{'GET' if body is None else 'POST'} {self._path}{path} HTTP/1.1\r\nHost: {self._netloc}\r\n"
        head += self._proof
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        request = head.encode("ascii") + b"\r\n" + (body or b"")
        if self._pid != os.getpid():
            self._idle, self._pid = deque(), os.getpid()
        again = False
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = Connection(self._host, self._port, self._secure, min(timeout, 10.0))
                return *self._exchange(connection, request, timeout), again
            try:
                return *self._exchange(connection, request, timeout), again
            except TimeoutError:
                raise
            except OSError:
                again = True

    def _exchange(self, connection: Connection, request: bytes, timeout: float) -> tuple[int, bytes]:
        keep = False
        try:
            status, answer, keep = connection.exchange(request, timeout)
            return status, answer
        except ValueError as error:
            raise AnswerError(f"the answer is no HTTP: {error}") from error
        finally:
            if keep:
                self._idle.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()

    def __reduce__(self) -> Any:
        raise TypeError("a pool of connections cannot be sent to another process")
