"""A proxy in front of a TQueueSrv. It fails in a chosen way, request by request."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from contextlib import suppress
from typing import Any

RESET = struct.pack("ii", 1, 0)  # linger for 0 seconds: close() sends RST


class FaultyProxy:
    """
    @param port: of the server.
    @ivar faults: pairs of a word and a fault, for the next request whose path contains the word. A fault is

      - C{reset}: the connection is reset after the request head, before the body is read,
      - C{closed}: the connection is closed without a response; the server does not receive the request,
      - C{lost}: the server responds, and the connection is reset instead of forwarding the response,
      - C{half}: half of the response arrives,
      - C{noise}: the response is not HTTP,
      - a status: the proxy responds with it (503 with C{Retry-After: 1}); the server does not receive the
        request,
      - a function: it is called before the request is forwarded.
    @ivar seen: the paths of all requests.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.faults: list[tuple[str, Any]] = []
        self.seen: list[str] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def close(self) -> None:
        for each in (self._listening, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._open.add(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as file, suppress(OSError, http.client.HTTPException):
            while self._one(connection, file):
                pass
        self._open.discard(connection)

    def _one(self, connection: socket.socket, file: Any) -> bool:
        """Forward one request. Return whether the connection stays open."""
        if not (words := file.readline().split()):
            return False
        path = words[1].decode()
        headers = http.client.parse_headers(file)
        fault = self._fault(path)
        if fault == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return False
        body = file.read(int(headers.get("content-length", 0)))
        if fault == "closed":
            return False
        if isinstance(fault, int):
            connection.sendall(_answer(fault, b"<html>", "Retry-After: 1\r\n" if fault == 503 else ""))
            return True
        if fault == "noise":
            connection.sendall(b"what?\r\n\r\n")
            return False
        if callable(fault):
            fault()
        status, answer = self._forward(words[0].decode(), path, body, headers)
        if fault == "lost":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            return False
        text = _answer(status, answer)
        connection.sendall(text[: len(text) // 2] if fault == "half" else text)
        return fault != "half"

    def _fault(self, path: str) -> Any:
        self.seen.append(path)
        for pair in self.faults:
            if pair[0] in path:
                self.faults.remove(pair)
                return pair[1]
        return None

    def _forward(self, method: str, path: str, body: bytes, given: Any) -> tuple[int, bytes]:
        server = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            headers = {name: given[name] for name in ("traceparent", "tracestate") if name in given}
            headers |= {"content-type": "application/json"} if body else {}
            server.request(method, path, body or None, headers)
            answer = server.getresponse()
            return answer.status, answer.read()
        finally:
            server.close()


def _answer(status: int, body: bytes, more: str = "") -> bytes:
    return f"HTTP/1.1 {status} x\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode() + body
