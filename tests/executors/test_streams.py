"""Tests of streams: replies that come in parts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.serving.test_command import CommandTestCase
from tests.support import streaming
from tests.support.executor_test_case import ExecutorTestCase, get, json_of
from tests.support.slow import slow
from tests.support.wire import Connection, connect, exchange, request
from twisted_appserver import AppResource, ProcessExecutor
from twisted_appserver.core.application import Application
from twisted_appserver.executors.stream import Stream
from twisted_appserver.http.site import AppSite
from twisted_appserver.settings import Settings
from twisted_appserver.testing import Client

APPLICATION = "tests.support.streaming"


def lines(body: bytes) -> list[Any]:
    return [json.loads(line) for line in body.splitlines()]


class Reader:
    """Reads a stream as a transport would."""

    def __init__(self, stream: Stream) -> None:
        self.parts: list[bytes] = []
        self.ended: Deferred[str] = Deferred()
        stream.begin(self.parts.append, self.ended.callback)


class StreamTests(ExecutorTestCase):
    """Over threads and worker processes alike."""

    async def both(self, check: Callable[..., Any], **options: Any) -> None:
        for name in ("threads", "processes"):
            if name == "threads":
                executor: Any
                executor, _ = await self.threads(2)
            else:
                executor = ProcessExecutor(reactor, APPLICATION, 2)
                self.addCleanup(executor.stop)
                await executor.start()
            dispatcher = self.dispatcher(executor, name, streaming.url_patterns, **options)
            await check(executor, dispatcher)
            await self.until(lambda: not dispatcher.in_flight)  # noqa: B023
            await self.until(lambda: not executor.running)  # noqa: B023
            self.assertEqual(executor.pending, 0)

    async def whole(self, dispatcher: Any, target: str, /, **query: Any) -> tuple[list[Any], str]:
        reply = await dispatcher.dispatch(get(target, **query))
        self.assertIsInstance(reply.body, Stream, str(reply))
        reader = Reader(reply.body)
        failure = await reader.ended
        return lines(b"".join(reader.parts)), failure

    async def test_every_item_arrives_in_order(self) -> None:
        """Every item arrives, in order, however many there are; no item makes an empty answer."""

        async def check(executor: Any, dispatcher: Any) -> None:
            for count in (0, 1, 7, 8, 9, 1000):
                items, failure = await self.whole(dispatcher, "/counts", n=count)
                self.assertEqual((items, failure), ([{"number": n} for n in range(count)], ""))
            await self.until(lambda: (executor.completed, executor.failed) == (6, 0))

        await self.both(check)

    async def test_item_arrives_before_the_next_is_made(self) -> None:
        """An item arrives before the next one is made, and other calls run meanwhile."""

        async def check(_: Any, dispatcher: Any) -> None:
            path = os.path.abspath(self.mktemp())
            reply = await dispatcher.dispatch(get("/steps", path=path))
            reader = Reader(reply.body)
            for number in range(3):
                await self.until(lambda: len(reader.parts) == number + 1)  # noqa: B023
                self.assertEqual((await dispatcher.dispatch(get("/plain", a=number))).status, 200)
                open(f"{path}.{number}", "w").close()
            self.assertEqual(await reader.ended, "")

        await self.both(check)

    async def test_nothing_is_made_while_nobody_reads(self) -> None:
        """No item is made while the client does not read. When it disconnects, the generator is closed."""

        async def check(_: Any, dispatcher: Any) -> None:
            path = os.path.abspath(self.mktemp())

            def made() -> int:
                with open(path) as file:
                    return int(file.read() or 0)

            reply = await dispatcher.dispatch(get("/endless", path=path))
            reader = Reader(reply.body)
            await self.until(lambda: len(reader.parts) > 100)
            reply.body.pauseProducing()
            read, before = len(reader.parts), -1
            while before != made():
                before = made()
                await deferLater(reactor, 0.1)
            self.assertLessEqual(made(), read + 20)
            reply.body.resumeProducing()
            await self.until(lambda: len(reader.parts) > read + 100)
            reply.body.stopProducing()
            await self.until(lambda: os.path.exists(path + ".closed"))

        await self.both(check)

    async def test_paused_generator_of_a_lost_client_is_closed(self) -> None:
        """A generator that waits for its reader is closed when the reader leaves."""

        async def check(_: Any, dispatcher: Any) -> None:
            path = os.path.abspath(self.mktemp())
            reply = await dispatcher.dispatch(get("/endless", path=path))
            await self.until(lambda: len(reply.body) > 50_000)
            reply.body.stopProducing()
            await self.until(lambda: os.path.exists(path + ".closed"))

        await self.both(check)

    async def test_generator_of_a_cancelled_call_is_closed(self) -> None:
        """The generator is closed when the call is cancelled before its reply begins."""

        async def check(executor: Any, dispatcher: Any) -> None:
            path = os.path.abspath(self.mktemp())
            reply = dispatcher.dispatch(get("/begins", path=path))
            await self.until(lambda: executor.running)
            reply.addErrback(lambda _: None)
            reply.cancel()
            open(path + ".go", "w").close()
            await self.until(lambda: os.path.exists(path + ".closed"))

        await self.both(check)

    async def test_failure_after_an_item_breaks_off(self) -> None:
        """A failure before the first item is an ordinary answer; one after it breaks off, and is logged."""

        async def check(executor: Any, dispatcher: Any) -> None:
            reply = await dispatcher.dispatch(get("/early"))
            self.assertEqual((reply.status, json_of(reply)["detail"]), (418, "before the first item"))
            logged = self.logged()
            reply = await dispatcher.dispatch(get("/yields_reply_first"))
            self.assertEqual(reply.status, 500)
            self.assertEqual(len([line for line in logged if "a Reply is inside a result or was" in line]), 1)
            for path, why in (
                ("/late", "after the first item"),
                ("/bad", "no equivalent in JSON"),
                ("/yields_reply", "a Reply is inside a result or was yielded"),
                ("/yields_event_inside", "an Event is inside a result or an item"),
            ):
                logged = self.logged()
                items, failure = await self.whole(dispatcher, path)
                self.assertEqual(items, [{"number": 0}])
                self.assertIn(why, failure)
                self.assertEqual(len([line for line in logged if why in line]), 1)
            await self.until(lambda: (executor.completed, executor.failed) == (1, 5))

        await self.both(check)

    async def test_time_limit_applies_to_each_part(self) -> None:
        """The time limit is for each part; where one does not come, the answer breaks off."""

        async def check(executor: Any, dispatcher: Any) -> None:
            path = os.path.abspath(self.mktemp())
            items, failure = await self.whole(dispatcher, "/stalls", path=path)
            self.assertEqual(len(items), 1)
            self.assertIn("within the time limit", failure)
            if isinstance(executor, ProcessExecutor):
                await self.until(lambda: items[0]["pid"] not in executor.pids)
            else:
                self.assertEqual(executor.running, 1)
            open(path, "w").close()

        await self.both(check)

    async def test_stream_may_outlast_the_time_limit(self) -> None:
        """As long as parts come, an answer may take longer than the limit."""
        executor, _ = await self.threads(1)
        clock = Clock()
        dispatcher = self.dispatcher(executor, "threads", streaming.url_patterns, clock, timeout=0.4)
        path = os.path.abspath(self.mktemp())
        reply = await dispatcher.dispatch(get("/steps", path=path))
        reader = Reader(reply.body)
        for number in range(3):
            await self.until(lambda: len(reader.parts) > number)  # noqa: B023
            clock.advance(0.3)
            open(f"{path}.{number}", "w").close()
        self.assertEqual(await reader.ended, "")
        self.assertGreater(clock.seconds(), 0.8)

    async def test_dead_worker_breaks_its_stream_off(self) -> None:
        """The death of a worker cuts off the response of its own call, and no other."""
        executor = ProcessExecutor(reactor, APPLICATION, 1)
        self.addCleanup(executor.stop)
        await executor.start()
        dispatcher = self.dispatcher(executor, "processes", streaming.url_patterns)
        items, failure = await self.whole(dispatcher, "/dies")
        self.assertEqual(items, [{"number": 0}])
        self.assertIn("status 3", failure)
        self.assertEqual((await dispatcher.dispatch(get("/pid"))).status, 200)

    async def test_stop_breaks_streams_off(self) -> None:
        """An executor that stops breaks them off."""
        executor, dispatcher = await self.threads(1)
        dispatcher = self.dispatcher(executor, "threads", streaming.url_patterns)
        reply = await dispatcher.dispatch(get("/endless", path=os.path.abspath(self.mktemp())))
        reader = Reader(reply.body)
        await executor.stop()
        self.assertIn("stopping", await reader.ended)
        await self.until(lambda: not executor.running)


class FrontTests(ExecutorTestCase):
    """Over HTTP: our channel, twisted.web's, and a stock Site below a prefix."""

    async def ports(self) -> list[tuple[int, str]]:
        executor, _ = await self.threads(2)
        resource = AppResource(self.dispatcher(executor, "threads", streaming.url_patterns))
        root = Resource()
        root.putChild(b"app", resource)
        found = []
        for site, prefix in (
            (AppSite(resource, reactor, Settings()), ""),
            (AppSite(resource, reactor, Settings(channel="twisted")), ""),
            (Site(root), "/app"),
        ):
            port = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
            self.addCleanup(port.stopListening)
            found.append((port.getHost().port, prefix))
        return found

    async def test_content_types_of_streams(self) -> None:
        """JSON lines; server-sent events if the client accepts them; a Reply's own type; HEAD has no body."""
        events = (("Accept", "text/event-stream"),)
        for port, prefix in await self.ports():
            for target, headers, kind, body in (
                ("/counts?n=2", (), "application/x-ndjson", b'{"number":0}\n{"number":1}\n'),
                ("/counts?n=1", events, "text/event-stream", b'data: {"number":0}\n\nid: end-of-stream\n\n'),
                ("/counts?n=0", (), "application/x-ndjson", b""),
                ("/table", (), "text/csv", b"0,0\n1,1\n2,4\n"),
                ("/reactor?n=100", (), "application/x-ndjson", None),
                ("/reactor_counts?n=100", (), "application/x-ndjson", None),
                ("/reactor_table", (), "text/csv", b"0,0\n1,1\n2,4\n"),
            ):
                answer = await exchange(port, request("GET", prefix + target, headers=headers))
                self.assertEqual((answer.status, answer.headers["content-type"]), (200, kind))
                self.assertEqual(answer.headers["transfer-encoding"], "chunked")
                self.assertIn("x-request-id", answer.headers)
                if body is None:
                    self.assertEqual(lines(answer.body), [{"number": n} for n in range(100)])
                else:
                    self.assertEqual(answer.body, body)
            answer = await exchange(port, request("HEAD", prefix + "/counts?n=2"))
            self.assertEqual((answer.status, answer.body), (200, b""))

    async def test_pipelined_requests_are_answered_after_a_stream(self) -> None:
        """Pipelined requests are answered after the stream, in order."""
        for port, prefix in await self.ports():
            connection = await connect(port)
            many = [connection.send(request("GET", f"{prefix}/counts?n={n}")) for n in (3, 0, 5)]
            last = connection.send(request("GET", f"{prefix}/plain?a=1"))
            self.assertEqual([len(lines((await each).body)) for each in many], [3, 0, 5])
            self.assertEqual((await last).json, {"a": 1})
            await connection.close()

    async def test_http_1_0_gets_no_chunks(self) -> None:
        """HTTP/1.0 has no chunks: the end of the connection ends the body."""
        for port, prefix in await self.ports():
            connection = await connect(port)
            connection.transport.write(  # type: ignore[union-attr]
                f"GET {prefix}/counts?n=2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode()
            )
            await connection.closed
            head, _, body = connection.unread.partition(b"\r\n\r\n")
            self.assertNotIn(b"chunked", head.lower())
            self.assertEqual(body, b'{"number":0}\n{"number":1}\n')

    async def test_failed_stream_has_no_last_chunk(self) -> None:
        """The last chunk is missing, so the client notices the failure."""
        for target in ("/late", "/reactor_late"):
            for port, prefix in await self.ports():
                connection = await connect(port)
                connection.transport.write(request("GET", prefix + target))  # type: ignore[union-attr]
                await connection.closed
                self.assertIn(b'{"number":0}', connection.unread)
                self.assertNotIn(b"\r\n0\r\n\r\n", connection.unread)

    async def test_unread_stream_stops_the_generator(self) -> None:
        """A client that does not read stops the generator; one that goes ends it."""
        for port, prefix in await self.ports():
            path = os.path.abspath(self.mktemp())
            connection: Connection = await connect(port)
            transport: Any = connection.transport
            transport.pauseProducing()
            transport.write(request("GET", f"{prefix}/endless?path={path}"))
            await self.until(lambda: os.path.exists(path))  # noqa: B023

            def made(path: str = path) -> int:
                with open(path) as file:
                    return int(file.read() or 0)

            before = -1
            while before != made():
                before = made()
                await deferLater(reactor, 0.2)
            self.assertFalse(os.path.exists(path + ".closed"))
            await connection.close()
            await self.until(lambda: os.path.exists(path + ".closed"))  # noqa: B023


class ServerTests(CommandTestCase):
    @slow
    async def test_stopping_server_finishes_streams(self) -> None:
        """A stopping server sends a response that has begun to its end."""
        for server_type in ("threaded", "forked"):
            program = self.twistd("--app", APPLICATION, "--port", "0", "--type", server_type)
            path = os.path.abspath(self.mktemp())
            connection = await connect(await program.port())
            answer = connection.send(request("GET", f"/steps?path={path}"))
            while b'"number":0' not in connection.unread:
                await deferLater(reactor, 0.01)
            program.signal("TERM")
            await program.line("Port .* Closed")
            for number in range(3):
                open(f"{path}.{number}", "w").close()
            self.assertEqual(len(lines((await answer).body)), 3)
            self.assertIn(await program.ended, (0, -15))


class MemoryTests(SynchronousTestCase):
    def test_client_for_tests_reads_streams(self) -> None:
        """The client for tests reads them too."""
        client = Client(Application.parse(APPLICATION).load())
        self.assertEqual(lines(client.get("/counts?n=20").body), [{"number": n} for n in range(20)])
        self.assertEqual(lines(client.get("/reactor?n=20").body), [{"number": n} for n in range(20)])
        answer = client.get("/counts?n=1", headers={"Accept": "text/event-stream"})
        self.assertEqual(answer.text, 'data: {"number":0}\n\nid: end-of-stream\n\n')
