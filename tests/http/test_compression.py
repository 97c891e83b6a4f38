"""Tests of compressed responses (RFC 9110, sections 8.4, 8.8 and 12.5)."""

from __future__ import annotations

import threading
import zlib
from hashlib import sha512
from importlib import import_module
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.support.executor_test_case import ExecutorTestCase
from tests.support.properties import given, st
from tests.support.wire import connect, exchange, request
from twisted_appserver import AppResource, HTTPError, InlineExecutor, ProcessExecutor, Reply
from twisted_appserver.http import compression
from twisted_appserver.http.site import AppSite
from twisted_appserver.settings import CHANNELS, Settings
from twisted_appserver.testing import Client, Response

LEAST = 100
GZIP = {"Accept-Encoding": "gzip"}
HEADERS: dict[str, dict[str, Any]] = {
    "json": {}, "text": {"Content-Type": "text/plain; charset=utf-8"},
    "svg": {"Content-Type": "image/svg+xml"},
    "png": {"Content-Type": "image/png"}, "unknown": {"Content-Type": "application/octet-stream"},
    "coded": {"Content-Type": "text/plain", "Content-Encoding": "br"},
    "fixed": {"Content-Type": "text/plain", "Cache-Control": "public, No-Transform"},
    "tagged": {"Content-Type": "text/plain", "ETag": '"a"'},
    "weak": {"Content-Type": "text/plain", "ETag": 'W/"a"'},
    "varying": {"Content-Type": "text/plain", "Vary": "Cookie, accept-encoding"},
    "any": {"Content-Type": "text/plain", "Vary": "*"},
}  # fmt: skip


def send(kind: str, size: int = 1000, status: int = 200) -> Reply:
    if kind == "json":
        return Reply({"text": "x" * size}, status)
    return Reply(b"x" * size, status, HEADERS[kind])


def rows(n: int) -> Any:
    for number in range(n):
        yield {"number": number}


def fails() -> Any:
    raise HTTPError(409, "x" * 1000)


def random() -> Reply:
    return Reply(b"".join(sha512(bytes([n])).digest() for n in range(4)), headers=HEADERS["text"])


url_patterns = (
    (r"/send/(?P<kind>)/", send), (r"/rows", rows), (r"/fails", fails), (r"/random", random),
)  # fmt: skip


def plain(answer: Response) -> bytes:
    """Return the body of a response as it was before it was compressed."""
    if answer.headers.get("content-encoding") == "gzip":
        return zlib.decompress(answer.body, 31)
    return answer.body


class RuleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = Client(url_patterns, compress=LEAST)

    def check(
        self, target: str, coding: str | None, vary: str | None, accept: str = "gzip", **sent: Any
    ) -> Response:
        answer = self.client.get(target, headers={"Accept-Encoding": accept} if accept else {})
        headers = answer.headers
        self.assertEqual(
            (headers.get("content-encoding"), headers.get("vary")), (coding, vary), target + accept
        )
        for name, value in sent.items():
            self.assertEqual(headers.get(name.replace("_", "-")), value, target)
        return answer

    def test_response_is_compressed_if_the_client_accepts_it(self) -> None:
        """JSON, text and errors; the length is of what is sent."""
        for target in ("/send/json/", "/send/text/", "/send/svg/", "/fails"):
            vary = "accept, Accept-Encoding" if target == "/fails" else "Accept-Encoding"
            answer = self.check(target, "gzip", vary)
            self.assertEqual(answer.headers["content-length"], str(len(answer.body)))
            whole = self.check(target, None, vary, "")
            if whole.status == 200:  # An error contains the id of its request.
                self.assertEqual(plain(answer), whole.body)
            self.assertEqual(answer.headers["content-type"], whole.headers["content-type"])
            self.assertLess(len(answer.body), len(whole.body) / 2)

    def test_other_content_is_sent_as_it_is(self) -> None:
        for target in (
            "/send/png/",
            "/send/unknown/",
            "/send/fixed/",
            "/send/text/?size=99",
            "/send/text/?status=206",
        ):
            self.check(target, None, None)
        self.check("/send/coded/", "br", None)
        self.check("/send/text/?size=100", "gzip", "Accept-Encoding")
        self.check("/rows?n=1000", None, None)
        self.check("/random", None, "Accept-Encoding")  # it would become longer

    def test_entity_tag_of_a_compressed_response_is_weak(self) -> None:
        self.check("/send/tagged/", "gzip", "Accept-Encoding", etag='W/"a"')
        self.check("/send/tagged/", None, "Accept-Encoding", "", etag='"a"')
        self.check("/send/weak/", "gzip", "Accept-Encoding", etag='W/"a"')

    def test_vary_is_not_repeated(self) -> None:
        self.check("/send/varying/", "gzip", "Cookie, accept-encoding")
        self.check("/send/any/", "gzip", "*")
        self.check("/send/text/?size=0&status=304", None, "Accept-Encoding")

    def test_head_gets_the_same_headers(self) -> None:
        got = [self.client.request(method, "/send/text/", GZIP) for method in ("GET", "HEAD")]
        names = ("content-length", "content-encoding", "vary", "content-type")
        self.assertEqual(*([each.headers[name] for name in names] for each in got))
        self.assertEqual(got[1].body, b"")

    def test_nothing_is_compressed_by_default(self) -> None:
        self.client = Client(url_patterns)
        self.check("/send/text/", None, None)


class ChoiceTests(SynchronousTestCase):
    def test_client_chooses_the_coding(self) -> None:
        for codings, accepted, chosen in (
            ("gzip", "gzip", "gzip"), ("gzip", "GZIP;q=0.5, br", "gzip"), ("gzip", "*", "gzip"),
            ("gzip", "", ""), ("gzip", "gzip;q=0", ""), ("gzip", "gzip; q=0.000, *", ""),
            ("gzip", "br, deflate", ""), ("gzip", "*;q=0", ""), ("gzip", "identity, gzip;q=0.5", ""),
            ("gzip", "identity;q=0.5, gzip", "gzip"), ("gzip", "gzip;q=x", ""), ("gzip", "gzip;q=2", ""),
            ("zstd gzip", "gzip, zstd", "zstd"), ("zstd gzip", "zstd;q=0.8, gzip", "gzip"),
            ("zstd gzip", "gzip", "gzip"), ("zstd gzip", "*", "zstd"),
        ):  # fmt: skip
            self.patch(compression, "CODINGS", dict.fromkeys(codings.split(), bytes))
            self.assertEqual(compression.choose(accepted), chosen, (codings, accepted))

    @given(st.text(max_size=30))
    def test_any_header_is_understood_or_ignored(self, accepted: str) -> None:
        self.assertIn(compression.choose(accepted), ("", *compression.CODINGS))

    def test_every_coding_of_this_python_restores_the_body(self) -> None:
        data = b"abc" * 10_000
        for name, compress in compression.CODINGS.items():
            made = compress(data)
            self.assertLess(len(made), 1000, name)
            if name == "gzip":
                self.assertEqual(zlib.decompress(made, 31), data)
            else:
                self.assertEqual(import_module("compression.zstd").decompress(made), data)

    def test_equal_bodies_are_compressed_equally(self) -> None:
        self.assertEqual(compression.gzip(b"abc" * 100), compression.gzip(b"abc" * 100))


class FrontTests(ExecutorTestCase):
    async def check(self, dispatcher: Any) -> None:
        resource, root = AppResource(dispatcher, compress=LEAST), Resource()
        root.putChild(b"app", resource)
        for site, prefix in (
            *((AppSite(resource, reactor, Settings(channel=each)), "") for each in CHANNELS),
            (Site(root), "/app"),
        ):
            port = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
            self.addCleanup(port.stopListening)
            connection = await connect(port.getHost().port)
            sizes = (1000, 1_000_000, 10, 8193)
            answers = [
                connection.send(request("GET", f"{prefix}/send/text/?size={size}", b"", (*GZIP.items(),)))
                for size in sizes
            ]
            for size, answer in zip(sizes, answers, strict=True):
                self.assertEqual(plain(await answer), b"x" * size)
                self.assertEqual("content-encoding" in (await answer).headers, size > 10)
            await connection.close()

    async def test_every_front_end_compresses_what_threads_return(self) -> None:
        executor, _ = await self.threads(2)
        await self.check(self.dispatcher(executor, "threads", url_patterns))

    async def test_every_front_end_compresses_what_worker_processes_return(self) -> None:
        executor = ProcessExecutor(reactor, "tests.http.test_compression", 1)
        self.addCleanup(executor.stop)
        await executor.start()
        await self.check(self.dispatcher(executor, "processes"))

    async def test_long_body_is_compressed_in_a_thread(self) -> None:
        """So the reactor does not wait, and a client that has gone does no harm."""
        threads = dict[int, int]()
        gzip = compression.gzip
        go_on = threading.Event()

        def record(data: bytes) -> bytes:
            threads[len(data)] = threading.get_ident()
            if len(data) == 50_000:
                go_on.wait(20)
            return gzip(data)

        self.patch(compression, "CODINGS", {"gzip": record})
        dispatcher = self.dispatcher(InlineExecutor(), "threads", url_patterns)
        resource = AppResource(dispatcher, compress=LEAST)
        for site in (AppSite(resource, reactor, Settings()), Site(resource)):
            go_on.clear()
            port = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
            self.addCleanup(port.stopListening)
            number = port.getHost().port
            await exchange(number, request("GET", "/send/text/?size=1000", b"", (*GZIP.items(),)))
            connection = await connect(number)
            slow = request("GET", "/send/text/?size=50000", b"", (*GZIP.items(),))
            connection.send(slow).addErrback(lambda _: None)
            await self.until(lambda: 50_000 in threads)
            await connection.close()
            other = await exchange(number, request("GET", "/send/text/?size=1000", b"", (*GZIP.items(),)))
            self.assertEqual(plain(other), b"x" * 1000)
            go_on.set()
            await exchange(number, request("GET", "/send/text/?size=60000", b"", (*GZIP.items(),)))
            here = threading.get_ident()
            self.assertEqual([threads[each] == here for each in (1000, 50_000, 60_000)], [True, False, False])
            threads.clear()
