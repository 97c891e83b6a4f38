"""A connection that its site counts, together with the memory that its unfinished requests take."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from twisted.web import http
from zope.interface import implementer

from twisted_appserver.errors import HTTPError

CONNECTION_DONE = Failure(ConnectionDone())
LINGER = 2.0  # seconds that a refused client has to read why
HEADER = 150  # bytes that a header takes besides its text: a tuple and two bytes objects


class Unfinished:
    """
    Memory that the unfinished requests of all connections of a site take.

    @param most: bytes. A request that needs more gets 503.
    @ivar held: bytes that are taken now.
    """

    def __init__(self, most: int) -> None:
        self.most, self.held = most, 0


@implementer(IHalfCloseableProtocol)
class Counted(http.HTTPChannel):
    """
    A connection that its site counts. A client that closes its sending side still gets all its responses.

    @ivar application: the L{AppResource} that answers every path; C{None} if other resources do.
    @ivar max_body: bytes of a request's body; C{None} for no limit.
    """

    maxHeaders = 100
    transport: Any
    site: Any  # the L{http.site.AppSite}
    channels: set[Counted] | None = None
    persistent: bool
    application: Any = None
    max_body: int | None = None
    _finishing = False  # whether the connection is closed after the answers to what has been received
    _half_closed = False  # whether the client sends nothing more
    _held = 0  # bytes of unfinished requests, as the site counts them
    _deaf = False  # nothing that arrives matters any more

    def connectionMade(self) -> None:
        super().connectionMade()
        if self.channels is not None:
            self.channels.add(self)
            self.site.hub.adopt(self.transport)

    def connectionLost(self, reason: Failure = CONNECTION_DONE) -> None:
        super().connectionLost(reason)
        if self.channels is not None:
            self._hold(0)
            self.channels.discard(self)
            self.site.left()

    def _hold(self, size: int) -> None:
        """Count the bytes that are kept of unfinished requests, and refuse what would be too much."""
        unfinished = self.site.unfinished
        grown, self._held = size - self._held, size
        unfinished.held += grown
        if grown > 0 and unfinished.held > unfinished.most:
            detail = f"unfinished requests take more than {unfinished.most} bytes already"
            self._refuse(HTTPError(503, detail, [("retry-after", "1")]))

    def _refuse(self, error: HTTPError, call: Any = None) -> None:
        """Answer a request that is not going to be performed, and close the connection."""
        raise NotImplementedError

    @property
    def _busy(self) -> bool:
        """Whether an answer to what has been received is still to come."""
        return bool(self._handlingRequest or self._dataBuffer)

    def finish(self) -> None:
        """Close the connection, after the answers to what has been received."""
        self._finishing = True
        if not self._busy:
            self.loseConnection()

    def readConnectionLost(self) -> None:
        """The client sends nothing more. It has closed its sending side, or all of the connection."""
        self._half_closed = True
        self.finish()
        if self._busy:
            self.site.hub.watch(self.transport)

    def writeConnectionLost(self) -> None:
        """We have closed our sending side, to leave a refused client the time to read why."""

    def _coalesce(self) -> None:
        """Keep what waits for its turn as one piece: many small ones would take much more memory."""
        first, *others = self._dataBuffer
        if others:
            if not isinstance(first, bytearray):
                first = bytearray(first)
            for each in others:
                first += each
            self._dataBuffer[:] = [first]

    def _close_gently(self) -> None:
        """Close the connection, but leave a client that is still sending the time to read why."""
        transport = self.transport
        if isinstance(transport, Connection) and not self._half_closed:
            # A close with unread data would reset the connection.
            transport.unregisterProducer()
            transport.resumeProducing()
            transport.loseWriteConnection()
            self.setTimeout(LINGER)
        else:
            self.loseConnection()
