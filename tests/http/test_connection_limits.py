"""Unusual clients: they disconnect, send garbage, continue after a refusal, or send tiny pieces."""

from __future__ import annotations

import os
from itertools import count
from typing import Any

from hypothesis import settings
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, serverFromString
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.http.test_connection_transports import comparable, over_tls
from tests.http.test_resource import resource
from tests.support import http_cases
from tests.support.channel_memory import begin, pieces, settle, talk
from tests.support.properties import given, st
from tests.support.slow import slow
from tests.support.wire import Connection, connect, read, request
from twisted_appserver import AppResource, Call, InlineExecutor, Route
from twisted_appserver.http.site import AppSite
from twisted_appserver.settings import CHANNELS, Settings

METHODS = ("GET", "POST", "PUT")


def empty() -> dict[str, Any]:
    return {}


class PieceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.app = resource()
        self.app.dispatcher._count = count(10**9)  # makes all ids equally long
        self.addCleanup(self.app.dispatcher.stop)

    def answer(self, case: http_cases.HTTPCase, parts: list[bytes]) -> Any:
        clock = Clock()
        channel, transport = begin(self.app, clock, max_body=http_cases.MAX_BODY)
        for part in parts:
            channel.dataReceived(part)
        settle(clock)
        channel.setTimeout(None)
        found = read(transport.value(), case.method)
        self.assertIsNotNone(found, f"{case.name}: {transport.value()!r}")
        assert found is not None
        return comparable(found[0]), found[1]

    @slow
    def test_request_cut_in_two_gets_the_same_response(self) -> None:
        """Each request of the table, cut at every byte."""
        for case in http_cases.CASES:
            data = case.data
            whole = self.answer(case, [data])
            for at in (*range(1, min(len(data), 300)), *range(max(1, len(data) - 5), len(data))):
                self.assertEqual(self.answer(case, [data[:at], data[at:]]), whole, (case.name, at))

    def test_request_byte_by_byte_gets_the_same_response(self) -> None:
        for case in http_cases.CASES:
            if len(case.data) < 2_000:
                parts = [case.data[i : i + 1] for i in range(len(case.data))]
                self.assertEqual(self.answer(case, parts), self.answer(case, [case.data]), case.name)


def message(number: int, form: str, body: bytes) -> bytes:
    """Return a valid request for C{/number}."""
    path = f"/{number}"
    if form == "chunks":
        size = 1 + number % 5
        chunks = [body[i : i + size] for i in range(0, len(body), size)]
        made = b"".join(b"%X;e=1\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
        head = request("POST", path, headers=(("Transfer-Encoding", "chunked"),))
        return head + made + b"0\r\nX-Trailer: 1\r\n\r\n"
    if form == "absolute":
        return request("PUT", "http://localhost" + path, body)
    if form == "upgrade":
        return request("POST", path, body, (("Connection", "upgrade"), ("Upgrade", "h2c")))
    if form == "expect":
        return request("POST", path, body, (("Expect", "100-continue"),))
    if form == "old":
        return b"GET %s HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" % path.encode()
    return request("POST", path, body)


FORMS = st.sampled_from(["chunks", "absolute", "upgrade", "expect", "old", "plain"])
GARBAGE = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            [b"GET ", b"/", b" HTTP/1.1", b"\r\n", b"\n", b"Host: a", b"Host: ", b"Content-Length: 5", b"\0",
             b"Transfer-Encoding: chunked", b"Transfer-Encoding: x", b"0\r\n\r\n", b"5\r\n", b";", b"\t",
             b" a", b"Connection: close", b"Upgrade: x", b"Connection: upgrade", b"Expect: 100-continue",
             b"\xff", b"POST ", b"CONNECT a:1 HTTP/1.1", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"x" * 17_000]
        ),
        max_size=12,
    ).map(b"".join),
)  # fmt: skip


class FuzzTests(SynchronousTestCase):
    @slow
    @settings(max_examples=400)
    @given(
        st.lists(st.tuples(FORMS, st.binary(max_size=40), st.sampled_from([0, 0, 0.001, 1])), max_size=8),
        GARBAGE,
        st.lists(st.integers(0, 90), max_size=30),
    )
    def test_valid_requests_before_garbage_are_answered_in_order(
        self, messages: list[tuple[str, bytes, float]], garbage: bytes, lengths: list[int]
    ) -> None:
        """No exception escapes, in whatever pieces the data arrives and however long each function takes."""
        clock, begun = Clock(), list[tuple[str, bytes]]()

        def function(call: Call) -> Any:
            begun.append((call.path, call.body))
            number = int(call.path[1:]) if call.path[1:].isdecimal() else -1
            delay = messages[number][2] if 0 <= number < len(messages) else 0
            answer: Deferred[Any] = Deferred()
            if delay:
                clock.callLater(delay, answer.callback, {"path": call.path})
            else:
                answer.callback({"path": call.path})
            return answer

        app = AppResource([Route("(?s:.*)", function, METHODS)], clock, InlineExecutor())
        channel, transport = begin(app, clock)
        good = [message(number, form, body) for number, (form, body, _) in enumerate(messages)]
        for piece in pieces(b"".join(good) + garbage, lengths):
            channel.dataReceived(piece)
            clock.advance(0.0005)
        for _ in range(len(messages) + 3):
            clock.advance(1)
            settle(clock)
        channel.connectionLost(Failure(ConnectionLost()))
        settle(clock)
        app.dispatcher.stop()
        self.assertEqual(clock.getDelayedCalls(), [])
        data, paths = transport.value(), []
        while data:
            data = data.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
            found = read(data)
            if found is None:
                break
            paths.append((found[0].status, found[0].json.get("path")))
            data = found[1]
        expected = [(200, f"/{number}") for number in range(len(messages))]
        self.assertEqual(paths[: len(messages)], expected)
        bodies = [b"" if form == "old" else body for form, body, _ in messages]
        self.assertEqual([body for _, body in begun[: len(messages)]], bodies)


class ConductTests(SynchronousTestCase):
    """Requests and clients that are out of the ordinary."""

    def test_connect_gets_405_and_the_connection_stays_open(self) -> None:
        ask = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"
        app = AppResource([(".*", empty)], Clock(), InlineExecutor())
        clock = Clock()
        channel, transport = begin(app, clock)
        channel.dataReceived(ask + request("GET", "/x"))
        settle(clock)
        first, rest = read(transport.value()) or self.fail()
        self.assertEqual((first.status, transport.disconnecting), (405, False))
        second, rest = read(rest) or self.fail()
        self.assertEqual((second.status, rest), (200, b""))
        channel.setTimeout(None)
        app.dispatcher.stop()

    def test_error_is_sent_after_the_responses_before_it(self) -> None:
        clock, waiting = Clock(), list[Deferred[Any]]()

        def function() -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[-1]

        app = AppResource([("/x", function)], clock, InlineExecutor())
        channel, transport = begin(app, clock)
        channel.dataReceived(request("GET", "/x") * 3 + b"nonsense\r\n\r\n" + request("GET", "/x"))
        for number in range(3):
            settle(clock)
            self.assertEqual((len(waiting), transport.disconnecting), (number + 1, False))
            self.assertEqual(transport.value().count(b"HTTP/1.1 200"), number)
            self.assertNotIn(b"HTTP/1.1 400", transport.value())
            waiting[number].callback({})
        settle(clock)
        self.assertTrue(transport.disconnecting)
        self.assertEqual((transport.value().count(b"HTTP/1.1 400"), len(waiting)), (1, 3))
        channel.setTimeout(None)
        app.dispatcher.stop()

    def test_lost_connection_cancels_its_call_and_begins_no_other(self) -> None:
        """No timer is left."""
        clock, cancelled, begun = Clock(), list[int](), list[int]()

        def function() -> Deferred[Any]:
            begun.append(1)
            return Deferred(lambda _: cancelled.append(1))

        app = AppResource([Route("/x", function, timeout=0)], clock, InlineExecutor())
        channel, transport = begin(app, clock)
        channel.dataReceived(request("GET", "/x") * 5)
        settle(clock)
        channel.connectionLost(Failure(ConnectionLost()))
        settle(clock)
        self.assertEqual((cancelled, begun, app.dispatcher.in_flight), ([1], [1], 0))
        self.assertEqual((transport.value(), clock.getDelayedCalls()), (b"", []))

    def test_connection_lost_right_after_its_response_leaves_nothing(self) -> None:
        clock = Clock()
        app = AppResource([Route("/x", empty, timeout=0)], clock, InlineExecutor())
        channel, _ = begin(app, clock)
        channel.dataReceived(request("GET", "/x") * 5)
        channel.connectionLost(Failure(ConnectionLost()))
        settle(clock)
        self.assertEqual((app.dispatcher.in_flight, clock.getDelayedCalls()), (0, []))

    def test_limits_of_path_and_headers_are_exact(self) -> None:
        for length, status in ((8_000, 200), (8_192, 200), (8_193, 414), (20_000, 414)):
            talked = talk([request("GET", "/" + "x" * (length - 1))])
            self.assertEqual([answer.status for answer in talked.answers], [status], length)
            talked = talk([request("GET", "/known"), request("GET", "/?" + "x" * (length - 2))])
            self.assertEqual([answer.status for answer in talked.answers], [200, status], length)
        for length, status in ((16_000, 200), (16_400, 431), (60_000, 431)):
            talked = talk([request("GET", "/", headers=(("A", "x" * length),))])
            self.assertEqual([answer.status for answer in talked.answers], [status], length)

    def test_limit_of_the_body_is_exact(self) -> None:
        """For a declared length and for chunks."""
        for length, status in ((1_000, 200), (1_001, 413)):
            plain = request("POST", "/", b"x" * length)
            chunks = request("POST", "/", headers=(("Transfer-Encoding", "chunked"),))
            chunks += b"%x\r\n%s\r\n0\r\n\r\n" % (length, b"x" * length)
            for data in (plain, chunks):
                talked = talk([data], max_body=1_000)
                self.assertEqual([answer.status for answer in talked.answers], [status], length)
                self.assertEqual(talked.closed, status == 413)


class SocketTests(TestCase):
    timeout = 60

    async def serve(self, description: str = "tcp:0:interface=127.0.0.1", **options: Any) -> int:
        async def function(call: Call) -> dict[str, int]:
            return {"length": len(call.body)}

        app = AppResource([Route("/x", function, METHODS)], reactor, InlineExecutor())
        self.addCleanup(app.dispatcher.stop)
        site = AppSite(app, reactor, Settings(**options))
        port = await serverFromString(reactor, description).listen(site)
        site.ports = [port]
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def test_client_that_goes_on_sending_can_read_the_refusal(self) -> None:
        """Over TCP and TLS."""
        tls, wrap = over_tls(os.path.abspath(self.mktemp()))
        for description in ("tcp:0:interface=127.0.0.1", tls):
            port = await self.serve(description, max_body=1_000)
            endpoint: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
            if description == tls:
                endpoint = wrap(endpoint)
            head, _, _ = request("POST", "/x", b"x" * 3_000_000).partition(b"\r\n\r\n")
            for _ in range(5):
                connection = await connectProtocol(endpoint, Connection())
                answer = connection.send(head + b"\r\n\r\n")
                for _ in range(30):
                    connection.transport.write(b"x" * 100_000)
                    await deferLater(reactor, 0)
                self.assertEqual((await answer).status, 413, description)
                if not connection.closed.called:
                    await connection.close()
        for warning in self.flushWarnings():
            self.assertIn("Passing pyOpenSSL", warning["message"])

    async def test_large_upload_in_small_pieces_arrives_whole(self) -> None:
        """The connection stays open for the next one."""
        connection = await connect(await self.serve(max_body=10_000_000))
        for _ in range(2):
            answer = await connection.send(request("POST", "/x", b"x" * 5_000_000))
            self.assertEqual(answer.json, {"length": 5_000_000})
        await connection.close()

    async def test_silent_client_is_disconnected_after_the_idle_limit(self) -> None:
        connection = await connect(await self.serve(idle_timeout=0.2))
        await connection.closed
        self.assertEqual(connection.unread, b"")

    async def test_half_a_head_gets_408(self) -> None:
        connection = await connect(await self.serve(header_timeout=0.2))
        answer = await connection.send(b"GET /x HTTP/1.1\r\nHost: local")
        self.assertEqual((answer.status, answer.headers["connection"]), (408, "close"))
        await connection.closed

    async def test_half_a_body_gets_408(self) -> None:
        for channel in CHANNELS:
            connection = await connect(await self.serve(idle_timeout=0.3, channel=channel))
            answer = await connection.send(request("POST", "/x", b"hello")[:-2])
            self.assertEqual((answer.status, answer.headers["connection"]), (408, "close"), channel)
            await connection.closed
