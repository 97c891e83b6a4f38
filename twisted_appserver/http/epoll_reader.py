"""One reader for many connections.

Strategy: a reactor hands over one readable socket at a time, each through its layers of logging and context,
which cost as much as reading. The hub has an epoll of its own, whose descriptor is the one thing that the
reactor watches: when that is readable, all sockets that are get read in one loop. Whatever is not plain data
(an end, an error) is left to the reactor, which is given the socket back and finds the same. What is to be
done once for all that was read, like waking a thread or sending answers, is done when the loop is over.

A processor that sleeps takes longer to wake, with cold caches, than most calls take. So when all has been
answered the reactor goes on polling for a moment, since a client that asks again mostly does so soon. A
moment that was in vain has the next ones left out.
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
SIZE = 65536  # bytes that are read at once
MANY = 64  # that are read before what they sent is dealt with: of many more, the caches hold nothing
ROUNDS = 2  # of what is to be done after reading, and after that; other readers want their turn too
MOMENT = 0.0001  # seconds for which the reactor stays awake when all has been answered
RESTS = 30  # times that it does not, after one that was in vain


GONE = Failure(ConnectionLost())
PROBES = (
    ("TCP_KEEPIDLE", 15),
    ("TCP_KEEPINTVL", 15),
    ("TCP_KEEPCNT", 4),
)  # seconds, seconds, unanswered ones


class EpollReader:
    """
    Stands in for the reactor of a transport, whose sockets it reads.

    @param reactor: one that watches descriptors; without such a one, or without epoll, L{adopt} does nothing.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._able = hasattr(select, "epoll") and IReactorFDSet.providedBy(reactor)
        self._reactor: Any = reactor
        self._transports: dict[int, Any] = {}  # that are read, by their descriptors
        self._poll: Any = None  # while there are any
        self._reading = False  # whether the loop is under way
        self._watched: set[int] = set()  # descriptors of those whose clients send nothing more
        self._ends: list[Callable[[], None]] = []  # what is to be done after it
        self._awake: Any = None  # the call that keeps the reactor from sleeping
        self._until = 0.0  # when it no longer does
        self._rests = 0  # times that it is not to be kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def adopt(self, transport: Any) -> None:
        """Read for a connection from now on, if it is one of C{twisted.internet.tcp}."""
        plain = isinstance(transport, Connection)
        if self._able and plain:
            _hand_over(transport, self)

    def watch(self, transport: Any) -> None:
        """
        Close a connection, whose client has closed its sending side, as soon as the client is gone.

        Over TCP, a client that has closed all of the connection looks the same, until something is sent to it
        and it answers with a reset. Keep-alive probes find that out within minutes. On a unix socket the
        system tells the two apart.
        """
        plain = isinstance(transport, Connection)
        if not (self._able and plain and transport.connected):
            return
        number = transport.fileno()
        if number not in self._transports:
            _keep_alive(transport.socket)
            transport.reactor = self
            self._watched.add(number)
            self._register(transport, 0)  # an error or hang-up is always reported

    def soon(self, function: Callable[[], None]) -> None:
        """Call C{function} when all that is readable now has been read."""
        if self._reading:
            self._ends.append(function)
        else:
            self._reactor.callLater(0, function)

    def stay_awake(self) -> None:
        """Keep the reactor from sleeping for a L{MOMENT}: all has been answered, and more is expected."""
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

    # ---- what a transport asks of its reactor ----

    def addReader(self, transport: Any) -> None:
        number = transport.fileno()
        if number not in self._transports:
            self._register(transport, EPOLLIN)

    def _register(self, transport: Any, events: int) -> None:
        if self._poll is None:
            self._poll = select.epoll()
            self._reactor.addReader(self)
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

    # ---- what the reactor asks of a reader ----

    def fileno(self) -> int:
        return -1 if self._poll is None else int(self._poll.fileno())

    def descriptors(self) -> list[int]:
        """All that it and its reactor watch."""
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
        except Exception:  # each fails alone
            self.log.failure("what was to be done at the end of a turn has failed")

    def _read(self) -> None:
        get = self._transports.get
        for number, event in self._poll.poll(0, MANY):
            transport = get(number)
            if transport is None:  # gone, by what was read before it
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
                        self.log.failure("what was received could not be handled")
                        transport.abortConnection()
                    continue
            if number in self._watched:
                self._call(partial(transport.connectionLost, GONE))
            else:
                _hand_over(transport, self._reactor)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops."""
        for transport in list(self._transports.values()):
            transport.connectionLost(reason)


def _keep_alive(client: Any) -> None:
    """Have the system find out, within minutes, that a client has closed the connection or is unreachable."""
    if client.family in (socket.AF_INET, socket.AF_INET6):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in PROBES:
            if hasattr(socket, name):
                client.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _hand_over(transport: Any, reactor: Any) -> None:
    """Have a transport read by a reactor, or a L{EpollReader}, from now on."""
    transport.stopReading()
    transport.reactor = reactor
    transport.startReading()


def descriptors_of(reactor: Any) -> list[int]:
    """
    The descriptors that a reactor watches, and that of its epoll, if it runs and watches descriptors.

    A thread that has just forked calls this, when the reactor's thread may have been changing its tables. The
    epoll reactor's C{getReaders} combines two of them, which may not agree at that moment.
    """
    if not getattr(reactor, "running", False) or not IReactorFDSet.providedBy(reactor):
        return []
    table: dict[int, Any] | None = getattr(reactor, "_selectables", None)
    if table is None:
        return [each.fileno() for each in (*reactor.getReaders(), *reactor.getWriters())]
    poller: Any = getattr(reactor, "_poller", None)
    return [*table, poller.fileno()] if hasattr(poller, "fileno") else [*table]
