"""
Many idle connections, each of which has sent one request.

They come from several addresses of the loopback network, since one address has too few ports, and in
small batches, since Twisted by default lets only 50 wait to be accepted.
"""

import select
import socket
from types import TracebackType
from typing import Self

BATCH = 40
PER_ADDRESS = 5000
SECONDS = 20.0


def close_all(sockets: list[socket.socket]) -> None:
    """Close all sockets without waiting for the other side."""
    while sockets:
        sockets.pop().close()


class IdleConnections:
    """So many connections to a port, as a context manager; closed at its end."""

    def __init__(self, port: int, count: int) -> None:
        self.port = port
        self.count = count
        self.sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        try:
            while len(self.sockets) < self.count:
                self.add(min(BATCH, self.count - len(self.sockets)))
        except OSError as error:
            reached = len(self.sockets)
            close_all(self.sockets)
            raise ValueError(f"only {reached} of {self.count} connections: {error}") from error
        return self

    def add(self, count: int) -> None:
        """Open more connections, send a request on each, and read the responses."""
        request = f"GET /person/get/123/ HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode()
        fresh = []
        for _ in range(count):
            connection = socket.socket()
            self.sockets.append(connection)
            fresh.append(connection)
            connection.settimeout(SECONDS)
            connection.bind((f"127.0.0.{2 + len(self.sockets) // PER_ADDRESS}", 0))
            connection.connect(("127.0.0.1", self.port))
            connection.sendall(request)
        for connection in fresh:
            answer = b""
            while b"123" not in answer:
                piece = connection.recv(4096)
                if not piece:
                    raise ConnectionError("the server closed a connection")
                answer += piece
            if not answer.startswith(b"HTTP/1.1 200"):
                raise ConnectionError(f"the server answered {answer[:200]!r}")

    def held(self) -> int:
        """Return how many connections the server has not closed."""
        poller = select.poll()
        for connection in self.sockets:
            connection.setblocking(False)
            poller.register(connection, select.POLLIN)
        readable = {number for number, _ in poller.poll(0)}
        return sum(self.is_open(one) for one in self.sockets if one.fileno() in readable) + (
            len(self.sockets) - len(readable)
        )

    def is_open(self, connection: socket.socket) -> bool:
        """Return whether a readable connection has data to read, and not its end."""
        try:
            return connection.recv(4096) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        close_all(self.sockets)
