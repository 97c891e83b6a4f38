"""Tests of L{AppResource}: in memory and over TCP, at the root, below a path, and inside Klein."""

from __future__ import annotations

import os
from typing import Any

from klein import Klein
from treq.testing import StubTreq
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import IResource, Resource
from twisted.web.server import Site
from zope.interface.verify import verifyObject

from tests.support import cases, http_cases
from tests.support.slow import slow
from tests.support.wire import Connection, connect, fetch, read, request
from twisted_appserver import (
    AppResource,
    ConfigurationError,
    InlineExecutor,
    ProcessExecutor,
    Route,
    Router,
    ThreadExecutor,
)
from twisted_appserver.access.request_guard import RequestGuard
from twisted_appserver.dispatch.dispatcher import Dispatcher

CASES = [case for case in http_cases.CASES if case.raw.isascii()]  # twisted.web refuses the others

MIXED = ((r"/light/", cases.pid), Route(r"/heavy/", cases.pid, executor="processes"))


def resource(**executors: Any) -> AppResource:
    """Make the application of L{support.http_cases}."""
    dispatcher = Dispatcher(
        Clock(), Router(cases.url_patterns), {"inline": InlineExecutor(), **executors},
        next(iter(executors), "inline"), RequestGuard(),
    )  # fmt: skip
    return AppResource(dispatcher, max_body=http_cases.MAX_BODY)


class MemoryTests(SynchronousTestCase):
    """A stock Site without sockets: bytes go into a channel and come out of a transport."""

    def connection(self, root: IResource) -> tuple[Any, StringTransport]:
        channel = Site(root, reactor=Clock()).buildProtocol(None)
        transport = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.7", 5))
        channel.makeConnection(transport)
        return channel, transport

    @slow
    def test_stock_site_answers_every_case(self) -> None:
        wrong = []
        for case in CASES:
            channel, transport = self.connection(resource())
            channel.dataReceived(case.data)
            found = read(transport.value(), case.method)
            differences = case.differences(found[0]) if found else [f"no answer: {transport.value()!r}"]
            wrong += [f"{case.name}: {each}" for each in differences]
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_status_line_has_the_title_of_rfc_9110(self) -> None:
        """Twisted.web and Python have other titles."""
        for target, line in (("/by_name/?a=1", b"422 Unprocessable Content"), ("/echo/1/", b"200 OK")):
            channel, transport = self.connection(resource())
            channel.dataReceived(request("GET", target))
            self.assertTrue(transport.value().startswith(b"HTTP/1.1 " + line + b"\r\n"), transport.value())

    def test_app_resource_is_an_iresource(self) -> None:
        verifyObject(IResource, resource())

    def test_call_has_the_address_of_its_client(self) -> None:
        seen: list[str] = []

        async def function(call: cases.Call) -> dict[str, Any]:
            seen.append(call.client)
            return {}

        channel, transport = self.connection(AppResource([("/x", function)], Clock(), InlineExecutor()))
        channel.dataReceived(request("GET", "/x"))
        self.assertIn(b"200 OK", transport.value())
        self.assertEqual(seen, ["192.0.2.7"])

    def test_lost_connection_cancels_its_call(self) -> None:
        """Nothing is written or logged."""
        waiting: list[Deferred[Any]] = []

        def function() -> Deferred[Any]:
            waiting.append(Deferred(lambda _: cancelled.append(True)))
            return waiting[0]

        cancelled: list[bool] = []
        app = AppResource([("/x", function)], Clock(), InlineExecutor())
        channel, transport = self.connection(app)
        channel.dataReceived(request("GET", "/x"))
        self.assertEqual((app.dispatcher.in_flight, len(waiting)), (1, 1))
        channel.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((app.dispatcher.in_flight, cancelled), (0, [True]))
        self.assertEqual(transport.value(), b"")
        app.dispatcher.stop()

    def test_pipelined_requests_are_answered_in_order(self) -> None:
        """Whichever result comes first."""
        waiting: dict[str, Deferred[Any]] = {}

        def function(n: str) -> Deferred[Any]:
            waiting[n] = Deferred()
            return waiting[n]

        app = AppResource([("/(?P<n>)", function)], Clock(), InlineExecutor())
        channel, transport = self.connection(app)
        channel.dataReceived(b"".join(request("GET", f"/{n}") for n in range(5)))
        for _ in range(5):
            for n in sorted(waiting, reverse=True):
                waiting.pop(n).callback({"n": n})
        data, order = transport.value(), []
        while data:
            answer, data = read(data)  # type: ignore[misc]
            order.append(answer.json["n"])
        self.assertEqual(order, list("01234"))
        app.dispatcher.stop()


class MountTests(SynchronousTestCase):
    """Wherever an AppResource is mounted, patterns match the rest of the path."""

    def get(self, root: IResource, url: str) -> tuple[int, Any]:
        client = StubTreq(root)
        response = self.successResultOf(client.get(url))
        return response.code, self.successResultOf(response.json())

    def app(self, name: str) -> AppResource:
        async def function(**variables: Any) -> dict[str, Any]:
            return {"app": name, **variables}

        made = AppResource([(r"/(?P<a>)/", function), (r"/", function)], Clock(), InlineExecutor())
        self.addCleanup(made.dispatcher.stop)
        return made

    def test_app_may_be_the_root_of_a_site(self) -> None:
        root = self.app("root")
        self.assertEqual(
            self.get(root, "http://localhost/x/?b=1"), (200, {"app": "root", "b": "1", "a": "x"})
        )
        self.assertEqual(self.get(root, "http://localhost/"), (200, {"app": "root"}))

    def test_apps_may_be_mounted_below_paths(self) -> None:
        root, middle = Resource(), Resource()
        root.putChild(b"one", self.app("one"))
        root.putChild(b"deep", middle)
        middle.putChild(b"two", self.app("two"))
        self.assertEqual(self.get(root, "http://localhost/one/x/"), (200, {"app": "one", "a": "x"}))
        self.assertEqual(self.get(root, "http://localhost/deep/two/y/"), (200, {"app": "two", "a": "y"}))
        self.assertEqual(self.get(root, "http://localhost/one/")[0], 200)
        self.assertEqual(self.get(root, "http://localhost/one/x/y/")[0], 404)

    def test_missing_slash_is_added_below_the_path_of_the_app(self) -> None:
        """treq follows the redirect."""
        root, middle = Resource(), Resource()
        root.putChild(b"deep", middle)
        middle.putChild(b"two", self.app("two"))
        found = self.get(root, "http://localhost/deep/two/y?b=1")
        self.assertEqual(found, (200, {"app": "two", "a": "y", "b": "1"}))

    def test_app_may_be_mounted_in_klein(self) -> None:
        klein, app = Klein(), self.app("klein")

        @klein.route("/mounted/", branch=True)
        def mounted(request: Any) -> Any:
            return app

        @klein.route("/own/")
        def own(request: Any) -> Any:
            return b'{"own": true}'

        root = klein.resource()
        self.assertEqual(self.get(root, "http://localhost/mounted/x/"), (200, {"app": "klein", "a": "x"}))
        self.assertEqual(self.get(root, "http://localhost/mounted/x/y/")[0], 404)
        self.assertEqual(self.get(root, "http://localhost/own/"), (200, {"own": True}))


class SocketTests(TestCase):
    """A stock Site on a free port, with functions in a thread pool of the embedding program."""

    timeout = 30

    def listen(self, root: IResource) -> int:
        port = reactor.listenTCP(0, Site(root), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        return port.getHost().port

    def threads(self, size: int = 4) -> ThreadExecutor:
        pool = ThreadPool(0, size)
        pool.start()
        self.addCleanup(pool.stop)
        return ThreadExecutor(reactor, size, pool)

    async def check(self, port: int) -> None:
        """Send every case. The connection is reused until the server closes it."""
        wrong: list[str] = []
        connection: Connection | None = None
        for case in CASES:
            if connection is None or connection.closed.called:
                connection = await connect(port)
            try:
                differences = case.differences(await connection.send(case.data))
            except ConnectionError as error:
                differences = [str(error)]
            wrong += [f"{case.name}: {each}" for each in differences]
        assert connection is not None
        await connection.close()
        self.assertEqual(wrong, [], "\n".join(wrong))

    async def test_stock_site_answers_every_case_over_tcp(self) -> None:
        """The connection stays open between them."""
        await self.check(self.listen(resource(threads=self.threads())))

    async def test_functions_run_in_the_thread_pool_of_the_reactor_by_default(self) -> None:
        app = AppResource(cases.url_patterns, reactor)
        self.addCleanup(app.dispatcher.stop)
        self.assertEqual((await fetch(self.listen(app), "/echo/1/")).json, {"a": "1"})

    async def test_further_executors_run_the_routes_that_name_them(self) -> None:
        executor = ProcessExecutor(reactor, "tests.http.test_resource:MIXED", 1)
        app = AppResource(executor.router, reactor, executors={"processes": executor})
        self.addCleanup(app.dispatcher.stop)
        self.addCleanup(executor.stop)
        await executor.start()
        port = self.listen(app)
        self.assertEqual((await fetch(port, "/light/")).json, {"pid": os.getpid()})
        self.assertEqual((await fetch(port, "/heavy/")).json, {"pid": executor.pids[0]})

    def test_executor_also_has_the_name_of_its_kind(self) -> None:
        """So a Route may name it, although all calls run there."""
        executor = ProcessExecutor(reactor, "tests.http.test_resource:MIXED", 1)
        app = AppResource(executor.router, reactor, executor)
        for name in ("threads", "processes"):
            self.assertIs(app.dispatcher.executors[name], executor)

    def test_missing_executor_is_named_with_the_argument(self) -> None:
        error = self.assertRaises(ConfigurationError, AppResource, MIXED, reactor)
        self.assertIn("pass executors={'processes': executor} to AppResource", str(error))

    def test_executor_with_another_table_is_refused(self) -> None:
        executor = ProcessExecutor(reactor, "tests.http.test_resource:MIXED", 1)
        for options in ({"executor": executor}, {"executors": {"processes": executor}}):
            error = self.assertRaises(ConfigurationError, AppResource, cases.url_patterns, reactor, **options)
            self.assertIn("import another table", str(error))

    async def test_two_apps_in_one_process_have_their_own_executors(self) -> None:
        apps = [AppResource(cases.url_patterns, reactor, self.threads(1)) for _ in range(2)]
        for app in apps:
            self.addCleanup(app.dispatcher.stop)
            self.assertEqual((await fetch(self.listen(app), "/echo/1/")).status, 200)
        self.assertEqual([app.dispatcher.executors["threads"].completed for app in apps], [1, 1])
