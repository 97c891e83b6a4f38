"""Clients that close only their sending side, under a Site that is not ours.

For C{twisted.web}, the end of what a client sends is the end of the connection. Our own channels go on. For
the channels of other Sites this module does the same, from the first request to our application on.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.tcp import Connection
from zope.interface import alsoProvides

from twisted_appserver.http.epoll_reader import EpollReader


def keep_half_closed(channel: Any, reader: EpollReader) -> None:
    """
    Have a connection answer what it has received when its client sends nothing more.

    @param channel: the C{twisted.web.http.HTTPChannel}. Over TLS the end is always that of the connection.
    """
    transport = getattr(channel, "transport", None)
    protocol = getattr(transport, "protocol", None)
    if not isinstance(transport, Connection) or IHalfCloseableProtocol.providedBy(protocol):
        return

    def read_connection_lost() -> None:
        if not (channel._handlingRequest or channel._dataBuffer):
            channel.loseConnection()
            return
        done = channel.requestDone

        def request_done(request: Any) -> None:
            done(request)
            if not channel._handlingRequest:
                channel.loseConnection()

        channel.requestDone = request_done
        reader.watch(transport)

    target: Any = protocol
    target.readConnectionLost, target.writeConnectionLost = read_connection_lost, bool
    alsoProvides(protocol, IHalfCloseableProtocol)
