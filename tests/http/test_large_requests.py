"""Bodies that functions read as they arrive: from every front end, in threads and worker processes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from socket import create_connection
from threading import Thread
from time import monotonic
from typing import Any
from weakref import ref

from twisted.internet import reactor
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.serving.test_command import CommandTestCase
from tests.support import uploads
from tests.support.executor_test_case import ExecutorTestCase
from tests.support.slow import slow
from tests.support.wire import Connection, connect, fetch, request
from twisted_appserver import AppResource, ProcessExecutor
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.executors.incoming_body import IncomingBody
from twisted_appserver.http import arriving_body
from twisted_appserver.http.site import AppSite
from twisted_appserver.settings import CHANNELS, Settings

BODY = os.urandom(1000) * 3000
DIGEST = {"size": len(BODY), "sha256": sha256(BODY).hexdigest(), "body": ""}
SMALL = 10_000  # --max-body


def chunks(target: str, body: bytes, size: int = 70_000) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def head(target: str, length: int) -> bytes:
    return f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


class ThreadedClock(Clock):
    """A clock with the threads of the reactor."""

    callFromThread = staticmethod(reactor.callFromThread)  # type: ignore[attr-defined]


class UploadTestCase(ExecutorTestCase):
    async def dispatchers(self, **options: Any) -> AsyncIterator[tuple[Any, Dispatcher]]:
        """Yield a dispatcher with threads, and one with worker processes."""
        executor: Any
        executor, _ = await self.threads(2)
        yield executor, self.dispatcher(executor, "threads", uploads.url_patterns, **options)
        executor = ProcessExecutor(reactor, "tests.support.uploads", 2)
        self.addCleanup(executor.stop)
        await executor.start()
        yield executor, self.dispatcher(executor, "processes", **options)

    def port(self, dispatcher: Dispatcher, channel: str = "llhttp") -> int:
        resource = AppResource(dispatcher, max_body=SMALL)
        site: Any = Site(Resource())
        site.resource.putChild(b"app", resource)
        if channel:
            site = AppSite(resource, reactor, Settings(channel=channel, max_body=SMALL))
        port = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    def path(self) -> str:
        return os.path.abspath(self.mktemp())

    async def noted(self, path: str) -> str:
        """Return what the function has written to a file, and remove the file."""
        await self.until(lambda: os.path.exists(path))
        with open(path) as file:
            text = file.read()
        os.remove(path)
        return text

    async def idle(self, executor: Any, dispatcher: Dispatcher) -> None:
        await self.until(lambda: not (executor.running or dispatcher.in_flight))


class FrontTests(UploadTestCase):
    async def test_long_body_arrives_whole(self) -> None:
        """With its length or in chunks, and the next request on the connection is answered too."""
        async for executor, dispatcher in self.dispatchers():
            for channel in (*CHANNELS, ""):
                connection = await connect(self.port(dispatcher, channel))
                target = "/app" * (not channel)
                answers = [
                    connection.send(request("POST", target + "/digest", BODY)),
                    connection.send(chunks(target + "/digest", BODY)),
                    connection.send(request("POST", target + "/digest", b"abc")),
                    connection.send(request("POST", target + "/whole", b"abc")),
                ]
                for answer in answers[:2]:
                    self.assertEqual((await answer).json, DIGEST)
                self.assertEqual((await answers[2]).json["size"], 3)
                self.assertEqual((await answers[3]).json, {"size": 3})
                await connection.close()
            await self.idle(executor, dispatcher)

    async def test_generator_sends_the_body_back(self) -> None:
        async for executor, dispatcher in self.dispatchers():
            for channel in (*CHANNELS, ""):
                connection = await connect(self.port(dispatcher, channel))
                answer = await connection.send(request("POST", "/app" * (not channel) + "/echo", BODY))
                self.assertTrue(answer.body == BODY)
                await connection.close()
            await self.idle(executor, dispatcher)

    async def test_body_beyond_the_limit_of_its_route_gets_413(self) -> None:
        async for executor, dispatcher in self.dispatchers():
            for channel in (*CHANNELS, ""):
                port, target = self.port(dispatcher, channel), "/app" * (not channel) + "/digest"
                body = bytes(uploads.LIMIT + 1)
                for data in (request("POST", target, body), chunks(target, body)):
                    connection = await connect(port)
                    answer = await connection.send(data)
                    self.assertEqual(answer.status, 413)
                    self.assertIn(f"longer than {uploads.LIMIT} bytes; max_stream", answer.json["detail"])
                    await connection.close()
            await self.idle(executor, dispatcher)


class ArrivalTests(UploadTestCase):
    """Over our own connection, which passes a body on while it arrives."""

    async def test_function_reads_before_the_rest_is_sent(self) -> None:
        async for _, dispatcher in self.dispatchers():
            path = self.path()
            connection = await connect(self.port(dispatcher))
            answer = connection.send(head(f"/begins?path={path}", 10) + b"first")
            self.assertEqual(await self.noted(path), "first")
            connection.transport.write(b"other")  # type: ignore[union-attr]
            self.assertEqual((await answer).json, {"rest": 5})
            await connection.close()

    async def test_function_that_does_not_read_stops_the_client(self) -> None:
        added: list[int] = []
        add = IncomingBody.add

        def count(body: IncomingBody, data: bytes) -> None:
            added.append(len(data))
            add(body, data)

        self.patch(IncomingBody, "add", count)
        async for _, dispatcher in self.dispatchers():
            added.clear()
            path, connection = self.path(), await connect(self.port(dispatcher))
            body = BODY * 20  # more than the buffers of both sockets take
            answer = connection.send(request("POST", f"/waits?path={path}", body))
            await self.noted(path)
            other = await connect(self.port(dispatcher))
            self.assertEqual((await other.send(request("POST", "/digest", BODY))).json, DIGEST)
            await other.close()
            self.assertLess(sum(added) - len(BODY), 300_000)
            open(path + ".go", "w").close()
            self.assertEqual((await answer).json["size"], len(body))
            await connection.close()

    async def test_client_that_disconnects_raises_an_exception_in_the_function(self) -> None:
        async for executor, dispatcher in self.dispatchers():
            path, connection = self.path(), await connect(self.port(dispatcher))
            connection.send(head(f"/begins?path={path}", 10) + b"first").addErrback(lambda _: None)
            self.assertEqual(await self.noted(path), "first")
            await connection.close()
            self.assertEqual(await self.noted(path), "ClientDisconnected 499")
            await self.idle(executor, dispatcher)
            self.assertEqual(executor.failed, 0)

    async def test_client_that_closes_its_side_too_early_gets_an_error(self) -> None:
        async for executor, dispatcher in self.dispatchers():
            path, connection = self.path(), await connect(self.port(dispatcher))
            answer = connection.send(head(f"/begins?path={path}", 10) + b"first")
            self.assertEqual(await self.noted(path), "first")
            connection.transport.loseWriteConnection()  # type: ignore[union-attr]
            self.assertEqual((await answer).status, 499)
            await connection.closed
            await self.idle(executor, dispatcher)

    async def test_malformed_chunk_gets_400(self) -> None:
        async for executor, dispatcher in self.dispatchers():
            path, connection = self.path(), await connect(self.port(dispatcher))
            begin = chunks(f"/begins?path={path}", b"first", 5).removesuffix(b"0\r\n\r\n")
            answer = connection.send(begin)
            self.assertEqual(await self.noted(path), "first")
            connection.transport.write(b"what?\r\n")  # type: ignore[union-attr]
            self.assertEqual((await answer).status, 400)
            await connection.closed
            await self.idle(executor, dispatcher)

    async def test_rest_that_the_function_leaves_is_discarded(self) -> None:
        """A short rest leaves the connection open; after a long one it is closed."""
        async for executor, dispatcher in self.dispatchers():
            port = self.port(dispatcher)
            connection = await connect(port)
            answers = [connection.send(request("POST", "/ignores", BODY[:150_000])) for _ in range(3)]
            for answer in answers:
                self.assertEqual((await answer).status, 200)
            answer = await connection.send(request("POST", "/ignores", BODY * 4))
            self.assertEqual((answer.status, answer.headers["connection"]), (200, "close"))
            await connection.closed
            await self.idle(executor, dispatcher)

    async def test_unread_body_is_not_awaited(self) -> None:
        async for _, dispatcher in self.dispatchers():
            connection = await connect(self.port(dispatcher))
            answer = await connection.send(head("/ignores", 10_000_000) + b"begin")
            self.assertEqual(answer.status, 200)
            await connection.close()

    async def test_client_waits_for_100_continue(self) -> None:
        async for _, dispatcher in self.dispatchers():
            path, connection = self.path(), await connect(self.port(dispatcher))
            begin = head(f"/begins?path={path}", 50_000).replace(
                b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"
            )
            connection.transport.write(begin)  # type: ignore[union-attr]
            await self.until(lambda: connection.unread.startswith(b"HTTP/1.1 100"))  # noqa: B023
            connection.unread = b""
            self.assertEqual((await connection.send(bytes(50_000))).json, {"rest": 49_995})
            await connection.close()

    async def test_worker_that_dies_while_it_reads_gets_502(self) -> None:
        async for executor, dispatcher in self.dispatchers():
            if isinstance(executor, ProcessExecutor):
                path, connection = self.path(), await connect(self.port(dispatcher))
                answer = connection.send(head(f"/waits?path={path}", 1_000_000) + bytes(100_000))
                os.kill(int(await self.noted(path)), 9)
                self.assertEqual((await answer).status, 502)
                await connection.close()

    async def test_nothing_is_left_in_memory(self) -> None:
        """Not even until the next garbage collection."""
        bodies: list[Any] = []
        end = IncomingBody.drop

        def remember(body: IncomingBody) -> None:
            bodies.append(ref(body))
            end(body)

        self.patch(IncomingBody, "drop", remember)
        async for executor, dispatcher in self.dispatchers():
            port, path = self.port(dispatcher), self.path()
            for data in (
                request("POST", "/digest", BODY),
                request("POST", "/ignores", BODY),
                head("/ignores", 9),
            ):
                connection = await connect(port)
                await connection.send(data)
                await connection.close()
            connection = await connect(port)
            connection.send(head(f"/begins?path={path}", 10) + b"first").addErrback(lambda _: None)
            await self.noted(path)
            await connection.close()
            await self.idle(executor, dispatcher)
            await self.until(lambda: bodies and not any(body() for body in bodies))
            bodies.clear()


class TimeTests(UploadTestCase):
    async def begin(self, clock: Any, target: str, check: Callable[..., Any]) -> None:
        async for executor, dispatcher in self.dispatchers(clock=clock, timeout=5):
            path, connection = self.path(), await connect(self.port(dispatcher))
            answer = connection.send(head(f"{target}?path={path}", 10_000_000) + b"first")
            self.assertEqual(await self.noted(path), "first")
            await check(connection, answer, path)
            await connection.close()
            await self.idle(executor, dispatcher)

    async def test_time_limit_applies_to_each_64_KB(self) -> None:
        clock = ThreadedClock()

        async def check(connection: Connection, answer: Any, path: str) -> None:
            for _ in range(4):
                before = pending().deadline
                connection.transport.write(bytes(130_000))  # type: ignore[union-attr]
                clock.advance(3)
                await self.until(lambda: pending().deadline > before)  # noqa: B023
            clock.advance(5)
            self.assertEqual((await answer).status, 504)

        def pending() -> Any:
            return next(iter(limit().calls))

        def limit() -> Any:
            return self.made.calls.limits[5.0]

        dispatcher = self.dispatcher

        def remember(*args: Any, **options: Any) -> Dispatcher:
            self.made = dispatcher(*args, **options)
            return self.made

        self.patch(self, "dispatcher", remember)
        await self.begin(clock, "/brief", check)

    async def test_stalling_client_gets_408(self) -> None:
        """After the idle time-out, if the call has a longer time limit, or none."""

        async def check(connection: Connection, answer: Any, path: str) -> None:
            (server,) = self.servers
            later = self.patch(arriving_body, "monotonic", lambda: monotonic() + 3600)
            server.timeoutConnection()
            later.restore()
            self.assertEqual(await self.noted(path), "HTTPError 408")
            self.assertEqual((await answer).status, 408)

        self.servers: list[Any] = []
        made = AppSite.connection_opened

        def remember(site: AppSite, connection: Any) -> None:
            self.servers[:] = [connection]
            made(site, connection)

        self.patch(AppSite, "connection_opened", remember)
        await self.begin(ThreadedClock(), "/begins", check)


def echo(port: int, size: int) -> int:
    """Send a body of zeros to /echo while reading it, and return the number of zeros that came back."""
    with create_connection(("127.0.0.1", port)) as connection:

        def send() -> None:
            connection.sendall(head("/echo", size))
            for _ in range(size // 1_000_000):
                connection.sendall(bytes(1_000_000))

        sender = Thread(target=send)
        sender.start()
        zeros, end = 0, b""
        while not end.endswith(b"\r\n0\r\n\r\n"):
            data = connection.recv(1_000_000)
            zeros += data.count(0)
            end = end[-7:] + data[-7:]
        sender.join()
    return zeros


class MemoryTests(CommandTestCase):
    SIZE = 200_000_000

    def memory(self, pid: int) -> int:
        """Return the resident memory of a process and its children, in bytes."""
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            children = [int(child) for child in file.read().split()]
        with open(f"/proc/{pid}/statm") as file:
            own = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return own + sum(map(self.memory, children))

    @slow
    async def test_memory_does_not_grow_with_the_body(self) -> None:
        """A body of any size, up and down again, takes at most 20 MB."""
        for server_type in ("threaded", "forked"):
            program = self.twistd("--app", "tests.support.uploads", "--port", "0", "--type", server_type)
            port, pid = await program.port(), program.transport.pid
            await fetch(port, "/whole")
            idle = most = self.memory(pid)
            answer = deferToThread(echo, port, self.SIZE)
            while not answer.called:
                most = max(most, self.memory(pid))
                await deferLater(reactor, 0.01)
            self.assertEqual(await answer, self.SIZE)
            self.assertLess(most - idle, 20_000_000, server_type)
            await self.stopped(program)
