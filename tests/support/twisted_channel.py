"""Our connection in place of C{twisted.web.http.HTTPChannel}, for Twisted's own tests of parsing and framing.

Our connection parses the requests and orders the calls. Here each call becomes a Request of Twisted again,
which writes its response with the methods that the connection inherits from Twisted.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from twisted.web.iweb import INonQueuedRequestFactory

from twisted_appserver.core.call import Call
from twisted_appserver.http import request_parser
from twisted_appserver.http.base_connection import UnfinishedRequests
from twisted_appserver.http.connection import HTTPConnection
from twisted_appserver.http.known_requests import KnownRequests

request_parser.check_host = lambda host, required: None  # many of Twisted's requests have no Host


class Pending:
    """A call that one of Twisted's Requests answers."""

    stream = None

    def __init__(self, call: Call, request: Any) -> None:
        self.call, self.request = call, request


class Handler:
    """Stands in for the handler of every call."""

    max_stream = None
    streams_bodies = False


class Application:
    """Stands in for an AppResource and its dispatcher."""

    compression = None
    router = Handler()

    def __init__(self, connection: TwistedChannel) -> None:
        self.dispatcher = self
        self._connection = connection

    def knows(self, call: Call) -> bool:
        return False

    def admit(self, call: Call, rejected: Any) -> Call:
        return replace(call, handler=self.router)

    def begin(self, call: Call, answer: Any, routed: Any = None) -> Pending:
        return Pending(call, self._connection.render(call))

    go_on = begin

    def cancel(self, pending: Pending) -> None:
        """Twisted's channel has informed the Request."""


class Site:
    """Stands in for an AppSite."""

    def __init__(self) -> None:
        self.known_requests, self.unfinished = KnownRequests(), UnfinishedRequests(10**9)
        self.reader = self

    def watch(self, transport: Any) -> None: ...
    def answer(self, *_: Any) -> None: ...
    def connection_opened(self, connection: Any) -> None: ...
    def connection_closed(self, connection: Any) -> None: ...


class TwistedChannel(HTTPConnection):
    """Renders each call by its C{requestFactory}."""

    def __init__(self) -> None:
        super().__init__()
        self.site: Any = Site()
        self.application: Any = Application(self)

    def render(self, call: Call) -> Any:
        queued = () if INonQueuedRequestFactory.providedBy(self.requestFactory) else (len(self.requests),)
        request: Any = self.requestFactory(self, *queued)
        self.requests.append(request)
        for name, value in call.raw_headers:
            request.requestHeaders.addRawHeader(name, value)
        request.parseCookies()
        version = b"HTTP/1.0" if self.responses.http10 else b"HTTP/1.1"
        self.responses.keep_alive = self.checkPersistence(request, version) and self.responses.keep_alive
        chunked = b"transfer-encoding" in dict(call.raw_headers)
        request.gotLength(None if chunked else len(call.body))
        if call.body:
            request.handleContentChunk(call.body)
        if self.timeOut:
            self._savedTimeOut = self.setTimeout(None)
        target = call.path + ("?" + call.query if call.query else "")
        request.requestReceived(call.method.encode(), target.encode(), version)
        return request

    def requestDone(self, request: Any) -> None:
        if request != self.requests[0]:
            raise TypeError
        del self.requests[0]
        if not self._waitingForTransport:
            self._networkProducer.resumeProducing()
        if self._savedTimeOut:
            self.setTimeout(self._savedTimeOut)
        self.response_sent()

    def _send_refusal(self, error: BaseException, call: Call) -> None:
        self._closing = True
        self._respondToBadRequestAndDisconnect()
