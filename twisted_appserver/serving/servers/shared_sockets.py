"""
Opens the listening sockets of all servers.

Strategy: Twisted's endpoints listen through a reactor. L{SocketOpener} stands in for the reactor and opens
sockets from which the supervisor never accepts. With SO_REUSEPORT, Linux distributes new connections evenly
over the sockets of an address. So each server gets a socket of its own: if several processes waited at one
socket, the first to wake would accept all connections. Other systems do not distribute connections like this,
and unix sockets have no SO_REUSEPORT. There all servers share one socket, and accept one connection at a
time.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from twisted.internet.abstract import isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from zope.interface import implementer

DISTRIBUTES = sys.platform == "linux"  # whether SO_REUSEPORT distributes connections


class QuietFactory(Factory):
    """The factory of ports that accept no connections."""

    noisy = False

    def logPrefix(self) -> str:
        return "AppSite"  # the log leaves out that it is starting


@implementer(IListeningPort)
class SharedPort:
    """
    An address on which all servers listen.

    @ivar sockets: its listening sockets: one for each server, or one for all.
    """

    def __init__(self, sockets: list[socket.socket], kind: str = "TCP") -> None:
        self.sockets, self._type = sockets, kind

    def startListening(self) -> None:
        """Do nothing: the sockets listen already."""

    def stopListening(self) -> None:
        """Close the sockets. Servers that have inherited them still accept what waits there."""
        for each in self.sockets:
            each.close()

    def getHost(self) -> Any:
        """Return the address."""
        name, family = self.sockets[0].getsockname(), self.sockets[0].family
        if family == socket.AF_UNIX:
            return UNIXAddress(name)
        return (IPv6Address if family == socket.AF_INET6 else IPv4Address)("TCP", *name)


class SharedUNIXPort(SharedPort):
    """
    The path of a unix socket.

    @param port: Twisted's port, which removes the path and its lock.
    """

    def __init__(self, port: Any) -> None:
        port.stopReading()
        port._shouldShutdown = False  # shutting a socket down would affect the servers too
        super().__init__([port.socket], "UNIX")
        self._port = port

    def stopListening(self) -> Any:
        """Remove the path, and close the socket."""
        return self._port.stopListening()


class SocketOpener:
    """
    Stands in for the reactor of endpoints.

    @ivar count: the number of servers.
    @ivar opened: the ports, in the order in which they were opened.
    """

    def __init__(self, reactor: Any, count: int) -> None:
        self._reactor, self.count = reactor, count
        self.opened: list[SharedPort] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def _add(self, port: SharedPort) -> SharedPort:
        self.opened.append(port)
        return port

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> SharedPort:
        """As C{IReactorTCP.listenTCP}."""
        try:
            return self._add(SharedPort(_open(self.count if DISTRIBUTES else 1, interface, port, backlog)))
        except OSError as error:
            raise CannotListenError(interface, port, error) from None

    def listenSSL(
        self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> SharedPort:
        """As C{IReactorSSL.listenSSL}. The servers do TLS."""
        opened = self.listenTCP(port, factory, backlog, interface)
        opened._type = "TLS"
        return opened

    def listenUNIX(
        self, address: Any, factory: Any, backlog: int = 50, mode: int = 0o666, wantPID: bool = False
    ) -> SharedPort:
        """As C{IReactorUNIX.listenUNIX}."""
        return self._add(SharedUNIXPort(self._reactor.listenUNIX(address, factory, backlog, mode, wantPID)))

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> SharedPort:
        """As C{IReactorSocket.adoptStreamPort}, for sockets of systemd. All servers share them."""
        adopted = socket.socket(fileno=os.dup(fileDescriptor))
        adopted.getsockname()  # fails if it is no socket
        return self._add(SharedPort([adopted]))


def _open(count: int, interface: str, port: int, backlog: int) -> list[socket.socket]:
    """
    Open listening sockets on one address.

    @raise OSError: when the address cannot be used.
    """
    address: tuple[Any, ...] = (interface, port)
    family = socket.AF_INET
    if isIPv6Address(interface):
        family = socket.AF_INET6
        address = socket.getaddrinfo(interface, port, family, socket.SOCK_STREAM)[0][4]
    if count > 1 and port:
        # With SO_REUSEPORT, an address that another service of the same user shares would not be in use.
        _bind(family, address, False).close()
    opened: list[socket.socket] = []
    try:
        for _ in range(count):
            opened.append(_bind(family, address, count > 1))
            address = opened[0].getsockname()  # if the port was 0, all sockets get the same
        for each in opened:
            each.listen(backlog)
    except BaseException:
        for each in opened:
            each.close()
        raise
    return opened


def _bind(family: int, address: Any, shared: bool) -> socket.socket:
    """Make a socket, and give it an address."""
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        if os.name == "posix" and sys.platform != "cygwin":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made
