"""Tests of the sockets that a supervisor opens and its servers inherit."""

from __future__ import annotations

import os
import socket
import tempfile
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from twisted_appserver import ConfigurationError
from twisted_appserver.serving.endpoints import Endpoints
from twisted_appserver.serving.servers.inherited_sockets import InheritedSockets, without_systemd
from twisted_appserver.serving.servers.shared_sockets import QuietFactory, SocketOpener
from twisted_appserver.settings import Settings


class Counting(Factory):
    """Counts the connections that it accepts."""

    noisy = False
    protocol = Protocol

    def __init__(self) -> None:
        self.accepted = 0

    def buildProtocol(self, addr: Any) -> Any:
        self.accepted += 1
        return super().buildProtocol(addr)


class SocketsTestCase(TestCase):
    def open(self, *listen: str, count: int = 2, **options: Any) -> tuple[SocketOpener, Endpoints]:
        opener = SocketOpener(reactor, count)
        endpoints = Endpoints(opener, Settings(listen=listen, **options))
        endpoints.open(QuietFactory())
        self.addCleanup(endpoints.close)
        return opener, endpoints

    def inherit(self, opener: SocketOpener, *listen: str) -> tuple[InheritedSockets, Endpoints, Counting]:
        """Open the same endpoints as a server would."""
        copies = [[os.dup(each.fileno()) for each in port.sockets] for port in opener.opened]
        sockets, site = InheritedSockets(reactor, copies), Counting()
        endpoints = Endpoints(sockets, Settings(listen=without_systemd(listen)))
        endpoints.open(site)
        self.addCleanup(endpoints.close)
        return sockets, endpoints, site

    def connect(self, address: Any, count: int) -> None:
        """Make connections that stay open until the test ends."""
        for _ in range(count):
            family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
            client = socket.socket(family)
            self.addCleanup(client.close)
            client.connect(address)

    async def until(self, condition: Any) -> None:
        while not condition():
            await deferLater(reactor, 0.005)  # type: ignore[arg-type]


class OpenTests(SocketsTestCase):
    def test_each_server_gets_a_socket_of_its_own_on_the_same_port(self) -> None:
        opener, endpoints = self.open("tcp:0:interface=127.0.0.1", "tcp6:0:interface=\\:\\:1", count=3)
        for port in opener.opened:
            self.assertEqual(len(port.sockets), 3)
            self.assertEqual(len({each.getsockname() for each in port.sockets}), 1)
        first, second = endpoints.urls()
        self.assertRegex(first, r"http://localhost:\d+/")
        self.assertRegex(second, r"http://\[::1\]:\d+/")

    def test_address_of_another_service_is_in_use_though_it_is_shared_there(self) -> None:
        """SO_REUSEPORT alone would let two services of one user take each other's connections."""
        opener, _ = self.open("tcp:0:interface=127.0.0.1")
        port = opener.opened[0].getHost().port
        other = Endpoints(SocketOpener(reactor, 2), Settings(port=port))
        self.assertRaises(CannotListenError, other.open, QuietFactory())

    def test_nothing_stays_open_if_one_address_is_in_use(self) -> None:
        opener, _ = self.open("tcp:0:interface=127.0.0.1")
        used = f"tcp:{opener.opened[0].getHost().port}:interface=127.0.0.1"
        other = SocketOpener(reactor, 2)
        endpoints = Endpoints(other, Settings(listen=("tcp:0:interface=127.0.0.1", used)))
        self.assertRaises(CannotListenError, endpoints.open, QuietFactory())
        self.assertEqual([each.fileno() for each in other.opened[0].sockets], [-1, -1])

    async def test_unix_socket_is_shared_and_its_path_is_removed_in_the_end(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/s.sock"
            opener, endpoints = self.open(f"unix:{path}", count=3)
            self.assertEqual(len(opener.opened[0].sockets), 1)
            self.assertEqual((endpoints.urls(), os.stat(path).st_mode & 0o777), ([path], 0o660))
            await endpoints.close()
            self.assertFalse(os.path.exists(path))

    def test_public_address_needs_authentication(self) -> None:
        endpoints = Endpoints(SocketOpener(reactor, 2), Settings(host="0.0.0.0"))
        self.assertRaises(ConfigurationError, endpoints.open, QuietFactory())


class InheritTests(SocketsTestCase):
    async def test_servers_accept_only_from_the_sockets_that_they_are_told(self) -> None:
        """No connection is lost when one of them goes: another one accepts what waits at its socket."""
        listen = "tcp:0:interface=127.0.0.1"
        opener, _ = self.open(listen)
        address = opener.opened[0].sockets[0].getsockname()
        (first, _, ones), (second, ends, twos) = (self.inherit(opener, listen) for _ in range(2))
        self.connect(address, 40)
        self.assertEqual((ones.accepted, twos.accepted), (0, 0))
        first.accept_from([1])
        second.accept_from([2])
        await self.until(lambda: ones.accepted + twos.accepted == 40)
        self.assertTrue(ones.accepted and twos.accepted)
        await ends.close()
        self.connect(address, 40)
        first.accept_from([1, 2])
        await self.until(lambda: ones.accepted + twos.accepted == 80)

    async def test_closing_an_inherited_socket_leaves_it_open_for_others(self) -> None:
        """Neither a connection that waits nor the path of a unix socket is lost."""
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/s.sock"
            opener, endpoints = self.open(f"unix:{path}")
            _, ends, _ = self.inherit(opener, f"unix:{path}")
            self.connect(path, 3)
            await ends.close()
            self.connect(path, 2)
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o660)
            successor, _, site = self.inherit(opener, f"unix:{path}")
            successor.accept_from([2])
            await self.until(lambda: site.accepted == 5)
            await endpoints.close()
            self.assertFalse(os.path.exists(path))

    async def test_pause_and_orders_do_not_undo_each_other(self) -> None:
        """A site with too many connections pauses its ports."""
        listen = "tcp:0:interface=127.0.0.1"
        opener, _ = self.open(listen, count=1)
        sockets, endpoints, site = self.inherit(opener, listen)
        endpoints.ports[0].stopReading()
        sockets.accept_from([1])
        self.connect(opener.opened[0].sockets[0].getsockname(), 1)
        await deferLater(reactor, 0)  # type: ignore[arg-type]
        self.assertEqual(site.accepted, 0)
        endpoints.ports[0].startReading()
        await self.until(lambda: site.accepted == 1)

    def test_socket_of_systemd_is_shared(self) -> None:
        given = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(given.close)
        opener = SocketOpener(reactor, 2)
        port = opener.adoptStreamPort(given.fileno(), socket.AF_INET, None)
        self.addCleanup(port.stopListening)
        self.assertEqual([each.getsockname() for each in port.sockets], [given.getsockname()])
        listen = ("haproxy:systemd:domain=INET:index=0", "tcp:8080")
        self.assertEqual(without_systemd(listen), ("haproxy:tcp:0:interface=127.0.0.1", "tcp:8080"))
        _, endpoints, _ = self.inherit(opener, "systemd:domain=INET:index=0")
        self.assertEqual(endpoints.ports[0].getHost().port, given.getsockname()[1])
        self.assertIsInstance(endpoints.close(), Deferred)
