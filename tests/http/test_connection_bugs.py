"""Regression tests of the connection: timers, data that waits, targets, mounted resources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, serverFromString
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.http.test_connection_transports import over_tls
from tests.support.channel_memory import Transport, begin, everything, settle, talk
from tests.support.slow import slow
from tests.support.wire import Connection, request
from twisted_appserver import AppResource, Call, InlineExecutor
from twisted_appserver.http import connection as channel
from twisted_appserver.http import site
from twisted_appserver.http.site import AppSite
from twisted_appserver.settings import CHANNELS, Settings

GET = b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"

MALFORMED = (
    *((b"GET", target) for target in (
        b"*", b"x", b"localhost:80", b"?x", b"http://", b"http:///x", b"http://user@localhost/x",
        b"http://a:99999/", b"http://[::1/", b"ftp://localhost/x", b"http://localhost#x", b"http://localhost/#x",
        b"/\xc3/", b"/\xff", b"/x?a=\xe4", b"/\x7f", b"/\0", b"/%", b"/%2", b"/%u0041", b"/x?a#b",
    )),
    (b"POST", b"*"),
    (b"CONNECT", b"*"),
)  # fmt: skip


class MemoryTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        for module in (channel, site):
            self.patch(module, "monotonic", self.clock.seconds)

    def begin(self, root: Any = None, **options: Any) -> tuple[Any, Any]:
        return begin(root or everything([], self.clock), self.clock, **options)

    def wait(self, seconds: float) -> None:
        self.clock.pump([0.1] * round(seconds * 10))


class TimerTests(MemoryTestCase):
    """Time limits that apply to the wrong phase of a connection."""

    def test_connection_in_use_is_never_closed(self) -> None:
        """However long it is used."""
        connection, transport = self.begin(idle_timeout=60)
        for _ in range(500):
            self.wait(7)
            connection.dataReceived(GET)
            settle(self.clock)
            self.assertFalse(transport.disconnecting)
            transport.clear()
        self.wait(59)
        self.assertFalse(transport.disconnecting)
        self.wait(2)
        self.assertTrue(transport.disconnecting)

    def test_connection_without_an_idle_limit_stays_open(self) -> None:
        """The time limit for headers still applies, and only while headers arrive."""
        connection, transport = self.begin(idle_timeout=0, header_timeout=10)
        for data in (GET, GET[:20], GET[20:]):
            self.wait(9)
            connection.dataReceived(data)
        self.wait(100)
        self.assertFalse(transport.disconnecting)
        self.assertEqual(transport.value().count(b" 200 OK"), 2)
        connection.dataReceived(GET[:20])
        self.wait(11)
        self.assertIn(b" 408 ", transport.value())

    def test_idle_limit_applies_after_a_head_that_came_in_pieces(self) -> None:
        connection, transport = self.begin(idle_timeout=60, header_timeout=10)
        connection.dataReceived(GET[:20])
        connection.dataReceived(GET[20:])
        settle(self.clock)
        self.wait(59)
        self.assertFalse(transport.disconnecting)

    def test_body_that_begins_just_before_the_idle_limit_may_continue(self) -> None:
        connection, transport = self.begin(idle_timeout=60)
        self.wait(59.5)
        connection.dataReceived(POST + b"\r\nhe")
        self.wait(2)
        connection.dataReceived(b"llo")
        settle(self.clock)
        self.assertIn(b"200 OK", transport.value())

    def test_header_limit_applies_to_a_head_that_arrives_with_the_request_before(self) -> None:
        connection, transport = self.begin(idle_timeout=60, header_timeout=10)
        connection.dataReceived(GET + GET[:20])
        self.wait(11)
        self.assertIn(b" 408 ", transport.value())

    def test_empty_line_starts_no_header_limit(self) -> None:
        """Requests after it are answered."""
        connection, transport = self.begin(idle_timeout=60, header_timeout=2)
        for piece in (GET, GET, b"\r\n", *[GET] * 20):
            connection.dataReceived(piece)
            self.wait(0.3)
        self.assertEqual(transport.value().count(b" 200 OK"), 22)
        connection.dataReceived(b"\r\n")
        self.wait(59)
        self.assertFalse(transport.disconnecting)

    def test_first_byte_of_a_head_starts_the_header_limit(self) -> None:
        """Also directly after another request."""
        for data in (b"G", GET + b"G"):
            connection, transport = self.begin(idle_timeout=60, header_timeout=2)
            connection.dataReceived(data)
            self.wait(3)
            self.assertIn(b" 408 ", transport.value())


class KeptTests(MemoryTestCase):
    """Data that waits, and targets that were read wrongly."""

    def test_unread_connection_keeps_little_and_then_stops_reading(self) -> None:

        async def function() -> dict[str, str]:
            return {"text": "x" * 100_000}

        app = AppResource([("/x", function)], self.clock, InlineExecutor())
        self.addCleanup(app.dispatcher.stop)
        connection, transport = self.begin(app)
        write = transport.write

        def pausing(data: bytes) -> None:
            write(data)
            connection.pauseProducing()

        transport.write = pausing
        sent = 0
        while transport.producerState == "producing" and sent < 1_000_000:
            connection.dataReceived(GET * 100)
            sent += len(GET * 100)
            settle(self.clock)
        self.assertLess(sent, 100_000)
        self.assertEqual(transport.value().count(b"200 OK"), 1)

    def test_host_of_an_absolute_target_ends_as_rfc_3986_defines(self) -> None:
        """The host is also checked (RFC 3986, section 3.2)."""
        for target, host, path in (
            (b"http://localhost?a=b", b"localhost", "/"),
            (b"http://localhost/x?a=b", b"localhost", "/x"),
        ):
            talked = talk([b"GET %s HTTP/1.1\r\nHost: other\r\n\r\n" % target])
            (call,) = talked.calls
            self.assertEqual((dict(call.raw_headers)[b"host"], call.path), (host, path))
            self.assertEqual(call.query, "a=b")

    def test_malformed_target_gets_400_however_it_is_cut(self) -> None:
        for method, target in MALFORMED:
            data = b"%s %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (method, target)
            for name in CHANNELS:
                for at in range(len(data)):
                    talked = talk([data[:at], data[at:]], channel=name)
                    statuses = [each.status for each in talked.answers]
                    self.assertEqual((statuses, talked.calls), ([400], []), (name, target, at))

    def test_options_asterisk_gets_204(self) -> None:
        """RFC 9110, section 9.3.7."""
        clock = Clock()
        app = AppResource([("/x", tcp)], clock, InlineExecutor())
        self.addCleanup(app.dispatcher.stop)
        connection, transport = begin(app, clock)
        connection.dataReceived(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n")
        settle(clock)
        connection.setTimeout(None)
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 204 "), transport.value())


class Waiting(Resource):
    """A resource that responds to GET when the test finishes it, and to POST with the length of the body."""

    isLeaf = True

    def render_GET(self, request: Any) -> int:
        self.request = request
        return NOT_DONE_YET

    def render_POST(self, request: Any) -> bytes:
        return b"%d" % len(request.content.read())


class MountedResourceTests(MemoryTestCase):
    """A connection that serves a Twisted resource of the table."""

    def mount(self, resource: Resource) -> tuple[Any, Transport]:
        app = AppResource([("/.*", resource)], self.clock, InlineExecutor())
        self.addCleanup(app.dispatcher.stop)
        return self.begin(app)

    def test_body_that_arrives_with_its_head_needs_no_100_continue(self) -> None:
        for cut in (0, 1, 3, 5):
            connection, transport = self.mount(Waiting())
            data = POST + b"Expect: 100-continue\r\n\r\nhello"
            connection.dataReceived(data[: len(data) - cut])
            if cut:
                connection.dataReceived(data[len(data) - cut :])
            settle(self.clock)
            self.assertTrue(transport.value().endswith(b"\r\n\r\n5"), (cut, transport.value()))

    def test_finished_site_closes_the_connection_after_the_response(self) -> None:
        root = Waiting()
        connection, transport = self.mount(root)
        connection.dataReceived(GET)
        connection.site.finish()
        self.assertFalse(transport.disconnecting)
        root.request.finish()
        settle(self.clock)
        self.assertTrue(transport.disconnecting)

    def test_every_spelling_of_close_closes_the_connection(self) -> None:
        for value in (b"close", b"close,x", b"x,close", b"x, close", b"Close"):
            connection, transport = self.mount(Waiting())
            connection.dataReceived(POST + b"Connection: " + value + b"\r\n\r\nhello")
            settle(self.clock)
            self.assertTrue(transport.disconnecting, value)


class SiteTests(SynchronousTestCase):
    def test_a_site_serves_no_other_resource(self) -> None:
        """The error names the resource, and what to do."""
        error = self.assertRaises(TypeError, AppSite, Resource(), Clock(), Settings())
        self.assertIn("list other resources in the table", str(error))


def tcp(port: int) -> Any:
    return TCP4ClientEndpoint(reactor, "127.0.0.1", port, timeout=10)


class SocketTests(TestCase):
    timeout = 30

    async def read_slowly(self, description: str, endpoint: Callable[[int], Any]) -> None:
        """Read a large response for longer than an idle connection may take."""

        async def function() -> dict[str, str]:
            return {"text": "x" * 10_000_000}

        app = AppResource([("/x", function)], reactor, InlineExecutor())
        self.addCleanup(app.dispatcher.stop)
        listening = AppSite(app, reactor, Settings(idle_timeout=0.5))
        port: Any = await serverFromString(reactor, description).listen(listening)
        self.addCleanup(port.stopListening)
        for headers in ((), (("Connection", "close"),)):
            connection = await connectProtocol(endpoint(port.getHost().port), Connection())
            answer: Deferred[Any] = connection.send(request("GET", "/x", headers=headers))
            answer.addErrback(lambda failure: failure)
            transport: Any = connection.transport
            while not answer.called:
                transport.pauseProducing()
                await deferLater(reactor, 0.15)
                before = len(connection.unread)
                transport.resumeProducing()
                while not answer.called and len(connection.unread) < before + 500_000:
                    await deferLater(reactor, 0)
            self.assertEqual(len((await answer).json["text"]), 10_000_000)
            if not connection.closed.called:
                await connection.close()

    @slow
    async def test_client_that_reads_slowly_is_not_idle(self) -> None:
        await self.read_slowly("tcp:0:interface=127.0.0.1", tcp)

    @slow
    async def test_client_that_reads_slowly_over_tls_is_not_idle(self) -> None:
        place, wrap = over_tls(self.mktemp())
        await self.read_slowly(place, lambda port: wrap(tcp(port)))
        for warning in self.flushWarnings():
            self.assertIn("Passing pyOpenSSL", warning["message"])

    async def test_client_of_a_call_is_the_one_in_the_proxy_header(self) -> None:
        """Every request behind C{haproxy:} has it."""

        async def who(call: Call) -> dict[str, str]:
            return {"client": call.client}

        app = AppResource([("/x", who)], reactor, InlineExecutor())
        self.addCleanup(app.dispatcher.stop)
        listening = AppSite(app, reactor, Settings())
        port: Any = await serverFromString(reactor, "haproxy:tcp:0:interface=127.0.0.1").listen(listening)
        self.addCleanup(port.stopListening)
        connection = await connectProtocol(tcp(port.getHost().port), Connection())
        connection.transport.write(b"PROXY TCP4 203.0.113.9 127.0.0.1 555 80\r\n")
        for _ in range(4):
            self.assertEqual((await connection.send(GET)).json, {"client": "203.0.113.9"})
        await connection.close()
