"""Tests of L{http.connection}: checks that llhttp leaves to its caller, order, limits, repeated requests."""

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
from tests.support.wire import request
from twisted_appserver import AppResource, Call, InlineExecutor, Route, Router, ThreadExecutor
from twisted_appserver.access.credentials import Credentials
from twisted_appserver.access.request_guard import RequestGuard
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.http.connection import HTTPConnection
from twisted_appserver.http.known_requests import CAPACITY
from twisted_appserver.http.site import AppSite
from twisted_appserver.settings import Settings
from twisted_appserver.testing import Response

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
    """A transport in memory that only records that it should close."""

    def loseConnection(self) -> None:
        self.disconnecting = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Do nothing: there is no TCP."""


def talk(pieces: list[bytes], **options: Any) -> tuple[bytes, bool]:
    """Send bytes to a channel. Return its responses, and whether it closes the connection."""
    clock = Clock()
    channel = make_site(clock, **options).buildProtocol(None)
    transport = MemoryTransport()
    channel.makeConnection(transport)
    for piece in pieces:
        channel.dataReceived(piece)
    settle(clock)
    channel.setTimeout(None)
    return transport.value(), transport.disconnecting


def answers(data: bytes) -> list[Response]:
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
    """Invalid requests get their status, and then the connection is closed."""

    def test_invalid_request_gets_its_status_and_closes_the_connection(self) -> None:
        """The refusal is a problem document, and is sent after the response to the request before it."""
        for name, (data, status) in REFUSED.items():
            sent, closed = talk([REQUEST + data])
            first, second = answers(sent)
            self.assertEqual((name, first.status, first.json), (name, 200, {"number": 1}))
            self.assertEqual((name, second.status, second.json["status"]), (name, status, status))
            self.assertEqual((name, second.headers["connection"], closed), (name, "close", True))

    def test_data_after_a_refused_request_gets_no_response(self) -> None:
        """It is unknown where the next request begins."""
        sent, closed = talk([b"GET /x/1/ HTTP/1.1\r\n\r\n" + REQUEST, REQUEST])
        self.assertEqual(([each.status for each in answers(sent)], closed), ([400], True))


class MessageTests(SynchronousTestCase):
    """Messages of every form that HTTP/1.1 has."""

    def one(self, data: bytes) -> tuple[Response, bool]:
        sent, closed = talk([data])
        (answer,) = answers(sent)
        return answer, closed

    def test_chunks_are_joined(self) -> None:
        """Chunk extensions and trailers are ignored."""
        head = b"POST /echo/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer, closed = self.one(head + b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n")
        self.assertEqual((answer.json["body"], closed), ("abcde", False))

    def test_connection_stays_open_as_version_and_header_require(self) -> None:
        """
        HTTP/1.1 stays open unless the client sends "close"; HTTP/1.0 closes unless it sends "keep-alive".
        """
        for head, stays, told in (
            (b"GET /x/1/ HTTP/1.1\r\nHost: localhost\r\n", True, None),
            (b"GET /x/1/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", False, "close"),
            (b"GET /x/1/ HTTP/1.0\r\n", False, "close"),
            (b"GET /x/1/ HTTP/1.0\r\nConnection: keep-alive\r\n", True, "keep-alive"),
        ):
            answer, closed = self.one(head + b"\r\n")
            self.assertEqual((closed, answer.headers.get("connection")), (not stays, told), head)

    def test_absolute_target_works_like_a_path(self) -> None:
        """RFC 9112, section 3.2.2."""
        answer, _ = self.one(b"GET http://localhost/echo/?a=b HTTP/1.1\r\nHost: other\r\n\r\n")
        self.assertEqual(answer.json["path"], "/echo/")

    def test_100_continue_is_sent_unless_the_body_would_be_too_long(self) -> None:
        head = (
            b"POST /echo/ HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        )
        self.assertEqual(talk([head % 2]), (b"HTTP/1.1 100 Continue\r\n\r\n", False))
        sent, _ = talk([head % 2, b"ab"])
        self.assertEqual(answers(sent.partition(b"\r\n\r\n")[2])[0].json["body"], "ab")
        self.assertEqual(answers(talk([head % 2_000_000])[0])[0].status, 413)

    def test_offer_to_upgrade_is_ignored(self) -> None:
        """RFC 9110, section 7.8."""
        offer = b"GET /x/1/ HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
        sent, closed = talk([offer + REQUEST])
        self.assertEqual(([each.status for each in answers(sent)], closed), ([200, 200], False))

    def test_offer_to_upgrade_with_a_body_is_ignored_however_it_is_cut(self) -> None:
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

    def test_response_to_head_has_the_length_of_get_and_no_body(self) -> None:
        sent, _ = talk([REQUEST.replace(b"GET", b"HEAD")])
        self.assertTrue(sent.endswith(b"Content-Length: 12\r\n\r\n"), sent)

    @given(st.lists(st.integers(1, 60), max_size=8))
    def test_requests_may_arrive_in_any_pieces(self, lengths: list[int]) -> None:
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
    def test_random_bytes_after_valid_requests_do_no_harm(self, garbage: bytes, length: int) -> None:
        """The valid requests are answered; everything after them is refused."""
        data = REQUEST * 2 + garbage
        sent, _ = talk([data[i : i + length] for i in range(0, len(data), length)])
        statuses = [answer.status for answer in answers(sent)]
        self.assertEqual(statuses[:2], [200, 200])
        self.assertTrue(all(status >= 400 for status in statuses[2:]), statuses)


class KnownTests(SynchronousTestCase):
    """Header sections that were parsed before are not parsed again."""

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

    def test_known_headers_get_the_same_response_as_parsed_ones(self) -> None:
        """Whatever other requests arrived in between."""
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

    def test_known_headers_may_have_another_path_method_or_body(self) -> None:
        head = b"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n"
        self.send(b"POST /echo/ HTTP/1.1\r\n" + head + b'{"a":1}')
        (answer, _) = self.send(b"POST /echo/x/?b=2 HTTP/1.1\r\n" + head + b'{"c":3}')
        self.assertEqual((self.parsed, answer[1]), (1, b'{"b":"2","c":3,"a":"x"}'))

    def test_known_headers_are_parsed_unless_one_whole_request_arrives_alone(self) -> None:
        """A body in pieces, or a second request in the same data, is parsed."""
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

    def test_known_headers_that_are_refused_are_refused_again(self) -> None:
        data = request("GET", "/echo/1/", host="evil.example")
        for _ in range(3):
            self.assertEqual(self.send(data)[0][0], 421)
        self.assertEqual(self.parsed, 1)

    def test_number_and_size_of_known_headers_are_limited(self) -> None:
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
    """A request that equals an earlier one byte for byte is not routed again."""

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

    def send(self, data: bytes, host: str = "192.0.2.1") -> Response:
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

    def test_repeated_request_is_performed_each_time_with_its_own_id(self) -> None:
        """Each call also has the address of its own client."""
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

    def test_request_that_differs_in_one_byte_is_routed(self) -> None:
        for _ in range(4):
            self.assertEqual(self.send(request("GET", "/note/a/")).json["name"], "a")
        self.assertEqual(self.send(request("GET", "/note/b/")).json["name"], "b")
        self.assertEqual(self.send(request("GET", "/note/a/", host="evil.example")).status, 421)
        self.assertEqual(self.send(request("POST", "/note/a/")).json["name"], "a")
        self.assertEqual(self.send(request("PUT", "/note/a/")).status, 405)

    def test_changes_to_a_call_do_not_reach_later_ones(self) -> None:
        """Each call has its own deadline, too."""
        for _ in range(5):
            self.assertEqual(self.send(request("GET", "/spoil/a/")).json, {"name": "a"})
            self.clock.advance(1)
        self.assertEqual([call.deadline for call in self.calls], [5.0, 6.0, 7.0, 8.0, 9.0])

    def test_repeated_request_may_have_another_body_of_the_same_length(self) -> None:
        """A body of another length makes another request."""
        for name in ("aa", "bb", "cc", "dd", "eee", "fff"):
            data = request("POST", "/take/", b'{"name":"%b"}' % name.encode(), (http_cases.JSON,))
            for _ in range(2):
                self.assertEqual(self.send(data).json, {"name": name})
        self.assertEqual(self.matched, 6)

    def test_repeated_request_uses_a_table_that_was_reloaded(self) -> None:
        data = request("GET", "/note/a/")
        for age in ("old", "new"):
            self.dispatcher.router = self.router(age)
            self.assertEqual([self.send(data).json["age"] for _ in range(5)], [age] * 5)

    def test_repeated_request_must_authenticate_once_credentials_are_required(self) -> None:
        data = request("GET", "/note/a/")
        self.assertEqual([self.send(data).status for _ in range(4)], [200] * 4)
        self.guard.require(Credentials(b"secret"))
        self.assertEqual([self.send(data).status for _ in range(2)], [401] * 2)

    def test_repeated_request_gets_503_while_too_many_calls_wait(self) -> None:
        data = request("GET", "/note/a/")
        self.assertEqual([self.send(data).status for _ in range(4)], [200] * 4)
        self.dispatcher.executors["inline"] = Full()
        self.dispatcher.max_pending = 0
        self.assertEqual([self.send(data).status for _ in range(2)], [503] * 2)


class SocketTests(TestCase):
    """A connection on a real socket."""

    timeout = 30

    async def serve(self, **options: Any) -> int:
        site = make_site(reactor, **options)
        port = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
        site.ports = [port]
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def test_1000_pipelined_requests_are_answered_in_order(self) -> None:
        """Their functions take random times."""
        connection = await wire.connect(await self.serve())
        sent = [connection.send(wire.request("GET", f"/nap/{number}/")) for number in range(1000)]
        got = [answer.json["number"] for answer in await gatherResults(sent)]
        self.assertTrue(got == list(range(1000)), got[:20])
        await connection.close()

    async def test_headers_that_arrive_slowly_get_408_at_the_deadline(self) -> None:
        connection = await wire.connect(await self.serve(header_timeout=0.3))
        answer = connection.send(b"GET /x/1/ HTTP/1.1\r\n")
        for _ in range(2):
            await deferLater(reactor, 0.1, connection.transport.write, b"A: b\r\n")
        self.assertEqual((await answer).status, 408)
        await connection.closed

    async def test_idle_connection_is_closed_after_the_idle_time(self) -> None:
        """And not before."""
        connection = await wire.connect(await self.serve(idle_timeout=0.5))
        since = time.monotonic()
        await connection.send(REQUEST)
        await connection.closed
        self.assertGreater(time.monotonic() - since, 0.4)

    async def test_client_can_read_413_while_it_still_sends_its_body(self) -> None:
        connection = await wire.connect(await self.serve(max_body=1000))
        body = b"x" * 3_000_000
        answer = await connection.send(wire.request("POST", "/echo/", body))
        self.assertEqual(answer.status, 413)
        self.assertIn("--max-body", answer.json["detail"])
        await connection.close()

    async def test_client_that_does_not_read_delays_its_further_requests(self) -> None:
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

    async def test_connections_beyond_the_limit_wait_until_one_is_closed(self) -> None:
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
