"""Keeps half-closed connections open in Sites other than ours.

C{twisted.web} closes a connection when its client has closed its sending side. Our own connections stay open
until all responses are sent. With this module, the channels of other Sites also stay open, as soon as they
have had a request to an application.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.tcp import Connection
from zope.interface import alsoProvides

from twisted_appserver.http.epoll_reader import EpollReader


def keep_half_closed(channel: Any, reader: EpollReader) -> None:
    """
    Let a connection answer the requests that it has received, even after its client has closed its sending
    side.

    @param channel: the C{twisted.web.http.HTTPChannel}. TLS has no half-closed connections, so nothing
        changes there.
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
