"""C{twisted.web}'s own connection, with the same limits and checks. It is several times slower."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.logger import Logger

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.request_data import body_too_long
from twisted_appserver.core.request_target import (
    check_host,
    make_call,
    quote_line,
    split_target,
    unquote_line,
)
from twisted_appserver.dispatch.arriving_calls import body_limit
from twisted_appserver.errors import HTTPError
from twisted_appserver.http.app_resource import raw_headers
from twisted_appserver.http.base_connection import BaseConnection
from twisted_appserver.http.request_parser import HEADER_MEMORY
from twisted_appserver.http.response_head import response_heads


class StockConnection(BaseConnection):
    """
    One connection, whose requests C{twisted.web} parses.

    Strategy: a request that has arrived completely is rendered as usual, and its L{AppResource} checks it. A
    request whose body is still to come is checked here, so that a refused client cannot make the server keep
    a body.
    """

    log = Logger(namespace="twisted_appserver")
    _expects = False  # whether the client waits for 100 Continue
    _refusal: Callable[[], None] | None = None  # sends a refusal after the response to the request before
    _checked = False  # whether the head of the request that is arriving was checked

    def dataReceived(self, data: bytes) -> None:
        if self._ignores_input:
            return
        super().dataReceived(data)
        self._count_unfinished()

    def _count_unfinished(self) -> None:
        """Count the bytes of unfinished requests, and check a request whose body is still to come."""
        if self._ignores_input:
            return
        if self._dataBuffer:
            self._coalesce()
        kept = sum(map(len, self._dataBuffer))
        if self.requests and not self._handlingRequest:
            kept += self._arrived()
        if kept or self._held:
            self._hold(kept)

    def _arrived(self) -> int:
        """Check the request that is arriving, and return the bytes that it takes."""
        if self.line_mode:
            return int(
                self._receivedHeaderSize + HEADER_MEMORY * self._receivedHeaderCount + len(self._buffer)
            )
        size = int(self.requests[-1].content.tell())
        limit = self._limit_of(size)
        if limit is not None and size > limit:
            self._refuse(body_too_long(limit, limit != self.max_body))
            return 0
        if not self._checked:
            self._checked = True
            self._check_head(self._head_call())
        return 0 if self._ignores_input or limit != self.max_body else size

    def _head_call(self) -> Call:
        return make_call(self._command, self._path, self._headers, b"", self._client)

    def _limit_of(self, size: int | None) -> int | None:
        """
        Return how long the body may be. C{twisted.web} keeps a long body in a file.

        @param size: its size so far.
        """
        if self.max_body is None or size is None or size <= self.max_body:
            return self.max_body
        return body_limit(self.application.dispatcher, self.max_body, self._head_call)

    def lineReceived(self, line: bytes) -> None:
        if self._ignores_input:
            return
        in_headers = bool(self.requests)
        quoted = line if in_headers or line.isascii() else quote_line(line, True)
        super().lineReceived(quoted)
        if quoted is not line and not self._ignores_input:
            self._path = unquote_line(self._path)

    def rawDataReceived(self, data: bytes) -> None:
        if not self._ignores_input:
            super().rawDataReceived(data)

    def allHeadersReceived(self) -> None:
        self._expects = self._checked = False
        try:
            self._check_message()
        except HTTPError as error:
            self._refuse(error)
            return
        super().allHeadersReceived()

    def _check_message(self) -> None:
        hosts = self.requests[-1].requestHeaders.getRawHeaders(b"host") or [None]
        check_host(hosts[-1], self._version == b"HTTP/1.1")
        split_target(self._command, self._path)
        limit = self._limit_of(self.length)
        if limit is not None and self.length is not None and self.length > limit:
            raise body_too_long(limit, limit != self.max_body)

    def allContentReceived(self) -> None:
        if not self._ignores_input:
            super().allContentReceived()

    def _send100Continue(self) -> None:
        """Only note that the client waits: the head is checked first."""
        self._expects = True

    @property
    def _headers(self) -> tuple[tuple[bytes, bytes], ...]:
        return raw_headers(self.requests[-1]) if self.requests else ()

    @property
    def _client(self) -> str:
        return getattr(self.transport.getPeer(), "host", None) or ""

    def _wait_for_credentials(self) -> None:
        self._networkProducer.pauseProducing()

    def _resume(self, call: Call | None) -> None:
        if call is not None and not self._ignores_input:
            self._networkProducer.resumeProducing()
            self._admitted(call)

    def _admitted(self, call: Call) -> None:
        if self._expects and not self.requests[-1].content.tell():
            super()._send100Continue()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self._refuse(HTTPError(400, "invalid HTTP/1.1 request"))

    def _refuse(self, error: BaseException, call: Call | None = None) -> None:
        if self._ignores_input:
            return
        self._ignores_input = True
        self._hold(0)
        self._dataBuffer.clear()
        if self._handlingRequest:
            self._refusal = partial(self._send_refusal, error, call)
        else:
            self._send_refusal(error, call)

    def _send_refusal(self, error: BaseException, call: Call | None) -> None:
        if call is None:
            call = Call("", "", raw_headers=self._headers, client=self._client)
        self.application.dispatcher.refuse(error, call, self._send_reply)

    def _send_reply(self, call: Call, reply: Reply) -> None:
        response_heads.refresh()
        begin = response_heads[reply.status, reply.headers, not reply.body]
        head = f"{begin}X-Request-ID: {call.request_id}\r\nConnection: close\r\n"
        head += f"Content-Length: {len(reply.body)}\r\n\r\n"
        self.transport.write(head.encode("latin-1") + (b"" if call.method == "HEAD" else reply.body))
        self._close_gently()

    def timeoutConnection(self) -> None:
        if self._ignores_input:
            self.transport.abortConnection()
        elif self.requests and not self._handlingRequest:
            self._refuse(HTTPError(408, f"nothing more of the request arrived within {self.timeOut} seconds"))
        else:
            super().timeoutConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self._ignores_input = True
        super().connectionLost(reason)

    def requestDone(self, request: Any) -> None:
        super().requestDone(request)
        if self._refusal is not None:
            self._refusal()
        elif self.finishing and not self._handlingRequest:
            self.loseConnection()
        else:
            self._count_unfinished()
