"""Tests of L{make_service}: real sockets on free ports, both server types."""

from __future__ import annotations

import gc
import os
import sys
import threading
from pathlib import Path
from typing import Any
from unittest.mock import patch

from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError, ConnectError
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import Agent, HTTPConnectionPool

from tests.http.test_connection_transports import certificate
from tests.support import cases, http_cases
from tests.support.load import many_clients
from tests.support.wire import connect, exchange, fetch, request
from twisted_appserver import (
    FORKED_SERVER,
    THREADED_SERVER,
    ConfigurationError,
    PatternError,
    make_service,
)
from twisted_appserver.client import AppClient, Problem
from twisted_appserver.queue.postgresql.session import PostgreSQLStore
from twisted_appserver.serving.service import AppService

TYPES = (THREADED_SERVER, FORKED_SERVER)


class ServiceTestCase(TestCase):
    timeout = 30

    def setUp(self) -> None:
        """Restore the modules after the test, because a reload imports the package again."""
        self.addCleanup(sys.modules.update, dict(sys.modules))

    async def start(self, **options: Any) -> tuple[AppService, int]:
        """A running service of L{support.cases}, and its port."""
        options = {"app": "tests.support.cases", "port": 0, "workers": 2, "graceful_timeout": 10, **options}
        service = make_service(**options)
        service.startService()
        self.addCleanup(lambda: service.stopService() if service.running else None)
        await service.started
        return service, service.ports[0].getHost().port


class ServeTests(ServiceTestCase):
    async def test_both_types_and_channels_answer_the_table(self) -> None:
        """Both types, with both HTTP front ends, answer the table."""
        for server_type in TYPES:
            for channel in ("llhttp", "twisted"):
                options = {"server_type": server_type, "channel": channel}
                service, port = await self.start(max_body=http_cases.MAX_BODY, **options)
                wrong = []
                for case in http_cases.CASES:
                    try:
                        differences = case.differences(await exchange(port, case.data))
                    except ConnectionError as error:
                        differences = [str(error)]
                    wrong += [f"{case.name}: {each}" for each in differences]
                await service.stopService()
                self.assertEqual(wrong, [], "\n".join([str(options), *wrong]))

    async def test_forked_type_runs_functions_in_other_processes(self) -> None:
        """The forked type runs functions in other processes, the threaded type in this one."""
        for server_type in TYPES:
            _, port = await self.start(server_type=server_type)
            found = (await fetch(port, "/pid/")).json["pid"]
            self.assertEqual(found == os.getpid(), server_type == THREADED_SERVER)

    async def test_several_services_do_not_disturb_each_other(self) -> None:
        """Several services in one process do not disturb each other."""
        started = [await self.start(server_type=server_type) for server_type in (*TYPES, *TYPES)]
        self.assertEqual(len({port for _, port in started}), 4)
        await started[0][0].stopService()
        await started[1][0].stopService()
        for _, port in started[2:]:
            self.assertEqual((await fetch(port, "/echo/1/")).json, {"a": "1"})

    async def test_table_can_be_passed_and_many_endpoints_used(self) -> None:
        """A table can be passed as an argument, and a service can listen on many endpoints."""
        path = os.path.join("/tmp", f"appserver-{os.getpid()}.sock")
        listen = ("tcp:0:interface=127.0.0.1", "tcp:0:interface=127.0.0.1", f"unix:{path}")
        service = make_service([("/x", cases.pid)], listen=listen)
        service.startService()
        self.addCleanup(service.stopService)
        for port in service.ports[:2]:
            answer = await fetch(port.getHost().port, "/x")
            self.assertEqual(answer.json, {"pid": os.getpid()})
        self.assertTrue(os.path.exists(path))
        self.assertIn(path, service.line())

    async def test_line_shows_url_type_and_size(self) -> None:
        """One line shows the URL, the type and the number of threads or workers."""
        service, port = await self.start(threads=7)
        self.assertIn(f"http://localhost:{port}/", service.line())
        self.assertIn("threaded, 7 threads", service.line())

    async def test_line_shows_urls_of_tls_and_ipv6(self) -> None:
        """The URLs are right over TLS and IPv6 too."""
        path = Path(self.mktemp())
        path.write_bytes(certificate())
        tls = f"ssl:0:interface=127.0.0.1:privateKey={path}:certKey={path}"
        service, _ = await self.start(listen=(tls, r"tcp:0:interface=\:\:1"))
        first, second = (port.getHost().port for port in service.ports)
        self.assertIn(f"https://localhost:{first}/ http://[::1]:{second}/ ", service.line())
        self.flushWarnings()  # Twisted 26.10 causes them with the newest pyOpenSSL.

    async def test_default_listens_on_loopback_for_its_names_only(self) -> None:
        """By default a service listens on loopback only, and accepts only the names of loopback."""
        service, port = await self.start()
        self.assertEqual(service.ports[0].getHost().host, "127.0.0.1")
        self.assertEqual((await exchange(port, request("GET", "/pid/", host="evil.example"))).status, 421)

    async def test_app_client_calls_a_real_service(self) -> None:
        """AppClient calls a real service."""
        _, port = await self.start()
        agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False))
        client = AppClient(f"http://localhost:{port}", HTTPClient(agent), timeout=10)
        self.assertEqual(await client.call("/echo/1/", b=[2]), {"a": "1", "b": [2]})
        self.assertEqual((await self.assertFailure(self.of(client), Problem)).status, 418)

    def of(self, client: AppClient) -> Deferred[Any]:
        return Deferred.fromCoroutine(client.call("/raises_http/"))

    async def test_too_many_waiting_calls_get_503_with_retry_after(self) -> None:
        """If too many calls are waiting, further ones get 503 with Retry-After."""
        _, port = await self.start(threads=1, max_pending=1)
        path = os.path.abspath(self.mktemp())
        connections = [await connect(port) for _ in range(3)]
        held = [connections[0].send(request("GET", f"/holds/?path={path}"))]
        while not os.path.exists(path):
            await fetch(port, "/coroutine/")
        held.append(connections[1].send(request("GET", f"/holds/?path={path}x")))
        await fetch(port, "/coroutine/")
        answer = await connections[2].send(request("GET", "/echo/1/"))
        self.assertEqual(answer.status, 503)
        self.assertTrue(int(answer.headers["retry-after"]))
        os.remove(path)
        while not os.path.exists(path + "x"):
            await fetch(port, "/coroutine/")
        os.remove(path + "x")
        self.assertEqual([each.status for each in await gatherResults(held)], [200, 200])
        for connection in connections:
            await connection.close()


class LoadTests(ServiceTestCase):
    async def check(self, **options: Any) -> None:
        service, port = await self.start(**options)
        self.assertEqual(await many_clients(port, 200, 50), 10_000)
        self.assertEqual(service.dispatcher.in_flight, 0)

    async def test_every_answer_belongs_to_its_request(self) -> None:
        """200 concurrent clients x 50 requests: every answer belongs to its request."""
        await self.check(server_type=THREADED_SERVER)

    async def test_every_answer_belongs_to_its_request_with_workers(self) -> None:
        """The same with worker processes."""
        await self.check(server_type=FORKED_SERVER)


class StopTests(ServiceTestCase):
    async def held(self, **options: Any) -> tuple[AppService, Deferred[Any], str]:
        """A service with a call that runs until the file of the returned path is removed."""
        service, port = await self.start(**options)
        path = os.path.abspath(self.mktemp())
        answer = Deferred.fromCoroutine(fetch(port, f"/holds/?path={path}"))
        while not os.path.exists(path):
            await fetch(port, "/coroutine/")
        self.addCleanup(lambda: os.path.exists(path) and os.remove(path))
        return service, answer, path

    async def test_stop_finishes_and_answers_running_calls(self) -> None:
        """A stopping service accepts no connections, and finishes and answers running calls."""
        for server_type in TYPES:
            service, answer, path = await self.held(server_type=server_type)
            port = service.ports[0].getHost().port
            stopped = service.stopService()
            self.assertNoResult(stopped)
            await self.assertFailure(Deferred.fromCoroutine(connect(port)), ConnectError)
            self.assertNoResult(answer)
            os.remove(path)
            self.assertEqual((await answer).status, 200)
            await stopped

    async def test_running_calls_get_an_error_after_the_grace_period(self) -> None:
        """After the grace period running calls get an error, and the service stops."""
        for server_type in TYPES:
            service, answer, path = await self.held(server_type=server_type, graceful_timeout=0.1)
            await service.stopService()
            self.assertIn((await answer).status, (502, 503))
            os.path.exists(path) and os.remove(path)

    async def test_coroutines_are_cancelled_after_the_grace_period(self) -> None:
        """After the grace period coroutines are cancelled, and so are their timers."""

        async def waits() -> None:
            await deferLater(reactor, 60)

        service = make_service([(r"/waits/", waits)], port=0, graceful_timeout=0.1)
        service.startService()
        answer = Deferred.fromCoroutine(fetch(service.ports[0].getHost().port, "/waits/"))
        while not service.dispatcher.in_flight:
            await deferLater(reactor, 0.01)
        await service.stopService()
        self.assertEqual((await answer).status, 503)
        self.assertEqual(service.dispatcher.in_flight, 0)

    async def idle(self, channel: str) -> None:
        service, port = await self.start(channel=channel)
        connections = [await connect(port) for _ in range(2)]
        await connections[0].send(request("GET", "/echo/1/"))
        await service.stopService()
        try:
            for connection in connections:
                await connection.closed.addTimeout(2, reactor)
        finally:
            for connection in connections:
                connection.transport.abortConnection()  # type: ignore[union-attr]

    async def test_stop_closes_idle_connections(self) -> None:
        """A stopping service closes idle connections, used or not."""
        await self.idle("llhttp")

    async def test_stop_closes_idle_connections_of_twisted(self) -> None:
        """The same with twisted.web's own channel."""
        await self.idle("twisted")

    async def test_stopped_service_can_start_again(self) -> None:
        """A service that was stopped can be started again."""
        for server_type in TYPES:
            service, _ = await self.start(server_type=server_type)
            await service.stopService()
            service.startService()
            await service.started
            answer = await fetch(service.ports[0].getHost().port, "/echo/1/")
            self.assertEqual(answer.json, {"a": "1"})

    async def test_stop_while_workers_start_fails_the_start_quietly(self) -> None:
        """A stop before the workers are ready makes the start fail. No error is logged without a waiter."""
        awaited, forgotten = (
            make_service(app="tests.support.cases", port=0, server_type=FORKED_SERVER, workers=1)
            for _ in range(2)
        )
        awaited.startService()
        forgotten.startService()
        failed = self.assertFailure(awaited.started, ConfigurationError)
        await gatherResults([awaited.stopService(), forgotten.stopService()])
        await failed
        del awaited, forgotten
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_passed_table_cannot_be_reloaded(self) -> None:
        """A table that was passed as an argument cannot be reloaded and stays in use."""
        service = make_service([("/x", cases.pid)], port=0)
        service.startService()
        self.addCleanup(service.stopService)
        error = await self.assertFailure(service.reload(), ConfigurationError)
        self.assertIn("passed as an argument", str(error))
        answer = await fetch(service.ports[0].getHost().port, "/x")
        self.assertEqual(answer.json, {"pid": os.getpid()})

    async def test_address_in_use_raises_and_leaves_nothing_open(self) -> None:
        """An address in use raises CannotListenError, and leaves nothing open."""
        _, port = await self.start()
        listen = ("tcp:0:interface=127.0.0.1", f"tcp:{port}:interface=127.0.0.1")
        path = self.mktemp()
        service = make_service(
            app="tests.support.cases", listen=listen, access_log=path, log_requests="always"
        )
        self.assertRaises(CannotListenError, service.startService)
        opened = {os.path.realpath(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")}
        self.assertNotIn(os.path.realpath(path), opened)
        self.assertEqual((service.running, service.ports, service.dispatcher.observers), (0, [], []))
        await service.stopService()

    async def test_store_that_cannot_be_opened_raises_its_error_and_leaves_nothing_open(self) -> None:
        """For example if the library of PostgreSQL is missing."""
        broken = patch(
            "twisted_appserver.queue.postgresql.database.import_psycopg",
            side_effect=ConfigurationError("no libpq"),
        )
        for store, said in (
            ("sqlite:/no/store", "no folder /no"),
            ("postgresql://x@localhost/y", "no libpq"),
        ):
            service = make_service([], port=0, store=store)
            with broken:
                error = self.assertRaises(ConfigurationError, service.startService)
            self.assertIn(said, str(error))
            self.assertEqual((service.running, service.ports), (0, []))
            await service.stopService()

    async def test_service_can_start_when_the_address_is_free(self) -> None:
        """A service that could not start can be started when the address is free, and logs a request once."""
        other, port = await self.start()
        path = self.mktemp()
        service = make_service(app="tests.support.cases", port=port, access_log=path)
        self.assertRaises(CannotListenError, service.startService)
        await other.stopService()
        service.startService()
        await fetch(port, "/echo/1/")
        await service.stopService()
        self.assertEqual(len(Path(path).read_text().splitlines()), 1)
        self.assertEqual(service.dispatcher.observers, [])


class MakeTests(SynchronousTestCase):
    """Errors and side effects before a service is started."""

    def test_making_a_service_opens_nothing(self) -> None:
        """Making a service opens no thread, process or socket: twistd forks between making and starting."""
        memory = MemoryReactorClock()
        threads = threading.active_count()
        for server_type in TYPES:
            make_service(app="tests.support.cases", server_type=server_type, reactor=memory)
        self.assertEqual(threading.active_count(), threads)
        self.assertEqual((memory.tcpServers, memory.getDelayedCalls()), ([], []))

    def test_missing_extra_of_a_store_is_named(self) -> None:
        """Also if the table makes the store for its queues."""
        for make in (lambda url: make_service([], store=url), PostgreSQLStore):
            with patch.dict(sys.modules, psycopg=None):
                error = self.assertRaises(ConfigurationError, make, "postgresql://x@localhost/y")
            self.assertIn("PostgreSQL needs the extra postgresql; in a clone", str(error))

    def test_wrong_option_is_named_with_its_value(self) -> None:
        """A wrong option raises ConfigurationError: one line that names it and the value."""
        for name, value, said in (
            ("server_type", "sideways", "sideways"),
            ("threads", 0, "--threads"),
            ("workers", -1, "--workers"),
            ("port", 65536, "--port"),
            ("port", -1, "--port"),
            ("timeout", -1, "--timeout"),
            ("timeout", float("nan"), "--timeout"),
            ("graceful_timeout", float("inf"), "--graceful-timeout"),
            ("max_pending", 0, "--max-pending"),
            ("max_body", -1, "--max-body"),
            ("app", "no_such_module", "no_such_module"),
            ("app", "no/such/file.py", "no/such/file.py"),
            ("app", "tests.support.cases:no_such_name", "no_such_name"),
            ("allow_host", "example.org", "allow_host"),
            ("listen", "tcp:8080", "listen"),
            ("listen", ("nonsense:1",), "nonsense"),
            ("listen", ("tcp:port",), "tcp:port"),
            ("listen", ("ssl:0:privateKey=no.pem",), "no.pem"),
            ("listen", (f"ssl:0:privateKey={__file__}",), __file__),
            ("allow_host", ("ü..b",), "--allow-host 'ü..b'"),
            ("allow_origin", ("é",), "--allow-origin 'é'"),
            ("reload", True, "reload()"),
            ("log_format", "json", "make_observer(file, log_format)"),
            ("port", "8650", "--port must be an integer, not '8650'"),
            ("port", 8650.5, "--port must be an integer, not 8650.5"),
            ("port", True, "--port must be an integer, not True"),
            ("threads", "5", "--threads must be an integer, not '5'"),
            ("threads", 2.5, "--threads must be an integer, not 2.5"),
            ("timeout", None, "--timeout must be a number, not None"),
            ("server_type", None, "--type must be a string, not None"),
            ("allow_host", None, "--allow-host must be a tuple of strings, not None"),
            ("listen", (8080,), "--listen must be a tuple of strings, not (8080,)"),
            ("no_admin", "no", "--no-admin must be True or False, not 'no'"),
            ("thread", 3, "unknown option 'thread'; did you mean 'threads'?"),
            ("type", "forked", "unknown option 'type'; use server_type"),
        ):
            options = {"app": "tests.support.cases", name: value}
            error = self.assertRaises(ConfigurationError, make_service, **options)  # type: ignore[arg-type]
            self.assertIn(said, str(error))
            self.assertNotIn("\n", str(error))

    def test_equivalent_types_are_accepted(self) -> None:
        """Equivalent types are accepted: a list, a whole number of seconds, a path."""
        options: dict[str, Any] = {"allow_host": ["a.example"], "timeout": 5, "access_log": Path("log")}
        make_service(app="tests.support.cases", **options)

    def test_table_that_workers_cannot_import_is_refused(self) -> None:
        """A table that workers cannot import is refused, and the error says what to do."""
        error = self.assertRaises(
            ConfigurationError, make_service, [("/x", cases.pid)], server_type=FORKED_SERVER
        )
        self.assertIn("app=", str(error))

    def test_invalid_table_is_refused(self) -> None:
        """An invalid table is refused when the service is made."""
        self.assertRaises(PatternError, make_service, [("/(", cases.pid)])
