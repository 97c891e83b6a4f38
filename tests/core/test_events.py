"""Tests of server-sent events: what is sent, and how a stream ends for an C{EventSource}."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from math import inf
from typing import Any

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.server import Site

from tests.support import eventing
from tests.support.wire import Connection, connect, request
from twisted_appserver import AppResource, Event, InlineExecutor, make_service
from twisted_appserver.core.call import Call
from twisted_appserver.core.events import END_ID, accepts_events, encode_event, encode_line
from twisted_appserver.dispatch import keep_alive as keepalive
from twisted_appserver.executors import stream
from twisted_appserver.executors.stream import Stream
from twisted_appserver.testing import Response

ACCEPT = ("Accept", "text/event-stream")
LAST = ("Last-Event-ID", END_ID)


class EventTests(SynchronousTestCase):
    def test_event_has_one_line_for_each_field(self) -> None:
        """Each field has its line, data is on one line, and an empty line ends the event."""
        self.assertEqual(b"".join(map(encode_event, eventing.EVENTS)), eventing.SENT)
        self.assertEqual(encode_event(Event({}, id=0, event="ä")), "event: ä\nid: 0\ndata: {}\n\n".encode())

    def test_json_lines_contain_only_the_data(self) -> None:
        self.assertEqual(b"".join(map(encode_line, eventing.EVENTS)), eventing.LINES)

    def test_accept_header_selects_events(self) -> None:
        """A client gets events if its Accept header names them, in any case, and not with the weight 0."""
        for accept, expected in (
            ("text/event-stream", True), ("Text/Event-Stream", True), ("text/html, text/event-stream", True),
            ("text/event-stream;q=0.1", True), ("text/event-stream ; charset=utf-8 ; Q=1.000", True),
            ("text/event-stream;q=0, text/html", False), ("text/html, text/event-stream;q=0", False),
            ("text/event-stream; Q=0.000", False), ("TEXT/EVENT-STREAM;q=0.", False),
            ("text/event-stream-x", False), ("x-text/event-stream", False), ("text/*", False), ("*/*", False),
            ("", False), ("text/html;a=text/event-stream", False),
        ):  # fmt: skip
            call = Call("GET", "/", raw_headers=((b"accept", accept.encode()),))
            self.assertEqual(accepts_events(call), expected, accept)
        lines = ((b"accept", b"text/html"), (b"accept", b"text/event-stream"))
        self.assertTrue(accepts_events(Call("GET", "/", raw_headers=lines)))
        self.assertFalse(accepts_events(Call("GET", "/")))

    def test_event_that_would_break_the_stream_is_refused(self) -> None:
        for fields in ({"event": "a\nb"}, {"id": "a\r"}, {"id": "a\0"}, {"retry": -1}):
            self.assertRaises(ValueError, Event, {}, **fields)
        for fields in (
            {"event": 1},
            {"id": 1.5},
            {"id": True},
            {"retry": "1"},
            {"retry": False},
            {"comment": b"x"},
        ):
            self.assertRaises(TypeError, Event, {}, **fields)
        self.assertRaises(ValueError, encode_event, Event(float("nan")))
        self.assertRaises(TypeError, encode_event, Event(object()))
        self.assertRaises(ValueError, encode_event, msgspec.structs.replace(Event({}), data={1: 1, "1": 1}))


class KeepAliveTests(SynchronousTestCase):
    """Streams are kept alive; in memory, with a clock."""

    def setUp(self) -> None:
        self.clock, self.waiting = Clock(), Deferred[dict[str, int]]()
        self.patch(stream, "SHARE", inf)  # on a busy machine, streams would pause until the clock advances

        async def events() -> AsyncIterator[Any]:
            yield {"n": 0}
            yield await self.waiting

        self.app = AppResource([("/events", events)], self.clock, InlineExecutor())
        self.addCleanup(self.app.dispatcher.stop)

    def connection(self, method: str = "GET") -> tuple[Any, StringTransport]:
        channel: Any = Site(self.app, reactor=self.clock).buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(request(method, "/events", headers=(ACCEPT,)))
        return channel, transport

    def beats(self) -> list[Any]:
        return [call for call in self.clock.getDelayedCalls() if call.getTime() - self.clock.seconds() <= 15]

    def test_comment_is_sent_every_15_seconds(self) -> None:
        """A comment is sent every 15 seconds until the stream ends."""
        _, transport = self.connection()
        for number in range(3):
            self.assertEqual(transport.value().count(b":\n\n"), number)
            self.clock.advance(15)
        self.waiting.callback({"n": 1})
        self.assertTrue(transport.value().endswith(b"id: end-of-stream\n\n\r\n0\r\n\r\n"), transport.value())
        self.clock.advance(60)
        self.assertEqual(transport.value().count(b":\n\n"), 3)
        self.assertEqual(self.app.dispatcher.in_flight, 0)

    def test_comments_do_not_pile_up(self) -> None:
        """No comments are sent to a client that does not read."""
        _, transport = self.connection()
        transport.producer.pauseProducing()  # type: ignore[union-attr]
        self.clock.advance(15)
        self.assertNotIn(b":\n\n", transport.value())

    def test_comments_end_when_the_client_disconnects(self) -> None:
        """Comments also end after a HEAD request."""
        channel, _ = self.connection()
        channel.connectionLost(Failure(ConnectionDone()))
        self.waiting = Deferred()
        self.connection("HEAD")
        self.clock.pump([15, 15])
        self.assertEqual(self.beats(), [])

    def test_comments_end_although_the_function_goes_on(self) -> None:
        """Comments end when the client disconnects, even if the function still runs in its thread."""
        stream, written = Stream(int, bool), list[bytes]()
        keepalive.keep_alive(self.clock, stream)
        stream.begin(written.append, str)
        self.clock.advance(15)
        stream.stopProducing()
        self.clock.advance(15)
        self.assertEqual((written, self.clock.getDelayedCalls()), ([b":\n\n"], []))


class ServerTests(TestCase):
    """Events from real servers of both types, through both channels."""

    timeout = 60

    async def serve(self, **options: Any) -> int:
        service = make_service(port=0, app="tests.support.eventing", **options)
        service.startService()
        self.addCleanup(service.stopService)
        await service.started
        port: int = service.ports[0].getHost().port
        return port

    async def get(self, connection: Connection, target: str, *headers: tuple[str, str]) -> Response:
        return await connection.send(request("GET", target, headers=headers))

    async def check(self, **options: Any) -> None:
        connection = await connect(await self.serve(**options))
        try:
            for target in ("/finite", "/finite_on_reactor", "/inline/finite", "/returned"):
                await self.check_finite(connection, target)
            for target in ("/numbered", "/numbered_on_reactor", "/inline/numbered"):
                await self.check_numbered(connection, target)
            for target in ("/empty", "/empty_on_reactor", "/inline/empty"):
                answer = await self.get(connection, target, ACCEPT)
                self.assertEqual((answer.status, answer.body), (204, b""), target)
                answer = await self.get(connection, target)
                self.assertEqual((answer.status, answer.body), (200, b""), target)
            await self.check_not_called(connection)
        finally:
            await connection.close()

    async def check_finite(self, connection: Connection, target: str) -> None:
        """A stream without ids ends with one. A client that sends it gets 204, unless it reads JSON lines."""
        answer = await self.get(connection, target, ACCEPT)
        self.assertEqual((answer.status, answer.body), (200, eventing.SENT + eventing.CLOSED), target)
        self.assertEqual(answer.headers["content-type"], "text/event-stream")
        again = await self.get(connection, target, ACCEPT, LAST)
        self.assertEqual((again.status, again.body), (204, b""), target)
        self.assertNotIn("content-type", again.headers)
        other = await self.get(connection, target, ACCEPT, ("Last-Event-ID", "5"))
        self.assertEqual(other.body, answer.body)
        lines = await self.get(connection, target, LAST)
        self.assertEqual((lines.status, lines.body), (200, eventing.LINES), target)

    async def check_numbered(self, connection: Connection, target: str) -> None:
        """With ids, the function continues where the client was, and ends by yielding nothing."""
        events = [b'id: %d\ndata: {"n":%d}\n\n' % (number, number) for number in range(3)]
        for last, sent in ((), events), ((("Last-Event-ID", "0"),), events[1:]):
            answer = await self.get(connection, target, ACCEPT, *last)
            self.assertEqual((answer.status, answer.body), (200, b"".join(sent)), target)
        answer = await self.get(connection, target, ACCEPT, ("Last-Event-ID", "2"))
        self.assertEqual((answer.status, answer.body), (204, b""), target)

    async def check_not_called(self, connection: Connection) -> None:
        """The function of a finished stream is not called again."""
        path = os.path.abspath(self.mktemp())
        await self.get(connection, f"/noted?path={path}", ACCEPT)
        await self.get(connection, f"/noted?path={path}", ACCEPT, LAST)
        with open(path) as file:
            self.assertEqual(file.read(), "begun closed ")

    async def test_threads_send_events(self) -> None:
        await self.check()

    async def test_the_channel_of_twisted_sends_events(self) -> None:
        await self.check(channel="twisted")

    async def test_worker_processes_send_events(self) -> None:
        await self.check(server_type="forked", workers=1)

    async def check_kept_alive(self, **options: Any) -> None:
        """Comments are sent between the events of a slow function, but not in JSON lines or other text."""
        self.patch(keepalive, "EVERY", 0.02)
        port = await self.serve(**options)
        for target, headers, comments in (("/slow", (ACCEPT,), 3), ("/slow", (), 0), ("/own", (ACCEPT,), 0)):
            path = os.path.abspath(self.mktemp())
            connection = await connect(port)
            sent = connection.send(request("GET", f"{target}?path={path}", headers=headers))
            while b"0" not in connection.unread.partition(b"\r\n\r\n")[2]:
                await deferLater(reactor, 0.01)
            while connection.unread.count(b":\n\n") < comments:
                await deferLater(reactor, 0.01)
            with open(path, "w"):
                pass
            body = (await sent).body
            await connection.close()
            if comments:
                self.assertEqual(
                    body.replace(b":\n\n", b""), b'data: {"n":0}\n\ndata: {"n":1}\n\n' + eventing.CLOSED
                )
            else:
                self.assertIn(body, (b'{"n":0}\n{"n":1}\n', b"data: pie01ces\n\n"))

    async def test_stream_from_threads_is_kept_alive(self) -> None:
        await self.check_kept_alive()

    async def test_stream_from_worker_processes_is_kept_alive(self) -> None:
        await self.check_kept_alive(server_type="forked", workers=1, channel="twisted")

    async def test_broken_stream_has_no_closing_id(self) -> None:
        """A stream that breaks off has no closing id, so the browser reconnects."""
        connection = await connect(await self.serve())
        sent = connection.send(request("GET", "/broken", headers=(ACCEPT,)))
        await self.assertFailure(sent, ConnectionError)
        self.assertIn(b'data: {"n":0}\n\n', connection.unread)
        self.assertNotIn(b"id:", connection.unread.lower().replace(b"x-request-id:", b""))
        self.flushLoggedErrors()
