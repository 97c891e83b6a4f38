"""Reads many connections with an epoll of its own.

Strategy: a reactor hands over one readable socket at a time, through layers of logging and context that cost
as much as reading. The L{EpollReader} has an epoll of its own, and the reactor watches only the descriptor of
this epoll. When it is readable, all readable sockets are read in one loop. Everything except plain data, such
as the end of a connection or an error, is left to the reactor: it gets the socket back and reads the same end
or error. Work that is done once for everything that was read, such as waking a thread or sending responses,
is done after the loop.

A processor that sleeps takes longer to wake, with cold caches, than most calls take. So the reactor polls for
a moment after all calls were answered, since the next request often comes soon. If no request comes, the
reactor does not poll for the next moments.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure

EPOLLIN = 1
SIZE = 65536  # bytes that are read from a socket at once
MANY = 64  # sockets that are read in one loop; with many more, their data would leave the caches
ROUNDS = 2  # rounds of work after reading; then other readers of the reactor have their turn
MOMENT = 0.0001  # seconds for which the reactor stays awake after the last response
RESTS = 30  # moments that are skipped after one in which nothing came

GONE = Failure(ConnectionLost())
# Keep-alive probes: after 15 seconds, every 15 seconds, given up after 4 without an answer.
PROBES = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))


class EpollReader:
    """
    Stands in for the reactor of transports, and reads their sockets.

    @param reactor: the reactor. If the reactor does not watch descriptors, or the system has no epoll,
        L{adopt} does nothing.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._able = hasattr(select, "epoll") and IReactorFDSet.providedBy(reactor)
        self._reactor: Any = reactor
        self._transports: dict[int, Any] = {}  # by their descriptors
        self._poll: Any = None  # exists while there are transports
        self._reading = False  # whether the loop is running
        self._watched: set[int] = set()  # descriptors of half-closed connections
        self._ends: list[Callable[[], None]] = []  # called after the loop
        self._awake: Any = None  # the delayed call that keeps the reactor awake
        self._until = 0.0  # when the moment ends
        self._rests = 0  # moments to skip

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def adopt(self, transport: Any) -> None:
        """Read a connection from now on, if it is a connection of C{twisted.internet.tcp}."""
        plain = isinstance(transport, Connection)
        if self._able and plain:
            _hand_over(transport, self)

    def watch(self, transport: Any) -> None:
        """
        Close a half-closed connection as soon as its client is gone.

        Over TCP, a client that has closed the whole connection looks like a half-closed one, until it answers
        something with a reset. Keep-alive probes detect that within minutes. On a unix socket the system
        distinguishes the two.
        """
        plain = isinstance(transport, Connection)
        if not (self._able and plain and transport.connected):
            return
        number = transport.fileno()
        if number not in self._transports and self._open():
            _keep_alive(transport.socket)
            transport.reactor = self
            self._watched.add(number)
            self._register(transport, 0)  # an error or hang-up is always reported

    def soon(self, function: Callable[[], None]) -> None:
        """Call C{function} when everything that is readable now has been read."""
        if self._reading:
            self._ends.append(function)
        else:
            self._reactor.callLater(0, function)

    def stay_awake(self) -> None:
        """Keep the reactor awake for a L{MOMENT}: no call is left, and the next request is expected soon."""
        if self._rests:
            self._rests -= 1
        elif self._poll is not None:
            self._until = monotonic() + MOMENT
            if self._awake is None:
                self._stay()

    def _stay(self) -> None:
        self._awake = None
        if monotonic() < self._until:
            self._awake = self._reactor.callLater(0, self._stay)
        else:
            self._rests = RESTS

    # ---- the interface of a reactor, for transports ----

    def addReader(self, transport: Any) -> None:
        number = transport.fileno()
        if number in self._transports:
            return
        if self._open():
            self._register(transport, EPOLLIN)
        else:
            transport.reactor = self._reactor
            self._reactor.addReader(transport)

    def _open(self) -> bool:
        """Return true if there is an epoll. The process may have no descriptor left for it."""
        if self._poll is None:
            try:
                self._poll = select.epoll()
            except OSError:
                return False
            self._reactor.addReader(self)
        return True

    def _register(self, transport: Any, events: int) -> None:
        number = transport.fileno()
        self._transports[number] = transport
        self._poll.register(number, events)

    def removeReader(self, transport: Any) -> None:
        number = transport.fileno()
        if self._transports.get(number) is not transport:
            self._reactor.removeReader(transport)
            return
        del self._transports[number]
        self._watched.discard(number)
        self._poll.unregister(number)
        if not self._transports:
            self._reactor.removeReader(self)
            self._poll.close()
            self._poll = None
            if self._awake is not None:
                self._awake.cancel()
                self._awake = None

    # ---- the interface of a reader, for the reactor ----

    def fileno(self) -> int:
        return -1 if self._poll is None else int(self._poll.fileno())

    def descriptors(self) -> list[int]:
        """All file descriptors that this reader and its reactor watch."""
        return [self.fileno(), *self._transports, *descriptors_of(self._reactor)]

    def logPrefix(self) -> str:
        return "EpollReader"

    def doRead(self) -> None:
        self._reading = True
        try:
            self._read()
            for _ in range(ROUNDS):
                ends, self._ends = self._ends, []
                for function in ends:
                    self._call(function)
        finally:
            self._reading = False
            ends, self._ends = self._ends, []
            for function in ends:
                self._reactor.callLater(0, function)

    def _call(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:  # one failure must not affect the others
            self.log.failure("work after reading has failed")

    def _read(self) -> None:
        get = self._transports.get
        for number, event in self._poll.poll(0, MANY):
            transport = get(number)
            if transport is None:  # closed because of data that was read earlier in this loop
                continue
            if event == EPOLLIN:
                try:
                    data = transport.socket.recv(SIZE)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                if data:
                    try:
                        transport.protocol.dataReceived(data)
                    except Exception:  # each connection fails alone
                        self.log.failure("received data caused an error; the connection is closed")
                        transport.abortConnection()
                    continue
            if number in self._watched:
                self._call(partial(transport.connectionLost, GONE))
            else:
                _hand_over(transport, self._reactor)

    def connectionLost(self, reason: Failure) -> None:
        """Close all connections: the reactor stops."""
        for transport in list(self._transports.values()):
            transport.connectionLost(reason)


def _keep_alive(client: Any) -> None:
    """Let the system detect, within minutes, that a client has closed the connection or is unreachable."""
    if client.family in (socket.AF_INET, socket.AF_INET6):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in PROBES:
            if hasattr(socket, name):
                client.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _hand_over(transport: Any, reactor: Any) -> None:
    """Let a reactor, or an L{EpollReader}, read a transport from now on."""
    transport.stopReading()
    transport.reactor = reactor
    transport.startReading()


def descriptors_of(reactor: Any) -> list[int]:
    """
    List the descriptors that a running reactor watches, and the descriptor of its epoll.

    A process that a thread has just forked calls this, while the reactor's thread may have been changing its
    tables. C{getReaders} of the epoll reactor combines two tables, which may disagree at that moment.
    """
    if not getattr(reactor, "running", False) or not IReactorFDSet.providedBy(reactor):
        return []
    table: dict[int, Any] | None = getattr(reactor, "_selectables", None)
    if table is None:
        return [each.fileno() for each in (*reactor.getReaders(), *reactor.getWriters())]
    poller: Any = getattr(reactor, "_poller", None)
    return [*table, poller.fileno()] if hasattr(poller, "fileno") else [*table]
