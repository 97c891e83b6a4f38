"""Tests of L{http.connection}: checks that llhttp leaves to its caller, order, limits, known requests."""

from __future__ import annotations

import random
import re
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support import cases, http_cases, wire
from tests.support.channel_memory import settle
from tests.support.slow import slow
from tests.support.wire import request
from twisted_appserver import AppResource, Call, InlineExecutor, Route, Router, ThreadExecutor
from twisted_appserver.access.credentials import Credentials
from twisted_appserver.access.request_guard import RequestGuard
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.http.connection import HTTPConnection
from twisted_appserver.http.known_requests import CAPACITY
from twisted_appserver.http.site import AppSite
from twisted_appserver.settings import Settings

REQUEST = b"GET /x/1/ HTTP/1.1\r\nHost: localhost\r\n\r\n"


def item(number: int) -> dict[str, int]:
    return {"number": number}


def nap(number: int) -> dict[str, int]:
    time.sleep(random.Random(number).random() * 0.002)
    return {"number": number}


def echo(call: Call) -> dict[str, Any]:
    return {"method": call.method, "path": call.path, "body": call.body.decode("latin-1")}


def large() -> dict[str, str]:
    return {"text": "x" * 1_000_000}


PATTERNS = [
    Route(r"/x/(?P<number>)/", item, executor="inline"),
    (r"/nap/(?P<number>)/", nap),
    Route(r"/echo/", echo, methods=("GET", "POST", "PUT"), executor="inline"),
    Route(r"/large/", large, executor="inline"),
]


def make_site(clock: Any, **options: Any) -> AppSite:
    executors = {"inline": InlineExecutor(), "threads": ThreadExecutor(clock, 4)}
    dispatcher = Dispatcher(clock, Router(PATTERNS), executors, "threads", timeout=0)
    settings = Settings(**options)
    return AppSite(AppResource(dispatcher, max_body=settings.max_body), clock, settings)


class MemoryTransport(StringTransport):
    """A transport in memory that only notes that it should close."""

    def loseConnection(self) -> None:
        self.disconnecting = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Do nothing: there is no TCP."""


def talk(pieces: list[bytes], **options: Any) -> tuple[bytes, bool]:
    """What a channel answers to some bytes, and whether it closes the connection."""
    clock = Clock()
    channel = make_site(clock, **options).buildProtocol(None)
    transport = MemoryTransport()
    channel.makeConnection(transport)
    for piece in pieces:
        channel.dataReceived(piece)
    settle(clock)
    channel.setTimeout(None)
    return transport.value(), transport.disconnecting


def answers(data: bytes) -> list[wire.Answer]:
    found = []
    while one := wire.read(data):
        answer, data = one
        found.append(answer)
    return found


REFUSED = {
    "no Host": (b"GET /x/1/ HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (b"GET /x/1/ HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
    "a malformed Host": (b"GET /x/1/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "another version": (b"GET /x/1/ HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400),
    "a folded line": (b"GET /x/1/ HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n", 400),
    "bare LF": (b"GET /x/1/ HTTP/1.1\nHost: localhost\n\n", 400),
    "two lengths": (
        b"POST /echo/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        400,
    ),
    "length and coding": (
        b"POST /echo/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "another coding": (
        b"POST /echo/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        501,
    ),
    "chunks in 1.0": (b"POST /echo/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "Host in a trailer": (
        b"POST /echo/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: a\r\n\r\n",
        400,
    ),
    "a long path": (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    "a long header": (b"GET /x/1/ HTTP/1.1\r\nHost: localhost\r\nA: " + b"x" * 20000 + b"\r\n\r\n", 431),
    "many headers": (b"GET /x/1/ HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 600 + b"\r\n", 431),
    "a header without end": (b"GET /x/1/ HTTP/1.1\r\nHost: localhost\r\nA: " + b"x" * 40000, 431),
    "a declared length": (
        b"POST /echo/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n",
        413,
    ),
    "a counted length": (
        b"POST /echo/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        + (b"8000\r\n" + b"x" * 0x8000 + b"\r\n") * 40,
        413,
    ),
    "a chunk extension without end": (
        b"POST /echo/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 200000,
        400,
    ),
    "a tunnel with a body": (
        b"CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
        b"Content-Length: 2\r\n\r\nab",
        400,
    ),
    "an upgrade with a body of two lengths": (
        b"POST /echo/ HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
}


class RefusedTests(SynchronousTestCase):
    """What is no good request gets its status, and then the connection is closed."""

    def test_refused(self) -> None:
        """Each case is refused as a problem document, after the answer to the request before it."""
        for name, (data, status) in REFUSED.items():
            sent, closed = talk([REQUEST + data])
            first, second = answers(sent)
            self.assertEqual((name, first.status, first.json), (name, 200, {"number": 1}))
            self.assertEqual((name, second.status, second.json["status"]), (name, status, status))
            self.assertEqual((name, second.headers["connection"], closed), (name, "close", True))

    def test_nothing_after(self) -> None:
        """Data after a refused request gets no response: it is unknown where the next request begins."""
        sent, closed = talk([b"GET /x/1/ HTTP/1.1\r\n\r\n" + REQUEST, REQUEST])
        self.assertEqual(([each.status for each in answers(sent)], closed), ([400], True))


class MessageTests(SynchronousTestCase):
    """Messages of every form that HTTP/1.1 has."""

    def one(self, data: bytes) -> tuple[wire.Answer, bool]:
        sent, closed = talk([data])
        (answer,) = answers(sent)
        return answer, closed

    def test_chunks(self) -> None:
        """A body in chunks is put together; extensions and trailers are passed over."""
        head = b"POST /echo/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer, closed = self.one(head + b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n")
        self.assertEqual((answer.json["body"], closed), ("abcde", False))

    def test_persistence(self) -> None:
        """HTTP/1.1 stays open unless asked to close, HTTP/1.0 closes unless asked to stay open."""
        for head, stays, told in (
            (b"GET /x/1/ HTTP/1.1\r\nHost: localhost\r\n", True, None),
            (b"GET /x/1/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", False, "close"),
            (b"GET /x/1/ HTTP/1.0\r\n", False, "close"),
            (b"GET /x/1/ HTTP/1.0\r\nConnection: keep-alive\r\n", True, "keep-alive"),
        ):
            answer, closed = self.one(head + b"\r\n")
            self.assertEqual((closed, answer.headers.get("connection")), (not stays, told), head)

    def test_target(self) -> None:
        """The absolute form is as good as the other (RFC 9112, section 3.2.2)."""
        answer, _ = self.one(b"GET http://localhost/echo/?a=b HTTP/1.1\r\nHost: other\r\n\r\n")
        self.assertEqual(answer.json["path"], "/echo/")

    def test_continue(self) -> None:
        """A client that waits for 100 Continue gets it, unless its body would be too long."""
        head = (
            b"POST /echo/ HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        )
        self.assertEqual(talk([head % 2]), (b"HTTP/1.1 100 Continue\r\n\r\n", False))
        sent, _ = talk([head % 2, b"ab"])
        self.assertEqual(answers(sent.partition(b"\r\n\r\n")[2])[0].json["body"], "ab")
        self.assertEqual(answers(talk([head % 2_000_000])[0])[0].status, 413)

    def test_upgrade(self) -> None:
        """An offer to upgrade is ignored (RFC 9110, section 7.8)."""
        offer = b"GET /x/1/ HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
        sent, closed = talk([offer + REQUEST])
        self.assertEqual(([each.status for each in answers(sent)], closed), ([200, 200], False))

    def test_upgrade_with_body(self) -> None:
        """An offer to upgrade is ignored in a request with a body too, however the data is cut."""
        head = b"POST /echo/ HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
        for rest in (
            b"Content-Length: 4\r\n\r\nGET ",
            b"Transfer-Encoding: chunked\r\n\r\n4\r\nGET \r\n0\r\n\r\n",
        ):
            data = head + rest + REQUEST
            for at in range(1, len(data)):
                sent, closed = talk([data[:at], data[at:]])
                first, second = answers(sent)
                self.assertEqual((first.json["body"], second.status, closed), ("GET ", 200, False), at)

    def test_head(self) -> None:
        """HEAD has the length of GET, and no body."""
        sent, _ = talk([REQUEST.replace(b"GET", b"HEAD")])
        self.assertTrue(sent.endswith(b"Content-Length: 12\r\n\r\n"), sent)

    @given(st.lists(st.integers(1, 60), max_size=8))
    def test_pieces(self, lengths: list[int]) -> None:
        """Requests give the same answers in whatever pieces they arrive."""
        data = REQUEST + (
            b"POST /echo/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nab\r\n0\r\n\r\nPUT /echo/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
        )
        pieces, rest = [], data
        for length in lengths:
            pieces.append(rest[:length])
            rest = rest[length:]
        sent, closed = talk([*pieces, rest])
        bodies = [answer.json for answer in answers(sent)]
        self.assertEqual([body.get("body") for body in bodies], [None, "ab", "abc"])
        self.assertFalse(closed)

    @given(st.binary(max_size=300), st.integers(1, 50))
    def test_garbage(self, garbage: bytes, length: int) -> None:
        """After good requests come random bytes: the good ones are answered, and nothing breaks."""
        data = REQUEST * 2 + garbage
        sent, _ = talk([data[i : i + length] for i in range(0, len(data), length)])
        statuses = [answer.status for answer in answers(sent)]
        self.assertEqual(statuses[:2], [200, 200])
        self.assertTrue(all(status >= 400 for status in statuses[2:]), statuses)


class KnownTests(SynchronousTestCase):
    """Requests whose headers were parsed before, and are not parsed again."""

    def setUp(self) -> None:
        self.clock, self.parsed = Clock(), 0
        inline = {"inline": InlineExecutor()}
        dispatcher = Dispatcher(self.clock, Router(cases.url_patterns), inline, "inline", RequestGuard(), 0)
        settings = Settings(max_body=http_cases.MAX_BODY)
        self.site = AppSite(AppResource(dispatcher, max_body=settings.max_body), self.clock, settings)
        feed = HTTPConnection._feed

        def counted(channel: HTTPConnection, data: bytes, begin: int = 0) -> None:
            self.parsed += 1
            feed(channel, data, begin)

        self.patch(HTTPConnection, "_feed", counted)

    def send(self, *pieces: bytes) -> list[Any]:
        channel, transport = self.site.buildProtocol(None), MemoryTransport()
        channel.makeConnection(transport)
        for piece in pieces:
            channel.dataReceived(piece)
        settle(self.clock)
        channel.setTimeout(None)
        channel.connectionLost()
        found = []
        for answer in answers(transport.value()):
            varies = ("date", "x-request-id", "content-length" if b"instance" in answer.body else "")
            headers = {name: value for name, value in answer.headers.items() if name not in varies}
            body = re.sub(rb'"(instance|client)":"[^"]*"', b"", answer.body)
            found.append((answer.status, body, headers))
        return [*found, transport.disconnecting]

    def test_same(self) -> None:
        """Each gets the answer that it got when it was parsed, whatever came in between."""
        first = []
        for case in http_cases.CASES:
            self.site.known_requests.headers.clear()
            first.append(self.send(case.data))
        self.assertEqual(self.parsed, len(first))
        for _ in range(2):
            self.parsed = 0
            for case, before in zip(http_cases.CASES, first, strict=True):
                self.assertEqual(self.send(case.data), before, case.name)
        self.assertLess(self.parsed, len(first) - 20)

    def test_other_path(self) -> None:
        """It is the headers that are known, not the path, the method or the body."""
        head = b"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n"
        self.send(b"POST /echo/ HTTP/1.1\r\n" + head + b'{"a":1}')
        (answer, _) = self.send(b"POST /echo/x/?b=2 HTTP/1.1\r\n" + head + b'{"c":3}')
        self.assertEqual((self.parsed, answer[1]), (1, b'{"b":"2","c":3,"a":"x"}'))

    def test_not_alone(self) -> None:
        """More or less than one whole message is parsed: a body in pieces, a second request behind."""
        data = request("POST", "/echo/", b'{"a":1}', (http_cases.JSON,))
        self.send(data)
        for pieces in (
            (data[:-1], data[-1:]),
            (data + data,),
            (data[:10], data[10:]),
            (data, data[:9], data[9:]),
        ):
            self.parsed = 0
            *got, closed = self.send(*pieces)
            expected = b"".join(pieces).count(b"POST")
            self.assertEqual([status for status, _, _ in got], [200] * expected)
            self.assertGreater(self.parsed, 0)
            self.assertFalse(closed)

    def test_refused(self) -> None:
        """Headers that the guard refuses are refused again."""
        data = request("GET", "/echo/1/", host="evil.example")
        for _ in range(3):
            self.assertEqual(self.send(data)[0][0], 421)
        self.assertEqual(self.parsed, 1)

    def test_bounded(self) -> None:
        """No more than so many are remembered, and no large ones."""
        for number in range(CAPACITY + 10):
            for _ in range(3):
                self.send(request("GET", "/echo/1/", headers=(("X-Number", str(number)),)))
            self.assertLessEqual(len(self.site.known_requests.headers), CAPACITY)
            self.assertLessEqual(len(self.site.known_requests.calls), CAPACITY)
        self.assertGreater(len(self.site.known_requests.calls), 0)
        self.site.known_requests.headers.clear()
        self.site.known_requests.calls.clear()
        for _ in range(2):
            self.send(request("GET", "/echo/1/", headers=(("X-Long", "x" * CAPACITY),)))
        self.assertEqual((self.site.known_requests.headers, self.site.known_requests.calls), ({}, {}))


class Full(InlineExecutor):
    """An executor for which too many calls wait."""

    pending = 5000
    now = None  # type: ignore[assignment]


class AgainTests(SynchronousTestCase):
    """A request that equals an earlier one to the last byte is not routed again."""

    def setUp(self) -> None:
        self.clock, self.calls, self.matched = Clock(), list[Call](), 0
        self.guard = RequestGuard()
        inline = {"inline": InlineExecutor()}
        self.dispatcher = Dispatcher(self.clock, self.router("old"), inline, "inline", self.guard, 5.0)
        self.dispatcher.observers.append(lambda call, _: self.calls.append(call))
        self.addCleanup(self.dispatcher.stop)
        self.site = AppSite(AppResource(self.dispatcher), self.clock, Settings())
        match = Router.match

        def counted(router: Router, method: str, path: str) -> Any:
            self.matched += 1
            return match(router, method, path)

        self.patch(Router, "match", counted)

    def router(self, age: str) -> Router:
        def note(name: str) -> dict[str, str]:
            return {"name": name, "age": age}

        def spoil(call: Call, name: str) -> dict[str, str]:
            call.groups["name"] = "spoilt"
            return {"name": name}

        take = (r"/take/", lambda name, other="": {"name": name})
        return Router([take, (r"/note/(?P<name>)/", note), (r"/spoil/(?P<name>)/", spoil)])

    def send(self, data: bytes, host: str = "192.0.2.1") -> wire.Answer:
        channel, transport = (
            self.site.buildProtocol(None),
            MemoryTransport(peerAddress=IPv4Address("TCP", host, 1)),
        )
        channel.makeConnection(transport)
        channel.dataReceived(data)
        settle(self.clock)
        channel.setTimeout(None)
        channel.connectionLost()
        (answer,) = answers(transport.value())
        return answer

    def test_again(self) -> None:
        """It is performed each time, with its own id and client; what it was given is its own."""
        data = request("GET", "/note/a/")
        got = []
        for host in ["192.0.2.1"] * 4 + ["192.0.2.2"]:
            got.append(self.send(data, host))
            self.clock.advance(1)
        self.assertEqual([answer.json for answer in got], [{"name": "a", "age": "old"}] * 5)
        self.assertEqual((self.matched, len(self.calls)), (3, 5))  # parsed, then known, then seen
        self.assertEqual([call.client for call in self.calls], ["192.0.2.1"] * 4 + ["192.0.2.2"])
        self.assertEqual([call.arrived for call in self.calls], [0.0, 1.0, 2.0, 3.0, 4.0])
        ids = [call.request_id for call in self.calls]
        self.assertEqual((len(set(ids)), [answer.headers["x-request-id"] for answer in got]), (5, ids))

    def test_other(self) -> None:
        """One byte makes another request of it."""
        for _ in range(4):
            self.assertEqual(self.send(request("GET", "/note/a/")).json["name"], "a")
        self.assertEqual(self.send(request("GET", "/note/b/")).json["name"], "b")
        self.assertEqual(self.send(request("GET", "/note/a/", host="evil.example")).status, 421)
        self.assertEqual(self.send(request("POST", "/note/a/")).json["name"], "a")
        self.assertEqual(self.send(request("PUT", "/note/a/")).status, 405)

    def test_spoilt(self) -> None:
        """What a function does to its call, no later one sees. Each has its own time limit."""
        for _ in range(5):
            self.assertEqual(self.send(request("GET", "/spoil/a/")).json, {"name": "a"})
            self.clock.advance(1)
        self.assertEqual([call.deadline for call in self.calls], [5.0, 6.0, 7.0, 8.0, 9.0])

    def test_other_body(self) -> None:
        """The body may be another one, of the same length; other lengths are other requests."""
        for name in ("aa", "bb", "cc", "dd", "eee", "fff"):
            data = request("POST", "/take/", b'{"name":"%b"}' % name.encode(), (http_cases.JSON,))
            for _ in range(2):
                self.assertEqual(self.send(data).json, {"name": name})
        self.assertEqual(self.matched, 6)

    def test_new_table(self) -> None:
        """Once the application was loaded again, the new table answers."""
        data = request("GET", "/note/a/")
        for age in ("old", "new"):
            self.dispatcher.router = self.router(age)
            self.assertEqual([self.send(data).json["age"] for _ in range(5)], [age] * 5)

    def test_credentials(self) -> None:
        """Once everybody must show who he is, this one must too."""
        data = request("GET", "/note/a/")
        self.assertEqual([self.send(data).status for _ in range(4)], [200] * 4)
        self.guard.require(Credentials(b"secret"))
        self.assertEqual([self.send(data).status for _ in range(2)], [401] * 2)

    def test_refused(self) -> None:
        """A known request gets 503 as well while too many calls wait."""
        data = request("GET", "/note/a/")
        self.assertEqual([self.send(data).status for _ in range(4)], [200] * 4)
        self.dispatcher.executors["inline"] = Full()
        self.assertEqual([self.send(data).status for _ in range(2)], [503] * 2)


class SocketTests(TestCase):
    """A channel on a real socket."""

    timeout = 30

    async def serve(self, **options: Any) -> int:
        site = make_site(reactor, **options)
        port = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
        site.ports = [port]
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    @slow
    async def test_order(self) -> None:
        """1,000 pipelined requests whose functions take random times are answered in order."""
        connection = await wire.connect(await self.serve())
        sent = [connection.send(wire.request("GET", f"/nap/{number}/")) for number in range(1000)]
        got = [answer.json["number"] for answer in await gatherResults(sent)]
        self.assertTrue(got == list(range(1000)), got[:20])
        await connection.close()

    async def test_headers_in_time(self) -> None:
        """Headers that trickle are cut off at the deadline, with the reason, and however they trickle."""
        connection = await wire.connect(await self.serve(header_timeout=0.3))
        answer = connection.send(b"GET /x/1/ HTTP/1.1\r\n")
        for _ in range(2):
            await deferLater(reactor, 0.1, connection.transport.write, b"A: b\r\n")
        self.assertEqual((await answer).status, 408)
        await connection.closed

    async def test_idle(self) -> None:
        """A connection without a request is closed after the idle time, not before."""
        connection = await wire.connect(await self.serve(idle_timeout=0.5))
        since = time.monotonic()
        await connection.send(REQUEST)
        await connection.closed
        self.assertGreater(time.monotonic() - since, 0.4)

    async def test_too_long(self) -> None:
        """Who sends too much can read why while still sending."""
        connection = await wire.connect(await self.serve(max_body=1000))
        body = b"x" * 3_000_000
        answer = await connection.send(wire.request("POST", "/echo/", body))
        self.assertEqual(answer.status, 413)
        await connection.close()

    async def test_not_read(self) -> None:
        """A client that does not read keeps its further requests from being begun."""
        begun: list[int] = []
        connection = await wire.connect(await self.serve())
        connection.transport.pauseProducing()
        self.patch(InlineExecutor, "now", _counting(begun, InlineExecutor.now))
        sent = [connection.send(wire.request("GET", "/large/")) for _ in range(100)]
        await deferLater(reactor, 0.5, lambda: None)
        self.assertLess(len(begun), 50)
        connection.transport.resumeProducing()
        self.assertEqual({answer.status for answer in await gatherResults(sent)}, {200})
        self.assertEqual(len(begun), 100)
        await connection.close()

    async def test_many(self) -> None:
        """Connections beyond the limit wait until others are closed."""
        port = await self.serve(max_connections=2)
        first, second = await wire.connect(port), await wire.connect(port)
        await gatherResults([first.send(REQUEST), second.send(REQUEST)])
        third = await wire.connect(port)  # the system's queue takes it
        answer = third.send(REQUEST)
        await deferLater(reactor, 0.2, lambda: None)
        self.assertFalse(answer.called)
        await first.close()
        self.assertEqual((await answer).status, 200)
        await second.close()
        await third.close()


def _counting(begun: list[int], now: Any) -> Any:
    def counted(self: InlineExecutor, call: Call) -> Any:
        begun.append(1)
        return now(self, call)

    return counted
