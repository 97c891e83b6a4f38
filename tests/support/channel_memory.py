"""Connections without sockets: bytes go in; responses, calls and log entries come out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from tests.support.wire import read
from twisted_appserver import AppResource, Call, InlineExecutor, Route
from twisted_appserver.http.site import AppSite
from twisted_appserver.settings import Settings
from twisted_appserver.testing import Response

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "SEARCH", "CONNECT")


class Transport(StringTransport):
    """A StringTransport that also notes whether it was aborted."""

    aborted = False

    def __init__(self) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "192.0.2.7", 5))

    def abortConnection(self) -> None:
        self.aborted = self.disconnecting = True


class Talk(NamedTuple):
    """
    What a connection made of some bytes.

    @ivar answers: complete responses, in order.
    @ivar calls: the calls that reached a function, in order.
    @ivar closed: whether the connection was closed.
    @ivar rest: bytes that were sent after the last complete response.
    """

    answers: list[Response]
    calls: list[Call]
    closed: bool
    rest: bytes


def everything(seen: list[Call], clock: Clock) -> AppResource:
    """An application that responds to every path with the number of the call, and keeps the calls."""

    async def function(call: Call) -> dict[str, Any]:
        seen.append(call)
        return {"number": len(seen)}

    return AppResource([Route("(?s:.*)", function, METHODS)], clock, InlineExecutor())


def begin(root: Any, clock: Clock, **options: Any) -> tuple[Any, Transport]:
    """Return a channel of a site, and its transport."""
    channel = AppSite(root, clock, Settings(**options)).buildProtocol(None)
    transport = Transport()
    channel.makeConnection(transport)
    return channel, transport


def settle(clock: Clock) -> None:
    """Run everything that is due now."""
    while any(call.getTime() <= clock.seconds() for call in clock.getDelayedCalls()):
        clock.advance(0)


def talk(pieces: Iterable[bytes], **options: Any) -> Talk:
    """Send the pieces to a channel one after the other."""
    clock, seen = Clock(), list[Call]()
    root = everything(seen, clock)
    channel, transport = begin(root, clock, **options)
    for piece in pieces:
        channel.dataReceived(piece)
        settle(clock)
    channel.setTimeout(None)
    root.dispatcher.stop()
    data, answers = transport.value(), list[Response]()
    while found := read(data):
        answer, data = found
        answers.append(answer)
    return Talk(answers, seen, transport.disconnecting, data)


def pieces(data: bytes, lengths: Sequence[int]) -> list[bytes]:
    """Cut C{data} into pieces of these lengths. The rest is the last piece."""
    made = []
    for length in lengths:
        made.append(data[:length])
        data = data[length:]
    return [*filter(None, made), data] if data else [*filter(None, made)]
