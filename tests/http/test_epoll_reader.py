"""Tests of L{twisted_appserver.http.epoll_reader}, which reads all readable sockets in one loop."""

from __future__ import annotations

import errno
import select
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.support.wire import Connection, connect, request
from twisted_appserver.core.routes import Route
from twisted_appserver.http import epoll_reader
from twisted_appserver.http.app_resource import AppResource
from twisted_appserver.http.epoll_reader import EpollReader
from twisted_appserver.http.site import AppSite
from twisted_appserver.settings import Settings


class Server(Protocol):
    """Echoes data; C{bad} raises an error."""

    def connectionMade(self) -> None:
        self.heard = b""
        self.lost: Deferred[str] = Deferred()  # fires with the reason
        self.factory.reader.adopt(self.transport)  # type: ignore[union-attr]
        self.factory.servers.append(self)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        if b"bad" in data:
            raise ValueError(data)
        self.transport.write(data)  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        self.lost.callback(reason.getErrorMessage())


class EpollReaderTests(TestCase):
    timeout = 20

    def setUp(self) -> None:
        if not hasattr(select, "epoll"):
            self.skipTest("this system has no epoll, and the reader does nothing")
        self.factory: Any = Factory.forProtocol(Server)
        self.factory.reader, self.factory.servers = EpollReader(reactor), []
        self.port = reactor.listenTCP(0, self.factory, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(self.port.stopListening)

    async def pair(self) -> tuple[Connection, Server]:
        """Connect a client. Return it with the protocol of the server."""
        number = len(self.factory.servers)
        client = await connect(self.port.getHost().port)
        await self.until(lambda: len(self.factory.servers) > number)
        return client, self.factory.servers[number]

    async def close(self, *pairs: tuple[Connection, Server]) -> None:
        for client, server in pairs:
            await client.close()
            await server.lost

    async def until(self, condition: Any) -> None:
        while not condition():
            await deferLater(reactor, 0.001, lambda: None)

    def reads(self, server: Server) -> bool:
        """Return whether the reader reads for this connection. The reactor itself must not."""
        read: list[Any] = reactor.getReaders()  # type: ignore[attr-defined]
        self.assertNotIn(server.transport, read)
        return self.factory.reader in read

    async def test_each_connection_receives_what_was_sent_to_it(self) -> None:
        """In one iteration of the reactor or in many."""
        pairs = [await self.pair() for _ in range(5)]
        for _ in range(3):
            for number, (client, _) in enumerate(pairs):
                client.transport.write(b"%d" % number * 1000)
            await deferLater(reactor, 0, lambda: None)
        for number, (client, server) in enumerate(pairs):
            await self.until(lambda client=client: len(client.unread) == 3000)
            self.assertEqual((server.heard, client.unread), (b"%d" % number * 3000,) * 2)
            self.assertTrue(self.reads(server))
        await self.close(*pairs)

    async def test_reactor_reads_a_connection_if_no_descriptor_is_left_for_an_epoll(self) -> None:
        """A connection that was accepted with the last descriptor is served; so is one that was paused."""
        client, server = await self.pair()
        server.transport.pauseProducing()  # type: ignore[union-attr]
        self.assertEqual(self.factory.reader.fileno(), -1)
        with patch.object(select, "epoll", side_effect=OSError(errno.EMFILE, "Too many open files")):
            server.transport.resumeProducing()  # type: ignore[union-attr]
            pairs = [(client, server), await self.pair()]
            for each, _ in pairs:
                each.transport.write(b"still here")
                await self.until(lambda each=each: each.unread == b"still here")
        await self.close(*pairs)

    async def test_closed_connections_leave_nothing_behind(self) -> None:
        """Each protocol is notified of the end. After the last one, the reader stops reading."""
        pairs = [await self.pair() for _ in range(2)]
        for client, server in pairs:
            client.transport.loseConnection()
            self.assertIn("closed cleanly", await server.lost)
            await client.closed
        self.assertNotIn(self.factory.reader, reactor.getReaders())  # type: ignore[attr-defined]
        self.assertEqual(self.factory.reader.fileno(), -1)

    async def test_reset_connection_ends_alone(self) -> None:
        """The other connections stay open."""
        (first, server), (second, other) = await self.pair(), await self.pair()
        first.transport.abortConnection()
        self.assertIn("lost in a non-clean fashion", await server.lost)
        second.transport.write(b"still here")
        await self.until(lambda: second.unread == b"still here")
        await self.close((second, other))

    async def test_error_in_a_protocol_closes_only_its_connection(self) -> None:
        """The error is logged, and the other connections stay open."""
        (first, server), (second, other) = await self.pair(), await self.pair()
        first.transport.write(b"bad")
        second.transport.write(b"good")
        await server.lost
        await self.until(lambda: second.unread == b"good")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        await first.closed
        await self.close((second, other))

    async def test_paused_connection_is_not_read_until_it_is_resumed(self) -> None:
        """The other connections are read meanwhile."""
        (first, server), (second, other) = await self.pair(), await self.pair()
        server.transport.pauseProducing()  # type: ignore[union-attr]
        first.transport.write(b"later")
        second.transport.write(b"now")
        await self.until(lambda: second.unread == b"now")
        self.assertEqual(server.heard, b"")
        server.transport.resumeProducing()  # type: ignore[union-attr]
        await self.until(lambda: first.unread == b"later")
        await self.close((first, server), (second, other))

    async def test_connection_that_an_earlier_one_closed_is_not_read(self) -> None:
        (first, server), (second, other) = await self.pair(), await self.pair()

        def close_both(data: bytes) -> None:
            for each in (server, other):
                each.transport.abortConnection()  # type: ignore[union-attr]
                each.transport.stopReading()  # type: ignore[union-attr]

        server.dataReceived = other.dataReceived = close_both  # type: ignore[method-assign]
        first.transport.write(b"a")
        second.transport.write(b"b")
        await gatherResults([server.lost, other.lost, first.closed, second.closed])

    async def test_functions_for_soon_run_after_everything_readable_was_read(self) -> None:
        """If one of them fails, the others still run."""
        pairs = [await self.pair() for _ in range(3)]
        done: list[str] = []

        def first() -> None:
            done.append("first")
            self.factory.reader.soon(lambda: done.append("second"))
            raise ZeroDivisionError

        def read(data: bytes) -> None:
            done.append("read")
            self.factory.reader.soon(first)
            self.factory.reader.soon(lambda: done.append("beside"))

        for client, server in pairs:
            server.dataReceived = read  # type: ignore[method-assign]
            server.transport.pauseProducing()  # type: ignore[union-attr]
            client.transport.write(b"x")
        sockets = [server.transport.socket for _, server in pairs]  # type: ignore[union-attr]
        await self.until(lambda: len(select.select(sockets, [], [], 0)[0]) == 3)
        for _, server in pairs:
            server.transport.resumeProducing()  # type: ignore[union-attr]
        await self.until(lambda: len(done) == 12)
        self.assertEqual(done, ["read"] * 3 + ["first", "beside"] * 3 + ["second"] * 3)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)
        self.factory.reader.soon(lambda: done.append("outside"))
        await self.until(lambda: done[-1] == "outside")
        await self.close(*pairs)

    def awake(self) -> bool:
        """Return whether the reader keeps the reactor awake."""
        calls: list[Any] = reactor.getDelayedCalls()  # type: ignore[attr-defined]
        return self.factory.reader._stay in [call.func for call in calls]

    async def test_reactor_stays_awake_for_a_moment_unless_that_was_in_vain(self) -> None:
        """After a moment without a request, the next two are left out."""
        self.patch(epoll_reader, "RESTS", 2)
        pair, kept = await self.pair(), []
        for _ in range(5):
            self.factory.reader.stay_awake()
            kept.append(self.awake())
            await self.until(lambda: not self.awake())
        self.assertEqual(kept, [True, False, False, True, False])
        await self.close(pair)

    async def test_each_response_keeps_the_reactor_awake_until_the_last_connection_ends(self) -> None:
        self.patch(epoll_reader, "MOMENT", 60.0)
        pairs = [await self.pair() for _ in range(2)]
        for _ in range(3):
            self.factory.reader.stay_awake()
            await deferLater(reactor, 0.001, lambda: None)
            self.assertTrue(self.awake())
        await self.close(pairs[0])
        self.assertTrue(self.awake())
        await self.close(pairs[1])
        self.assertFalse(self.awake())
        self.factory.reader.stay_awake()
        self.assertFalse(self.awake())

    async def test_reactor_stays_awake_only_while_no_call_is_running(self) -> None:
        self.patch(epoll_reader, "MOMENT", 60.0)
        slow: Deferred[dict[str, Any]] = Deferred()
        table = ((r"/slow", lambda: slow), (r"/quick", lambda: {"a": 1}))
        resource = AppResource(tuple(Route(*each, executor="inline") for each in table), reactor)
        self.addCleanup(resource.dispatcher.stop)
        site = AppSite(resource, reactor, Settings())
        self.factory.reader = site.reader
        port = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        first, second = [await connect(port.getHost().port) for _ in range(2)]
        waiting = first.send(request("GET", "/slow"))
        await self.until(lambda: resource.dispatcher.in_flight == 1)
        self.assertEqual((await second.send(request("GET", "/quick"))).status, 200)
        self.assertFalse(self.awake())
        slow.callback({})
        self.assertEqual((await waiting).status, 200)
        self.assertTrue(self.awake())
        await first.close()
        await second.close()
        await self.until(lambda: site.connections == 0)

    async def test_connections_are_lost_when_the_reactor_drops_its_readers(self) -> None:
        client, server = await self.pair()
        self.factory.reader.connectionLost(Failure(ConnectionError("the end")))
        self.assertEqual(await server.lost, "the end")
        await client.closed

    async def test_reactor_that_watches_no_descriptors_reads_as_usual(self) -> None:
        self.factory.reader = EpollReader(Clock())
        client, server = await self.pair()
        self.assertIn(server.transport, reactor.getReaders())  # type: ignore[attr-defined]
        await self.close((client, server))
