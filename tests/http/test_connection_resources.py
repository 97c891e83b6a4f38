"""Ordinary resources of L{twisted.web} under our channel: they cannot tell it from that of a stock Site."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from tests.support.wire import Connection, connect, request
from twisted_appserver import AppResource, InlineExecutor
from twisted_appserver.http.site import AppSite
from twisted_appserver.settings import Settings

PART = b"x" * 10_000
PARTS = 500


class Leaf(Resource):
    """Answers by calling a function with the request."""

    isLeaf = True

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.render_GET = self.render_POST = self.render_PUT = function


@implementer(IPushProducer)
class Pushes:
    """Writes parts whenever it may."""

    def __init__(self, request: Any) -> None:
        self.request, self.left, self.paused = request, PARTS, False
        request.registerProducer(self, True)
        self.go_on()

    def go_on(self) -> None:
        while self.left and not self.paused:
            self.left -= 1
            self.request.write(PART)
        if not self.left:
            self.left = -1
            self.request.unregisterProducer()
            self.request.finish()

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        if self.paused:
            self.paused = False
            self.go_on()

    def stopProducing(self) -> None:
        self.paused = True


@implementer(IPullProducer)
class Pulled:
    """Writes one part each time that it is asked for one."""

    def __init__(self, request: Any) -> None:
        self.request, self.left = request, PARTS
        request.registerProducer(self, False)

    def resumeProducing(self) -> None:
        self.left -= 1
        self.request.write(PART)
        if not self.left:
            self.request.unregisterProducer()
            self.request.finish()

    def stopProducing(self) -> None:
        self.left = 0


def parts(request: Any) -> int:
    """An answer without a length, in parts with turns of the reactor in between."""

    def write(number: int) -> None:
        if number:
            request.write(b"part %d\n" % number)
            reactor.callLater(0, write, number - 1)  # type: ignore[attr-defined]
        else:
            request.finish()

    write(5)
    return NOT_DONE_YET


def told(request: Any) -> bytes:
    """What the request says of itself."""
    said = [
        request.method, request.uri, request.path, request.clientproto, request.args, request.postpath,
        request.prepath, request.content.read(), request.getCookie(b"a"), request.getClientAddress().host,
        request.getRequestHostname(), request.isSecure(), request.requestHeaders.getRawHeaders("x-a"),
        request.getHeader("content-length"), request.prePathURL(), request.URLPath(),
    ]  # fmt: skip
    request.addCookie(b"b", b"2")
    request.setHeader(b"x-b", b"3")
    return repr(said).encode()


def digest(request: Any) -> bytes:
    request.content.seek(0)
    return sha256(request.content.read()).hexdigest().encode()


def raises(request: Any) -> bytes:
    raise ValueError("said by a resource")


def moved(request: Any) -> bytes:
    request.redirect(b"/elsewhere")
    return b""


def nothing(request: Any) -> bytes:
    request.setResponseCode(204)
    return b""


def cached(request: Any) -> bytes:
    return b"" if request.setETag(b"tag") else b"fresh"


def root() -> Resource:
    top, middle = Resource(), Resource()
    for name, child in {
        b"data": Leaf(lambda _: b"some data"),
        b"told": Leaf(told),
        b"parts": Leaf(parts),
        b"digest": Leaf(digest),
        b"moved": Leaf(moved),
        b"nothing": Leaf(nothing),
        b"cached": Leaf(cached),
        b"push": Leaf(lambda request: Pushes(request) and NOT_DONE_YET),
        b"pull": Leaf(lambda request: Pulled(request) and NOT_DONE_YET),
        b"middle": middle,
    }.items():
        top.putChild(name, child)
    middle.putChild(b"told", Leaf(told))
    return top


FORM = (("Content-Type", "application/x-www-form-urlencoded"),)
MULTIPART = (("Content-Type", "multipart/form-data; boundary=XX"),)
CHUNKED = (
    b"POST /told?q=1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
)
CONTINUED = request("POST", "/told", b"abc", (("Expect", "100-continue"),)).partition(b"abc")[0]
UPLOAD = bytes(range(256)) * 20_000
REQUESTS = {
    "a leaf": request("GET", "/data"),
    "HEAD": request("HEAD", "/data"),
    "nothing there": request("GET", "/nowhere"),
    "below a leaf": request("GET", "/told/a%20b/c?x=1&x=2&y=%26"),
    "below a branch": request("GET", "/middle/told/x", headers=(("Cookie", "a=1; c=2"), ("X-A", "1"))),
    "repeated headers": request("GET", "/told", headers=(("X-A", "1"), ("x-a", "2"), ("Cookie", "a=1"))),
    "a form": request("POST", "/told?b=0", b"a=1&b=2", FORM),
    "a form in parts": request(
        "POST", "/told", b'--XX\r\nContent-Disposition: form-data; name="f"\r\n\r\nv\r\n--XX--\r\n', MULTIPART
    ),
    "a body": request("PUT", "/told", b"body"),
    "chunks": CHUNKED,
    "another method": request("DELETE", "/told"),
    "a redirection": request("GET", "/moved"),
    "no content": request("GET", "/nothing"),
    "not modified": request("GET", "/cached", headers=(("If-None-Match", "tag"),)),
    "modified": request("GET", "/cached", headers=(("If-None-Match", "other"),)),
    "parts": request("GET", "/parts"),
    "parts for HEAD": request("HEAD", "/parts"),
    "an upload": request("POST", "/digest", UPLOAD),
    "a push producer": request("GET", "/push"),
    "a pull producer": request("GET", "/pull"),
    "HTTP/1.0": b"GET /told HTTP/1.0\r\n\r\n",
    "parts in HTTP/1.0": b"GET /parts HTTP/1.0\r\n\r\n",
    "two in a row": request("GET", "/parts") + request("GET", "/told"),
    "a body and one behind it": CHUNKED + request("POST", "/digest", b"abc") + request("GET", "/data"),
    "a close": request("GET", "/told", headers=(("Connection", "close"),)),
}
LAST = request("GET", "/data", headers=(("Connection", "close"), ("X-Last", "1")))


class ResourceTestCase(TestCase):
    timeout = 60

    async def serve(self, top: Any) -> list[Any]:
        """The ports of a stock Site and of ours."""
        ports = []
        for site in (Site(top), AppSite(top, reactor, Settings(max_body=100_000_000))):
            site.displayTracebacks = False
            ports.append(reactor.listenTCP(0, site, interface="127.0.0.1"))  # type: ignore[attr-defined]
            self.addCleanup(ports[-1].stopListening)
        return ports

    async def closed(self, port: Any, data: bytes) -> bytes:
        """Everything that is answered until the connection is closed, but for what always differs."""
        connection = await connect(port.getHost().port)
        connection.transport.write(data)  # type: ignore[union-attr]
        await connection.closed
        heard = re.sub(rb"\r\nDate: [^\r]*", b"", connection.unread)
        return heard.replace(b":%d" % port.getHost().port, b":PORT")


class AlikeTests(ResourceTestCase):
    async def test_alike(self) -> None:
        """Each request gets the same answer from both, to the byte, and leaves the connection alike."""
        stock, ours = await self.serve(root())
        for name, data in REQUESTS.items():
            expected = await self.closed(stock, data + LAST)
            got = await self.closed(ours, data + LAST)
            self.assertIn(b"HTTP/1.", expected, name)
            self.assertTrue(expected == got, f"{name}: {got[:1000]!r}, not {expected[:1000]!r}")
        for warning in self.flushWarnings():  # Twisted 26.10 of itself, about 404 and 405
            self.assertIn("twisted.web.resource._Unsafe", warning["message"])

    async def test_raises(self) -> None:
        """A resource that fails is answered with 500, and the connection stays open."""
        top = Resource()
        top.putChild(b"raises", Leaf(raises))
        top.putChild(b"data", Leaf(lambda _: b"some data"))
        heard = [await self.closed(port, request("GET", "/raises") + LAST) for port in await self.serve(top)]
        self.assertEqual(*heard)
        self.assertIn(b" 500 ", heard[0])
        self.assertTrue(heard[0].endswith(b"some data"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    async def test_mounted(self) -> None:
        """An application somewhere in the tree answers as under a stock Site."""

        async def function(**variables: Any) -> dict[str, Any]:
            return variables

        app = AppResource([("/(?P<a>)/", function)], reactor, InlineExecutor())
        self.addCleanup(app.dispatcher.stop)
        top = root()
        top.putChild(b"app", app)
        named = (("X-Request-ID", "mine"),)
        form = request("POST", "/app/x/", b"b=2", FORM + named)
        others = (request("GET", "/app/%C3%A4/?b=1", b"", named), request("OPTIONS", "/app/x/", b"", named))
        for data in (form, *others):
            heard = [await self.closed(port, data + LAST) for port in await self.serve(top)]
            self.assertEqual(*heard)
        heard = [await self.closed(port, form + LAST) for port in await self.serve(top)]
        self.assertIn(b'{"b":"2","a":"x"}', heard[1])


class StreamTests(ResourceTestCase):
    """What only time shows."""

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await deferLater(reactor, 0.002)

    def stop_reading(self, connection: Connection) -> Any:
        transport: Any = connection.transport
        transport.pauseProducing()
        return transport

    async def test_gone(self) -> None:
        """notifyFinish tells that the client has gone, and a producer is stopped."""
        for port in await self.serve_requests():
            connection = await connect(port.getHost().port)
            connection.transport.write(request("GET", "/"))  # type: ignore[union-attr]
            await self.until(lambda: bool(self.requests))
            failed: Deferred[Any] = self.requests.pop().notifyFinish()
            await connection.close()
            with self.assertRaises(Exception) as raised:
                await failed
            self.assertIn("Connection", type(raised.exception).__name__)

    async def serve_requests(self) -> list[Any]:
        self.requests: list[Any] = []
        return await self.serve(Leaf(lambda request: self.requests.append(request) or NOT_DONE_YET))

    async def test_finished(self) -> None:
        """notifyFinish tells that the answer has been written."""
        for port in await self.serve_requests():
            connection = await connect(port.getHost().port)
            answer = connection.send(request("GET", "/"))
            await self.until(lambda: bool(self.requests))
            one = self.requests.pop()
            finished = one.notifyFinish()
            one.setHeader(b"content-length", b"4")
            one.write(b"done")
            one.finish()
            self.assertIsNone(await finished)
            self.assertEqual((await answer).body, b"done")
            await connection.close()

    async def test_not_read(self) -> None:
        """A push producer is paused while the client does not read, and what follows it has to wait."""
        made: list[Any] = []

        def pushes(request: Any) -> int:
            made.append(request)
            if request.path == b"/first":
                endless = Pushes.__new__(Pushes)
                endless.request, endless.left, endless.paused = request, 5_000, False
                self.producer = endless
                request.registerProducer(endless, True)
                reactor.callLater(0, endless.go_on)  # type: ignore[attr-defined]
                return NOT_DONE_YET
            request.finish()
            return NOT_DONE_YET

        for port in await self.serve(Leaf(pushes)):
            del made[:]
            connection = await connect(port.getHost().port)
            transport = self.stop_reading(connection)
            transport.write(request("GET", "/first") + request("GET", "/second"))
            await self.until(lambda: bool(made) and self.producer.paused)
            await deferLater(reactor, 0.05)
            self.assertGreater(self.producer.left, 1_000)
            self.assertEqual(len(made), 1)
            transport.resumeProducing()
            while len(made) < 2:
                connection.unread = b""  # 50 MB, of no interest
                await deferLater(reactor, 0)
            self.assertEqual(self.producer.left, -1)
            await connection.close()
