"""A client for tests that sends raw bytes over TCP and parses the responses (HTTP/1.1)."""

from __future__ import annotations

from collections import deque

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from twisted_appserver.testing import Response, read_body, read_head


def request(
    method: str,
    target: str,
    body: bytes = b"",
    headers: tuple[tuple[str, str], ...] = (),
    host: str = "localhost",
) -> bytes:
    """Return the bytes of a request. Host and Content-Length are added."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def read(data: bytes, method: str = "GET") -> tuple[Response, bytes] | None:
    """Return the first response in C{data} and the rest of the data; C{None} while it is incomplete."""
    found = read_head(data)
    if found is None:
        return None
    status, headers, rest = found
    body = read_body({} if method == "HEAD" or status in (204, 304) else headers, rest)
    return body and (Response(status, headers, body[0]), body[1])


class Connection(Protocol):
    """The connection of a client. Responses arrive in the order of the requests (RFC 9112, section 9.3.2)."""

    def __init__(self) -> None:
        self.unread = b""
        self.closed: Deferred[None] = Deferred()
        self._waiting: deque[tuple[str, Deferred[Response]]] = deque()

    def send(self, data: bytes) -> Deferred[Response]:
        """Send one request. The Deferred fires with its response, or fails if the connection ends before."""
        deferred: Deferred[Response] = Deferred(lambda _: None)
        self._waiting.append((data.partition(b" ")[0].decode("latin-1"), deferred))
        self.transport.write(data)  # type: ignore[union-attr]
        return deferred

    def dataReceived(self, data: bytes) -> None:
        self.unread += data
        while self._waiting and (found := read(self.unread, self._waiting[0][0])):
            answer, self.unread = found
            self._waiting.popleft()[1].callback(answer)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        for _, deferred in self._waiting:
            if not deferred.called:
                deferred.errback(ConnectionError(f"closed after {self.unread!r}"))
        self.closed.callback(None)

    async def close(self) -> None:
        self.transport.abortConnection()  # type: ignore[union-attr]
        await self.closed


async def connect(port: int, address: str = "127.0.0.1") -> Connection:
    """Connect to C{port} on the loopback interface."""
    endpoint = TCP4ClientEndpoint(reactor, address, port, timeout=10)
    return await connectProtocol(endpoint, Connection())


async def exchange(port: int, data: bytes, address: str = "127.0.0.1") -> Response:
    """Send one request over a new connection."""
    connection = await connect(port, address)
    try:
        return await connection.send(data)
    finally:
        await connection.close()


async def fetch(port: int, target: str) -> Response:
    """Send a GET request over a new connection."""
    return await exchange(port, request("GET", target))
