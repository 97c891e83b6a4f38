"""The common base of both kinds of connections."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from twisted.web import http
from zope.interface import implementer

from twisted_appserver.core.call import Call
from twisted_appserver.errors import HTTPError
from twisted_appserver.http.app_resource import AppResource
from twisted_appserver.http.request_parser import MAX_HEADERS

CONNECTION_DONE = Failure(ConnectionDone())
LINGER = 2.0  # seconds that a refused client has to read the response


class UnfinishedRequests:
    """
    Counts the memory that the unfinished requests of all connections of a site take.

    @param limit: bytes. A request that would exceed this limit is refused with 503.
    @ivar held: the bytes that unfinished requests take now.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0


@implementer(IHalfCloseableProtocol)
class BaseConnection(http.HTTPChannel):
    """
    A connection of an L{http.site.AppSite}. A client that closes its sending side still gets all its
    responses.

    @ivar application: answers every request.
    @ivar max_body: maximum size of a request body in bytes; C{None} for no limit.
    """

    maxHeaders = MAX_HEADERS
    transport: Any
    site: Any  # the L{http.site.AppSite}
    persistent: bool
    application: AppResource
    max_body: int | None = None
    finishing = False  # whether to close after all received requests are answered
    _half_closed = False  # whether the client has closed its sending side
    _used = 0  # bytes of C{_dataBuffer[0]} that were parsed already
    _held = 0  # bytes of unfinished requests, as counted by the site
    _ignores_input = False  # whether everything that arrives is ignored

    def connectionMade(self) -> None:
        super().connectionMade()
        self.site.connection_opened(self)

    def connectionLost(self, reason: Failure = CONNECTION_DONE) -> None:
        super().connectionLost(reason)
        self._hold(0)
        self.site.connection_closed(self)

    def _hold(self, size: int) -> None:
        """Count the bytes kept of unfinished requests, and refuse a request that would exceed the limit."""
        unfinished = self.site.unfinished
        grown, self._held = size - self._held, size
        unfinished.held += grown
        if grown > 0 and unfinished.held > unfinished.limit:
            detail = f"unfinished requests already take more than {unfinished.limit} bytes"
            self._refuse(HTTPError(503, detail, [("retry-after", "1")]))

    # ---- a request whose body is still to come ----

    def _check_head(self, call: Call) -> None:
        """
        Check a request whose body is still to come.

        So a refused client cannot make the server keep a body, and a client that waits for 100 Continue gets
        its response at once.
        """
        admitted = self.application.dispatcher.admit(call, self._refuse)
        if isinstance(admitted, Deferred):
            self._wait_for_credentials()
            admitted.addCallback(self._resume)
        elif admitted is not None:
            self._admitted(admitted)

    def _admitted(self, call: Call) -> None:
        """Accept the body of an admitted request: send 100 Continue if the client waits for it."""
        raise NotImplementedError

    def _wait_for_credentials(self) -> None:
        """Parse nothing more until the credentials have been checked."""
        raise NotImplementedError

    def _resume(self, call: Call | None) -> None:
        """Go on; the credentials were wrong if C{call} is C{None}."""
        raise NotImplementedError

    def _refuse(self, error: BaseException, call: Call | None = None) -> None:
        """Respond to a request that is not going to be performed, and close the connection."""
        raise NotImplementedError

    # ---- the end of a connection ----

    @property
    def _busy(self) -> bool:
        """Whether some request that has been received is still unanswered."""
        return bool(self._handlingRequest or self._dataBuffer)

    def finish(self) -> None:
        """Close the connection after it has answered the requests received on it."""
        self.finishing = True
        if not self._busy:
            self.loseConnection()

    def loseConnection(self) -> None:
        """
        Close the connection, and begin no further call: over TLS, data still arrives until the client has
        closed its side too, and no response could be sent.
        """
        self._ignores_input = True
        super().loseConnection()

    def readConnectionLost(self) -> None:
        """The client sends nothing more. It has closed its sending side, or the whole connection."""
        self._half_closed = True
        self.finish()
        if self._busy:
            self.site.reader.watch(self.transport)

    def writeConnectionLost(self) -> None:
        """The server has closed its sending side, to leave a refused client time to read the response."""

    def _close_gently(self) -> None:
        """Close the connection, but leave a client that is still sending time to read the response."""
        transport = self.transport
        if isinstance(transport, Connection) and not self._half_closed:
            # A close with unread data would reset the connection.
            transport.unregisterProducer()
            transport.resumeProducing()
            transport.loseWriteConnection()
            self.setTimeout(LINGER)
        else:
            self.loseConnection()

    # ---- data that is kept for later ----

    def _keep_for_later(self, data: bytes) -> None:
        if self._used:
            self._dataBuffer[0] = self._dataBuffer[0][self._used :]
            self._used = 0
        self._dataBuffer.append(data)
        self._coalesce()
        self._limit_waiting_input()

    def _limit_waiting_input(self) -> None:
        """Count the data that is kept for later, and stop reading if there is too much of it."""
        if len(self._dataBuffer[0]) - self._used > self._optimisticEagerReadSize:
            self._networkProducer.pauseProducing()
        self._count_unfinished()

    def _set_aside(self, data: bytes, used: int) -> None:
        """Keep the data after the first C{used} bytes for later."""
        rest = used < len(data)
        self._dataBuffer[:] = [data] if rest else []
        self._used = used if rest else 0

    def _count_unfinished(self) -> None:
        """Count the data of requests that are incomplete or waiting."""
        raise NotImplementedError

    def _coalesce(self) -> None:
        """Keep the bytes that wait in one piece: many small pieces would take much more memory."""
        first, *others = self._dataBuffer
        if others:
            if not isinstance(first, bytearray):
                first = bytearray(first)
            for each in others:
                first += each
            self._dataBuffer[:] = [first]
