"""
Accepts connections from the sockets that a server has inherited from its supervisor.

Strategy: L{InheritedSockets} stands in for the reactor of Twisted's endpoints. So a server understands the
same descriptions of endpoints as its supervisor, with TLS and the PROXY protocol. A server inherits the
sockets of all servers, and accepts only from those that the supervisor names: its own, and the sockets of a
server that has died, until the successor is ready.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Collection
from itertools import chain
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IListeningPort
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

SYSTEMD = re.compile(r"^((?:haproxy:)?)systemd:.*")
ANY = r"\1tcp:0:interface=127.0.0.1"  # its address is not used


def without_systemd(listen: tuple[str, ...]) -> tuple[str, ...]:
    """
    Return the descriptions of endpoints for a server. Only the supervisor gets sockets from systemd.

    @param listen: the descriptions for the supervisor.
    """
    return tuple(SYSTEMD.sub(ANY, each) for each in listen)


class _InheritedSocket(tcp.Port):
    """One inherited socket. It belongs to the supervisor, which closes it and removes its path."""

    inherited: Any
    shared: bool  # whether all servers accept from it

    def startListening(self) -> None:
        """Get ready to read. The socket listens already."""
        tcp._reservedFD.reserve()
        self.factory.doStart()  # type: ignore[union-attr]
        self.socket, self.fileno = self.inherited, self.inherited.fileno  # type: ignore[method-assign]
        self._shouldShutdown = False  # this would affect the other servers too
        self.numberAccepts = 100  # as in Twisted
        self.connected = True

    def doRead(self) -> None:
        if self.shared:
            self.numberAccepts = 1  # leave the next connection to a server that is free
        super().doRead()

    def connectionLost(self, reason: Any) -> None:
        tcp.Port.connectionLost(self, reason)

    def _logConnectionLostMsg(self) -> None:
        pass


class _InheritedUNIXSocket(_InheritedSocket, unix.Port):
    """One inherited unix socket."""


def _inherit(reactor: Any, descriptor: int, factory: Any, shared: bool) -> Any:
    """Make a port that does not read yet."""
    inherited = socket.socket(fileno=descriptor)
    name = inherited.getsockname()
    if inherited.family == socket.AF_UNIX:
        port: Any = _InheritedUNIXSocket(name, factory, reactor=reactor)
    else:
        port = _InheritedSocket(0, factory, interface=name[0], reactor=reactor)
    port.inherited, port.shared = inherited, shared
    port.startListening()
    return port


@implementer(IListeningPort)
class InheritedPort:
    """One address of the service: the inherited sockets of all servers."""

    _type = "TCP"

    def __init__(self, reactor: Any, descriptors: list[int], factory: Any) -> None:
        shared = len(descriptors) == 1
        self._ports = [_inherit(reactor, each, factory, shared) for each in descriptors]
        self._owners: Collection[int] = ()
        self._paused = False

    def accept_from(self, owners: Collection[int]) -> None:
        """Accept connections from the sockets of these servers only."""
        self._owners = owners
        self._update()

    def _update(self) -> None:
        for owner, port in enumerate(self._ports, 1):
            wanted = bool(self._owners) if len(self._ports) == 1 else owner in self._owners
            if wanted and not self._paused:
                port.startReading()
            else:
                port.stopReading()

    def startReading(self) -> None:
        """Accept connections again."""
        self._paused = False
        self._update()

    def stopReading(self) -> None:
        """Accept no connections for now, because there are too many."""
        self._paused = True
        self._update()

    def startListening(self) -> None:
        """Do nothing: the sockets listen already."""

    def stopListening(self) -> Any:
        """Close the sockets here. They stay open in the supervisor."""
        closed = [port.stopListening() for port in self._ports]
        return closed[-1]  # they are closed in this order

    def getHost(self) -> Any:
        """Return the address."""
        return self._ports[0].getHost()

    def descriptors(self) -> list[int]:
        """Return the descriptors of the sockets that are open."""
        return [port.fileno() for port in self._ports if port.connected]


class InheritedSockets:
    """
    Stands in for the reactor of endpoints. Ports are opened in the same order as in the supervisor.

    @param descriptors: the descriptors of the sockets of each port.
    """

    def __init__(self, reactor: Any, descriptors: list[list[int]]) -> None:
        self._reactor = reactor
        self._unopened = list(descriptors)
        self._opened: list[InheritedPort] = []
        for each in chain(*descriptors):
            os.set_inheritable(each, False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def accept_from(self, owners: Collection[int]) -> None:
        """Accept connections from the sockets of these servers only."""
        for port in self._opened:
            port.accept_from(owners)

    def descriptors(self) -> list[int]:
        """Return the descriptors of all sockets that are open."""
        return [*chain(*(port.descriptors() for port in self._opened), *self._unopened)]

    def _open(self, factory: Any) -> InheritedPort:
        port = InheritedPort(self._reactor, self._unopened.pop(0), factory)
        self._opened.append(port)
        return port

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> InheritedPort:
        """As C{IReactorTCP.listenTCP}."""
        return self._open(factory)

    def listenSSL(
        self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> InheritedPort:
        """As C{IReactorSSL.listenSSL}."""
        opened = self._open(TLSMemoryBIOFactory(contextFactory, False, factory))
        opened._type = "TLS"
        return opened

    def listenUNIX(
        self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: bool = False
    ) -> InheritedPort:
        """As C{IReactorUNIX.listenUNIX}."""
        return self._open(factory)
