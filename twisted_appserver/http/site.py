"""The connections of a server, and their shared state."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.web.server import Site

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.http.app_resource import AppResource
from twisted_appserver.http.base_connection import BaseConnection, UnfinishedRequests
from twisted_appserver.http.connection import HTTPConnection
from twisted_appserver.http.epoll_reader import EpollReader
from twisted_appserver.http.known_requests import KnownRequests
from twisted_appserver.http.response_head import response_heads
from twisted_appserver.http.stock_connection import StockConnection
from twisted_appserver.settings import Settings


class AppSite(Site):
    """
    Serves an application, and counts its connections.

    @param resource: the application.
    @param reactor: the embedder's, or an L{EpollReader} on it.
    @param settings: limits, and C{channel}: C{"llhttp"} for L{HTTPConnection}, C{"twisted"} for
        L{StockConnection}. The number of connections may exceed its limit slightly if several are accepted at
        once.
    @raise TypeError: when C{resource} is no L{AppResource}. C{twisted.web.server.Site} serves any resource.
    @ivar ports: the listening ports.
    @ivar unfinished: the memory of all unfinished requests.
    """

    _log = Logger(namespace="twisted_appserver")
    noisy = False
    displayTracebacks = False

    def __init__(self, resource: AppResource, reactor: Any, settings: Settings) -> None:
        if not isinstance(resource, AppResource):
            raise TypeError(
                f"AppSite serves an AppResource, not {resource!r}; "
                "list other resources in the table, or serve them with twisted.web.server.Site"
            )
        super().__init__(resource, timeout=settings.idle_timeout or None, reactor=reactor)
        self.protocol: Any = HTTPConnection if settings.channel == "llhttp" else StockConnection
        self._application = resource
        self._settings = settings
        self._answers = list[tuple[HTTPConnection, Call, Reply]]()
        self._connections: set[BaseConnection] = set()
        self.known_requests = KnownRequests()
        self.reader = reactor if isinstance(reactor, EpollReader) else EpollReader(reactor)
        self.unfinished = UnfinishedRequests(max(settings.max_bodies, settings.max_body))
        self._full = False
        self._finished: Deferred[None] | None = None
        self.ports: list[Any] = []

    def buildProtocol(self, addr: Any) -> Any:
        connection: Any = super().buildProtocol(addr)
        connection.application, connection.max_body = self._application, self._settings.max_body
        if isinstance(connection, HTTPConnection):
            connection.header_timeout = self._settings.header_timeout
        if len(self._connections) + 1 >= self._settings.max_connections and not self._full:
            self._full = True
            for port in self.ports:
                port.stopReading()
        return connection

    def forget(self) -> None:
        """Forget all known requests. Otherwise a reloaded application would be kept in memory."""
        self.known_requests.forget()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    def descriptors(self) -> list[int]:
        """All file descriptors of its ports and connections, and all descriptors that its reactor watches."""
        transports = [connection.transport for connection in self._connections]
        opened = [each.fileno() for each in (*self.ports, *transports) if hasattr(each, "fileno")]
        return opened + self.reader.descriptors()

    def answer(self, connection: HTTPConnection, call: Call, reply: Reply) -> None:
        """
        Send a response, together with all others, when all readable sockets have been read. Waking a client
        for each response alone would cost more than the response.
        """
        if not self._answers:
            self.reader.soon(self._send_answers)
        self._answers.append((connection, call, reply))

    def _send_answers(self) -> None:
        answers, self._answers = self._answers, []
        response_heads.refresh()
        now = monotonic()
        for connection, call, reply in answers:
            connection.last_activity = now
            try:
                connection.responses.send(call, reply)
            except Exception:  # one failure must not affect the others
                self._log.failure("a response could not be sent")
                connection.transport.abortConnection()
        if not self._application.dispatcher.in_flight:
            self.reader.stay_awake()

    def connection_opened(self, connection: BaseConnection) -> None:
        self._connections.add(connection)
        self.reader.adopt(connection.transport)

    def connection_closed(self, connection: BaseConnection) -> None:
        self._connections.discard(connection)
        if self._full and len(self._connections) < self._settings.max_connections:
            self._full = False
            for port in self.ports:
                port.startReading()
        if self._finished is not None and not self._connections:
            finished, self._finished = self._finished, None
            finished.callback(None)

    def retire(self) -> Deferred[None]:
        """
        Close every connection with its next response. Nothing listens any more.

        @return: fires when no connection is left.
        """
        self.ports.clear()
        for connection in self._connections:
            connection.finishing = True
        return self._when_closed(lambda _: None)

    def finish(self) -> Deferred[None]:
        """
        Close every connection after it has answered the requests received on it. Nothing listens any more.

        @return: fires when no connection is left. When cancelled, the remaining connections are cut.
        """
        self.ports.clear()
        for connection in list(self._connections):
            connection.finish()
        return self._when_closed(self._cut)

    def _when_closed(self, cancel: Callable[[Deferred[None]], None]) -> Deferred[None]:
        if not self._connections:
            return succeed(None)
        self._finished = Deferred(cancel)
        return self._finished

    def _cut(self, _: Deferred[None]) -> None:
        self._finished = None
        for connection in list(self._connections):
            connection.transport.abortConnection()

    def log(self, request: Any) -> None:
        """Write nothing. Twisted calls this for each request, and its own method would log a line."""
