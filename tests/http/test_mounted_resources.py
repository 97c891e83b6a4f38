"""Tests of L{executors.mounted_resources}: Twisted resources in a table respond as under a stock Site."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from klein import Klein
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, serverFromString
from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.internet.task import Clock, deferLater
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from twisted.web.static import File
from twisted.web.wsgi import WSGIResource
from zope.interface import implementer

from tests.http.test_connection_transports import over_tls
from tests.support.channel_memory import begin, settle
from tests.support.programs import ProgramTestCase
from tests.support.slow import slow
from tests.support.wire import Connection, connect, read, request
from twisted_appserver import AppResource, InlineExecutor, PatternError, Route, Router, include
from twisted_appserver.core.mounted_resource import MountedResource
from twisted_appserver.http.site import AppSite
from twisted_appserver.settings import Settings
from twisted_appserver.testing import Client

PART = b"x" * 10_000
PARTS = 500
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Leaf(Resource):
    """A resource that calls a function with each request."""

    isLeaf = True

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.render_GET = self.render_POST = self.render_PUT = function


@implementer(IPushProducer)
class Pushes:
    """A push producer."""

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
    """A pull producer."""

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
    """Write a response without a length, each part in another iteration of the reactor."""

    def write(number: int) -> None:
        if number:
            request.write(b"part %d\n" % number)
            reactor.callLater(0, write, number - 1)  # type: ignore[attr-defined]
        else:
            request.finish()

    write(5)
    return NOT_DONE_YET


def told(request: Any) -> bytes:
    """Return the attributes of the request."""
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
    "two in a row": request("GET", "/parts") + request("GET", "/told"),
    "a body and one behind it": CHUNKED + request("POST", "/digest", b"abc") + request("GET", "/data"),
    "a close": request("GET", "/told", headers=(("Connection", "close"),)),
}
LAST = request("GET", "/data", headers=(("Connection", "close"), ("X-Last", "1")))


OURS = ("connection", "date", "server", "transfer-encoding", "x-content-type-options", "x-request-id")


class ResourceTestCase(TestCase):
    timeout = 60

    async def listen(self, site: Any) -> Any:
        site.displayTracebacks = False
        port = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        return port

    def application(self, top: Any) -> AppResource:
        app = AppResource([("/.*", top)], reactor, InlineExecutor(), max_body=100_000_000)
        self.addCleanup(app.dispatcher.stop)
        self.executor = app.dispatcher.executors["resources"]
        return app

    async def serve(self, top: Any) -> list[Any]:
        """Return ports of a stock Site, of each of our channels, and of an application in a stock Site."""
        sites = [Site(top)]
        for name in ("llhttp", "twisted"):
            settings = Settings(max_body=100_000_000, channel=name)
            sites.append(AppSite(self.application(top), reactor, settings))
        sites.append(Site(self.application(top)))
        return [await self.listen(site) for site in sites]

    async def responses(self, port: Any, data: bytes) -> list[Any]:
        """Return the responses until the connection is closed, without what may differ."""
        connection = await connect(port.getHost().port)
        connection.transport.write(data)  # type: ignore[union-attr]
        await connection.closed
        heard, found = connection.unread.removeprefix(CONTINUE), []
        methods = [line.split()[0] for line in data.split(b"\r\n") if line.endswith(b" HTTP/1.1")]
        while heard and (one := read(heard, methods[len(found)].decode())):
            answer, heard = one
            headers = {name: value for name, value in answer.headers.items() if name not in OURS}
            if not answer.body:
                headers.pop("content-type", None)
            body = answer.body.replace(b":%d" % port.getHost().port, b"")
            if b"http://" in body or answer.status in (
                204,
                304,
            ):
                headers.pop("content-length", None)
            found.append((answer.status, headers, body))
        return found


class AlikeTests(ResourceTestCase):
    @slow
    async def test_a_mounted_resource_responds_as_under_a_stock_site(self) -> None:
        stock, *ours = await self.serve(root())
        for name, data in REQUESTS.items():
            expected = await self.responses(stock, data + LAST)
            self.assertGreater(len(expected), 0, name)
            for port in ours:
                got = await self.responses(port, data + LAST)
                self.assertEqual(got, expected, f"{name} {ours.index(port)}")
        for warning in self.flushWarnings():  # Twisted 26.10 of itself, about 404 and 405
            self.assertIn("twisted.web.resource._Unsafe", warning["message"])
        self.assertEqual((self.executor.running, self.executor.parked), (0, 0))

    async def test_a_resource_that_fails_gets_500_and_the_connection_stays_open(self) -> None:
        top = Resource()
        top.putChild(b"raises", Leaf(raises))
        top.putChild(b"data", Leaf(lambda _: b"some data"))
        ports = await self.serve(top)
        for port in ports:
            first, last = await self.responses(port, request("GET", "/raises") + LAST)
            self.assertEqual((first[0], last[2]), (500, b"some data"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), len(ports))


class StreamTests(ResourceTestCase):
    """Producers and clients that stop in the middle."""

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await deferLater(reactor, 0.002)

    def stop_reading(self, connection: Connection) -> Any:
        transport: Any = connection.transport
        transport.pauseProducing()
        return transport

    async def test_notify_finish_fails_when_the_client_is_gone(self) -> None:
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

    async def test_notify_finish_fires_when_the_response_is_written(self) -> None:
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

    async def test_push_producer_is_paused_while_the_client_does_not_read(self) -> None:
        """The next request of the connection waits."""
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


TABLE = """
import sys
from twisted.web.static import File

def loaded():
    return {"reactor": "twisted.internet.reactor" in sys.modules}

url_patterns = [(r"/static/.*", File("static")), (r"/loaded/", loaded)]
"""


class FileTests(SynchronousTestCase):
    """A folder of files, in memory."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.makedirs(os.path.join(self.folder, "below"))
        for name in ("a.txt", "below/ä b.txt"):
            with open(os.path.join(self.folder, name), "wb") as file:
                file.write(b"0123456789")
        self.client = Client([include("/site", [(r"/static/.*", File(self.folder))])])

    def test_file_has_a_length_and_may_be_read_in_ranges(self) -> None:
        url = "/site/static/a.txt"
        self.assertEqual(self.client.get(url).body, b"0123456789")
        head = self.client.request("HEAD", url)
        self.assertEqual((head.status, head.headers["content-length"], head.body), (200, "10", b""))
        part = self.client.get(url, headers={"Range": "bytes=2-4"})
        self.assertEqual((part.status, part.body), (206, b"234"))
        self.assertEqual(part.headers["content-range"], "bytes 2-4/10")
        unchanged = self.client.get(url, headers={"If-Modified-Since": head.headers["last-modified"]})
        self.assertEqual((unchanged.status, unchanged.body), (304, b""))

    def test_paths_below_the_prefix_name_files(self) -> None:
        self.assertEqual(self.client.get("/site/static/below/%C3%A4%20b.txt").status, 200)
        missing = self.client.get("/site/static/none")
        self.assertEqual((missing.status, missing.headers["content-type"]), (404, "text/html; charset=utf-8"))
        self.assertEqual(self.client.get("/site/static/../a.txt").status, 404)
        self.assertEqual(self.client.get("/site/other").status, 404)
        self.assertTrue(
            self.client.get("/site/static/below").headers["location"].endswith("/site/static/below/")
        )

    def test_every_method_reaches_a_resource_unless_its_route_names_some(self) -> None:
        self.assertEqual(self.client.request("PROPFIND", "/site/static/a.txt").status, 501)
        route = Route("/static/.*", File(self.folder), methods=("GET",))  # type: ignore[arg-type]
        client = Client([route])
        self.assertEqual(client.get("/static/a.txt").status, 200)
        self.assertEqual(client.request("PUT", "/static/a.txt").status, 405)

    def test_resource_in_threads_and_entry_that_is_neither_are_refused(self) -> None:
        route = Route("/.*", Resource(), executor="threads")  # type: ignore[arg-type]
        self.assertRaises(PatternError, Router, [route])
        self.assertRaises(PatternError, Router, [("/", 5)])


class UnreadFileTests(SynchronousTestCase):
    def test_a_file_is_read_only_as_fast_as_its_client(self) -> None:
        """At most half a megabyte is read ahead of a client that does not read."""
        folder, clock = self.mktemp(), Clock()
        os.makedirs(folder)
        with open(os.path.join(folder, "large"), "wb") as file:
            file.truncate(5_000_000)
        app = AppResource([("/.*", File(folder))], clock, InlineExecutor())
        self.addCleanup(app.dispatcher.stop)
        connection, transport = begin(app, clock)
        connection.dataReceived(request("GET", "/large"))
        connection.pauseProducing()
        for _ in range(100):
            settle(clock)
        executor: Any = app.dispatcher.executors["resources"]
        ((pending, _),) = executor._channels.items()
        self.assertEqual((executor.running, executor.parked), (0, 1))
        self.assertLess(len(pending.stream), 700_000)
        for _ in range(100):
            connection.resumeProducing()
            settle(clock)
        connection.setTimeout(None)
        answer, rest = read(transport.value()) or self.fail("the response is not complete")
        self.assertEqual((len(answer.body), rest), (5_000_000, b""))
        self.assertEqual(answer.headers["content-length"], "5000000")


class SplitTests(SynchronousTestCase):
    def test_path_is_split_where_the_variable_part_begins(self) -> None:
        for regex, path, expected in (
            ("/static/.*", "/static/a/b", (["static"], ["a", "b"])),
            ("/static/.*", "/static/", (["static"], [""])),
            ("/.*", "/", ([], [""])),
            ("/.*", "/a/b/", ([], ["a", "b", ""])),
            ("/static.*", "/static", (["static"], [])),
            ("/static.*", "/static/a", (["static"], ["a"])),
            ("/static.*", "/statics/a", ([], ["statics", "a"])),
            ("/(?P<who>[^/]+)/files/.*", "/x/files/a", (["x", "files"], ["a"])),
            ("/page", "/page", (["page"], [])),
            ("/page/", "/page/", (["page"], [""])),
        ):
            self.assertEqual(MountedResource(Resource(), regex).split(path), expected, (regex, path))


class ApplicationTests(ResourceTestCase):
    """Klein and WSGI applications, under both connections and below a prefix of another Site."""

    async def bodies(self, table: Any, target: str) -> list[bytes]:
        app = AppResource(table, reactor, InlineExecutor())
        self.addCleanup(app.dispatcher.stop)
        above = Resource()
        above.putChild(b"app", app)
        found = []
        for prefix, site in (
            ("", AppSite(app, reactor, Settings())),
            ("", AppSite(app, reactor, Settings(channel="twisted"))),
            ("/app", Site(above)),
        ):
            port = await self.listen(site)
            connection = await connect(port.getHost().port)
            answer = await connection.send(request("POST", prefix + target, b"a=1", FORM))
            found.append(answer.body)
            await connection.close()
        return found

    async def test_klein_application_sees_its_own_prefix(self) -> None:
        app = Klein()

        @app.route("/hello/<name>", methods=["POST"])
        def hello(request: Any, name: str) -> bytes:
            return name.encode() + b" " + request.prePathURL() + b" " + request.args[b"a"][0]

        first, second, third = await self.bodies([(r"/klein/.*", app.resource())], "/klein/hello/you")
        self.assertEqual(first, b"you http://localhost/klein/hello/you 1")
        self.assertEqual((second, third), (first, first.replace(b"/klein", b"/app/klein")))

    async def test_wsgi_application_sees_its_own_prefix(self) -> None:
        pool: Any = ThreadPool(0, 1)
        pool.start()
        self.addCleanup(pool.stop)

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            start_response("200 OK", [("Content-Type", "text/plain")])
            names = ("SCRIPT_NAME", "PATH_INFO", "REQUEST_METHOD", "wsgi.url_scheme")
            read = environ["wsgi.input"].read()
            return [" ".join(environ[name] for name in names).encode(), b" ", read]

        table = [(r"/wsgi/.*", WSGIResource(reactor, pool, app))]
        bodies = await self.bodies(table, "/wsgi/a/b")
        self.assertEqual(bodies[0], b"/wsgi /a/b POST http a=1")
        self.assertEqual(bodies[1:], [bodies[0], bodies[0].replace(b"/wsgi", b"/app/wsgi")])

    async def test_redirect_below_an_application_in_another_site(self) -> None:
        folder = self.mktemp()
        os.makedirs(os.path.join(folder, "below"))
        above = Resource()
        above.putChild(b"app", AppResource([(r"/static/.*", File(folder))], reactor, InlineExecutor()))
        port = await self.listen(Site(above))
        connection = await connect(port.getHost().port)
        answer = await connection.send(request("GET", "/app/static/below"))
        await connection.close()
        self.assertEqual(answer.status, 302)
        self.assertIn("/app/static/below/", answer.headers["location"])


class TLSTests(ResourceTestCase):
    async def test_urls_have_the_scheme_of_the_connection(self) -> None:
        """They also name the port that the client has used. Known headers make no difference."""
        tls, wrap = over_tls(os.path.abspath(self.mktemp()))
        for channel in ("llhttp", "twisted"):
            app = self.application(Leaf(lambda request: request.prePathURL()))
            endpoint = serverFromString(reactor, tls)
            port = await endpoint.listen(AppSite(app, reactor, Settings(channel=channel)))
            self.addCleanup(port.stopListening)
            address: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
            connection = await connectProtocol(wrap(address), Connection())
            for path in ("/a", "/b", "/b", "/b"):
                answer = await connection.send(request("GET", path, host="localhost:8443"))
                self.assertEqual(answer.body, b"https://localhost:8443/", (channel, path))
            await connection.close()


class ForkedTests(ProgramTestCase):
    async def test_workers_import_such_a_table_without_a_reactor(self) -> None:
        os.makedirs(os.path.join(self.folder, "static"))
        for name, text in (("table.py", TABLE), ("static/a.txt", "text")):
            with open(os.path.join(self.folder, name), "w") as file:
                file.write(text)
        arguments = ("--app", "table.py", "--port", "0", "--type", "forked", "--workers", "1")
        server = self.python("-m", "twisted_appserver", *arguments)
        url = await server.url()
        self.assertEqual(await self.get(f"{url}/static/a.txt"), b"text")
        self.assertEqual(await self.get(f"{url}/loaded/"), b'{"reactor":false}')
