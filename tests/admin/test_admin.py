"""Tests of L{twisted_appserver.admin}: what a service tells of itself."""

from __future__ import annotations

import contextlib
import gzip
import logging
import math
import os
import re
import sys
import threading
from typing import Annotated, Any
from unittest.mock import patch

import msgspec
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.access.test_credentials import basic, private
from tests.serving.test_command import TWISTD, CommandTestCase
from tests.support.slow import slow
from tests.support.wire import connect, exchange, fetch, request
from twisted_appserver import Call, HTTPError, Reply, Route, include, make_service
from twisted_appserver.admin import figures, pages
from twisted_appserver.admin.metrics import Metrics
from twisted_appserver.core.durations import BOUNDS, Durations, percentile
from twisted_appserver.queue.backends import make_broker
from twisted_appserver.queue.local.sqlite_journal import SQLiteStore
from twisted_appserver.testing import Response
from twisted_appserver.tqueue import url_patterns as queue_patterns

MOST_LOADED = 60 * 1000  # bytes of all pages together
MOST_STORED = 150 * 1000


class ExtraTests(SynchronousTestCase):
    def test_page_whose_extra_is_missing_says_how_to_install_it(self) -> None:
        for extra, coroutine, hide in (
            (
                "docs",
                pages.Pages(None).swagger(Call("GET", "/-/swagger")),
                patch.object(pages, "SWAGGER", None),
            ),  # type: ignore[arg-type]
            ("metrics", Metrics(None).metrics(), patch.dict(sys.modules, prometheus_client=None)),  # type: ignore[arg-type]
        ):
            with hide:
                error = self.failureResultOf(Deferred.fromCoroutine(coroutine), HTTPError).value
            self.assertEqual(error.status, 501)
            self.assertIn(
                f"the extra {extra}; in a clone of twisted_appserver, run: pip install", error.detail
            )


class Item(msgspec.Struct):
    """A thing that is sold."""

    name: str
    price: float = 0.5


def order(name: str, count: Annotated[int, msgspec.Meta(ge=1)], item: Item | None = None, note="x") -> Item:  # type: ignore[no-untyped-def]
    """Order a thing.

    It comes tomorrow.
    """
    return item or Item(name)


LOG = logging.getLogger("tests")


def answers() -> dict[str, bool]:
    return {"done": True}


async def answers_on_reactor() -> dict[str, bool]:
    await deferLater(reactor, 0.01)
    return {"done": True}


async def fails_on_reactor() -> dict[str, bool]:
    raise ValueError("odd")


class Sized(msgspec.Struct):
    size: float = math.inf


def odd(a: float = math.inf, b: logging.Logger = LOG, c="\ud800", d=1) -> Sized:  # type: ignore[no-untyped-def]
    return Sized()


PATTERNS = (
    Route(r"/order/(?P<name>[a-z]{1,5})/", order, name="order"),
    (r"/call/\.(?P<a>)(?:/more)?", lambda call, a: {}),
    (r"/all/", lambda variables: {}),
    (r"/reply/(?P<n>\d+)", lambda n: Reply(b"")),
    (r"/reply/(?P<other>)", lambda other: Reply(b"")),
    Route(r"/put/", lambda call=None, **rest: {}, methods=["PUT", "DELETE"]),
)


class DurationTests(SynchronousTestCase):
    def test_duration_is_counted_in_its_bucket(self) -> None:
        """The first bucket whose bound is above it."""
        for index, bound in enumerate(BOUNDS):
            durations = Durations()
            durations.add(bound * 0.99)
            durations.add(bound * 1.01)
            self.assertEqual(durations.counts[index : index + 2], [1, 1])
        durations.add(10**9)
        self.assertEqual((durations.counts[-1], durations.number), (2, 3))

    def test_percentile_is_estimated_within_a_bucket(self) -> None:
        durations = Durations()
        self.assertEqual(percentile(durations.counts, 0.5), 0.0)
        for _ in range(98):
            durations.add(0.003)
        durations.add(0.9)
        durations.add(0.9)
        self.assertTrue(0.002 < percentile(durations.counts, 0.5) <= 0.004)
        self.assertTrue(0.5 < percentile(durations.counts, 0.99) <= 1.1)


class ServiceTests(TestCase):
    """The pages of a service."""

    timeout = 30

    async def serve(self, *patterns: Any, **options: Any) -> tuple[Any, int]:
        service = make_service(patterns or PATTERNS, port=0, **options)
        service.startService()
        self.addCleanup(service.stopService)
        await service.started
        return service, service.ports[0].getHost().port

    async def metrics(self, port: int) -> dict[tuple[str, str], float]:
        answer = await fetch(port, "/-/metrics")
        self.assertEqual(answer.status, 200, answer.body)
        return {
            (sample.name, sample.labels.get("route", "")): sample.value
            for family in text_string_to_metric_families(answer.body.decode())
            for sample in family.samples
            if sample.labels.get("le", "+Inf") == "+Inf"
        }

    async def check(self, port: int, prefix: str = "") -> None:
        """Check that every page is served, and that all that it loads comes from the same server."""
        for path, kind in (
            ("docs", "text/html"), ("status", "text/html"), ("page.css", "text/css"),
            ("icon.svg", "image/svg+xml"), ("docs.js", "text/javascript"), ("shell.js", "text/javascript"),
            ("status.js", "text/javascript"), ("swagger", "text/html"), ("service.json", "application/json"),
            ("openapi.json", "application/json"), ("status.json", "application/json"),
            ("health", "application/json"), ("ready", "application/json"), ("metrics", "text/plain"),
        ):  # fmt: skip
            answer = await fetch(port, f"{prefix}/-/{path}")
            self.assertEqual(
                (answer.status, answer.headers["content-type"].partition(";")[0]), (200, kind), path
            )
            if kind.startswith("text/") and path != "metrics":
                addresses = re.findall(
                    rb"https?://[a-z]", answer.body.replace(b"http://www.w3.org/2000/svg", b"")
                )
                self.assertEqual(addresses, [])
                self.assertIn("default-src 'self'", answer.headers["content-security-policy"])
        self.assertEqual((await fetch(port, f"{prefix}/-/")).headers["location"], "docs")
        self.assertEqual((await fetch(port, f"{prefix}/-/nothing")).status, 404)
        self.assertEqual((await fetch(port, f"{prefix}/order/bolt/?count=2")).status, 200)

    async def test_pages_and_probes_answer_on_every_channel(self) -> None:
        """On both channels, and below a prefix of another Site."""
        for channel in ("llhttp", "twisted"):
            service, port = await self.serve(channel=channel)
            await self.check(port)
            root, below = Resource(), Resource()
            root.putChild(b"some", below)
            below.putChild(b"where", service.resource)
            other = reactor.listenTCP(0, Site(root), interface="127.0.0.1")  # type: ignore[attr-defined]
            self.addCleanup(other.stopListening)
            await self.check(other.getHost().port, "/some/where")

    async def test_metrics_add_up_all_executors(self) -> None:
        """Calls on the reactor count like calls in threads. Requests for pages do not count."""
        _, port = await self.serve(
            (r"/there", answers), (r"/here", answers_on_reactor), (r"/odd", fails_on_reactor)
        )
        await self.metrics(port)
        for path, status in (("/here", 200), ("/here", 200), ("/there", 200), ("/odd", 500)):
            self.assertEqual((await fetch(port, path)).status, status)
        for _ in range(3):
            found = (await fetch(port, "/-/status.json")).json
        self.assertEqual((found["completed"], found["failed"]), (3, 1))
        metrics = await self.metrics(port)
        self.assertEqual(metrics["appserver_completed_total", ""], 3)
        self.assertEqual(metrics["appserver_failed_total", ""], 1)

    async def test_readiness_checks_the_stores(self) -> None:
        """A service is not ready while the store of its own table is not."""
        store = SQLiteStore(os.path.abspath(self.mktemp()))
        os.mkdir(store.path + "-reserve")
        broker = make_broker(reactor, store)
        _, port = await self.serve(include("/queues", queue_patterns(broker=broker)))
        self.assertEqual((await fetch(port, "/-/ready")).status, 200)  # nobody has used it
        self.assertEqual((await fetch(port, "/queues/q/put")).status, 507)
        answer = await fetch(port, "/-/ready")
        self.assertEqual((answer.status, b"reserve" in answer.body), (503, True))
        await broker.stop()

    async def test_no_admin_leaves_the_paths_to_the_application(self) -> None:
        _, port = await self.serve((r"/-/docs", order), no_admin=True)
        self.assertEqual((await fetch(port, "/-/docs")).status, 422)
        self.assertEqual((await fetch(port, "/-/health")).status, 404)

    async def test_error_pages_link_to_the_page_of_functions(self) -> None:
        """The link is relative. Without that page there is no link."""
        headers = (("Accept", "text/html"),)
        for no_admin in (False, True):
            _, port = await self.serve((r"/order", order), no_admin=no_admin)
            for target, link in (
                ("/", "-/docs"),
                ("/nothing", "-/docs"),
                ("/a/b/", "../../-/docs"),
                ("/-/nothing", "../-/docs"),
                ("/a%2Fb", ""),
            ):
                answer = await exchange(port, request("GET", target, b"", headers))
                self.assertEqual((answer.status, b"<h1>404 Not Found" in answer.body), (404, True))
                expected = link.encode() if not no_admin else b""
                self.assertEqual(b'<a href="%s">' % expected in answer.body, bool(expected))
                self.assertEqual(b"<a " in answer.body, bool(expected))

    async def test_data_of_pages_is_guarded_like_the_application(self) -> None:
        """A client that may not call functions gets no data. Pages and their files contain none."""
        path = self.mktemp()
        private(path, "0123456789abcdef")
        _, port = await self.serve(*PATTERNS, (r"/x\.js", answers), token_file=path)
        browser = (("Accept", "text/html"),)
        pages = ("/-/docs", "/-/status", "/-/jobs", "/-/queues", "/-/swagger")
        for target in (
            "/-/docs", "/-/status.json", "/-/metrics", "/-/health", "/-/openapi.json", "/-/service.json",
            "/-/jobs", "/-/queues", "/x.js", "/",
        ):  # fmt: skip
            self.assertEqual((await fetch(port, target)).status, 401, target)
            if target not in pages:
                answer = await exchange(port, request("GET", target, b"", browser))
                self.assertEqual((answer.status, b"Enter a token" in answer.body), (401, True), target)
        for target in pages:
            answer = await exchange(port, request("GET", target, b"", browser))
            self.assertEqual((answer.status, b"order" in answer.body), (200, False))
            self.assertIn(b'data-schemes="bearer"', answer.body)
            self.assertEqual((await exchange(port, request("POST", target, b"", browser))).status, 401)
        self.assertEqual((await exchange(port, request("GET", "/-/", b"", browser))).status, 307)
        for file in ("docs.js", "page.css", "icon.svg", "swagger-ui.css"):
            self.assertEqual((await fetch(port, f"/-/{file}")).status, 200)
        for target, host, status in (
            ("/-/docs.js", "evil.example", 421),
            ("/-/docs/", "localhost", 401),
            ("/-/docs.js/", "localhost", 401),
        ):
            self.assertEqual(
                (await exchange(port, request("GET", target, b"", browser, host=host))).status, status
            )

    async def test_paths_of_pages_are_guarded_if_the_application_has_them(self) -> None:
        """With C{--no-admin}."""
        path = self.mktemp()
        private(path, "0123456789abcdef")
        _, port = await self.serve(
            (r"/-/docs", answers), (r"/-/a.js", answers), token_file=path, no_admin=True
        )
        for target in ("/-/docs", "/-/a.js"):
            answer = await exchange(port, request("GET", target, b"", (("Accept", "text/html"),)))
            self.assertEqual(answer.status, 401)

    async def test_all_pages_together_are_small(self) -> None:
        """As browsers load them: compressed. Swagger UI, which is optional, does not count."""
        _, port = await self.serve()
        static = os.path.join(os.path.dirname(pages.__file__), "static")
        loaded, stored = 0, 0
        for name in os.listdir(static):
            target = f"/-/{name}" if name != "page.html" else "/-/docs"
            plain = await exchange(port, request("GET", target))
            for accepted, compressed in (("br, gzip", True), ("gzip;q=0, br", False)):
                answer = await exchange(port, request("GET", target, b"", (("Accept-Encoding", accepted),)))
                self.assertEqual("content-encoding" in answer.headers, compressed)
                body = gzip.decompress(answer.body) if compressed else answer.body
                self.assertEqual((body, answer.headers["vary"]), (plain.body, "accept-encoding"))
                loaded += len(answer.body) if compressed else 0
            stored += len(plain.body)
        self.assertTrue(0 < loaded < MOST_LOADED, loaded)
        self.assertLess(stored, MOST_STORED)

    async def test_probes_answer_while_every_thread_hangs(self) -> None:
        """The service is not ready meanwhile."""
        hold = threading.Event()
        self.addCleanup(hold.set)

        def hangs() -> dict[str, Any]:
            hold.wait(60)
            return {}

        service, port = await self.serve(Route(r"/hangs/", hangs, timeout=0.2), threads=2)
        answers = await gatherResults([Deferred.fromCoroutine(fetch(port, "/hangs/")) for _ in range(2)])
        self.assertEqual([answer.status for answer in answers], [504, 504])
        self.assertEqual((await fetch(port, "/-/health")).status, 200)
        answer = await fetch(port, "/-/ready")
        self.assertEqual(answer.status, 503)
        self.assertIn("hangs", answer.json["detail"])
        found = await self.metrics(port)
        self.assertEqual((found["appserver_ready", ""], found["appserver_running", ""]), (0, 2))
        calls = (await fetch(port, "/-/status.json")).json["running_calls"]
        self.assertEqual([each["wanted"] for each in calls], [False, False])
        hold.set()
        while service.executor.running:
            await deferLater(reactor, 0.005)
        self.assertEqual((await fetch(port, "/-/ready")).status, 200)

    async def test_calls_are_counted_by_route_and_status(self) -> None:
        """Counting starts with the first request for the figures."""

        def fails() -> dict[str, Any]:
            raise ZeroDivisionError("said by the function")

        service, port = await self.serve(*PATTERNS, (r"/fails/", fails))
        self.assertEqual(service.dispatcher.observers, [])
        await self.metrics(port)
        connection = await connect(port)
        for _ in range(5):
            await connection.send(request("GET", "/order/bolt/?count=1"))
        fault = await connection.send(request("GET", "/fails/"))
        await connection.close()
        found = await self.metrics(port)
        self.assertEqual(found["appserver_call_seconds_count", "order"], 5)
        self.assertTrue(0 < found["appserver_call_seconds_sum", "order"] < 60)
        self.assertEqual(found["appserver_failed_total", ""], 1)
        status: Response = await fetch(port, "/-/status.json")
        self.assertEqual(status.json["routes"]["order"]["calls"], 5)
        self.assertEqual(status.json["routes"]["order"]["5xx"], 0)
        self.assertLessEqual(status.json["started"], status.json["counted_since"])
        (error,) = status.json["errors"]
        self.assertEqual(
            (error["id"], error["error"]), (fault.json["instance"], "ZeroDivisionError: said by the function")
        )
        self.assertEqual((error["type"], error["count"]), ("ZeroDivisionError", 1))
        found = (await fetch(port, "/-/errors")).json
        self.assertEqual((found["tracebacks"], "traceback" in found["errors"][0]), (False, False))

    async def test_users_see_only_their_own_errors(self) -> None:
        """The bearer of the token sees all errors. This holds in each server type."""

        def fails(what: str) -> dict[str, Any]:
            raise ZeroDivisionError(what)

        def breaks(what: str) -> Any:
            yield {}
            raise ZeroDivisionError(what)

        users, token = os.path.abspath(self.mktemp()), os.path.abspath(self.mktemp())
        private(users, "anna:secret4anna\nbob:secret4bob\n")
        private(token, "0123456789abcdef")
        patterns = [(r"/fails/", fails), (r"/breaks/", breaks), Route(r"/inline/", fails, executor="inline")]
        for channel in ("llhttp", "twisted"):
            options = {"auth": (f"file:{users}",), "token_file": token, "channel": channel}
            _, port = await self.serve(*patterns, **options)
            who = {name: basic(name, f"secret4{name}") for name in ("anna", "bob")}
            who["token"] = "Bearer 0123456789abcdef"

            async def get(name: str, target: str, port: int = port, who: dict[str, str] = who) -> Response:
                return await exchange(port, request("GET", target, headers=(("Authorization", who[name]),)))

            for name in ("anna", "bob", "token"):
                for path in ("fails", "inline"):
                    self.assertEqual((await get(name, f"/{path}/?what={path}-of-{name}")).status, 500)
            with contextlib.suppress(ConnectionError):  # it breaks off
                await get("bob", "/breaks/?what=breaks-of-bob")
            for name, last, counts in (
                ("anna", "inline-of-anna", {"fails": 2}),
                ("bob", "breaks-of-bob", {"fails": 2, "breaks": 1}),
                ("token", "breaks-of-bob", {"fails": 6, "breaks": 1}),
            ):
                errors = (await get(name, "/-/status.json")).json["errors"]
                self.assertEqual(errors[0]["error"], f"ZeroDivisionError: {last}")
                self.assertEqual(
                    {each["function"].rpartition(".")[2]: each["count"] for each in errors}, counts
                )
                found = (await get(name, "/-/errors")).json
                self.assertTrue(found["tracebacks"])
                self.assertIn("in breaks" if name != "anna" else "in fails", found["errors"][0]["traceback"])

    async def test_counting_stops_when_nobody_requests_the_figures(self) -> None:
        """Some time after the last request, so that it costs nothing. The pause is reported."""
        self.patch(figures, "COUNTING_TIME", -1.0)
        service, port = await self.serve()
        first = (await fetch(port, "/-/status.json")).json
        self.assertEqual(len(service.dispatcher.observers), 1)
        while service.dispatcher.observers:
            await deferLater(reactor, 0.05)
        await deferLater(reactor, 0.05)
        again = (await fetch(port, "/-/status.json")).json
        self.assertEqual(len(service.dispatcher.observers), 1)
        self.assertEqual(again["counted_since"], first["counted_since"])
        self.assertEqual(first["not_counted"], 0.0)
        self.assertTrue(0.05 < again["not_counted"] < again["now"] - again["history"][-1][0] + 0.01)

    async def test_status_lists_the_workers(self) -> None:
        """With the calls that they run."""
        service = make_service(port=0, app="tests.support.cases", server_type="forked", workers=2)
        service.startService()
        self.addCleanup(service.stopService)
        await service.started
        port = service.ports[0].getHost().port
        path = os.path.abspath(self.mktemp())
        held = Deferred.fromCoroutine(fetch(port, f"/holds/?path={path}"))
        while not os.path.exists(path):
            await deferLater(reactor, 0.005)
        status = (await fetch(port, "/-/status.json")).json
        self.assertEqual(status["at_work"]["holds"], {"running": 1, "pending": 0, "page": "holds"})
        self.assertEqual(sorted(each["state"] for each in status["workers"]), ["runs", "waits"])
        self.assertTrue(all(each["memory"] > 10**6 for each in status["workers"]))
        (current,) = (each["call"] for each in status["workers"] if each["state"] == "runs")
        self.assertEqual((current["function"], current["wanted"]), ("holds", True))
        self.assertTrue(0 < current["seconds"] < 60)
        self.assertTrue(current["id"])
        os.remove(path)
        self.assertEqual((await held).status, 200)


class DevelopmentTests(CommandTestCase):
    @slow
    async def test_developers_see_the_most_similar_patterns(self) -> None:
        """On the page for an unknown address, if the server reloads its code or sends tracebacks."""
        source = "def order(): return {}\n\nurl_patterns = ((r'/order/', order),)\n"
        for words in ((), ("--reload",), ("--display-tracebacks",)):
            folder = self.folder_of(app=source)
            program = self.twistd("--port", "0", "--app", "app.py", *words, folder=folder)
            port = await program.port()
            answer = await exchange(port, request("GET", "/ordr/", b"", (("Accept", "text/html"),)))
            listed = b"<li><code>/order/</code>" in answer.body
            self.assertEqual((answer.status, listed), (404, bool(words)))
            await self.stopped(program)


class QueueTests(CommandTestCase):
    @slow
    async def test_requests_for_queues_are_counted(self) -> None:
        """Like the calls of any service. A request that waits for a task runs."""
        program = self.python(TWISTD, "-n", "--pidfile=", "tqueuesrv", "--port", "0")
        port = await program.port()
        self.assertEqual((await fetch(port, "/-/status.json")).json["history"], [])
        waiting = Deferred.fromCoroutine(fetch(port, "/painter/get/?timeout=30"))
        while not (await fetch(port, "/-/status.json")).json["running"]:
            await deferLater(reactor, 0.01)
        (call,) = (await fetch(port, "/-/status.json")).json["running_calls"]
        self.assertEqual((call["place"], call["function"], call["wanted"]), ("reactor", "Wire.get", True))
        self.assertEqual((await fetch(port, "/painter/put/")).status, 200)
        self.assertEqual((await waiting).status, 200)
        self.assertEqual((await fetch(port, "/painter/nothing/")).status, 404)
        history: list[list[Any]] = []
        while len(history) < 2 or sum(sum(second[1:4]) for second in history) < 3:
            await deferLater(reactor, 0.05)
            history = (await fetch(port, "/-/status.json")).json["history"]
        status = (await fetch(port, f"/-/status.json?after={history[-1][0] - 0.5}")).json
        self.assertEqual(status["history"][0][0], history[-1][0])
        counted = [sum(second[place] for second in history) for place in (1, 2, 3)]
        self.assertEqual(counted, [2, 1, 0])
        self.assertGreater(status["rate"], 0)
        await self.stopped(program)

    async def test_figures_of_queues_are_shown(self) -> None:
        """The queues of a TQueueSrv."""
        program = self.python(TWISTD, "-n", "--pidfile=", "tqueuesrv", "--port", "0")
        port = await program.port()
        for path in ("/painter/put/?detail=1", "/painter/put/", "/painter/get/"):
            self.assertEqual((await fetch(port, path)).status, 200)
        status = (await fetch(port, "/-/status.json")).json
        self.assertEqual((status["completed"], status["failed"]), (3, 0))
        queue = status["queues"]["painter"]
        self.assertEqual((queue["ready"], queue["leased"], queue["puts"]), (1, 1, 2))
        self.assertTrue(0 <= queue["oldest"] < 60, queue)
        metrics = (await fetch(port, "/-/metrics")).body
        self.assertIn(b'tqueue_tasks{place="ready",queue="painter"} 1.0', metrics)
        self.assertRegex(metrics, rb'(?m)^tqueue_oldest_task_age_seconds\{queue="painter"\} \d')
        await self.stopped(program)
