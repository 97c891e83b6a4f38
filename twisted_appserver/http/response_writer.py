"""Writes the responses of a connection: head, framing, and the parts of streamed bodies."""

from __future__ import annotations

import os
from contextlib import suppress
from time import monotonic
from typing import Any

from twisted.internet.tcp import Connection
from twisted.web.http import NO_BODY_CODES  # reading it from the module each time takes 1.5 us

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.executors.file_stream import FileStream
from twisted_appserver.executors.stream import Stream
from twisted_appserver.http.response_head import response_heads

SENDS_FILES = hasattr(os, "sendfile")  # not on Windows
CONNECTION = ("Connection: close\r\n", "Connection: keep-alive\r\n")  # by whether it stays open


class ResponseWriter:
    """
    Writes one response after the other.

    @param connection: the L{http.connection.HTTPConnection}. Its C{response_sent} or C{response_broken_off}
        is called at the end of each response.
    @ivar keep_alive: whether the connection stays open after the current response.
    @ivar confirm_keep_alive: whether the response must contain C{Connection: keep-alive}.
    @ivar http10: whether the request came with HTTP/1.0.
    """

    keep_alive = True
    confirm_keep_alive = http10 = False
    _chunked = False  # whether the current stream is sent in chunks

    def __init__(self, connection: Any) -> None:
        self._connection: Any = connection
        self._transport: Any = connection.transport
        self._direct = isinstance(self._transport, Connection)

    def send(self, call: Call, reply: Reply) -> None:
        """Send the response to the current call, or the beginning of a streamed one."""
        connection, body = self._connection, reply.body
        if connection is None:
            return
        streamed = type(body) is not bytes
        # In HTTP/1.0 only the end of the connection marks the end of a body of unknown length.
        if (connection.finishing and connection.ends_after_response) or (streamed and self.http10):
            self.keep_alive = False
        framing = "" if self.keep_alive and not self.confirm_keep_alive else CONNECTION[self.keep_alive]
        if streamed:
            framing += self._framing(body)
        elif reply.status not in NO_BODY_CODES:
            framing = f"{framing}Content-Length: {len(body)}\r\n"
        begin = response_heads[reply.status, reply.headers, not body]
        head = f"{begin}X-Request-ID: {call.request_id}\r\n{framing}\r\n".encode("latin-1")
        self.write(head if streamed or call.method == "HEAD" else head + body)
        if streamed:
            self._send_stream(call, body)
        else:
            connection.response_sent()

    def close(self) -> None:
        """Write nothing more, and drop the reference to the connection, which is lost."""
        self._connection = None

    def _framing(self, stream: Stream) -> str:
        """The header that determines where the body of a stream ends."""
        self._chunked = stream.length is None and not self.http10
        if stream.length is not None:
            return f"Content-Length: {stream.length}\r\n"
        return "Transfer-Encoding: chunked\r\n" if self._chunked else ""

    def _send_stream(self, call: Call, stream: Stream) -> None:
        connection = self._connection
        if call.method == "HEAD":
            stream.stopProducing()
            connection.response_sent()
            return
        connection.registerProducer(stream, True)
        if connection.congested:
            stream.pauseProducing()
        if SENDS_FILES and self._direct and isinstance(stream, FileStream):
            stream.begin(self.write, self._end_stream, self._send_file)
        else:
            stream.begin(self._write_chunk if self._chunked else self.write, self._end_stream)

    def _send_file(self, descriptor: int, position: int, count: int) -> int | None:
        """Send a part of a file without copying it, and have the stream resumed when the client has room."""
        transport, sent = self._transport, None
        if not (transport.dataBuffer or transport._tempDataBuffer):
            with suppress(BlockingIOError, ConnectionError):  # The transport notices the end of a connection.
                sent = os.sendfile(transport.fileno(), descriptor, position, count)
        # As after a write that was too large: with nothing left to write, the transport resumes its producer.
        transport.producerPaused = True
        transport.startWriting()
        return sent

    def _write_chunk(self, data: bytes) -> None:
        self.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _end_stream(self, failure: str) -> None:
        connection = self._connection
        connection.unregisterProducer()
        if failure:
            connection.response_broken_off()
            return
        if self._chunked:
            self.write(b"0\r\n\r\n")
        if connection.ends_after_response:
            self.keep_alive = False
        connection.last_activity = monotonic()
        connection.response_sent()

    def write(self, data: bytes) -> None:
        """
        Write, straight to the socket if nothing waits to be written: C{transport.write} arms and disarms
        the poller for every response.
        """
        transport = self._transport
        if self._direct and transport.connected and not (transport.dataBuffer or transport._tempDataBuffer):
            try:
                sent = transport.socket.send(data)
            except OSError:  # transport.write reports the error, if it lasts
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        transport.write(data)
