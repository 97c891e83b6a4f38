"""Tests of server-sent events: what is sent, and how a stream ends for an C{EventSource}."""

from __future__ import annotations

import os
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests import eventing
from tests.wire import Answer, Connection, connect, request
from twisted_appserver import Event, make_service
from twisted_appserver.events import END, event, line

ACCEPT = ("Accept", "text/event-stream")
LAST = ("Last-Event-ID", END)


class EventTests(SynchronousTestCase):
    def test_events(self) -> None:
        """Fields in their lines, data in one line, and an empty line at the end."""
        self.assertEqual(b"".join(map(event, eventing.EVENTS)), eventing.SENT)
        self.assertEqual(event(Event({}, id=0, event="ä")), "event: ä\nid: 0\ndata: {}\n\n".encode())

    def test_lines(self) -> None:
        """JSON lines have the data alone."""
        self.assertEqual(b"".join(map(line, eventing.EVENTS)), eventing.LINES)

    def test_wrong(self) -> None:
        """What would break the stream cannot be made."""
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
        self.assertRaises(ValueError, event, Event(float("nan")))
        self.assertRaises(TypeError, event, Event(object()))
        self.assertRaises(ValueError, event, msgspec.structs.replace(Event({}), data={1: 1, "1": 1}))


class ServerTests(TestCase):
    """Real servers, of both types and channels."""

    timeout = 60

    async def serve(self, **options: Any) -> int:
        service = make_service(port=0, app="tests.eventing", **options)
        service.startService()
        self.addCleanup(service.stopService)
        await service.started
        port: int = service.ports[0].getHost().port
        return port

    async def get(self, connection: Connection, target: str, *headers: tuple[str, str]) -> Answer:
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
        """Without ids the end has one; a client that has it gets 204, unless it reads JSON lines."""
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
        """With ids the function goes on where the client was, and ends by yielding nothing."""
        events = [b'id: %d\ndata: {"n":%d}\n\n' % (number, number) for number in range(3)]
        for last, sent in ((), events), ((("Last-Event-ID", "0"),), events[1:]):
            answer = await self.get(connection, target, ACCEPT, *last)
            self.assertEqual((answer.status, answer.body), (200, b"".join(sent)), target)
        answer = await self.get(connection, target, ACCEPT, ("Last-Event-ID", "2"))
        self.assertEqual((answer.status, answer.body), (204, b""), target)

    async def check_not_called(self, connection: Connection) -> None:
        """A function whose stream is finished is not called again."""
        path = os.path.abspath(self.mktemp())
        await self.get(connection, f"/noted?path={path}", ACCEPT)
        await self.get(connection, f"/noted?path={path}", ACCEPT, LAST)
        with open(path) as file:
            self.assertEqual(file.read(), "begun closed ")

    async def test_threads(self) -> None:
        await self.check()

    async def test_twisted_channel(self) -> None:
        await self.check(channel="twisted")

    async def test_processes(self) -> None:
        await self.check(server_type="forked", workers=1)

    async def test_broken(self) -> None:
        """A stream that breaks off has no closing id, so that the browser comes back."""
        connection = await connect(await self.serve())
        sent = connection.send(request("GET", "/broken", headers=(ACCEPT,)))
        await self.assertFailure(sent, ConnectionError)
        self.assertIn(b'data: {"n":0}\n\n', connection.unread)
        self.assertNotIn(b"id:", connection.unread.lower().replace(b"x-request-id:", b""))
        self.flushLoggedErrors()
