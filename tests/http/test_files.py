"""Files as bodies: over every transport and from every executor, slow readers, and files that change."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    UNIXClientEndpoint,
    connectProtocol,
    serverFromString,
)
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Site

from tests.http.test_connection_transports import over_tls
from tests.support.executor_test_case import ExecutorTestCase, get
from tests.support.wire import Connection, read, request
from twisted_appserver import AppResource, InlineExecutor, ProcessExecutor, Reply, Router
from twisted_appserver.core.file_body import file_body
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.executors import file_reply
from twisted_appserver.executors.file_stream import BLOCK, SHORTER, FileStream
from twisted_appserver.http import response_writer
from twisted_appserver.http.site import AppSite
from twisted_appserver.settings import CHANNELS, Settings
from twisted_appserver.testing import BrokenStream, Client

SIZE = 3_000_000


def send(path: str) -> Reply:
    return Reply(Path(path))


async def send_async(path: str) -> Reply:
    return Reply(Path(path))


url_patterns = ((r"/send/", send), (r"/async/", send_async))


def opened(path: str) -> int:
    """Return how many descriptors of this process are open on a file."""
    count = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the descriptor of the listing itself
            count += os.readlink(f"/proc/self/fd/{number}").removesuffix(" (deleted)") == path
    return count


class FilesTestCase(ExecutorTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.path = os.path.join(folder.name, "file.bin")
        self.content = os.urandom(1000) * (SIZE // 1000)
        Path(self.path).write_bytes(self.content)

    async def listen(
        self, dispatcher: Dispatcher, place: str = "tcp:0:interface=127.0.0.1", channel: str = ""
    ) -> Any:
        resource = AppResource(dispatcher)
        site: Any = Site(resource)
        if channel:
            site = AppSite(resource, reactor, Settings(channel=channel))
        port = await serverFromString(reactor, place).listen(site)
        self.addCleanup(port.stopListening)
        return port

    def tcp(self, port: Any) -> Any:
        return TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port, timeout=10)

    async def check(self, endpoint: Any, target: str = "/send/") -> None:
        """Get the whole file and a part of it over one connection."""
        connection = await connectProtocol(endpoint, Connection())
        target += f"?path={self.path}"
        whole = await connection.send(request("GET", target))
        part = await connection.send(request("GET", target, headers=(("Range", "bytes=100000-2900000"),)))
        self.assertEqual((whole.status, part.status), (200, 206))
        self.assertTrue(whole.body == self.content)
        self.assertTrue(part.body == self.content[100_000:2_900_001])
        head = await connection.send(request("HEAD", target))
        self.assertEqual(head.headers["content-length"], str(SIZE))
        await connection.close()
        self.assertEqual(opened(self.path), 0)


class TransportTests(FilesTestCase):
    """A large file arrives whole over every kind of connection."""

    async def over(self, place: str, endpoint: Callable[[Any], Any]) -> None:
        dispatcher = self.dispatcher(InlineExecutor(), "threads", url_patterns)
        for channel in (*CHANNELS, ""):  # the last one is a Site of twisted.web
            port = await self.listen(dispatcher, place, channel)
            await self.check(endpoint(port))
            await port.stopListening()

    async def test_file_arrives_over_tcp(self) -> None:
        await self.over("tcp:0:interface=127.0.0.1", self.tcp)

    async def test_file_arrives_over_a_unix_socket(self) -> None:
        path = os.path.join(self.folder, "socket")
        await self.over(f"unix:{path}", lambda _: UNIXClientEndpoint(reactor, path, timeout=10))

    async def test_file_arrives_over_tls(self) -> None:
        place, wrap = over_tls(os.path.join(self.folder, "pem"))
        await self.over(place, lambda port: wrap(self.tcp(port)))
        self.flushWarnings()  # Twisted 26.10 causes them with the newest pyOpenSSL.

    async def test_file_is_sent_without_copying_it(self) -> None:
        """Python reads no block of a file that goes to a socket of its own."""
        self.patch(FileStream, "_read", lambda _: self.fail("read"))
        port = await self.listen(self.dispatcher(InlineExecutor(), "threads", url_patterns), channel="llhttp")
        await self.check(self.tcp(port))

    async def test_file_is_read_if_the_system_cannot_send_it(self) -> None:
        def refuse(*_: int) -> int:
            raise OSError(22, "not supported by this file system")

        self.patch(response_writer.os, "sendfile", refuse)
        port = await self.listen(self.dispatcher(InlineExecutor(), "threads", url_patterns), channel="llhttp")
        await self.check(self.tcp(port))


class ExecutorTests(FilesTestCase):
    """A file may be returned by a function in any executor."""

    async def test_threads_send_files(self) -> None:
        executor, _ = await self.threads(2)
        dispatcher = self.dispatcher(executor, "threads", url_patterns)
        port = await self.listen(dispatcher, channel="llhttp")
        for target in ("/send/", "/async/"):
            await self.check(self.tcp(port), target)
        await self.until(lambda: not (executor.running or dispatcher.in_flight))
        self.assertEqual((executor.completed, executor.failed), (3, 0))

    async def test_worker_processes_send_only_the_path(self) -> None:
        executor = ProcessExecutor(reactor, "tests.http.test_files", 1)
        self.addCleanup(executor.stop)
        await executor.start()
        port = await self.listen(self.dispatcher(executor, "processes"), channel="llhttp")
        await self.check(self.tcp(port))
        self.assertEqual((executor.completed, executor.failed), (3, 0))

    def test_test_client_receives_files(self) -> None:
        client = Client(url_patterns)
        for target in ("/send/", "/async/"):
            self.assertTrue(client.get(target, {"path": self.path}).body == self.content)
        self.assertEqual(opened(self.path), 0)

    async def test_job_keeps_the_content(self) -> None:
        """Its request may have had a range, but its result is the whole file."""
        client = Client(url_patterns)
        headers = {"Prefer": "respond-async", "Range": "bytes=0-1"}
        job = client.get("/send/", {"path": self.path}, headers)
        self.assertEqual(job.status, 202)
        result = client.get(job.headers["location"].removeprefix("..") + "/result")
        self.assertTrue(result.body == self.content, f"{result.status} {result.body[:200]!r}")


class SlowReaderTests(FilesTestCase):
    """A client that does not read stops the file, and a client that leaves closes it."""

    async def test_memory_holds_a_few_blocks_for_a_client_that_does_not_read(self) -> None:
        dispatcher = self.dispatcher(InlineExecutor(), "threads", url_patterns)
        reply = await dispatcher.dispatch(get("/send/", path=self.path))
        stream, parts = reply.body, list[bytes]()
        ended = list[str]()

        def write(data: bytes) -> None:
            parts.append(data)
            stream.pauseProducing()

        stream.begin(write, ended.append)
        while not ended:
            self.assertLessEqual(len(stream) - sum(map(len, parts)), 8 * BLOCK)
            stream.resumeProducing()
        self.assertTrue(b"".join(parts) == self.content)
        self.assertEqual((ended, dispatcher.in_flight, opened(self.path)), ([""], 0, 0))

    async def test_client_that_leaves_closes_the_file(self) -> None:
        Path(self.path).write_bytes(bytes(50_000_000))  # more than the buffers of both sockets take
        dispatcher = self.dispatcher(InlineExecutor(), "threads", url_patterns)
        for channel in (*CHANNELS, ""):
            port = await self.listen(dispatcher, channel=channel)
            connection = await connectProtocol(self.tcp(port), Connection())
            connection.transport.pauseProducing()  # type: ignore[union-attr]
            connection.transport.write(request("GET", f"/send/?path={self.path}"))  # type: ignore[union-attr]
            await self.until(lambda: opened(self.path))
            self.assertEqual(dispatcher.in_flight, 1)
            connection.transport.abortConnection()  # type: ignore[union-attr]
            await self.until(lambda: not opened(self.path))
            await self.until(lambda: not dispatcher.in_flight)

    def test_client_that_reads_nothing_within_the_time_limit_is_cut_off(self) -> None:
        clock = Clock()
        dispatcher = Dispatcher(
            clock, Router(url_patterns), {"inline": InlineExecutor()}, "inline", timeout=5
        )
        self.addCleanup(dispatcher.stop)
        reply = self.successResultOf(dispatcher.dispatch(get("/send/", path=self.path)))
        ended = list[str]()
        reply.body.begin(lambda _: reply.body.pauseProducing(), ended.append)
        clock.advance(4)
        reply.body.resumeProducing()  # one part is read
        clock.advance(4)
        self.assertEqual((ended, opened(self.path)), ([], 1))
        clock.advance(1)
        self.assertIn("no part was produced or read within", ended[0])
        self.assertEqual((dispatcher.in_flight, opened(self.path)), (0, 0))


class ChangeTests(FilesTestCase):
    """Files that change or cannot be read."""

    async def test_file_that_is_removed_while_it_is_sent_arrives_whole(self) -> None:
        dispatcher = self.dispatcher(InlineExecutor(), "threads", url_patterns)
        reply = await dispatcher.dispatch(get("/send/", path=self.path))
        os.remove(self.path)
        parts = list[bytes]()
        reply.body.begin(parts.append, lambda failure: self.assertEqual(failure, ""))
        self.assertTrue(b"".join(parts) == self.content)

    async def test_response_breaks_off_if_the_file_becomes_shorter(self) -> None:
        """So the client notices, and the log has the reason."""
        dispatcher = self.dispatcher(InlineExecutor(), "threads", url_patterns)
        lines = self.logged()
        for channel in (*CHANNELS, ""):
            Path(self.path).write_bytes(bytes(50_000_000))
            port = await self.listen(dispatcher, channel=channel)
            connection = await connectProtocol(self.tcp(port), Connection())
            connection.transport.pauseProducing()  # type: ignore[union-attr]
            answer = connection.send(request("GET", f"/send/?path={self.path}"))
            await self.until(lambda: opened(self.path))
            os.truncate(self.path, 1_000_000)
            connection.transport.resumeProducing()  # type: ignore[union-attr]
            await self.assertFailure(answer, ConnectionError)
            await self.until(lambda: any(SHORTER in line for line in lines))
            lines.clear()
            self.assertEqual((opened(self.path), dispatcher.in_flight), (0, 0))

    def test_test_client_reports_a_file_that_becomes_shorter(self) -> None:
        self.patch(file_reply, "_content", lambda file, begin, length: FileStream(file, begin, length + 1))
        client = Client(url_patterns)
        error = self.assertRaises(BrokenStream, client.get, "/send/", {"path": self.path})
        self.assertIn(SHORTER, str(error))

    def test_permission_error_gets_500_and_is_logged(self) -> None:
        """The client does not see the path."""

        def refuse(*_: Any) -> int:
            raise PermissionError(13, "Permission denied", self.path)

        self.patch(file_reply.os, "open", refuse)
        answer = Client(url_patterns).get("/send/", {"path": self.path})
        self.assertEqual(answer.status, 500)
        self.assertNotIn(self.path, answer.text)
        self.assertIn(f"Permission denied: '{self.path}'", answer.traceback)

    def test_named_pipe_is_not_a_file(self) -> None:
        """Opening it does not wait for a writer."""
        pipe = os.path.join(self.folder, "pipe")
        os.mkfifo(pipe)
        self.assertEqual(Client(url_patterns).get("/send/", {"path": pipe}).status, 404)


class ContentTypeTests(SynchronousTestCase):
    def test_content_type_is_guessed_from_the_name(self) -> None:
        for name, kind in (
            ("a.html", "text/html; charset=utf-8"), ("a.PNG", "image/png"), ("a.json", "application/json"),
            ("a.tar.gz", "application/gzip"), ("a.unknown", "application/octet-stream"),
            ("a.csv.xz", "application/x-xz"), ("html", "application/octet-stream"),
        ):  # fmt: skip
            self.assertEqual(file_body(Path(name))[1], kind, name)

    def test_name_in_any_encoding_is_kept(self) -> None:
        body, _ = file_body(Path(os.fsdecode(b"/tmp/\xff")))
        self.assertEqual(body.path, b"/tmp/\xff")

    def test_relative_path_is_resolved_where_the_function_runs(self) -> None:
        self.assertEqual(file_body(Path("a"))[0].path, os.fsencode(os.path.join(os.getcwd(), "a")))


class PipeliningTests(FilesTestCase):
    def test_response_after_a_file_waits_for_its_end(self) -> None:
        clock = Clock()
        resource = AppResource(url_patterns, clock, InlineExecutor())
        self.addCleanup(resource.dispatcher.stop)
        channel: Any = AppSite(resource, clock, Settings()).buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        target = f"/async/?path={self.path}"
        channel.dataReceived(request("GET", target) + request("GET", "/no/"))
        clock.pump([0, 0, 0])
        first = read(transport.value())
        assert first is not None
        second = read(first[1])
        assert second is not None
        self.assertEqual((len(first[0].body), second[0].status), (SIZE, 404))
        channel.setTimeout(None)
